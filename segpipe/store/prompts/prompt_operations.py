"""Changes of prompts that merge: what an editor sends of what one person did.

Each operation says what the person saw and what it shall be, so two people who draw different boxes
both win, a change that comes twice is made once, and only where both touched the same thing does
somebody have to decide.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from segpipe.errors import PromptConflictError, PromptError
from segpipe.prompt import Mode
from segpipe.store.document_json import explain
from segpipe.store.prompts.prompt_documents import (
    Annotation,
    DealPrompts,
    ImagePrompts,
    PromptType,
    Source,
)

MAX_OPERATIONS = 1000
"""In one request: far more than a hand does while a network is away."""
MAX_TEXT_CHARS = 2000
MAX_CATEGORY_CHARS = 200
TEXT = "text"
"""What a conflict about the text is called, where others have the id of an annotation."""

_Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
_Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS)] | None


def _not_truth(value: object) -> object:
    """Refuse true and false: no numbers in JSON, though they are 1 and 0 to Python."""
    if isinstance(value, bool):
        raise PydanticCustomError("number", "is a number, not true or false")
    return value


Pixels = Annotated[float, BeforeValidator(_not_truth)]
"""A coordinate as it comes over HTTP."""
_PointLabel = Annotated[Literal[0, 1], BeforeValidator(_not_truth)]


class Shape(BaseModel):
    """What a person says with an annotation; the fields are those of :class:`Annotation`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode
    prompt_type: PromptType
    box: tuple[Pixels, Pixels, Pixels, Pixels] | None = None
    point: tuple[Pixels, Pixels] | None = None
    label: _PointLabel | None = None
    category: Annotated[str, Field(max_length=MAX_CATEGORY_CHARS)] | None = None

    @classmethod
    def of(cls, annotation: Annotation) -> "Shape":
        """What an annotation says."""
        return cls.model_construct(**{name: getattr(annotation, name) for name in cls.model_fields})


class AddAnnotation(BaseModel):
    """Draw something; the id is made up by who draws, so that it is drawn once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    op: Literal["add"]
    id: _Id
    to: Shape


class ChangeAnnotation(BaseModel):
    """Move, label, or turn round what a person drew."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    op: Literal["change"]
    id: _Id
    was: Shape
    to: Shape


class RemoveAnnotation(BaseModel):
    """Take away what a person drew."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    op: Literal["remove"]
    id: _Id
    was: Shape


class SetText(BaseModel):
    """Say in words what to find; None or blanks: in no words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    op: Literal["text"]
    was: _Text = None
    to: _Text = None


Operation = Annotated[
    AddAnnotation | ChangeAnnotation | RemoveAnnotation | SetText, Field(discriminator="op")
]


def apply_operations(
    prompts: ImagePrompts,
    operations: Sequence[Operation],
    *,
    created_by: str,
    created_at: datetime,
) -> ImagePrompts:
    """The prompts of a photo with what a person did to them, all of it or nothing.

    What is so already stays as it is: an operation that is applied twice does no more than once.

    Args:
        prompts: As they are now, which may be later than what the person saw.
        operations: What the person did, in order.
        created_by: The person, who is the maker of what is added.
        created_at: When it is added, in UTC.

    Raises:
        PromptConflictError: Others have changed the same annotations, or the text, otherwise; it
            names all of them.
        PromptError: An operation makes no sense, or changes what a run has found.
    """
    merge = _Merge(prompts, created_by, created_at)
    for operation in operations:
        merge.apply(operation)
    merge.require_no_conflicts()
    return prompts.model_copy(
        update={"text": merge.text, "annotations": tuple(merge.annotations.values())}
    )


def apply_text(prompts: DealPrompts, operations: Sequence[SetText]) -> DealPrompts:
    """The prompts for all photos with another text; raises as :func:`apply_operations`."""
    text = prompts.text
    for operation in operations:
        wanted = _words(operation.to)
        if text not in {_words(operation.was), wanted}:
            raise _conflict([TEXT])
        text = wanted
    return prompts.model_copy(update={"text": text})


