"""The settings as Dagster config: the same models, editable in the launchpad.

A subclass of a settings model and ``dg.Config`` keeps the fields, defaults and validation of the
one and the launchpad of the other; only fields that hold other models are named again.
"""

from typing import Literal

import dagster as dg
from pydantic import Field

from segpipe.flow.settings import (
    CheckSettings,
    CropSettings,
    DedupSettings,
    FlowSettings,
    PhotoSettings,
    ReportSettings,
)
from segpipe.refiners.grabcut import GrabCutConfig
from segpipe.refiners.none import NoneConfig
from segpipe.segmenters.classical import ClassicalConfig
from segpipe.segmenters.config import RecursiveConfig


class ClassicalOptions(ClassicalConfig, dg.Config):
    """The classical segmenter: no weights, no server."""


class RecursiveOptions(RecursiveConfig, dg.Config):
    """Any other segmenter, asked again after what it found is painted out."""

    inner: ClassicalOptions = Field(
        default=ClassicalOptions(), description="The segmenter that looks at each picture."
    )


SegmenterOptions = ClassicalOptions | RecursiveOptions


class NoneOptions(NoneConfig, dg.Config):
    """No refinement: coarse masks are used as they are."""


class GrabCutOptions(GrabCutConfig, dg.Config):
    """Refinement by GrabCut around the coarse edge."""


RefinerOptions = NoneOptions | GrabCutOptions


class PhotoOptions(PhotoSettings, dg.Config):
    """How photos are read."""


class DedupOptions(DedupSettings, dg.Config):
    """Which detections count as the same item."""


class CropOptions(CropSettings, dg.Config):
    """How survivors are cut out."""


class ReportOptions(ReportSettings, dg.Config):
    """The report."""


class CheckOptions(CheckSettings, dg.Config):
    """When checks warn."""


class FlowOptions(FlowSettings, dg.Config):
    """All settings of a mode."""

    photos: PhotoOptions = PhotoOptions()
    dedup: DedupOptions = DedupOptions()
    crops: CropOptions = CropOptions()
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
