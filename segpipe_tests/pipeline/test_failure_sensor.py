"""People hear of failed runs, by a real webhook and a real mail server on loopback."""

import socketserver
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from segpipe.pipeline.failure_sensor import build_failure_sensor
from segpipe_tests.deals import make_deal, put_photos
from segpipe_tests.loopback import Loopback, Received, Reply, json_reply
from segpipe_tests.pipeline.dagster_runs import make_defs, run_deals

SECRET = "hook-7f31c2"


@pytest.fixture
def failed(tmp_path: Path, instance: dg.DagsterInstance) -> dg.RunFailureSensorContext:
    """What the sensor is given of a run with a bad photo."""
    make_deal(tmp_path, "bad")
    put_photos(tmp_path, "bad", {"x.jpg": b"text"})
    result = run_deals(make_defs(tmp_path), instance, ["bad"])
    (event,) = [e for e in result.all_events if e.event_type is dg.DagsterEventType.RUN_FAILURE]
    context = dg.build_run_status_sensor_context(
        sensor_name="tell_failures",
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        dagster_event=event,
    )
    return context.for_run_failure()


def test_a_webhook_is_told_which_run_failed_and_why(
    failed: dg.RunFailureSensorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Received] = []

    def take(received: Received) -> Reply:
        told.append(received)
        return json_reply({})

    with Loopback(take) as server:
        monkeypatch.setenv("SEGPIPE_FAILURE_WEBHOOK", f"{server.url}/hook")
        monkeypatch.setenv("SEGPIPE_UI_URL", "http://dagster.example/")
        build_failure_sensor()(failed)

    (received,) = told
    text = received.json()["text"]
    run_id = failed.dagster_run.run_id
    assert text.startswith(f"Run {run_id[:8]} of find_all_everything failed\n")
    assert "1 of 1 deals failed" in text
    assert "'x.jpg'" in text
    assert text.endswith(f"http://dagster.example/runs/{run_id}")


def test_a_webhook_that_fails_is_told_without_its_url(
    failed: dg.RunFailureSensorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Loopback(lambda _: json_reply({}, status=500)) as server:
        monkeypatch.setenv("SEGPIPE_FAILURE_WEBHOOK", f"{server.url}/{SECRET}")
        with pytest.raises(dg.Failure, match="it answered 500") as told:
            build_failure_sensor()(failed)
    assert SECRET not in "".join(traceback.format_exception(told.value))


def test_people_are_written_to(
    failed: dg.RunFailureSensorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server() as (port, letters):
        monkeypatch.setenv("SEGPIPE_FAILURE_EMAIL", "a@goods.example, b@goods.example")
        monkeypatch.setenv("SEGPIPE_SMTP_URL", f"smtp://127.0.0.1:{port}")
        build_failure_sensor()(failed)
    (letter,) = letters
    assert "To: a@goods.example, b@goods.example" in letter
    assert "of find_all_everything failed" in letter
    assert "x.jpg" in letter


def test_it_says_what_to_set_where_nothing_is(
    failed: dg.RunFailureSensorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    skipped = build_failure_sensor()(failed)
    assert isinstance(skipped, dg.SkipReason)
    assert "SEGPIPE_FAILURE_WEBHOOK" in (skipped.skip_message or "")
    monkeypatch.setenv("SEGPIPE_FAILURE_EMAIL", "a@goods.example")
    with pytest.raises(dg.Failure, match="SEGPIPE_SMTP_URL"):
        build_failure_sensor()(failed)


@contextmanager
def mail_server() -> Iterator[tuple[int, list[str]]]:
    """A server that speaks as much SMTP as is needed, and keeps the letters."""
    letters: list[str] = []

    class Conversation(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 ready\r\n")
            while line := self.rfile.readline():
                word = line.strip().upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    body = iter(self.rfile.readline, b".\r\n")
                    letters.append(b"".join(body).decode())
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Conversation) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], letters
        server.shutdown()
        thread.join()
