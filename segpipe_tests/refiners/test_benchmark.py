"""The benchmark of the models, which needs a GPU at full size, runs at tiny size anywhere."""

from pathlib import Path

import pytest

from benchmarks.hq_sam import full_size
from segpipe_tests.refiners.iterative.models import KINDS, config_of
from segpipe_tests.refiners.iterative.pictures import disc, picture, two_masks


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
