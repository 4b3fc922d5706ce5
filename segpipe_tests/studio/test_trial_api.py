"""``POST /admin/api/test/segmentation``: settings on one photo, and nothing kept but the bill."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from segpipe.flow.saved_settings import SavedSettings, save
from segpipe.flow.setting_fields import with_texts
from segpipe.studio.api.trial_api import PATH
from segpipe.studio.trials import MAX_UPLOAD_BYTES
from segpipe.vision.boxes import Box
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import from_base64, to_base64
from segpipe_tests.deals import make_deal
from segpipe_tests.goods import goods_photo
from segpipe_tests.loopback.reply import Reply, json_reply
from segpipe_tests.loopback.server import Loopback
from segpipe_tests.studio.running_studio import RunningStudio, running_studio

CLASSICAL = {"kind": "classical"}
DEAL = {"kind": "deal_image", "deal_id": "lot", "image_id": "a"}


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    """A studio on a deal with photos of two and three goods."""
    root = tmp_path_factory.mktemp("trials") / "data"
    make_deal(root, "lot", (2, 3))
    with running_studio(root) as running:
        yield running


def ask(studio: RunningStudio, image: dict[str, Any], query: str = "", **rest: Any) -> Any:
    body = {"image": image, "segmenter_config": CLASSICAL, **rest}
    with studio.client() as client:
        return client.post(PATH + query, json=body)


def upload(data: bytes) -> dict[str, str]:
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return {"kind": "upload", "data_url": url}


def tree(root: Path) -> dict[str, str]:
    """The digest of every file, without the account of paid calls."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] != "ledger"
    }


def test_a_photo_of_a_deal_and_the_same_one_uploaded_give_the_same(trials: RunningStudio) -> None:
    before = tree(trials.root)
    first = ask(trials, DEAL)
    assert first.status_code == 200, first.text
    answer = first.json()
    assert answer["segmenter_id"] == "classical"
    assert answer["kept_indices"] is None
    assert len(answer["detections"]) == 2
    assert answer["pass_stats"][0]["found"] == 2
    assert answer["usage"] == {"calls": 0, "cached": 0, "cost": 0.0, "remaining_credits": None}
    one = answer["detections"][0]
    assert one["mask_b64"] is None
    assert one["outline"]["path"].startswith("M")
    x1, y1, x2, y2 = one["bbox"]
    assert 0 <= x1 < x2 <= answer["image"]["width"]
    assert 0 <= y1 < y2 <= answer["image"]["height"]

    photo = (trials.root / "deals" / "lot" / "images" / "a.png").read_bytes()
    again = ask(trials, upload(photo), "?return_masks=true").json()
    assert [each["bbox"] for each in again["detections"]] == [
        each["bbox"] for each in answer["detections"]
    ]
    size = again["image"]["width"] * again["image"]["height"]
    mask = from_base64(again["detections"][0]["mask_b64"], max_pixels=size)
    assert mask.area > 0
    assert tree(trials.root) == before


def test_dedup_says_what_stays_and_what_beat_the_others(trials: RunningStudio) -> None:
    answer = ask(trials, DEAL, segmenter_config={"kind": "recursive"}, combined_config={}).json()
    kept, found = answer["kept_indices"], answer["detections"]
    assert len(kept) == 2
    assert len(found) > 2
    for index, each in enumerate(found):
        assert (each["beaten_by"] is None) == (index in kept)
        if each["beaten_by"]:
            assert each["beaten_by"]["detection"] in kept
            assert 0 <= each["beaten_by"]["value"] <= 1
    assert answer["pass_stats"][0]["new"] == 2
    assert answer["pass_stats"][-1]["stopped"]


def test_what_to_look_for_is_that_of_the_request_else_of_the_deal(trials: RunningStudio) -> None:
    box = {"x1": 0.0, "y1": 0.0, "x2": 60.0, "y2": 60.0, "positive": True}
    answer = ask(trials, DEAL, params={"mode": "inside_box", "boxes": [box]}).json()
    assert len(answer["detections"]) == 1
    refused = ask(trials, DEAL, params={"mode": "inside_box"})
    assert refused.status_code == 422
    assert refused.json()["field"] == "params.boxes"


