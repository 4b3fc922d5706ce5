"""The benchmark of many deals, small: what it measures stays under what was asked."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.mark.scale
def test_registering_deals_and_making_runs_keeps_its_limits() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", "planning", "--deals", "1000"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "make a run of 100 deals, 1,000 registered" in done.stdout
