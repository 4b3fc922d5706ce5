"""The keys and the entries of kept answers.

These tests import from where the cache lives; move the imports with it, and nothing else.
"""

from pathlib import Path

import numpy as np

from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.segmenters.cache.kept_answers import answer_key, decode_answer, pixels_digest
from segpipe.vision.boxes import Box
from segpipe_tests.compatibility.doors import check_pin
from segpipe_tests.compatibility.files import digest

PROMPTS = {
    "everything": Prompt(),
    "text": Prompt(texts=("Ring aus Gold, é",)),
    "blank text": Prompt(texts=(" ",)),
    "examples": Prompt(
        exemplars=(Exemplar(Box(1, 2, 3, 4)), Exemplar(Box(0.5, 2, 3, 4), positive=False))
    ),
    "points": Prompt(points=(Point(3, 4), Point(1.25, 2, positive=False))),
    "boxes": Prompt(mode=Mode.INSIDE_BOX, boxes=(Box(3, 2, 9, 8), Box(0, 0, 2, 2))),
}


def test_keys_are_what_they_were() -> None:
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    pixels = pixels_digest(image)
    keys = {
        f"{name}, {revision}": answer_key(
            pixels=pixels,
            prompt=prompt,
            segmenter_id="sam3-segmind",
            identity="0" * 64,
            revision=revision,
        )
        for name, prompt in PROMPTS.items()
        for revision in (None, "weights@1")
    }
    check_pin("cache-keys", {"pixels": pixels, **keys})


def test_entries_are_read(untouched: Path) -> None:
    answers = {}
    for path in sorted((untouched / "cache/segmentations").glob("*/*.entry")):
        key = path.parent.name + path.stem
        answer = decode_answer(key, path.read_bytes())
        answers[key] = {
            "segmenter": answer.segmenter_id,
            "size": [answer.image_width, answer.image_height],
            "usage": [answer.usage.calls, answer.usage.cached],
            "passes": [[one.found, one.new] for one in answer.pass_stats],
            "detections": [
                {
                    "box": list(one.box),
                    "score": one.score,
                    "label": one.label,
                    "mask": one.mask and digest(one.mask.to_full().tobytes()),
                }
                for one in answer.detections
            ],
        }
    check_pin("cache-entries", answers)
