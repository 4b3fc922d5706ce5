"""Dagster in the studio, as ``segpipe studio`` starts it: pages, processes, their end."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from segpipe.studio.studio_settings import TOKEN_VARIABLES
from segpipe_tests.deals import put_photos
from segpipe_tests.goods import goods_photo
from segpipe_tests.studio.running_studio import wait_until

pytestmark = pytest.mark.timeout(240)

START_LIMIT_S = 120.0
STOP_LIMIT_S = 30.0
TOKENS = {role: f"token-of-{role}" for role in TOKEN_VARIABLES}
DAEMONS = """{ instance { daemonHealth { allDaemonStatuses { daemonType healthy } } }
  workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"""


class StudioProcess:
    """``segpipe studio`` in a process of its own."""

    def __init__(self, process: psutil.Popen, root: Path, log: Path) -> None:
        self.process = process
        self.root = root
        self._log = log
        wait_until(lambda: "http://" in self.told(), patience_s=START_LIMIT_S)
        (self.url,) = re.findall(r"http://\S+", self.told())

    def told(self) -> str:
        """What it has written."""
        return self._log.read_text(encoding="utf-8")

    def client(self, role: str = "admin") -> httpx.Client:
        """A program with the token of a role."""
        headers = {"Authorization": f"Bearer {TOKENS[role]}"}  # type: ignore[index]
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)


def start(root: Path) -> StudioProcess:
    (root / "deals").mkdir(parents=True)
    log = root.parent / "studio.log"
    environment = os.environ | {name: TOKENS[role] for role, name in TOKEN_VARIABLES.items()}
    program = "from segpipe.cli.app import main; main()"
    command = [sys.executable, "-c", program, "studio", "--root", str(root), "--port", "0"]
    with log.open("wb") as written:
        process = psutil.Popen(
            command, stdout=written, stderr=subprocess.STDOUT, env=environment, cwd=root.parent
        )
    try:
        return StudioProcess(process, root, log)
    except BaseException:
        process.kill()
        raise


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudioProcess]:
    studio = start(tmp_path_factory.mktemp("dagster") / "data")
    yield studio
    if studio.process.is_running():
        studio.process.kill()
    studio.process.wait()


def test_nobody_comes_to_dagster_without_a_login_nor_who_is_no_admin(
    started: StudioProcess,
) -> None:
    for path in ("/dagster", "/dagster/graphql", "/dagster/runs", "/dagster/server_info"):
        assert httpx.get(started.url + path).status_code == 401
        assert httpx.post(started.url + path, json={"query": DAEMONS}).status_code == 401
        for role in ("viewer", "reviewer"):
            with started.client(role) as client:
                assert client.get(path).status_code == 403
                assert client.post(path, json={"query": DAEMONS}).status_code == 403
    place = f"{started.url.replace('http', 'ws')}/dagster/graphql"
    for headers, status in (({}, 401), ({"Authorization": f"Bearer {TOKENS['viewer']}"}, 403)):  # type: ignore[index]
        with pytest.raises(InvalidStatus) as refused, connect(place, additional_headers=headers):
            pass
        assert refused.value.response.status_code == status


def test_dagsters_pages_daemon_and_code_location_are_there_for_an_admin(
    started: StudioProcess,
) -> None:
    with started.client() as client:
        wait_until(
            lambda: client.get("/dagster/server_info").status_code == 200,
            patience_s=START_LIMIT_S,
        )
        page = client.get("/dagster", follow_redirects=True)
        assert page.status_code == 200
        assert "nonce-" in page.headers["content-security-policy"]
        assert '"/dagster' in page.text

        def told() -> dict[str, object]:
            answer = client.post("/dagster/graphql", json={"query": DAEMONS}).json()["data"]
            assert answer["workspaceOrError"]["locationEntries"] == [
                {"name": "segpipe", "loadStatus": "LOADED"}
            ]
            return dict(answer["instance"]["daemonHealth"])

        def are_well() -> bool:
            found = told()["allDaemonStatuses"]
            assert isinstance(found, list)
            return all(each["healthy"] for each in found)

        wait_until(are_well, patience_s=START_LIMIT_S)
        foreign = {"Sec-Fetch-Site": "cross-site"}
        answer = client.post("/dagster/graphql", json={"query": DAEMONS}, headers=foreign)
        assert answer.status_code == 403
        assert client.get("/dagster", headers={"Host": "evil.example"}).status_code == 400
    place = f"{started.url.replace('http', 'ws')}/dagster/graphql"
    admin = {"Authorization": f"Bearer {TOKENS['admin']}"}  # type: ignore[index]
    with connect(place, additional_headers=admin, subprotocols=["graphql-ws"]) as socket:  # type: ignore[list-item]
        socket.send('{"type": "connection_init"}')
        assert "connection_ack" in socket.recv(timeout=30)
    with (
        pytest.raises(InvalidStatus),
        connect(place, additional_headers=admin | {"Origin": "http://evil.example"}),
    ):
        pass
    assert started.told().split() == ["segpipe", "studio:", started.url]


def child_of(studio: StudioProcess, module: str) -> psutil.Process | None:
    """The process of a module; None while there is none."""
    for child in studio.process.children():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if module in child.cmdline():
                return child
    return None


def test_a_dead_child_is_told_of_and_started_again_and_runs_go_on(started: StudioProcess) -> None:
    put_photos(started.root, "lot", {"a.png": goods_photo(2)})
    with started.client() as client:
        for module, title in (("dagster._daemon", "daemon"), ("dagster", "code location")):
            dead = child_of(started, module)
            assert dead
            dead.kill()
            told = f"{title} has ended (code -9)"
            wait_until(lambda told=told: told in client.get("/deals").text)  # type: ignore[misc]
            wait_until(
                lambda module=module, dead=dead: child_of(started, module) not in {None, dead},  # type: ignore[misc]
                patience_s=START_LIMIT_S,
            )
        answers = []

        def is_started() -> bool:
            # Until the new location is there, the webserver says so.
            answers.append(client.post("/api/runs", json={"mode": "find_all", "deals": ["lot"]}))
            return answers[-1].status_code == 202

        wait_until(is_started, patience_s=START_LIMIT_S)
        place = f"/api/runs/{answers[-1].json()['run_id']}"
        wait_until(lambda: client.get(place).json()["is_over"], patience_s=START_LIMIT_S)
        assert client.get(place).json()["status"] == "done"
        assert "It was started again" in client.get("/deals").text


def test_all_ends_with_the_studio(started: StudioProcess) -> None:
    children = started.process.children(recursive=True)
    started.process.send_signal(signal.SIGTERM)
    assert started.process.wait(STOP_LIMIT_S) in {0, -signal.SIGTERM}
    left = psutil.wait_procs(children, 1)[1]
    assert [each for each in left if each.status() != psutil.STATUS_ZOMBIE] == []
    assert "Traceback" not in started.told()


def test_the_children_end_also_when_the_studio_is_killed(tmp_path: Path) -> None:
    studio = start(tmp_path / "data")
    wait_until(lambda: len(studio.process.children()) == 2, patience_s=START_LIMIT_S)
    children = studio.process.children()
    studio.process.kill()
    studio.process.wait()
    assert psutil.wait_procs(children, STOP_LIMIT_S)[1] == []
