"""Review: which items go on, by what people decided; and the masks that they drew."""

from typing import ClassVar

import pyarrow as pa
from typing_extensions import override

from segpipe.flow.apply_review import ReviewState
from segpipe.flow.checks import Check, CheckSettings, Finding
from segpipe.flow.photo import PhotoInfo
from segpipe.flow.stages.dedup import DEDUP
from segpipe.flow.stages.refinement import REFINEMENT, RefinedImage
from segpipe.flow.stages.reviewed_items import (
    OPEN,
    ReviewedImage,
    ReviewedItem,
    ReviewSettings,
    review_image,
)
from segpipe.flow.stages.segmentation import SEGMENTATION, SegmentedImage
from segpipe.flow.stages.stage import (
    BOX_TEXTS,
    ITEM_TEXTS,
    PhotoResults,
    PhotoWork,
    Stage,
    each_photo,
)
from segpipe.store.snapshot import Snapshot
from segpipe.store.tables import (
    BOX_COLUMNS,
    ITEM_COLUMNS,
    MASK_TYPE,
    masks_from_arrow,
    masks_to_arrow,
)
from segpipe.threads import finish_in_thread
from segpipe.vision.boxes import Box
from segpipe.vision.mask_codecs import mask_digest

REVIEW_FILE = "review.parquet"
REVIEW_SCHEMA = pa.schema(
    [
        *ITEM_COLUMNS,
        *BOX_COLUMNS,
        ("svg_path", pa.string()),
        ("label", pa.string()),
        ("score", pa.float64()),
        ("pass_index", pa.int16()),
        ("state", pa.string()),
        ("kept", pa.bool_()),
        ("mask_digest", pa.string()),
        ("decision", pa.string()),
        ("drawn_mask", MASK_TYPE),
    ]
)
"""One row a survivor, and one for each item that a person drew where none was."""


def _review_table(image: str, reviewed: ReviewedImage) -> pa.Table:
    items = reviewed.items
    columns = {
        "image": [image] * len(items),
        "detection": [item.detection for item in items],
        **{side: [getattr(item.box, side) for item in items] for side in ("x1", "y1", "x2", "y2")},
        "svg_path": [item.svg_path for item in items],
        "label": [item.label for item in items],
        "score": [item.score for item in items],
        "pass_index": [item.pass_index for item in items],
        "state": [item.state.value for item in items],
        "kept": [item.is_kept for item in items],
        "mask_digest": [
            mask_digest(item.shown_mask(reviewed.width, reviewed.height))
            if item.missing is None
            else None
            for item in items
        ],
        "decision": [item.decision for item in items],
        "drawn_mask": masks_to_arrow([item.mask if item.is_drawn else None for item in items]),
    }
    return pa.table(columns, schema=REVIEW_SCHEMA)


def _from_table(segmented: SegmentedImage, refined: RefinedImage, table: pa.Table) -> ReviewedImage:
    size = segmented.result.image_width, segmented.result.image_height
    survivors = {item.detection: item for item in refined.items}
    drawn = masks_from_arrow(table["drawn_mask"], *size)
    items = []
    for row, mask in zip(table.drop_columns(["drawn_mask"]).to_pylist(), drawn, strict=True):
        survivor = survivors.get(row["detection"])
        items.append(
            ReviewedItem(
                detection=row["detection"],
                box=Box(row["x1"], row["y1"], row["x2"], row["y2"]),
                svg_path=row["svg_path"],
                mask=mask or (survivor.mask if survivor else None),
                label=row["label"],
                score=row["score"],
                pass_index=row["pass_index"],
                state=ReviewState(row["state"]),
                is_kept=row["kept"],
                decision=row["decision"],
                is_drawn=mask is not None,
                missing=None if mask else segmented.missing.get(row["detection"]),
            )
        )
    return ReviewedImage(*size, tuple(items))


