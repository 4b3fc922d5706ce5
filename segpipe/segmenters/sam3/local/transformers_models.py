"""The parts of SAM 3 as transformers has them, loaded and made to run without torchvision."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.models.sam3 import modeling_sam3
from transformers.models.sam3.configuration_sam3 import Sam3Config
from transformers.models.sam3_tracker.configuration_sam3_tracker import Sam3TrackerConfig
from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel
from transformers.utils import logging

from segpipe.errors import CheckpointError
from segpipe.segmenters.sam3.local.checkpoint import read_config
from segpipe.segmenters.sam3.local.roi_align import roi_align

_TRACKER_PARTS = ("vision_config", "prompt_encoder_config", "mask_decoder_config")

if not hasattr(modeling_sam3, "torchvision"):
    # Sam3's geometry encoder calls torchvision.ops.roi_align by this name of its module, which is
    # there when torchvision is installed. Nothing else of torchvision is called while it computes.
    modeling_sam3.torchvision = SimpleNamespace(ops=SimpleNamespace(roi_align=roi_align))


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """What a checkpoint holds.

    Attributes:
        detector: ``Sam3Model``.
        tracker: ``Sam3TrackerModel``.
        tokenizer: ``CLIPTokenizer``.
    """

    detector: Any
    tracker: Any
    tokenizer: Any


def load_models(folder: Path, dtype: torch.dtype) -> Models:
    """Load everything from a folder, onto the CPU.

    Raises:
        CheckpointError: Something is missing, damaged, a pickle, or of another model.
    """
    settings = read_config(folder)
    try:
        detector_config = Sam3Config(**settings["detector_config"])
        tracker_config = Sam3TrackerConfig(
            **{name: settings["tracker_config"][name] for name in _TRACKER_PARTS}
        )
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    # Each library complains of nonsense in its own way; all mean the same here.
    except Exception as error:
        raise _damaged(folder, error) from error
    return Models(
        _load(modeling_sam3.Sam3Model, detector_config, folder, dtype),
        _load(Sam3TrackerModel, tracker_config, folder, dtype),
        tokenizer,
    )


def _load(kind: Any, config: Any, folder: Path, dtype: torch.dtype) -> Any:
    """One of the models, with every weight that it needs."""
    try:
        with _without_progress_bars():
            model, report = kind.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(folder, error) from error
    # transformers makes up what is missing, and would answer nonsense with it.
    missing = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
    if missing:
        raise CheckpointError(
            f"the checkpoint {folder} lacks {len(missing)} weights of {kind.__name__}, "
            f"{missing[0]} among them; take the whole of facebook/sam3",
            field="checkpoint",
        )
    return model


def _damaged(folder: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint {folder} cannot be loaded ({type(error).__name__}: {error}); copy it "
        "again",
        field="checkpoint",
    )


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """They would draw over the log of a run."""
    had_them = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if had_them:
            logging.enable_progress_bar()
