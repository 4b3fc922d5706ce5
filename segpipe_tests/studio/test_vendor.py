"""What others wrote and the studio brings: named, licensed, unchanged."""

import hashlib
import json
from pathlib import Path

import segpipe.studio

STATIC = Path(segpipe.studio.__file__).parent / "static"
FIELDS = {"file", "name", "version", "licence", "licence_file", "source", "sha256"}
OPEN_LICENCES = {"0BSD", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Apache-2.0"}


def test_every_vendored_file_is_named_with_its_digest_and_licence() -> None:
    entries = json.loads((STATIC / "VENDOR.json").read_text(encoding="utf-8"))
    for entry in entries:
        assert set(entry) == FIELDS
        assert entry["licence"] in OPEN_LICENCES
        data = (STATIC / entry["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]
        if entry["name"] == "htmx.org":
            assert f'version:"{entry["version"]}"'.encode() in data
    named = {entry[field] for entry in entries for field in ("file", "licence_file")}
    found = {path.relative_to(STATIC).as_posix() for path in (STATIC / "vendor").iterdir()}
    assert found == named


def test_our_own_modules_are_short() -> None:
    lines = {path.name: len(path.read_text().splitlines()) for path in STATIC.glob("**/*.js")}
    assert {name: count for name, count in lines.items() if count > 300} == {}