REFUSED: dict[str, tuple[dict[str, Any], int, str | None]] = {
    "no such deal": ({"image": {**DEAL, "deal_id": "gone"}}, 404, "image"),
    "no such photo": ({"image": {**DEAL, "image_id": "gone"}}, 404, "image"),
    "no deal's name": ({"image": {**DEAL, "deal_id": "../x"}}, 422, "image"),
    "no such setting": (
        {"segmenter_config": {"kind": "classical", "colour": 1}},
        422,
        "segmenter_config.colour",
    ),
    "a bound": (
        {"segmenter_config": {"kind": "sam3", "backend": {"kind": "segmind", "threshold": 7}}},
        422,
        "segmenter_config.backend.threshold",
    ),
    "a bound of dedup": (
        {"combined_config": {"iou_threshold": 4}},
        422,
        "combined_config.iou_threshold",
    ),
    "an address": (
        {"image": {"kind": "upload", "data_url": "http://169.254.169.254/latest"}},
        422,
        "image.data_url",
    ),
    **{
        f"{kind} at {host}": (
            {"segmenter_config": {"kind": "sam3", "backend": {"kind": kind, field: url}}},
            422,
            f"segmenter_config.backend.{field}",
        )
        for host in ("169.254.169.254", "[fe80::1]", "2852039166", "metadata.google.internal")
        for kind, field, url in (
            ("internal", "url", f"http://{host}/latest"),
            ("segmind", "endpoint", f"https://{host}/latest"),
        )
    },
    "no photo": ({"image": upload(b"text")}, 422, "image"),
    "no base64": (
        {"image": {"kind": "upload", "data_url": "data:image/png;base64,a!"}},
        422,
        "image.data_url",
    ),
    "no image": ({"image": None}, 422, "image"),
    "no key": (
        {"segmenter_config": {"kind": "sam3", "backend": {"kind": "segmind"}}},
        409,
        "api_key_env",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_asked_is_refused_with_its_field(
    trials: RunningStudio, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    rest, status, field = REFUSED[name]
    answer = ask(trials, **{"image": DEAL, **rest})
    assert (answer.status_code, answer.json()["field"]) == (status, field), answer.text


def test_a_body_that_is_no_json_is_refused(trials: RunningStudio) -> None:
    with trials.client() as client:
        assert client.post(PATH, content=b"{").status_code == 422


def test_a_key_goes_to_no_other_origin(
    trials: RunningStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGMIND_API_KEY", "sg-canary")
    backend = {"kind": "segmind", "endpoint": "https://evil.example.org"}
    answer = ask(trials, DEAL, segmenter_config={"kind": "sam3", "backend": backend})
    assert answer.status_code == 409
    assert "sg-canary" not in answer.text


def padded(size: int) -> bytes:
    """A photo of so many bytes: what comes behind its end is nobody's business."""
    photo = goods_photo(2)
    return photo + bytes(size - len(photo))


def test_25_mb_go_and_a_byte_more_does_not(
    trials: RunningStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = ask(trials, upload(padded(MAX_UPLOAD_BYTES)))
    assert fits.status_code == 200, fits.text[:300]
    assert len(fits.json()["detections"]) == 2

    def never(_: str) -> Any:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("segpipe.studio.api.trial_api.read_data_url", never)
    over = ask(trials, upload(padded(MAX_UPLOAD_BYTES + 1)))
    assert over.status_code == 413
    assert ask(trials, upload(padded(2 * MAX_UPLOAD_BYTES))).status_code == 413


def test_a_paid_call_has_a_line_in_the_ledger_and_nothing_else_is_written(
    trials: RunningStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGMIND_API_KEY", "sg-canary")
    photo = trials.root / "deals" / "lot" / "images" / "a.png"
    with Image.open(photo) as opened:
        width, height = opened.size
    mask = Mask.from_box(Box(4, 4, 40, 40), image_width=width, image_height=height)
    before = tree(trials.root)
    reply = json_reply({"masks": [to_base64(mask)]}, headers={"x-cost": "0.01"})
    with Loopback(reply) as server:
        backend = {"kind": "segmind", "endpoint": server.url}
        config = {"kind": "sam3", "backend": backend, "texts": ["ring"]}
        answer = ask(trials, DEAL, segmenter_config=config)
        again = ask(trials, DEAL, segmenter_config=config)
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["calls"] == 1
    assert again.json()["usage"]["calls"] == 1
    assert tree(trials.root) == before
    (ledger,) = (trials.root / "ledger").glob("*.jsonl")
    assert ledger.name.startswith("trial-20")
    assert '"deal": "lot"' in ledger.read_text()
    assert "sg-canary" not in ledger.read_text() + answer.text


def test_a_budget_of_the_saved_settings_stops_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGMIND_API_KEY", "sg-canary")
    make_deal(tmp_path, "lot", (2,))
    reply = json_reply({"masks": []}, headers={"x-cost": "0.01"})
    with running_studio(tmp_path) as running, Loopback(reply) as server:
        config = {"kind": "sam3", "backend": {"kind": "segmind", "endpoint": server.url}}
        for budget, field in (
            ({"max_paid_calls_per_run": "1"}, "max_paid_calls"),
            ({"max_cost_per_day": "0.025"}, "max_cost_per_day"),
        ):
            texts = {f"budget.{name}": text for name, text in budget.items()}
            save(running.store, with_texts(SavedSettings(), texts))
            assert ask(running, DEAL, segmenter_config=config).status_code == 200
            over = ask(running, DEAL, segmenter_config=config)
            assert (over.status_code, over.json()["field"]) == (409, field)
        assert len(server.requests) == 2


def test_a_backend_that_fails_is_told(
    trials: RunningStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGMIND_API_KEY", "sg-canary")
    with Loopback(Reply(status=400, body=b'{"error": "no"}')) as server:
        http = {"max_attempts": 1, "backoff_s": 0}
        backend = {"kind": "segmind", "endpoint": server.url, "http": http}
        answer = ask(trials, DEAL, segmenter_config={"kind": "sam3", "backend": backend})
    assert answer.status_code == 502
    assert "sg-canary" not in answer.text


def test_too_many_at_once_are_told_to_come_back(
    trials: RunningStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials.studio.trials, "_asked", 99)
    answer = ask(trials, DEAL)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


def test_a_viewer_may_not_try(trials: RunningStudio) -> None:
    tokens = {"SEGPIPE_STUDIO_TOKEN": "x" * 20, "SEGPIPE_STUDIO_VIEWER_TOKEN": "v" * 20}
    with running_studio(trials.root, tokens) as running, running.client() as client:
        assert client.post(PATH, json={"image": DEAL}).status_code == 401
        viewer = {"Authorization": "Bearer " + "v" * 20}
        assert client.post(PATH, json={"image": DEAL}, headers=viewer).status_code == 403
