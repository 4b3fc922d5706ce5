"""Every example in a docstring of segpipe runs, and gives what it says."""

import doctest
import importlib
from pathlib import Path
from pkgutil import resolve_name

import pytest

import segpipe

ROOT = Path(segpipe.__file__).parent
PROMPT = ">>> "
CALLED_BY_USERS = (
    "segpipe.flow.one_photo:segment",
    "segpipe.flow.one_photo:segment_folder",
    "segpipe.formats.format_registry:export_format",
    "segpipe.formats.format_registry:import_format",
    "segpipe.pipeline.io_manager:StoredAsset",
    "segpipe.prompt:Prompt",
    "segpipe.prompt:Prompt.for_image",
    "segpipe.prompt:Prompt.to_json",
    "segpipe.refiners.build_refiner:build_refiner",
    "segpipe.segmenters.build_segmenter:build_segmenter",
    "segpipe.settings:Settings.identity",
    "segpipe.store.data_root:DataRoot",
    "segpipe.store.snapshot:Snapshot",
    "segpipe.store.tables:current_tables",
    "segpipe.vision.boxes:pixel_window",
    "segpipe.vision.contour:mask_outlines",
    "segpipe.vision.contour:mask_to_path",
    "segpipe.vision.contour:masks_to_paths",
    "segpipe.vision.crop:crop_item",
    "segpipe.vision.crop:encode_crop",
    "segpipe.vision.dedup:dedup",
    "segpipe.vision.encode:encode_png",
    "segpipe.vision.image:decode_image",
    "segpipe.vision.mask:Mask.from_full",
    "segpipe.vision.mask:iou",
    "segpipe.vision.mask_codecs:to_base64",
    "segpipe.vision.mask_codecs:to_coco_rle",
    "segpipe.vision.path_fill:path_to_mask",
)


def _modules_with_examples() -> list[str]:
    """Found by their text, so that no other module has to be imported."""
    return sorted(
        ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in ROOT.rglob("*.py")
        if PROMPT in path.read_text(encoding="utf-8")
    )


@pytest.mark.parametrize("name", _modules_with_examples())
def test_the_examples_of_a_module_give_what_they_say(name: str) -> None:
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    module = importlib.import_module(name)

    for examples in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(examples, out=report.append)

    assert runner.summarize(verbose=False).failed == 0, "".join(report)
    assert runner.tries > 0


def test_what_users_call_has_an_example() -> None:
    without = [name for name in CALLED_BY_USERS if PROMPT not in (resolve_name(name).__doc__ or "")]
    assert without == []
