"""Models of transformers, loaded from a folder with every weight that they need."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from segpipe.errors import CheckpointError


def load_pretrained(
    kind: Any, folder: Path, dtype: torch.dtype, *, whole: str, config: Any = None
) -> Any:
    """A model of a folder, on the CPU.

    Args:
        kind: Its class in transformers.
        folder: Holds the safetensors.
        dtype: Of its weights.
        whole: What to take when weights are missing, for the message.
        config: That of the model; None takes the folder's.

    Raises:
        CheckpointError: A weight is missing or of another shape, or the files are damaged.
    """
    given = {} if config is None else {"config": config}
    try:
        with _without_progress_bars():
            model, report = kind.from_pretrained(
                folder,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **given,
            )
    except MemoryError:
        raise
    # Each library complains of nonsense in its own way; all mean the same here.
    except Exception as error:
        raise damaged(folder, error) from error
    # transformers makes up what is missing, and would answer nonsense with it.
    missing = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
    if missing:
        raise CheckpointError(
            f"the checkpoint {folder} lacks {len(missing)} weights of {kind.__name__}, "
            f"{missing[0]} among them; take the whole of {whole}",
            field="checkpoint",
        )
    return model


def damaged(folder: Path, error: Exception) -> CheckpointError:
    """What to say of a folder that a library cannot read."""
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
