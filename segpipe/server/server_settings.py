"""Settings of the inference service."""

from pydantic import Field

from segpipe.errors import ConfigError
from segpipe.secret_names import is_this_machine, read_secret
from segpipe.settings import Settings
from segpipe.web.connections import ConnectionLimits
from segpipe.wire.inference import MAX_POINTS

_BYTES_PER_MB = 1_000_000
_PIXELS_PER_MEGAPIXEL = 1_000_000
_UPLOAD_MB, _UPLOAD_BYTES_PER_PIXEL = 64, 0.64
_PHOTO_MEMORY_MB, _MEMORY_BYTES_PER_PIXEL = 400, 4


class ServerSettings(Settings):
    """How the service listens, what it accepts, and how much it does at once."""

    host: str = Field(
        default="127.0.0.1",
        description="The address to listen on; any but a loopback one needs a token.",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="0 takes a free one.")
    token_env: str = Field(
        default="SEGPIPE_SERVER_TOKEN",
        description="The environment variable that holds the token which clients have to send.",
    )
    cors_origins: list[str] = Field(
        default=[], description="Origins whose pages may call the service from a browser."
    )
    max_upload_mb: float | None = Field(
        default=None,
        gt=0,
        description="Largest request, in 10^6 bytes; by itself 64, and with `max_megapixels` more.",
    )
    max_megapixels: float = Field(
        default=100,
        gt=0,
        description="Largest photo, by its header, in 10^6 pixels; the size of requests and the "
        "memory for photos grow with it.",
    )
    everything: bool = Field(
        default=True,
        description="Look for every item where a prompt says nothing of what to find. Off: such a "
        "prompt is refused.",
    )
    max_points: int = Field(
        default=64, ge=1, le=MAX_POINTS, description="Points of one prompt at most."
    )
    kept_megapixels: float = Field(
        default=100, ge=0, description="Decoded photos that are kept for further prompts."
    )
    in_model: int = Field(
        default=4, ge=1, description="Prompts that are in the model at once, for it to batch."
    )
    in_refiner: int = Field(default=2, ge=1, description="Photos that are refined at once.")
    decoded_ahead: int = Field(
        default=2,
        ge=0,
        description="Decoded photos that wait, beside those in the model and the refiner.",
    )
    queue_size: int = Field(
        default=64, ge=0, description="Requests that wait at most, beside those in the model."
    )
    max_photo_memory_mb: float | None = Field(
        default=None,
        gt=0,
        description="Memory, in 10^6 bytes, of all photos that are being decoded, in use or kept; "
        "by itself 400, and with `max_megapixels` more. A photo that takes more alone is refused; "
        "one of 40 megapixels takes 120 as a JPEG and 360 as a PNG with transparency.",
    )
    work_bytes_per_pixel: float = Field(
        default=9,
        ge=0,
        description="Memory that a prompt takes for each pixel of its photo, beside the photo's "
        "own; counted with it. 0 suits a model that works at a size of its own, such as sam3.",
    )
    max_connections: int = Field(
        default=512,
        ge=1,
        description="Connections at most; over it, the one that has been idle the longest goes.",
    )
    max_connections_per_peer: int = Field(
        default=256, ge=1, description="Connections of one address at most, in the same way."
    )
    head_timeout_s: float = Field(
        default=10, gt=0, description="Time for the head of a request to arrive whole."
    )
    gap_timeout_s: float = Field(
        default=10, gt=0, description="Time between the bytes of a request that is arriving."
    )
    unread_timeout_s: float = Field(
        default=30, gt=0, description="Time that an answer waits for a client to read on."
    )
    log_lines_per_minute: int = Field(
        default=20, ge=1, description="Lines of one kind that are logged; the others are counted."
    )
    retry_after_s: int = Field(
        default=1, ge=1, description="When a client that was refused should come again."
    )
    upload_timeout_s: float = Field(
        default=60, gt=0, description="Time for a request to arrive whole."
    )
    request_timeout_s: float = Field(
        default=120, gt=0, description="Time for an answer, waiting included."
    )
    heartbeat_s: float = Field(
        default=10, gt=0, description="A stream that has nothing to tell says so this often."
    )
    shutdown_timeout_s: int = Field(
        default=30, ge=0, description="Time for what is under way to finish at a shutdown."
    )

    @property
    def connection_limits(self) -> ConnectionLimits:
        """What connections may take."""
        return ConnectionLimits(
            total=self.max_connections,
            each_peer=self.max_connections_per_peer,
            head_s=self.head_timeout_s,
            gap_s=self.gap_timeout_s,
            unread_s=self.unread_timeout_s,
        )

    @property
    def max_upload_bytes(self) -> int:
        """Largest request."""
        grown = max(_UPLOAD_MB, _UPLOAD_BYTES_PER_PIXEL * self.max_megapixels)
        return int((self.max_upload_mb or grown) * _BYTES_PER_MB)

    @property
    def max_pixels(self) -> int:
        """Largest photo."""
        return int(self.max_megapixels * _PIXELS_PER_MEGAPIXEL)

    @property
    def max_photo_bytes(self) -> int:
        """Memory of all photos."""
        grown = max(_PHOTO_MEMORY_MB, _MEMORY_BYTES_PER_PIXEL * self.max_megapixels)
        return int((self.max_photo_memory_mb or grown) * _BYTES_PER_MB)

    @property
    def kept_pixels(self) -> int:
        """Decoded photos that are kept, all together."""
        return int(self.kept_megapixels * _PIXELS_PER_MEGAPIXEL)

    def read_token(self) -> str | None:
        """The token that clients have to send; None when there is none.

        Raises:
            ConfigError: The address is reachable from elsewhere, and there is no token; or no
                header can carry it.
        """
        token = read_secret(self.token_env, what="token", field="token_env")
        if token is None and not is_this_machine(self.host):
            raise ConfigError(
                f"{self.host} can be reached from other machines: set the environment variable "
                f"{self.token_env} to a token, or listen on 127.0.0.1",
                field="host",
            )
        return token
