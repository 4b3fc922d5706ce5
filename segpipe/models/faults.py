"""What goes wrong inside a model, in words that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from segpipe.errors import CheckpointError, SegpipeError

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says for CUDA and MPS, for the CPU on Linux, and for the CPU on Windows."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How one model's faults are told.

    Attributes:
        model: Its name.
        remedy: What helps when memory ran out: "lower batch_size".
        error: What is raised.
    """

    model: str
    remedy: str
    error: type[SegpipeError]

    @contextmanager
    def told(self, doing: str) -> Iterator[None]:
        """Turn whatever a library raises inside the block into an error that says what to do.

        Args:
            doing: What failed, for the message: "reading the picture".

        Raises:
            SegpipeError: ``error``, for anything but an error of segpipe itself.
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
                raise self.error(
                    f"{self.model} ran out of memory while {doing}; {self.remedy}, use dtype "
                    f"bfloat16, or a larger device ({said})"
                ) from error
            raise self.error(f"{self.model} failed while {doing}: {said}") from error


@contextmanager
def imports_of(model: str, extra: str, *, field: str) -> Iterator[None]:
    """Say which extra brings the packages whose import fails inside the block.

    Args:
        model: What cannot run without them.
        extra: What to install: "segpipe[local]".
        field: The setting that asks for the model.

    Raises:
        CheckpointError: A package is missing, or does not fit the others.
    """
    try:
        yield
    # A torchvision that was built for another torch raises RuntimeError.
    except (ImportError, RuntimeError) as error:
        raise CheckpointError(
            f"{model} cannot run here ({error}); install {extra}, and remove torchvision unless it "
            "was built for the torch beside it: transformers does not need it here",
            field=field,
        ) from error
