"""What the pages say is there: commands, options, targets, names, links, examples."""

import asyncio
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pkgutil import resolve_name
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from benchmarks.__main__ import BENCHMARKS
from docs import diagrams
from segpipe.cli.app import app
from segpipe.definitions import defs
from segpipe.errors import UnsupportedPromptError
from segpipe.flow.deal_state import State
from segpipe.prompt import Prompt
from segpipe.segmenters.segmenter import Segmenter
from segpipe.vision.boxes import Box
from segpipe_tests.docs.pages import PAGES, ROOT, Page, pages

MAX_README_LINES = 150
MAX_PICTURE_BYTES = 200_000


def page(name: str) -> Page:
    return Page(PAGES / name)


def commands_in(page: Page) -> Iterator[list[str]]:
    """The words of every segpipe command that a page shows, without comments."""
    lines = [line for block in page.blocks("console") for line in block.splitlines()]
    for line in [*lines, *page.code()]:
        words = shlex.split(line.replace("'", " ").replace("|", " "), comments=True)
        program = words[0].rpartition("/")[2] if words else ""
        if program == "segpipe" and len(words) > 1 and not words[1].startswith("-"):
            yield words[1:]


@cache
def told(*words: str) -> str:
    """What ``--help`` tells, with a line for each option."""
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "400"})
    assert done.exit_code == 0, f"segpipe {' '.join(words)} --help"
    return done.output


def options_of(command: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]*", told(command)))


def choices_of(command: str, option: str) -> list[str]:
    """What an option lets one choose from; nothing where anything goes."""
    found = re.search(rf"{option} .*?<([a-z0-9_-]+(?:\|[a-z0-9_-]+)+)>", told(command))
    return found[1].split("|") if found else []


@pytest.fixture(scope="module")
def commands() -> set[str]:
    """The names of all commands."""
    return set(re.findall(r"^│ ([a-z][a-z-]+) ", told().partition("Commands")[2], re.MULTILINE))


def test_the_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


def test_every_command_and_option_that_is_shown_exists(commands: set[str]) -> None:
    wrong, seen = [], set()
    for shown in pages():
        for name, *words in commands_in(shown):
            if name not in commands:
                wrong.append(f"{shown.name}: segpipe {name}")
                continue
            seen.add(name)
            options = {word.partition("=")[0] for word in words if word.startswith("--")}
            unknown = options - options_of(name)
            wrong += [f"{shown.name}: segpipe {name} {option}" for option in sorted(unknown)]
    assert not wrong
    assert seen == commands, "a command is shown nowhere"


def test_every_option_that_is_named_belongs_to_some_command(commands: set[str]) -> None:
    known = set().union(*map(options_of, commands))
    named = {
        (shown.name, code.split()[0].partition("=")[0])
        for shown in pages()
        for code in shown.code()
        if code.startswith("--")
    }
    assert named
    assert not {place for place in named if place[1] not in known}


def test_every_choice_that_is_shown_is_one() -> None:
    checked = 0
    for shown in pages():
        for name, *words in commands_in(shown):
            for option, value in pairwise(words):
                choices = choices_of(name, option) if option.startswith("--") else []
                if choices and not value.isupper():
                    assert value in choices, f"{shown.name}: segpipe {name} {option} {value}"
                    checked += 1
    assert checked


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    named = {
        match
        for shown in pages()
        for code in [*shown.code(), *"\n".join(shown.blocks("console")).splitlines()]
        for match in re.findall(r"^make ([a-z]+)", code)
    }
    assert {"run", "test", "docs"} <= named <= targets


def test_links_between_files_lead_somewhere() -> None:
    broken = [
        f"{shown.name}: {target}"
        for shown in pages()
        for target in re.findall(r"\]\(([^)\s]+)\)", shown.text)
        if not urlsplit(target).scheme
        and not target.startswith("#")
        and not (shown.path.parent / target.partition("#")[0]).exists()
    ]
    assert not broken


