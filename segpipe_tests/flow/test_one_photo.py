"""The Python door: photos without a deal."""

import asyncio
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import segpipe
from segpipe.errors import (
    ConfigError,
    CorruptImageError,
    EmptyDealError,
    PromptError,
    SegpipeError,
    UnreadablePhotoError,
    UnsupportedFormatError,
    UnsupportedPromptError,
)
from segpipe.segmenters.classical import ClassicalConfig
from segpipe_tests.goods import goods_image, goods_photo


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "a.png"
    path.parent.mkdir()
    path.write_bytes(goods_photo(3))
    return path


def test_a_path_its_bytes_and_its_pixels_give_the_same(photo: Path) -> None:
    boxes = [
        [item.box for item in segpipe.segment(source).items]
        for source in (photo, str(photo), photo.read_bytes(), goods_image(3))
    ]
    assert len(boxes[0]) == 3
    assert all(one == boxes[0] for one in boxes)


def test_an_item_has_its_mask_outline_and_cut_out(photo: Path) -> None:
    result = segpipe.segment(photo, refiner="none")
    assert (result.width, result.height) == (160, 120)
    assert (result.segmenter, result.refiner) == ("classical", "none")
    for item in result.items:
        assert item.mask is not None
        assert item.outline.startswith("M")
        assert 0 < item.score <= 1
        height, width = item.cutout.shape[:2]
        assert (width, height) == (item.box.x2 - item.box.x1, item.box.y2 - item.box.y1)
        assert item.cutout.shape[2] == 4
        assert int((item.cutout[..., 3] > 0).sum()) == item.mask.area


def test_what_is_found_is_what_a_run_finds(photo: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from segpipe.cli.app import app
    from segpipe.store.store import DealStore

    root = tmp_path / "data"
    for arguments in (["add", "lot", str(photo)], ["run", "lot"]):
        done = CliRunner().invoke(app, [*arguments, "--root", str(root)])
        assert done.exit_code == 0, done.output
    snapshot = DealStore(root).current("lot", "find_all")
    assert snapshot
    rows = pq.read_table(snapshot.path("refinement", "refinement.parquet")).to_pylist()
    items = segpipe.segment(photo).items
    assert [item.outline for item in items] == [row["svg_path"] for row in rows]


@pytest.mark.parametrize("segmenter", ["classical", {"kind": "classical"}, ClassicalConfig()])
def test_a_segmenter_is_named_described_or_built(photo: Path, segmenter: object) -> None:
    assert len(segpipe.segment(photo, segmenter=segmenter).items) == 3  # type: ignore[arg-type]


def test_a_segmenter_that_was_built_is_used_again_and_not_closed(photo: Path) -> None:
    built = segpipe.build_segmenter(ClassicalConfig())
    counts = [len(segpipe.segment(photo, segmenter=built).items) for _ in range(3)]
    assert counts == [3, 3, 3]


def test_a_prompt_says_what_to_look_for(photo: Path) -> None:
    box = segpipe.Box(2, 16, 20, 40)
    prompt = segpipe.Prompt(mode=segpipe.Mode.INSIDE_BOX, boxes=(box,))
    (item,) = segpipe.segment(photo, prompt=prompt).items
    assert item.box.x1 >= box.x1
    assert item.box.x2 <= box.x2
    with pytest.raises(UnsupportedPromptError, match="text"):
        segpipe.segment(photo, prompt=segpipe.Prompt(texts=("ring",)))
    with pytest.raises(PromptError, match="outside"):
        segpipe.segment(
            photo,
            prompt=segpipe.Prompt(mode=prompt.mode, boxes=(segpipe.Box(500, 500, 600, 600),)),
        )


def test_a_photo_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePhotoError, match="no-such"):
        segpipe.segment(tmp_path / "no-such.jpg")
    with pytest.raises(UnreadablePhotoError, match=tmp_path.name):
        segpipe.segment(tmp_path)


def test_what_is_no_picture_is_refused(photo: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:200])
    with pytest.raises(CorruptImageError, match=r"a\.png"):
        segpipe.segment(photo)
    with pytest.raises(UnsupportedFormatError, match=r"\(h, w, 3\)"):
        segpipe.segment(np.zeros((4, 4), np.uint8))
    with pytest.raises(SegpipeError, match="pixels"):
        segpipe.segment(goods_photo(1), max_megapixels=0.001)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"segmenter": "clasical"}, "segmenter"),
        ({"segmenter": {"kind": "classical", "no_such": 1}}, "segmenter.classical.no_such"),
        ({"refiner": {"kind": "grabcut", "iterations": 0}}, "refiner.grabcut.iterations"),
    ],
)
def test_settings_that_make_no_sense_name_their_field(
    photo: Path, options: dict[str, object], field: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        segpipe.segment(photo, **options)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_it_may_be_called_where_an_event_loop_runs(photo: Path) -> None:
    async def notebook() -> int:
        return len(segpipe.segment(photo).items)

    assert asyncio.run(notebook()) == 3


def test_a_folder_gives_its_photos_by_name(photo: Path) -> None:
    (photo.parent / "b.png").write_bytes(goods_photo(2))
    (photo.parent / ".DS_Store").write_bytes(b"x")
    found = [(path.name, len(one.items)) for path, one in segpipe.segment_folder(photo.parent)]
    assert found == [("a.png", 3), ("b.png", 2)]


def test_a_bad_photo_of_a_folder_is_raised_or_told(photo: Path) -> None:
    (photo.parent / "b.png").write_bytes(goods_photo(2)[:300])
    (photo.parent / "c.png").write_bytes(goods_photo(1))
    with pytest.raises(CorruptImageError, match=r"b\.png"):
        list(segpipe.segment_folder(photo.parent))
    told: dict[str, SegpipeError] = {}
    found = segpipe.segment_folder(
        photo.parent, on_error=lambda path, error: told.update({path.name: error})
    )
    assert [path.name for path, _ in found] == ["a.png", "c.png"]
    assert list(told) == ["b.png"]


def test_a_folder_that_is_not_there_or_empty_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EmptyDealError, match="no folder"):
        list(segpipe.segment_folder(tmp_path / "none"))
    with pytest.raises(EmptyDealError, match="no photos"):
        list(segpipe.segment_folder(tmp_path))


def test_the_names_of_the_package_are_those_that_are_promised() -> None:
    assert segpipe.__all__ == sorted(segpipe.__all__)
    for name in segpipe.__all__:
        assert getattr(segpipe, name).__name__ == name
    with pytest.raises(AttributeError, match="no_such"):
        segpipe.no_such  # noqa: B018
