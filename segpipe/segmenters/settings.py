"""What every segmenter's settings share."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class SegmenterSettings(BaseModel):
    """Base of the settings of segmenters: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operational: ClassVar[frozenset[str]] = frozenset()
    """Fields that change how an answer is fetched and never what it is: hosts, timeouts, keys."""

    def identity(self) -> dict[str, Any]:
        """The settings that decide the answer, as JSON values."""
        values = self.model_dump(mode="json", exclude=set(self.operational))
        for name, value in self:
            if name in values and isinstance(value, SegmenterSettings):
                values[name] = value.identity()
        return values