def test_run_config_that_is_shown_is_accepted() -> None:
    jobs = {
        "find_all": "find_all_everything",
        "inside_box": "inside_box_everything",
        "find_all__quality": "find_all_quality",
    }
    checked = 0
    for shown in pages():
        for block in shown.blocks("yaml"):
            config: dict[str, Any] = yaml.safe_load(block)
            if not config.keys() <= {"resources", "ops"}:
                continue
            job = jobs[next(iter(config.get("ops", ["find_all"])))]
            dg.validate_run_config(defs.resolve_job_def(job), config)
            checked += 1
    assert checked >= 3


def test_the_example_of_a_downstream_asset_loads() -> None:
    names: dict[str, Any] = {}
    (block,) = page("extending.md").blocks("python")[:1]
    exec(block, names)
    merged = names["defs"]
    assert isinstance(merged, dg.Definitions)
    assert merged.resolve_assets_def(dg.AssetKey(["find_all", "crop_sizes"]))


def test_every_sensor_schedule_job_and_check_is_on_the_page_of_dagster() -> None:
    repository = defs.get_repository_def()
    text = page("dagster.md").text + page("modes.md").text
    names = {
        *(sensor.name for sensor in repository.sensor_defs),
        *(schedule.name for schedule in repository.schedule_defs),
        *(key.name for key in repository.asset_graph.asset_check_keys),
        *(key.path[-1] for key in repository.asset_graph.materializable_asset_keys),
    }
    assert names
    assert not {name for name in names if f"`{name}`" not in text}


@pytest.mark.parametrize("diagram", [diagrams.stages, diagrams.promotion])
def test_a_diagram_is_what_its_script_draws(diagram: Any) -> None:
    path = PAGES / "pictures" / f"{diagram.__name__}.svg"
    assert path.read_text(encoding="utf-8") == diagram()


def test_pictures_are_small_and_shown() -> None:
    shown = "".join(page.text for page in pages())
    for path in (PAGES / "pictures").iterdir():
        assert path.stat().st_size <= MAX_PICTURE_BYTES, path.name
        assert f"pictures/{path.name}" in shown


def test_the_example_of_a_segmenter_finds_what_is_bright() -> None:
    names: dict[str, Any] = {}
    (block,) = (
        block for block in page("extending.md").blocks("python") if "class BrightSegmenter" in block
    )
    exec(block, names)
    segmenter: Segmenter = names["BrightSegmenter"](names["BrightConfig"](level=100))
    photo = np.zeros((20, 30, 3), np.uint8)
    photo[2:6, 3:9] = photo[10:15, 20:28] = 255
    found = asyncio.run(segmenter.segment(photo, Prompt())).detections
    assert [detection.box for detection in found] == [Box(3, 2, 9, 6), Box(20, 10, 28, 15)]
    with pytest.raises(UnsupportedPromptError, match="the bright segmenter"):
        asyncio.run(segmenter.segment(photo, Prompt(texts=("ring",))))


def test_every_module_and_folder_that_is_named_exists() -> None:
    missing = []
    for shown in pages():
        for code in shown.code():
            path = re.fullmatch(r"((?:segpipe|segpipe_tests|docs|benchmarks)/[\w/.]*)", code)
            if path and not (ROOT / path[1]).exists():
                missing.append(f"{shown.name}: {code}")
            if re.fullmatch(r"segpipe(\.\w+)+", code):
                try:
                    resolve_name(code)
                except (ImportError, AttributeError):
                    missing.append(f"{shown.name}: {code}")
    assert not missing


def test_every_room_is_drawn() -> None:
    (drawn,) = (
        block for block in page("architecture.md").blocks("text") if block.startswith("segpipe/\n")
    )
    rooms = set(re.findall(r"^  (\w+(?:/|\.py))", drawn, re.MULTILINE))
    real = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "segpipe").iterdir()
        if not path.name.startswith("__") and path.suffix in {"", ".py"}
    }
    assert real <= rooms


def test_every_extra_and_every_benchmark_is_on_its_page() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra in project["optional-dependencies"]:
        assert f"`{extra}`" in page("quickstart.md").text
    for benchmark in BENCHMARKS:
        assert f"`{benchmark}`" in page("performance.md").text


def test_every_answer_to_whether_a_deal_needs_a_run_is_told() -> None:
    rows = page("dagster.md").text.partition("## When a deal needs a run")[2]
    for state in State:
        assert state.value in rows
