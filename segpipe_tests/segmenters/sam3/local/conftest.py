"""A tiny SAM 3 for all tests of this folder."""

from pathlib import Path

import pytest

from segpipe_tests.segmenters.sam3.local.tiny import make_tiny_checkpoint


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed: copy it first."""
    return make_tiny_checkpoint(tmp_path_factory.mktemp("sam3") / "tiny")
