"""Segmenters by configuration: the only place that maps a kind to a class."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from segpipe.segmenters.cache import CacheConfig, CachedSegmenter
from segpipe.segmenters.classical import ClassicalConfig, ClassicalSegmenter
from segpipe.segmenters.each_text import EachText
from segpipe.segmenters.recursive import RecursiveSegmenter
from segpipe.segmenters.sam3.local import LocalConfig, LocalSegmenter
from segpipe.segmenters.sam3.segmind import BoxByBox, SegmindConfig, SegmindSegmenter
from segpipe.segmenters.sam3.service import InternalConfig, InternalSegmenter
from segpipe.segmenters.segmenter import Segmenter
from segpipe.settings import Settings

DATA_FOLDER = Path("data")
"""Where segmenters keep answers and accounts, unless they are told otherwise."""


class Sam3Config(Settings):
    """SAM 3: finds what a text or examples name, or what is in a box."""

    operational: ClassVar[frozenset[str]] = frozenset({"cache"})

    kind: Literal["sam3"] = "sam3"
    backend: SegmindConfig | InternalConfig | LocalConfig = Field(
        discriminator="kind",
        description="Where it runs: Segmind's API, our inference service, or this process.",
    )
    texts: list[str] = Field(
        default=[],
        description="What to find where a prompt says nothing, such as [ring, bracelet]. Each is "
        "asked for by itself and labels what it finds; with none, everything is found.",
    )
    cache: CacheConfig = Field(
        default=CacheConfig(), description="Keeps answers, so that none is paid for twice."
    )


class RecursiveConfig(Settings):
    """Look again after painting out what was found."""

    kind: Literal["recursive"] = "recursive"
    inner: ClassicalConfig | Sam3Config = Field(
        default=ClassicalConfig(),
        discriminator="kind",
        description="The segmenter that looks at each picture.",
    )
    max_passes: int = Field(default=2, ge=1, description="Passes over an image at most.")
    min_new_detections: int = Field(
        default=1, ge=1, description="New detections that a pass needs to earn another one."
    )
    fill_color: list[Annotated[int, Field(ge=0, le=255)]] = Field(
        default=[128, 128, 128],
        min_length=3,
        max_length=3,
        description="The RGB colour that paints out what was found.",
    )
    fill_dilate_px: int = Field(
        default=3, ge=0, description="How far the paint reaches over an item's edge, in pixels."
    )


AnySegmenterConfig = ClassicalConfig | Sam3Config | RecursiveConfig
SegmenterConfig = Annotated[AnySegmenterConfig, Field(discriminator="kind")]
"""Every segmenter that can be configured, told apart by ``kind``."""


def build_segmenter(
    config: AnySegmenterConfig, data_folder: Path = DATA_FOLDER, *, threads: int = 2
) -> Segmenter:
    """Build the segmenter that a configuration describes.

    >>> build_segmenter(RecursiveConfig(inner=ClassicalConfig())).id
    'recursive(classical)'

    Args:
        config: Which segmenter, and how.
        data_folder: Where relative folders of answers and accounts begin.
        threads: Answers that the classical segmenter computes at once.

    Raises:
        ConfigError: A setting cannot work, or a key is missing.
    """
    match config:
        case ClassicalConfig():
            return ClassicalSegmenter(config, threads=threads)
        case Sam3Config():
            return _build_sam3(config, data_folder)
        case RecursiveConfig():
            red, green, blue = config.fill_color
            return RecursiveSegmenter(
                build_segmenter(config.inner, data_folder, threads=threads),
                max_passes=config.max_passes,
                min_new_detections=config.min_new_detections,
                fill_color=(red, green, blue),
                fill_dilate_px=config.fill_dilate_px,
            )


def _build_sam3(config: Sam3Config, data_folder: Path) -> Segmenter:
    segmenter = _build_backend(config.backend, data_folder)
    # Kept answers are those of one text each, so that another list of texts asks for new ones only.
    if config.cache.enabled:
        segmenter = CachedSegmenter(
            segmenter,
            data_folder / config.cache.folder,
            settings=config.backend,
            max_bytes=config.cache.max_bytes,
        )
    if isinstance(config.backend, SegmindConfig):
        segmenter = BoxByBox(segmenter)
    return EachText(segmenter, config.texts)


def _build_backend(
    config: SegmindConfig | InternalConfig | LocalConfig, data_folder: Path
) -> Segmenter:
    match config:
        case SegmindConfig():
            folder = str(data_folder / config.ledger_folder)
            return SegmindSegmenter(config.model_copy(update={"ledger_folder": folder}))
        case InternalConfig():
            return InternalSegmenter(config)
        case LocalConfig():
            return LocalSegmenter(config)
