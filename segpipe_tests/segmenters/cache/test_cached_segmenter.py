"""No question is paid for twice, and a cache that cannot keep answers disturbs nobody."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segpipe.detection import SegmentationResult, Thresholds, Usage
from segpipe.errors import BackendUnavailableError, SegmenterError
from segpipe.prompt import Prompt
from segpipe.segmenters.cache import CacheConfig, CachedSegmenter
from segpipe.segmenters.cache.cache_folder import CacheFolder
from segpipe.settings import Settings
from segpipe_tests.segmenters.cache.answers import (
    LoggingSegmenter,
    PaidSegmenter,
    answer,
    exit_code,
    facts,
    in_child,
    picture,
)

CUPS = Prompt(texts=("cup",))


class PaidSettings(Settings):
    model: str = "a"


def cached(inner: Any, folder: Path, **options: Any) -> CachedSegmenter:
    max_bytes = options.pop("max_bytes", 10_000_000)
    settings: dict[str, Any] = {"settings": PaidSettings()}
    return CachedSegmenter(inner, CacheFolder(folder, max_bytes), **settings | options)


def ask(
    segmenter: CachedSegmenter, seed: int = 0, prompt: Prompt = CUPS, times: int = 1
) -> list[SegmentationResult]:
    async def main() -> list[SegmentationResult]:
        return await asyncio.gather(
            *(segmenter.segment(picture(seed), prompt) for _ in range(times))
        )

    return asyncio.run(main())


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.entry"))


def test_the_second_answer_is_the_first_one_and_costs_no_call(tmp_path: Path) -> None:
    inner = PaidSegmenter()
    segmenter = cached(inner, tmp_path)
    (first,), (second,) = ask(segmenter), ask(segmenter)
    assert inner.calls == 1
    assert facts(second) == facts(first) == facts(answer(picture()))
    assert first.usage == Usage(calls=1, cost=0.25)
    assert second.usage == Usage(cached=1)


def test_answers_outlive_the_segmenter_that_got_them(tmp_path: Path) -> None:
    ask(cached(PaidSegmenter(), tmp_path))
    inner = PaidSegmenter()
    ask(cached(inner, tmp_path))
    assert inner.calls == 0


def test_another_picture_prompt_or_setting_is_asked_anew(tmp_path: Path) -> None:
    inner = PaidSegmenter()
    ask(cached(inner, tmp_path))
    ask(cached(inner, tmp_path), seed=1)
    ask(cached(inner, tmp_path), prompt=Prompt())
    ask(cached(inner, tmp_path, settings=PaidSettings(model="b")))
    assert inner.calls == 4
    assert len(entries(tmp_path)) == 4


def test_new_weights_behind_a_service_are_asked_anew_and_the_old_ones_are_remembered(
    tmp_path: Path,
) -> None:
    inner = PaidSegmenter()
    segmenter = cached(inner, tmp_path)
    calls = []
    for inner.held in "aabba":
        ask(segmenter)
        calls.append(inner.calls)
    assert calls == [1, 1, 2, 2, 2]


@pytest.mark.parametrize("later", ["b", BackendUnavailableError("gone")], ids=["other", "unknown"])
def test_an_answer_that_came_while_the_weights_changed_is_given_and_not_kept(
    tmp_path: Path, later: str | Exception
) -> None:
    inner = PaidSegmenter()
    inner.held_after_a_call = later
    (result,) = ask(cached(inner, tmp_path))
    assert facts(result) == facts(answer(picture()))
    assert inner.calls == 1
    assert not entries(tmp_path)


def test_tasks_that_ask_at_once_make_one_call_that_is_accounted_once(tmp_path: Path) -> None:
    inner = PaidSegmenter()
    results = ask(cached(inner, tmp_path), times=5)
    assert inner.calls == 1
    assert sum((result.usage for result in results), Usage()) == Usage(1, 4, 0.25)
    assert len({str(facts(result)) for result in results}) == 1


def test_other_thresholds_are_another_question(tmp_path: Path) -> None:
    inner = PaidSegmenter()
    segmenter = cached(inner, tmp_path)
    low, high = Thresholds(score=0.1), Thresholds(score=0.9)

    async def main() -> None:
        for thresholds in (None, low, high, None, low, high, Thresholds(score=0.9)):
            await segmenter.segment(picture(), CUPS, thresholds)

    asyncio.run(main())
    assert inner.thresholds == [None, low, high]


def test_an_error_is_never_kept(tmp_path: Path) -> None:
    inner = PaidSegmenter(errors=[BackendUnavailableError("busy")])
    segmenter = cached(inner, tmp_path)
    with pytest.raises(BackendUnavailableError, match="busy"):
        ask(segmenter)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    ask(segmenter)
    assert inner.calls == 2


def test_an_error_of_the_revision_is_raised_and_nothing_is_asked(tmp_path: Path) -> None:
    inner = PaidSegmenter()
    inner.held = BackendUnavailableError("gone")
    with pytest.raises(SegmenterError, match="gone"):
        ask(cached(inner, tmp_path))
    assert inner.calls == 0


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-1]), id="truncated"),
        pytest.param(lambda path: path.write_bytes(b"GIF89a" * 99), id="foreign"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[::-1]), id="changed"),
    ],
)
def test_a_damaged_entry_is_asked_again_and_replaced(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    inner = PaidSegmenter()
    segmenter = cached(inner, tmp_path)
    (first,) = ask(segmenter)
    (entry,) = entries(tmp_path)
    damage(entry)

    (second,), (third,) = ask(segmenter), ask(segmenter)

    assert inner.calls == 2
    assert facts(third) == facts(second) == facts(first)
    assert third.usage == Usage(cached=1)
    assert not caplog.records


def test_the_call_is_cancelled_with_the_one_task_that_asked(tmp_path: Path) -> None:
    async def main() -> None:
        inner = PaidSegmenter(gate=asyncio.Event())
        task = asyncio.create_task(cached(inner, tmp_path).segment(picture(), CUPS))
        await inner.asked.wait()
        task.cancel()
        await asyncio.wait([task])
        assert inner.cancelled == 1

    asyncio.run(main())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def no_folder(tmp_path: Path) -> Path:
    """A file lies where the folder should be."""
    (tmp_path / "file").touch()
    return tmp_path / "file"


def read_only(_: Path) -> Path:
    """A file system that takes no files, whoever asks."""
    return Path("/proc/segpipe")


@pytest.mark.parametrize("bad", [no_folder, read_only])
def test_a_folder_that_takes_nothing_costs_one_warning_and_no_answer(
    tmp_path: Path, bad: Callable[[Path], Path], caplog: pytest.LogCaptureFixture
) -> None:
    inner = PaidSegmenter()
    segmenter = cached(inner, bad(tmp_path))
    with caplog.at_level(logging.WARNING):
        results = ask(segmenter) + ask(segmenter)
    assert [facts(result) for result in results] == [facts(answer(picture()))] * 2
    assert inner.calls == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "not kept" in caplog.text


def test_a_full_disk_costs_one_warning_and_no_answer(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel refuse the bytes, as a full disk does."""

    def ask_twice() -> None:
        import resource

        warnings: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("segpipe").addHandler(handler)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        inner = PaidSegmenter()
        segmenter = cached(inner, tmp_path)
        assert facts(ask(segmenter)[0]) == facts(ask(segmenter)[0])
        assert inner.calls == 2
        assert len(warnings) == 1

    assert exit_code(in_child(ask_twice)) == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_closing_closes_the_inner_one_and_leaves_the_answers(tmp_path: Path) -> None:
    inner = PaidSegmenter()
    segmenter = cached(inner, tmp_path)
    ask(segmenter)
    asyncio.run(segmenter.aclose())
    assert inner.closed == 1
    assert len(entries(tmp_path)) == 1


