"""The commands that put photos into deals."""

from pathlib import Path
from typing import Annotated

import typer

from segpipe.cli.console import out
from segpipe.cli.instance import add_partitions, open_instance
from segpipe.cli.options import ROOT, Root
from segpipe.cli.samples import add_samples
from segpipe.errors import EmptyDealError
from segpipe.store.deal_folders import is_ignored
from segpipe.store.ids import check_deal_id
from segpipe.store.store import DealStore


def add(
    deal: Annotated[str, typer.Argument(help="The deal; made when it is new.")],
    photos: Annotated[list[Path], typer.Argument(help="Photos, or folders of them.")],
    root: Root = ROOT,
) -> None:
    """Copy photos into a deal, whole or not at all."""
    deal = check_deal_id(deal)
    files = [file for photo in photos for file in _files(photo)]
    if not files:
        raise EmptyDealError("there are no photos in what was given", deal=deal)
    added = DealStore(root).add_photos(deal, files)
    with open_instance(root) as instance:
        add_partitions(instance, [deal])
    out.print(f"{len(added)} photos are in deal {deal}")


def samples(root: Root = ROOT) -> None:
    """Add two deals of real photos to try segpipe on."""
    deals = add_samples(DealStore(root))
    with open_instance(root) as instance:
        add_partitions(instance, deals)
    out.print(f"sample deals: {', '.join(deals)}")


def _files(photo: Path) -> list[Path]:
    if not photo.is_dir():
        return [photo]
    return sorted(file for file in photo.iterdir() if not is_ignored(file.name))
