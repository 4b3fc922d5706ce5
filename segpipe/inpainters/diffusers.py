"""Fill holes by a diffusion model from a local folder."""

import asyncio
import math
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import cv2
import numpy as np
from PIL import Image
from pydantic import Field

from segpipe.errors import CheckpointError, InpainterError
from segpipe.inpainters.inpainter import NO_WISH, Wish
from segpipe.models.checkpoint import DeviceName, Dtype
from segpipe.settings import Settings
from segpipe.threads import IsWanted, stoppable_in_thread
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap

_EXTRA = "pip install 'segpipe[inpaint]'"
_INDEX = "model_index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_SIDE_MULTIPLE_PX = 64  # eight for the latents, eight for the network's own steps down
_one_at_a_time = Lock()


class DiffusersConfig(Settings):
    """A diffusion model for inpainting, in this process."""

    operational = frozenset({"device"})

    kind: Literal["diffusers"] = "diffusers"
    checkpoint: str = Field(
        min_length=1,
        description="The folder of an inpainting pipeline of diffusers: model_index.json, and "
        "safetensors in the folders beside it.",
    )
    device: DeviceName = "auto"
    dtype: Dtype = "auto"
    prompt: str = Field(
        default="an empty, even background",
        description="What is to be in the hole, in words.",
    )
    guidance: float = Field(
        default=2.0,
        ge=0,
        le=50,
        description="How closely the words are followed; little, as the surroundings say more.",
    )
    steps: int = Field(default=30, ge=1, le=200, description="Steps of the diffusion.")
    side_px: int = Field(
        default=512,
        ge=_SIDE_MULTIPLE_PX,
        le=2048,
        description="Longest side of the pictures that the model works on, pixels: the one it was "
        "trained with.",
    )
    seed: int = Field(default=0, ge=0, description="The same seed gives the same picture.")


class DiffusersInpainter:
    """Imagines what is behind an item.

    The window around a hole is brought to the size of the model, and what it gives back to that of
    the window. The model is loaded by the first picture, and kept.

    R. Rombach et al.: "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR 2022,
    https://doi.org/10.1109/CVPR52688.2022.01042
    """

    id = "diffusers"
    context_ratio = 0.5

    def __init__(self, config: DiffusersConfig) -> None:
        self._config = config

    async def inpaint(self, image: RgbImage, hole: Bitmap, wish: Wish = NO_WISH) -> RgbImage:
        """Fill the hole of one upright RGB image, (h, w, 3) uint8.

        Raises:
            CheckpointError: The folder holds no such model, or a package is missing.
            ConfigError: This machine has no such device.
            InpainterError: The model failed.
        """
        return await stoppable_in_thread(lambda is_wanted: self._fill(image, hole, wish, is_wanted))

    def _fill(self, image: RgbImage, hole: Bitmap, wish: Wish, is_wanted: IsWanted) -> RgbImage:
        config = self._config
        height, width = hole.shape
        size = model_size(width, height, config.side_px)

        def after_step(_pipe: Any, _step: int, _time: Any, kept: dict[str, Any]) -> dict[str, Any]:
            if not is_wanted():
                raise asyncio.CancelledError
            return kept

        with _one_at_a_time:
            pipeline = _load(config.checkpoint, config.device, config.dtype)
            import torch  # noqa: PLC0415

            try:
                answer = pipeline(
                    prompt=config.prompt if wish.prompt is None else wish.prompt,
                    image=Image.fromarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA)),
                    mask_image=Image.fromarray(
                        cv2.resize(hole * 255, size, interpolation=cv2.INTER_NEAREST)
                    ),
                    width=size[0],
                    height=size[1],
                    guidance_scale=config.guidance if wish.guidance is None else wish.guidance,
                    num_inference_steps=config.steps,
                    generator=torch.Generator("cpu").manual_seed(config.seed),
                    callback_on_step_end=after_step,
                )
            except (RuntimeError, ValueError, TypeError) as error:
                raise InpainterError(f"the diffusion model failed: {error}") from error
        given = np.asarray(answer.images[0].convert("RGB"), np.uint8)
        return np.asarray(
            cv2.resize(given, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8
        )


def model_size(width: int, height: int, side_px: int) -> tuple[int, int]:
    """The width and height that a model works on: about the same shape, whole steps of 64.

    >>> model_size(3000, 2000, 512)
    (512, 320)
    """
    scale = side_px / max(width, height)
    steps = (max(1, math.floor(side * scale / _SIDE_MULTIPLE_PX)) for side in (width, height))
    across, down = (step * _SIDE_MULTIPLE_PX for step in steps)
    return across, down


@lru_cache(maxsize=1)
def _load(checkpoint: str, device_name: str, dtype_name: Any) -> Any:
    """The pipeline of a folder, on its device; raises CheckpointError and ConfigError."""
    folder = Path(checkpoint).expanduser()
    _require_whole(folder)
    try:
        from diffusers import AutoPipelineForInpainting  # noqa: PLC0415

        from segpipe.models.torch_model import choose_device, choose_dtype  # noqa: PLC0415
    except ImportError as error:
        raise CheckpointError(
            f"the diffusion model needs {error.name}: {_EXTRA}", field="inpainter"
        ) from error
    device = choose_device(device_name)
    try:
        load: Any = AutoPipelineForInpainting.from_pretrained
        pipeline = load(
            folder,
            dtype=choose_dtype(dtype_name, device),
            use_safetensors=True,
            local_files_only=True,
        )
    except MemoryError:
        raise
    # Each library complains of nonsense in its own way; all mean the same here.
    except Exception as error:
        raise CheckpointError(
            f"the checkpoint {folder} cannot be loaded as an inpainting pipeline "
            f"({type(error).__name__}: {error}); copy it again, or take one made for inpainting",
            field="checkpoint",
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def _require_whole(folder: Path) -> None:
    """Refuse a folder that holds no pipeline, or pickles in place of safetensors."""
    if not (folder / _INDEX).is_file():
        raise CheckpointError(
            f"the checkpoint {folder} has no {_INDEX}: give the folder of an inpainting pipeline "
            "of diffusers",
            field="checkpoint",
        )
    if not any(folder.glob("*/*.safetensors")):
        pickles = sorted({path.name for each in _PICKLES for path in folder.glob(f"*/{each}")})
        said = (
            f"its weights are pickles ({', '.join(pickles)}), which may run code and are not loaded"
            if pickles
            else "it has no weights"
        )
        raise CheckpointError(
            f"the checkpoint {folder} cannot be used: {said}; take its safetensors",
            field="checkpoint",
        )
