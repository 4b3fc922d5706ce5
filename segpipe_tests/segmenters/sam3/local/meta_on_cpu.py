"""Meta's package on the CPU: a tiny model of its own classes, by its own builder.

The package imports torchvision, triton and timm and says "cuda" in a few places. While it is
imported, modules that have the few functions it computes with stand in for the first three; while
it computes, ``OnCpu`` reads "cuda" as "cpu".
"""

import gzip
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from segpipe.segmenters.sam3.local import meta_weights
from segpipe.segmenters.sam3.local.roi_align import roi_align

PUBLISHED_NAMES = (("inst_interactive_predictor.model.", "tracker."), ("", "detector."))
_MERGES = 49152 - 256 - 2
_SEED = 7
_NOISE = 0.03
_UNSET = ("encoder.positional_embedding", "encoder.text_projection")
"""Parameters that Meta's builder leaves to the checkpoint."""

SIDE = 112
"""Pixels a side of the tiny model's input."""
PATCH = 14
QUERIES = 12
"""Detections that the tiny model proposes."""


class OnCpu(TorchFunctionMode):
    """Everything that is to happen on CUDA happens on the CPU."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.pin_memory:
            return args[0]
        if func is torch.device:  # a name is only a name
            return func(*args, **kwargs or {})
        named = {name: _to_cpu(value) for name, value in (kwargs or {}).items()}
        return func(*map(_to_cpu, args), **named)


def _to_cpu(value: Any) -> Any:
    is_cuda = isinstance(value, torch.device | str) and str(value).startswith("cuda")
    return torch.device("cpu") if is_cuda else value


def import_sam3() -> None:
    """Import Meta's package where torchvision, triton and timm are not installed."""
    if "sam3" in sys.modules:
        return
    finder = _StandIns()
    sys.meta_path.insert(0, finder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of autocast without CUDA
            importlib.import_module("sam3.model_builder")
            importlib.import_module("sam3.model.sam3_image_processor")
        # Its name was that of the submodule until now.
        vars(sys.modules["torchvision.ops"])["roi_align"] = roi_align
    finally:
        sys.meta_path.remove(finder)
        # transformers must not find them.
        for name in [name for name in sys.modules if name.split(".")[0] in finder.attributes]:
            del sys.modules[name]


@contextmanager
def pretending_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let ``MetaRuntime.load`` find CUDA and the packages, and build a tiny model on the CPU."""
    import sam3.model_builder as builder
    from sam3.model.vitdet import ViT

    small: dict[str, Any] = {
        "ViT": _smaller(
            ViT,
            img_size=SIDE,
            window_size=SIDE // PATCH,
            embed_dim=32,
            depth=2,
            num_heads=2,
            global_att_blocks=(1,),
        ),
        "VETextEncoder": _smaller(builder.VETextEncoder, width=32, heads=2, layers=1),
        "TransformerEncoderFusion": _smaller(builder.TransformerEncoderFusion, num_layers=1),
        "TransformerDecoder": _smaller(
            builder.TransformerDecoder, num_layers=1, num_queries=QUERIES, resolution=SIDE
        ),
        "SequenceGeometryEncoder": _smaller(builder.SequenceGeometryEncoder, num_layers=1),
        "Sam3TrackerPredictor": _smaller(builder.Sam3TrackerPredictor, image_size=SIDE),
        "SAM3InteractiveImagePredictor": _predictor,
    }
    with monkeypatch.context() as patch, warnings.catch_warnings(), OnCpu():
        warnings.simplefilter("ignore")
        for name, value in small.items():
            patch.setattr(builder, name, value)
        patch.setattr(meta_weights, "PACKAGES", ("sam3",))
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
        patch.setattr(torch.cuda, "device", lambda _: nullcontext())
        patch.setattr(torch.cuda, "empty_cache", lambda: None)
        yield


def _smaller(kind: Callable[..., Any], **sizes: int | tuple[int, ...]) -> Callable[..., Any]:
    return lambda **settings: kind(**settings | sizes)


def _predictor(tracker: Any) -> Any:
    from sam3.model.sam1_task_predictor import SAM3InteractiveImagePredictor

    predictor = SAM3InteractiveImagePredictor(tracker)
    side = SIDE // PATCH
    predictor._bb_feat_sizes = [(4 * side, 4 * side), (2 * side, 2 * side), (side, side)]
    return predictor


def write_vocabulary(folder: Path) -> None:
    """A vocabulary of as many words as CLIP's, of letters alone."""
    letters = [chr(code) for code in range(0x4E00, 0x4E00 + 230)]
    merges = [f"{one} {other}" for one in letters for other in letters][:_MERGES]
    text = "\n".join(["#version: 0.2", *merges, ""])
    (folder / meta_weights.VOCABULARY).write_bytes(gzip.compress(text.encode(), 1))


def make_tiny_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a vocabulary and the weights of a tiny model, always the same."""
    folder.mkdir(parents=True, exist_ok=True)
    write_vocabulary(folder)
    with pretending_cuda(monkeypatch), torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        model = meta_weights.build_unfilled(folder / meta_weights.VOCABULARY)
        randomise(model)
        write_weights(model, folder / "sam3.safetensors")
    return folder


def write_weights(model: Any, path: Path) -> None:
    """The weights of a model under the names of the published ones."""
    weights = {}
    for name, tensor in model.state_dict().items():
        own, published = next(pair for pair in PUBLISHED_NAMES if name.startswith(pair[0]))
        if not tensor.is_complex():
            weights[published + name.removeprefix(own)] = tensor.clone().contiguous()
    save_file(weights, path)


def randomise(model: nn.Module) -> None:
    """A fresh model is all but symmetric: its scores would be alike. Some of it is not even set."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(_UNSET):
                parameter.zero_()
            parameter.add_(torch.randn_like(parameter), alpha=_NOISE)


class _Compose:
    def __init__(self, steps: Sequence[Callable[[Tensor], Tensor]]) -> None:
        self._steps = steps

    def __call__(self, pixels: Tensor) -> Tensor:
        for step in self._steps:
            pixels = step(pixels)
        return pixels


class _ToDtype:
    def __init__(self, dtype: torch.dtype, *, scale: bool) -> None:
        self._dtype = dtype

    def __call__(self, pixels: Tensor) -> Tensor:
        return pixels.float() / 255 if self._dtype == torch.float32 else pixels


class _Resize:
    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size

    def __call__(self, pixels: Tensor) -> Tensor:
        resized = nn.functional.interpolate(
            pixels[None], self._size, mode="bilinear", antialias=True
        )
        return resized[0]


class _Normalize:
    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self._mean, self._std = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]

    def __call__(self, pixels: Tensor) -> Tensor:
        return (pixels - self._mean) / self._std


