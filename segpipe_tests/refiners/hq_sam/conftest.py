"""A tiny HQ-SAM for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from segpipe_tests.refiners.hq_sam.tiny import make_tiny_checkpoint


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed: copy it first."""
    return make_tiny_checkpoint(tmp_path_factory.mktemp("hq_sam") / "tiny")


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads within an operation are no help to a tiny model, and waste a busy machine's time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
