"""How what goes wrong inside a model is told."""

import pytest
import torch

from segpipe.errors import CheckpointError, PromptError, RefinerError
from segpipe.models.faults import Faults, imports_of

FAULTS = Faults("HQ-SAM", "lower objects_per_batch", RefinerError)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory"),
    ],
)
def test_running_out_of_memory_says_what_helps(error: Exception) -> None:
    with (
        pytest.raises(RefinerError, match=r"memory while looking; lower objects_per_batch, use"),
        FAULTS.told("looking"),
    ):
        raise error


def test_torch_s_own_words_for_no_memory_are_known() -> None:
    with pytest.raises(RefinerError, match="ran out of memory"), FAULTS.told("looking"):
        torch.empty(1 << 60, dtype=torch.uint8)


def test_anything_else_is_told_without_advice() -> None:
    with (
        pytest.raises(RefinerError, match=r"^HQ-SAM failed while looking: ValueError: no$"),
        FAULTS.told("looking"),
    ):
        raise ValueError("no")


def test_an_error_of_segpipe_stays_what_it_is() -> None:
    error = PromptError("too long")
    with pytest.raises(PromptError) as caught, FAULTS.told("reading"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("error", [ImportError("no torch"), RuntimeError("torchvision::nms")])
def test_what_cannot_be_imported_is_said_with_the_extra_that_brings_it(error: Exception) -> None:
    with (
        pytest.raises(CheckpointError, match=r"install segpipe\[local\]") as caught,
        imports_of("HQ-SAM", "segpipe[local]", field="kind"),
    ):
        raise error
    assert caught.value.field == "kind"
