"""What an answer is kept under: everything that decides it, as one digest."""

import hashlib
import json
from typing import Any

import numpy as np

from segpipe.prompt import Prompt
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage

FORMAT_VERSION = 1
"""Counts up when keys or entries change, so that older entries are no longer found."""


def pixels_digest(image: RgbImage) -> str:
    """The sha256 of the shape and the pixels of an image, 64 hex digits.

    The GIL is released while it runs. The way the pixels lie in memory does not matter.
    """
    digest = hashlib.sha256(f"{image.shape} {image.dtype.str}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def canonical_prompt(prompt: Prompt) -> dict[str, Any]:
    """A prompt as JSON values that are equal for prompts that mean the same.

    Boxes keep their order, since the answers come in it. Points are taken together, and so are
    exemplars: their order means nothing, so they are sorted; one given twice stays twice, as it
    may weigh more. A blank text is none; any other is kept letter by letter, since a model may
    read "Box" and " box" as it likes.
    """
    return {
        "mode": prompt.mode.value,
        "text": prompt.text if prompt.text and prompt.text.strip() else None,
        "boxes": [_numbers(box) for box in prompt.boxes],
        "points": sorted([*_numbers((one.x, one.y)), bool(one.positive)] for one in prompt.points),
        "exemplars": sorted([*_numbers(one.box), bool(one.positive)] for one in prompt.exemplars),
    }


def answer_key(
    *, pixels: str, prompt: Prompt, segmenter_id: str, identity: str, revision: str | None
) -> str:
    """The key of an answer, 64 hex digits.

    Args:
        pixels: The digest of the image, of :func:`pixels_digest`.
        prompt: What was asked.
        segmenter_id: Who was asked.
        identity: The digest of the settings that decide the answer.
        revision: What names the model's weights, where the segmenter knows.
    """
    parts = [FORMAT_VERSION, pixels, canonical_prompt(prompt), segmenter_id, identity, revision]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _numbers(values: Box | tuple[float, ...]) -> list[float]:
    # Adding 0.0 turns -0.0 and whole numbers into what they are equal to.
    return [float(value) + 0.0 for value in values]
