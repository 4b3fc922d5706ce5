"""The commands that put photos into deals."""

from pathlib import Path
from typing import Annotated

import typer

from segpipe.cli.console import counted, is_are, print_json, say, warn
from segpipe.cli.instance import add_partitions, open_instance
from segpipe.cli.options import ROOT, Json, Root
from segpipe.cli.outcomes import Added, SampleDeals
from segpipe.cli.photo_files import add_photos
from segpipe.cli.samples import add_samples
from segpipe.store.ids import check_deal_id
from segpipe.store.store import DealStore

_NAMED = 5


def add(
    deal: Annotated[str, typer.Argument(help="The deal; made when it is new.")],
    photos: Annotated[list[Path], typer.Argument(help="Photos, or folders of them.")],
    root: Root = ROOT,
    complete: Annotated[
        bool, typer.Option("--complete", help="No more will come: the sensor need not wait.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Copy photos into a deal, whole or not at all.

    Folders are searched with all below. What is a photo is told by its content; what phones,
    cameras and NAS boxes leave beside photos is skipped. Nothing is added unless all can be.
    """
    deal = check_deal_id(deal)
    store = DealStore(root)
    added = add_photos(store, deal, photos)
    if complete:
        store.mark_complete(deal)
    with open_instance(root) as instance:
        add_partitions(instance, [deal])
    facts = Added(
        deal=deal,
        new=added.new,
        same=added.same,
        skipped=tuple(map(str, added.skipped)),
        photos=len(store.photos(deal)),
    )
    if as_json:
        print_json(facts)
    else:
        _tell(facts)


def samples(root: Root = ROOT, as_json: Json = False) -> None:
    """Add three deals of photos to try segpipe on."""
    deals = add_samples(DealStore(root))
    with open_instance(root) as instance:
        add_partitions(instance, deals)
    if as_json:
        print_json(SampleDeals(tuple(deals)))
    else:
        say(f"sample deals: {', '.join(deals)}")


def _tell(facts: Added) -> None:
    if facts.skipped:
        named = ", ".join(facts.skipped[:_NAMED]) + (", …" if len(facts.skipped) > _NAMED else "")
        warn(f"skipped, as no photos: {named}")
    counts = [f"{len(facts.new)} new"]
    counts += [f"{len(facts.same)} there already"] if facts.same else []
    counts += [f"{len(facts.skipped)} skipped"] if facts.skipped else []
    photos = f"{counted(facts.photos, 'photo')} {is_are(facts.photos)} in deal {facts.deal}"
    say(f"{photos}: {', '.join(counts)}")
