"""Settings of the client of our inference service."""

import pytest
from pydantic import ValidationError

from segpipe.segmenters.sam3.service import InternalConfig


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        (" https://sam.example/v1 ", "https://sam.example/v1"),
        ("http://gpu-box:8000", "http://gpu-box:8000"),
    ],
)
def test_a_url_is_kept_without_its_last_slash(url: str, kept: str) -> None:
    assert InternalConfig(url=url).url == kept


@pytest.mark.parametrize(
    "url",
    ["", "gpu-box:8000", "ftp://gpu-box", "http://", "http://user:key@host", "http://host?key=1"],
)
def test_a_url_that_cannot_work_or_holds_a_key_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="url"):
        InternalConfig(url=url)


def test_only_what_changes_the_answer_is_its_identity() -> None:
    assert set(InternalConfig().identity()) == {
        "kind",
        "threshold",
        "mask_threshold",
        "max_masks",
        "upload",
        "jpeg_quality",
    }


def test_every_setting_is_explained() -> None:
    for name, field in InternalConfig.model_fields.items():
        assert name == "kind" or field.description, name
