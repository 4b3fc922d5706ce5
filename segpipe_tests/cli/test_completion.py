"""Completion in the shell: names of deals, at once."""

import os
import subprocess
import sys
import time
from pathlib import Path

from segpipe_tests.cli.terminals import environment

PROGRAM = """
import sys
from segpipe.cli.app import app
try:
    app(prog_name="segpipe")
finally:
    sys.stderr.write(" ".join(sys.modules))
"""
HEAVY = {"dagster", "pydantic", "numpy", "cv2", "pyarrow", "httpx"}


def complete(root: Path, typed: str) -> tuple[list[str], set[str]]:
    """What bash is offered for a line, and the packages that were imported for it."""
    words = typed.split(" ")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment(root)
        | {
            "_SEGPIPE_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    offered = [line for line in done.stdout.splitlines() if line]
    return offered, {name.partition(".")[0] for name in done.stderr.split()}


def test_names_of_deals_are_completed_without_anything_heavy(tmp_path: Path) -> None:
    for deal in ("spring-lot", "spring-rings", "autumn", ".hidden"):
        (tmp_path / "deals" / deal).mkdir(parents=True)
    for line, offered in {
        "segpipe show spr": ["spring-lot", "spring-rings"],
        "segpipe run spring-lot ": ["autumn", "spring-lot", "spring-rings"],
        "segpipe remove a": ["autumn"],
        "segpipe export --deals a": ["autumn"],
        f"segpipe show --root {tmp_path} a": ["autumn"],
        "segpipe rollback zzz": [],
    }.items():
        names, modules = complete(tmp_path, line)
        assert names == offered, line
        assert not modules & HEAVY, line


def test_completion_of_deals_is_fast(tmp_path: Path) -> None:
    (tmp_path / "deals" / "spring-lot").mkdir(parents=True)
    before = os.times()
    started = time.monotonic()
    assert complete(tmp_path, "segpipe show ")[0] == ["spring-lot"]
    after = os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    assert used < 0.6, f"{time.monotonic() - started:.1f} s"


def test_commands_options_and_their_values_are_completed(tmp_path: Path) -> None:
    assert {"show", "sweep", "samples"} <= set(complete(tmp_path, "segpipe s")[0])
    assert "--force" in complete(tmp_path, "segpipe run --f")[0]
    assert complete(tmp_path, "segpipe show lot --mode in")[0] == ["inside_box"]
