"""A service under attack, on loopback: its memory, its log, and honest clients meanwhile."""

import resource
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest

from segpipe_tests.goods import goods_photo
from segpipe_tests.server.running import ServiceProcess, running_process

MEGABYTE = 1_000_000
MOST_ABOVE_IDLE = 400 * MEGABYTE
MOST_WAIT_S = 2.0
ATTACK_S = 4.0
PHOTO = goods_photo(3)
HEAD = b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"


@pytest.fixture(autouse=True, scope="module")
def _descriptors() -> Iterator[None]:
    """As many connections as an attacker may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_000, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with running_process(tmp_path_factory.mktemp("service")) as service:
        ask(service)  # what it loads at its first prompt is no harm of the attacks
        yield service


def ask(service: ServiceProcess) -> float:
    """Be an honest client; gives how long the answer took."""
    begun = time.monotonic()
    answer = httpx.post(
        f"{service.url}/predict/mask",
        files={"image": PHOTO},
        data={"points": "[[10, 28]]"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return time.monotonic() - begun


@contextmanager
def bounded_harm(service: ServiceProcess) -> Iterator[None]:
    """Watch the memory and honest clients while the block attacks, and for a while after."""
    idle, most, waits, is_over = service.resident_bytes, 0, list[float](), threading.Event()

    def watch() -> None:
        nonlocal most
        while not is_over.wait(0.01):
            most = max(most, service.resident_bytes)

    def be_honest() -> None:
        while not is_over.wait(0.1):
            waits.append(ask(service))

    threads = [threading.Thread(target=work) for work in (watch, be_honest)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert most - idle < MOST_ABOVE_IDLE
    assert max(waits) < MOST_WAIT_S
    assert ask(service) < MOST_WAIT_S


def flood(service: ServiceProcess, attackers: int, attack: Callable[[socket.socket], None]) -> None:
    """Many connections that do the same, again and again, for a while."""
    end = time.monotonic() + ATTACK_S

    def go_on() -> None:
        while time.monotonic() < end:
            with suppress(OSError), connected(service) as connection:
                attack(connection)

    threads = [threading.Thread(target=go_on) for _ in range(attackers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def connected(service: ServiceProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), 10)


def test_headers_that_do_not_end(service: ServiceProcess) -> None:
    def send_headers(connection: socket.socket) -> None:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n")
        for number in range(60):
            connection.sendall(b"X-%d: " % number + b"x" * MEGABYTE + b"\r\n")

    with bounded_harm(service):
        flood(service, 16, send_headers)


def test_clients_that_send_nothing_or_a_byte_now_and_then(service: ServiceProcess) -> None:
    with bounded_harm(service), ExitStack() as held:
        slow = [held.enter_context(connected(service)) for _ in range(1_500)]
        end = time.monotonic() + ATTACK_S
        while time.monotonic() < end:
            for connection in slow[::2]:
                with suppress(OSError):
                    connection.send(b"G")
        assert len(service.process.net_connections()) <= 512 + 8


def test_bodies_that_hardly_arrive(service: ServiceProcess) -> None:
    with bounded_harm(service), ExitStack() as held:
        slow = [held.enter_context(connected(service)) for _ in range(200)]
        for connection in slow:
            connection.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n--b\r\n")
        time.sleep(1)
        end = time.monotonic() + ATTACK_S
        while time.monotonic() < end:
            for connection in slow:
                with suppress(OSError):
                    connection.send(b"x")
            time.sleep(0.1)


def test_answers_that_nobody_reads(service: ServiceProcess) -> None:
    with bounded_harm(service), ExitStack() as held:
        for _ in range(16):
            connection = held.enter_context(connected(service))
            with suppress(OSError):
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        time.sleep(ATTACK_S)


def test_junk_does_not_fill_the_log(service: ServiceProcess) -> None:
    def send_junk(connection: socket.socket) -> None:
        connection.sendall(b"\x00\xff junk \r\n\r\n")
        connection.recv(1_000)

    with bounded_harm(service):
        flood(service, 8, send_junk)
    assert len(service.log()) < 100_000


def png_of_16_bit_rgba(side: int) -> bytes:
    """A transparent picture: its rows are all zeros, so a piece of the file stands for many."""
    rows_of_piece = 100
    raw = bytes(rows_of_piece * (1 + 8 * side))
    packer = zlib.compressobj(1)
    first = packer.compress(raw) + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(raw) + packer.flush(zlib.Z_FULL_FLUSH)
    pieces = side // rows_of_piece
    # Adler-32 of zeros: the second sum counts them.
    checksum = (pieces * len(raw) % 65_521) << 16 | 1
    end = b"\x01\x00\x00\xff\xff" + struct.pack(">I", checksum)  # a last block that is empty

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0)
    data = first + piece * (pieces - 1) + end
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("side", "count", "status"), [(10_000, 10, 400), (4_000, 5, 200)])
def test_pictures_of_many_pixels(
    service: ServiceProcess, side: int, count: int, status: int
) -> None:
    picture = png_of_16_bit_rgba(side)
    statuses = list[int]()

    def send(number: int) -> None:
        answer = httpx.post(
            f"{service.url}/predict/mask",
            files={"image": picture + bytes([number])},
            data={"points": "[[10, 28]]"},
            timeout=60,
        )
        statuses.append(answer.status_code)

    idle = service.resident_bytes
    with bounded_harm(service):
        threads = [threading.Thread(target=send, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert statuses == [status] * count
    # What stays is what is kept for further prompts.
    kept_bytes = 0 if status == 400 else 3 * MEGABYTE * 100
    assert service.resident_bytes - idle < kept_bytes + 50 * MEGABYTE
