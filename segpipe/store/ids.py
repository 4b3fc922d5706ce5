"""Names that come from outside: deals, images, runs, and files inside a version."""

import hashlib
from functools import lru_cache
from pathlib import PurePosixPath
from unicodedata import category, normalize

from segpipe.errors import InvalidIdError

MAX_ID_BYTES = 128
MAX_FILE_NAME_BYTES = 255
"""What every common file system takes for one name (NAME_MAX)."""

_SEPARATORS = frozenset("/\\")
# Control, format (bidi overrides, zero-width joiners), surrogates, line and paragraph separators:
# none can be seen, and each makes two names look alike or a log line lie.
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_RANGE = "..."
_SUBSTITUTE = "_"
_HASH_DIGITS = 8


def check_id(value: str, *, field: str, max_bytes: int = MAX_ID_BYTES) -> str:
    """The id in Unicode's NFC form.

    Args:
        value: The id as it came in.
        field: What it names, for the error.
        max_bytes: The longest that is allowed, in UTF-8.

    Raises:
        InvalidIdError: It is empty or too long, starts with a dot (so also "." and ".."), starts or
            ends with a space, or holds a separator or an invisible character.
    """
    normal = normalize("NFC", value)
    fault = _fault(normal, max_bytes)
    if fault:
        raise InvalidIdError(f"{value!r} is not allowed as a name: {fault}", field=field)
    return normal


def is_id(value: str) -> bool:
    """Whether :func:`check_id` gives a name back as it is."""
    return normalize("NFC", value) == value and _fault(value, MAX_ID_BYTES) is None


def check_deal_id(deal: str) -> str:
    """The id of a deal in Unicode's NFC form.

    Raises:
        InvalidIdError: As :func:`check_id`, and for "...", which Dagster takes for a range.
    """
    if _RANGE in deal:
        raise InvalidIdError(f"{deal!r} is not allowed as a name: it holds '...'", field="deal")
    return check_id(deal, field="deal")


def check_file_name(name: str) -> str:
    """A file's relative POSIX path inside a version, such as ``crops/a/000.png``.

    Raises:
        InvalidIdError: A part of the path is not allowed: see :func:`check_id`.
    """
    parts = (
        check_id(part, field="file", max_bytes=MAX_FILE_NAME_BYTES) for part in name.split("/")
    )
    return "/".join(parts)


def image_id_of(file_name: str) -> str:
    """The image id of a photo: its file stem made safe.

    The same name always gives the same id, one that :func:`check_id` accepts. What it does not
    accept becomes ``_``; a stem over 128 bytes is cut and ends in a hash of the whole stem.
    """
    stem = normalize("NFC", PurePosixPath(file_name).stem)
    safe = "".join(_SUBSTITUTE if _is_unsafe(character) else character for character in stem)
    if safe[:1] == "." or safe[:1].isspace():
        safe = _SUBSTITUTE + safe[1:]
    if safe[-1:].isspace():
        safe = safe[:-1] + _SUBSTITUTE
    safe = normalize("NFC", safe) or _SUBSTITUTE
    if len(safe.encode()) <= MAX_ID_BYTES:
        return safe
    digest = hashlib.sha256(stem.encode("utf-8", "surrogatepass")).hexdigest()
    suffix = f"-{digest[:_HASH_DIGITS]}"
    kept = safe.encode()[: MAX_ID_BYTES - len(suffix)]
    return kept.decode("utf-8", "ignore") + suffix


def _is_unsafe(character: str) -> bool:
    return character in _SEPARATORS or category(character) in _INVISIBLE_CATEGORIES


@lru_cache(maxsize=4096)  # the same few names make up every path
def _fault(name: str, max_bytes: int) -> str | None:
    """Why a name is not allowed."""
    if not name:
        return "it is empty"
    if name.startswith("."):
        return "it starts with a dot"
    if name != name.strip():
        return "it starts or ends with a space"
    unsafe = next(filter(_is_unsafe, name), None)
    if unsafe:
        return f"it holds {unsafe!r}"
    if len(name.encode()) > max_bytes:
        return f"it is longer than {max_bytes} bytes in UTF-8"
    return None
