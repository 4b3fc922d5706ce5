"""What the folder tree promises."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import segpipe
from segpipe import errors

ROOT = Path(segpipe.__file__).parent
LAYERS = (
    ("definitions", "cli", "server", "studio"),
    ("web",),
    ("pipeline",),
    ("flow",),
    ("formats",),
    ("store",),
    ("segmenters", "inpainters"),
    ("wire",),
    ("refiners",),
    ("models",),
    ("detection",),
    ("prompt",),
    ("scenes",),
    ("vision",),
    ("progress", "threads", "settings", "secret_names", "secret_file"),
    ("digests",),
    ("errors",),
)
"""From the top down: a module imports from its own layer and those below it."""

RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
KNOWS_DAGSTER = {"pipeline", "cli", "studio", "definitions"}
MAX_LINES = 350
MODULES = sorted(ROOT.rglob("*.py"))


def room_of(module: str) -> str:
    return module.split(".")[1]


def name_of(path: Path) -> str:
    """The dotted name of a module."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module or ""


def test_imports_point_down_only() -> None:
    upward = [
        f"{name_of(path)} imports {module}"
        for path in MODULES
        if name_of(path) != "segpipe"
        for module in imports_of(path)
        if module.startswith("segpipe.") and RANK[room_of(module)] < RANK[room_of(name_of(path))]
    ]
    assert upward == []


def test_dagster_is_imported_by_the_pipeline_and_its_faces_alone() -> None:
    strangers = [
        name_of(path)
        for path in MODULES
        if name_of(path) != "segpipe" and room_of(name_of(path)) not in KNOWS_DAGSTER
        if any(module.split(".")[0] == "dagster" for module in imports_of(path))
    ]
    assert strangers == []


def test_no_module_has_grown_out_of_one_subject() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name_of(path): count for path, count in lines.items() if count > MAX_LINES} == {}


def test_the_drawn_tree_of_errors_is_the_real_one() -> None:
    drawing = (errors.__doc__ or "").partition("::")[2].partition("``retryable``")[0]
    drawn = {line.split()[0] for line in _names(drawing)}
    real = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.SegpipeError)
    }
    assert drawn == real
    for line in _names(drawing):
        name, is_retryable = line.split()[0], "(retryable)" in line
        assert getattr(errors, name).retryable == is_retryable


def _names(drawing: str) -> list[str]:
    return [line.strip(" │├└─") for line in drawing.splitlines() if "Error" in line]


def test_loading_the_definitions_is_silent_and_needs_no_deep_learning() -> None:
    program = (
        "import warnings; warnings.simplefilter('error', UserWarning)\n"
        "from dagster import BetaWarning, PreviewWarning\n"
        "import segpipe.definitions, sys\n"
        "heavy = {'torch', 'transformers', 'skimage', 'fastapi'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
