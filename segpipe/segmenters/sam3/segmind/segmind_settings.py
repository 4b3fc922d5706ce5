"""Settings of SAM 3 by Segmind's API."""

from enum import StrEnum
from typing import Literal

from pydantic import Field, field_validator

from segpipe.detection import Thresholds
from segpipe.errors import ConfigError
from segpipe.secret_names import (
    SecretName,
    read_secret,
    require_secret_name,
    require_secret_origin,
)
from segpipe.segmenters.http import HttpSettings, check_endpoint
from segpipe.settings import Settings

_ENDPOINT = "https://api.segmind.com"

LEDGER_FOLDER = "ledger"
LEAST_THRESHOLD = 0.1
MOST_MASKS = 100


class Api(StrEnum):
    """How an answer is asked for."""

    V1 = "v1"
    """One call that waits for the answer."""
    V2 = "v2"
    """Submit, poll, fetch."""


class SegmindConfig(Settings):
    """SAM 3 by Segmind's API (https://www.segmind.com/models/sam3-image/api); every call costs."""

    operational = frozenset(
        {
            "endpoint",
            "api_key_env",
            "api",
            "poll_interval_s",
            "max_paid_calls",
            "max_cost",
            "max_cost_per_day",
            "cost_per_call",
            "ledger_folder",
            "resend_uncertain",
            "http",
        }
    )

    kind: Literal["segmind"] = "segmind"
    endpoint: str = Field(
        default=_ENDPOINT,
        description="Where the API is: an https URL, or http on this machine.",
    )
    api_key_env: SecretName = Field(
        default="SEGMIND_API_KEY",
        description="Name of the environment variable that holds the key; never the key itself. "
        "Other names than the default one are allowed by SEGPIPE_SECRET_NAMES.",
    )
    api: Api = Field(
        default=Api.V1,
        description="v1 keeps one connection open until the answer comes; v2 submits, polls and "
        "fetches, for answers that take minutes.",
    )
    poll_interval_s: float = Field(
        default=1, gt=0, description="Pause between two polls of v2, in seconds."
    )
    threshold: float = Field(
        default=0.5,
        ge=LEAST_THRESHOLD,
        le=1,
        description="Detections that score less are left out.",
    )
    points_per_side: int = Field(
        default=32,
        ge=0,
        le=128,
        description="Points along each side of the grid that finds every item where there is no "
        "prompt.",
    )
    pred_iou_thresh: float = Field(
        default=0.88,
        ge=0.5,
        le=1,
        description="Least predicted mask quality of items found by the grid.",
    )
    max_masks: int = Field(
        default=100,
        ge=0,
        le=MOST_MASKS,
        description="Items of one photo at most, those with the best scores; 0 leaves it to the "
        "service.",
    )
    max_side: int = Field(
        default=2048,
        ge=64,
        le=16_384,
        description="Longer side of the uploaded picture at most, in pixels; a larger photo is "
        "scaled down for the upload, and its masks are brought back to full size.",
    )
    jpeg_quality: int = Field(
        default=92, ge=1, le=100, description="JPEG quality of the uploaded picture."
    )
    max_paid_calls: int = Field(
        default=0,
        ge=0,
        description="Paid calls of one request at most, in however many runs; 0 is no limit.",
    )
    max_cost: float = Field(
        default=0,
        ge=0,
        allow_inf_nan=False,
        description="Credits of one request at most, in however many runs; 0 is no limit. "
        "With a limit, and until the service has told what a call costs, calls are made one after "
        "the other.",
    )
    max_cost_per_day: float = Field(
        default=0,
        ge=0,
        allow_inf_nan=False,
        description="Credits that all runs of a day together may cost at most, by UTC; 0 is no "
        "limit.",
    )
    cost_per_call: float = Field(
        default=0.005,
        ge=0,
        allow_inf_nan=False,
        description="What one call is thought to cost, in credits, before the service has told.",
    )
    ledger_folder: str = Field(
        default=LEDGER_FOLDER,
        min_length=1,
        description="Folder of the ledgers, under the data root unless it begins with /: one file "
        "of JSON lines a run, with every call and its cost.",
    )
    resend_uncertain: bool = Field(
        default=False,
        description="Send a call again that gave no answer but may have been billed.",
    )
    http: HttpSettings = Field(
        default=HttpSettings(), description="Timeouts, retries and bounds of the connection."
    )

    def within(self, thresholds: Thresholds | None) -> "SegmindConfig":
        """The settings with what counts as found, as near to it as the API allows."""
        if thresholds is None:
            return self
        changed = {
            "threshold": max(thresholds.score, LEAST_THRESHOLD),
            "max_masks": min(thresholds.max_masks, MOST_MASKS),
        }
        return self.model_copy(update=changed)

    # A ConfigError, not a ValueError: pydantic would repeat what was entered.
    @field_validator("api_key_env")
    @classmethod
    def _is_allowed(cls, name: str) -> str:
        return require_secret_name(name, field="api_key_env")

    @field_validator("endpoint")
    @classmethod
    def _may_be_told_a_key(cls, url: str) -> str:
        try:
            return check_endpoint(url)
        except ValueError as error:
            raise ConfigError(str(error), field="endpoint") from None


def read_api_key(config: SegmindConfig) -> str:
    """The key from the environment, when it may be sent to the endpoint.

    Raises:
        ConfigError: The variable is not set, what it holds cannot be a key, or the endpoint is
            none of its origins.
    """
    variable = config.api_key_env
    key = read_secret(variable, what="key", field="api_key_env")
    if key is None:
        raise ConfigError(
            f"the environment variable {variable} is not set: put the key of Segmind's API there, "
            "or enter it in the studio's settings",
            field="api_key_env",
        )
    require_secret_origin(variable, config.endpoint, default=_ENDPOINT, field="endpoint")
    return key
