"""Settings of the cache of answers."""

from typing import ClassVar

from pydantic import Field

from segpipe.settings import Settings

_BYTES_PER_MB = 1_000_000


class CacheConfig(Settings):
    """Where answers are kept, so that none is paid for twice."""

    # A cache changes no answer, so none of it belongs to the identity of a segmenter.
    operational: ClassVar[frozenset[str]] = frozenset({"enabled", "folder", "max_size_mb"})

    enabled: bool = Field(
        default=True, description="Keep answers, and use those that are kept; off: ask anew."
    )
    folder: str = Field(
        default="cache/segmentations",
        min_length=1,
        description="Folder of the answers, under the data root unless it begins with /; runs and "
        "processes may share it.",
    )
    max_size_mb: int = Field(
        default=2048,
        ge=1,
        description="Size of the folder at most, in millions of bytes; the least recently used "
        "answers go first.",
    )

    @property
    def max_bytes(self) -> int:
        """The most bytes of the folder."""
        return self.max_size_mb * _BYTES_PER_MB
