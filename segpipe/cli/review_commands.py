"""The commands about what people decided: review for scripts, reviews to see how far they are."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated

import typer

from segpipe.cli.console import Column, Listing, complain, print_json, print_listings, say
from segpipe.cli.options import (
    ROOT,
    AnyMode,
    Json,
    ModeOption,
    Root,
    existing,
    existing_root,
    user_name,
)
from segpipe.cli.review_facts import ReviewCounts, ReviewList
from segpipe.errors import ConfigError, NotPromotedError, ReviewError, SegpipeError
from segpipe.flow.apply_review import ReviewState
from segpipe.flow.review_now import PhotoNow, decide, photos_now
from segpipe.flow.stages.reviewed_items import OPEN
from segpipe.prompt import Mode
from segpipe.store.reviews import RejectReason, Verdict
from segpipe.store.reviews.review_operations import Decided
from segpipe.store.store import DealStore

_COLUMNS = (
    Column("deal"),
    Column("mode"),
    Column("photo"),
    Column("done", is_number=True),
    Column("items", is_number=True),
    *(Column(state.value, is_number=True) for state in ReviewState),
)


def review(
    deal: str,
    root: Root = ROOT,
    mode: ModeOption = Mode.FIND_ALL,
    photo: Annotated[
        str | None, typer.Option(help="The photo by its id: the items are those of this one.")
    ] = None,
    accept_all: Annotated[
        bool, typer.Option("--accept-all", help="Accept all that nobody has looked at.")
    ] = False,
    accept: Annotated[
        list[int] | None,
        typer.Option(help="The number of an item, as its crop is named; may be repeated."),
    ] = None,
    reject: Annotated[
        list[int] | None,
        typer.Option(help="The same for an item that shall not go on; may be repeated."),
    ] = None,
    reason: Annotated[
        RejectReason | None, typer.Option(case_sensitive=False, help="Why they are rejected.")
    ] = None,
    done: Annotated[
        bool, typer.Option("--done", help="Say that nothing is missing in the photos.")
    ] = False,
    by: Annotated[str | None, typer.Option(help="Who decides; you by default.")] = None,
    as_json: Json = False,
) -> None:
    """Decide about items of a deal; with no option, show how they stand, photo by photo.

    Decisions are bound to the masks that are current. They go on with the next run, which asks no
    segmenter.
    """
    store = DealStore(root)
    deal = existing(store, deal)
    chosen = _chosen(store, deal, mode, photo)
    numbered = [*(accept or ()), *(reject or ())]
    if numbered and len(chosen) > 1:
        raise ConfigError(
            "the deal has several photos, and each has an item of that number; name one with "
            "--photo",
            field="--photo",
        )
    if reason and not reject:
        raise ConfigError("a reason is that of --reject; say which items", field="--reason")
    who = by or user_name()
    rejected = Decided(verdict=Verdict.REJECT, reason=reason or RejectReason.OTHER)
    accepted = Decided(verdict=Verdict.ACCEPT)
    for each in chosen:
        if reject:
            decide(store, deal, each, reject, rejected, by=who)
        open_items = _open(each, set(reject or ())) if accept_all else ()
        wanted = {*(accept or ()), *open_items}
        if wanted or done:
            decide(store, deal, each, sorted(wanted), accepted, by=who, done=done)
    rows = [_counts(deal, mode, [now], now.image) for now in _chosen(store, deal, mode, photo)]
    _tell(rows, (), as_json=as_json)


def reviews(
    deals: Annotated[
        list[str] | None, typer.Argument(help="The deals; all that have results by default.")
    ] = None,
    root: Root = ROOT,
    mode: AnyMode = None,
    as_json: Json = False,
) -> None:
    """Tell how far the review of each deal is: how many items stand how."""
    store = existing_root(root)
    named = [existing(store, deal) for deal in deals or ()]
    rows, faults = [], []
    for deal in named or store.deals():
        for each in Mode if mode is None else (mode,):
            try:
                rows.append(_counts(deal, each, photos_now(store, deal, each), None))
            except NotPromotedError:
                continue
            except SegpipeError as error:
                faults.append(str(error.at(deal=deal)))
    _tell(rows, faults, as_json=as_json)
    if faults:
        raise typer.Exit(1)


def _chosen(store: DealStore, deal: str, mode: Mode, photo: str | None) -> list[PhotoNow]:
    photos = list(photos_now(store, deal, mode))
    chosen = [each for each in photos if photo in {None, each.image}]
    if not chosen:
        names = ", ".join(each.image for each in photos)
        raise ReviewError(f"there are no items of such a photo; there are: {names}").at(
            deal=deal, image=photo
        )
    return chosen


def _open(photo: PhotoNow, but_for: Collection[int]) -> list[int]:
    return [
        item.detection
        for item in photo.reviewed.found
        if item.state in OPEN and item.detection not in but_for
    ]


def _counts(deal: str, mode: Mode, photos: Iterable[PhotoNow], image: str | None) -> ReviewCounts:
    states: Counter[ReviewState] = Counter()
    done = number = 0
    for each in photos:
        number += 1
        done += each.review.done
        states.update(item.state for item in each.reviewed.items if item.missing is None)
    return ReviewCounts(
        deal=deal,
        mode=mode.value,
        photo=image,
        photos=number,
        done=done,
        items=states.total() - states[ReviewState.SUPERSEDED],
        **{state.value: states[state] for state in ReviewState},
    )


def _tell(rows: Sequence[ReviewCounts], faults: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print_json(ReviewList(tuple(rows), tuple(faults)))
        return
    for fault in faults:
        complain(fault)
    if not rows:
        say("nothing is promoted yet, so there is nothing to review")
        return
    told = [
        [row.deal, row.mode, row.photo or f"all {row.photos}", row.done, row.items]
        + [getattr(row, state.value) for state in ReviewState]
        for row in rows
    ]
    print_listings(Listing(_COLUMNS, told, "reviews"))
