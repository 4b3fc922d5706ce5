"""``segpipe run``: what it says, what it checks before, and what of faults it tries again."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from segpipe.cli import run_deals
from segpipe.cli.instance import add_partitions, open_instance
from segpipe.errors import BackendUnavailableError
from segpipe.prompt import Mode
from segpipe.scenes import make_scene
from segpipe.segmenters.classical.classical_segmenter import ClassicalSegmenter
from segpipe.segmenters.segmenter import Segmenter
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box
from segpipe.vision.encode import encode_png
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import to_base64
from segpipe_tests.cli.conftest import Cli
from segpipe_tests.deals import make_deal, put_photos
from segpipe_tests.goods import goods_photo
from segpipe_tests.loopback.reply import json_reply
from segpipe_tests.loopback.server import Loopback


def runs(root: Path) -> list[dg.DagsterRun]:
    """The runs that Dagster knows of, the latest first; empty when it was never opened."""
    folder = root / "dagster"
    if not (folder / "history").exists():
        return []
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        return list(instance.get_runs())


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


BAD_SETTINGS = {
    "a bound": (
        "resources: {segmenter: {config: {backend: {classical: {min_area_percent: -1}}}}}",
        "resources.segmenter.config.backend.classical",
    ),
    "a bound of the refiner": (
        "resources: {refiner: {config: {backend: {grabcut: {iterations: 0}}}}}",
        "resources.refiner.config.backend.grabcut",
    ),
    "a bound of a stage": (
        "ops: {find_all: {config: {dedup: {iou_threshold: 1.5}}}}",
        "ops.find_all.config.dedup.iou_threshold",
    ),
    "a bound in the other mode": (
        "ops: {inside_box: {config: {dedup: {iou_threshold: 1.5}}}}",
        "ops.inside_box.config.dedup.iou_threshold",
    ),
    "an unknown name": (
        "ops: {find_all: {config: {crops: {fornat: png}}}}",
        "ops.find_all.config.crops has no 'fornat': did you mean 'format'?",
    ),
    "an unknown kind": (
        "resources: {segmenter: {config: {backend: {clasical: {}}}}}",
        "did you mean 'classical'?",
    ),
    "an unknown choice": (
        "ops: {find_all: {config: {crops: {format: gif}}}}",
        "ops.find_all.config.crops.format: 'gif' is none of png, jpg",
    ),
    "another data root": (
        "resources: {store: {config: {root: {local: {path: elsewhere}}}}}",
        "the command line takes the data root from --root",
    ),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_a_bad_setting_is_told_with_its_place_before_a_run_is_made(
    cli: Cli, root: Path, tmp_path: Path, name: str
) -> None:
    make_deal(root, "lot", (1,))
    text, says = BAD_SETTINGS[name]
    result = cli("run", "--config", write(tmp_path / "run.yaml", text))
    assert result.exit_code == 1
    assert says in result.stderr
    assert "An exception was thrown" not in result.output
    assert result.stdout == ""
    assert runs(root) == []


def test_a_key_typed_into_the_name_of_a_variable_is_refused_and_stored_nowhere(
    cli: Cli, root: Path, tmp_path: Path
) -> None:
    make_deal(root, "lot", (1,))
    key = "SG_0123456789abcdef"
    for typed in (key, key.upper()):
        backend = f"{{sam3: {{backend: {{segmind: {{api_key_env: {typed}}}}}}}}}"
        text = f"resources: {{segmenter: {{config: {{backend: {backend}}}}}}}"
        result = cli("run", "--config", write(tmp_path / "run.yaml", text))
        assert result.exit_code == 1
        assert "api_key_env" in result.stderr
        assert "replace that key" in result.stderr
        assert typed not in result.output
    kept = [path for path in root.rglob("*") if path.is_file()]
    assert not any(key[3:].encode() in path.read_bytes().lower() for path in kept)


def test_choices_are_accepted_in_every_spelling_of_case(
    cli: Cli, root: Path, tmp_path: Path
) -> None:
    make_deal(root, "lot", (1,))
    for spelling, ending in (("jpg", "jpg"), ("PNG", "png"), ("Jpg", "jpg")):
        config = write(
            tmp_path / "run.yaml",
            f"ops: {{find_all: {{config: {{crops: {{format: {spelling}}}}}}}}}",
        )
        assert cli("run", "--config", config, "--mode", "Find_All").exit_code == 0
        (mode,) = json.loads(cli("show", "lot", "--json").stdout)["modes"]
        assert list(Path(mode["crops_folder"]).glob(f"*/*.{ending}"))
    wrong = cli("run", "--mode", "everything")
    assert wrong.exit_code == 2
    assert "find_all" in wrong.stderr
    assert "inside_box" in wrong.stderr


def test_one_file_of_settings_serves_both_modes(cli: Cli, root: Path, tmp_path: Path) -> None:
    make_deal(root, "lot", (1,))
    cli("prompt", "lot", "a", "--mode", "inside_box", "--box", "4,20,40,60")
    config = write(
        tmp_path / "run.yaml",
        "ops:\n"
        "  find_all: {config: {crops: {padding_px: 1}}}\n"
        "  inside_box: {config: {crops: {padding_px: 2}}}\n",
    )
    store = DealStore(root)
    for mode, padding in ((Mode.FIND_ALL, 1), (Mode.INSIDE_BOX, 2)):
        assert cli("run", "--config", config, "--mode", mode.value).exit_code == 0
        snapshot = store.current("lot", mode)
        assert snapshot
        settings = snapshot.manifest("crops").info.settings
        assert settings
        assert settings["padding_px"] == padding


def fail_first(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Make the segmenter give no answer so often."""
    left = [times]
    segment = ClassicalSegmenter.segment

    async def fail(self: Segmenter, *arguments: Any, **options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise BackendUnavailableError("it is busy")
        return await segment(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ClassicalSegmenter, "segment", fail)
    monkeypatch.setattr(run_deals, "RETRY_POLICY", dg.RetryPolicy(max_retries=2))


def test_a_fault_that_may_pass_is_tried_again_and_said(
    cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for deal in ("a", "b"):
        make_deal(root, deal, (1,))
    fail_first(monkeypatch, 1)
    result = cli("run", "--json")
    assert result.exit_code == 0, result.output
    assert "it is busy; trying again" in result.stderr
    told = json.loads(result.stdout)
    assert [deal["outcome"] for deal in told["deals"]] == ["done", "done"]
    assert len(told["run_ids"]) == 1


def test_a_fault_that_stays_fails_after_a_few_tries(
    cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_deal(root, "lot", (1,))
    fail_first(monkeypatch, 100)
    result = cli("run")
    assert result.exit_code == 1
    assert result.stderr.count("trying again") == 2


def test_nothing_found_is_told_and_no_folder_that_is_not_there(cli: Cli, root: Path) -> None:
    put_photos(root, "lot", {"a.png": goods_photo(0)})
    result = cli("run", "--json")
    assert result.exit_code == 0
    (deal,) = json.loads(result.stdout)["deals"]
    assert (deal["crops"], deal["crops_folder"]) == (0, None)
    assert Path(deal["contact_sheet"]).is_file()
    again = cli("run")
    assert "lot: nothing was found in any photo" in again.stderr
    assert "/crops/crops" not in again.stdout
    assert "nothing was found in any photo" in cli("show", "lot").stderr


def test_each_photo_in_which_nothing_was_found_is_named_by_run_show_and_report(
    cli: Cli, root: Path
) -> None:
    put_photos(root, "lot", {"a.png": goods_photo(2), "b.png": goods_photo(0)})
    assert "lot: nothing was found in: b.png" in cli("run").stderr
    for command in (("run", "--json"), ("run", "lot", "--force", "--json")):
        (deal,) = json.loads(cli(*command).stdout)["deals"]
        assert deal["photos_without_items"] == ["b.png"]
    shown = cli("show", "lot")
    assert "lot, mode find_all: b.png: nothing was found" in shown.stderr
    assert shown.stdout.count("nothing was found") == 1
    (mode,) = json.loads(cli("show", "lot", "--json").stdout)["modes"]
    assert mode["warnings"] == ["b.png: nothing was found"]
    told = {image["file_name"]: image["warnings"] for image in mode["images"]}
    assert told == {"a.png": [], "b.png": ["nothing was found"]}
    (path,) = root.glob("deals/lot/current/find_all/deal_report/report.json")
    report = json.loads(path.read_text())
    assert report["warnings"] == mode["warnings"]


def test_a_photo_whose_every_box_is_empty_is_named_and_one_without_boxes_is_not(
    cli: Cli, root: Path
) -> None:
    put_photos(root, "lot", {name: goods_photo(0) for name in ("a.png", "b.png")})
    cli("prompt", "lot", "a", "--mode", "inside_box", "--box", "4,20,40,60")
    (deal,) = json.loads(cli("run", "lot", "--mode", "inside_box", "--json").stdout)["deals"]
    assert deal["photos_without_items"] == ["a.png"]


def test_a_failure_shows_no_paths_of_older_results(cli: Cli, root: Path) -> None:
    put_photos(root, "lot", {"a.png": goods_photo(1)})
    cli("run")
    put_photos(root, "lot", {"b.png": b"text"})
    result = cli("run")
    assert result.exit_code == 1
    assert "contact_sheet" not in result.stdout.partition("\n")[2]
    assert result.stdout.splitlines()[1].split("\t")[7] == "failed"


def test_nothing_to_do_draws_no_bar_and_makes_no_run(cli: Cli, root: Path) -> None:
    make_deal(root, "lot", (1,))
    cli("run")
    again = cli("run")
    assert again.exit_code == 0
    assert "0/0" not in again.output
    assert "━" not in again.output
    assert len(runs(root)) == 1


def test_a_run_stands_under_its_job_and_is_tagged(
    cli: Cli, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for deal in ("a", "b"):
        make_deal(root, deal, (1,))
    monkeypatch.chdir(tmp_path)
    cli("run")
    (run,) = runs(root)
    assert run.remote_job_origin
    repository = run.remote_job_origin.repository_origin
    assert run.remote_job_origin.job_name == "find_all_everything"
    assert repository.repository_name == "__repository__"
    assert repository.code_location_origin.location_name == "segpipe.definitions"
    assert run.tags["segpipe/mode"] == "find_all"
    assert run.tags["segpipe/deals"] == "a, b"
    assert run.tags["segpipe/started_by"] == "command line"

    module = "{python_module: {module_name: segpipe.definitions, location_name: segpipe}}"
    write(tmp_path / "workspace.yaml", f"load_from: [{module}]")
    cli("run", "a", "--force")
    origin = runs(root)[0].remote_job_origin
    assert origin
    assert origin.repository_origin.code_location_origin.location_name == "segpipe"


def test_the_runs_of_one_request_spend_one_budget(
    cli: Cli, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deals that do not follow on each other need a run each, and each would spend it anew."""
    monkeypatch.setenv("SEGMIND_API_KEY", "sg-canary")
    for deal, photos in {"a": (1, 2), "c": (3, 4), "e": (5, 6)}.items():
        make_deal(root, deal, photos)
    with open_instance(str(root)) as instance:
        add_partitions(instance, ["a", "b", "c", "d", "e"])
    mask = Mask.from_box(Box(4, 20, 16, 36), image_width=160, image_height=120)
    reply = json_reply({"masks": [to_base64(mask)]}, headers={"x-cost": "0.01"})
    with Loopback(reply) as server:
        backend = {"segmind": {"endpoint": server.url, "max_paid_calls": 5}}
        sam3 = {"sam3": {"backend": backend, "texts": ["ring"]}}
        told = {"resources": {"segmenter": {"config": {"backend": sam3}}}}
        config = write(tmp_path / "run.yaml", json.dumps(told))
        over = cli("run", "a", "c", "e", "--config", config)
        assert over.exit_code == 1
        assert "more than the 5 allowed" in " ".join(over.output.split())
        assert len(runs(root)) == 3
        assert len(server.requests) == 5
        # Whoever asks again has asked anew.
        assert cli("run", "e", "--config", config).exit_code == 0
        assert len(server.requests) == 6


def test_tiles_and_passes_are_settings_of_a_run_and_no_item_is_doubled_at_a_seam(
    cli: Cli, root: Path, tmp_path: Path
) -> None:
    items = 14
    scene = make_scene(1, width=1600, height=1200, items=items, touching=False)
    put_photos(root, "lot", {"a.png": encode_png(scene.image)})
    tiled = "{tile_px: 1000, min_photo_px: 1000, overlap_ratio: 0.4, inner: {classical: {}}}"
    backend = f"{{recursive: {{inner: {{tiled: {tiled}}}}}}}"
    text = f"resources: {{segmenter: {{config: {{backend: {backend}}}}}}}"
    result = cli("run", "--config", write(tmp_path / "run.yaml", text), "--json")
    (deal,) = json.loads(result.stdout)["deals"]
    assert (deal["outcome"], deal["survivors"]) == ("done", items)
    (mode,) = json.loads(cli("show", "lot", "--json").stdout)["modes"]
    assert mode["segmenter"] == "recursive(tiled(classical))"
