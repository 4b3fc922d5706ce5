"""Runs, rollbacks and sweeps go on from where release 0.1 left a data root."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from segpipe_tests.compatibility.doors import (
    DATA,
    check_pin,
    config_file,
    over_segmind,
    over_service,
    segpipe,
    succeed,
)
from segpipe_tests.compatibility.files import (
    RUNS,
    TABLES,
    TIMES,
    commits,
    fields,
    manifest,
    tables,
    tree,
    version,
    without,
)
from segpipe_tests.loopback import Loopback, Received, Reply, json_reply

MODES = ("find_all", "inside_box")
STAGES = ("segmentation", "dedup", "refinement", "crops", "coco", "deal_report")
OTHER_DEDUP = {"dedup": {"iou_threshold": 1.0, "containment_threshold": 1.0}}


def health_alone(received: Received) -> Reply:
    """A service that says who it is and answers nothing else."""
    if received.path == "/health":
        return json_reply(json.loads((DATA / "health.json").read_text()))
    return Reply(400, b"{}")


def asked(server: Loopback) -> list[str]:
    """What the service was asked for; what Segmind is asked for would be in the ledger."""
    return [request.path for request in server.requests if request.path != "/health"]


def config_of(deal: str, url: str, **options: Any) -> dict[str, Any]:
    return over_segmind(**options) if deal == "paid" else over_service(url, **options)


def seen(root: Path) -> dict[str, bytes]:
    """All files but Dagster's."""
    return {
        path: data
        for folder in ("deals", "cache", "ledger")
        for path, data in tree(root / folder).items()
        if not path.endswith(".lock")
    }


@pytest.mark.parametrize("mode", MODES)
def test_a_deal_of_the_defaults_is_up_to_date(root: Path, mode: str) -> None:
    before = seen(root)
    assert "up to date" in succeed(root, "run", "lot", "--mode", mode)
    assert seen(root) == before


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("deal", ["paid", "served"])
def test_a_deal_of_a_backend_is_up_to_date(
    root: Path, tmp_path: Path, deal: str, mode: str
) -> None:
    shutil.rmtree(root / "cache")  # should anything be stale, it would have to be asked for
    before = seen(root)
    with Loopback(health_alone) as server:
        config = config_file(tmp_path, **config_of(deal, server.url))
        assert "up to date" in succeed(root, "run", deal, "--mode", mode, "--config", config)
        assert asked(server) == []
    assert seen(root) == before


@pytest.mark.parametrize("deal", ["lot", "paid", "served"])
def test_other_dedup_reads_the_stored_detections(root: Path, tmp_path: Path, deal: str) -> None:
    shutil.rmtree(root / "cache")
    old = version(root, deal, "find_all", "segmentation")
    with Loopback(health_alone) as server:
        over = config_of(deal, server.url, **OTHER_DEDUP)
        if deal == "lot":
            del over["resources"]
        succeed(root, "run", deal, "--config", config_file(tmp_path, **over))
        assert asked(server) == []
    assert version(root, deal, "find_all", "segmentation") == old
    new = commits(root, deal, "find_all")[-1]
    assert new["assets"]["dedup"]["made_from"]["segmentation"] == old.parent.parent.name
    rows = tables(root, deal, "find_all")["dedup.parquet"]["rows"]
    assert len(rows) == len(tables(root, deal, "find_all")["detections.parquet"]["rows"])
    assert all(row["kept"] for row in rows)
    assert succeed(root, "verify", deal)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("deal", ["paid", "served"])
def test_kept_answers_are_found_again_and_give_the_same_tables(
    root: Path, tmp_path: Path, deal: str, mode: str
) -> None:
    old_tables = tables(root, deal, mode)
    old_manifests = {stage: manifest(root, deal, mode, stage) for stage in STAGES}
    old_crops = pictures(root, deal, mode)
    old_coco = coco(root, deal, mode)
    paid = tree(root / "ledger")
    with Loopback(health_alone) as server:
        config = config_file(tmp_path, **config_of(deal, server.url))
        succeed(root, "run", deal, "--mode", mode, "--force", "--config", config)
        assert asked(server) == []
    assert tree(root / "ledger") == paid
    assert len(commits(root, deal, mode)) == 2

    # The prompt column may take another form; what a service took is none of this run's.
    passing = TIMES | {"usage", "prompt"}
    new_tables = without_wording(tables(root, deal, mode))
    assert without(new_tables, passing) == without(without_wording(old_tables), passing)
    for row in tables(root, deal, mode)["images.parquet"]["rows"]:
        assert json.loads(row["prompt"])
        assert row["usage"]["calls"] == 0
    assert pictures(root, deal, mode) == old_crops
    assert coco(root, deal, mode) == old_coco
    changing = TIMES | {"created_at", "run_id", "size", "sha256", "usage"}
    for stage, old in old_manifests.items():
        new = manifest(root, deal, mode, stage)
        new["made_from"].pop("review", None)  # a later stage
        assert new["info"]["summary"]["seconds"].pop("review") >= 0
        # Photos without items are warned of now.
        warnings = new["info"]["summary"]["warnings"]
        warnings[:] = [text for text in warnings if not text.endswith(": nothing was found")]
        assert new["info"]["summary"]["seconds"].keys() == old["info"]["summary"]["seconds"].keys()
        of_the_run = frozenset({"usage", "seconds"})  # whose order depends on what ended first
        in_order = [json.dumps(fields(without(one, of_the_run))) for one in (old, new)]
        assert in_order[0] == in_order[1]
        for one in (new, old):
            one["made_from"] = {
                name: made for name, made in one["made_from"].items() if name.startswith("deal_")
            }
        assert without(new, changing) == without(old, changing)


