"""What an object store does to its clients: answers get lost, others come first, 409 and 403."""

import asyncio
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from pyarrow.fs import S3FileSystem

from segpipe.errors import StoreError
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.stages.crop_files import read_crop
from segpipe.flow.stages.crops_table import crops_from_table
from segpipe.flow.stages.report import read_preview
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.store.data_root import DataRoot
from segpipe.store.object_storage import ObjectStorage
from segpipe.store.storage import Storage
from segpipe.store.store import DealStore
from segpipe.store.tables import TableReader, TableWriter, current_tables
from segpipe.vision.encode import encode_png
from segpipe_tests.deals import ASSETS, DEAL, MODE, current, current_versions, make_tools, promote
from segpipe_tests.goods import BrightSegmenter, goods_photo
from segpipe_tests.loopback.reply import Reply
from segpipe_tests.loopback.s3 import BUCKET, Between, S3Server, use_s3
from segpipe_tests.loopback.server import Received

CONFLICT = Reply(
    409,
    b"<Error><Code>ConditionalRequestConflict</Code><Message>The conditional request cannot "
    b"succeed due to a conflicting operation against this resource.</Message></Error>",
    "application/xml",
)
FORBIDDEN = Reply(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")
TO_CROPS = frozenset({"segmentation", "dedup", "refinement", "review", "crops"})
Forward = Callable[[], Reply]


@pytest.fixture
def between(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """What stands before the S3 server, and is what s3:// means."""
    between = Between(s3_server)
    with between.listening() as url:
        use_s3(monkeypatch, url)
        yield between


@pytest.fixture
def root(s3_server: S3Server) -> str:
    return s3_server.root()


@pytest.fixture
def storage(between: Between, root: str) -> Storage:
    return DataRoot.parse(root).storage()


class LostAnswers:
    """The answers to the first PUTs with a condition get lost after they did their work."""

    def __init__(self, count: int, name: str = "") -> None:
        self.left = count
        self._name = name

    def __call__(self, received: Received, forward: Forward) -> Reply:
        reply = forward()
        has_condition = {"if-match", "if-none-match"} & set(received.headers)
        if self.left and has_condition and self._name in received.path:
            self.left -= 1
            return Reply(hang_up=True)
        return reply


class First:
    """The first PUT with a condition is answered so, and does nothing."""

    def __init__(self, reply: Reply, count: int = 1) -> None:
        self._reply = reply
        self.left = count

    def __call__(self, received: Received, forward: Forward) -> Reply:
        if self.left and {"if-match", "if-none-match"} & set(received.headers):
            self.left -= 1
            return self._reply
        return forward()


def test_a_put_whose_answer_was_lost_has_succeeded(between: Between, storage: Storage) -> None:
    between.fault = LostAnswers(1)
    storage.put_if_absent("x", [b"one"])
    between.fault = LostAnswers(1)
    with pytest.raises(FileExistsError):
        storage.put_if_absent("x", [b"two"])
    assert storage.read("x") == b"one"


@pytest.mark.parametrize("expected", [None, b"one"])
def test_a_swap_whose_answer_was_lost_has_succeeded(
    between: Between, storage: Storage, expected: bytes | None
) -> None:
    if expected is not None:
        storage.replace("x", expected)
    between.fault = LostAnswers(1)
    assert storage.swap("x", expected, b"two")
    assert not storage.swap("x", expected, b"three")
    assert storage.read("x") == b"two"


@pytest.mark.parametrize("answer", [CONFLICT, Reply(hang_up=True), Reply(503)])
@pytest.mark.parametrize("expected", [None, b"one"])
def test_a_put_that_came_to_nothing_is_tried_again(
    between: Between, storage: Storage, expected: bytes | None, answer: Reply
) -> None:
    if expected is not None:
        storage.replace("x", expected)
    between.fault = First(answer, count=2)
    assert storage.swap("x", expected, b"two")
    assert storage.read("x") == b"two"


def test_who_came_between_reading_and_writing_wins(
    between: Between, storage: Storage, s3_server: S3Server, root: str
) -> None:
    storage.replace("x", b"one")
    with pytest.MonkeyPatch.context() as patch:
        use_s3(patch, s3_server.url)
        others = DataRoot.parse(root).storage()

    def overtake(received: Received, forward: Forward) -> Reply:
        if "if-match" in received.headers:
            others.replace("x", b"theirs")
        return forward()

    between.fault = overtake
    assert not storage.swap("x", b"one", b"two")
    assert storage.read("x") == b"theirs"


def test_what_is_not_permitted_is_told(between: Between, root: str) -> None:
    store = DealStore(root)
    promote(store, "r1")
    between.fault = lambda received, forward: FORBIDDEN if received.method == "PUT" else forward()
    with pytest.raises(StoreError, match="not permitted") as caught:
        promote(store, "r2")
    assert caught.value.deal == DEAL
    between.fault = None
    assert current_versions(store) == dict.fromkeys(ASSETS, "r1.0")


@pytest.mark.parametrize("fault", [LostAnswers(1, "commits"), LostAnswers(1), First(CONFLICT)])
def test_a_run_commits_once_whatever_becomes_of_an_answer(
    between: Between, root: str, fault: LostAnswers | First
) -> None:
    store = DealStore(root)
    promote(store, "r1")
    between.fault = fault
    promotion = promote(store, "r2")
    assert fault.left == 0
    assert (promotion.commit.generation, promotion.overtook) == (2, ())
    assert [commit.run_id for commit in store.commits(DEAL, MODE)] == ["r1", "r2"]
    assert current_versions(store) == dict.fromkeys(ASSETS, "r2.0")


def test_a_deal_takes_one_request_a_file_and_few_beside(between: Between, root: str) -> None:
    store = DealStore(root)
    crops = 100
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        for number in range(crops):
            staging.write("crops", f"crops/a/{number:04}.png", b"png")
        staging.seal("crops", made_from={})
        staging.promote()
    assert between.asked["PUT"] == crops + 2, "the manifest and the commit"
    assert between.asked.total() - between.asked["PUT"] <= 11, between.asked


def test_a_deal_goes_its_whole_way_in_few_requests(between: Between, root: str) -> None:
    store = DealStore(root)
    photos, each = 3, 7
    for number in range(photos):
        store.root.storage().replace(f"deals/lot/images/{number}.png", goods_photo(each))
    between.asked.clear()
    tools = make_tools(BrightSegmenter())
    outcome = asyncio.run(process_deal(store, DealTask("lot", "r1"), tools))
    asked = between.asked.copy()
    assert outcome.summary.counts.crops == photos * each
    snapshot = store.current("lot", MODE)
    assert snapshot
    assets = list(snapshot.commit.assets)
    files = sum(len(snapshot.files(asset)) for asset in assets)
    assert asked["PUT"] == files + len(assets) + 1, "the files, the manifests and the commit"
    assert asked["GET"] == photos
    assert asked.total() - asked["PUT"] - asked["GET"] <= 7, asked
    with TableReader(snapshot, "crops", "crops.parquet") as table:
        assert [table.read(image).num_rows for image in table.images()] == [each] * photos
    asyncio.run(process_deal(store, DealTask("lot", "r2"), tools))
    store.rollback("lot", MODE, 1)
    few = DealStore(root, keep_commits=1)
    assert few.sweep(min_age_s=0).versions == len(assets)
    assert list(few.verify()) == []
    current = store.current("lot", MODE)
    assert current
    assert current.commit.assets == snapshot.commit.assets


@pytest.mark.parametrize(
    ("stages", "most"),
    [
        (TO_CROPS, 40),
        (TO_CROPS | {"coco"}, 42),
        (STAGES.names, 46),  # previews, contact sheet, summary, manifest
    ],
)
def test_twenty_photos_of_sixty_items_take_a_request_a_photo_and_few_beside(
    between: Between, root: str, stages: frozenset[str], most: int
) -> None:
    store = DealStore(root)
    photos, each = 20, 60
    noise = np.random.default_rng(0).integers(140, 255, (6, 64, 10, 64, 3), np.uint8)
    noise[:, :4], noise[:, :, :, :4] = 0, 0  # a dark table around 6 rows of 10 goods
    photo = encode_png(noise.reshape(384, 640, 3))
    for number in range(photos):
        store.root.storage().replace(f"deals/lot/images/{number:02}.png", photo)
    between.asked.clear()
    tools = make_tools(BrightSegmenter())
    outcome = asyncio.run(process_deal(store, DealTask("lot", "r1", stages=stages), tools))
    asked = between.asked.copy()
    assert outcome.summary.counts.crops == photos * each
    assert asked["GET"] == photos
    assert asked.total() <= most, asked
    snapshot = current(store, "lot")
    assert {entry.path: entry.size for entry in snapshot.files("crops")}["crops.tar"] > 8 << 20
    between.asked.clear()
    with TableReader(snapshot, "crops", "crops.parquet") as table:
        (first, *_) = crops_from_table(table.read("07"))
        for_the_table = between.asked.total()
        assert read_crop(snapshot, "crops", first).startswith(b"\x89PNG")
    assert between.asked.total() - for_the_table == 1, "a ranged read"
    if "deal_report" in stages:
        snapshot.manifest("deal_report")
        between.asked.clear()
        assert read_preview(snapshot, "07").startswith(b"\xff\xd8")
        assert between.asked.total() <= 5, "the list of members, and the member"


def test_a_file_that_is_too_large_for_one_put_comes_back_whole(s3_server: S3Server) -> None:
    data = np.random.default_rng(0).bytes(66 << 20)
    with pytest.MonkeyPatch.context() as patch:
        use_s3(patch, s3_server.url)
        storage = DataRoot.parse(s3_server.root()).storage()
        assert isinstance(storage, ObjectStorage)
        storage.put_file("large", io.BytesIO(data))
        assert storage.read("large") == data
        assert storage.read_range("large", 65 << 20, 9) == data[65 << 20 :][:9]


def test_of_all_who_commit_at_once_each_gets_a_generation_of_its_own(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_s3(monkeypatch, s3_server.url)
    store = DealStore(s3_server.root(), keep_commits=100)
    workers, rounds = 5, 5

    def commit(worker: int) -> None:
        for turn in range(rounds):
            promote(store, f"r{worker}-{turn}")

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(commit, range(workers)))
    commits = store.commits(DEAL, MODE)
    assert [each.generation for each in commits] == list(range(1, workers * rounds + 1))
    assert len({each.run_id for each in commits}) == len(commits)
    assert list(store.verify()) == []


def test_pyarrow_reads_the_urls_of_tables(s3_server: S3Server, root: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        use_s3(patch, s3_server.url)
        store = DealStore(root)
        schema = pa.schema([("image", pa.string()), ("n", pa.int32())])
        for deal in ("d1", "d2"):
            store.root.storage().replace(f"deals/{deal}/images/a.png", b"photo")
            with store.stage(deal, MODE, run_id="r1") as staging:
                with TableWriter(staging, "crops", "crops.parquet", schema) as table:
                    table.write("a", pa.table({"image": ["a"], "n": [1]}, schema=schema))
                staging.seal("crops", made_from={})
                staging.promote()
        urls = current_tables(store, MODE, "crops", "crops.parquet")
    assert all(url.startswith(f"s3://{BUCKET}/") for url in urls)
    files = S3FileSystem(
        endpoint_override=s3_server.url, access_key="test", secret_key="test", region="us-east-1"
    )
    rows = ds.dataset([url.removeprefix("s3://") for url in urls], filesystem=files).to_table()
    assert rows["deal"].to_pylist() == ["d1", "d2"]
