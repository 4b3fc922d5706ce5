"""Reviews by commands: what is decided holds, and says how far each deal is."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from segpipe.cli.app import app
from segpipe.prompt import Mode
from segpipe.store.reviews import Verdict
from segpipe.store.store import DealStore
from segpipe_tests.deals import put_photo, run_deal

STATES = ("accepted", "rejected", "edited", "added", "superseded", "changed", "unreviewed")


@pytest.fixture
def store(tmp_path: Path) -> DealStore:
    return run_deal(tmp_path, "lot")


def told(store: DealStore, *arguments: str, exit_code: int = 0) -> list[dict[str, Any]]:
    command = [*arguments, "--root", store.root.place, "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)["reviews"]  # type: ignore[no-any-return]


def counts(row: dict[str, Any]) -> dict[str, int]:
    return {state: row[state] for state in STATES if row[state]}


def test_items_are_accepted_and_rejected_by_their_numbers_and_all_at_once(store: DealStore) -> None:
    (a, b) = told(store, "review", "lot")
    assert (a["photo"], b["photo"], counts(a)) == ("a", "b", {"unreviewed": 4})
    options = (
        "--photo",
        "a",
        "--reject",
        "1",
        "--reject",
        "3",
        "--reason",
        "double",
        "--by",
        "zoë",
    )
    (a,) = told(store, "review", "lot", *options)
    assert counts(a) == {"rejected": 2, "unreviewed": 2}
    rows = told(store, "review", "lot", "--accept-all", "--done")
    assert [counts(row) for row in rows] == [{"accepted": 2, "rejected": 2}, {"accepted": 4}]
    review = store.reviews.of_image("lot", Mode.FIND_ALL, "a")
    assert review.done
    assert {each.reason for each in review.decisions if each.verdict is Verdict.REJECT} == {
        "double"
    }
    assert {each.created_by for each in review.decisions} > {"zoë"}
    (a,) = told(store, "review", "lot", "--photo", "a", "--accept", "1")
    assert counts(a) == {"accepted": 3, "rejected": 1}, "what was decided can be decided anew"
    put_photo(store, "fresh")
    (lot,) = told(store, "reviews")
    assert (lot["deal"], lot["photo"], lot["photos"], lot["done"]) == ("lot", None, 2, 2)
    assert counts(lot) == {"accepted": 7, "rejected": 1}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--reject", "1"], "--photo"),
        (["--photo", "a", "--reject", "9"], "there is no item 9"),
        (["--photo", "c"], "there are: a, b"),
        (["--reason", "double"], "--reject"),
    ],
)
def test_what_cannot_be_meant_is_told(store: DealStore, options: list[str], says: str) -> None:
    result = CliRunner().invoke(app, ["review", "lot", *options, "--root", store.root.place])
    assert result.exit_code == 1
    assert says in result.stderr
    assert store.reviews.images("lot", Mode.FIND_ALL) == {}


def test_a_review_that_cannot_be_read_is_named(store: DealStore, tmp_path: Path) -> None:
    folder = tmp_path / "deals/lot/reviews/find_all"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text("{")
    result = CliRunner().invoke(app, ["reviews", "--root", store.root.place])
    assert result.exit_code == 1
    assert "reviews/find_all/a.json is no proper JSON" in result.stderr


def test_an_export_takes_what_people_trust(store: DealStore, tmp_path: Path) -> None:
    told(store, "review", "lot", "--photo", "a", "--accept", "0")
    root = store.root.place
    assert CliRunner().invoke(app, ["run", "lot", "--root", root]).exit_code == 0
    out = tmp_path / "only.json"
    command = ["export", "--format", "coco", "--out", str(out), "--reviewed", "only"]
    result = CliRunner().invoke(app, [*command, "--root", root])
    assert result.exit_code == 0, result.output
    assert len(json.loads(out.read_text())["annotations"]) == 1
