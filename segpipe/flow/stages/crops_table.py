"""The table of crops: one row for each survivor, where its picture is, and how it is read back."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from segpipe.flow.stages.cutting import CroppedImage, ItemCrop
from segpipe.flow.stages.stage import ITEM_TEXTS
from segpipe.store.archives import Member
from segpipe.store.tables import ITEM_COLUMNS

CROPS_FILE = "crops.parquet"
CROPS_SCHEMA = pa.schema(
    [
        *ITEM_COLUMNS,
        ("file", pa.string()),
        ("format", pa.string()),
        ("kind", pa.string()),
        ("x", pa.int32()),
        ("y", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("reason", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("crc32", pa.uint32()),
    ]
)
"""One row a survivor; no file, and a reason, where the crop failed."""

CROPS_TEXTS = {
    **ITEM_TEXTS,
    "file": "The picture, a file beside this table, or in crops.tar where it has an offset; null "
    "where there is none.",
    "format": "png, jpg, webp or avif.",
    "kind": "Whether it is cut along the mask or the box.",
    "x": "Left edge in the photo of what the picture shows, pixels.",
    "y": "Top edge.",
    "width": "Its width in the photo, pixels; a picture on a canvas has another.",
    "height": "Its height in the photo, pixels.",
    "reason": "Why there is no picture.",
    "offset": "The first byte of the picture in crops.tar; null where it is a file.",
    "length": "Its bytes there.",
    "crc32": "Their CRC-32.",
}
"""What its columns are, for people."""

LATER_COLUMNS = frozenset({"offset", "length", "crc32"})
"""Those that only a table beside a tar has."""


def crops_table(image: str, cropped: CroppedImage) -> pa.Table:
    """One row for each survivor."""
    rows = []
    for crop in cropped.crops:
        x, y, width, height = crop.window or (None, None, None, None)
        offset, length, crc32 = crop.member or (None, None, None)
        rows.append(
            {
                "image": image,
                "detection": crop.detection,
                "file": crop.file,
                "format": crop.format,
                "kind": crop.kind,
                "x": x,
                "y": y,
                "width": width,
                "height": height,
                "reason": crop.reason,
                "offset": offset,
                "length": length,
                "crc32": crc32,
            }
        )
    return pa.Table.from_pylist(rows, schema=CROPS_SCHEMA)


def crops_from_table(table: pa.Table) -> tuple[ItemCrop, ...]:
    """Read one photo's crops back, without their pictures."""
    return tuple(
        ItemCrop(
            detection=row["detection"],
            format=row["format"],
            file=row["file"],
            kind=row["kind"],
            window=(row["x"], row["y"], row["width"], row["height"]) if row["file"] else None,
            reason=row["reason"],
            member=_member(row),
        )
        for row in table.to_pylist()
    )


def _member(row: Mapping[str, Any]) -> Member | None:
    if row["offset"] is None:
        return None
    return Member(row["offset"], row["length"], row["crc32"])
