"""The inpainter protocol."""

from dataclasses import dataclass
from typing import Protocol

from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be in a hole; an inpainter that cannot be told anything goes on without.

    Attributes:
        prompt: In words; None takes the inpainter's own setting.
        guidance: How closely the words are followed; None takes the inpainter's own setting.
    """

    prompt: str | None = None
    guidance: float | None = None


NO_WISH = Wish()


class Inpainter(Protocol):
    """Fills a hole of a picture.

    An implementation never changes what it is given. What it gives outside of the hole is not
    used: see :func:`~segpipe.inpainters.erase.erase`.
    """

    @property
    def id(self) -> str:
        """Its name, as recorded in results."""
        ...

    @property
    def context_ratio(self) -> float:
        """How much surroundings it wants to see, as a part of the longer side of a hole."""
        ...

    async def inpaint(self, image: RgbImage, hole: Bitmap, wish: Wish = NO_WISH) -> RgbImage:
        """The upright RGB image, (h, w, 3) uint8, with something in its hole, (h, w) 0 or 1.

        Raises:
            InpainterError: It failed.
        """
        ...
