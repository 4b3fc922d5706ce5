"""Pictures as the model gets them, beside Pillow's own resize."""

import numpy as np
import pytest
import torch
from PIL import Image

from segpipe.models.sam3 import normalise, resize
from segpipe_tests.segmenters.sam3.local.tiny import picture


@pytest.mark.parametrize(
    ("width", "height"), [(160, 120), (40, 300), (112, 112), (1, 1), (3000, 20), (113, 111)]
)
def test_resize_is_pillows_antialiased_bilinear(width: int, height: int) -> None:
    image = picture(width=width, height=height)
    expected = np.asarray(Image.fromarray(image).resize((112, 112), Image.Resampling.BILINEAR))
    resized = resize(image, 112).permute(1, 2, 0).numpy()
    assert resized.dtype == np.uint8
    # Both round twice, at their own places.
    assert np.abs(resized.astype(int) - expected).max() <= 1


def test_the_picture_is_not_changed_even_when_it_may_not_be_written_to() -> None:
    image = picture()
    image.setflags(write=False)
    before = image.copy()
    resize(image, 112)
    np.testing.assert_array_equal(image, before)


def test_a_view_into_a_larger_picture_is_read_right() -> None:
    image = picture()[10:90:2, ::-1]
    torch.testing.assert_close(resize(image, 56), resize(image.copy(), 56))


def test_black_is_minus_one_and_white_is_one() -> None:
    ends = normalise(torch.tensor([0, 255], dtype=torch.uint8))
    assert ends.tolist() == [-1.0, 1.0]
    assert ends.dtype == torch.float32