def review_counts(snapshot: Snapshot) -> dict[str, int]:
    """How many items of a deal are in each state, and how many go on; states without any too."""
    counts = dict.fromkeys((*(state.value for state in ReviewState), "kept"), 0)
    for table in each_photo(snapshot, REVIEW, REVIEW_FILE):
        for row in table.select(["state", "kept", "mask_digest"]).to_pylist():
            if row["mask_digest"] is not None:
                counts[row["state"]] += 1
                counts["kept"] += row["kept"]
    return counts


def _items_are_reviewed(snapshot: Snapshot, _: CheckSettings) -> Finding:
    counts = review_counts(snapshot)
    items = sum(counts.values()) - counts["kept"] - counts[ReviewState.SUPERSEDED]
    unreviewed = sum(counts[state] for state in OPEN)
    numbers = {"items": items, "unreviewed": unreviewed, **counts}
    if unreviewed == items:
        return Finding(True, f"nobody has begun to review the {items} items", numbers)
    if unreviewed:
        return Finding(False, f"{unreviewed} of {items} items are not reviewed", numbers)
    return Finding(True, f"all {items} items are reviewed", numbers)


class Review(Stage[ReviewedImage, ReviewSettings]):
    """Applies what people decided."""

    name = "review"
    description = (
        "How each item stands by what people decided about it (accepted, rejected, edited, added, "
        "unreviewed), whether it goes on, and the masks that people drew."
    )
    code_version = "1"
    upstream = (SEGMENTATION, DEDUP, REFINEMENT)
    settings = ReviewSettings
    settings_name = "review"
    reads_reviews = True
    is_later = True
    tables: ClassVar = {REVIEW_FILE: REVIEW_SCHEMA}
    columns: ClassVar = {
        **ITEM_TEXTS,
        **BOX_TEXTS,
        "svg_path": "The outline as SVG path data, relative to the box: 0 to 1.",
        "label": "What it is called.",
        "score": "The segmenter's confidence, 0 to 1; 1 for what a person drew.",
        "pass_index": "The pass of a recursive segmenter that found it, from 0.",
        "state": "accepted, rejected, edited, added, superseded, changed (it was accepted with "
        "another mask) or unreviewed.",
        "kept": "Whether it goes on.",
        "mask_digest": "The digest of its pixels, to which decisions are bound; null where nothing "
        "was found in a drawn box.",
        "decision": "What the decision is about: a digest, or the id of what was added.",
        "drawn_mask": "The mask that a person drew; null where that of the refinement holds.",
    }
    checks = (
        Check(
            name="items_are_reviewed",
            description="Once people have begun to review a deal, no item is left unreviewed.",
            is_warning=True,
            find=_items_are_reviewed,
        ),
    )

    @override
    async def make(self, work: PhotoWork, settings: ReviewSettings) -> ReviewedImage:
        segmented, refined = work.results.of(SEGMENTATION), work.results.of(REFINEMENT)
        return await finish_in_thread(review_image, segmented, refined, work.review, settings)

    @override
    def rows(self, photo: PhotoInfo, result: ReviewedImage) -> dict[str, pa.Table]:
        return {REVIEW_FILE: _review_table(photo.image, result)}

    @override
    def read(self, photo: PhotoResults) -> ReviewedImage:
        segmented, refined = photo.of(SEGMENTATION), photo.of(REFINEMENT)
        rows = photo.rows(self, REVIEW_FILE)
        if rows.num_rows == 0:  # nothing is there, or an earlier release promoted it
            return review_image(segmented, refined, None, ReviewSettings())
        return _from_table(segmented, refined, rows)

    @override
    def warnings(self, result: ReviewedImage) -> tuple[str, ...]:
        changed = sum(item.state is ReviewState.CHANGED for item in result.items)
        if not changed:
            return ()
        what = "1 item was" if changed == 1 else f"{changed} items were"
        return (f"{what} accepted with another mask than is there now: look again",)


REVIEW = Review()
