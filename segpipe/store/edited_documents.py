"""JSON documents of a deal that people and programs edit: prompts, reviews.

People and scripts may write such files by hand, so everything that can have a default has one, and
an error names the file, the item and the field.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)

from segpipe.digests import bytes_digest
from segpipe.errors import InputError, PromptError, StoreError
from segpipe.prompt import require_unicode
from segpipe.store.document_json import explain, json_lines, parse_object

VERSION: Final = 1
_TAG_DIGITS = 32
_MAX_BYTES = 4 * 1024 * 1024


def _check_unicode(value: str) -> str:
    try:
        require_unicode(value)
    except PromptError as error:
        raise ValueError(error.message) from error
    return value


def _not_blank(text: str | None) -> str | None:
    return (text.strip() or None) if text else None


def _in_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{time} is no time in the years 1 to 9999") from error


UnicodeText = Annotated[str, AfterValidator(_check_unicode)]
"""A text that any file can hold."""
Text = Annotated[UnicodeText | None, AfterValidator(_not_blank)]
"""The same without blanks around it; None when nothing is left."""
DocumentTime = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time, in UTC."""


class EditedDocument(BaseModel):
    """A document that is read whole and put back whole; see :mod:`segpipe.store.edited_files`.

    Attributes:
        what: What it holds, in errors: ``prompts``.
        items: The field with the list of things that errors name, if it has one.
        item_keys: Where one of these has its name.
        file_error: Says that a file of it cannot be used.
        conflict_error: Says that somebody else changed it first.
        max_bytes: The largest file.
        version: That of its schema.
        generation: How often the file was written by segpipe; 0 for one that is not there yet, or
            is of a hand that did not say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: ClassVar[str]
    items: ClassVar[str] = ""
    item_keys: ClassVar[tuple[str, ...]] = ("id",)
    file_error: ClassVar[type[InputError]]
    conflict_error: ClassVar[type[StoreError]]
    max_bytes: ClassVar[int] = _MAX_BYTES

    version: Literal[1] = VERSION
    generation: Annotated[int, Field(strict=True, ge=0)] = 0

    def to_bytes(self) -> bytes:
        """The document as it is written: a line for each field and each item of a list."""
        return json_lines(self.model_dump(mode="json", exclude_none=True)).encode()

    def digest(self) -> str:
        """The sha256 of all it says, whatever its file is formatted like."""
        return bytes_digest(self.to_bytes())

    def tag(self) -> str:
        """What tells one state of the document from every other: the generation and the digest.

        A change by hand leaves the generation as it is, and the digest tells it.
        """
        return f"{self.generation}-{self.digest()[:_TAG_DIGITS]}"

    @classmethod
    def from_bytes(cls, data: bytes, *, file: str, image: str | None = None) -> Self:
        """Read a document back.

        Args:
            data: The whole file.
            file: What to call it in errors, such as ``prompts/a.json``.
            image: The image that it has to be for; None when it is for all.

        Raises:
            PromptFileError, ReviewFileError: It is no JSON, has unknown or wrong fields, or is for
                another image.
        """
        raw = parse_object(
            data, file=file, image=image, newest_version=VERSION, fault=cls.file_error
        )
        return cls.from_values(raw, file=file, image=image)

    @classmethod
    def from_values(cls, raw: Mapping[str, object], *, file: str, image: str | None = None) -> Self:
        """A document out of JSON values; see :meth:`from_bytes`."""
        try:
            document = cls.model_validate(raw)
        except ValidationError as error:
            field, said = explain(error, raw, cls.items, keys=cls.item_keys)
            raise cls.file_error(f"{file}: {said}", image=image, field=field) from error
        named = getattr(document, "image", None)
        if named != image:
            raise cls.file_error(
                f"{file} is for the image {named!r}, not for {image!r}, whose name it has: rename "
                "the file, or correct its 'image'",
                image=image,
                field="image",
            )
        return document
