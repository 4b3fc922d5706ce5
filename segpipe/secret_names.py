"""Environment variables with secrets: which may hold them, their values, and where these may go."""

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from typing import Annotated
from urllib.parse import urlsplit

from segpipe.errors import ConfigError

NAMES_VARIABLE = "SEGPIPE_SECRET_NAMES"
"""The environment variable that adds names: ``MY_KEY,MY_TOKEN=https://gpu.example.org``."""
OWN_ORIGINS: Mapping[str, tuple[str, ...]] = {
    "SEGMIND_API_KEY": ("https://api.segmind.com",),
    "SEGPIPE_SERVER_TOKEN": (),
}
"""The names that are always allowed, and where their values may go beside this machine."""


class _IsSecretName:
    """Marks the type of a setting."""


SecretName = Annotated[str, _IsSecretName()]
"""The type of a setting that names one: a form for it offers the allowed names alone."""
_SENDABLE = re.compile(r"[!-~]+")
_PORTS = {"http": 80, "https": 443}


def is_secret_name(notes: Sequence[object]) -> bool:
    """Whether these are the notes of :data:`SecretName`, as pydantic keeps them of a field."""
    return any(isinstance(note, _IsSecretName) for note in notes)


def allowed_names() -> list[str]:
    """The names that are allowed now, those of the environment included."""
    return list(_allowed_origins())


def require_secret_name(name: str, *, field: str) -> str:
    """The name of a variable that may hold a secret.

    Raises:
        ConfigError: It is none of those that are allowed. What was entered is not repeated: it may
            be the secret itself.
    """
    allowed = _allowed_origins()
    if name not in allowed:
        raise ConfigError(
            f"must be the name of an environment variable that may hold a secret: "
            f"{', '.join(allowed)}. To use another, add its name to {NAMES_VARIABLE} (what was "
            "entered is not repeated here: should it be a key, replace that key)",
            field=field,
        )
    return name


def read_secret(name: str, *, what: str, field: str) -> str | None:
    """The value of an environment variable, without surrounding blanks; None when it has none.

    Args:
        name: Of the variable.
        what: What it holds, for errors: ``token``, ``key``.
        field: The setting that names it.

    Raises:
        ConfigError: It has blanks or characters that a header cannot carry (RFC 6750, section
            2.1, allows fewer still); the message names the variable and keeps the value to itself.
    """
    value = os.environ.get(name, "").strip()
    if value and not _SENDABLE.fullmatch(value):
        raise ConfigError(
            f"the {what} in the environment variable {name} has blanks or characters outside "
            f"ASCII, which no header carries: set it to another {what}",
            field=field,
        )
    return value or None


def is_this_machine(host: str) -> bool:
    """Whether a host name or address is a loopback one."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_secret_origin(name: str, url: str, *, default: str, field: str) -> None:
    """Refuse to send the value of a variable somewhere else than to its origins.

    This machine is always one of them. A name that :data:`NAMES_VARIABLE` adds without an origin
    has the default one.

    Args:
        name: Of the variable.
        url: Where its value is about to be sent.
        default: The URL of the service when nobody chooses another.
        field: The setting that holds ``url``.

    Raises:
        ConfigError: It says what to set.
    """
    origins = _allowed_origins().get(name, ()) or (default,)
    if is_this_machine(urlsplit(url.strip()).hostname or "") or _origin(url) in map(
        _origin, origins
    ):
        return
    raise ConfigError(
        f"the value of {name} may not be sent to {_origin(url)}. When that is meant, set "
        f"{NAMES_VARIABLE} to {name}={_origin(url)} where the work is done",
        field=field,
    )


def _allowed_origins() -> dict[str, tuple[str, ...]]:
    """The origins of every allowed name, this machine left out."""
    allowed = dict(OWN_ORIGINS)
    for entry in os.environ.get(NAMES_VARIABLE, "").split(","):
        name, _, origin = (part.strip() for part in entry.partition("="))
        if name:
            allowed[name] = (*allowed.get(name, ()), *([origin] if origin else ()))
    return allowed


def _origin(url: str) -> str:
    """Scheme, host and port, as browsers compare them (RFC 6454)."""
    parts = urlsplit(url.strip())
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = parts.port if parts.port and parts.port != _PORTS.get(parts.scheme) else None
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")
