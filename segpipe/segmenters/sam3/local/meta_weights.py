"""Meta's model, built and filled: what it needs, and where that is looked for.

The package computes on CUDA only. Its published weights are a pickle with names of its own, which
have to be converted once.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from segpipe.errors import CheckpointError

PACKAGES = ("sam3", "torchvision", "triton", "psutil")
"""What ``import sam3`` needs; its metadata names neither torchvision nor triton nor psutil."""
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
"""CLIP's vocabulary, which the package reads and does not bring along; open_clip_torch does."""
_RENAMED = (("detector.", ""), ("tracker.", "inst_interactive_predictor.model."))
"""Names in the published weights, and in the model (``_load_checkpoint`` of the package)."""
_COMPUTED = "freqs_cis"
"""Tables of rotations, which are computed when they are not among the weights."""
_INSTALL = (
    "install segpipe[sam3], with a torchvision and a triton that were built for the torch beside "
    "them"
)
_CONVERSION = (
    "Meta publishes its own names as a pickle, sam3.pt, which may run code and is not loaded: "
    "where you trust it, convert it once by `weights = torch.load('sam3.pt', weights_only=True)` "
    "and `safetensors.torch.save_file({name: w.clone().contiguous() for name, w in "
    "weights.items() if 'freqs_cis' not in name}, '<folder>/sam3.safetensors')`, and give that "
    "folder"
)


def require_meta_package(device: torch.device) -> None:
    """Refuse what Meta's package cannot compute on, and what it cannot be imported without.

    Raises:
        CheckpointError: It is no CUDA device, or a package is missing.
    """
    if device.type != "cuda":
        raise CheckpointError(
            f"Meta's package sam3 computes on CUDA only, and here it would on {device}; use a "
            "machine with an NVIDIA GPU and a torch that is built for CUDA, or the runtime "
            "transformers, which computes anywhere",
            field="runtime",
        )
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise CheckpointError(
            f"the runtime sam3 needs {', '.join(missing)}; {_INSTALL}", field="runtime"
        )


def require_folder(checkpoint: str) -> None:
    """Refuse a repository: what is published there for other libraries has other names.

    Raises:
        CheckpointError: There is no such folder.
    """
    if not Path(checkpoint).expanduser().is_dir():
        raise CheckpointError(
            f"Meta's package reads its weights from a folder, and there is none at {checkpoint!r}. "
            f"{_CONVERSION}",
            field="checkpoint",
        )


def build_meta_model(folder: Path, device: torch.device) -> Any:
    """Meta's image model with the weights of a folder, on a CUDA device.

    Raises:
        CheckpointError: The vocabulary or weights are missing, damaged, pickles, or those of
            another model, or the package cannot be imported.
    """
    vocabulary, files = _vocabulary(folder), _weight_files(folder)
    # Where the package says "cuda", torch takes the device of this context.
    with torch.cuda.device(device):
        model = build_unfilled(vocabulary)
        _fill(model, files, folder)
        return model.to(device).eval()


def _vocabulary(folder: Path) -> Path:
    """CLIP's vocabulary: beside the weights, or in open_clip_torch, which is not imported."""
    places = [folder]
    open_clip = importlib.util.find_spec("open_clip")
    if open_clip is not None:
        places += map(Path, open_clip.submodule_search_locations or ())
    for place in places:
        if (place / VOCABULARY).is_file():
            return place / VOCABULARY
    raise CheckpointError(
        f"Meta's package lacks its vocabulary {VOCABULARY}; install open_clip_torch, which ships "
        f"it, or put the file into {folder}",
        field="checkpoint",
    )


def _weight_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(
            f"the folder {folder} has no safetensors. {_CONVERSION}", field="checkpoint"
        )
    return files


def build_unfilled(vocabulary: Path) -> Any:
    """Meta's image model in the memory of the processor, with weights by chance.

    Raises:
        CheckpointError: The package cannot be imported.
    """
    try:
        from sam3 import build_sam3_image_model  # noqa: PLC0415 - it takes seconds
    # A torchvision or triton that was built for another torch raises what it likes.
    except (ImportError, RuntimeError, AttributeError) as error:
        raise CheckpointError(
            f"Meta's package sam3 cannot be imported ({error}); {_INSTALL}", field="runtime"
        ) from error
    model = build_sam3_image_model(
        bpe_path=str(vocabulary),
        device="cpu",
        load_from_HF=False,
        enable_inst_interactivity=True,
    )
    predictor = model.inst_interactive_predictor
    # Its tracker turns autocast on for everything that this thread will ever do.
    predictor.model.bf16_context.__exit__(None, None, None)
    predictor._transforms.max_hole_area = 0.0
    return model


def _fill(model: Any, files: Sequence[Path], folder: Path) -> None:
    """Put the weights into a model, every one that it needs.

    The package's own loader takes what fits and prints the rest.
    """
    weights = {}
    for path in files:
        try:
            loaded = load_file(path)
        except Exception as error:
            raise CheckpointError(
                f"{path} is damaged or no safetensors ({error}); copy it again", field="checkpoint"
            ) from error
        weights.update({_renamed(name): tensor for name, tensor in loaded.items()})
    try:
        missing, _ = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights in {folder} are of another model ({error})", field="checkpoint"
        ) from error
    missing = [name for name in missing if _COMPUTED not in name]
    if missing:
        raise CheckpointError(
            f"the weights in {folder} lack {len(missing)} of those that Meta's package needs, "
            f"{missing[0]} among them; those of transformers have other names. {_CONVERSION}",
            field="checkpoint",
        )


def _renamed(name: str) -> str:
    for prefix, own in _RENAMED:
        if name.startswith(prefix):
            return own + name.removeprefix(prefix)
    return name
