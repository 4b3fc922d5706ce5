"""``segpipe erase``."""

import json
from pathlib import Path

import numpy as np
import pytest

from segpipe.vision.encode import encode_png
from segpipe.vision.image import RgbImage, decode_image
from segpipe_tests.cli.conftest import Cli
from segpipe_tests.deals import make_deal
from segpipe_tests.goods import goods_image, require_clean

PHOTO, CLEAN = goods_image(2), goods_image(1)
MASK = (PHOTO != CLEAN).any(axis=2).astype(np.uint8) * 255


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(encode_png(PHOTO))
    return path


def picture(path: Path) -> RgbImage:
    return decode_image(path.read_bytes()).rgb


def test_what_is_pointed_at_boxed_or_masked_goes(cli: Cli, photo: Path, tmp_path: Path) -> None:
    mask, out = tmp_path / "mask.png", tmp_path / "clean.png"
    mask.write_bytes(encode_png(MASK[..., None]))
    for form in (
        ("--points", "29,28"),
        ("--points", "29,28", "--off", "9,28"),
        ("--box", "22,18,38,38"),
        ("--mask", str(mask)),
    ):
        # Near enough to the item that what lies beside it does not run into the hole.
        near = ("--dilate-px", "1", "--out", str(out), "--overwrite", "--json")
        result = cli("erase", str(photo), *form, *near)
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout)
        assert (told["picture"], told["mask"]) == (str(out), None)
        assert 12 * 16 - 4 <= told["erased_px"] <= 12 * 16  # a segmenter may round the corners
        require_clean(picture(out), CLEAN, PHOTO)
    np.testing.assert_array_equal(picture(photo), PHOTO)


def test_an_item_goes_from_the_photo_in_which_it_was_found_and_from_no_other(
    cli: Cli, root: Path, photo: Path, tmp_path: Path
) -> None:
    make_deal(root, "lot", (2,))
    cli("run", "lot")
    (own,) = root.glob("deals/lot/images/a.*")
    item, out = ("--item", "lot/a/0"), ("--out", str(tmp_path / "clean.png"))
    same = tmp_path / "copy.png"
    same.write_bytes(own.read_bytes())
    assert cli("erase", str(same), *item, *out).exit_code == 0
    photo.write_bytes(encode_png(goods_image(1)))  # of the same size
    result = cli("erase", str(photo), *item, "--out", str(tmp_path / "other.png"))
    assert result.exit_code == 1
    assert f"the mask failed: {photo} is not a.png, the photo in which" in result.stderr
    own.write_bytes(photo.read_bytes())
    result = cli("erase", *item, "--out", str(tmp_path / "other.png"))
    assert result.exit_code == 1
    assert "a.png changed since the item was found: run the deal again" in result.stderr
    assert not (tmp_path / "other.png").exists()


def test_an_item_of_a_deal_goes(cli: Cli, root: Path, tmp_path: Path) -> None:
    make_deal(root, "lot", (2,))
    cli("run", "lot")
    out = tmp_path / "clean.png"
    told = cli("erase", "--item", "lot/a/0", "--item", "lot/a/1", "--out", str(out))
    assert told.exit_code == 0, told.output
    require_clean(picture(out), goods_image(0), PHOTO)
    for item, said in (
        ("lot/a/7", "no item 7 in photo 'a'"),
        ("lot/z/0", "no photo 'z'"),
        ("lots/a/0", "did you mean 'lot'?"),
        ("lot/a", "is not DEAL/IMAGE/N"),
    ):
        result = cli("erase", "--item", item, "--out", str(tmp_path / "other.png"))
        assert result.exit_code == 1
        assert said in result.stderr
    assert not (tmp_path / "other.png").exists()


def test_the_mask_is_kept_beside_the_picture_when_it_is_asked_for(
    cli: Cli, photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "clean.jpg"
    result = cli("erase", str(photo), "--points", "29,28", "--out", str(out), "--keep-mask")
    assert result.exit_code == 0
    (mask,) = tmp_path.glob("clean_mask_??????.png")
    assert str(mask) in result.stdout
    assert np.count_nonzero(picture(mask)[..., 0] != MASK) <= 4  # corners


def test_what_cannot_be_done_is_told_and_writes_nothing(
    cli: Cli, photo: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "clean.png")
    taken = tmp_path / "taken.png"
    taken.write_bytes(b"somebody's")
    for arguments, said in (
        ((str(photo), "--out", out), "exactly one of --points, --box, --text, --mask and --item"),
        ((str(photo), "--points", "29,28"), "--out clean.png"),
        ((str(photo), "--points", "29,28", "--out", str(photo)), "is the photo itself"),
        ((str(photo), "--points", "29,28", "--out", str(taken)), "is there already"),
        ((str(photo), "--points", "29,28", "--out", "a.gif"), "must end in .png"),
        ((str(photo), "--points", "290,28", "--out", out), "the mask failed"),
        ((str(photo), "--text", "ring", "--out", out), "the mask failed"),
        ((str(tmp_path / "no.jpg"), "--points", "1,1", "--out", out), "cannot be read"),
        (("--points", "1,1", "--out", out), "name the photo"),
        ((str(photo), "--box", "22,18,38,38", "--off", "9,28", "--out", out), "beside --points"),
        ((str(photo), "--mask", str(photo), "--off", "9,28", "--out", out), "beside --points"),
    ):
        result = cli("erase", *arguments)
        assert result.exit_code == 1, result.output
        assert said in " ".join(result.stderr.split())
    assert not Path(out).exists()
    assert taken.read_bytes() == b"somebody's"
    assert not list(tmp_path.glob(".segpipe-*"))


def test_a_file_says_who_is_asked_and_who_fills(cli: Cli, photo: Path, tmp_path: Path) -> None:
    settings, out = tmp_path / "erase.yaml", tmp_path / "clean.png"
    settings.write_text("inpainter: {kind: opencv, method: ns}\nerase: {dilate_px: 1}\n")
    form = ("erase", str(photo), "--points", "29,28", "--out", str(out), "--config", str(settings))
    assert cli(*form).exit_code == 0
    require_clean(picture(out), CLEAN, PHOTO)
    settings.write_text("inpainter: {kind: opencv, method: nx}\n")
    wrong = cli(*form, "--overwrite")
    assert wrong.exit_code == 1
    assert "inpainter.method" in wrong.stderr


def test_a_hole_that_cannot_be_filled_says_that_the_filling_failed(
    cli: Cli, photo: Path, tmp_path: Path
) -> None:
    everything = tmp_path / "all.png"
    everything.write_bytes(encode_png(np.full((*PHOTO.shape[:2], 1), 255, np.uint8)))
    out = tmp_path / "clean.png"
    result = cli("erase", str(photo), "--mask", str(everything), "--out", str(out))
    assert result.exit_code == 1
    assert "the filling failed: " in result.stderr
    assert not out.exists()
