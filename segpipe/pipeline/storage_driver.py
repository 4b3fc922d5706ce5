"""A guard: the PostgreSQL driver that an instance's settings name has to be installed."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from segpipe.errors import ConfigError

HOME_VARIABLE = "DAGSTER_HOME"
INSTANCE_FILE = "dagster.yaml"

_STORAGES = ("storage", "run_storage", "event_log_storage", "schedule_storage")
_DEFAULT_SCHEME = "postgresql"
_BARE_SCHEMES = {_DEFAULT_SCHEME, "postgres"}
_USABLE_SCHEME = "postgresql+psycopg2"


def check_storage_driver(home: Path) -> None:
    """Say in plain words when Dagster could not open the PostgreSQL of an instance.

    SQLAlchemy 2.1 reads a bare ``postgresql://`` as the driver psycopg 3, which dagster-postgres
    does not bring; Dagster then ends with ``No module named 'psycopg'``. A file that is not there
    or cannot be read is left for Dagster to tell of.

    Args:
        home: The folder of ``dagster.yaml``.

    Raises:
        ConfigError: The settings name a driver that is not installed.
    """
    for field, scheme in _schemes(home / INSTANCE_FILE):
        driver = _missing_driver(scheme)
        if driver:
            raise _not_installed(scheme, driver, field=f"{field} of {home / INSTANCE_FILE}")


def usable_url(url: str) -> str:
    """The URL of a PostgreSQL database with a driver that is installed.

    A bare ``postgresql://`` (or ``postgres://``, as some hosts write it) means psycopg2 here.

    Raises:
        ConfigError: It names another driver, which is not installed.

    >>> usable_url("postgresql://somebody@host/dagster")
    'postgresql+psycopg2://somebody@host/dagster'
    """
    scheme, separator, rest = url.partition("://")
    if scheme in _BARE_SCHEMES:
        scheme = _USABLE_SCHEME
    if not separator or not scheme.startswith(_DEFAULT_SCHEME):
        raise ConfigError(
            f"{scheme!r} is no URL of a PostgreSQL database: write {_USABLE_SCHEME}://"
            "user:password@host:5432/name",
            field="postgres_url",
        )
    if driver := _missing_driver(scheme):
        raise _not_installed(scheme, driver, field="postgres_url")
    return f"{scheme}{separator}{rest}"


def check_configured_storage_driver() -> None:
    """The same of the instance that ``DAGSTER_HOME`` names; nothing when it names none."""
    home = os.environ.get(HOME_VARIABLE)
    if home:
        check_storage_driver(Path(home))


def _not_installed(scheme: str, driver: str, *, field: str) -> ConfigError:
    return ConfigError(
        f"{scheme}:// asks for the driver {driver!r}, which is not installed: write "
        f"{_USABLE_SCHEME}:// in its place (scheme: {_USABLE_SCHEME} where the parts stand "
        "one by one)",
        field=field,
    )


def _schemes(file: Path) -> Iterator[tuple[str, str]]:
    """Each place in an instance's settings that names PostgreSQL, and the scheme it means."""
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return
    for field in _STORAGES:
        section = _part(settings, field)
        config = _part(section, "postgres") or _part(section, "config")
        if url := _text(_part(config, "postgres_url")):
            yield f"{field}.postgres_url", url.partition("://")[0]
        elif parts := _part(config, "postgres_db"):
            yield f"{field}.postgres_db.scheme", _text(_part(parts, "scheme")) or _DEFAULT_SCHEME


def _part(section: object, name: str) -> object:
    return section.get(name) if isinstance(section, Mapping) else None


def _text(value: object) -> str:
    """A setting that stands there, or in an environment variable."""
    variable = _part(value, "env")
    return os.environ.get(str(variable), "") if variable else str(value or "")


def _missing_driver(scheme: str) -> str | None:
    """The driver of a scheme when it cannot be imported."""
    from sqlalchemy import make_url  # noqa: PLC0415 - slow, and only where PostgreSQL is configured

    try:
        make_url(f"{scheme}://").get_dialect().import_dbapi()
    except ImportError as error:
        return error.name or str(error)
    return None
