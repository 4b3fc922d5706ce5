"""Tiny models of random weights for all tests of refiners."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from segpipe_tests.refiners.loop.tiny_hq_sam import make_tiny_checkpoint as make_tiny_hq_sam
from segpipe_tests.segmenters.sam3.local.tiny import make_tiny_checkpoint as make_tiny_sam3


@pytest.fixture(scope="session")
def tiny_hq_sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that is not to be changed: copy it first."""
    return make_tiny_hq_sam(tmp_path_factory.mktemp("hq_sam") / "tiny")


@pytest.fixture(scope="session")
def tiny_sam3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that is not to be changed: copy it first."""
    return make_tiny_sam3(tmp_path_factory.mktemp("sam3") / "tiny")


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads within an operation are no help to a tiny model, and waste a busy machine's time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
