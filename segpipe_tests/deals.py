"""Deals for the tests: photos in a folder, runs of the real stages, and small made-up runs."""

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from string import ascii_lowercase

from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.deal_state import Todo
from segpipe.flow.run_settings import FlowSettings, RunSettings
from segpipe.flow.todo import todo_of
from segpipe.flow.tools import Tools
from segpipe.prompt import Mode
from segpipe.refiners.build_refiner import AnyRefinerConfig, build_refiner
from segpipe.refiners.grabcut import GrabCutConfig
from segpipe.refiners.refiner import NoneConfig, NoneRefiner
from segpipe.segmenters.build_segmenter import build_segmenter
from segpipe.segmenters.classical import ClassicalConfig
from segpipe.segmenters.segmenter import Segmenter
from segpipe.store.failures import Failure, FailureItem
from segpipe.store.local_storage import LOCK_NAME
from segpipe.store.manifests import PHOTOS
from segpipe.store.snapshot import Snapshot
from segpipe.store.staging import Promotion, Staging
from segpipe.store.store import DealStore
from segpipe.store.version_info import VersionInfo
from segpipe_tests.goods import BrightConfig, BrightSegmenter, FixedSegmenter, goods_photo, photo_of

DEAL = "d1"
MODE = "find_all"
UPSTREAM = {"segmentation": PHOTOS, "crops": "segmentation"}
ASSETS = tuple(UPSTREAM)
PHOTOS_VERSION = "0" * 64
FAILURE = Failure(
    run_id="r1",
    attempt=1,
    created_at=datetime(2024, 1, 2, tzinfo=UTC),
    photos_fingerprint="f" * 64,
    prompts_version="e" * 64,
    retryable=False,
    errors=(
        FailureItem(image="a.jpg", error="CorruptImageError", message="truncated"),
        FailureItem(image=None, error="StoreError", message="no space"),
    ),
)


def put_photos(root: Path, deal: str, photos: dict[str, bytes]) -> None:
    """Put photos where somebody would drop them."""
    folder = root / "deals" / deal / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in photos.items():
        (folder / name).write_bytes(data)


def put_photo(store: DealStore, deal: str = DEAL) -> None:
    """A photo in a deal, wherever the store is."""
    store.root.storage().replace(f"deals/{deal}/images/a.jpg", b"photo")


def _name(index: int) -> str:
    """a, b, c, … z, a1, b1, …"""
    return f"{ascii_lowercase[index % 26]}{index // 26 or ''}"


def make_deal(root: Path, deal: str, items: Iterable[int] = (2, 3)) -> DealStore:
    """A deal with a photo for each number of goods: a.png, b.png, …"""
    photos = {f"{_name(index)}.png": goods_photo(n) for index, n in enumerate(items)}
    put_photos(root, deal, photos)
    return DealStore(root)


def make_tools(segmenter: Segmenter, settings: FlowSettings | None = None) -> Tools:
    """Tools around a segmenter, without refinement."""
    run_settings = RunSettings(BrightConfig(), NoneConfig(), settings or FlowSettings())
    return Tools(segmenter, NoneRefiner(), run_settings)


def default_tools(
    settings: FlowSettings | None = None, refiner: AnyRefinerConfig | None = None
) -> Tools:
    """What runs of no settings in particular work with."""
    segmenter, refiner = ClassicalConfig(), refiner or GrabCutConfig()
    run_settings = RunSettings(segmenter, refiner, settings or FlowSettings())
    return Tools(build_segmenter(segmenter), build_refiner(refiner), run_settings)


def todo(
    store: DealStore,
    mode: Mode = Mode.FIND_ALL,
    *,
    deal: str = "lot",
    settings: FlowSettings | None = None,
    replace_other_settings: bool = False,
) -> Todo:
    """What a deal needs of a run with the tools of :func:`make_tools`."""
    return todo_of(
        store,
        deal,
        mode,
        make_tools(BrightSegmenter(), settings).settings,
        replace_other_settings=replace_other_settings,
    )


