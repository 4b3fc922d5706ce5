"""What the command line tells about prompts."""

from collections.abc import Iterator, Mapping, Sequence

from segpipe.cli.console import Column, Listing
from segpipe.cli.facts import PromptFacts
from segpipe.prompt import Mode
from segpipe.store.prompts import Annotation, DealPrompts, ImagePrompts, Source

_ALL_PHOTOS = "(all photos)"
_TIME_FORMAT = "%Y-%m-%d %H:%M"

_COLUMNS = (
    Column("photo"),
    Column("mode"),
    Column("id"),
    Column("type"),
    Column("what"),
    Column("source"),
    Column("by"),
    Column("at (UTC)"),
)


def prompt_facts(
    everywhere: DealPrompts, images: Mapping[str, ImagePrompts]
) -> tuple[PromptFacts, ...]:
    """The prompts of all photos, then those of each, by image id."""
    return tuple(_facts(everywhere, images))


def prompt_listing(deal: str, prompts: Sequence[PromptFacts]) -> Listing:
    """Prompts as a listing, a line each."""
    return Listing(_COLUMNS, [_row(prompt) for prompt in prompts], f"{deal}: prompts")


def _facts(everywhere: DealPrompts, images: Mapping[str, ImagePrompts]) -> Iterator[PromptFacts]:
    if everywhere.text:
        yield _text(None, everywhere.text)
    for image, prompts in images.items():
        if prompts.text:
            yield _text(image, prompts.text)
        yield from (_mark(image, annotation) for annotation in prompts.annotations)


def _text(image: str | None, text: str) -> PromptFacts:
    return PromptFacts(
        photo=image,
        mode=Mode.FIND_ALL.value,
        id=None,
        type="text",
        label=None,
        text=text,
        box=None,
        point=None,
        category=None,
        source=None,
        created_by=None,
        created_at=None,
    )


def _mark(image: str, annotation: Annotation) -> PromptFacts:
    return PromptFacts(
        photo=image,
        mode=annotation.mode.value,
        id=annotation.id,
        type=annotation.prompt_type.value,
        label=annotation.label,
        text=None,
        box=annotation.box,
        point=annotation.point,
        category=annotation.category,
        source=annotation.source.value,
        created_by=annotation.created_by,
        created_at=annotation.created_at,
    )


def _row(prompt: PromptFacts) -> tuple[object, ...]:
    on_or_off = {None: "", 1: " on", 0: " off"}[prompt.label]
    numbers = _numbers(prompt.box or prompt.point or ())
    is_of_run = prompt.source == Source.MODEL.value
    return (
        prompt.photo or _ALL_PHOTOS,
        prompt.mode,
        prompt.id,
        f"{prompt.type}{on_or_off}",
        " ".join(filter(None, (prompt.text, numbers, prompt.category))),
        prompt.source,
        f"run {prompt.created_by}" if is_of_run else prompt.created_by,
        f"{prompt.created_at:{_TIME_FORMAT}}" if prompt.created_at else None,
    )


def _numbers(values: Sequence[float]) -> str:
    """As they are typed at --box: no more digits than tell a hundredth of a pixel."""
    return ",".join(f"{value:.2f}".rstrip("0").rstrip(".") for value in values)
