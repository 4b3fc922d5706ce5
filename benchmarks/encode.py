"""The encoders that a crop could be written with: ``python -m benchmarks.encode``.

A lossy encoder may spoil alpha; by how much is told where it does.

Every encoder writes the same cut-outs, in turn, round after round, so that a busy machine slows
all of them alike. fpng and imagecodecs take part where they are installed.
"""

import importlib
import importlib.util
import io
from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from skimage import data

from benchmarks.timing import median_seconds
from segpipe.vision.encode import (
    DEFAULT_AVIF_QUALITY,
    DEFAULT_JPEG_QUALITY,
    DEFAULT_WEBP_QUALITY,
    FAST_WEBP_METHOD,
    encode_avif,
    encode_jpeg,
    encode_png,
    encode_webp,
)
from segpipe.vision.image import RgbImage

Encode = Callable[[NDArray[np.uint8]], bytes]

ROUNDS = 9
SIDES_PX = (200, 400, 800)
CAMERA_NOISE = 2.0
CHOSEN_PNG = "segpipe: filter up, isal 1"
CHOSEN_WEBP = f"segpipe: pillow, method {FAST_WEBP_METHOD}"
CHOSEN_AVIF = "segpipe: pillow, 4:4:4, speed 8, lossless alpha"
CHOSEN_JPEG = "segpipe: simplejpeg 4:2:0"


