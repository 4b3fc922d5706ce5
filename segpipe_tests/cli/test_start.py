"""How quickly the command line starts: nothing is imported before it is needed."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from segpipe.cli.app import COMMANDS

HEAVY = {"dagster", "torch", "transformers", "fastapi", "skimage"}
NOT_FOR_HELP = HEAVY | {"numpy", "cv2", "pyarrow", "pydantic", "httpx"}
MAX_MODULES_OF_HELP = 450
NEED_NO_DAGSTER = ("show", "verify", "versions", "rollback", "sweep", "costs", "export", "prompts")


def modules_of(*arguments: str, root: Path) -> set[str]:
    """The top-level packages, and how many modules, that a command has imported at its end."""
    program = (
        "import sys\n"
        "from segpipe.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('\\nMODULES', *sorted(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={"SEGPIPE_ROOT": str(root), "PATH": "/usr/bin:/bin"},
    )
    return set(done.stdout.rpartition("MODULES")[2].split())


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ()])
def test_help_needs_nothing_of_what_commands_need(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    modules = modules_of(*arguments, root=tmp_path)
    assert not {name.partition(".")[0] for name in modules} & NOT_FOR_HELP
    assert len(modules) <= MAX_MODULES_OF_HELP


def test_commands_that_start_no_run_import_no_dagster_and_no_model(tmp_path: Path) -> None:
    (tmp_path / "deals" / "lot" / "images").mkdir(parents=True)
    calls = {"rollback": ("lot", "dedup", "x"), "sweep": (), "costs": ()}
    calls["export"] = ("--format", "coco", "--out", str(tmp_path / "out.json"))
    for command in NEED_NO_DAGSTER:
        modules = modules_of(command, *calls.get(command, ("lot",)), root=tmp_path)
        imported = {name.partition(".")[0] for name in modules} & HEAVY
        assert not imported, f"segpipe {command} imports {imported}"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_list_says_of_a_command_what_its_function_does(name: str) -> None:
    listed = COMMANDS[name]
    function = getattr(importlib.import_module(f"segpipe.cli.{listed.module}"), listed.function)
    assert (function.__doc__ or "").partition("\n\n")[0].strip() == listed.help
    assert listed.example.startswith(f"segpipe {name}")
