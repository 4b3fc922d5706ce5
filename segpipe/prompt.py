"""What to look for in one image: the one form of a prompt, and the only check of it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from segpipe.errors import PromptError, UnsupportedPromptError
from segpipe.vision.boxes import Box


class Mode(StrEnum):
    """How a prompt is answered."""

    FIND_ALL = "find_all"
    """Everything that matches the text or exemplars; every item when there are none."""
    INSIDE_BOX = "inside_box"
    """One mask for each drawn box."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point in pixels of the upright image that lies on (positive) or off an item."""

    x: float
    y: float
    positive: bool = True

    def lies_in(self, box: Box) -> bool:
        """Whether it lies in a half-open box."""
        return box.x1 <= self.x < box.x2 and box.y1 <= self.y < box.y2


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A box around an example of what to find (positive) or to leave out."""

    box: Box
    positive: bool = True


@dataclass(frozen=True, slots=True)
class Supports:
    """What a segmenter can follow; :meth:`Prompt.require` refuses the rest.

    Attributes:
        texts: Texts at most.
        text_chars: Characters of a text at most; None is no limit.
        text_words: Words of a text at most; None is no limit.
        points: Points at most; None is no limit.
        points_in_boxes: Points that refine what is in a drawn box.
        points_beside_others: Points together with a text or exemplars.
        boxes: Boxes and exemplars at most; None is no limit.
        exemplars: Examples of what to find.
        negative_exemplars: Examples of what to leave out.
    """

    texts: int = 1
    text_chars: int | None = None
    text_words: int | None = None
    points: int | None = None
    points_in_boxes: bool = True
    points_beside_others: bool = False
    boxes: int | None = None
    exemplars: bool = True
    negative_exemplars: bool = True


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to look for in one image; coordinates are pixels of the upright image.

    A prompt that makes no sense by itself cannot be made. Blank texts are dropped, and a text that
    is given twice counts once. ``field`` of an error is the name in :meth:`to_json`, with the
    index where one of several is meant: ``text``, ``boxes[0]``.

    >>> Prompt(texts=("ring", " ")).texts
    ('ring',)
    >>> Prompt(mode=Mode.INSIDE_BOX)
    Traceback (most recent call last):
    segpipe.errors.PromptError: field 'boxes': inside_box needs at least one box; draw one

    Attributes:
        mode: How it is answered.
        texts: What to find, in words, each by itself; with ``inside_box`` what the items are
            called.
        boxes: What is cut out; for ``inside_box`` alone, which needs at least one.
        points: On and off the one item that is meant, or with ``inside_box`` those in the boxes.
        exemplars: Examples of what to find and what to leave out; for ``find_all`` alone.

    Raises:
        PromptError: The mode does not go with the boxes or exemplars, a box has no area, a
            coordinate is no finite number, a text holds half a character, or nothing positive says
            what to find.
    """

    mode: Mode = Mode.FIND_ALL
    texts: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    points: tuple[Point, ...] = ()
    exemplars: tuple[Exemplar, ...] = ()

    def __post_init__(self) -> None:
        for text in self.texts:
            require_unicode(text)
        texts = tuple(dict.fromkeys(text for text in self.texts if text.strip()))
        object.__setattr__(self, "texts", texts)
        if self.mode is Mode.INSIDE_BOX:
            self._check_inside_box()
        else:
            self._check_find_all()
        for field, box in self._boxes_by_field():
            require_box(box, field)
        for index, point in enumerate(self.points):
            if not (math.isfinite(point.x) and math.isfinite(point.y)):
                raise PromptError(
                    f"a point needs finite x and y, got ({point.x}, {point.y}); place it again",
                    field=f"points[{index}]",
                )

    @property
    def text(self) -> str | None:
        """The text of a prompt with one, without surrounding blanks; None when there is none."""
        return self.texts[0].strip() if self.texts else None

    @property
    def says_what(self) -> bool:
        """Whether anything says what to find: a text, an example, a point or a box."""
        return bool(self.texts or self.exemplars or self.points or self.boxes)

    def or_default(self, texts: tuple[str, ...]) -> "Prompt":
        """The prompt, asking for default texts where it says nothing."""
        return self if self.says_what else replace(self, texts=texts)

    def for_image(self, width: int, height: int) -> "Prompt":
        """The prompt with its boxes cut to an upright image of this size, pixels.

        >>> Prompt(Mode.INSIDE_BOX, boxes=(Box(-5, 10, 50, 90),)).for_image(40, 30).boxes
        (Box(x1=0.0, y1=10.0, x2=40.0, y2=30.0),)

        Raises:
            PromptError: A point lies outside the image, on its far edges included, or a box has no
                part in it.
        """
        for index, point in enumerate(self.points):
            if not (0 <= point.x < width and 0 <= point.y < height):
                raise PromptError(
                    f"the point ({point.x:g}, {point.y:g}) lies outside the image of {width} x "
                    f"{height} pixels; move it, or remove it",
                    field=f"points[{index}]",
                )
        cut = [_cut(box, field, width, height) for field, box in self._boxes_by_field()]
        drawn = len(self.boxes)
        exemplars = zip(cut[drawn:], self.exemplars, strict=True)
        return replace(
            self,
            boxes=tuple(cut[:drawn]),
            exemplars=tuple(replace(one, box=box) for box, one in exemplars),
        )

    def require(self, supports: Supports, *, by: str, instead: str) -> None:
        """Refuse what a segmenter cannot follow: ``by`` names it, ``instead`` says what else to do.

        Raises:
            UnsupportedPromptError: It names the field.
        """
        for field, what in self._beyond(supports):
            raise UnsupportedPromptError(f"{by} {what}, or {instead}", field=field)

    def to_json(self) -> dict[str, Any]:
        """The prompt as JSON values that are equal for prompts that mean the same.

        Boxes keep their order, since the answers come in it. Points are taken together, and so are
        exemplars: their order means nothing, so they are sorted; one given twice stays twice, as
        it may weigh more. Texts are kept letter by letter, since a model may read "Box" and " box"
        as it likes; a single one stands for itself, several are a list. Stored tables and keys of
        the cache are made of it: its bytes stay.

        >>> prompt = Prompt(texts=("ring",), points=(Point(8, 4),))
        >>> prompt.to_json()["text"], prompt.to_json()["points"]
        ('ring', [[8.0, 4.0, True]])
        >>> Prompt.from_json(prompt.to_json()) == prompt
        True
        """
        return {
            "mode": self.mode.value,
            "text": list(self.texts) if len(self.texts) > 1 else next(iter(self.texts), None),
            "boxes": [_numbers(box) for box in self.boxes],
            "points": sorted(
                [*_numbers((one.x, one.y)), bool(one.positive)] for one in self.points
            ),
            "exemplars": sorted([*_numbers(one.box), bool(one.positive)] for one in self.exemplars),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The prompt that :meth:`to_json` gave.

        Raises:
            PromptError: It is none, or makes no sense.
        """
        try:
            text = values["text"]
            return cls(
                mode=Mode(values["mode"]),
                texts=(text,) if isinstance(text, str) else tuple(text or ()),
                boxes=tuple(Box(*box) for box in values["boxes"]),
                points=tuple(Point(x, y, positive) for x, y, positive in values["points"]),
                exemplars=tuple(
                    Exemplar(Box(*box), positive) for *box, positive in values["exemplars"]
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PromptError(
                f"is no prompt with mode, text, boxes, points and exemplars: {error!r}"
            ) from error

    def _check_inside_box(self) -> None:
        if not self.boxes:
            raise PromptError("inside_box needs at least one box; draw one", field="boxes")
        if len(self.texts) > 1:
            raise PromptError(
                "inside_box has one answer a box, so one text at most says what they are; give "
                f"one, not {len(self.texts)}",
                field="text",
            )
        if self.exemplars:
            raise PromptError(
                "inside_box has one answer a box and takes no exemplars; use the mode find_all to "
                "find more of the same",
                field="exemplars",
            )

    def _check_find_all(self) -> None:
        if self.boxes:
            raise PromptError(
                "find_all takes no boxes; use the mode inside_box to cut out what is in them, or "
                "exemplars to find more of the same",
                field="boxes",
            )
        marks: tuple[Point | Exemplar, ...] = (*self.points, *self.exemplars)
        if marks and not self.texts and not any(one.positive for one in marks):
            kind = "points" if self.points else "exemplars"
            meant = "which item is meant" if self.points else "what to find"
            raise PromptError(
                f"negative {kind} alone do not say {meant}; add a positive one or a text",
                field=kind,
            )

    def _boxes_by_field(self) -> Iterator[tuple[str, Box]]:
        for index, box in enumerate(self.boxes):
            yield f"boxes[{index}]", box
        for index, one in enumerate(self.exemplars):
            yield f"exemplars[{index}]", one.box

    def _beyond(self, supports: Supports) -> Iterator[tuple[str, str]]:
        """The fields that are not supported, each with what is wrong and what to do."""
        yield from self._texts_beyond(supports)
        yield from self._points_beyond(supports)
        if self.exemplars and not supports.exemplars:
            yield "exemplars", "knows no exemplars; leave them out"
        for index, one in enumerate(self.exemplars):
            if not one.positive and not supports.negative_exemplars:
                yield f"exemplars[{index}]", "knows no negative exemplars; leave them out"
        count = len(self.boxes) + len(self.exemplars)
        if supports.boxes is not None and count > supports.boxes:
            field = "boxes" if self.boxes else "exemplars"
            yield field, f"takes {supports.boxes} boxes at most, got {count}; draw fewer"

    def _texts_beyond(self, supports: Supports) -> Iterator[tuple[str, str]]:
        if self.texts and not supports.texts:
            yield "text", f"cannot read text, got {self.texts[0]!r:.100}; leave the text out"
        elif len(self.texts) > supports.texts:
            yield "text", f"reads {supports.texts} text at a time, got {len(self.texts)}; give one"
        for text in self.texts:
            chars, words = len(text), len(text.split())
            if supports.text_chars is not None and chars > supports.text_chars:
                yield (
                    "text",
                    f"reads {supports.text_chars} characters at most, got {chars}; say less",
                )
            if supports.text_words is not None and words > supports.text_words:
                yield "text", f"reads {supports.text_words} words at most, got {words}; say less"

    def _points_beyond(self, supports: Supports) -> Iterator[tuple[str, str]]:
        if not self.points:
            return
        if self.boxes and not supports.points_in_boxes:
            yield "points", "cannot follow points in boxes; leave the points out"
        beside = self.mode is Mode.FIND_ALL and (self.texts or self.exemplars)
        if beside and not supports.points_beside_others:
            yield "points", "cannot combine points with a text or exemplars; leave one of them out"
        count = len(self.points)
        if supports.points is not None and count > supports.points:
            yield "points", f"takes {supports.points} points at most, got {count}; place fewer"


def require_points(points: Sequence[Point], width: int, height: int) -> tuple[Point, ...]:
    """The points that mean one item in an upright image of this size, pixels.

    Raises:
        PromptError: There is no positive one, or one lies outside the image.
    """
    if not points:
        raise PromptError("at least one point is needed: place one on the item", field="points")
    return Prompt(points=tuple(points)).for_image(width, height).points


def require_box(box: Sequence[float], field: str) -> None:
    """Refuse four numbers that are no box.

    Raises:
        PromptError: One is not finite, or there is no area.
    """
    x1, y1, x2, y2 = box
    if not (all(map(math.isfinite, box)) and x1 < x2 and y1 < y2):
        raise PromptError(
            f"a box needs finite x1 < x2 and y1 < y2, got {tuple(box)}; draw it again", field=field
        )


def require_unicode(text: str, field: str = "text") -> None:
    """Refuse half a character, which JSON can spell and no file can hold.

    Raises:
        PromptError: There is a lone surrogate in the text.
    """
    if not text.isprintable() and any("\ud800" <= character <= "\udfff" for character in text):
        raise PromptError("holds half a character (a lone surrogate); write it anew", field=field)


def _cut(box: Box, field: str, width: int, height: int) -> Box:
    x1, y1, x2, y2 = map(float, box)
    cut = Box(max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if cut.x1 >= cut.x2 or cut.y1 >= cut.y2:
        raise PromptError(
            f"the box {tuple(box)} lies outside the image of {width} x {height} pixels; move it, "
            "or remove it",
            field=field,
        )
    return cut


def _numbers(values: Sequence[float]) -> list[float]:
    # Adding 0.0 turns -0.0 and whole numbers into what they are equal to.
    return [float(value) + 0.0 for value in values]