def _to_image(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


class _Unused(nn.Module):
    """Made by the package, and not asked for anything here."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels


class _DropPath(_Unused):
    """Nothing is dropped outside of training."""


class _Mlp(nn.Module):
    def __init__(self, in_features: int, hidden_features: int, act_layer: Any, drop: Any) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden_features)
        self.act = act_layer()
        self.fc2 = nn.Linear(hidden_features, in_features)

    def forward(self, features: Tensor) -> Tensor:
        hidden: Tensor = self.fc2(self.act(self.fc1(features)))
        return hidden


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes modules that have the attributes below."""

    attributes: ClassVar[dict[str, dict[str, dict[str, Any]]]] = {
        "torchvision": {
            "torchvision.ops": {"masks_to_boxes": None},
            "torchvision.ops.roi_align": {"RoIAlign": _Unused},
            "torchvision.datasets.vision": {"VisionDataset": object},
            "torchvision.transforms": {
                "Normalize": _Unused,
                "Resize": _Unused,
                "ToTensor": _Unused,
            },
            "torchvision.transforms.functional": {},
            "torchvision.transforms.v2": {
                "Compose": _Compose,
                "Normalize": _Normalize,
                "Resize": _Resize,
                "ToDtype": _ToDtype,
                "functional": SimpleNamespace(to_image=_to_image),
            },
        },
        "triton": {
            "triton": {"jit": lambda function: function},
            "triton.language": {"constexpr": None},
        },
        "timm": {
            "timm.layers": {
                "DropPath": _DropPath,
                "Mlp": _Mlp,
                "trunc_normal_": nn.init.trunc_normal_,
            },
        },
    }

    def find_spec(self, name: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        if name.split(".", maxsplit=1)[0] in self.attributes:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return ModuleType(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        of_root = self.attributes[module.__name__.split(".")[0]]
        vars(module).update(of_root.get(module.__name__, {}))
