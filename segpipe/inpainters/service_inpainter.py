"""A service that fills holes, by our HTTP contract: ``POST <url>/v1/inpaint``."""

import asyncio
from typing import Annotated, Literal

import httpx
from pydantic import AfterValidator, Field, field_validator

from segpipe.errors import InpainterError, PhotoError
from segpipe.inpainters.inpainter import NO_WISH, Wish
from segpipe.secret_names import SecretName, read_secret, require_secret_name, require_secret_origin
from segpipe.segmenters.http import BackendClient, HttpSettings
from segpipe.segmenters.sam3.service.service_settings import DEFAULT_URL, check_service_url
from segpipe.settings import Settings
from segpipe.vision.encode import encode_png
from segpipe.vision.image import RgbImage, decode_image
from segpipe.vision.mask import Bitmap

INPAINT_PATH = "/v1/inpaint"

_NAME = "the inpainting service"


class ServiceInpainterConfig(Settings):
    """A service that fills holes: ``segpipe serve``, or another one of the same contract."""

    operational = frozenset({"url", "token_env", "http"})

    kind: Literal["service"] = "service"
    url: Annotated[str, AfterValidator(check_service_url)] = Field(
        default=DEFAULT_URL,
        description="Where the service is. Over http, photos and token travel in clear.",
    )
    token_env: SecretName = Field(
        default="SEGPIPE_SERVER_TOKEN",
        description="The environment variable with the service's token; while it is not set, no "
        "token is sent.",
    )
    prompt: str = Field(default="", description="What is to be in the hole, in words.")
    guidance: float = Field(
        default=2.0, ge=0, le=50, description="How closely the words are followed."
    )
    http: HttpSettings = Field(default=HttpSettings(), description="The connection to the service.")

    @field_validator("token_env")
    @classmethod
    def _is_allowed(cls, name: str) -> str:
        return require_secret_name(name, field="token_env")


class ServiceInpainter:
    """Sends a picture, the mask of its hole, and what is to be in it; gets the picture filled.

    Args:
        config: Where the service is.
        transport: Replaces the network, for tests.

    Raises:
        ConfigError: No header can carry the token, or it may not be sent to the URL.
    """

    id = "inpainting-service"
    context_ratio = 0.5

    def __init__(
        self,
        config: ServiceInpainterConfig,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._config = config
        self._transport = transport
        self._token = read_secret(config.token_env, what="token", field="token_env")
        if self._token:
            require_secret_origin(config.token_env, config.url, default=DEFAULT_URL, field="url")

    async def inpaint(self, image: RgbImage, hole: Bitmap, wish: Wish = NO_WISH) -> RgbImage:
        """Have the hole of one upright RGB image, (h, w, 3) uint8, filled.

        Raises:
            BackendError: The service failed.
            InpainterError: Its answer is no picture of the same size.
        """
        files = {
            "image": ("image.png", await asyncio.to_thread(encode_png, image), "image/png"),
            "mask": (
                "mask.png",
                await asyncio.to_thread(encode_png, hole[..., None] * 255),
                "image/png",
            ),
        }
        prompt = self._config.prompt if wish.prompt is None else wish.prompt
        guidance = self._config.guidance if wish.guidance is None else wish.guidance
        client = self._client()
        try:
            answer = await client.request(
                "POST",
                INPAINT_PATH,
                files=files,
                # What is sent is grown and feathered already.
                data={
                    "prompt": prompt,
                    "guidance": str(guidance),
                    "dilate_px": "0",
                    "feather_px": "0",
                },
            )
        finally:
            await client.aclose()
        try:
            filled = (await asyncio.to_thread(decode_image, answer.body)).rgb
        except PhotoError as error:
            raise InpainterError(f"{_NAME} answered with no picture: {error.message}") from error
        if filled.shape != image.shape:
            raise InpainterError(
                f"{_NAME} answered with a picture of {filled.shape[1]} x {filled.shape[0]} pixels "
                f"for one of {image.shape[1]} x {image.shape[0]}"
            )
        return filled

    def _client(self) -> BackendClient:
        """One for each picture: a client belongs to one event loop, an inpainter to none."""
        return BackendClient(
            _NAME,
            self._config.url,
            self._config.http,
            headers={"Authorization": f"Bearer {self._token}"} if self._token else {},
            secrets=(self._token,) if self._token else (),
            resend_uncertain=True,
            transport=self._transport,
        )
