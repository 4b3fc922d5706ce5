"""Settings of the refiner by HQ-SAM."""

from typing import Literal

from pydantic import Field

from segpipe.refiners.iterative.settings import LoopSettings


class HqSamConfig(LoopSettings):
    """Refine each mask by asking HQ-SAM about it again and again."""

    kind: Literal["hq_sam"] = "hq_sam"
    checkpoint: str = Field(
        default="syscv-community/sam-hq-vit-large",
        min_length=1,
        description="The weights: a folder with safetensors, or the id of a repository on the "
        "Hugging Face Hub; there, a revision is needed.",
    )
    revision: str = Field(
        default="",
        pattern=r"^([0-9a-f]{40})?$",
        description="For a repository: the commit of the weights, 40 hex digits. A folder has "
        "none.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="Where to compute: cpu, mps, cuda, cuda:1, …; auto takes cuda before mps "
        "before cpu.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Numbers to compute with; auto is bfloat16 on cuda and float32 elsewhere.",
    )
