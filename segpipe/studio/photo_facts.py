"""What pages need to know of a deal's photos: which there are, how large, and what was found."""

from dataclasses import dataclass

from cachetools import LRUCache

from segpipe.flow.import_labels import photo_size
from segpipe.flow.results import DealResults
from segpipe.flow.stages.refinement import REFINEMENT, REFINEMENT_FILE
from segpipe.flow.stages.segmentation import DETECTIONS_FILE, SEGMENTATION
from segpipe.flow.try_photo import find_photo
from segpipe.prompt import Mode
from segpipe.store.store import DealStore, Photo
from segpipe.studio.pictures import photo_tag
from segpipe.vision.boxes import Box

_KEPT_SIZES = 100_000


@dataclass(frozen=True, slots=True)
class FoundOutline:
    """An item that a run has found.

    Attributes:
        box: ``xyxy``, pixels of the upright photo.
        path: Its outline as SVG path data relative to the box, 0 to 1; "" where there is none.
        score: The segmenter's confidence, 0 to 1.
        label: What it is, when that is known.
    """

    box: Box
    path: str
    score: float
    label: str | None


class PhotoFacts:
    """Reads facts of photos; what costs a look into the photo is kept while it is unchanged.

    Args:
        store: The deals.
    """

    def __init__(self, store: DealStore) -> None:
        self._store = store
        self._sizes: LRUCache[tuple[str, str, str], tuple[int, int]] = LRUCache(_KEPT_SIZES)

    def photo(self, deal: str, image: str) -> Photo:
        """The photo of a deal with this id; raises DealNotFoundError when there is none."""
        return find_photo(self._store, deal, image)

    def size(self, deal: str, photo: Photo) -> tuple[int, int]:
        """Width and height of the upright photo, pixels; raises PhotoError when it is none."""
        key = deal, photo.image, photo_tag(photo)
        kept = self._sizes.get(key)
        if kept is None:
            kept = self._sizes[key] = photo_size(self._store, deal, photo)
        return kept

    def found(self, deal: str, mode: Mode, image: str) -> tuple[int, list[FoundOutline]]:
        """The generation that is current, 0 when none is, and what it found in a photo."""
        snapshot = self._store.current(deal, mode)
        if snapshot is None or not snapshot.has(REFINEMENT.name):
            return 0, []
        with DealResults(deal, snapshot, [SEGMENTATION, REFINEMENT]) as results:
            if image not in results.images():
                return results.generation, []
            raw = results.rows(SEGMENTATION, DETECTIONS_FILE, image)
            of_detection = {
                row["detection"]: row
                for row in raw.select(["detection", "score", "label"]).to_pylist()
            }
            columns = ["detection", "x1", "y1", "x2", "y2", "svg_path"]
            rows = results.rows(REFINEMENT, REFINEMENT_FILE, image).select(columns).to_pylist()
        return results.generation, [
            FoundOutline(
                box=Box(row["x1"], row["y1"], row["x2"], row["y2"]),
                path=row["svg_path"],
                score=of_detection[row["detection"]]["score"],
                label=of_detection[row["detection"]]["label"],
            )
            for row in rows
        ]
