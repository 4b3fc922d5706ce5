"""What the command line prints about prompts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.table import Table

from segpipe.prompt import Mode
from segpipe.store.prompts import Annotation, DealPrompts, ImagePrompts, Source

_ALL_PHOTOS = "(all photos)"
_TIME_FORMAT = "%Y-%m-%d %H:%M"
_RUN_DIGITS = 8

_COLUMNS = ("photo", "mode", "id", "type", "what", "source", "by", "at (UTC)")
_DROPPED_WHEN_NARROW = ("at (UTC)", "by", "source", "id")
_PHOTO_WIDTH = len(_ALL_PHOTOS)
_PADDING = 3
"""Characters beside a column, with its line."""

_Row = dict[str, str]


def prompts_table(
    deal: str, everywhere: DealPrompts, images: Mapping[str, ImagePrompts], *, width: int
) -> Table | None:
    """The prompts of a deal, or of some of its photos; None when there are none.

    Args:
        deal: The deal.
        everywhere: Its prompts for all photos.
        images: The prompts of photos, by image id.
        width: Characters in a line; when not all columns fit, there is no saying who drew what and
            when, and at last no id.
    """
    sections = list(_sections(everywhere, images))
    if not sections:
        return None
    table = Table(title=f"{deal}: prompts")
    for name, of_column in _widths([row for rows in sections for row in rows], width).items():
        table.add_column(name, overflow="fold", width=of_column)
    for rows in sections:
        for row in rows:
            table.add_row(*(row.get(str(column.header), "") for column in table.columns))
        table.add_section()
    return table


def _widths(rows: Sequence[_Row], width: int) -> dict[str, int]:
    """The columns that fit, and widths that keep words and numbers in one piece."""

    def longest(name: str, within: Iterable[_Row]) -> int:
        return max(len(name), *(len(row.get(name, "")) for row in within))

    # Names of photos and texts may go on in the next line.
    no_texts = [row if row["type"] != "text" else row | {"what": ""} for row in rows]
    widths = {name: longest(name, no_texts) for name in _COLUMNS}
    widths["photo"] = min(widths["photo"], _PHOTO_WIDTH)

    def left() -> int:
        return width - 1 - sum(widths.values()) - _PADDING * len(widths)

    for name in _DROPPED_WHEN_NARROW:
        if left() >= 0:
            break
        del widths[name]
    for name in ("photo", "what"):
        wanted = longest(name, rows) - widths[name]
        widths[name] += min(wanted, max(left(), 0))
    return widths


def _sections(everywhere: DealPrompts, images: Mapping[str, ImagePrompts]) -> Iterator[list[_Row]]:
    """The rows of all photos, then those of each."""
    if everywhere.text:
        yield [{"photo": _ALL_PHOTOS} | _text(everywhere.text)]
    for image, prompts in images.items():
        rows = [_text(prompts.text)] if prompts.text else []
        rows += [_row(each) for each in prompts.annotations]
        if rows:
            yield [{"photo": image} | rows[0], *rows[1:]]


def _text(text: str) -> _Row:
    return {"mode": Mode.FIND_ALL.value, "type": "text", "what": text}


def _row(annotation: Annotation) -> _Row:
    on_or_off = {None: "", 1: " on", 0: " off"}[annotation.label]
    when, by = annotation.created_at, annotation.created_by
    return {
        "mode": annotation.mode.value,
        "id": annotation.id,
        "type": f"{annotation.prompt_type.value}{on_or_off}",
        "what": " ".join(
            filter(None, (_numbers(annotation.box or annotation.point or ()), annotation.category))
        ),
        "source": annotation.source.value,
        "by": by if annotation.source is Source.USER else f"run {by[:_RUN_DIGITS]}",
        "at (UTC)": f"{when:{_TIME_FORMAT}}" if when else "",
    }


def _numbers(values: Sequence[float]) -> str:
    """As they are typed at --box: no more digits than tell a hundredth of a pixel."""
    return ",".join(f"{value:.2f}".rstrip("0").rstrip(".") for value in values)
