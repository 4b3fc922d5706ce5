"""What several commands are told: the data root, and deals under it."""

from pathlib import Path
from typing import Annotated

import typer

from segpipe.errors import DealNotFoundError
from segpipe.pipeline.defs import DEFAULT_ROOT, ROOT_VARIABLE
from segpipe.store.ids import check_deal_id
from segpipe.store.store import DealStore


def _local_root(value: str) -> Path:
    if "://" in value:
        raise typer.BadParameter(f"{value} is a URL; the command line works on local folders")
    return Path(value)


Root = Annotated[
    Path,
    typer.Option(
        "--root",
        envvar=ROOT_VARIABLE,
        help="The data root, which holds deals/.",
        parser=_local_root,
        metavar="FOLDER",
    ),
]
ROOT = Path(DEFAULT_ROOT)


def existing(store: DealStore, deal: str) -> str:
    """The id of a deal that there is."""
    deal = check_deal_id(deal)
    if deal not in store.deals():
        raise DealNotFoundError(
            f"there is no such deal under {store.root}: use 'segpipe add' first", deal=deal
        )
    return deal
