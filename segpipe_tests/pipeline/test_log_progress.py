"""What a run's log says of its progress, and what is read from it."""

import time

from segpipe.pipeline.log_progress import LogProgress, RunProgress, Stand
from segpipe.progress import (
    Counts,
    DealDone,
    DealFailed,
    DealSkipped,
    DealStarted,
    DealWanted,
    Event,
    PhotoDone,
)


class Lines:
    """Stands for the run's log, which is only told lines."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def info(self, message: str, *values: object) -> None:
        self.told.append(message % values)

    error = info


def wait_for(lines: Lines, count: int) -> None:
    give_up = time.monotonic() + 10
    while len(lines.told) < count:
        assert time.monotonic() < give_up, lines.told
        time.sleep(0.005)


def read(lines: Lines) -> RunProgress:
    progress = RunProgress()
    for line in lines.told:
        progress.hear(line)
    return progress


def test_a_photo_is_told_at_once_or_a_moment_later_and_never_after_its_deal() -> None:
    lines = Lines()
    heard: list[Event] = []
    with LogProgress(lines, heard.append, quiet_s=0.05) as tell:  # type: ignore[arg-type]
        tell(DealStarted("lot", 9))
        for name in "abc":
            tell(PhotoDone("lot", name))
        assert lines.told == ["deal 'lot': 9 photos", "deal 'lot': 1 of 9 photos"]
        wait_for(lines, 3)
        assert lines.told[2] == "deal 'lot': 3 of 9 photos"
        tell(PhotoDone("lot", "d"))
        tell(DealDone("lot", Counts(images=9)))
        told = len(lines.told)
        time.sleep(0.15)
        assert len(lines.told) == told
    assert len(heard) == 6


def test_what_is_unsaid_at_the_end_stays_unsaid() -> None:
    lines = Lines()
    with LogProgress(lines, lambda _: None, quiet_s=0.05) as tell:  # type: ignore[arg-type]
        tell(DealStarted("lot", 2))
        tell(PhotoDone("lot", "a"))
        tell(PhotoDone("lot", "b"))
    time.sleep(0.15)
    assert lines.told[-1] == "deal 'lot': 1 of 2 photos"


def test_the_log_is_read_back_whatever_deals_are_called() -> None:
    lines = Lines()
    names = ("it's", 'a "quoted" lot', "back\\slash", "מבצע: 3 of 4 photos", "lot")
    with LogProgress(lines, lambda _: None) as tell:  # type: ignore[arg-type]
        for name in names:
            tell(DealWanted(name, "its photos changed: 2 of 3 photos"))
            tell(DealStarted(name, 4))
            tell(PhotoDone(name, "a"))
        tell(DealDone("it's", Counts(images=4, crops=7)))
        tell(DealSkipped("lot", "nothing to do: it is up to date"))
        tell(DealFailed("back\\slash", "a.png: cut off\nb.png: text"))
    found = {each.deal: each for each in read(lines).deals}
    assert tuple(found) == names
    assert (found["it's"].stand, found["it's"].done) == (Stand.DONE, 4)
    assert found["it's"].note.endswith("7 crops")
    assert (found["lot"].stand, found["lot"].note[-10:]) == (Stand.SKIPPED, "up to date")
    assert found["back\\slash"].stand is Stand.FAILED
    assert found["back\\slash"].note == "a.png: cut off\nb.png: text"
    waiting = found['a "quoted" lot']
    assert (waiting.stand, waiting.done, waiting.photos) == (Stand.UNDER_WAY, 1, 4)


def test_another_attempt_begins_a_failed_deal_anew_and_leaves_done_ones_alone() -> None:
    lines = Lines()
    with LogProgress(lines, lambda _: None) as tell:  # type: ignore[arg-type]
        tell(DealStarted("good", 1))
        tell(DealDone("good", Counts(images=1)))
        tell(DealStarted("bad", 3))
        tell(DealFailed("bad", "no space"))
        tell(DealSkipped("good", "this run has done it before"))
        tell(DealStarted("bad", 3))
    good, bad = read(lines).deals
    assert (good.stand, good.done) == (Stand.DONE, 1)
    assert (bad.stand, bad.done, bad.photos) == (Stand.UNDER_WAY, 0, 3)
