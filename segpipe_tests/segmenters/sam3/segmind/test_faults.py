"""Whatever a service does wrong: a typed error or the right result, in time, and no key."""

import gzip
import json
import logging
import traceback
from pathlib import Path

import pytest

from segpipe.errors import (
    BackendError,
    BackendProtocolError,
    BackendRefusedError,
    BackendUnavailableError,
    BackendUncertainError,
)
from segpipe.prompt import Prompt
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import to_base64
from segpipe_tests.loopback import Loopback, Reply, json_reply
from segpipe_tests.segmenters.sam3.segmind.conftest import KEY
from segpipe_tests.segmenters.sam3.segmind.double import FAST, IMAGE, MASKS, config_for, segment

PNG = to_base64(MASKS[0])
GOOD = json_reply([{"mask": PNG, "score": 0.5}])
BOMB = gzip.compress(b"[" + b" " * 200_000_000 + b"]", compresslevel=1)


def one_with(**fields: object) -> Reply:
    return json_reply([{"mask": PNG, "score": 0.5, **fields}])


ERRORS: dict[str, tuple[list[Reply], type[BackendError], int]] = {
    "401": ([Reply(401, KEY.encode())], BackendRefusedError, 1),
    "406": ([Reply(406)], BackendRefusedError, 1),
    "429": ([Reply(429)], BackendUnavailableError, 3),
    "429 that asks for too long a pause": (
        [Reply(429, headers={"retry-after": "3600"})],
        BackendUnavailableError,
        1,
    ),
    "500": ([Reply(500)], BackendUnavailableError, 3),
    "503": ([Reply(503)], BackendUnavailableError, 3),
    "500 that was billed": ([Reply(500, headers={"x-cost": "1"}), GOOD], BackendUncertainError, 1),
    "502": ([Reply(502), GOOD], BackendUncertainError, 1),
    "HTML": ([Reply(body=b"<html>busy</html>", content_type="text/html")], BackendProtocolError, 1),
    "truncated JSON": ([Reply(body=b'[{"mask": "')], BackendProtocolError, 1),
    "NaN as score": ([one_with(score=float("nan"))], BackendProtocolError, 1),
    "mask of another shape": (
        [one_with(mask=to_base64(Mask.empty(image_width=100, image_height=100)))],
        BackendProtocolError,
        1,
    ),
    "gzip bomb": (
        [Reply(body=BOMB, headers={"content-encoding": "gzip"})],
        BackendProtocolError,
        1,
    ),
    "slow loris": ([Reply(body=GOOD.body, drip_s=0.02)], BackendUncertainError, 1),
    "silence": ([Reply(delay_s=60)], BackendUncertainError, 1),
    "reset in the body": (
        [Reply(body=GOOD.body, stop_after=9, reset=True), GOOD],
        BackendUncertainError,
        1,
    ),
    "end in the body": ([Reply(body=GOOD.body, stop_after=9), GOOD], BackendUncertainError, 1),
    "hang-up": ([Reply(hang_up=True), GOOD], BackendUncertainError, 1),
    "redirect": (
        [Reply(302, headers={"location": "http://192.168.0.1/"})],
        BackendRefusedError,
        1,
    ),
    "wrong content type": (
        [Reply(body=GOOD.body, content_type="image/png")],
        BackendProtocolError,
        1,
    ),
    "no content type": ([Reply(body=GOOD.body, content_type="")], BackendProtocolError, 1),
    "empty body": ([Reply()], BackendProtocolError, 1),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_fault_is_a_typed_error_in_time_and_without_the_key(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    script, kind, sent = ERRORS[name]
    with Loopback(script) as server:
        http = FAST.model_copy(update={"deadline_s": 1.0, "max_response_mb": 1})
        with pytest.raises(BackendError) as caught:
            segment(config_for(server.url, tmp_path, http=http), Prompt(texts=("goods",)))
    error = caught.value
    assert type(error) is kind
    assert len(server.requests) == sent
    ledger = (tmp_path / "run-1.jsonl").read_text()
    assert len(ledger.splitlines()) == 2 * sent
    assert '"deal": "deal-1", "image": "a.png"' in ledger
    told = [str(error), repr(error), *traceback.format_exception(error), ledger, caplog.text]
    assert not any(KEY in text for text in told)


RESULTS: dict[str, tuple[list[Reply], int]] = {
    "500 then 200": ([Reply(500), GOOD], 2),
    "429 with Retry-After": ([Reply(429, headers={"retry-after": "0.05"}), GOOD], 2),
    "429 with a reset in the past": (
        [Reply(429, headers={"x-rate-limit-reset-at-utc": "2020-01-01 00:00:00"}), GOOD],
        2,
    ),
    "NaN as box": ([one_with(box=[float("nan")] * 4)], 1),
    "box inverted": ([one_with(box=[90, 90, 3, 3])], 1),
    "box outside": ([one_with(box=[-900, -900, 9000, 9000])], 1),
    "box infinite": ([one_with(box=[0, 0, float("inf"), 5])], 1),
    "mask of another size": (
        [one_with(mask=to_base64(Mask(2, 10, MASKS[0].bits[::2, ::2].copy(), 80, 60)))],
        1,
    ),
    "10,000 masks": (
        [json_reply([{"mask": PNG, "score": 0.5}] + [{"mask": "?", "score": 0.1}] * 9_999)],
        1,
    ),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_fault_that_can_be_overcome_gives_the_right_result(name: str, tmp_path: Path) -> None:
    script, sent = RESULTS[name]
    with Loopback(script) as server:
        result = segment(config_for(server.url, tmp_path, max_masks=1))
    assert [one.box for one in result.detections] == [MASKS[0].box]
    assert len(server.requests) == sent
    assert result.usage.calls == sent


def test_an_unknown_host_and_a_port_without_tls_are_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = "SEGMIND_API_KEY=https://segpipe-test.invalid"
    monkeypatch.setenv("SEGPIPE_SECRET_NAMES", allowed)
    http = FAST.model_copy(update={"max_attempts": 1})
    with Loopback(GOOD) as server:
        for url in ("https://segpipe-test.invalid", server.url.replace("http:", "https:")):
            with pytest.raises(BackendUnavailableError):
                segment(config_for(url, tmp_path, http=http))
    assert server.requests == []
    ledger = [json.loads(line) for line in (tmp_path / "run-1.jsonl").read_text().splitlines()]
    assert [line["cost"] for line in ledger] == [None, 0, None, 0]


def test_the_key_is_in_nothing_that_a_success_leaves_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with Loopback(GOOD) as server:
        result = segment(config_for(server.url, tmp_path), Prompt(texts=("goods",)), IMAGE)
    assert server.requests[0].headers["x-api-key"] == KEY
    assert "httpcore" in caplog.text or caplog.records
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not any(KEY in text for text in (repr(result), caplog.text, *written))
