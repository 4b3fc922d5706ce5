"""What all commands share: where they print, how they end on an error, and the data root."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from segpipe.errors import DealNotFoundError, SegpipeError, describe
from segpipe.pipeline.defs import DEFAULT_ROOT, ROOT_VARIABLE
from segpipe.store.ids import check_deal_id
from segpipe.store.store import DealStore

# Names of deals and photos are no markup.
out = Console(markup=False, emoji=False, highlight=False)
err = Console(markup=False, emoji=False, highlight=False, stderr=True)


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
"""What commands take for the root when none is given."""


@contextmanager
def told_errors() -> Iterator[None]:
    """End with a line on stderr and exit code 1, not with a traceback."""
    try:
        yield
    except SegpipeError as error:
        err.print(describe(error), style="red", soft_wrap=True)
        raise typer.Exit(1) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        err.print(describe(error), style="red", soft_wrap=True)
        raise typer.Exit(1) from error


def existing(store: DealStore, deal: str) -> str:
    """The id of a deal that there is."""
    deal = check_deal_id(deal)
    if deal not in store.deals():
        raise DealNotFoundError(
            f"there is no such deal under {store.root}: use 'segpipe add' first", deal=deal
        )
    return deal
