"""Copies of the data root of release 0.1."""

from pathlib import Path

import pytest

from segpipe_tests.compatibility.doors import unpack


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy for one test."""
    return unpack(tmp_path)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that nobody writes to."""
    return unpack(tmp_path_factory.mktemp("release"))
