"""What an answer is kept under: everything that decides it, as one digest."""

import hashlib
import json

import numpy as np

from segpipe.prompt import Prompt
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
    parts = [FORMAT_VERSION, pixels, prompt.to_json(), segmenter_id, identity, revision]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