def test_its_id_is_the_inner_ones(tmp_path: Path) -> None:
    assert cached(PaidSegmenter(), tmp_path).id == "paid"


def test_processes_that_ask_at_once_make_one_call(tmp_path: Path) -> None:
    log = tmp_path / "calls"

    def ask_once() -> None:
        (result,) = ask(cached(LoggingSegmenter(log, seconds=0.3), tmp_path / "cache"))
        assert facts(result) == facts(answer(picture()))

    children = [in_child(ask_once) for _ in range(3)]
    assert [exit_code(child) for child in children] == [0, 0, 0]
    assert log.read_text() == "call\n"


def test_when_the_process_that_asks_is_killed_the_one_that_waits_asks(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    folder = tmp_path / "cache"
    child = in_child(lambda: ask(cached(LoggingSegmenter(log, seconds=600), folder)))
    while not log.exists():
        os.sched_yield()

    async def outlive() -> SegmentationResult:
        segmenter = cached(LoggingSegmenter(log, seconds=0), folder)
        waiting = asyncio.create_task(segmenter.segment(picture(), CUPS))
        await asyncio.sleep(0.1)
        assert log.read_text() == "call\n"
        os.kill(child, signal.SIGKILL)
        async with asyncio.timeout(30):
            return await waiting

    result = asyncio.run(outlive())
    assert exit_code(child) == -signal.SIGKILL
    assert facts(result) == facts(answer(picture()))
    assert log.read_text() == "call\ncall\n"
    assert not list(folder.rglob("*.lock"))


def test_no_setting_of_the_cache_belongs_to_the_identity_of_a_segmenter() -> None:
    config = CacheConfig(folder="elsewhere", max_size_mb=3)
    assert config.identity() == {}
    assert config.max_bytes == 3_000_000
