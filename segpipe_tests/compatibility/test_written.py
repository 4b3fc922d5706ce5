"""What is written today has the bytes and the fields of release 0.1."""

import base64
import json
import re
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from segpipe_tests.compatibility.doors import (
    DATA,
    check_pin,
    config_file,
    over_service,
    segpipe,
    succeed,
)
from segpipe_tests.compatibility.files import commits, fields, table, version
from segpipe_tests.compatibility.make_release_0_1 import segmind
from segpipe_tests.loopback import Loopback, Received, Reply, json_reply

UNLIKE = (
    (r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", "TIME"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "RUN"),
    (r"\b[0-9a-f]{64}\b", "SHA256"),
    (r"\b[0-9a-f]{32}\b", "ID"),
    (r"\b[0-9a-f]{8}-(\d+)\b", r"RUN8-\1"),
    (r'"size": \d+', '"size": 1'),
    (r'("(elapsed_ms|score)": )[\d.e-]+', r"\g<1>0.5"),
    (r'"seconds": \{[^}]*\}', '"seconds": {}'),
)
ITEM = r"TV1T1d20000000000000000000000000000000000000000000000000\`>"
"""The pixels from (10, 20) to (36, 56) of 160 x 120, as COCO's compressed runs."""
NONE: dict[str, Any] = {"refiner": {"config": {"backend": {"none": {}}}}}


def alike(text: str) -> str:
    """A document without what no two runs have alike."""
    for pattern, word in UNLIKE:
        text = re.sub(pattern, word, text)
    return text


def without_later_stage(text: str) -> str:
    """A commit or manifest without the stage that release 0.1 did not have."""
    if '"review"' not in text:
        return text
    indent = 2 if text.startswith("{\n  ") else 1
    return json.dumps(_without_review(json.loads(text)), indent=indent, ensure_ascii=False)


def _without_review(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _without_review(one) for name, one in value.items() if name != "review"}


@pytest.fixture
def new(tmp_path: Path, untouched: Path) -> Path:
    """A new data root with one deal of one photo."""
    root = tmp_path / "data"
    succeed(root, "add", "new", str(untouched / "deals/lot/images/a.png"))
    return root


def test_prompts_are_written_byte_for_byte(new: Path) -> None:
    for options in (
        ["--text", "Ring aus Gold, é"],
        ["--box", "10,20,36,56", "--box", "90.5,20,116,56"],
        ["--box", "50,20,76,56", "--negative"],
        ["--point", "20,40"],
        ["--mode", "inside_box", "--box", "8,18,40,60"],
        ["--mode", "inside_box", "--point", "60,40", "--negative"],
        ["--remove", "b2"],
    ):
        succeed(new, "prompt", "new", "a.png", "--by", "zoë", *options)
    succeed(new, "prompt", "new", "--text", "bracelet")
    check_pin(
        "written-prompts",
        {path.name: alike(path.read_text()) for path in new.glob("deals/new/prompts/*.json")},
    )


def test_imported_prompts_are_written_byte_for_byte(new: Path, tmp_path: Path) -> None:
    labels = {
        "images": [{"id": 1, "file_name": "a.png", "width": 160, "height": 120}],
        "annotations": [
            # A box without a class: release 0.1 kept none.
            {"id": 1, "image_id": 1, "bbox": [10, 20, 26, 36]},
            {"id": 2, "image_id": 1, "bbox": [90, 75, 26, 36], "iscrowd": 1},
        ],
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    by = ("--by", "zoë")
    succeed(new, "import-prompts", "new", str(tmp_path / "labels.json"), "--format", "coco", *by)
    more = ("--format", "yolo", "--mode", "find_all", *by)
    succeed(new, "import-prompts", "new", str(tmp_path / "a.txt"), *more)
    check_pin("written-imports", alike((new / "deals/new/prompts/a.json").read_text()))


def test_documents_of_a_run_are_written_byte_for_byte(new: Path, tmp_path: Path) -> None:
    succeed(new, "run", "new", "--config", config_file(tmp_path, resources=NONE))
    written = {}
    for path in sorted((new / "deals/new").rglob("*.json")):
        name = str(path.relative_to(new / "deals/new"))
        if "/review/" not in name:
            written[alike(name)] = alike(without_later_stage(path.read_text()))
    check_pin("written-documents", written)


def test_a_failure_is_written_with_its_fields(new: Path) -> None:
    (new / "deals/new/images/x.jpg").write_text("no photo")
    assert segpipe(new, "run", "new").exit_code == 1
    record = json.loads((new / "deals/new/failures/find_all.json").read_text())
    record["failure"]["errors"][0]["message"] = "prose"
    check_pin("written-failure", [json.dumps(fields(record)), record["failure"]["errors"]])


def test_the_ledger_has_its_lines_and_segmind_its_fields(new: Path, tmp_path: Path) -> None:
    succeed(new, "prompt", "new", "a", "--text", "ring")
    succeed(new, "prompt", "new", "a", "--mode", "inside_box", "--box", "10,20,36,56")
    succeed(new, "prompt", "new", "a", "--mode", "inside_box", "--point", "20,40")
    with Loopback(segmind) as server:
        resources = {**NONE, "segmenter": {"config": {"backend": _segmind(server.url)}}}
        config = config_file(tmp_path, resources=resources)
        succeed(new, "run", "new", "--config", config)
        succeed(new, "run", "new", "--mode", "inside_box", "--config", config)
        sent = [_without_photo(received) for received in server.requests]
    ledgers = sorted((new / "ledger").glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    check_pin("written-ledger", [alike(path.read_text()) for path in ledgers])
    check_pin("sent-to-segmind", sent)


def _segmind(url: str) -> dict[str, Any]:
    http = {"backoff_s": 0.0, "max_attempts": 1, "deadline_s": 20.0}
    return {"sam3": {"backend": {"segmind": {"endpoint": url, "http": http}}}}


def _without_photo(received: Received) -> dict[str, Any]:
    body = received.json()
    assert base64.b64decode(body.pop("image")).startswith(b"\xff\xd8")
    headers = {name: received.headers[name] for name in ("x-api-key", "content-type")}
    return {"path": received.path, "method": received.method, "headers": headers, "body": body}


def test_the_service_is_sent_a_form_and_its_answer_is_read(new: Path, tmp_path: Path) -> None:
    succeed(new, "prompt", "new", "a", "--box", "10,20,36,56")
    succeed(new, "prompt", "new", "a", "--box", "50,20,76,56", "--negative")
    succeed(new, "prompt", "new", "a", "--mode", "inside_box", "--box", "10,20,36.5,56")
    sent: list[dict[str, Any]] = []

    def service(received: Received) -> Reply:
        health = json.loads((DATA / "health.json").read_text())
        if received.path == "/health":
            return json_reply(health)
        sent.append(_form(received))
        return json_reply(
            {
                "image": {"width": 160, "height": 120},
                "boxes": [[10.0, 20.0, 36.0, 56.0]],
                "scores": [0.75],
                "labels": ["ring"],
                "masks": [{"size": [120, 160], "counts": ITEM}],
                "model": health["model"],
                "elapsed_ms": 1.5,
            }
        )

    with Loopback(service) as server:
        config = config_file(tmp_path, **over_service(server.url))
        result = segpipe(new, "run", "new", "--config", config)
        second = segpipe(new, "run", "new", "--mode", "inside_box", "--config", config)
    check_pin("sent-to-service", sent)
    assert (result.exit_code, second.exit_code) == (0, 0), result.output + second.output
    for mode in ("find_all", "inside_box"):
        (row,) = table(new, "new", mode, "segmentation", "detections.parquet")["rows"]
        assert (row["x1"], row["y2"], row["score"]) == (10.0, 56.0, 0.75)
        assert (row["mask"]["x"], row["mask"]["w"]) == (10, 26)
    assert len(commits(new, "new", "find_all")) == 1
    assert (version(new, "new", "find_all", "crops") / "crops/a/0000.png").is_file()


def _form(received: Received) -> dict[str, Any]:
    head = f"Content-Type: {received.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + received.body)
    parts: dict[str, Any] = {"path": received.path}
    for part in message.walk():
        if part.is_multipart():
            continue
        name = str(part.get_param("name", header="content-disposition"))
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        if name == "image":
            assert payload.startswith(b"\x89PNG")
            parts[name] = [part.get_filename(), part.get_content_type()]
        else:
            parts[name] = json.loads(payload)
    return parts
