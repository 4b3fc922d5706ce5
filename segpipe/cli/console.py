"""Where commands print, and in which form: a table, lines of tabs, or JSON.

Results go to stdout: drawn as a table on a terminal, as tab-separated lines elsewhere, and as JSON
with ``--json``. What went wrong, and how far work is, goes to stderr.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unicodedata import category

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from segpipe.errors import SegpipeError, describe

# Names of deals and photos are no markup.
out = Console(markup=False, emoji=False, highlight=False)
err = Console(markup=False, emoji=False, highlight=False, stderr=True)

# Control, format (bidi overrides), surrogates, line and paragraph separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_MIN_WRAPPED_WIDTH = 16
_GAP = 2
"""Characters between two columns."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a listing.

    Attributes:
        name: Its heading.
        is_number: Whether it stands on the right.
        wraps: Whether it holds sentences, which may go on in the next line; names, numbers and ids
            are never cut.
        is_in_title: Whether the title of a drawn table says it: then only plain lines have it.
    """

    name: str
    is_number: bool = False
    wraps: bool = False
    is_in_title: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """Facts in rows; None is nothing.

    Attributes:
        columns: What each row has.
        rows: The facts.
        title: What they are of; not in plain lines.
        note: A line below; not in plain lines.
    """

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[object]]
    title: str = ""
    note: str = ""


def is_drawn() -> bool:
    """Whether results go to a terminal, and so to people."""
    return sys.stdout.isatty()


def print_listings(*listings: Listing) -> None:
    """Print facts as tables on a terminal, else as tab-separated lines under one heading each."""
    if is_drawn():
        for listing in listings:
            _draw(listing)
        return
    heading: tuple[str, ...] = ()
    for listing in listings:
        names = tuple(column.name for column in listing.columns)
        lines = [listing.rows] if names == heading else [[names], listing.rows]
        heading = names
        for rows in lines:
            for row in rows:
                sys.stdout.write("\t".join(map(_cell, row)) + "\n")


def print_json(facts: object) -> None:
    """Print facts, a dataclass or model, as one JSON document."""
    from pydantic_core import to_jsonable_python  # noqa: PLC0415 - seldom wanted

    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    text = json.dumps(to_jsonable_python(facts), indent=2, ensure_ascii=not is_unicode)
    sys.stdout.write(f"{text}\n")


def say(text: str) -> None:
    """Print a result that is one sentence."""
    out.print(visible(text), soft_wrap=True)


def warn(text: str) -> None:
    """Print what somebody should know, on stderr."""
    err.print(visible(text), style="yellow", soft_wrap=True)


def complain(text: str) -> None:
    """Print what went wrong, on stderr."""
    err.print(visible(text), style="red", soft_wrap=True)


def visible(text: str) -> str:
    r"""A text with what cannot be seen, or would move other text, written as an escape.

    >>> visible("a\u202egnp.b")
    'a\\u202egnp.b'
    """
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if category(character) in _INVISIBLE
        else character
        for character in text
    )


def counted(count: int, noun: str, nouns: str = "") -> str:
    """A number of things.

    >>> counted(1, "photo"), counted(2, "photo"), counted(2, "box", "boxes")
    ('1 photo', '2 photos', '2 boxes')
    """
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"


def is_are(number: int) -> str:
    """The verb for a number of things."""
    return "is" if number == 1 else "are"


def never_fail_on_characters() -> None:
    """Write what the terminal's encoding lacks as escapes."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")


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
        complain(describe(error))
        raise typer.Exit(1) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        complain(in_plain_words(error))
        raise typer.Exit(1) from error


def in_plain_words(error: OSError) -> str:
    """What the system refused, and at which path."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _cell(value: object) -> str:
    return "" if value is None else visible(str(value))


def _draw(listing: Listing) -> None:
    kept = [index for index, column in enumerate(listing.columns) if not column.is_in_title]
    columns = [listing.columns[index] for index in kept]
    rows = [[_cell(row[index]) for index in kept] for row in listing.rows]
    widths = [
        max(cell_len(column.name), *(cell_len(row[index]) for row in rows), 0)
        for index, column in enumerate(columns)
    ]
    longest_words = [_longest_word(row[index] for row in rows) for index in range(len(columns))]
    least = [
        min(width, max(_MIN_WRAPPED_WIDTH, longest_word)) if column.wraps else width
        for width, longest_word, column in zip(widths, longest_words, columns, strict=True)
    ]
    if sum(least) + _GAP * (len(columns) - 1) > out.width:
        _draw_records(listing, columns, rows)
        return
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            column.name,
            justify="right" if column.is_number else "left",
            no_wrap=not column.wraps,
            overflow="fold",
            min_width=None if column.wraps else width,
        )
    for row in rows:
        table.add_row(*row)
    _draw_heading(listing)
    out.print(table)
    if listing.note:
        say(listing.note)


def _longest_word(cells: Iterable[str]) -> int:
    """The width of the longest word in a column."""
    return max((cell_len(word) for cell in cells for word in cell.split()), default=0)


def _draw_records(listing: Listing, columns: list[Column], rows: list[list[str]]) -> None:
    """What is too wide for a table: a fact a line, which the terminal may break, not we."""
    _draw_heading(listing)
    longest = max(cell_len(column.name) for column in columns)
    for row in rows:
        for index, (column, value) in enumerate(zip(columns, row, strict=True)):
            if value or not index:
                indent = "  " if index else ""
                out.print(f"{indent}{column.name:<{longest}}  {value}", soft_wrap=True)
    if listing.note:
        say(listing.note)


def _draw_heading(listing: Listing) -> None:
    if listing.title:
        out.print(visible(listing.title), style="bold", soft_wrap=True)
