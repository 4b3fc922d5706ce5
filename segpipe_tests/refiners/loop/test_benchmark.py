"""The benchmark of the models, which needs a GPU at full size, runs at tiny size anywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.hq_sam import full_size, tracker, vit_l
from segpipe.refiners.loop.sam_decoder import SamDecoder
from segpipe_tests.refiners.loop.models import KINDS, config_of
from segpipe_tests.refiners.loop.pictures import disc, picture, two_masks


@pytest.mark.parametrize("name", list(KINDS))
def test_it_counts_one_pass_an_image_or_one_a_crop(
    name: str, request: pytest.FixtureRequest
) -> None:
    kind = KINDS[name]
    checkpoint: Path = request.getfixturevalue(kind.fixture)
    masks = [*two_masks(), disc(100, 40, 12)]
    table = full_size(name, kind.load(config_of(kind, checkpoint)), picture(), masks)
    _, _, passes, required = (list(column.cells) for column in table.columns)
    assert passes == required == ["1", "1", "3", "3"]


@pytest.mark.parametrize(("make", "side", "low_side"), [(vit_l, 1024, 256), (tracker, 1008, 288)])
@pytest.mark.parametrize("is_shared", [True, False])
@torch.inference_mode()
def test_models_of_full_size_fit_together(
    make: Callable[[torch.device], SamDecoder[Any]], side: int, low_side: int, is_shared: bool
) -> None:
    nowhere = torch.device("meta")  # where tensors have shapes alone
    model = make(nowhere)
    assert (model.square.side, model.square.low_side) == (side, low_side)
    objects, dtype = 4, torch.bfloat16
    views = list(model._look(torch.empty(objects, 3, side, side, dtype=dtype, device=nowhere)))
    sparse, dense = model._model.prompt_encoder(
        input_points=torch.empty(objects, 1, 2, 2, device=nowhere),
        input_labels=torch.ones(objects, 1, 2, dtype=torch.int64, device=nowhere),
        input_boxes=torch.empty(objects, 1, 4, device=nowhere),
        input_masks=torch.empty(objects, 1, low_side, low_side, dtype=dtype, device=nowhere),
    )
    masks, ious = model._answer(views[:1] if is_shared else views, sparse.to(dtype), dense)
    assert masks.shape == (objects, 1, 3, low_side, low_side)
    assert ious.shape == (objects, 1, 3)
