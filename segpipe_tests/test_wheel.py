"""The wheel, installed alone in another folder: the commands and Dagster's code location."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import dagster
import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from segpipe_tests.goods import goods_photo

PROJECT = Path(__file__).parents[1]
PATIENCE_S = 120.0
ASSETS = "{ assetNodes { assetKey { path } groupName } }"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel, and what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    # From a copy: setuptools leaves its build folders beside the sources.
    tree = folder / "tree"
    tracked = ("pyproject.toml", "README.md", "LICENSE", "segpipe")
    tree.mkdir()
    subprocess.run(["cp", "-r", *(str(PROJECT / name) for name in tracked), str(tree)], check=True)
    subprocess.run([*build, str(tree)], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    (packages,) = (folder / "venv" / "lib").glob("python3*/site-packages")
    # The dependencies of these tests stand for those that pip would install; not segpipe itself.
    (packages / "dependencies.pth").write_text(f"{Path(dagster.__file__).parents[1]}\n")
    subprocess.run(
        [*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)],
        check=True,
    )
    return python.parent


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """An environment far from the checkout."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"SEGPIPE_ROOT": str(tmp_path / "data"), "DAGSTER_HOME": str(tmp_path)}


def test_the_wheel_is_the_package_that_runs_not_the_checkout(
    installed: Path, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    program = (
        "import segpipe, importlib.metadata as m; print(segpipe.__file__, m.version('segpipe'))"
    )
    done = subprocess.run(
        [installed / "python", "-c", program],
        cwd=tmp_path,
        env=elsewhere,
        check=True,
        capture_output=True,
        text=True,
    )
    assert str(installed.parent) in done.stdout


def test_commands_of_the_wheel_take_a_deal_to_crops(
    installed: Path, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    photo = tmp_path / "a.png"
    photo.write_bytes(goods_photo(3))
    del elsewhere["DAGSTER_HOME"]
    for arguments in (["add", "lot", str(photo)], ["run", "lot"], ["show", "lot"]):
        subprocess.run([installed / "segpipe", *arguments], cwd=tmp_path, env=elsewhere, check=True)
    assert len(list(tmp_path.glob("data/deals/lot/runs/*/find_all/crops/crops/a/*.png"))) == 3


def test_the_plain_install_brings_what_commands_and_definitions_import() -> None:
    # Here much more is installed, of which dependencies import what they find: it is hidden.
    program = """
import importlib, pkgutil, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in sys.argv:
            raise ModuleNotFoundError(f"{name} is not brought", name=name)
sys.meta_path.insert(0, Hidden())
import segpipe.cli, segpipe.definitions
for module in pkgutil.iter_modules(segpipe.cli.__path__):
    importlib.import_module(f"segpipe.cli.{module.name}")
"""
    brought = brought_by("segpipe")
    hidden = [
        name
        for name, homes in metadata.packages_distributions().items()
        if name not in {"_distutils_hack", "segpipe"}
        and not brought.intersection(map(canonicalize_name, homes))
    ]
    assert "torch" in hidden
    subprocess.run([sys.executable, "-c", program, *hidden], check=True)


def brought_by(name: str) -> set[str]:
    """The distributions that installing one brings, without its extras."""
    found: set[str] = set()
    waiting = [Requirement(name)]
    while waiting:
        wanted = waiting.pop()
        key = f"{canonicalize_name(wanted.name)}[{','.join(sorted(wanted.extras))}]"
        if key in found:
            continue
        found.add(key)
        try:
            needs = metadata.requires(wanted.name) or []
        except metadata.PackageNotFoundError:  # for another platform
            continue
        for need in map(Requirement, needs):
            contexts = [{"extra": extra} for extra in (*wanted.extras, "")]
            if need.marker is None or any(need.marker.evaluate(each) for each in contexts):
                waiting.append(need)
    return {key.partition("[")[0] for key in found}


@pytest.fixture
def webserver(installed: Path, elsewhere: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """Where ``dagster dev -m segpipe.definitions`` of the wheel answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    command = ["dagster", "dev", "-m", "segpipe.definitions", "-h", "127.0.0.1", "-p", str(port)]
    with (tmp_path / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [installed / "python", "-m", *command],
            cwd=tmp_path,
            env=elsewhere,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):  # how it ends is Dagster's
            process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_dagster_serves_the_definitions_of_the_wheel(webserver: str, tmp_path: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    groups: set[str] = set()
    while not groups:
        assert time.monotonic() < deadline, (tmp_path / "log.txt").read_text()[-4000:]
        time.sleep(0.5)
        try:
            answer = httpx.post(f"{webserver}/graphql", json={"query": ASSETS}, timeout=30)
        except httpx.TransportError:
            continue
        nodes = json.loads(answer.text).get("data", {}).get("assetNodes", [])
        groups = {node["groupName"] for node in nodes}
    assert {"find_all", "inside_box", "inputs"} <= groups
