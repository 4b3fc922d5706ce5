"""A bucket that fails again and again: nothing is lost, and nobody is refused by their own success.

Each fault comes at every fourth request or so: at whichever, by a seed.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from segpipe.flow.deal import DealTask, process_deal
from segpipe.prompt import Mode
from segpipe.store.prompts import Annotation, ImagePrompts, PromptType
from segpipe.store.store import DealStore
from segpipe_tests.deals import DEAL, MODE, make_tools, promote, put_photo
from segpipe_tests.goods import BrightSegmenter, goods_photo
from segpipe_tests.loopback.reply import Reply
from segpipe_tests.loopback.s3 import Between, S3Server, use_s3
from segpipe_tests.loopback.server import Received

SHARE = 0.25
SLOW_DOWN = Reply(503, b"<Error><Code>SlowDown</Code></Error>", "application/xml")
RESET = Reply(hang_up=True, reset=True)
Forward = Callable[[], Reply]


class Faulty:
    """Spoils requests at random: before the server sees them, or after it has answered."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._random = random.Random(7)
        self._lock = threading.Lock()
        self.met: Counter[str] = Counter()

    def __call__(self, received: Received, forward: Forward) -> Reply:
        with self._lock:
            is_hit = self._random.random() < SHARE
            kind = self._random.choice(list(KINDS)) if self._kind == "all" else self._kind
        has_condition = bool({"if-match", "if-none-match"} & set(received.headers))
        if not is_hit or (kind == "lost" and not has_condition):
            return forward()
        self.met[kind] += 1
        return KINDS[kind](forward)


def _lose(forward: Forward) -> Reply:
    forward()
    return RESET


def _be_slow(forward: Forward) -> Reply:
    reply = forward()
    if reply.raw is not None:
        return reply
    return Reply(reply.status, reply.body, reply.content_type, reply.headers, delay_s=0.05)


KINDS: dict[str, Callable[[Forward], Reply]] = {
    "slow_down": lambda _: SLOW_DOWN,
    "reset": lambda _: RESET,
    "lost": _lose,
    "slow": _be_slow,
}


@pytest.fixture
def between(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    between = Between(s3_server)
    with between.listening() as url:
        use_s3(monkeypatch, url)
        yield between


def draw(store: DealStore, name: str) -> None:
    drawn = Annotation(
        id=name, mode=Mode.INSIDE_BOX, prompt_type=PromptType.SEGMENT, box=(0, 0, 1, 1)
    )

    def add(present: ImagePrompts) -> ImagePrompts:
        return present.model_copy(update={"annotations": (*present.annotations, drawn)})

    store.prompts.edit_image(DEAL, "a", add)


@pytest.mark.parametrize("kind", [*KINDS, "all"])
def test_nothing_is_lost_and_no_conflict_is_told_that_there_was_not(
    between: Between, s3_server: S3Server, kind: str
) -> None:
    store = DealStore(s3_server.root(), keep_commits=100)
    put_photo(store)
    store.root.storage().replace("deals/lot/images/a.png", goods_photo(3))
    fault = between.fault = Faulty(kind)
    for turn in range(3):
        promotion = promote(store, f"r{turn}")
        assert (promotion.commit.generation, promotion.overtook) == (turn + 1, ())
    store.rollback(DEAL, MODE, 1)
    for number in range(3):
        draw(store, f"alone-{number}")
    outcome = asyncio.run(process_deal(store, DealTask("lot", "r1"), make_tools(BrightSegmenter())))
    assert outcome.summary.counts.crops == 3
    assert outcome.promotion.overtook == ()
    between.fault = None
    assert fault.met.total() > 3, "there were faults"
    assert [commit.generation for commit in store.commits(DEAL, MODE)] == [1, 2, 3, 4]
    assert {drawn.id for drawn in store.prompts.of_image(DEAL, "a").annotations} == {
        f"alone-{number}" for number in range(3)
    }
    assert list(store.verify()) == []


def test_who_commit_and_draw_at_once_lose_nothing_behind_all_faults(
    between: Between, s3_server: S3Server
) -> None:
    store = DealStore(s3_server.root(), keep_commits=100)
    put_photo(store)
    between.fault = Faulty("all")
    workers, each = 3, 2

    def work(worker: int) -> None:
        own = DealStore(store.root.place, keep_commits=100)
        for turn in range(each):
            promote(own, f"r{worker}-{turn}")
            draw(own, f"w{worker}-{turn}")

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))
    between.fault = None
    commits = store.commits(DEAL, MODE)
    assert [commit.generation for commit in commits] == list(range(1, workers * each + 1))
    assert len({commit.run_id for commit in commits}) == workers * each
    assert len(store.prompts.of_image(DEAL, "a").annotations) == workers * each
    assert list(store.verify()) == []
