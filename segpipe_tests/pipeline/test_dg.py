"""Dagster's own command line, in the checkout: the project tells it where everything is."""

import json
import os
import subprocess
import sys
from pathlib import Path

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


def test_make_ui_takes_a_port() -> None:
    for port, arguments in (("3000", ()), ("4001", ("PORT=4001",))):
        done = subprocess.run(
            ["make", "--dry-run", "ui", *arguments],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"dagster dev --workspace workspace.yaml --port {port}" in done.stdout
