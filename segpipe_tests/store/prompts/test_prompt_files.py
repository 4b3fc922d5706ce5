"""The prompts of deals as files: nobody's change is lost, and whatever cannot be used is named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from segpipe.errors import (
    BadPromptsError,
    DealNotFoundError,
    InvalidIdError,
    PromptConflictError,
    PromptError,
    PromptFileError,
    UnsafePathError,
)
from segpipe.prompt import Mode
from segpipe.store import edited_files
from segpipe.store.data_root import DataRoot
from segpipe.store.local_storage import LocalStorage
from segpipe.store.prompts import Annotation, DealPrompts, ImagePrompts, PromptType
from segpipe.store.storage import Storage
from segpipe.store.store import DealStore
from segpipe_tests.deals import DEAL, promote
from segpipe_tests.store.no_files import make_dangling_link, make_fifo, make_folder, make_socket

Change = Callable[[ImagePrompts], ImagePrompts]


def box(name: str, x: float = 0) -> Annotation:
    return Annotation(
        id=name,
        mode=Mode.INSIDE_BOX,
        prompt_type=PromptType.SEGMENT,
        box=(x, 0, x + 2, 3),
    )


def adding(*annotations: Annotation) -> Change:
    return lambda present: present.model_copy(
        update={"annotations": (*present.annotations, *annotations)}
    )


def saying(text: str) -> Change:
    return lambda present: present.model_copy(update={"text": text})


@pytest.fixture
def deal(store: DealStore, root: str) -> DealStore:
    DataRoot.parse(root).storage().replace(f"deals/{DEAL}/images/a.jpg", b"photo")
    return store


@pytest.fixture
def local(local_store: DealStore, prompts: Path) -> DealStore:
    return local_store


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """The folder of prompts of a deal on a local disk."""
    folder = tmp_path / "deals" / DEAL / "prompts"
    folder.mkdir(parents=True)
    return folder


def test_prompts_are_read_changed_and_read_again(deal: DealStore) -> None:
    assert deal.prompts.of_image(DEAL, "a") == ImagePrompts(image="a")
    assert deal.prompts.of_deal(DEAL) == DealPrompts()
    assert deal.prompts.images(DEAL) == {}

    first = deal.prompts.edit_image(DEAL, "b", adding(box("b1")))
    assert (first.generation, first.annotations) == (1, (box("b1"),))
    second = deal.prompts.edit_image(DEAL, "b", saying("ring"))
    assert (second.generation, second.text, second.annotations) == (2, "ring", (box("b1"),))
    third = deal.prompts.edit_image(DEAL, "a", adding(box("b1")))
    everywhere = deal.prompts.edit_deal(DEAL, lambda _: DealPrompts(text="coin"))

    assert everywhere == DealPrompts(generation=1, text="coin") == deal.prompts.of_deal(DEAL)
    assert deal.prompts.of_image(DEAL, "b") == second
    assert deal.prompts.images(DEAL) == {"a": third, "b": second}
    assert list(deal.prompts.images(DEAL)) == ["a", "b"]


def test_a_change_that_changes_nothing_writes_nothing(deal: DealStore, root: str) -> None:
    deal.prompts.edit_image(DEAL, "a", saying("ring"))
    deal.prompts.edit_deal(DEAL, lambda present: present)
    data = DataRoot.parse(root).storage().read(f"deals/{DEAL}/prompts/a.json")
    same = deal.prompts.edit_image(DEAL, "a", lambda _: ImagePrompts(image="a", text="ring"))
    assert same.generation == 1
    assert DataRoot.parse(root).storage().read(f"deals/{DEAL}/prompts/a.json") == data
    names = {entry.name for entry in DataRoot.parse(root).storage().list(f"deals/{DEAL}/prompts")}
    assert {name for name in names if not name.startswith(".")} == {"a.json"}


def test_a_change_that_came_first_is_seen_and_kept(deal: DealStore) -> None:
    def change(present: ImagePrompts) -> ImagePrompts:
        if not present.annotations:  # somebody else, just now
            deal.prompts.edit_image(DEAL, "a", adding(box("theirs")))
        return adding(box("ours"))(present)

    edited = deal.prompts.edit_image(DEAL, "a", change)
    assert [each.id for each in edited.annotations] == ["theirs", "ours"]
    assert edited.generation == 2


def test_a_change_by_hand_that_leaves_the_generation_is_seen_and_kept(
    deal: DealStore, root: str
) -> None:
    by_hand = ImagePrompts(image="a", annotations=(box("by-hand"),))

    def change(present: ImagePrompts) -> ImagePrompts:
        if not present.annotations:
            DataRoot.parse(root).storage().replace(
                f"deals/{DEAL}/prompts/a.json", by_hand.to_bytes()
            )
        return adding(box("ours"))(present)

    edited = deal.prompts.edit_image(DEAL, "a", change)
    assert [each.id for each in edited.annotations] == ["by-hand", "ours"]


def test_who_never_comes_first_is_told(deal: DealStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edited_files, "_MAX_PAUSE_S", 0.0)

    def change(present: ImagePrompts) -> ImagePrompts:
        deal.prompts.edit_image(DEAL, "a", saying(f"theirs {present.generation}"))
        return saying("ours")(present)

    with pytest.raises(PromptConflictError, match="try again") as caught:
        deal.prompts.edit_image(DEAL, "a", change)
    assert (caught.value.deal, caught.value.image) == (DEAL, "a")
    assert caught.value.retryable


def test_an_editor_that_read_an_older_generation_is_refused(deal: DealStore) -> None:
    read = deal.prompts.edit_image(DEAL, "a", saying("ring"))
    saved = deal.prompts.save_image(DEAL, adding(box("b1"))(read))
    assert (saved.generation, saved.text, len(saved.annotations)) == (2, "ring", 1)
    with pytest.raises(PromptConflictError, match=r"generation 1 .* generation 2") as caught:
        deal.prompts.save_image(DEAL, saying("coin")(read))
    assert (caught.value.deal, caught.value.image) == (DEAL, "a")
    assert deal.prompts.of_image(DEAL, "a") == saved


def test_an_editor_that_says_what_it_read_notices_a_change_by_hand(
    deal: DealStore, root: str
) -> None:
    read = deal.prompts.edit_image(DEAL, "a", saying("ring"))
    by_hand = saying("by hand")(read)
    DataRoot.parse(root).storage().replace(f"deals/{DEAL}/prompts/a.json", by_hand.to_bytes())
    with pytest.raises(PromptConflictError, match="by hand"):
        deal.prompts.save_image(DEAL, saying("coin")(read), read_digest=read.digest())
    saved = deal.prompts.save_image(DEAL, saying("coin")(read), read_digest=by_hand.digest())
    assert (saved.text, saved.generation) == ("coin", 2)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (adding(box("b1"), box("b1")), "annotations"),
        (saying("\ud800"), "text"),
        (lambda p: p.model_copy(update={"image": "b"}), "image"),
        (lambda p: p.model_copy(update={"annotations": ("no annotation",)}), "annotations[0]"),
        (saying("x" * ImagePrompts.max_bytes), None),
    ],
)
def test_what_could_not_be_read_back_is_never_written(
    deal: DealStore, change: Change, field: str | None
) -> None:
    before = deal.prompts.edit_image(DEAL, "a", saying("ring"))
    with pytest.raises(PromptFileError) as caught:
        deal.prompts.edit_image(DEAL, "a", change)
    assert (caught.value.deal, caught.value.image, caught.value.field) == (DEAL, "a", field)
    assert deal.prompts.of_image(DEAL, "a") == before


def test_a_change_may_refuse(deal: DealStore) -> None:
    def refuse(_: ImagePrompts) -> ImagePrompts:
        raise PromptError("no")

    with pytest.raises(PromptError, match="no") as caught:
        deal.prompts.edit_image(DEAL, "a", refuse)
    assert caught.value.deal == DEAL
    assert deal.prompts.images(DEAL) == {}


def test_there_are_no_prompts_of_a_deal_that_is_not_there(deal: DealStore, root: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: deal.prompts.of_image("d2", "a"),
        lambda: deal.prompts.of_deal("d2"),
        lambda: deal.prompts.images("d2"),
        lambda: deal.prompts.edit_image("d2", "a", saying("ring")),
        lambda: deal.prompts.edit_deal("d2", lambda _: DealPrompts(text="x")),
        lambda: deal.prompts.save_image("d2", ImagePrompts(image="a", text="x")),
    ]
    for call in calls:
        with pytest.raises(DealNotFoundError) as caught:
            call()
        assert caught.value.deal == "d2"
    assert DataRoot.parse(root).storage().entry("deals/d2") is None


@pytest.mark.parametrize("image", ["", "../a", "a/b", ".hidden", "x" * 129])
def test_an_unsafe_id_is_refused(deal: DealStore, image: str) -> None:
    with pytest.raises(InvalidIdError):
        deal.prompts.edit_image(DEAL, image, saying("ring"))
    with pytest.raises(InvalidIdError):
        deal.prompts.images("../x")


def test_a_photo_named_like_the_file_of_the_deal_can_have_no_prompts(deal: DealStore) -> None:
    deal.prompts.edit_deal(DEAL, lambda _: DealPrompts(text="coin"))
    with pytest.raises(PromptError, match="rename the photo") as caught:
        deal.prompts.of_image(DEAL, "_deal")
    assert (caught.value.deal, caught.value.image) == (DEAL, "_deal")
    with pytest.raises(PromptError, match="rename the photo"):
        deal.prompts.edit_image(DEAL, "_deal", saying("ring"))
    assert deal.prompts.of_deal(DEAL).text == "coin"


def test_either_normal_form_names_the_same_prompts(deal: DealStore) -> None:
    deal.prompts.edit_image(DEAL, "u\N{COMBINING DIAERESIS}ber", saying("ring"))
    assert deal.prompts.of_image(DEAL, "\u00fcber").text == "ring"
    assert list(deal.prompts.images(DEAL)) == ["\u00fcber"]


def test_every_bad_file_of_a_deal_is_named(local: DealStore, prompts: Path) -> None:
    local.prompts.edit_image(DEAL, "good", saying("ring"))
    (prompts / "bad.json").write_text("{")
    with pytest.raises(PromptFileError, match=r"prompts/bad\.json") as one:
        local.prompts.images(DEAL)
    assert (one.value.deal, one.value.image) == (DEAL, "bad")
    (prompts / "notes.txt").write_text("ring")
    (prompts / "other.json").write_text('{"image": "good"}')
    with pytest.raises(BadPromptsError) as several:
        local.prompts.images(DEAL)
    assert [error.image for error in several.value.errors] == ["bad", "notes.txt", "other"]
    assert {error.deal for error in several.value.errors} == {DEAL}
    assert several.value.deal == DEAL
    assert local.prompts.of_image(DEAL, "good").text == "ring", "the others can still be read"
    with pytest.raises(PromptFileError):
        local.prompts.edit_image(DEAL, "bad", saying("ring"))
    assert (prompts / "bad.json").read_text() == "{"


def test_litter_is_no_prompts_file(local: DealStore, prompts: Path) -> None:
    for name in (".DS_Store", ".a.json.swp", "Thumbs.db", ".segpipe-x.tmp"):
        (prompts / name).write_bytes(b"x")
    assert local.prompts.images(DEAL) == {}


def make_big_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(ImagePrompts.max_bytes + 1)


@pytest.mark.parametrize(
    "make", [make_folder, make_fifo, make_socket, make_dangling_link, make_big_file]
)
def test_what_is_no_readable_file_is_named(
    local: DealStore, prompts: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(prompts)
    make(prompts / "a.json")
    for call in (
        lambda: local.prompts.of_image(DEAL, "a"),
        lambda: local.prompts.images(DEAL),
        lambda: local.prompts.edit_image(DEAL, "a", saying("ring")),
    ):
        with pytest.raises(PromptFileError, match=r"prompts/a\.json") as caught:
            call()
        assert (caught.value.deal, caught.value.image) == (DEAL, "a")


def test_a_link_inside_the_root_is_followed(local: DealStore, prompts: Path) -> None:
    shared = prompts.parents[2] / "shared.json"
    shared.write_text('{"image": "a", "text": "ring"}')
    (prompts / "a.json").symlink_to(shared)
    assert local.prompts.of_image(DEAL, "a").text == "ring"


@pytest.mark.parametrize("level", ["file", "folder"])
def test_a_link_that_leaves_the_root_is_refused(
    tmp_path: Path, local_store: DealStore, level: str
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    (outside / "a.json").write_text('{"image": "a", "text": "secret"}')
    folder = root / "deals" / DEAL / "prompts"
    if level == "file":
        folder.mkdir(parents=True)
        (folder / "a.json").symlink_to(outside / "a.json")
    else:
        folder.parent.mkdir(parents=True)
        folder.symlink_to(outside)
    store = DealStore(root)
    for call in (
        lambda: store.prompts.of_image(DEAL, "a"),
        lambda: store.prompts.images(DEAL),
        lambda: store.prompts.edit_image(DEAL, "a", saying("ring")),
    ):
        with pytest.raises(UnsafePathError) as caught:
            call()
        assert caught.value.deal == DEAL
    assert [path.name for path in outside.iterdir()] == ["a.json"]
    assert "secret" in (outside / "a.json").read_text()


def test_a_file_in_place_of_the_folder_is_told(local: DealStore, prompts: Path) -> None:
    prompts.rmdir()
    prompts.write_text("no folder")
    with pytest.raises(PromptFileError, match="is no folder"):
        local.prompts.of_image(DEAL, "a")


def test_sweeping_verifying_and_promoting_leave_prompts_alone(
    local: DealStore, prompts: Path
) -> None:
    local.prompts.edit_image(DEAL, "a", saying("ring"))
    local.prompts.edit_deal(DEAL, lambda _: DealPrompts(text="coin"))
    promote(local, "r1")
    local.rollback(DEAL, "find_all", 1)
    (prompts / ".segpipe-killed.tmp").write_bytes(b"half")
    before = {path.name for path in prompts.iterdir()}
    report = local.sweep(min_age_s=0)
    assert list(local.verify()) == []
    assert {path.name for path in prompts.iterdir()} == before - {".segpipe-killed.tmp"}
    assert (report.versions, report.files) == (0, 1)
    assert local.prompts.of_image(DEAL, "a").text == "ring"


def test_many_edits_leave_one_file_beside_the_prompts(local: DealStore, prompts: Path) -> None:
    for number in range(5):
        local.prompts.edit_image(DEAL, f"i{number}", saying("ring"))
    extra = {path.name for path in prompts.iterdir()} - {f"i{n}.json" for n in range(5)}
    assert len(extra) == 1
    assert all(name.startswith(".") for name in extra)


def test_what_a_lost_answer_did_is_not_done_again(tmp_path: Path, prompts: Path) -> None:
    class Deaf(LocalStorage):
        """Does what it is asked, and says at first that it did not."""

        answers = 0

        def swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
            done = super().swap(key, expected, data)
            self.answers += 1
            return done and self.answers > 1

    storage: Storage = Deaf(tmp_path)
    store = DealStore(tmp_path, storage=storage)

    def change(present: ImagePrompts) -> ImagePrompts:
        return present if present.annotations else adding(box("b1"))(present)

    assert store.prompts.edit_image(DEAL, "a", change).generation == 1
