"""What several commands are told: the data root, deals, the mode, the form of the answer."""

import getpass
import re
from collections.abc import Callable, Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from segpipe.errors import ConfigError, DealNotFoundError
from segpipe.prompt import Mode
from segpipe.store.data_root import DataRoot
from segpipe.store.ids import check_deal_id
from segpipe.store.layout import DEALS, DEFAULT_ROOT, ROOT_VARIABLE
from segpipe.store.storage import store_errors
from segpipe.store.store import DealStore

# Dagster makes a URL of the path of its SQLite files, and escapes nothing in it.
_MISREAD_BY_SQLITE = re.compile(r"\?|%[0-9A-Fa-f]{2}")


def _root(value: str | Path) -> str:
    # Typer gives a parser the default, too.
    try:
        root = DataRoot.parse(value)
    except ConfigError as error:
        raise typer.BadParameter(error.message) from error
    if root.is_local and (misread := _MISREAD_BY_SQLITE.search(root.place)):
        raise typer.BadParameter(
            f"{root} holds {misread[0]!r}, by which Dagster would put its database elsewhere; "
            "rename the folder"
        )
    return str(value)


Root = Annotated[
    str,
    typer.Option(
        "--root",
        envvar=ROOT_VARIABLE,
        help="The data root, which holds deals/: a folder, or a URL such as s3://bucket/prefix.",
        parser=_root,
        metavar="FOLDER|URL",
    ),
]
BOX_NUMBERS, POINT_NUMBERS = 4, 2
"""How many numbers say a box and a point."""
ROOT = DEFAULT_ROOT
"""What commands take for the root when none is given."""

_MODES = "find_all: everything there is to find; inside_box: what boxes were drawn."

ModeOption = Annotated[Mode, typer.Option("--mode", help=_MODES, case_sensitive=False)]
AnyMode = Annotated[
    Mode | None,
    typer.Option("--mode", help=f"{_MODES} Both when left out.", case_sensitive=False),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document; docs/commands.md has its fields.")
]


def user_name() -> str:
    """Who runs the command, for documents that say who made something."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as containers have
        return "user"


def local_folder(root: str | Path) -> Path:
    """The local folder for what stands beside the deals: the root itself where it is local."""
    place = DataRoot.parse(root)
    return Path(place.place) if place.is_local else Path(DEFAULT_ROOT).absolute()


def one_of(names: Collection[str]) -> Callable[[str], str]:
    """A parser of an option that takes one of some names, in upper or lower case."""

    def choose(value: str) -> str:
        name = value.lower()
        if name not in names:
            raise typer.BadParameter(f"{value!r} is none of {', '.join(names)}")
        return name

    return choose


def existing(store: DealStore, deal: str) -> str:
    """The id of a deal that there is.

    Raises:
        InvalidIdError: It cannot be the name of a deal.
        DealNotFoundError: There is no such deal; the message has names that are like it.
    """
    deal = check_deal_id(deal)
    deals = store.deals()
    if deal in deals:
        return deal
    similar = [name for name in deals if name.casefold() == deal.casefold()]
    similar = similar or get_close_matches(deal, deals)
    what_to_do = "use 'segpipe add' first"
    if similar:
        what_to_do = f"did you mean {' or '.join(map(repr, similar))}?"
    raise DealNotFoundError(f"there is no such deal under {store.root}: {what_to_do}", deal=deal)


def existing_root(root: str) -> DealStore:
    """The store of a data root in which there is something.

    Raises:
        DealNotFoundError: Nothing was ever put there, or it is another folder than was meant.
    """
    store = DealStore(root)
    with store_errors():
        is_there = store.root.storage().is_folder(DEALS)
    if not is_there:
        raise DealNotFoundError(
            f"{store.root} holds no deals: name another with --root or {ROOT_VARIABLE}, or use "
            "'segpipe add' first"
        )
    return store


def numbers_of(value: str, count: int, option: str) -> list[float]:
    """The numbers of an option such as ``10,20,300,280``; another count is a usage error."""
    try:
        numbers = [float(word) for word in value.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise typer.BadParameter(
            f"{value!r} is not {count} numbers with commas between them", param_hint=option
        )
    return numbers
