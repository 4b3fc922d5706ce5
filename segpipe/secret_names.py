"""Names of secrets: which there are, their values, and where these may go."""

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from segpipe.errors import ConfigError
from segpipe.secret_file import keep_secret, read_kept_secret

NAMES_VARIABLE = "SEGPIPE_SECRET_NAMES"
"""The environment variable that adds names: ``MY_KEY,MY_TOKEN=https://gpu.example.org``."""
HIDDEN = "****"
"""What is shown in place of a value; it is never one."""
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


class SecretPlace(StrEnum):
    """Where the value of a name is."""

    ENVIRONMENT = "environment"
    FILE = "file"


def read_secret(name: str, *, what: str, field: str) -> str | None:
    """The value of a name, without surrounding blanks; None when it has none.

    It is that of the environment variable, else what somebody entered in the studio.

    Args:
        name: Of the variable.
        what: What it holds, for errors: ``token``, ``key``.
        field: The setting that names it.

    Raises:
        ConfigError: It has blanks or characters that a header cannot carry (RFC 6750, section
            2.1, allows fewer still); the message names the variable and keeps the value to itself.
            Or others can read the file of what was entered.
    """
    place, value = _find(name)
    if value and not _SENDABLE.fullmatch(value):
        where = f"in the environment variable {name}"
        if place is SecretPlace.FILE:
            where = f"that was entered for {name}"
        raise ConfigError(
            f"the {what} {where} has blanks or characters outside ASCII, which no header carries: "
            f"set it to another {what}",
            field=field,
        )
    return value or None


def place_of_secret(name: str) -> SecretPlace | None:
    """Where the value of a name is; None when it has none."""
    return _find(name)[0]


def enter_secret(name: str, value: str, *, data_root: Path | None) -> None:
    """Keep a value for a name, outside of the data root, where this user alone can read it.

    Raises:
        ConfigError: The name may hold none, no header can carry the value, it is ``****``, or the
            file cannot be used. The value is not repeated.
    """
    require_secret_name(name, field=name)
    if value == HIDDEN:
        raise ConfigError(
            f"{HIDDEN} stands for a value that is there; enter the value itself, or leave the "
            "field empty to keep it",
            field=name,
        )
    if not _SENDABLE.fullmatch(value):
        raise ConfigError(
            "it has blanks or characters outside ASCII, which no header carries", field=name
        )
    keep_secret(name, value, data_root=data_root)


def _find(name: str) -> tuple[SecretPlace | None, str]:
    if value := os.environ.get(name, "").strip():
        return SecretPlace.ENVIRONMENT, value
    kept = (read_kept_secret(name) or "").strip() if name in _allowed_origins() else ""
    return (SecretPlace.FILE, kept) if kept else (None, "")


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
