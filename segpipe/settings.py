"""The base of all settings models: what a user can set, and what of it decides a result."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

_KIND = "kind"


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

    def changed(self) -> dict[str, Any]:
        """The settings that differ from the defaults, as JSON values: the model reads them back.

        Of settings inside, the kind is always among them, where they have one.

        >>> class Inner(Settings):
        ...     kind: str = "inner"
        ...     count: int = 1
        >>> class Outer(Settings):
        ...     inner: Inner = Inner()
        ...     name: str = "a"
        >>> Outer(inner=Inner(count=2)).changed()
        {'inner': {'kind': 'inner', 'count': 2}}
        """
        values = self.model_dump(mode="json")
        changed: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value == field.get_default(call_default_factory=True):
                continue
            changed[name] = values[name]
            if isinstance(value, Settings):
                kind = {_KIND: values[name][_KIND]} if _KIND in type(value).model_fields else {}
                changed[name] = kind | value.changed()
        return changed