class _Merge:
    """Prompts in the middle of being changed."""

    def __init__(self, prompts: ImagePrompts, created_by: str, created_at: datetime) -> None:
        self.text = prompts.text
        self.annotations = {each.id: each for each in prompts.annotations}
        self._image = prompts.image
        self._made = {"created_by": created_by, "created_at": created_at}
        self._conflicts: list[str] = []

    def apply(self, operation: Operation) -> None:
        match operation:
            case SetText(was=was, to=to):
                self._set_text(_words(was), _words(to))
            case AddAnnotation(id=name, to=to):
                self._add(name, to)
            case ChangeAnnotation(id=name, was=was, to=to):
                self._change(name, was, to)
            case RemoveAnnotation(id=name, was=was):
                self._remove(name, was)

    def require_no_conflicts(self) -> None:
        if self._conflicts:
            raise _conflict(self._conflicts, self._image)

    def _set_text(self, was: str | None, to: str | None) -> None:
        if self.text not in {was, to}:
            self._conflicts.append(TEXT)
        self.text = to

    def _add(self, name: str, to: Shape) -> None:
        wanted = self._annotation(name, to, self._made)
        present = self.annotations.setdefault(name, wanted)
        if Shape.of(present) != Shape.of(wanted):
            self._conflicts.append(name)

    def _change(self, name: str, was: Shape, to: Shape) -> None:
        present = self._of_user(name)
        if present is None:
            self._conflicts.append(name)
            return
        seen = Shape.of(self._annotation(name, was, self._made))
        wanted = Shape.of(self._annotation(name, to, self._made))
        if seen == wanted:
            return
        merged = _merged(Shape.of(present), seen, wanted)
        if merged is None:
            self._conflicts.append(name)
        else:
            kept = {"created_by": present.created_by, "created_at": present.created_at}
            self.annotations[name] = self._annotation(name, merged, kept)

    def _remove(self, name: str, was: Shape) -> None:
        present = self._of_user(name)
        if present and Shape.of(present) != Shape.of(self._annotation(name, was, self._made)):
            self._conflicts.append(name)
        self.annotations.pop(name, None)

    def _of_user(self, name: str) -> Annotation | None:
        present = self.annotations.get(name)
        if present and present.source is Source.MODEL:
            raise PromptError(
                f"annotation {name!r} is what a run has found; draw an annotation of your own over "
                "it",
                image=self._image,
                field=f"annotations[{name}]",
            )
        return present

    def _annotation(self, name: str, shape: Shape, made: dict[str, Any]) -> Annotation:
        """An annotation as it is kept, so that all are compared in that form."""
        try:
            return Annotation.model_validate({"id": name, **dict(shape), **made})
        except ValidationError as error:
            field, what = explain(error, {})
            place = f"annotations[{name}]" + (f".{field}" if field else "")
            raise PromptError(
                f"annotation {name!r}: {what}", image=self._image, field=place
            ) from error


def _merged(present: Shape, seen: Shape, wanted: Shape) -> Shape | None:
    """What both have made of an annotation; None when they do not agree.

    One may have moved it, and the other named it: these do not meet.
    """
    changed = {name: value for name, value in dict(wanted).items() if value != getattr(seen, name)}
    for name, value in changed.items():
        if getattr(present, name) not in (getattr(seen, name), value):
            return None
    return present.model_copy(update=changed)


def _conflict(touched: Sequence[str], image: str | None = None) -> PromptConflictError:
    names = tuple(dict.fromkeys(touched))
    conflict = PromptConflictError(
        f"somebody else has changed {', '.join(names)} meanwhile; look at it and decide",
        image=image,
    )
    conflict.annotations = names
    return conflict


def _words(text: str | None) -> str | None:
    return (text or "").strip() or None
