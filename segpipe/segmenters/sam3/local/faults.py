"""What goes wrong inside a model, in words that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from segpipe.errors import SegmenterError, SegpipeError

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says for CUDA and MPS, for the CPU on Linux, and for the CPU on Windows."""


@contextmanager
def model_faults(doing: str) -> Iterator[None]:
    """Turn whatever a library raises while it computes into a SegmenterError.

    Args:
        doing: What failed, for the message: "reading the picture".

    Raises:
        SegmenterError: Anything but an error of segpipe was raised inside the block.
    """
    try:
        yield
    except SegpipeError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        if isinstance(error, MemoryError) or any(
            words in str(error).lower() for words in _OUT_OF_MEMORY
        ):
            raise SegmenterError(
                f"SAM 3 ran out of memory while {doing}; lower batch_size, kept_images or "
                f"everything.points_per_batch, use dtype bfloat16, or a larger device ({said})"
            ) from error
        raise SegmenterError(f"SAM 3 failed while {doing}: {said}") from error
