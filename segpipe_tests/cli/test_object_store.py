"""Every command with the deals in a real object store, by the door that its user takes."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from segpipe.cli.app import COMMANDS, app
from segpipe.cli.samples import SAMPLE_BOXES
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import to_base64
from segpipe_tests.goods import goods_photo
from segpipe_tests.loopback.reply import Reply, json_reply
from segpipe_tests.loopback.s3 import Between, S3Server, use_s3
from segpipe_tests.loopback.server import Loopback, Received

LABELS = {
    "images": [{"id": 1, "file_name": "a.png", "width": 160, "height": 120}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 60, 60]}],
    "categories": [{"id": 1, "name": "ring"}],
}
NOT_OF_DEALS = {"config", "serve", "studio"}
"""The studio has tests of its own on an object store; the others have no data root."""
WAIT_S = 120


@pytest.fixture
def root(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    use_s3(monkeypatch, s3_server.url)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    camera = tmp_path / "camera"
    camera.mkdir()
    for index, name in enumerate(("a.png", "b.png")):
        (camera / name).write_bytes(goods_photo(index + 2))
    (tmp_path / "labels.json").write_text(json.dumps(LABELS))
    return s3_server.root()


class Story:
    """Calls commands one after the other, each of which has to succeed; notes which they were."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.told: set[str] = set()

    def call(self, *arguments: str) -> Result:
        self.told.add(arguments[0])
        return CliRunner().invoke(app, [*arguments, "--root", self._root])

    def __call__(self, *arguments: str) -> str:
        result = self.call(*arguments)
        assert result.exit_code == 0, f"{arguments}: {result.output}"
        return result.stdout

    def facts(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.mark.parametrize("mode", Mode)
def test_a_deal_goes_its_whole_way_by_the_commands(root: str, mode: Mode, tmp_path: Path) -> None:
    story = Story(root)
    assert story.call("verify").exit_code == 1, "there is nothing yet"
    assert story.call("sweep").exit_code == 1
    assert story.facts("add", "lot", "camera")["photos"] == 2
    story("add", "other", "camera/b.png")
    assert "ok" in story("doctor")
    story("prompt", "lot", "a.png", "--box", "10,10,60,60", "--mode", "inside_box")
    story("import-prompts", "lot", "labels.json", "--format", "coco", "--mode", "inside_box")
    assert len(story("prompts", "lot").splitlines()) == 3
    found = story.facts("run", "lot", "--mode", mode.value)["deals"]
    assert [(each["outcome"], each["crops"] > 0) for each in found] == [("done", True)]
    assert found[0]["crops_folder"].startswith(root)
    states = {(s["deal"], s["mode"]): s["state"] for s in story.facts("list")["deals"]}
    assert states["lot", mode.value] == "up to date"
    assert story.facts("status")["runs"] == []
    (shown,) = [m for m in story.facts("show", "lot")["modes"] if m["generation"]]
    assert shown["mode"] == mode.value
    story("verify")
    exported = ("export", "--mode", mode.value, "--format")
    story(*exported, "coco", "--out", "goods.json")
    assert len(json.loads((tmp_path / "goods.json").read_text())["annotations"]) > 0
    story(*exported, "cutouts", "--out", "cutouts")
    assert (
        len(list((tmp_path / "cutouts").rglob("*.png")))
        == shown["images"][0]["crops"] + (shown["images"][1]["crops"])
    )
    story("settings", "set", "crops.padding_px", "4")
    assert "padding" in story("settings", "history")
    assert story.facts("run", "lot", "--mode", mode.value)["deals"][0]["outcome"] == "done"
    story("rollback", "lot", "1", "--mode", mode.value)
    generations = [each["generation"] for each in story.facts("versions", "lot")["generations"]]
    assert generations == [3, 2, 1]
    assert story.facts("sweep", "--min-age-hours", "0")["versions"] == 0
    story("verify", "lot")
    story("review", "lot", "--mode", mode.value, "--accept-all")
    (reviewed,) = [r for r in story.facts("reviews", "lot")["reviews"] if r["mode"] == mode.value]
    assert reviewed["unreviewed"] == 0
    assert story.facts("quality", "--mode", mode.value)["measured"] == 1
    sides = ("--a", "current-1", "--b", "current", "--mode", mode.value, "--out", "comparison")
    assert story.facts("compare", "lot", *sides)["totals"]["photos"] == 2
    story("try", "camera/a.png", "--out", "trial.jpg")
    story("erase", "--item", "lot/a/0", "--mode", mode.value, "--out", "clean.png")
    assert story("costs").startswith("no paid call")
    assert story.facts("remove", "lot", "--yes")["files"] > 20
    assert DealStore(root).deals() == ["other"]
    story("samples")
    assert DealStore(root).deals() == ["other", *SAMPLE_BOXES]
    assert story.told | NOT_OF_DEALS == set(COMMANDS), "each command has its part in the story"
    assert not list(tmp_path.rglob("deals")), "nothing of a deal is on this machine"


def paid(received: Received) -> Reply:
    mask = Mask.from_box(Box(4, 20, 16, 36), image_width=160, image_height=120)
    return json_reply({"masks": [to_base64(mask)]}, headers={"x-cost": "0.01"})


@pytest.fixture
def between(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    between = Between(s3_server)
    with between.listening() as url:
        use_s3(monkeypatch, url)
        yield between


class Machine:
    """A machine of its own: another folder, and the same bucket."""

    def __init__(self, folder: Path, root: str) -> None:
        folder.mkdir()
        self.folder = folder
        self._root = root

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        program = [sys.executable, "-c", "from segpipe.cli.app import main; main()"]
        return subprocess.Popen(
            [*program, *arguments, "--root", self._root],
            cwd=self.folder,
            env=os.environ | {"SEGMIND_API_KEY": "sg-canary"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def facts(self, *arguments: str) -> Any:
        process = self.start(*arguments, "--json")
        out, err = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0, err
        return json.loads(out)


def test_what_was_answered_before_a_kill_is_not_paid_for_again_on_another_machine(
    root: str, between: Between, tmp_path: Path
) -> None:
    asked: Counter[str] = Counter()

    def answer(received: Received) -> Reply:
        asked["paid"] += 1
        return paid(received)

    with Loopback(answer) as segmind:
        story = Story(root)
        story("add", "lot", "camera")
        chosen = {
            "segmenter": "sam3",
            "segmenter.texts": "[ring]",
            "segmenter.backend": "segmind",
            "segmenter.backend.endpoint": segmind.url,
            "refiner": "none",
            "budget.max_cost_per_day": "1",
        }
        story("settings", "set", *(word for pair in chosen.items() for word in pair))
        first = Machine(tmp_path / "first", root).start("run", "lot")

        def kill_at_the_commit(received: Received, forward: Any) -> Reply:
            if received.method == "PUT" and "/commits/" in received.path:
                first.send_signal(signal.SIGKILL)
                return Reply(hang_up=True)
            reply: Reply = forward()
            return reply

        between.fault = kill_at_the_commit
        first.communicate(timeout=WAIT_S)
        assert first.returncode == -signal.SIGKILL
        assert asked["paid"] == 2
        assert DealStore(root).current("lot", "find_all") is None

        between.fault = None
        second = Machine(tmp_path / "second", root)
        assert second.facts("run", "lot")["deals"][0]["crops"] == 2
        assert asked["paid"] == 2, "no second paid call"
        told = Machine(tmp_path / "third", root).facts("costs")
        assert (told["calls"], told["calls_of_unknown_cost"]) == (2, 0)
        assert told["credits"] == pytest.approx(0.02)
        for machine in ("first", "second"):
            assert not list((tmp_path / machine).rglob("*.entry"))
            assert not list((tmp_path / machine).rglob("*.jsonl"))
    assert list(DealStore(root).verify()) == []
