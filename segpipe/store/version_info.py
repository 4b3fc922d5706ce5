"""What a manifest keeps of how its version was made, beside its files."""

from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from segpipe.progress import Counts


class _Summary(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PassSummary(_Summary):
    """One pass of the segmenter, summed over a deal's photos."""

    found: int
    new: int
    elapsed_ms: float


class UsageSummary(_Summary):
    """What the segmenter took from a service for a deal's photos, in the run that asked it."""

    calls: int = 0
    cached: int = 0
    cost: float = 0.0
    remaining_credits: float | None = None


class ImageSummary(_Summary):
    """What became of one photo."""

    image: str
    file_name: str
    digest: str
    width: int
    height: int
    counts: Counts
    warnings: tuple[str, ...]


class DealSummary(_Summary):
    """What became of a deal; the content of ``report.json``."""

    deal: str
    mode: str
    counts: Counts
    photos_version: str
    segmenter: str
    refiner: str
    pass_stats: tuple[PassSummary, ...]
    usage: UsageSummary = UsageSummary()
    seconds: dict[str, float]
    warnings: tuple[str, ...]
    images: tuple[ImageSummary, ...]


class VersionInfo(BaseModel):
    """How a version was made; what does not apply to its asset is None and is not written.

    Fields of other releases, and what people add to the manifests of their own assets, are
    ignored when a manifest is read.

    Attributes:
        identity: The digest of what decides the result: code version, producer and settings.
        code_version: The version of the stage's code.
        producer: The id of the segmenter or refiner; empty for the stages that have none.
        settings: The settings that the stage ran with, JSON values, for people to read.
        settings_generation: That of the saved settings that the run used, when any were saved.
        photos_fingerprint: The deal's photos by name, size and time, as the run listed them.
        summary: What became of the deal, without its photos: those are in the report.
        read: For an asset of the IO manager, the version of each asset that its step had read,
            by ``<mode>/<asset>``.

    >>> VersionInfo(identity="0a1b", producer="classical").model_dump_json()
    '{"identity":"0a1b","producer":"classical"}'
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    identity: str | None = None
    code_version: str | None = None
    producer: str | None = None
    settings: dict[str, JsonValue] | None = None
    settings_generation: int | None = None
    photos_fingerprint: str | None = None
    summary: DealSummary | None = None
    read: dict[str, str] | None = None

    @model_serializer(mode="wrap")
    def _without_none(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        return {name: value for name, value in fields.items() if value is not None}
