"""RoI align beside a slow one that samples point by point."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from segpipe.segmenters.sam3.local.roi_align import roi_align


def sample(plane: Tensor, y: float, x: float) -> float:
    """One bilinear sample, as Detectron2 and torchvision define it."""
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = max(y, 0.0), max(x, 0.0)
    top, left = min(int(y), height - 1), min(int(x), width - 1)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down = 0.0 if top == height - 1 else y - top
    across = 0.0 if left == width - 1 else x - left
    return float(
        plane[top, left] * (1 - down) * (1 - across)
        + plane[top, right] * (1 - down) * across
        + plane[bottom, left] * down * (1 - across)
        + plane[bottom, right] * down * across
    )


def slow_roi_align(
    features: Tensor,
    boxes: list[Tensor],
    bins: int,
    *,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    offset = 0.5 if aligned else 0.0
    pooled = []
    for image, of_image in zip(features, boxes, strict=True):
        for box in of_image.tolist():
            x1, y1, x2, y2 = (value * spatial_scale - offset for value in box)
            width, height = x2 - x1, y2 - y1
            if not aligned:
                width, height = max(width, 1.0), max(height, 1.0)
            across = sampling_ratio if sampling_ratio > 0 else math.ceil(width / bins)
            down = sampling_ratio if sampling_ratio > 0 else math.ceil(height / bins)
            out = torch.zeros(len(image), bins, bins)
            for channel, plane in enumerate(image):
                for row in range(bins):
                    for column in range(bins):
                        total = sum(
                            sample(
                                plane,
                                y1 + (row + (j + 0.5) / down) * height / bins,
                                x1 + (column + (i + 0.5) / across) * width / bins,
                            )
                            for j in range(down)
                            for i in range(across)
                        )
                        out[channel, row, column] = total / max(down * across, 1)
            pooled.append(out)
    return torch.stack(pooled)


def random_features(images: int = 1, channels: int = 2) -> Tensor:
    return torch.randn(images, channels, 9, 12, generator=torch.Generator().manual_seed(0))


# Sixteenths are exact, so that both count the same number of samples.
places = st.integers(-40, 260).map(lambda sixteenths: sixteenths / 16)
boxes_strategy = st.tuples(places, places, places, places).map(
    lambda box: [min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])]
)


@settings(max_examples=40, deadline=None)
@given(
    box=boxes_strategy,
    bins=st.sampled_from([1, 2, 4]),
    sampling_ratio=st.sampled_from([-1, 0, 1, 3]),
    aligned=st.booleans(),
    spatial_scale=st.sampled_from([1.0, 0.5]),
)
def test_it_is_the_mean_of_bilinear_samples(
    box: list[float], bins: int, sampling_ratio: int, aligned: bool, spatial_scale: float
) -> None:
    features, boxes = random_features(), [torch.tensor([box])]
    fast = roi_align(features, boxes, bins, spatial_scale, sampling_ratio, aligned)
    slow = slow_roi_align(
        features,
        boxes,
        bins,
        spatial_scale=spatial_scale,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    )
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-4)


def test_each_box_is_pooled_from_its_own_image() -> None:
    features = random_features(images=2)
    boxes = [torch.tensor([[0.0, 0, 6, 6], [2, 1, 9, 8]]), torch.tensor([[0.0, 0, 6, 6]])]
    pooled = roi_align(features, boxes, 3)
    assert pooled.shape == (3, 2, 3, 3)
    torch.testing.assert_close(pooled, slow_roi_align(features, boxes, 3))
    assert not torch.allclose(pooled[0], pooled[2])


def test_bins_may_differ_down_and_across() -> None:
    pooled = roi_align(random_features(), [torch.tensor([[0.0, 0, 6, 6]])], (2, 5))
    assert pooled.shape == (1, 2, 2, 5)


def test_no_box_gives_no_row() -> None:
    assert roi_align(random_features(), [torch.zeros(0, 4)], 7).shape == (0, 2, 7, 7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_full_and_given_back_in_half(dtype: torch.dtype) -> None:
    features, boxes = random_features(), [torch.tensor([[1.0, 1, 8, 7]])]
    pooled = roi_align(features.to(dtype), boxes, 3)
    assert pooled.dtype == dtype
    torch.testing.assert_close(
        pooled, roi_align(features.to(dtype).float(), boxes, 3).to(dtype), atol=0, rtol=0
    )
