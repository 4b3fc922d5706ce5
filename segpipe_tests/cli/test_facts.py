"""What ``--json`` prints: every command that tells facts has it, and the page lists every field."""

import importlib
import inspect
import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path

from segpipe.cli import compare_facts, facts, outcomes, quality_facts, review_facts
from segpipe.cli.app import COMMANDS
from segpipe_tests.cli.conftest import Cli
from segpipe_tests.deals import make_deal

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
TELL_NO_FACTS = {"config", "serve", "studio"}


def test_every_command_that_tells_facts_has_json() -> None:
    for name, listed in COMMANDS.items():
        function = getattr(importlib.import_module(f"segpipe.cli.{listed.module}"), listed.function)
        assert ("as_json" in inspect.signature(function).parameters) == (name not in TELL_NO_FACTS)


def test_the_page_lists_every_document_and_every_field() -> None:
    page = PAGE.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^### |\Z)", page, re.MULTILINE | re.DOTALL))
    documents = {
        name: kind
        for module in (facts, outcomes, quality_facts, review_facts, compare_facts)
        for name, kind in vars(module).items()
        if isinstance(kind, type) and is_dataclass(kind)
    }
    assert set(sections) == set(documents)
    for name, kind in documents.items():
        listed = re.findall(r"^\| `(\w+)` \|", sections[name], re.MULTILINE)
        assert listed == [field.name for field in fields(kind)], name


def test_exports_imports_prompts_and_samples_are_told_as_json(
    cli: Cli, root: Path, tmp_path: Path
) -> None:
    make_deal(root, "lot", (1, 2))
    make_deal(root, "new", (1,))
    cli("run", "lot")
    target = tmp_path / "goods.json"
    out = ("--out", str(target))
    exported = json.loads(cli("export", "--format", "COCO", *out, "--json").stdout)
    assert [(deal["deal"], deal["items"]) for deal in exported["deals"]] == [("lot", 3)]
    assert [each["deal"] for each in exported["left_out"]] == ["new"]

    labels = ("import-prompts", "lot", str(target), "--format", "coco")
    imported = json.loads(cli(*labels, "--mode", "INSIDE_BOX", "--json").stdout)
    assert (imported["boxes"], imported["photos"], imported["new"]) == (3, 2, 3)

    drawn = json.loads(cli("prompt", "lot", "a", "--point", "3,4", "--json").stdout)["prompts"]
    (point,) = [each for each in drawn if each["type"] == "point"]
    assert (point["photo"], point["point"], point["label"]) == ("a", [3.0, 4.0], 1)
    listed = json.loads(cli("prompts", "lot", "--json").stdout)
    assert len(listed["prompts"]) > len(drawn)
    assert listed["faults"] == []
    assert json.loads(cli("samples", "--json").stdout)["deals"] == [
        "sample-coins",
        "sample-cup",
        "sample-goods",
    ]
