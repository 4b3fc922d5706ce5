"""The base of all settings models: what a user can set, and what of it decides a result."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

_KIND = "kind"


class Settings(BaseModel):
    """Base of the settings: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operational: ClassVar[frozenset[str]] = frozenset()
    """Fields that change how a result is made and never what it is: hosts, timeouts, keys."""

    later: ClassVar[frozenset[str]] = frozenset()
    """Fields that a later release added, whose defaults do what was done before there were any.

    With its default such a field is no part of the identity, so that what an earlier release made
    stays current.
    """

    def identity(self) -> dict[str, Any]:
        """The settings that decide the result, as JSON values.

        >>> class Example(Settings):
        ...     operational = frozenset({"timeout_s"})
        ...     threshold: float = 0.5
        ...     timeout_s: float = 10
        >>> Example(threshold=0.7).identity()
        {'threshold': 0.7}
        """
        left_out = {name for name in self.later if getattr(self, name) == self._default(name)}
        values = self.model_dump(mode="json", exclude={*self.operational, *left_out})
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
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value == self._default(name):
                continue
            changed[name] = values[name]
            if isinstance(value, Settings):
                kind = {_KIND: values[name][_KIND]} if _KIND in type(value).model_fields else {}
                changed[name] = kind | value.changed()
        return changed

    @classmethod
    def with_later(cls, identity: Mapping[str, Any]) -> dict[str, Any]:
        """An identity with the defaults of later fields that it leaves out; not those of None.

        >>> class Example(Settings):
        ...     later = frozenset({"edge"})
        ...     edge: str = "hard"
        >>> Example().identity(), Example.with_later({})
        ({}, {'edge': 'hard'})
        """
        defaults = cls().model_dump(mode="json", include=set(cls.later)) if cls.later else {}
        known = {name: value for name, value in defaults.items() if value is not None}
        return known | dict(identity)

    @classmethod
    def _default(cls, name: str) -> Any:
        return cls.model_fields[name].get_default(call_default_factory=True)
