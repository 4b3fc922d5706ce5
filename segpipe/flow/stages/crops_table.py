"""The table of crops: one row for each survivor, where its picture is, and how it is read back."""

import pyarrow as pa

from segpipe.flow.stages.cutting import CroppedImage, ItemCrop
from segpipe.flow.stages.stage import ITEM_TEXTS
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
    ]
)
"""One row a survivor; no file, and a reason, where the crop failed."""

CROPS_TEXTS = {
    **ITEM_TEXTS,
    "file": "The picture, a file beside this table; null where there is none.",
    "format": "png or jpg.",
    "kind": "Whether it is cut along the mask or the box.",
    "x": "Left edge of the picture in the photo, pixels.",
    "y": "Top edge.",
    "width": "Its width, pixels.",
    "height": "Its height, pixels.",
    "reason": "Why there is no picture.",
}
"""What its columns are, for people."""


def crops_table(image: str, cropped: CroppedImage) -> pa.Table:
    """One row for each survivor."""
    rows = []
    for crop in cropped.crops:
        x, y, width, height = crop.window or (None, None, None, None)
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
            }
        )
    return pa.Table.from_pylist(rows, schema=CROPS_SCHEMA)


def read_crops(table: pa.Table) -> CroppedImage:
    """Read one photo's crops back, without their pictures."""
    crops = tuple(
        ItemCrop(
            detection=row["detection"],
            format=row["format"],
            file=row["file"],
            kind=row["kind"],
            window=(row["x"], row["y"], row["width"], row["height"]) if row["file"] else None,
            reason=row["reason"],
        )
        for row in table.to_pylist()
    )
    return CroppedImage(crops)
