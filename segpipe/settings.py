"""The base of all settings models: what a user can set, and what of it decides a result."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of the settings: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operational: ClassVar[frozenset[str]] = frozenset()
    """Fields that change how a result is made and never what it is: hosts, timeouts, keys."""

    def identity(self) -> dict[str, Any]:
        """The settings that decide the result, as JSON values.

        >>> class Example(Settings):
        ...     operational = frozenset({"timeout_s"})
        ...     threshold: float = 0.5
        ...     timeout_s: float = 10
        >>> Example(threshold=0.7).identity()
        {'threshold': 0.7}
        """
        values = self.model_dump(mode="json", exclude=set(self.operational))
        for name, value in self:
            if name in values and isinstance(value, Settings):
                values[name] = value.identity()
        return values
