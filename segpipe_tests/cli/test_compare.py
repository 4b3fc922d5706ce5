"""Two settings, or two generations, side by side."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe_tests.cli.conftest import Cli
from segpipe_tests.deals import make_deal


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "comparison"


def test_settings_that_find_less_are_told_photo_by_photo(
    cli: Cli, root: Path, tmp_path: Path, out: Path
) -> None:
    make_deal(root, "lot", (2, 3))
    settings = tmp_path / "other.yaml"
    settings.write_text("dedup: {iou_threshold: 0.4}\nrefiner: {kind: none}\n")
    sides = ("--a", "defaults", "--b", str(settings))
    said = json.loads(cli("compare", *sides, "--out", str(out), "--json").stdout)
    totals = said["totals"]
    assert (totals["photos"], totals["failed"]) == (2, 0)
    assert (totals["items_a"], totals["items_b"], totals["matched"]) == (5, 5, 5)
    assert totals["mean_iou"] > 0.8
    assert (said["a"], said["b"]) == ("defaults", str(settings))
    rows = pq.read_table(out / "comparison.parquet").to_pylist()
    assert {row["image"] for row in rows} == {"a", "b"}
    assert all(row["only_a"] == row["only_b"] == 0 for row in rows)
    page = (out / "comparison.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert "5 items in both" in page
    store = DealStore(root)
    assert store.current("lot", Mode.FIND_ALL) is None  # nothing is promoted


def test_what_is_current_is_compared_with_what_was_before(cli: Cli, root: Path, out: Path) -> None:
    make_deal(root, "lot", (2, 3))
    assert cli("run", "lot").exit_code == 0
    assert cli("run", "lot", "--force").exit_code == 0
    sides = ("--a", "current-1", "--b", "current")
    said = json.loads(cli("compare", "lot", *sides, "--out", str(out), "--json").stdout)
    assert (said["totals"]["matched"], said["totals"]["mean_iou"]) == (5, 1.0)
    failed = cli("compare", *("--a", "current-7", "--b", "current"), "--out", str(out))
    assert failed.exit_code == 1
    assert "no generation" in failed.output


def test_a_side_beside_what_people_decided(cli: Cli, root: Path, out: Path) -> None:
    make_deal(root, "lot", (2, 3))
    assert cli("run", "lot").exit_code == 0
    assert cli("review", "lot", "--accept-all").exit_code == 0
    sides = ("--a", "defaults", "--b", "current")
    said = json.loads(cli("compare", *sides, "--out", str(out), "--json").stdout)
    score = said["totals"]["score_b"]
    assert (score["photos"], score["precision"], score["recall"], score["f1"]) == (2, 1, 1, 1)
    assert score["boundary_iou"] == pytest.approx(1.0)


def test_a_photo_that_cannot_be_read_is_named_and_the_others_are_compared(
    cli: Cli, root: Path, out: Path
) -> None:
    make_deal(root, "lot", (2,))
    (root / "deals" / "lot" / "images" / "broken.png").write_bytes(b"no photo")
    result = cli("compare", "--a", "defaults", "--b", "defaults", "--out", str(out))
    assert result.exit_code == 1
    assert "lot, broken.png: A: " in result.output
    assert "2 in both" in result.output


def test_a_sample_is_the_same_for_the_same_seed_and_has_each_kind(
    cli: Cli, root: Path, out: Path
) -> None:
    for number in range(4):
        make_deal(root, f"lot-{number}", (1, 2, 3))
    sides = ("--a", "defaults", "--b", "defaults", "--sample", "5")
    images = []
    for seed in ("1", "1", "2"):
        cli("compare", *sides, "--seed", seed, "--out", str(out))
        rows = pq.read_table(out / "comparison.parquet").to_pylist()
        images.append({(row["deal"], row["image"]) for row in rows})
    assert len(images[0]) == 5
    assert images[0] == images[1] != images[2]


def test_a_side_that_is_none_is_refused_in_words(cli: Cli, root: Path) -> None:
    make_deal(root, "lot", (1,))
    result = cli("compare", "--a", "nothing.yaml", "--b", "saved")
    assert result.exit_code != 0
    assert "'nothing.yaml' is none: give a YAML file of settings" in result.output
