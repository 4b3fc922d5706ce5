"""Segmenters by configuration: the only place that maps a kind to a class."""

import math
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, cast

from pydantic import Field

from segpipe.errors import ConfigError
from segpipe.segmenters.cache import CacheConfig, CachedSegmenter
from segpipe.segmenters.cache.kept_only import AsksNobody
from segpipe.segmenters.classical import ClassicalConfig, ClassicalSegmenter
from segpipe.segmenters.each_text import EachText
from segpipe.segmenters.kept_data import KeptData
from segpipe.segmenters.local_data import LocalData
from segpipe.segmenters.recursive import RecursiveSegmenter
from segpipe.segmenters.sam3.local import LocalConfig, LocalSegmenter
from segpipe.segmenters.sam3.segmind import BoxByBox, SegmindConfig, SegmindSegmenter
from segpipe.segmenters.sam3.service import InternalConfig, InternalSegmenter
from segpipe.segmenters.segmenter import Segmenter
from segpipe.segmenters.tiled import TiledSegmenter
from segpipe.settings import Settings
from segpipe.vision.tiles import LEAST_OVERLAP, MOST_OVERLAP

_SAM3_PX = 1008
"""The side of the square that SAM 3 sees."""

_LOCAL = LocalData()

BackendConfig = SegmindConfig | InternalConfig | LocalConfig


