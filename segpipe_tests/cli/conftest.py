"""The command line for the tests, in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from segpipe.cli.app import app
from segpipe_tests.goods import goods_photo

Cli = Callable[..., Result]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The data root; it is not there yet."""
    return tmp_path / "data"


@pytest.fixture
def cli(root: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Calls a command in this process; its output is no terminal."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("SEGPIPE_ROOT", str(root))
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, list(arguments), input=stdin)

    return call


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Two photos of goods on somebody's disk."""
    folder = tmp_path / "camera"
    folder.mkdir()
    for index, name in enumerate(("a.png", "b.png")):
        (folder / name).write_bytes(goods_photo(index + 2))
    return sorted(folder.iterdir())
