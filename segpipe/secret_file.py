"""Secrets that people enter in the studio: one file of this user's, which nobody else can read.

It lies outside of the data root, which is copied, shared and served. An environment variable of the
same name comes before it.
"""

import json
import os
import stat
import tempfile
from pathlib import Path

from segpipe.errors import ConfigError

FILE_VARIABLE = "SEGPIPE_SECRETS_FILE"
"""The environment variable that names the file; ``~/.config/segpipe/secrets.json`` when not set."""
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600
_OTHERS = 0o077
_FIELD = "secrets"


def secrets_path() -> Path:
    """Where the file is, or would be."""
    if named := os.environ.get(FILE_VARIABLE):
        return Path(named).absolute()
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder).absolute() / "segpipe" / "secrets.json"


def read_kept_secret(name: str) -> str | None:
    """A secret from the file; None when it has none of that name.

    Raises:
        ConfigError: Others can read the file, or it is not this user's, or it is damaged. No value
            is repeated.
    """
    return _read(secrets_path()).get(name)


def keep_secret(name: str, value: str, *, data_root: Path | None) -> None:
    """Put a secret into the file, whole, in place of the one of that name.

    Args:
        name: Its name; whether it may hold a secret is the caller's business.
        value: The secret.
        data_root: The folder that the file must not be in; None when deals are elsewhere.

    Raises:
        ConfigError: The file is in the data root, others can read it, or it cannot be written.
    """
    path = secrets_path()
    if data_root and path.resolve().is_relative_to(data_root.resolve()):
        raise ConfigError(
            f"secrets are kept outside of the data root, and {path} is in it: set {FILE_VARIABLE} "
            "to another place",
            field=_FIELD,
        )
    from filelock import FileLock  # noqa: PLC0415 - reading needs none, and many import this

    try:
        path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        _require_own(path.parent)
        with FileLock(path.with_name(f".{path.name}.lock"), mode=_FILE_MODE):
            _write(path, {**_read(path), name: value})
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror or type(error).__name__}", field=_FIELD
        ) from error


def _write(path: Path, values: dict[str, str]) -> None:
    # mkstemp's file is this user's alone from its first moment on.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".secrets-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8") as file:
            _require_own(path.parent)
            _require_own(path, os.fstat(file.fileno()))
            values = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        said = error.strerror or type(error).__name__
        raise ConfigError(f"{path} cannot be read: {said}", field=_FIELD) from error
    except ValueError:  # its text is not repeated
        raise ConfigError(f"{path} is no JSON: enter the keys anew", field=_FIELD) from None
    if not isinstance(values, dict) or not all(isinstance(one, str) for one in values.values()):
        raise ConfigError(f"{path} has to hold names and values: enter the keys anew", field=_FIELD)
    return values


def _require_own(path: Path, status: os.stat_result | None = None) -> None:
    status = status or path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & _OTHERS or status.st_uid != os.geteuid():
        raise ConfigError(
            f"others can read {path} (mode {mode:o}): nothing of it is used. Make it yours alone "
            f"(chmod {'700' if path.is_dir() else '600'}), and replace the keys in it",
            field=_FIELD,
        )
