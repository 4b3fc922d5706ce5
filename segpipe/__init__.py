"""Every item out of photos: masks, outlines and cut-outs.

For one photo, or a folder of them, in Python::

    import segpipe

    result = segpipe.segment("photo.jpg")
    for item in result.items:
        print(item.box, item.score, item.outline)

Deals, runs and lineage are the business of the command ``segpipe`` and of Dagster.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segpipe.flow.one_photo import FoundItem, PhotoResult, segment, segment_folder
    from segpipe.prompt import Exemplar, Mode, Point, Prompt
    from segpipe.refiners.build_refiner import build_refiner
    from segpipe.segmenters.build_segmenter import build_segmenter
    from segpipe.vision.boxes import Box
    from segpipe.vision.mask import Mask

__all__ = [
    "Box",
    "Exemplar",
    "FoundItem",
    "Mask",
    "Mode",
    "PhotoResult",
    "Point",
    "Prompt",
    "build_refiner",
    "build_segmenter",
    "segment",
    "segment_folder",
]

_HOMES = {
    "Box": "segpipe.vision.boxes",
    "Exemplar": "segpipe.prompt",
    "FoundItem": "segpipe.flow.one_photo",
    "Mask": "segpipe.vision.mask",
    "Mode": "segpipe.prompt",
    "PhotoResult": "segpipe.flow.one_photo",
    "Point": "segpipe.prompt",
    "Prompt": "segpipe.prompt",
    "build_refiner": "segpipe.refiners.build_refiner",
    "build_segmenter": "segpipe.segmenters.build_segmenter",
    "segment": "segpipe.flow.one_photo",
    "segment_folder": "segpipe.flow.one_photo",
}


def __getattr__(name: str) -> Any:
    """What is imported when it is asked for, so that a command never pays for what it leaves."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
