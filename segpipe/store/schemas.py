"""The schemas of the Parquet tables of a version."""

import pyarrow as pa

MASK_TYPE = pa.struct(
    [
        ("x", pa.int32()),
        ("y", pa.int32()),
        ("w", pa.int32()),
        ("h", pa.int32()),
        ("bits", pa.binary()),
    ]
)
"""A box-local bitmap of w x h pixels at (x, y); bits row after row, highest bit first."""

_PASS_TYPE = pa.struct(
    [
        ("found", pa.int32()),
        ("new", pa.int32()),
        ("elapsed_ms", pa.float64()),
        ("stopped", pa.string()),
    ]
)
_USAGE_TYPE = pa.struct(
    [
        ("calls", pa.int32()),
        ("cached", pa.int32()),
        ("cost", pa.float64()),
        ("remaining_credits", pa.float64()),
    ]
)
_KEY = [
    pa.field("image", pa.string(), nullable=False),
    pa.field("detection", pa.int32(), nullable=False),
]
_BOX = [(name, pa.float64()) for name in ("x1", "y1", "x2", "y2")]

IMAGES_SCHEMA = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        ("file_name", pa.string()),
        ("digest", pa.string()),
        ("format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("segmenter_id", pa.string()),
        ("elapsed_ms", pa.float64()),
        ("pass_stats", pa.list_(_PASS_TYPE)),
        ("warnings", pa.list_(pa.string())),
        ("usage", _USAGE_TYPE),
        ("prompt", pa.string()),
    ]
)
"""One row an image; digest is the sha256 of the photo, usage what a paid service took for it, and
prompt what was asked, JSON."""

DETECTIONS_SCHEMA = pa.schema(
    [
        *_KEY,
        *_BOX,
        ("score", pa.float64()),
        ("label", pa.string()),
        ("pass_index", pa.int16()),
        ("annotation", pa.string()),
        ("reason", pa.string()),
        ("mask", MASK_TYPE),
    ]
)
"""One row a raw detection; ``detection`` is its index in its image.

For a drawn box, ``annotation`` is the id of its prompt, and ``reason`` why nothing came of it.
"""

DEDUP_SCHEMA = pa.schema(
    [
        *_KEY,
        ("kept", pa.bool_()),
        ("survivor", pa.int32()),
        ("criterion", pa.string()),
        ("value", pa.float64()),
    ]
)
"""One row a raw detection; for a rejected one the survivor that beat it, by what and how much.

One that was kept and names a survivor was drawn by somebody: it shows the same item.
"""

REFINEMENT_SCHEMA = pa.schema(
    [
        *_KEY,
        *_BOX,
        *((f"coarse_{name}", kind) for name, kind in _BOX),
        ("svg_path", pa.string()),
        ("coarse_mask", MASK_TYPE),
        ("refined_mask", MASK_TYPE),
        ("accepted", pa.bool_()),
        ("reason", pa.string()),
        ("iterations", pa.int32()),
        ("predicted_iou", pa.float64()),
    ]
)
"""One row a survivor; the box is that of the mask to use, and svg_path its outline in that box."""

CROPS_SCHEMA = pa.schema(
    [
        *_KEY,
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

DEAL_FIELD = pa.field("deal", pa.dictionary(pa.int32(), pa.string()), nullable=False)
"""What a file has before the columns of its schema; files of earlier releases do not."""
