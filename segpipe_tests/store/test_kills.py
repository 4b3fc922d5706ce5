"""Kill, run full or lose power at every step: what is current is the old set or the new one."""

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from segpipe.errors import StoreError
from segpipe.prompt import Mode
from segpipe.store.disk import Disk
from segpipe.store.local_storage import LocalStorage
from segpipe.store.store import DealStore
from segpipe_tests.deals import (
    ASSETS,
    DEAL,
    FAILURE,
    MODE,
    current,
    current_versions,
    leftovers,
    promote,
)
from segpipe_tests.reviews import add, review, speckled
from segpipe_tests.store.disks import (
    STEPS,
    FailingDisk,
    KillingDisk,
    LosingDisk,
    Moment,
    SteppedDisk,
)

KEEP_COMMITS = 2
OLD = dict.fromkeys(ASSETS, "r1.0")


def first_promotion(store: DealStore) -> None:
    promote(store, "new")


def next_promotion(store: DealStore) -> None:
    promote(store, "new")


def subset_promotion(store: DealStore) -> None:
    promote(store, "new", ["crops"])


def rolling_back(store: DealStore) -> None:
    store.rollback_asset(DEAL, MODE, "segmentation", "r0")


def sweeping(store: DealStore) -> None:
    store.sweep(min_age_s=0)


def adding_photos(store: DealStore) -> None:
    photo = Path(store.root.place).parent / "a.jpg"
    photo.write_bytes(b"photo")
    store.add_photos(DEAL, [photo])


def adding_prompts(store: DealStore) -> None:
    set_prompts(store, "new")


def changing_prompts(store: DealStore) -> None:
    set_prompts(store, "new")


def set_prompts(store: DealStore, text: str) -> None:
    store.prompts.edit_image(DEAL, "a", lambda p: p.model_copy(update={"text": text}))


def adding_review(store: DealStore) -> None:
    set_review(store, "new")


def changing_review(store: DealStore) -> None:
    set_review(store, "new")


def set_review(store: DealStore, name: str) -> None:
    decided = (add(name, speckled(len(name))),)
    store.reviews.edit(DEAL, Mode(MODE), "a", lambda now: review(*decided))


def state_of(store: DealStore) -> dict[str, str]:
    """The version of each asset that is current, read whole, and what people said."""
    versions = current_versions(store)
    text = store.prompts.of_image(DEAL, "a").text if store.deals() else None
    if store.deals() and (decided := store.reviews.of_image(DEAL, Mode(MODE), "a").decisions):
        versions["review"] = decided[0].key
    return versions | ({"prompts": text} if text else {})


ACTIONS: dict[Callable[[DealStore], None], dict[str, str]] = {
    first_promotion: dict.fromkeys(ASSETS, "new.0"),
    next_promotion: dict.fromkeys(ASSETS, "new.0"),
    subset_promotion: {"segmentation": "r1.0", "crops": "new.0"},
    rolling_back: dict.fromkeys(ASSETS, "r0.0"),
    sweeping: OLD,
    adding_photos: OLD,
    adding_prompts: OLD | {"prompts": "new"},
    changing_prompts: OLD | {"prompts": "new"},
    adding_review: OLD | {"review": "new"},
    changing_review: OLD | {"review": "new"},
}
"""What is current after each."""

EDITS = (adding_prompts, changing_prompts, adding_review, changing_review)


def prepare(root: Path, action: Callable[[DealStore], None]) -> dict[str, str]:
    """Make a data root for an action; what is current in it."""
    if action is first_promotion:
        return {}
    store = DealStore(root, keep_commits=KEEP_COMMITS)
    if action is sweeping:
        promote(store, "gone")
        dead = root / "deals" / DEAL / "runs" / "dead.0" / MODE / "crops" / "crops"
        dead.mkdir(parents=True)
        (dead / "0.png").write_bytes(b"")
        (root / "deals" / DEAL / ".segpipe-1.tmp").write_bytes(b"")
    promote(store, "r0")
    promote(store, "r1")
    if action is changing_prompts:
        set_prompts(store, "old")
        return OLD | {"prompts": "old"}
    if action is changing_review:
        set_review(store, "old")
        return OLD | {"review": "old"}
    return OLD