class Sam3Config(Settings):
    """SAM 3: finds what a text or examples name, or what is in a box."""

    operational: ClassVar[frozenset[str]] = frozenset({"cache"})

    kind: Literal["sam3"] = "sam3"
    backend: BackendConfig = Field(
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


class TilesInPassesConfig(Settings):
    """Look at large photos in tiles, in each pass."""

    kind: Literal["tiled"] = "tiled"
    inner: ClassicalConfig | Sam3Config = Field(
        default=ClassicalConfig(),
        discriminator="kind",
        description="The segmenter that looks at each tile.",
    )
    tile_px: int = Field(
        default=0,
        ge=0,
        description="Longest side of a tile, in pixels: at most what the inner segmenter sees "
        "without scaling down, which is 1008 for sam3 and the root of work_pixels for classical; "
        "0 is just that.",
    )
    overlap_ratio: float = Field(
        default=0.2,
        ge=LEAST_OVERLAP,
        le=MOST_OVERLAP,
        description="Share of a tile's side that neighbours have in common, at least. Items "
        "smaller than that are whole in one of them.",
    )
    whole_photo: bool = Field(
        default=True,
        description="Look for everything in the whole photo too, which finds what is larger than "
        "a tile.",
    )
    min_photo_px: int = Field(
        default=2000,
        ge=0,
        description="Photos whose longer side has fewer pixels go to the inner segmenter as they "
        "are.",
    )


class RecursiveConfig(Settings):
    """Look again after painting out what was found."""

    kind: Literal["recursive"] = "recursive"
    inner: ClassicalConfig | Sam3Config | TilesInPassesConfig = Field(
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


class PassesInTilesConfig(RecursiveConfig):
    """Look again at each tile, after painting out what was found in it."""

    inner: ClassicalConfig | Sam3Config = Field(
        default=ClassicalConfig(),
        discriminator="kind",
        description="The segmenter that looks at each picture.",
    )


class TiledConfig(TilesInPassesConfig):
    """Look at large photos in tiles, for small items."""

    # Settings in the launchpad are a tree, so tiles and passes go into each other only once.
    inner: ClassicalConfig | Sam3Config | PassesInTilesConfig = Field(  # type: ignore[assignment]
        default=ClassicalConfig(),
        discriminator="kind",
        description="The segmenter that looks at each tile.",
    )


AnySegmenterConfig = ClassicalConfig | Sam3Config | RecursiveConfig | TiledConfig
SegmenterConfig = Annotated[AnySegmenterConfig, Field(discriminator="kind")]
"""Every segmenter that can be configured, told apart by ``kind``."""


def innermost(config: AnySegmenterConfig | TilesInPassesConfig) -> ClassicalConfig | Sam3Config:
    """The settings of the segmenter that all the others are around.

    >>> innermost(TiledConfig(inner=PassesInTilesConfig())).kind
    'classical'
    """
    while isinstance(config, RecursiveConfig | TilesInPassesConfig):
        config = config.inner
    return config


def with_innermost(
    config: AnySegmenterConfig, changed: ClassicalConfig | Sam3Config
) -> AnySegmenterConfig:
    """The settings with others of the segmenter that all the others are around.

    >>> changed = ClassicalConfig(work_pixels=90_000)
    >>> innermost(with_innermost(RecursiveConfig(), changed)) == changed
    True
    """
    if not isinstance(config, RecursiveConfig | TilesInPassesConfig):
        return changed
    inner = with_innermost(cast("AnySegmenterConfig", config.inner), changed)
    return config.model_copy(update={"inner": inner})


def build_segmenter(
    config: AnySegmenterConfig | TilesInPassesConfig,
    data: KeptData = _LOCAL,
    *,
    threads: int = 2,
) -> Segmenter:
    """Build the segmenter that a configuration describes.

    >>> build_segmenter(RecursiveConfig(inner=ClassicalConfig())).id
    'recursive(classical)'
    >>> build_segmenter(TiledConfig(inner=PassesInTilesConfig())).id
    'tiled(recursive(classical))'

    Args:
        config: Which segmenter, and how.
        data: Where answers and accounts are kept.
        threads: Answers that the classical segmenter computes at once.

    Raises:
        ConfigError: A setting cannot work, or a key is missing.
    """
    return _build(config, data, threads, _build_backend)


def build_kept_only(config: AnySegmenterConfig, data: KeptData) -> Segmenter:
    """A segmenter that asks nobody: to count what it would ask beside the answers that are kept.

    Its :meth:`~segpipe.segmenters.segmenter.Segmenter.paid_calls` are the questions that no kept
    answer is for, whether they are paid for or not; of a recursive one those of the first pass.

    Args:
        config: Those of the segmenter.
        data: Where answers are kept.

    Raises:
        ConfigError: A setting cannot work, or a key is missing.
    """
    return _build(config, data, 1, lambda *backend: AsksNobody(_build_backend(*backend)))


def _build(
    config: AnySegmenterConfig | TilesInPassesConfig,
    data: KeptData,
    threads: int,
    build_backend: Callable[[BackendConfig, KeptData], Segmenter],
) -> Segmenter:
    match config:
        case ClassicalConfig():
            return ClassicalSegmenter(config, threads=threads)
        case Sam3Config():
            return _around(build_backend(config.backend, data), config, data)
        case RecursiveConfig():
            red, green, blue = config.fill_color
            return RecursiveSegmenter(
                _build(config.inner, data, threads, build_backend),
                max_passes=config.max_passes,
                min_new_detections=config.min_new_detections,
                fill_color=(red, green, blue),
                fill_dilate_px=config.fill_dilate_px,
            )
        case TilesInPassesConfig():
            return TiledSegmenter(
                _build(config.inner, data, threads, build_backend),
                tile_px=_tile_px(config),
                overlap_ratio=config.overlap_ratio,
                whole_photo=config.whole_photo,
                min_photo_px=config.min_photo_px,
            )


def _tile_px(config: TilesInPassesConfig) -> int:
    """The side of a tile: what the segmenter at the bottom sees without scaling down, or less."""
    inner = innermost(config)
    most = math.isqrt(inner.work_pixels) if isinstance(inner, ClassicalConfig) else _SAM3_PX
    if config.tile_px > most:
        raise ConfigError(
            f"must be {most} at most, since the inner segmenter scales down what is larger; got "
            f"{config.tile_px}",
            field="tile_px",
        )
    return config.tile_px or most


def _around(segmenter: Segmenter, config: Sam3Config, data: KeptData) -> Segmenter:
    # Kept answers are those of one text each, so that another list of texts asks for new ones only.
    if config.cache.enabled:
        segmenter = CachedSegmenter(
            segmenter,
            data.answers(config.cache.folder, config.cache.max_bytes),
            settings=config.backend,
        )
    if isinstance(config.backend, SegmindConfig):
        segmenter = BoxByBox(segmenter)
    return EachText(segmenter, config.texts)


def _build_backend(config: BackendConfig, data: KeptData) -> Segmenter:
    match config:
        case SegmindConfig():
            return SegmindSegmenter(config, data.ledgers(config.ledger_folder))
        case InternalConfig():
            return InternalSegmenter(config)
        case LocalConfig():
            return LocalSegmenter(config)
