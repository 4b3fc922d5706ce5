"""What holds for all tests."""

import pytest

_LONGEST = "test_daemon.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests go first, so that no worker is left with them at the end."""
    items.sort(key=lambda item: item.path.name != _LONGEST)
