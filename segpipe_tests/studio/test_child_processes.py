"""Processes that the studio keeps up: what it does with one that ends time after time."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from segpipe.studio import child_processes
from segpipe.studio.child_processes import ChildProcess
from segpipe_tests.studio.running_studio import in_thread

STARTS = 6  # the first, and five more


async def told_until(child: ChildProcess, reached: Callable[[], bool]) -> set[str]:
    """What is told of a child until something is so."""
    told: set[str] = set()
    async with asyncio.timeout(60):
        while not reached():
            told.add(child.fault or "")
            await asyncio.sleep(0.005)
    return told


def test_one_that_ends_again_and_again_is_started_less_and_less_and_then_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_processes, "_FIRST_PAUSE_S", 0.02)
    log = tmp_path / "log"
    child = ChildProcess("A child", "this", (), environment={}, log=log)

    async def story() -> tuple[set[str], str | None]:
        await child.start()
        told = await told_until(child, lambda: child.is_given_up)
        last = child.fault
        await child.stop()
        return told, last

    told, last = in_thread(lambda: asyncio.run(story()))
    assert last
    assert "It has ended 6 times: mend it" in last
    assert str(log) in last
    assert child.fault is None
    assert any("A child has ended (code 0)" in each for each in told)
    assert any("It is started again in a moment" in each for each in told)
    assert len(re.findall("The Zen of Python", log.read_text())) == STARTS


def test_one_that_cannot_be_started_any_more_is_told_of_and_one_that_waits_is_not_started_at_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_processes, "_FIRST_PAUSE_S", 0.02)
    child = ChildProcess("A child", "this", (), environment={}, log=tmp_path / "log")

    async def story() -> None:
        await child.start()
        child._command[0] = str(tmp_path / "gone")  # as a full disk, or too many processes
        await told_until(child, lambda: child.is_given_up)
        assert child.fault
        assert "gone" in child.fault
        await child.stop()

        monkeypatch.setattr(child_processes, "_FIRST_PAUSE_S", 3600.0)
        waits = ChildProcess("A child", "this", (), environment={}, log=tmp_path / "log")
        await waits.start()
        await told_until(waits, lambda: waits.fault is not None)
        await waits.stop()

    in_thread(lambda: asyncio.run(story()))
    left = [each.cmdline() for each in psutil.Process().children(recursive=True)]
    assert [command for command in left if "this" in command] == []
