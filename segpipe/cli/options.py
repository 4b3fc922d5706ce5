"""What several commands are told: the data root, deals under it, the mode."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated

import typer

from segpipe.errors import DealNotFoundError
from segpipe.prompt import Mode
from segpipe.store.ids import check_deal_id
from segpipe.store.layout import DEFAULT_ROOT, ROOT_VARIABLE
from segpipe.store.store import DealStore


def _local_root(value: str | Path) -> Path:
    # Typer gives a parser the default, too, which is a path already.
    if isinstance(value, str) and "://" in value:
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
"""What commands take for the root when none is given."""

ModeOption = Annotated[
    Mode,
    typer.Option(
        "--mode", help="find_all: everything there is to find; inside_box: what boxes were drawn."
    ),
]


def one_of(names: Collection[str]) -> Callable[[str], str]:
    """A parser of an option that takes one of some names, in upper or lower case."""

    def choose(value: str) -> str:
        name = value.lower()
        if name not in names:
            raise typer.BadParameter(f"{value!r} is none of {', '.join(names)}")
        return name

    return choose


def existing(store: DealStore, deal: str) -> str:
    """The id of a deal that there is."""
    deal = check_deal_id(deal)
    if deal not in store.deals():
        raise DealNotFoundError(
            f"there is no such deal under {store.root}: use 'segpipe add' first", deal=deal
        )
    return deal
