"""What the command line prints about prompts."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from segpipe.segmenters.prompt import Mode
from segpipe.store.prompts import Annotation, DealPrompts, ImagePrompts

_ALL_PHOTOS = "(all photos)"
_TIME_FORMAT = "%Y-%m-%d %H:%M"


def prompts_table(
    deal: str, everywhere: DealPrompts, images: Mapping[str, ImagePrompts]
) -> Table | None:
    """The prompts of a deal, or of some of its photos; None when there are none."""
    table = Table(title=f"{deal}: prompts")
    for name in ("photo", "mode", "id", "type", "what", "source", "by", "at (UTC)"):
        table.add_column(name, overflow="fold")
    if everywhere.text:
        table.add_row(_ALL_PHOTOS, Mode.FIND_ALL.value, "", "text", everywhere.text)
        table.add_section()
    for image, prompts in images.items():
        for index, row in enumerate(_rows(prompts)):
            table.add_row("" if index else image, *row)
        table.add_section()
    return table if table.row_count else None


def _rows(prompts: ImagePrompts) -> list[list[str]]:
    rows = [[Mode.FIND_ALL.value, "", "text", prompts.text]] if prompts.text else []
    return [*rows, *(_row(each) for each in prompts.annotations)]


def _row(annotation: Annotation) -> list[str]:
    on_or_off = {None: "", 1: " on", 0: " off"}[annotation.label]
    when = annotation.created_at
    return [
        annotation.mode.value,
        annotation.id,
        f"{annotation.prompt_type.value}{on_or_off}",
        _numbers(annotation.box or annotation.point or ()),
        annotation.source.value,
        annotation.created_by,
        f"{when:{_TIME_FORMAT}}" if when else "",
    ]


def _numbers(values: Sequence[float]) -> str:
    """As they are typed at --box: no more digits than tell a hundredth of a pixel."""
    return ",".join(f"{value:.2f}".rstrip("0").rstrip(".") for value in values)
