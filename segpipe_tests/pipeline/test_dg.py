"""Dagster's own command line, in the checkout: the project tells it where everything is."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx

from segpipe_tests.pipeline.deployment import Webserver
from segpipe_tests.pipeline.postgres_server import free_port

PROJECT = Path(__file__).parents[2]
PROGRAM = "from dagster_dg_cli.cli import main; main()"


def dg(home: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=PROJECT,
        env=os.environ | {"DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_dg_list_defs_names_what_there_is(tmp_path: Path) -> None:
    told = json.loads(dg(tmp_path, "list", "defs", "--json"))
    assert {asset["asset_key"] for asset in told["assets"]} >= {
        "find_all/crops",
        "inside_box/crops",
    }
    assert {job["name"] for job in told["jobs"]} >= {"find_all_everything", "sweep"}
    assert {sensor["name"] for sensor in told["sensors"]} >= {"new_deals", "tell_failures"}


def test_dg_check_defs_passes(tmp_path: Path) -> None:
    assert "All definitions loaded successfully" in dg(tmp_path, "check", "defs")


def test_dg_dev_serves_the_project(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "dev", "--host", "127.0.0.1", "--port", str(port)],
        cwd=PROJECT,
        env=os.environ | {"DAGSTER_HOME": str(tmp_path), "SEGPIPE_ROOT": str(tmp_path / "data")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    webserver, give_up = Webserver(f"http://127.0.0.1:{port}"), time.monotonic() + 120
    nodes: list[dict[str, str]] = []
    try:
        while not nodes:
            assert process.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.5)
            with suppress(httpx.HTTPError, ValueError, RuntimeError):
                nodes = webserver.ask("{ assetNodes { groupName } }")["assetNodes"]
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):  # how it ends is Dagster's
            process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert {node["groupName"] for node in nodes} == {"find_all", "inside_box", "inputs"}


def test_make_ui_takes_a_port() -> None:
    for port, arguments in (("3000", ()), ("4001", ("PORT=4001",))):
        done = subprocess.run(
            ["make", "--dry-run", "ui", *arguments],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"segpipe studio --port {port}" in done.stdout