def cut_outs() -> list[NDArray[np.uint8]]:
    """RGBA squares with a tilted ellipse of photo texture, transparent around it."""
    rng = np.random.default_rng(0)
    made = []
    for name in ("coffee", "chelsea", "astronaut", "rocket", "retina"):
        photo = getattr(data, name)()
        for side in SIDES_PX:
            rgb = _like_a_camera(rng, _middle(photo, side))
            alpha = np.zeros((side, side), np.uint8)
            axes = (round(0.48 * side), round(0.42 * side))
            cv2.ellipse(alpha, (side // 2, side // 2), axes, 20, 0, 360, (255,), cv2.FILLED)
            made.append(np.dstack([rgb * (alpha[..., None] > 0), alpha]))
    return made


def soft_edged(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A cut-out with partly transparent pixels along its edge."""
    alpha = np.minimum(cv2.GaussianBlur(rgba[..., 3], (0, 0), 2.0), rgba[..., 3])
    return np.dstack([rgba[..., :3], alpha])


def _middle(photo: RgbImage, side: int) -> RgbImage:
    enlarge = max(1.0, side / min(photo.shape[:2]))
    enlarged = cv2.resize(photo, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
    y, x = (enlarged.shape[0] - side) // 2, (enlarged.shape[1] - side) // 2
    return np.asarray(enlarged[y : y + side, x : x + side], np.uint8)


def _like_a_camera(rng: np.random.Generator, rgb: RgbImage) -> RgbImage:
    """With the noise and the JPEG traces that enlarged sample photos lack."""
    noisy = np.clip(rgb + rng.normal(0, CAMERA_NOISE, rgb.shape), 0, 255).astype(np.uint8)
    encoded = simplejpeg.encode_jpeg(noisy, quality=92, colorspace="RGB", colorsubsampling="420")
    return np.asarray(simplejpeg.decode_jpeg(encoded), np.uint8)


def png_encoders() -> dict[str, Encode]:
    level, strategy, png_filter = (
        cv2.IMWRITE_PNG_COMPRESSION,
        cv2.IMWRITE_PNG_STRATEGY,
        cv2.IMWRITE_PNG_FILTER,
    )
    rle, huffman = cv2.IMWRITE_PNG_STRATEGY_RLE, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY
    encoders = {
        CHOSEN_PNG: encode_png,
        "opencv: defaults": _opencv_png(),
        "opencv: level 1": _opencv_png(level, 1),
        "opencv: level 3": _opencv_png(level, 3),
        "opencv: RLE, filter up": _opencv_png(
            level, 1, strategy, rle, png_filter, cv2.IMWRITE_PNG_FILTER_UP
        ),
        "opencv: RLE, filter Paeth": _opencv_png(
            level, 1, strategy, rle, png_filter, cv2.IMWRITE_PNG_FILTER_PAETH
        ),
        "opencv: Huffman only": _opencv_png(strategy, huffman),
        "pillow: level 1": _pillow_png(1),
        "pillow: level 6 (default)": _pillow_png(6),
    }
    if importlib.util.find_spec("fpng"):
        encoders["fpng"] = importlib.import_module("fpng").from_ndarray
    if importlib.util.find_spec("imagecodecs"):
        imagecodecs = importlib.import_module("imagecodecs")
        encoders["imagecodecs: png, level 1"] = lambda rgba: imagecodecs.png_encode(rgba, level=1)
    return encoders


def _opencv_png(*settings: int) -> Encode:
    def encode(rgba: NDArray[np.uint8]) -> bytes:
        bgra = cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA)
        return cv2.imencode(".png", bgra, settings)[1].tobytes()

    return encode


def _pillow_png(level: int) -> Encode:
    def encode(rgba: NDArray[np.uint8]) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(rgba).save(buffer, "PNG", compress_level=level)
        return buffer.getvalue()

    return encode


def jpeg_encoders() -> dict[str, Encode]:
    def simplejpeg_full_chroma(rgb: NDArray[np.uint8]) -> bytes:
        encoded: bytes = simplejpeg.encode_jpeg(
            rgb, quality=DEFAULT_JPEG_QUALITY, colorspace="RGB", colorsubsampling="444"
        )
        return encoded

    def opencv(rgb: NDArray[np.uint8]) -> bytes:
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        settings = (cv2.IMWRITE_JPEG_QUALITY, DEFAULT_JPEG_QUALITY)
        return cv2.imencode(".jpg", bgr, settings)[1].tobytes()

    def pillow(rgb: NDArray[np.uint8]) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, "JPEG", quality=DEFAULT_JPEG_QUALITY)
        return buffer.getvalue()

    return {
        CHOSEN_JPEG: encode_jpeg,
        "simplejpeg 4:4:4": simplejpeg_full_chroma,
        "opencv": opencv,
        "pillow": pillow,
    }


def webp_encoders() -> dict[str, Encode]:
    """All at one quality, by how much they try to save."""
    encoders: dict[str, Encode] = {
        CHOSEN_WEBP: partial(encode_webp, quality=DEFAULT_WEBP_QUALITY, method=FAST_WEBP_METHOD),
        "opencv": partial(_opencv, ".webp", cv2.IMWRITE_WEBP_QUALITY, DEFAULT_WEBP_QUALITY),
    }
    for method in (0, 4):
        encoders[f"pillow: method {method}"] = partial(
            encode_webp, quality=DEFAULT_WEBP_QUALITY, method=method
        )
    return encoders


def avif_encoders() -> dict[str, Encode]:
    """All at one quality, by speed."""
    encoders: dict[str, Encode] = {CHOSEN_AVIF: partial(encode_avif, quality=DEFAULT_AVIF_QUALITY)}
    for speed in (8, 9):
        encoders[f"opencv: 4:2:0, speed {speed}"] = partial(
            _opencv,
            ".avif",
            *(cv2.IMWRITE_AVIF_QUALITY, DEFAULT_AVIF_QUALITY, cv2.IMWRITE_AVIF_SPEED, speed),
        )
    for speed in (7, 9):
        encoders[f"pillow: 4:4:4, speed {speed}"] = partial(_pillow_avif, speed)
    return encoders


def _opencv(suffix: str, *settings_and_rgba: object) -> bytes:
    *settings, rgba = settings_and_rgba
    bgra = cv2.cvtColor(np.asarray(rgba, np.uint8), cv2.COLOR_RGBA2BGRA)
    return cv2.imencode(suffix, bgra, [int(str(value)) for value in settings])[1].tobytes()


def _pillow_avif(speed: int, rgba: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(
        buffer,
        "AVIF",
        quality=DEFAULT_AVIF_QUALITY,
        speed=speed,
        subsampling="4:4:4",
        max_threads=1,
    )
    return buffer.getvalue()


def spoilt_alpha(encode: Encode, pictures: Sequence[NDArray[np.uint8]]) -> int:
    """The largest error of alpha in levels; of pictures without alpha, none."""
    worst = 0
    for picture in pictures:
        with Image.open(io.BytesIO(encode(picture))) as read:
            if read.mode == "RGBA":
                apart = np.asarray(read)[..., 3].astype(int) - picture[..., 3]
                worst = max(worst, int(np.abs(apart).max()))
    return worst


def comparison(
    title: str, encoders: dict[str, Encode], chosen: str, pictures: Sequence[NDArray[np.uint8]]
) -> Table:
    """Times are medians over the rounds, for all pictures together."""
    size = dict.fromkeys(encoders, 0)

    def encode_all(name: str) -> None:
        size[name] = sum(len(encoders[name](picture)) for picture in pictures)

    tasks = {name: partial(encode_all, name) for name in encoders}
    median = median_seconds(tasks, rounds=ROUNDS)
    megapixels = sum(picture.shape[0] * picture.shape[1] for picture in pictures) / 1e6
    table = Table(title=f"{title}: {len(pictures)} cut-outs, {megapixels:.1f} MP")
    table.add_column("encoder")
    for heading in ("ms", "MP/s", "time ratio", "MB", "size ratio", "alpha off by"):
        table.add_column(heading, justify="right")
    for name in sorted(encoders, key=median.__getitem__):
        table.add_row(
            name,
            f"{median[name] * 1e3:.1f}",
            f"{megapixels / median[name]:.0f}",
            f"{median[name] / median[chosen]:.2f}",
            f"{size[name] / 1e6:.2f}",
            f"{size[name] / size[chosen]:.2f}",
            f"{spoilt_alpha(encoders[name], pictures)}",
            style="bold" if name == chosen else None,
        )
    return table


def main() -> None:
    cv2.setNumThreads(1)
    pictures = cut_outs()
    console = Console()
    console.print(comparison("PNG, lossless", png_encoders(), CHOSEN_PNG, pictures))
    rgb = [np.ascontiguousarray(picture[..., :3]) for picture in pictures]
    small = [soft_edged(picture) for picture in pictures if len(picture) < max(SIDES_PX)]
    title = f"WebP, quality {DEFAULT_WEBP_QUALITY}"
    console.print(comparison(title, webp_encoders(), CHOSEN_WEBP, small))
    title = f"AVIF, quality {DEFAULT_AVIF_QUALITY}"
    console.print(comparison(title, avif_encoders(), CHOSEN_AVIF, small))
    title = f"JPEG, quality {DEFAULT_JPEG_QUALITY}"
    console.print(comparison(title, jpeg_encoders(), CHOSEN_JPEG, rgb))


if __name__ == "__main__":
    main()
