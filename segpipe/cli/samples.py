"""Two deals of real photos to try segpipe on, from scikit-image's installed sample data."""

import importlib.util
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from segpipe.errors import ConfigError
from segpipe.prompt import Mode
from segpipe.store.prompts import Annotation, ImagePrompts, PromptType
from segpipe.store.store import DealStore

SAMPLE_DEALS: dict[str, tuple[str, ...]] = {
    "sample-coins": ("coins.png",),
    "sample-things": ("chelsea.png", "coffee.png", "rocket.jpg"),
}
"""The photos of each sample deal."""
SAMPLE_BOXES: dict[str, dict[str, tuple[tuple[float, float, float, float], ...]]] = {
    "sample-coins": {"coins": ((18, 28, 68, 76), (300, 12, 368, 78), (312, 148, 384, 224))},
    "sample-things": {
        "chelsea": ((130, 78, 215, 150),),
        "coffee": ((72, 15, 482, 388),),
        "rocket": ((298, 118, 346, 410),),
    },
}
"""What is drawn on them for the mode ``inside_box``, by image id."""


def add_samples(store: DealStore) -> list[str]:
    """Add the sample deals, and give their ids; those that are there already stay as they are.

    Some items are boxed, for the mode ``inside_box``.

    Raises:
        ConfigError: scikit-image is not installed.
    """
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        raise ConfigError("the samples come with scikit-image: pip install 'segpipe[samples]'")
    folder = Path(found.origin).parent / "data"
    for deal, names in SAMPLE_DEALS.items():
        store.add_photos(deal, [folder / name for name in names])
        for image, boxes in SAMPLE_BOXES[deal].items():
            store.prompts.edit_image(deal, image, partial(_with_boxes, boxes=boxes))
        store.arrivals.put(deal)
    return list(SAMPLE_DEALS)


def _with_boxes(
    prompts: ImagePrompts, boxes: Sequence[tuple[float, float, float, float]]
) -> ImagePrompts:
    """The boxes, where nobody has drawn any yet."""
    if prompts.counted(Mode.INSIDE_BOX):
        return prompts
    drawn = [
        Annotation(
            id=f"sample-{number}",
            mode=Mode.INSIDE_BOX,
            prompt_type=PromptType.SEGMENT,
            box=box,
            created_by="segpipe samples",
        )
        for number, box in enumerate(boxes, start=1)
    ]
    return prompts.model_copy(update={"annotations": (*prompts.annotations, *drawn)})
