"""Settings of the client of our inference service."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from segpipe.detection import Thresholds
from segpipe.secret_names import SecretName, require_secret_name
from segpipe.segmenters.http import HttpSettings, require_allowed_host
from segpipe.settings import Settings
from segpipe.vision.encode import DEFAULT_JPEG_QUALITY
from segpipe.wire.inference import MAX_MASKS

DEFAULT_URL = "http://127.0.0.1:8000"


def check_service_url(url: str) -> str:
    """The URL without a slash at its end; raises ValueError when it is none, or holds more."""
    parts = urlsplit(url.strip())
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise ValueError("must be a URL such as http://127.0.0.1:8000")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be a URL without a user name, a query and a fragment")
    require_allowed_host(parts.hostname)
    return url.strip().rstrip("/")


class InternalConfig(Settings):
    """SAM 3 behind our own inference service (``segpipe serve``)."""

    operational = frozenset({"url", "token_env", "http"})

    kind: Literal["internal"] = "internal"
    url: Annotated[str, AfterValidator(check_service_url)] = Field(
        default=DEFAULT_URL,
        description="Where the service is. Over http, photos and token travel in clear.",
    )
    token_env: SecretName = Field(
        default="SEGPIPE_SERVER_TOKEN",
        description="The environment variable with the service's token; while it is not set, no "
        "token is sent.",
    )
    threshold: float = Field(
        default=0.5, ge=0, le=1, description="Detections that score less are left out."
    )
    mask_threshold: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Pixels whose probability is above this are in a mask.",
    )
    max_masks: int = Field(
        default=100,
        ge=1,
        le=MAX_MASKS,
        description="Detections of one photo at most, those with the best scores.",
    )
    upload: Literal["png", "jpeg"] = Field(
        default="jpeg",
        description="How photos travel: png without loss, jpeg at about an eighth of the "
        "size and a quarter of the work. A service takes 64 MB at most by default.",
    )
    jpeg_quality: int = Field(
        default=DEFAULT_JPEG_QUALITY, ge=1, le=100, description="Quality of jpeg uploads."
    )
    http: HttpSettings = Field(default=HttpSettings(), description="The connection to the service.")

    @field_validator("token_env")
    @classmethod
    def _is_allowed(cls, name: str) -> str:
        return require_secret_name(name, field="token_env")

    @property
    def thresholds(self) -> Thresholds:
        """What counts as found."""
        return Thresholds(self.threshold, self.mask_threshold, self.max_masks)
