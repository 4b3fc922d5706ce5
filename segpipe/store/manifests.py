"""The JSON documents of the store, and what they are read back as."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
)

from segpipe.errors import CorruptVersionError, InvalidIdError
from segpipe.store.ids import check_file_name, check_id
from segpipe.store.version_info import VersionInfo

PHOTOS = "deal_photos"
"""An upstream that is no version: the photos themselves, named by a digest of them all."""
PROMPTS = "deal_prompts"
"""Another: what a mode is asked to look for in them."""
REVIEWS = "deal_reviews"
"""Another: what people decided about what was found."""
INPUTS = frozenset({PHOTOS, PROMPTS, REVIEWS})
"""All of these."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Name = Annotated[str, AfterValidator(lambda value: check_id(value, field="name"))]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an asset.

    Attributes:
        asset: The asset.
        name: ``<run_id>.<attempt>``.
        manifest_sha256: Digest of its manifest, and so of every byte of it.
        made_from: The version of each upstream asset that it was made from; for ``deal_photos``,
            ``deal_prompts`` and ``deal_reviews`` their data versions.
    """

    asset: str
    name: str
    manifest_sha256: str
    made_from: Mapping[str, str]

    @property
    def run_id(self) -> str:
        """The run that made it."""
        return self.name.rpartition(".")[0]


class Part(BaseModel):
    """A part of a document: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(Part):
    """A JSON file of the store; unknown fields and other schema versions are refused."""

    schema_version: Literal[1] = Field(default=1, alias="schema")

    def to_bytes(self) -> bytes:
        """The document as it is written."""
        return self.model_dump_json(by_alias=True, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes, what: str) -> Self:
        """Read a document back.

        Raises:
            CorruptVersionError: It is damaged, or another schema; ``what`` names it.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"])) or "JSON"
            raise _unreadable(what, f"{field}: {first['msg']}") from error
        except InvalidIdError as error:
            raise _unreadable(what, error.message) from error


def _unreadable(what: str, why: str) -> CorruptVersionError:
    return CorruptVersionError(
        f"{what} is damaged, or was written by another release of segpipe ({why})"
    )


class FileEntry(Part):
    """One file of a version; its path is relative to the version's folder."""

    path: Annotated[str, AfterValidator(check_file_name)]
    size: NonNegativeInt
    sha256: Sha256


class Manifest(Document):
    """Everything that one run wrote for one asset of a deal; written last."""

    deal: _Name
    mode: _Name
    asset: _Name
    run_id: str
    attempt: NonNegativeInt
    created_at: AwareDatetime
    files: tuple[FileEntry, ...]
    made_from: dict[str, str]
    info: VersionInfo


class CommitKind(StrEnum):
    """Why a commit was made."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"


class CommittedVersion(Part):
    """The version that a commit makes current for one asset."""

    version: _Name
    manifest_sha256: Sha256
    made_from: dict[str, str]


class Commit(Document):
    """One generation of a deal and mode: the version of each asset that is current with it.

    ``base_sha256`` is the digest of the commit before, so a commit that came too late to be part
    of the chain cannot be taken for one that is. ``id`` is unique, so of two who say the same at
    the same moment each knows which one was first.
    """

    id: str
    deal: _Name
    mode: _Name
    generation: PositiveInt
    kind: CommitKind
    created_at: AwareDatetime
    run_id: str
    base_sha256: Sha256 | None
    assets: dict[_Name, CommittedVersion]

    def version(self, asset: str) -> Version | None:
        """The version that is current with this commit; None when there is none."""
        held = self.assets.get(asset)
        if held is None:
            return None
        return Version(asset, held.version, held.manifest_sha256, held.made_from)


def utc_now() -> datetime:
    """The time that documents carry."""
    return datetime.now(UTC)
