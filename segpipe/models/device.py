"""Where torch computes, and with which numbers."""

import torch

from segpipe.errors import ConfigError
from segpipe.models.settings import DtypeName

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
