"""What lies under a data root, read by plain JSON and pyarrow."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TABLES = {
    "segmentation": ("images.parquet", "detections.parquet"),
    "dedup": ("dedup.parquet",),
    "refinement": ("refinement.parquet",),
    "crops": ("crops.parquet",),
}
RUNS = (
    ("lot", "find_all"),
    ("lot", "inside_box"),
    ("paid", "find_all"),
    ("paid", "inside_box"),
    ("served", "find_all"),
    ("served", "inside_box"),
)
"""The deals of release 0.1 that have results, and in which mode."""
TIMES = frozenset({"elapsed_ms", "seconds"})
"""What no two runs have alike."""


def commits(root: Path, deal: str, mode: str) -> list[dict[str, Any]]:
    """The commits of a deal and mode, the current one last."""
    paths = sorted((root / "deals" / deal / "commits" / mode).glob("*.json"))
    return [json.loads(path.read_text()) for path in paths]


def version(root: Path, deal: str, mode: str, asset: str) -> Path:
    """The folder of the current version of an asset."""
    name: str = commits(root, deal, mode)[-1]["assets"][asset]["version"]
    return root / "deals" / deal / "runs" / name / mode / asset


def manifest(root: Path, deal: str, mode: str, asset: str) -> dict[str, Any]:
    """The manifest of that version."""
    return dict(json.loads((version(root, deal, mode, asset) / "manifest.json").read_text()))


def table(root: Path, deal: str, mode: str, asset: str, file: str) -> dict[str, Any]:
    """The schema and the rows of a current table; bits of masks as their digest."""
    read = pq.ParquetFile(version(root, deal, mode, asset) / file).read()
    return {"schema": _schema(read.schema), "rows": [_plain(row) for row in read.to_pylist()]}


def tables(root: Path, deal: str, mode: str) -> dict[str, Any]:
    """All current tables of a deal and mode."""
    return {
        file: table(root, deal, mode, asset, file)
        for asset, files in TABLES.items()
        for file in files
    }


def without(value: Any, names: frozenset[str]) -> Any:
    """A JSON value without the fields of these names, however deep."""
    if isinstance(value, dict):
        return {key: without(one, names) for key, one in value.items() if key not in names}
    return [without(one, names) for one in value] if isinstance(value, list) else value


def fields(value: Any) -> Any:
    """The names of a JSON value's fields in their order, however deep, and the type of the rest."""
    if isinstance(value, dict):
        return {key: fields(one) for key, one in value.items()}
    if isinstance(value, list):
        return [fields(one) for one in value[:1]]
    return type(value).__name__


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def digest(data: bytes) -> str:
    """The sha256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def _schema(schema: pa.Schema) -> list[str]:
    return [
        f"{field.name}: {field.type}{'' if field.nullable else ' not null'}" for field in schema
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"{len(value)} bytes, sha256 {digest(value)}"
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
