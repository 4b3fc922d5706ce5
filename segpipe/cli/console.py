"""Where commands print: results on one side, faults and progress on the other."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from segpipe.errors import SegpipeError, describe

# Names of deals and photos are no markup.
out = Console(markup=False, emoji=False, highlight=False)
err = Console(markup=False, emoji=False, highlight=False, stderr=True)


def counted(count: int, noun: str, nouns: str = "") -> str:
    """So many things: ``1 box``, ``2 boxes``."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"


def progress_bars(console: Console) -> Progress:
    """Bars that count; each task has a field ``note``, shown behind its count."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        console=console,
    )


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
