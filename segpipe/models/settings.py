"""Settings of every model that runs in this process."""

from typing import Literal

from pydantic import Field

from segpipe.settings import Settings

CHECKPOINT = (
    "The weights: a folder with safetensors, or the id of a repository on the Hugging Face Hub; "
    "there, a revision is needed."
)
"""What the setting ``checkpoint`` is, for the models that give it a default."""
DtypeName = Literal["auto", "float32", "bfloat16", "float16"]


class ModelSettings(Settings):
    """Which weights, where they are computed with, and in which numbers."""

    checkpoint: str = Field(min_length=1, description=CHECKPOINT)
    revision: str = Field(
        default="",
        description="For a repository: the commit or tag of the weights. Branches move, so they "
        "are refused. A folder has none.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="Where to compute: cpu, mps, cuda, cuda:1, …; auto takes cuda before mps "
        "before cpu.",
    )
    dtype: DtypeName = Field(
        default="auto",
        description="Numbers to compute with; auto is bfloat16 on cuda and float32 elsewhere.",
    )
