"""What may lie where a file should be and is none."""

import contextlib
import os
import socket
from pathlib import Path


def make_folder(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)  # a socket's path is short


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name(f"nothing{path.suffix}"))
