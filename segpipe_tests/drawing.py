"""What somebody draws on the photos of goods."""

from segpipe.prompt import Mode
from segpipe.store.prompts import Annotation, ImagePrompts, PromptType
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box

FIRST, SECOND = Box(2.0, 18.0, 18.0, 38.0), Box(22.0, 18.0, 38.0, 38.0)
"""Around the first and the second of a photo's goods."""
EMPTY = Box(100.0, 80.0, 130.0, 110.0)
"""Around nothing."""


def boxed(
    annotation: str,
    box: Box,
    *,
    mode: Mode = Mode.INSIDE_BOX,
    prompt_type: PromptType = PromptType.SEGMENT,
) -> Annotation:
    """A box of a user."""
    return Annotation(id=annotation, mode=mode, prompt_type=prompt_type, box=tuple(box))


def draw(store: DealStore, image: str, *annotations: Annotation, deal: str = "lot") -> None:
    """Add annotations to a photo."""

    def add(prompts: ImagePrompts) -> ImagePrompts:
        return prompts.model_copy(update={"annotations": (*prompts.annotations, *annotations)})

    store.prompts.edit_image(deal, image, add)
