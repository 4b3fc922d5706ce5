"""The settings as Dagster config: the same models, editable in the launchpad.

A subclass of a settings model and ``dg.Config`` keeps the fields, defaults and validation of the
one and the launchpad of the other; only fields that hold other models are named again.
"""

from typing import Literal

import dagster as dg
from pydantic import Field

from segpipe.flow.settings import (
    CheckSettings,
    CocoSettings,
    CropSettings,
    DedupSettings,
    FlowSettings,
    PhotoSettings,
    PromptSettings,
    ReportSettings,
)
from segpipe.refiners.grabcut import GrabCutConfig
from segpipe.refiners.loop.loop_settings import HqSamConfig, Sam3TrackerConfig
from segpipe.refiners.refiner import NoneConfig
from segpipe.segmenters.build_segmenter import RecursiveConfig
from segpipe.segmenters.cache import CacheConfig
from segpipe.segmenters.classical import ClassicalConfig
from segpipe.segmenters.http import HttpSettings
from segpipe.segmenters.sam3.config import Sam3Config
from segpipe.segmenters.sam3.internal import InternalConfig
from segpipe.segmenters.sam3.local import EverythingSettings, LocalConfig
from segpipe.segmenters.sam3.segmind import SegmindConfig


class ClassicalOptions(ClassicalConfig, dg.Config):
    """The classical segmenter: no weights, no server."""


class HttpOptions(HttpSettings, dg.Config):
    """The connection to a backend."""


class SegmindOptions(SegmindConfig, dg.Config):
    """SAM 3 behind Segmind's API."""

    http: HttpOptions = Field(default=HttpOptions(), description="The connection to Segmind.")


class InternalOptions(InternalConfig, dg.Config):
    """SAM 3 behind our own inference service."""

    http: HttpOptions = Field(default=HttpOptions(), description="The connection to the service.")


class EverythingOptions(EverythingSettings, dg.Config):
    """How everything is found without a prompt."""


class LocalOptions(LocalConfig, dg.Config):
    """SAM 3 in the process of the run."""

    everything: EverythingOptions = Field(
        default=EverythingOptions(), description="How everything is found without a prompt."
    )


class CacheOptions(CacheConfig, dg.Config):
    """Where answers are kept."""


class Sam3Options(Sam3Config, dg.Config):
    """SAM 3."""

    backend: SegmindOptions | InternalOptions | LocalOptions = Field(
        discriminator="kind",
        description="Where it runs: Segmind's API, our inference service, or this process.",
    )
    cache: CacheOptions = Field(
        default=CacheOptions(), description="Keeps answers, so that none is paid for twice."
    )


class RecursiveOptions(RecursiveConfig, dg.Config):
    """Any other segmenter, asked again after what it found is painted out."""

    inner: ClassicalOptions | Sam3Options = Field(
        default=ClassicalOptions(),
        discriminator="kind",
        description="The segmenter that looks at each picture.",
    )


SegmenterOptions = ClassicalOptions | Sam3Options | RecursiveOptions


class NoneOptions(NoneConfig, dg.Config):
    """No refinement: coarse masks are used as they are."""


class GrabCutOptions(GrabCutConfig, dg.Config):
    """Refinement by GrabCut around the coarse edge."""


class HqSamOptions(HqSamConfig, dg.Config):
    """Refinement by HQ-SAM, asked about each mask again and again."""


class Sam3TrackerOptions(Sam3TrackerConfig, dg.Config):
    """Refinement by SAM 3's own tracker, asked about each mask again and again."""


RefinerOptions = NoneOptions | GrabCutOptions | HqSamOptions | Sam3TrackerOptions


class PhotoOptions(PhotoSettings, dg.Config):
    """How photos are read."""


class PromptOptions(PromptSettings, dg.Config):
    """What is asked of photos, and what becomes of the answers."""


class DedupOptions(DedupSettings, dg.Config):
    """Which detections count as the same item."""


class CropOptions(CropSettings, dg.Config):
    """How survivors are cut out."""


class CocoOptions(CocoSettings, dg.Config):
    """The COCO JSON of a deal."""


class ReportOptions(ReportSettings, dg.Config):
    """The report."""


class CheckOptions(CheckSettings, dg.Config):
    """When checks warn."""


class FlowOptions(FlowSettings, dg.Config):
    """All settings of a mode."""

    photos: PhotoOptions = PhotoOptions()
    prompts: PromptOptions = PromptOptions()
    dedup: DedupOptions = DedupOptions()
    crops: CropOptions = CropOptions()
    coco: CocoOptions = CocoOptions()
    report: ReportOptions = ReportOptions()
    checks: CheckOptions = CheckOptions()


class RunOptions(FlowOptions):
    """The settings of a mode, and what a run does with deals that are up to date."""

    skip_up_to_date: bool = Field(
        default=False,
        description="Make only the assets that are missing or older than their photos, their "
        "upstream or these settings. Off: everything that was asked for is made anew.",
    )


class LocalRoot(dg.Config):
    """Deals in a folder of this machine."""

    kind: Literal["local"] = "local"
    path: str = Field(default="data", description="The data root, which holds deals/.")


class RemoteRoot(dg.Config):
    """Deals behind a URL that fsspec opens."""

    kind: Literal["remote"] = "remote"
    url: str = Field(description="The data root, such as memory://segpipe.")


RootOptions = LocalRoot | RemoteRoot
