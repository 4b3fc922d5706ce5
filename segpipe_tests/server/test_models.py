"""The models that the service can hold."""

import pytest

from segpipe.errors import ConfigError
from segpipe.segmenters.classical.classical_segmenter import ClassicalSegmenter
from segpipe.server.models import load


def test_classical_needs_nothing() -> None:
    model = load("classical")
    assert isinstance(model, ClassicalSegmenter)
    assert (model.id, model.device) == ("classical", "cpu")


@pytest.mark.parametrize(
    ("name", "checkpoint", "field"),
    [
        ("classical", "weights", "checkpoint"),
        ("sam3", None, "checkpoint"),
        ("sam3", "facebook/sam3", "checkpoint"),
        ("sam3", "facebook/sam3@", "checkpoint"),
        ("sam3", "no/such/folder", "checkpoint"),
        ("sam9", None, "model"),
    ],
)
def test_what_cannot_be_loaded_is_said(name: str, checkpoint: str | None, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(name, checkpoint)
    assert caught.value.field == field
