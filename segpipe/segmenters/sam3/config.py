"""Settings of SAM 3, wherever it runs."""

from typing import ClassVar, Literal

from pydantic import Field

from segpipe.segmenters.cache.config import CacheConfig
from segpipe.segmenters.sam3.internal.config import InternalConfig
from segpipe.segmenters.sam3.local.config import LocalConfig
from segpipe.segmenters.sam3.segmind.config import SegmindConfig
from segpipe.settings import Settings


class Sam3Config(Settings):
    """SAM 3: finds what a text or examples name, or what is in a box."""

    operational: ClassVar[frozenset[str]] = frozenset({"cache"})

    kind: Literal["sam3"] = "sam3"
    backend: SegmindConfig | InternalConfig | LocalConfig = Field(
        discriminator="kind",
        description="Where it runs: Segmind's API, our inference service, or this process.",
    )
    texts: list[str] = Field(
        default=[],
        description="What to find where a prompt says nothing, such as [ring, bracelet]. Each is "
        "asked for by itself and labels what it finds; with none, everything is found.",
    )
    cache: CacheConfig = Field(
        default=CacheConfig(), description="Keeps answers, so that none is paid for twice."
    )
