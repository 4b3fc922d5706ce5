"""The doors that a refactoring leaves where they are: the command line, HTTP, files.

Tests of this folder enter by these alone, so that they hold whatever moves inside of segpipe.
"""

import json
import os
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner, Result

from segpipe.cli.app import app

DATA = Path(__file__).parent / "data"
RELEASE = DATA / "release_0_1.tar.xz"
PIN_VARIABLE = "SEGPIPE_NEW_PINS"
ENVIRONMENT = {"DAGSTER_HOME": None, "COLUMNS": "200", "SEGMIND_API_KEY": "sg-not-a-key"}
SEGMIND_PORT = 47811
"""Where the double of Segmind was: the endpoint is in the keys of kept answers."""
_PATIENCE_S = 30.0
_FRAME = str.maketrans(dict.fromkeys("┏━┳┓┃┡╇┩│├─┼┤└┴┘┌┬┐", " "))


def segpipe(root: Path, *arguments: str) -> Result:
    """What a command says about a data root."""
    environment = {**ENVIRONMENT, "SEGPIPE_ROOT": str(root)}
    return CliRunner().invoke(app, list(arguments), env=environment)


def succeed(root: Path, *arguments: str) -> str:
    """What a command prints that has to succeed."""
    result = segpipe(root, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def words(text: str) -> list[list[str]]:
    """The words of each line, without the lines that tables are drawn with."""
    lines = [line.translate(_FRAME).split() for line in text.splitlines()]
    return [line for line in lines if line]


def config_file(folder: Path, **config: Any) -> str:
    """A file of run config."""
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def over_segmind(**options: Any) -> dict[str, Any]:
    """Run config of the deals ``paid`` and ``broke``."""
    http = {"backoff_s": 0.0, "max_attempts": 1, "deadline_s": 20.0}
    backend = {"segmind": {"endpoint": f"http://127.0.0.1:{SEGMIND_PORT}", "http": http}}
    return _over(backend, {"texts": ["ring", "bracelet"]}, options)


def over_service(url: str, **options: Any) -> dict[str, Any]:
    """Run config of the deal ``served``."""
    return _over({"internal": {"url": url, "upload": "png"}}, {}, options)


def _over(backend: dict[str, Any], sam3: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "resources": {
            "segmenter": {"config": {"backend": {"sam3": {"backend": backend, **sam3}}}},
            "refiner": {"config": {"backend": {"none": {}}}},
        }
    }
    if options:
        config["ops"] = {"find_all": {"config": options}}
    return config


def unpack(folder: Path) -> Path:
    """A data root as release 0.1 left it."""
    with tarfile.open(RELEASE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "data"


def check_pin(name: str, value: object, *, is_close: bool = False, may_grow: bool = False) -> None:
    """Hold a JSON value against the one that release 0.1 gave.

    A new pin is written when SEGPIPE_NEW_PINS is set; one that is there is never written again.

    Args:
        name: The pin.
        value: What is given now.
        is_close: Floats may differ a little, as processors do.
        may_grow: There may be more of everything: fields, commands, choices. Not of what is
            required.
    """
    path = DATA / f"{name}.json"
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get(PIN_VARIABLE) and not path.exists():
        path.write_text(text, encoding="utf-8")
    pinned = json.loads(path.read_text(encoding="utf-8"))
    now = json.loads(text)
    if may_grow:
        assert list(_missing(pinned, now, name)) == []
    else:
        assert now == (_about(pinned) if is_close else pinned)


def _missing(pinned: Any, now: Any, place: str) -> Iterator[str]:
    """Where something is gone, or another."""
    if isinstance(pinned, dict) and isinstance(now, dict):
        for key, one in pinned.items():
            if key not in now:
                yield f"{place}.{key} is gone"
            elif key == "required":
                yield from [] if one == now[key] else [f"{place}.required is {now[key]}"]
            else:
                yield from _missing(one, now[key], f"{place}.{key}")
    elif isinstance(pinned, list) and isinstance(now, list):
        for one in pinned:
            if all(list(_missing(one, other, place)) for other in now):
                yield f"{place} has no {one} any more"
    elif pinned != now:
        yield f"{place} was {pinned!r}, is {now!r}"


def _about(pinned: Any) -> Any:
    """A JSON value that equals those whose floats differ by what processors differ in."""
    if isinstance(pinned, dict):
        return {key: _about(one) for key, one in pinned.items()}
    if isinstance(pinned, list):
        return [_about(one) for one in pinned]
    return pytest.approx(pinned, rel=0.03, abs=0.03) if isinstance(pinned, float) else pinned


@contextmanager
def serving(token: str | None = None) -> Iterator[httpx.Client]:
    """A client of ``segpipe serve`` in a process of its own, once model and refiner are loaded."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if k != "SEGPIPE_SERVER_TOKEN"}
    if token:
        environment["SEGPIPE_SERVER_TOKEN"] = token
    program = [sys.executable, "-c", "from segpipe.cli.app import main; main()"]
    process = subprocess.Popen(
        [*program, "serve", "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=_PATIENCE_S
        ) as client:
            _wait(client, process)
            yield client
    finally:
        process.terminate()
        process.wait(_PATIENCE_S)


def _wait(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        assert process.poll() is None, "the service has ended"
        assert time.monotonic() < give_up, "the service did not start"
        try:
            health = client.get("/health").json()
        except httpx.TransportError:
            health = {}
        if health.get("model_loaded") and health.get("refiner_loaded"):
            return
        time.sleep(0.05)
