"""What ``find_all`` discovered, kept among a photo's prompts as annotations of the model's."""

import re
from collections.abc import Iterator, Sequence
from functools import partial

from segpipe.flow.refinement import REFINEMENT_FILE
from segpipe.flow.stages import Stage
from segpipe.flow.table_files import open_table
from segpipe.segmenters.prompt import Mode
from segpipe.store.prompts import Annotation, ImagePrompts, PromptType, Source
from segpipe.store.store import DealStore, Snapshot
from segpipe.vision.boxes import Box, BoxArray, box_ious, to_array

_SAME_ITEM_IOU = 0.5
_RUN_CHARACTERS = 8
_NO_ID = re.compile(r"[^A-Za-z0-9._-]")


def record_found(store: DealStore, snapshot: Snapshot) -> None:
    """Put the survivors of a generation among the prompts, in place of what the model found before.

    Annotations of a user stay, and so does a discovered box that a user has edited: it is theirs,
    and the same item is not added a second time. Doing it again changes nothing.

    Raises:
        PromptError: A file of prompts cannot be read any more.
        StoreError: One cannot be written.
    """
    run_id = snapshot.version(Stage.REFINEMENT).name.rpartition(".")[0]
    prefix = _NO_ID.sub("_", run_id[:_RUN_CHARACTERS])
    with open_table(snapshot, Stage.REFINEMENT, REFINEMENT_FILE) as reader:
        for image in reader.images():
            rows = reader.read(image).select(["detection", "x1", "y1", "x2", "y2"]).to_pylist()
            found = [
                Annotation(
                    id=f"{prefix}-{row['detection']}",
                    mode=Mode.FIND_ALL,
                    prompt_type=PromptType.SEGMENT,
                    box=(row["x1"], row["y1"], row["x2"], row["y2"]),
                    source=Source.MODEL,
                    created_by=run_id,
                    created_at=snapshot.commit.created_at,
                )
                for row in rows
            ]
            store.prompts.edit_image(snapshot.deal, image, partial(_with_found, found=found))


def _with_found(prompts: ImagePrompts, found: Sequence[Annotation]) -> ImagePrompts:
    kept = [one for one in prompts.annotations if not _is_found(one)]
    new = _unclaimed(found, kept)
    return prompts.model_copy(update={"annotations": (*kept, *new)})


def _is_found(annotation: Annotation) -> bool:
    return annotation.source is Source.MODEL and annotation.mode is Mode.FIND_ALL


def _unclaimed(found: Sequence[Annotation], kept: Sequence[Annotation]) -> Iterator[Annotation]:
    """The finds that nobody has made their own."""
    taken = {one.id for one in kept}
    edited = [
        one for one in kept if one.mode is Mode.FIND_ALL and one.prompt_type is PromptType.SEGMENT
    ]
    overlaps = box_ious(_boxes(found), _boxes(edited)).max(axis=1, initial=0)
    for one, overlap in zip(found, overlaps, strict=True):
        if one.id not in taken and overlap < _SAME_ITEM_IOU:
            yield one


def _boxes(annotations: Sequence[Annotation]) -> BoxArray:
    return to_array([Box(*one.box) for one in annotations if one.box])
