"""Where the deals lie: a folder of this machine, or the URL of an object store."""

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote

from segpipe.errors import ConfigError
from segpipe.store.local_storage import LocalStorage
from segpipe.store.storage import Storage

EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "az": "azure",
    "azure": "azure",
    "abfs": "azure",
    "abfss": "azure",
    "memory": "s3",
}
"""The schemes of URLs, and the extra of segpipe that brings what each needs."""

_FILE = "file"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
# A query, a fragment or an escape, or a part of a name: each reader of URLs takes them differently.
_AMBIGUOUS = frozenset("?#%")


@dataclass(frozen=True, slots=True)
class DataRoot:
    """The place of the deals; as text it is the absolute path, or the URL.

    Attributes:
        place: The absolute path of the folder, or the URL, without a slash at the end.
        is_local: Whether it is a folder of this machine.

    >>> DataRoot.parse("s3://bucket/goods/").at("deals/lot-7")
    's3://bucket/goods/deals/lot-7'
    >>> DataRoot.parse("/data").at("deals/lot-7")
    '/data/deals/lot-7'
    """

    place: str
    is_local: bool

    @classmethod
    def parse(cls, root: str | os.PathLike[str]) -> Self:
        """Read a path, or a URL such as ``s3://bucket/prefix``; nothing is opened.

        Raises:
            ConfigError: The URL has another scheme than those of :data:`EXTRAS` or ``file``, no
                bucket, or characters that its readers would understand in different ways.
        """
        text = os.fspath(root)
        url = _URL.fullmatch(text)
        if url is None:
            if not text or "\0" in text:
                raise _unusable(text, "it is no path")
            return cls(str(Path(text).absolute()), is_local=True)
        scheme, rest = url[1].lower(), url[2].rstrip("/")
        if scheme == _FILE:
            return cls(str(_path_of_url(text, url[2])), is_local=True)
        if scheme not in EXTRAS:
            known = ", ".join(f"{name}://" for name in EXTRAS)
            raise _unusable(text, f"use a folder, or a URL that begins with one of {known}")
        bucket, *parts = rest.split("/")
        if not bucket:
            raise _unusable(text, "it names no bucket or container")
        if any(part in {"", ".", ".."} for part in parts):
            raise _unusable(text, "a part of its path is empty, '.' or '..'")
        _refuse_ambiguous(text, rest)
        return cls(f"{scheme}://{rest}", is_local=False)

    def at(self, key: str) -> str:
        """The path or URL of a key of the storage."""
        return f"{self.place.rstrip('/')}/{key}"

    def storage(self) -> Storage:
        """The storage of this root.

        Raises:
            ConfigError: What the scheme needs is not installed, or not set.
        """
        if self.is_local:
            return LocalStorage(Path(self.place))
        scheme, _, rest = self.place.partition("://")
        if importlib.util.find_spec("obstore") is None:
            raise ConfigError(
                f"{scheme}:// needs obstore: install segpipe[{EXTRAS[scheme]}]", field="root"
            )
        from segpipe.store.buckets import open_bucket  # noqa: PLC0415
        from segpipe.store.object_storage import ObjectStorage  # noqa: PLC0415

        bucket, _, prefix = rest.partition("/")
        return ObjectStorage(open_bucket(scheme, bucket), prefix)

    def __str__(self) -> str:
        return self.place


def _path_of_url(text: str, rest: str) -> Path:
    if not rest.startswith("/"):
        raise _unusable(text, "a file URL has three slashes before the path")
    if "?" in rest or "#" in rest:
        raise _unusable(text, "name the folder by its path")
    return Path(unquote(rest)).absolute()


def _refuse_ambiguous(text: str, rest: str) -> None:
    found = next((character for character in rest if character in _AMBIGUOUS), None)
    if found or not rest.isprintable():
        what = repr(found) if found else "an invisible character"
        raise _unusable(text, f"it holds {what}, which not every reader takes for a part of a name")


def _unusable(text: str, why: str) -> ConfigError:
    return ConfigError(f"{text!r} cannot be a data root: {why}", field="root")
