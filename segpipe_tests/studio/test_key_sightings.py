"""A key that runs use, through a real daemon: where it is sent, and everywhere that it is not."""

import json
from pathlib import Path

import httpx
import pytest

from segpipe.vision.boxes import Box
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import to_base64
from segpipe_tests.deals import make_deal
from segpipe_tests.loopback.reply import Reply, json_reply
from segpipe_tests.loopback.server import Loopback
from segpipe_tests.studio.running_studio import running_studio, wait_until

pytestmark = pytest.mark.timeout(300)

NAME, CANARY, HIDDEN = "SEGMIND_API_KEY", "sg-canary-9876543210", "****"
LIMIT_S = 120.0
RUNS = """{ runsOrError { ... on Runs { results { runId status runConfigYaml tags { key value }
  eventConnection { events { __typename ... on MessageEvent { message } } } } } } }"""
PAGES = (
    *("/deals", "/deals/lot", "/deals/lot?tab=report", "/deals/lot?tab=history", "/deals/bad"),
    *("/deals/lot/annotate/a", "/process", "/runs", "/costs", "/settings", "/test", "/dagster"),
    *("/api/settings", "/api/settings/history", "/api/deals", "/api/runs", "/api/openapi.json"),
)


def answered() -> Reply:
    mask = Mask.from_box(Box(4, 20, 16, 36), image_width=160, image_height=120)
    return json_reply({"masks": [to_base64(mask)]}, headers={"x-cost": "0.01"})


def files_with(folder: Path, needle: str) -> list[str]:
    """The files under a folder that hold a text: documents, databases, logs, whatever there is."""
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and needle.encode() in path.read_bytes()
    ]


def told(client: httpx.Client, run_ids: list[str]) -> str:
    """All that the studio and Dagster tell of runs, in pages and answers, with their headers."""
    places = [
        *PAGES,
        *(f"/runs/{run}" for run in run_ids),
        *(f"/api/runs/{run}" for run in run_ids),
    ]
    answers = [client.get(place, follow_redirects=True) for place in places]
    assert {answer.status_code for answer in answers} == {200}
    answers.append(client.post("/dagster/graphql", json={"query": RUNS}))
    assert all(run in answers[-1].text for run in run_ids)
    return "".join(f"{answer.text}{dict(answer.headers)}" for answer in answers)


def test_a_key_is_sent_to_its_service_and_seen_nowhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    home, root = tmp_path / "home", tmp_path / "data"
    monkeypatch.setenv("SEGPIPE_SECRETS_FILE", str(home / "secrets.json"))
    monkeypatch.delenv(NAME, raising=False)
    make_deal(root, "lot", (1,))
    make_deal(root, "bad", (2,))
    echo = json_reply({"detail": f"the key {CANARY} is not known"}, status=401)
    with (
        Loopback(answered()) as good,
        Loopback(echo) as echoing,
        running_studio(root, dagster=True, daemon=True) as running,
        running.client() as client,
    ):
        wait_until(lambda: running.studio.dagster.is_ready, patience_s=LIMIT_S)
        run_ids, ends = [], []
        # The last is no origin of the key: it is not sent, and no run can make it so.
        for deal, url in (
            ("lot", good.url),
            ("bad", echoing.url),
            ("bad", "https://evil.example.org"),
        ):
            backend = {"kind": "segmind", "endpoint": url}
            sam3 = {"kind": "sam3", "texts": ["ring"], "backend": backend}
            body = {"settings": {"segmenter": sam3}, "secrets": {NAME: CANARY}}
            assert client.put("/api/settings", json=body).status_code == 200
            started = client.post("/api/runs", json={"mode": "find_all", "deals": [deal]})
            assert started.status_code == 202, started.text
            run_ids.append(started.json()["run_id"])
            place = f"/api/runs/{run_ids[-1]}"
            wait_until(lambda place=place: client.get(place).json()["is_over"], patience_s=LIMIT_S)  # type: ignore[misc]
            ends.append(client.get(place).json()["status"])
        assert ends == ["done", "failed", "failed"]
        seen = told(client, run_ids)
        # It came where it belongs, in a header and nowhere else.
        for server in (good, echoing):
            assert server.requests
            assert all(CANARY in json.dumps(one.headers) for one in server.requests)
            assert not any(
                CANARY in one.path or CANARY.encode() in one.body for one in server.requests
            )
    said = capfd.readouterr()
    assert CANARY not in "".join([seen, said.out, said.err, caplog.text])
    assert files_with(root, CANARY) == []
    assert files_with(root, HIDDEN) == []
    assert files_with(home, CANARY) == [str(home / "secrets.json")]
    databases = [path.name for path in (root / "dagster").rglob("*.db")]
    assert databases
    assert any(path.stat().st_size for path in (root / "studio").glob("*.log"))
