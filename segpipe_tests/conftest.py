"""What holds for all tests."""

import os
from collections.abc import Iterator

import pytest

from segpipe_tests.loopback.s3 import S3Server

_LONGEST = "test_daemon.py"

# Before anything of segpipe is imported: what somebody works with has no part in tests.
for _name in (
    "SEGPIPE_ROOT",
    "SEGPIPE_KEEP_COMMITS",
    "SEGPIPE_SECRET_NAMES",
    "SEGPIPE_POSTGRES_URL",
    "SEGPIPE_DEALS_PER_RUN",
    "DAGSTER_HOME",
):
    os.environ.pop(_name, None)
os.environ["SEGPIPE_SECRETS_FILE"] = f"{os.devnull}/secrets.json"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests go first, so that no worker is left with them at the end."""
    items.sort(key=lambda item: item.path.name != _LONGEST)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server on loopback."""
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server
