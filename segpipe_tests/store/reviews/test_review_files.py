"""The reviews of deals as files: on every kind of root, and whatever cannot be used is named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from segpipe.errors import (
    DealNotFoundError,
    InvalidIdError,
    ReviewConflictError,
    ReviewFileError,
    UnsafePathError,
)
from segpipe.prompt import Mode
from segpipe.store import edited_files
from segpipe.store.reviews import Decision, ImageReview
from segpipe.store.store import DealStore
from segpipe_tests.deals import DEAL, put_photo
from segpipe_tests.reviews import accept, add, rectangle, reject, review
from segpipe_tests.store.no_files import make_dangling_link, make_fifo, make_folder, make_socket

ALL, BOXES = Mode.FIND_ALL, Mode.INSIDE_BOX
ONE, OTHER = rectangle(1, 1), rectangle(30, 20)


def deciding(*decisions: Decision) -> Callable[[ImageReview], ImageReview]:
    return lambda now: now.model_copy(update={"decisions": (*now.decisions, *decisions)})


@pytest.fixture
def deal(store: DealStore) -> DealStore:
    put_photo(store)
    return store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of reviews of a deal on a local disk."""
    made = tmp_path / "deals" / DEAL / "reviews" / "find_all"
    made.mkdir(parents=True)
    return made


def test_reviews_are_read_changed_and_read_again_mode_by_mode(deal: DealStore) -> None:
    assert deal.reviews.of_image(DEAL, ALL, "a") == review()
    assert deal.reviews.images(DEAL, ALL) == {}
    first = deal.reviews.edit(DEAL, ALL, "b", deciding(accept(ONE)))
    second = deal.reviews.edit(DEAL, ALL, "b", deciding(reject(OTHER)))
    assert (first.generation, second.generation, len(second.decisions)) == (1, 2, 2)
    assert first.tag() != second.tag()
    third = deal.reviews.edit(DEAL, ALL, "a", deciding(add("n1", ONE)))
    boxes = deal.reviews.edit(DEAL, BOXES, "a", lambda now: now.model_copy(update={"done": True}))
    assert deal.reviews.images(DEAL, ALL) == {"a": third, "b": second}
    assert deal.reviews.images(DEAL, BOXES) == {"a": boxes}
    assert deal.reviews.edit(DEAL, ALL, "b", lambda now: now) == second, "nothing is written"


def test_a_change_that_came_first_is_seen_and_kept(deal: DealStore) -> None:
    def change(now: ImageReview) -> ImageReview:
        if not now.decisions:
            deal.reviews.edit(DEAL, ALL, "a", deciding(accept(ONE, by="bob")))
        return deciding(reject(OTHER))(now)

    edited = deal.reviews.edit(DEAL, ALL, "a", change)
    assert {each.created_by for each in edited.decisions} == {"ann", "bob"}
    assert edited.generation == 2


def test_who_never_comes_first_is_told(deal: DealStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edited_files, "_MAX_PAUSE_S", 0.0)

    def change(now: ImageReview) -> ImageReview:
        deal.reviews.edit(DEAL, ALL, "a", _turned)
        return deciding(accept(ONE))(now)

    with pytest.raises(ReviewConflictError, match="try again") as caught:
        deal.reviews.edit(DEAL, ALL, "a", change)
    assert (caught.value.deal, caught.value.image, caught.value.retryable) == (DEAL, "a", True)


def _turned(now: ImageReview) -> ImageReview:
    return now.model_copy(update={"done": not now.done})


def test_what_could_not_be_read_back_is_never_written(deal: DealStore) -> None:
    before = deal.reviews.edit(DEAL, ALL, "a", deciding(accept(ONE)))
    for change in (
        deciding(accept(ONE)),
        lambda now: now.model_copy(update={"mode": "no mode"}),
        lambda now: now.model_copy(update={"image": "b"}),
    ):
        with pytest.raises(ReviewFileError) as caught:
            deal.reviews.edit(DEAL, ALL, "a", change)
        assert (caught.value.deal, caught.value.image) == (DEAL, "a")
    assert deal.reviews.of_image(DEAL, ALL, "a") == before


def test_a_bad_deal_or_image_is_refused(deal: DealStore) -> None:
    with pytest.raises(DealNotFoundError):
        deal.reviews.edit("d2", ALL, "a", deciding(accept(ONE)))
    with pytest.raises(DealNotFoundError):
        deal.reviews.images("d2", ALL)
    for image in ("", "../a", ".hidden"):
        with pytest.raises(InvalidIdError):
            deal.reviews.edit(DEAL, ALL, image, deciding(accept(ONE)))


def test_every_bad_file_of_a_deal_is_named(local_store: DealStore, folder: Path) -> None:
    good = local_store.reviews.edit(DEAL, ALL, "good", deciding(accept(ONE)))
    (folder / "bad.json").write_text("{")
    with pytest.raises(ReviewFileError, match=r"reviews/find_all/bad\.json"):
        local_store.reviews.images(DEAL, ALL)
    (folder / "notes.txt").write_text("fine")
    (folder / "other.json").write_text('{"image": "good", "mode": "find_all"}')
    with pytest.raises(ReviewFileError, match=r"'bad'.*'notes\.txt'.*'other'") as several:
        local_store.reviews.images(DEAL, ALL)
    assert several.value.deal == DEAL
    assert local_store.reviews.look(DEAL, ALL)[0] == {"good": good}


@pytest.mark.parametrize("make", [make_folder, make_fifo, make_socket, make_dangling_link])
def test_what_is_no_readable_file_is_named(
    local_store: DealStore,
    folder: Path,
    make: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    make(folder / "a.json")
    for call in (
        lambda: local_store.reviews.of_image(DEAL, ALL, "a"),
        lambda: local_store.reviews.images(DEAL, ALL),
        lambda: local_store.reviews.edit(DEAL, ALL, "a", deciding(accept(ONE))),
    ):
        with pytest.raises(ReviewFileError, match=r"reviews/find_all/a\.json"):
            call()


def test_a_folder_that_is_none_or_leads_away_is_refused(
    local_store: DealStore, tmp_path: Path
) -> None:
    put_photo(local_store)
    reviews = tmp_path / "deals" / DEAL / "reviews"
    reviews.write_text("no folder")
    with pytest.raises(ReviewFileError, match="'reviews' in the deal is no folder"):
        local_store.reviews.images(DEAL, ALL)
    reviews.unlink()
    reviews.mkdir()
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (reviews / "find_all").symlink_to(outside)
    with pytest.raises(UnsafePathError):
        local_store.reviews.edit(DEAL, ALL, "a", deciding(accept(ONE)))
    assert list(outside.iterdir()) == []
