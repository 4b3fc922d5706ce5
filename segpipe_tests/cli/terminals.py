"""A terminal for the tests: the command line in a process of its own, on a pseudo terminal."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

PROGRAM = [sys.executable, "-c", "from segpipe.cli.app import main; main()"]
_CHUNK_BYTES = 65_536
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def environment(root: Path, **more: str) -> dict[str, str]:
    """What a command finds in its environment: little."""
    return {"PATH": os.environ["PATH"], "SEGPIPE_ROOT": str(root), "HOME": str(root.parent)} | more


def in_terminal(
    root: Path, *arguments: str, columns: int = 80, variables: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """The exit code of a command, and what stands on the terminal, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(root, TERM="xterm", **(variables or {})),
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # EIO: the terminal's last user has gone
        while chunk := os.read(ours, _CHUNK_BYTES):
            shown += chunk
    os.close(ours)
    return process.wait(), _COLOURS.sub("", shown.decode("utf-8", "backslashreplace"))


def in_pipe(root: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[bytes]":
    """A command whose output goes into a file or another program."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        env=environment(root, **variables),
        check=False,
    )
