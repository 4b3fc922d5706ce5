"""The documentation as its tests read it: pages, code blocks, code in the text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import segpipe

ROOT = Path(segpipe.__file__).parents[1]
PAGES = ROOT / "docs"

_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")


@dataclass(frozen=True)
class Page:
    """A page in Markdown."""

    path: Path

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @property
    def name(self) -> str:
        """Its path in the project."""
        return str(self.path.relative_to(ROOT))

    def blocks(self, language: str) -> list[str]:
        """Its code blocks of a language."""
        return [body for found, body in _BLOCK.findall(self.text) if found == language]

    def code(self) -> Iterator[str]:
        """What stands between backticks in its text, on one line each."""
        for code in _CODE.findall(_BLOCK.sub("", self.text)):
            yield " ".join(code.split())


def pages() -> list[Page]:
    """Every page that people read: the README, those beside it, and the site's."""
    beside = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [Page(path) for path in [*beside, *sorted(PAGES.glob("*.md"))]]
