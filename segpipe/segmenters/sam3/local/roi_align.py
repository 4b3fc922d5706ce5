"""RoI align in plain torch, for where torchvision is not installed."""

import torch
from torch import Tensor


def roi_align(
    features: Tensor,
    boxes: list[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Pool the features under each box into a grid of bins, by bilinear sampling.

    K. He and others: "Mask R-CNN", 2017, https://arxiv.org/abs/1703.06870; the arguments, and the
    behaviour at edges, are those of ``torchvision.ops.roi_align``.

    A sample's bilinear weights are a product of one along x and one along y, and so is their mean
    over a bin: pooling is one matrix product a side. Nothing is gathered sample by sample.

    Args:
        features: Shape (n, c, h, w), floating point.
        boxes: For each of the n, its boxes ``xyxy``, (k, 4), in pixels of the input image.
        output_size: Bins (down, across), or one number for both.
        spatial_scale: What turns coordinates of boxes into those of the features.
        sampling_ratio: Samples a side of a bin; 0 or less takes as many as the bin is long,
            rounded up.
        aligned: Whether a pixel's centre is at .5, so that coordinates shift by half a pixel.

    Returns:
        Shape (sum of k, c, down, across), of the dtype of the features.
    """
    down, across = (output_size, output_size) if isinstance(output_size, int) else output_size
    height, width = features.shape[-2:]
    offset = 0.5 if aligned else 0.0
    pooled = []
    for image, of_image in zip(features.float(), boxes, strict=True):
        for x1, y1, x2, y2 in (of_image.float() * spatial_scale - offset).tolist():
            rows = _bin_weights(y1, y2, down, height, sampling_ratio, aligned=aligned)
            columns = _bin_weights(x1, x2, across, width, sampling_ratio, aligned=aligned)
            pooled.append(rows.to(image) @ image @ columns.to(image).T)
    if not pooled:
        return features.new_zeros((0, features.shape[1], down, across))
    return torch.stack(pooled).to(features.dtype)


def _bin_weights(
    start: float, stop: float, bins: int, length: int, sampling_ratio: int, *, aligned: bool
) -> Tensor:
    """How much each place of a row of features counts in each bin, (bins, length) float32."""
    # In float32, as torchvision computes them: the number of samples hangs on the rounding.
    extent = torch.tensor(stop) - torch.tensor(start)
    if not aligned:
        extent = extent.clamp(min=1.0)
    bin_length = extent / bins
    samples = sampling_ratio if sampling_ratio > 0 else int(bin_length.ceil())
    if samples <= 0:
        return torch.zeros(bins, length)
    within = (torch.arange(samples) + 0.5) * bin_length / samples
    places = start + torch.arange(bins)[:, None] * bin_length + within
    # Up to one pixel outside the edge counts as the edge; what is further out counts nothing.
    inside = (places >= -1) & (places <= length)
    places = places.clamp(0, length - 1)
    # The hat function around each pixel is the bilinear weight.
    hats = (1 - (places[..., None] - torch.arange(length)).abs()).clamp(min=0)
    return (hats * inside[..., None]).mean(dim=1)