def steps_of(template: Path, root: Path, action: Callable[[DealStore], None]) -> list[str]:
    shutil.copytree(template, root)
    disk = SteppedDisk()
    action(DealStore(root, keep_commits=KEEP_COMMITS, storage=LocalStorage(root, disk)))
    shutil.rmtree(root)
    return disk.steps


def run_and_die(root: Path, action: Callable[[DealStore], None], disk: KillingDisk) -> None:
    """Run the action in a child that is killed on the way."""
    child = os.fork()
    if child == 0:
        try:
            storage = LocalStorage(root, disk)
            action(DealStore(root, keep_commits=KEEP_COMMITS, storage=storage))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


def check_whole(root: Path, old: dict[str, str], new: dict[str, str]) -> None:
    store = DealStore(root, keep_commits=KEEP_COMMITS)
    assert state_of(store) in (old, new)
    assert list(store.verify()) == []
    for photo in (root / "deals" / DEAL).glob("images/a*"):
        assert photo.read_bytes() == b"photo"


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("action", ACTIONS)
def test_killed_at_any_step_the_old_set_is_current_or_the_new_one(
    ram_disk: Path, action: Callable[[DealStore], None], moment: Moment
) -> None:
    template, root = ram_disk / "template", ram_disk / "root"
    template.mkdir()
    old, new = prepare(template, action), ACTIONS[action]
    for step, name in enumerate(steps_of(template, root, action), start=1):
        if moment is Moment.HALF_WAY and name != "write":
            continue
        shutil.copytree(template, root)
        run_and_die(root, action, KillingDisk(step, moment))
        check_whole(root, old, new)

        # Nothing is left over, and the same works now.
        store = DealStore(root, keep_commits=KEEP_COMMITS)
        store.sweep(min_age_s=0)
        if store.deals():
            assert leftovers(root, store) - {"_COMPLETE"} == set(), f"step {step}"
        check_whole(root, old, new)
        if action in {sweeping, adding_photos, rolling_back, *EDITS}:
            action(store)
        else:
            promote(store, "again")
            new_again = {asset: new[asset].replace("new", "again") for asset in new}
            assert state_of(store) == new_again | dict.fromkeys(ASSETS, "again.0")
        for document in {"prompts", "review"}.intersection(new):
            assert state_of(store)[document] == "new"
        assert list(store.verify()) == []
        shutil.rmtree(root)


@pytest.mark.parametrize("action", ACTIONS)
def test_after_a_power_cut_at_any_step_what_was_synced_is_the_old_set_or_the_new_one(
    ram_disk: Path, action: Callable[[DealStore], None]
) -> None:
    root = ram_disk / "root"
    root.mkdir()
    old, new = prepare(root, action), ACTIONS[action]
    seen: list[dict[str, str]] = []

    def power_cut(_: str, survived: Path) -> None:
        check_whole(survived, old, new)
        seen.append(state_of(DealStore(survived)))

    storage = LocalStorage(root, LosingDisk(root, power_cut))
    action(DealStore(root, keep_commits=KEEP_COMMITS, storage=storage))
    assert seen[-1] == new, "what was reported as promoted has to survive"


def test_a_file_that_could_not_be_synced_is_never_promoted(tmp_path: Path) -> None:
    class BadSector(Disk):
        fails = True

        def sync(self, descriptor: int) -> None:
            if self.fails:
                self.fails = False
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            super().sync(descriptor)

    store = DealStore(tmp_path, storage=LocalStorage(tmp_path, BadSector()))
    with pytest.raises(StoreError, match="Input/output error"):
        promote(store, "r1")
    assert store.current(DEAL, MODE) is None
    assert leftovers(tmp_path, store) == set()


