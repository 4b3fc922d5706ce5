"""Who somebody is in the studio, and what each role may do."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from segpipe.web.problems import RefusedError

_FORBIDDEN = 403


class Role(StrEnum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = "viewer"
    """See everything but Dagster's pages."""
    REVIEWER = "reviewer"
    """Add photos, draw, run deals, review."""
    ADMIN = "admin"
    """Settings, secrets, paid tests, everything at once, rollback, Dagster."""

    def covers(self, other: "Role") -> bool:
        """Whether this role may do what the other may.

        >>> Role.ADMIN.covers(Role.REVIEWER), Role.VIEWER.covers(Role.REVIEWER)
        (True, False)
        """
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks.

    Attributes:
        name: As they gave it, or the proxy did.
        role: What they may do.
    """

    name: str
    role: Role


NOBODY_IN_PARTICULAR = Person("operator", Role.ADMIN)
"""Who it is where nobody has to log in."""


def person_of(connection: HTTPConnection) -> Person:
    """Who asks: known since the request passed :class:`~segpipe.studio.login.RequireLogin`."""
    person: Person = connection.scope["state"]["person"]
    return person


Asking = Annotated[Person, Depends(person_of)]
"""A parameter of a route: who asks."""


def require_role(person: Person, role: Role) -> None:
    """Raise RefusedError (403) unless somebody may do what a role may."""
    if not person.role.covers(role):
        raise RefusedError(
            _FORBIDDEN,
            "Forbidden",
            f"you are logged in as {person.role}; this is for the role {role}: ask somebody who "
            "has it",
        )


def needs(role: Role) -> Callable[[HTTPConnection], None]:
    """A dependency of routes: only people with this role come in."""

    def check(connection: HTTPConnection) -> None:
        require_role(person_of(connection), role)

    return check
