"""Dagster's state in PostgreSQL: few connections, keys read once, and a server that goes away."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as db

from segpipe.errors import ConfigError
from segpipe.pipeline.pooled_postgres import PooledPostgresStorage
from segpipe.pipeline.state_storage import POSTGRES_VARIABLE, StateStorage
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe_tests.deals import put_photos
from segpipe_tests.goods import goods_photo
from segpipe_tests.pipeline.dagster_runs import make_defs, run_deals
from segpipe_tests.pipeline.postgres_server import PostgresServer

CONNECTIONS = 15
KEYS = "deals"
QUIET = {"telemetry": {"enabled": False}}


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


@pytest.fixture
def pooled(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """An instance as the project ships it, with the one variable set."""
    monkeypatch.setenv(POSTGRES_VARIABLE, url)
    with open_pooled(tmp_path / "home") as instance:
        yield instance


def open_pooled(folder: Path) -> dg.DagsterInstance:
    folder.mkdir(exist_ok=True)
    custom = {
        "module": StateStorage.__module__,
        "class": StateStorage.__name__,
        "config": {"base_dir": str(folder)},
    }
    return dg.DagsterInstance.local_temp(
        str(folder), overrides={**QUIET, "storage": {"custom": custom}}
    )


@pytest.fixture
def key_reads() -> Iterator[list[str]]:
    """The statements that read all keys."""
    reads: list[str] = []

    def note(*arguments: object) -> None:
        statement = str(arguments[2])
        if "ORDER BY dynamic_partitions.id" in statement:
            reads.append(statement)

    db.event.listen(db.Engine, "before_cursor_execute", note)
    yield reads
    db.event.remove(db.Engine, "before_cursor_execute", note)


def test_one_variable_moves_the_state_from_files_to_postgresql(
    pooled: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pooled.add_dynamic_partitions(KEYS, ["lot"])
    assert not list((tmp_path / "home").rglob("*.db"))
    with open_pooled(tmp_path / "home") as same:
        assert same.get_dynamic_partitions(KEYS) == ["lot"]
    monkeypatch.delenv(POSTGRES_VARIABLE)
    with open_pooled(tmp_path / "home") as files:
        assert files.get_dynamic_partitions(KEYS) == []
    assert list((tmp_path / "home").rglob("*.db"))


def test_deals_are_recorded_over_a_few_connections(
    pooled: dg.DagsterInstance, url: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    deals = ["warm", "lot-1", "lot-2", "lot-3"]
    for deal in deals:
        put_photos(tmp_path / "data", deal, {"a.png": goods_photo(3)})
    store = DealStore(tmp_path / "data")
    pooled.add_dynamic_partitions(KEYS, deals)
    definitions = make_defs(tmp_path / "data")
    assert run_deals(definitions, pooled, deals[:1]).success
    before = postgres.sessions_so_far(url)
    assert run_deals(definitions, pooled, deals[1:]).success
    assert postgres.sessions_so_far(url) - before <= CONNECTIONS
    assert all(store.current(deal, Mode.FIND_ALL) for deal in deals)


def test_keys_are_read_again_only_when_some_came_or_went(
    pooled: dg.DagsterInstance, tmp_path: Path, key_reads: list[str]
) -> None:
    for names in (["c", "a"], ["b"]):
        pooled.add_dynamic_partitions(KEYS, names)
        del key_reads[:]
        for _ in range(3):
            keys = pooled.get_dynamic_partitions(KEYS)
        assert len(key_reads) == 1
    assert keys == ["c", "a", "b"]
    with open_pooled(tmp_path / "home") as other:  # of the same process
        assert other.get_dynamic_partitions(KEYS) == keys
        assert len(key_reads) == 1
        other.delete_dynamic_partition(KEYS, "a")
        other.add_dynamic_partitions(KEYS, ["a"])
    assert pooled.get_dynamic_partitions(KEYS) == ["c", "b", "a"]
    keys = pooled.get_dynamic_partitions(KEYS)
    assert isinstance(keys, list)
    keys.clear()  # somebody's own copy
    assert pooled.get_dynamic_partitions(KEYS) == ["c", "b", "a"]


def test_what_is_asked_while_the_server_is_away_is_answered_when_it_is_back(
    pooled: dg.DagsterInstance, postgres: PostgresServer
) -> None:
    pooled.add_dynamic_partitions(KEYS, ["lot"])
    away_s = 3.0
    postgres.stop()
    back = threading.Timer(away_s, postgres.start)
    back.start()
    started = time.monotonic()
    assert pooled.get_dynamic_partitions(KEYS) == ["lot"]
    assert time.monotonic() - started >= away_s
    back.join()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_a_url_with_no_driver_means_the_one_that_is_installed(url: str, scheme: str) -> None:
    storage = PooledPostgresStorage(url.replace("postgresql", scheme, 1))
    assert storage.event_log_storage.get_dynamic_partitions(KEYS) == []


def test_a_url_of_another_driver_or_database_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match=r"write postgresql\+psycopg2:// in its place"):
        PooledPostgresStorage("postgresql+psycopg://u@h/d")
    with pytest.raises(ConfigError, match="no URL of a PostgreSQL database"):
        PooledPostgresStorage("mysql://u@h/d")


def test_plain_dagster_opens_it_and_migrates_it(url: str, tmp_path: Path) -> None:
    """Dagster's own commands, which load nothing of segpipe before they open the database."""
    project = Path(__file__).parents[2]
    (tmp_path / "dagster.yaml").write_text((project / "dagster.yaml").read_text())
    for command in (["instance", "migrate"], ["run", "list"]):
        done = subprocess.run(
            [sys.executable, "-m", "dagster", *command],
            cwd=tmp_path,
            env=os.environ
            | {
                "DAGSTER_HOME": str(tmp_path),
                POSTGRES_VARIABLE: url,
                "PYTHONPATH": str(project),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
