"""Completes the words of a command in the shell: deals by a look into their folder, at once.

Only options and their values need the command itself, which may take a second to import.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from segpipe.store.layout import DEALS, DEFAULT_ROOT, ROOT_VARIABLE

_ROOT_OPTION = "--root"
_DEALS_OPTION = "--deals"
ALL = -1
"""Of :class:`CompletedCommand`: every word may be a deal."""


class CompletedCommand(TyperCommand):
    """Stands for a command whose words are being completed.

    Args:
        name: Its name.
        load: Gives the real command.
        deals: How many words at the beginning are deals, or :data:`ALL`.
    """

    def __init__(self, name: str, load: Callable[[], TyperCommand], deals: int) -> None:
        super().__init__(name)
        self._load = load
        self._deals = deals
        self._words: list[str] = []

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the words before the one to complete."""
        del ctx
        self._words = list(args)
        return []

    def get_params(self, ctx: Any) -> list[Any]:
        """None: so this command itself is asked what to complete."""
        del ctx
        return []

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """What the word may become."""
        last = self._words[-1] if self._words else ""
        if last == _DEALS_OPTION:
            return list(map(_Item, deal_names(self._words, incomplete)))
        if last.startswith("-") and (items := self._values_of(last, ctx, incomplete)) is not None:
            return items
        if incomplete.startswith("-"):
            real = self._load()
            return real.shell_complete(self._real_context(real, ctx), incomplete)
        if self._deals != ALL and len(list(_plain(self._words))) >= self._deals:
            return [_Item(incomplete, type="file")]
        return list(map(_Item, deal_names(self._words, incomplete)))

    def _values_of(self, option: str, ctx: Any, incomplete: str) -> list[Any] | None:
        """What an option may be; None when it takes no value."""
        real = self._load()
        for param in real.params:
            if option in param.opts and not getattr(param, "is_flag", False):
                return param.shell_complete(self._real_context(real, ctx), incomplete)
        return None

    def _real_context(self, real: TyperCommand, ctx: Any) -> Any:
        return real.make_context(
            self.name, list(self._words), parent=ctx.parent, resilient_parsing=True
        )


@dataclass(frozen=True, slots=True)
class _Item:
    """What typer reads of a completion."""

    value: str
    type: str = "plain"
    help: str | None = None


def deal_names(words: Sequence[str], begins_with: str) -> Iterator[str]:
    """The deals whose names begin so, sorted, under the root that the words name."""
    folder = Path(_root(words)) / DEALS
    with suppress(OSError):
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        yield from (name for name in names if name.startswith(begins_with) and name[:1] != ".")


def _root(words: Sequence[str]) -> str:
    for word, following in pairwise(words):
        if word == _ROOT_OPTION:
            return following
    given = [word.partition("=")[2] for word in words if word.startswith(f"{_ROOT_OPTION}=")]
    return (given or [os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT])[-1]


def _plain(words: Sequence[str]) -> Iterator[str]:
    """The words that are neither options nor, as far as can be told, their values."""
    before = ""
    for word in words:
        if not word.startswith("-") and not before.startswith("-"):
            yield word
        before = word
