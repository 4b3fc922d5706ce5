"""A model on a device of torch: which device, which numbers, and every weight from the folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from segpipe.errors import CheckpointError, ConfigError
from segpipe.models.checkpoint import DtypeName

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def choose_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is the first there is of cuda, mps and cpu.

    Raises:
        ConfigError: This machine has no such device; ``field="device"``.
    """
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if has_cuda else "mps" if has_mps else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if has_cuda else 0
        index = device.index or 0
        if index >= count:
            raise ConfigError(
                f"torch {torch.__version__} sees {count} CUDA devices here, so there is no {name}; "
                "use auto or cpu, or install a CUDA driver and a torch that is built for it",
                field="device",
            )
        return torch.device("cuda", index)
    if device.type == "mps" and not has_mps:
        raise ConfigError("this machine has no mps; use auto or cpu", field="device")
    return device


def choose_dtype(name: DtypeName, device: torch.device) -> torch.dtype:
    """The numbers of that name; ``auto`` is bfloat16 on cuda and float32 elsewhere."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return _DTYPES[name]


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
