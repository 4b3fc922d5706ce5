"""Three deals to try segpipe on: two photos that scikit-image carries, and painted goods."""

import importlib.util
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

from segpipe.errors import ConfigError
from segpipe.prompt import Mode
from segpipe.scenes import make_scene
from segpipe.store.prompts import Annotation, ImagePrompts, PromptType
from segpipe.store.store import DealStore
from segpipe.vision.encode import encode_jpeg

Boxes = Sequence[tuple[float, float, float, float]]

SAMPLE_PHOTOS: dict[str, str] = {"sample-coins": "coins.png", "sample-cup": "coffee.png"}
"""The photo of each sample deal that comes from scikit-image's installed data."""
PAINTED_DEAL = "sample-goods"
PAINTED_PHOTOS: dict[str, int] = {"goods_a.jpg": 1, "goods_b.jpg": 2}
"""The photos of 12 MP that are painted, and the seed of each."""
SAMPLE_BOXES: dict[str, dict[str, Boxes]] = {
    "sample-coins": {"coins": ((18, 28, 68, 76), (300, 12, 368, 78), (312, 148, 384, 224))},
    "sample-cup": {"coffee": ((72, 15, 482, 388),)},
    PAINTED_DEAL: {
        "goods_a": ((1340, 440, 2210, 1030), (3260, 540, 3670, 860)),
        "goods_b": ((1650, 160, 2540, 840), (2045, 2504, 2538, 2990), (550, 2150, 1200, 2930)),
    },
}
"""What is drawn on them for the mode ``inside_box``, by image id."""

_WIDTH, _HEIGHT, _ITEMS = 4000, 3000, 14
_JPEG_QUALITY = 92


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
    for deal, name in SAMPLE_PHOTOS.items():
        store.add_photos(deal, [folder / name])
    _add_painted(store)
    for deal, photos in SAMPLE_BOXES.items():
        for image, boxes in photos.items():
            store.prompts.edit_image(deal, image, partial(_with_boxes, boxes=boxes))
        store.arrivals.put(deal)
    return list(SAMPLE_BOXES)


def _add_painted(store: DealStore) -> None:
    """Paint the photos that are not there: that takes seconds."""
    is_there = PAINTED_DEAL in store.deals()
    there = {photo.name for photo in store.photos(PAINTED_DEAL)} if is_there else set()
    missing = [name for name in PAINTED_PHOTOS if name not in there]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(missing)) as pool:
        files = [Path(folder) / name for name in missing]
        seeds = [PAINTED_PHOTOS[name] for name in missing]
        for file, data in zip(files, pool.map(_painted, seeds), strict=True):
            file.write_bytes(data)
        store.add_photos(PAINTED_DEAL, files)


@cache
def _painted(seed: int) -> bytes:
    """A photo of goods that lie apart, JPEG."""
    scene = make_scene(seed, width=_WIDTH, height=_HEIGHT, items=_ITEMS, touching=False)
    return encode_jpeg(scene.image, quality=_JPEG_QUALITY)


def _with_boxes(prompts: ImagePrompts, boxes: Boxes) -> ImagePrompts:
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
