"""Settings and the key of Segmind's API."""

import pickle
import traceback
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from segpipe.errors import ConfigError
from segpipe.segmenters.sam3.segmind import SegmindConfig, SegmindSegmenter
from segpipe.segmenters.sam3.segmind.segmind_settings import read_api_key
from segpipe_tests.segmenters.sam3.segmind.conftest import KEY


def test_defaults_are_those_of_the_endpoint() -> None:
    config = SegmindConfig()
    assert config.endpoint == "https://api.segmind.com"
    assert (config.threshold, config.points_per_side) == (0.5, 32)
    assert (config.pred_iou_thresh, config.max_masks) == (0.88, 100)


@pytest.mark.parametrize(
    "pasted", [KEY, "SG_0123456789abcdef", "sk-live-1", "", "A B", "1A", "A" * 65]
)
def test_a_pasted_key_is_refused_and_not_repeated(pasted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TypeAdapter(SegmindConfig | None).validate_python({"api_key_env": pasted})
    error = caught.value
    assert error.field == "api_key_env"
    if len(pasted) > 5:
        told = [str(error), repr(error), *traceback.format_exception(error)]
        assert not any(pasted in text for text in told)


def test_an_endpoint_with_a_password_is_refused_and_not_repeated() -> None:
    endpoint = f"https://me:{KEY}@example.org"
    with pytest.raises(ConfigError) as caught:
        SegmindConfig(endpoint=endpoint)
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("endpoint", ["http://example.org", "http://10.1.2.3", "example.org"])
def test_a_key_is_sent_over_https_or_to_this_machine_only(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="https"):
        SegmindConfig(endpoint=endpoint)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0},
        {"points_per_side": 129},
        {"pred_iou_thresh": 0.4},
        {"max_masks": 101},
        {"max_side": 10},
        {"jpeg_quality": 0},
        {"max_cost": float("nan")},
        {"max_cost": float("inf")},
        {"max_paid_calls": -1},
        {"api": "v3"},
        {"api_key": KEY},
    ],
    ids=str,
)
def test_a_setting_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SegmindConfig(**wrong)


def test_a_missing_key_is_an_error_when_the_segmenter_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SEGMIND_API_KEY")
    with pytest.raises(ConfigError, match="SEGMIND_API_KEY is not set"):
        SegmindSegmenter(SegmindConfig())


@pytest.mark.parametrize("held", ["", "  ", "canary key", "canary\nkey", "canary-k\u00e9y"])
def test_what_cannot_be_a_key_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    monkeypatch.setenv("OTHER_KEY", held)
    monkeypatch.setenv("SEGPIPE_SECRET_NAMES", "OTHER_KEY")
    with pytest.raises(ConfigError, match="OTHER_KEY") as caught:
        read_api_key(SegmindConfig(api_key_env="OTHER_KEY"))
    assert "canary" not in str(caught.value)


def test_a_key_may_have_a_newline_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", f" {KEY}\n")
    monkeypatch.setenv("SEGPIPE_SECRET_NAMES", "OTHER_KEY")
    assert read_api_key(SegmindConfig(api_key_env="OTHER_KEY")) == KEY


def test_what_never_changes_an_answer_is_no_part_of_the_identity() -> None:
    assert set(SegmindConfig().identity()) == {
        "kind",
        "threshold",
        "points_per_side",
        "pred_iou_thresh",
        "max_masks",
        "max_side",
        "jpeg_quality",
    }


def test_settings_hold_no_key_however_they_are_written() -> None:
    config = SegmindConfig()
    segmenter = SegmindSegmenter(config)
    for written in (repr(config), config.model_dump_json(), str(pickle.dumps(config))):
        assert KEY not in written
    assert KEY not in repr(segmenter)
    assert KEY not in str(segmenter)


def test_the_key_goes_to_segmind_and_this_machine_alone() -> None:
    with pytest.raises(
        ConfigError, match=r"may not be sent to https://evil\.example\.org"
    ) as caught:
        SegmindSegmenter(SegmindConfig(endpoint="https://evil.example.org"))
    assert caught.value.field == "endpoint"
    assert KEY not in str(caught.value)