def without_wording(value: Any) -> Any:
    """Of reasons it counts whether there is one."""
    if isinstance(value, dict):
        return {
            key: one is not None if key == "reason" else without_wording(one)
            for key, one in value.items()
        }
    return [without_wording(one) for one in value] if isinstance(value, list) else value


def pictures(root: Path, deal: str, mode: str) -> dict[str, bytes]:
    return tree(version(root, deal, mode, "crops") / "crops")


def coco(root: Path, deal: str, mode: str) -> str:
    return (version(root, deal, mode, "coco") / "coco.json").read_text()


@pytest.mark.parametrize("mode", MODES)
def test_the_defaults_find_again_what_they_found(root: Path, mode: str) -> None:
    old = {name: one["rows"] for name, one in tables(root, "lot", mode).items()}
    old_identities = identities(root, "lot", mode)
    schemas = {name: one["schema"] for name, one in tables(root, "lot", mode).items()}
    succeed(root, "run", "lot", "--mode", mode, "--force")
    assert {name: one["schema"] for name, one in tables(root, "lot", mode).items()} == schemas
    assert identities(root, "lot", mode) == old_identities
    for name, one in tables(root, "lot", mode).items():
        assert len(one["rows"]) == len(old[name])
        for row, before in zip(one["rows"], old[name], strict=True):
            numbers = {"mask", "coarse_mask", "refined_mask", "svg_path", "prompt", "pass_stats"}
            exact = without_wording(without(row, frozenset(numbers | TIMES)))
            expected = without_wording(without(before, frozenset(numbers | TIMES)))
            # Processors differ in the last digits, and an edge may move by a pixel.
            assert exact == {
                key: pytest.approx(value, abs=1.5 if key != "score" else 0.01)
                if isinstance(value, float)
                else value
                for key, value in expected.items()
            }


def identities(root: Path, deal: str, mode: str) -> dict[str, str]:
    return {stage: manifest(root, deal, mode, stage)["info"]["identity"] for stage in STAGES}


def test_the_identities_of_stages_are_pinned(untouched: Path) -> None:
    check_pin(
        "identities", {f"{deal} {mode}": identities(untouched, deal, mode) for deal, mode in RUNS}
    )


def test_an_old_version_is_rolled_back_to(root: Path) -> None:
    first = commits(root, "lot", "find_all")[0]["assets"]["crops"]["version"]
    said = succeed(root, "rollback", "lot", "crops", first.rpartition(".")[0])
    assert f"crops is {first} again, generation 3" in said
    newest = commits(root, "lot", "find_all")[-1]
    assert (newest["kind"], newest["generation"]) == ("rollback", 3)
    assert newest["assets"]["crops"]["version"] == first
    assert "find_all\t3\t" in succeed(root, "show", "lot")
    assert {path.suffix for path in version(root, "lot", "find_all", "crops").rglob("*.*")} == {
        *(".jpg", ".json", ".parquet")
    }
    assert succeed(root, "verify")


def test_a_sweep_removes_what_a_killed_run_left_and_nothing_else(root: Path) -> None:
    before = tree(root / "deals")
    said = succeed(root, "sweep", "--min-age-hours", "0")
    assert said.startswith("removed 1 version, 0 commits and 0 other files: 16 bytes")
    killed = "lot/runs/killed.0/find_all/crops/crops.parquet"
    assert tree(root / "deals") == {path: data for path, data in before.items() if path != killed}


def test_a_known_bad_deal_stays_so_and_a_broken_one_is_done(root: Path) -> None:
    assert segpipe(root, "run", "bad").exit_code == 1
    assert "notes.jpg" in segpipe(root, "show", "bad").output
    assert "failed" in segpipe(root, "show", "broke").output
    succeed(root, "run", "broke")
    assert "failed" not in segpipe(root, "show", "broke").output


def test_every_table_is_accounted_for(untouched: Path) -> None:
    found = {path.name for path in untouched.glob("deals/*/runs/*/*/*/*.parquet")}
    assert found == {file for files in TABLES.values() for file in files}