def test_the_steps_that_are_stopped_at_are_all_that_change_a_disk() -> None:
    assert set(STEPS) == {
        "link",
        "lock",
        "make_folder",
        "open_new",
        "remove_folder",
        "replace",
        "sync",
        "sync_folder",
        "touch",
        "unlink",
        "write",
    }


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "no space left"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize(
    "action",
    [
        *(first_promotion, subset_promotion, rolling_back),
        *(adding_photos, *EDITS),
    ],
)
def test_a_disk_that_fails_at_any_step_loses_nothing_and_keeps_nothing(
    ram_disk: Path, action: Callable[[DealStore], None], code: int, message: str
) -> None:
    template, root = ram_disk / "template", ram_disk / "root"
    template.mkdir()
    old, new = prepare(template, action), ACTIONS[action]
    steps = steps_of(template, root, action)
    every = 1 if code == errno.ENOSPC else 7
    for step in range(1, len(steps) + 1, every):
        shutil.copytree(template, root)
        disk = FailingDisk(step, code)
        store = DealStore(root, keep_commits=KEEP_COMMITS, storage=LocalStorage(root, disk))
        error = error_of(action, store)
        # Only what is done for tidiness, after the commit, may fail unheard.
        assert error or state_of(store) == new
        if error:
            assert error.deal == DEAL
            assert message in str(error)
            assert "/secret" not in str(error)
        check_whole(root, old, new)
        assert leftovers(root, DealStore(root)) - {"_COMPLETE"} == set(), f"step {step}"
        shutil.rmtree(root)


def error_of(action: Callable[[DealStore], None], store: DealStore) -> StoreError | None:
    try:
        action(store)
    except StoreError as error:
        return error
    return None


def writing_too_much(store: DealStore) -> None:
    with store.stage(DEAL, MODE, run_id="big") as staging:
        for number in range(20):
            staging.write("crops", f"{number}.bin", bytes(30_000))
        staging.seal("crops", made_from={})


def test_a_disk_that_is_really_full_loses_nothing(small_disk: Path) -> None:
    store = DealStore(small_disk)
    promote(store, "r1")
    with pytest.raises(StoreError, match="no space left") as caught:
        writing_too_much(store)
    assert caught.value.deal == DEAL
    assert state_of(store) == OLD
    assert leftovers(small_disk, store) == set()
    promote(store, "r2")
    assert state_of(store) == dict.fromkeys(ASSETS, "r2.0")


def test_a_photo_that_does_not_fit_leaves_nothing_behind(small_disk: Path, tmp_path: Path) -> None:
    big = tmp_path / "big.jpg"
    big.write_bytes(bytes(1_000_000))
    store = DealStore(small_disk)
    with pytest.raises(StoreError, match="no space left"):
        store.add_photos(DEAL, [big])
    assert store.deals() == []
    assert list((small_disk / "deals").iterdir()) == []
    small = tmp_path / "small.jpg"
    small.write_bytes(b"photo")
    with pytest.raises(StoreError, match="no space left"):
        store.add_photos(DEAL, [small, big])
    assert [photo.name for photo in store.photos(DEAL)] == ["small.jpg"]


def test_a_root_that_is_really_read_only_is_told_and_still_read(
    small_disk: Path, remount_read_only: Callable[[Path], None]
) -> None:
    store = DealStore(small_disk)
    promote(store, "r1")
    remount_read_only(small_disk)
    for action in (next_promotion, rolling_back_to_r1, failing, adding_prompts, adding_review):
        with pytest.raises(StoreError, match="read-only") as caught:
            action(store)
        assert caught.value.deal == DEAL
    assert state_of(store) == OLD
    assert current(store).generation == 1
    assert list(store.verify()) == []


def rolling_back_to_r1(store: DealStore) -> None:
    store.rollback(DEAL, MODE, 1)


def failing(store: DealStore) -> None:
    store.record_failure(DEAL, MODE, FAILURE)
