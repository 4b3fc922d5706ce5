import asyncio

import numpy as np

from segpipe.refiners.refiner import NoneConfig, NoneRefiner, Refiner
from segpipe.vision.mask import Mask


def test_coarse_masks_come_back_as_they_are_with_the_reason() -> None:
    masks = [
        Mask(2, 3, np.ones((4, 5), np.uint8), 20, 10),
        Mask.empty(image_width=20, image_height=10),
    ]
    refiner: Refiner = NoneRefiner()
    refined = asyncio.run(refiner.refine(np.zeros((10, 20, 3), np.uint8), masks))
    assert [one.mask for one in refined] == masks
    assert not any(one.accepted for one in refined)
    assert {one.reason for one in refined} == {"refiner is none"}


def test_kind_and_id_are_the_word_of_the_settings() -> None:
    assert NoneConfig().kind == NoneRefiner.id == "none"