def run_deal(root: Path, deal: str, names: tuple[str, ...] = ("a.png", "b.png")) -> DealStore:
    """A promoted deal; the photos whose name begins with "empty" have nothing in them."""
    photos = {name: photo_of(not name.startswith("empty"), tint) for tint, name in enumerate(names)}
    put_photos(root, deal, photos)
    store = DealStore(root)
    task = DealTask(deal, f"run-{deal[:8]}")
    asyncio.run(process_deal(store, task, make_tools(FixedSegmenter())))
    return store


def payload(version: str, asset: str) -> dict[str, bytes]:
    """Files that tell which version and asset they belong to."""
    text = f"{version} {asset}"
    return {"table.bin": text.encode() * 10, "crops/a/0000.bin": text.encode()}


def stage(
    staging: Staging, assets: Sequence[str] = ASSETS, *, current: Snapshot | None = None
) -> None:
    """Write and seal assets, made from what is staged along or is current."""
    for asset in assets:
        for name, data in payload(staging.version_name, asset).items():
            staging.write(asset, name, data)
        above = UPSTREAM[asset]
        version = PHOTOS_VERSION
        if above in assets:
            version = staging.version_name
        elif above != PHOTOS:
            assert current
            version = current.version(above).name
        staging.seal(
            asset, made_from={above: version}, info=VersionInfo(producer=staging.version_name)
        )


def promote(
    store: DealStore,
    run_id: str,
    assets: Sequence[str] = ASSETS,
    *,
    deal: str = DEAL,
    mode: str = MODE,
    attempt: int = 0,
) -> Promotion:
    """A whole run."""
    with store.stage(deal, mode, run_id=run_id, attempt=attempt) as staging:
        stage(staging, assets, current=store.current(deal, mode))
        return staging.promote()


def read_whole(snapshot: Snapshot) -> dict[str, str]:
    """The version of each asset, every byte of which was read and is its own."""
    versions = {}
    for asset in snapshot.commit.assets:
        name = snapshot.version(asset).name
        found = {entry.path: snapshot.read(asset, entry.path) for entry in snapshot.files(asset)}
        assert found == payload(name, asset)
        versions[asset] = name
    return versions


def current(store: DealStore, deal: str = DEAL, mode: str = MODE) -> Snapshot:
    """What is current; something is."""
    snapshot = store.current(deal, mode)
    assert snapshot
    return snapshot


def current_versions(store: DealStore) -> dict[str, str]:
    """The version of each asset that is current, read whole; none before the first promotion."""
    snapshot = store.current(DEAL, MODE)
    return read_whole(snapshot) if snapshot else {}


def leftovers(root: Path, store: DealStore, deal: str = DEAL) -> set[str]:
    """Files under a deal that are neither input nor named by a kept commit, and empty folders."""
    folder = root / "deals" / deal
    named = set()
    for mode in store.modes(deal):
        for commit in store.commits(deal, mode):
            named.add(f"commits/{mode}/{commit.generation:010}.json")
            snapshot = store.snapshot(deal, mode, commit.generation)
            for asset in commit.assets:
                version = Path(snapshot.folder(asset)).relative_to(folder)
                named.add(f"{version}/manifest.json")
                named.update(f"{version}/{entry.path}" for entry in snapshot.files(asset))
    found = {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() or (path.is_dir() and not any(path.iterdir()))
    }
    layout = {"images", "failures", "commits", f"commits/{MODE}", "runs", "prompts"}
    layout |= {"prompts/a.json", f"prompts/{LOCK_NAME}"}
    reviews = f"reviews/{MODE}"
    layout |= {"reviews", reviews, f"{reviews}/a.json", f"{reviews}/{LOCK_NAME}"}
    known = ("images/a", "current/")
    return {name for name in found - named - layout if not name.startswith(known)}


def memory_root() -> str:
    """A data root in memory that no other test uses."""
    return f"memory://{uuid.uuid4().hex}"
