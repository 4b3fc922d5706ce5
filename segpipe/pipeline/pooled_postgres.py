"""Dagster's own state in PostgreSQL, for many deals, runs and machines.

Dagster's PostgreSQL storage opens a connection for every statement, about a hundred for each deal,
and reads all partition keys anew for each asset of a run that it makes. This one keeps a few
connections for each process, keeps the keys until they change, and waits for a server that is away
for a moment.
"""

import functools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Self

import sqlalchemy as db
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.config import pg_config
from dagster._core.storage.event_log import DynamicPartitionsTable
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.schedules.base import ScheduleStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from dagster_postgres.utils import (
    create_pg_engine,
    get_token_provider_from_config,
    pg_url_from_config,
    set_pg_statement_timeout,
)

from segpipe.errors import ConfigError
from segpipe.pipeline.storage_driver import usable_url

KEPT_CONNECTIONS = 5
"""Connections that a process keeps open at most; a run needs one to three of them."""

_MORE_CONNECTIONS = 20
_RECYCLE_S = 3600
PATIENCE_S = 60.0
"""How long a run or the daemon waits for a server that is away, seconds."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


_ADD_KEYS = db.text(
    "insert into dynamic_partitions (partitions_def_name, partition) "
    "select :name, key from unnest(cast(:keys as text[])) with ordinality as added (key, place) "
    "order by place on conflict do nothing"
)


class PooledPostgresStorage(DagsterStorage, ConfigurableClass):
    """Runs, events and schedules in one PostgreSQL database, over one pool of connections.

    In ``dagster.yaml`` it takes what Dagster's own takes::

        storage:
          custom:
            module: segpipe.pipeline.pooled_postgres
            class: PooledPostgresStorage
            config:
              postgres_url: {env: SEGPIPE_POSTGRES_URL}

    Args:
        postgres_url: Where the database is; a bare ``postgresql://`` means the driver psycopg2.
        should_autocreate_tables: Whether an empty database is filled.
        inst_data: Where in ``dagster.yaml`` it stands.
        token_provider: Makes passwords that expire, where a cloud wants such.

    Raises:
        ConfigError: The URL names a driver that is not installed.
    """

    def __init__(
        self,
        postgres_url: str,
        *,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
        token_provider: Any = None,
    ) -> None:
        url = usable_url(postgres_url)
        parts = {
            "should_autocreate_tables": should_autocreate_tables,
            "token_provider": token_provider,
        }
        self._inst_data = inst_data
        self._runs = _PooledRunStorage(url, **parts)
        self._events = _PooledEventLogStorage(url, **parts)
        self._schedules = _PooledScheduleStorage(url, **parts)
        for part in (self._runs, self._events, self._schedules):
            part.keep_connections()
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """Where in ``dagster.yaml`` it stands."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """What stands under ``config`` in ``dagster.yaml``."""
        return pg_config()

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Build it from ``dagster.yaml``."""
        if not (config_value.get("postgres_url") or config_value.get("postgres_db")):
            raise ConfigError(
                "PostgreSQL needs postgres_url or postgres_db: where the database is",
                field="storage.custom.config",
            )
        return cls(
            pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
            token_provider=get_token_provider_from_config(config_value),
        )

    @property
    def run_storage(self) -> RunStorage:
        """Runs, their tags, backfills and heartbeats."""
        return self._runs

    @property
    def event_log_storage(self) -> EventLogStorage:
        """Events, assets and partition keys."""
        return self._events

    @property
    def schedule_storage(self) -> ScheduleStorage:
        """Ticks of schedules and sensors."""
        return self._schedules

    @property
    def run_storage_data(self) -> ConfigurableClassData | None:
        """For Dagster's older ways to name a storage: there is none."""
        return None

    event_storage_data = run_storage_data
    schedule_storage_data = run_storage_data


class _Pooled:
    """What the three storages share: the pool of the process, and patience.

    Dagster calls ``optimize_for_webserver`` in a webserver, where somebody waits for an answer:
    there a statement has a limit, and a server that is away is told of at once.
    """

    postgres_url: str
    _token_provider: Any
    _engine: db.Engine
    _patience_s = 0.0

    def keep_connections(self) -> None:
        """Use the pool of the process from now on."""
        self._engine = _pool(self.postgres_url, self._token_provider)
        self._patience_s = PATIENCE_S

    def optimize_for_webserver(
        self, statement_timeout: int, pool_recycle: int, max_overflow: int
    ) -> None:
        self._engine = _pool(
            self.postgres_url,
            self._token_provider,
            statement_timeout_ms=statement_timeout,
            recycle_s=pool_recycle,
            more=max_overflow,
        )
        self._patience_s = 0.0

    @contextmanager
    def _connection(self) -> Iterator[db.Connection]:
        with _when_it_is_back(self._engine, self._patience_s) as connection:
            yield connection


class _PooledRunStorage(_Pooled, PostgresRunStorage):
    def connect(self) -> AbstractContextManager[db.Connection]:
        return self._connection()


class _PooledScheduleStorage(_Pooled, PostgresScheduleStorage):
    def connect(self, run_id: str | None = None) -> AbstractContextManager[db.Connection]:
        return self._connection()


class _PooledEventLogStorage(_Pooled, PostgresEventLogStorage):
    def _connect(self) -> AbstractContextManager[db.Connection]:
        return self._connection()

    def get_dynamic_partitions(self, partitions_def_name: str) -> Sequence[str]:
        """All keys in the order in which they were added; read only when some came or went."""
        table = DynamicPartitionsTable.c
        mark_query = db.select(db.func.max(table.id), db.func.count(), db.func.sum(table.id)).where(
            table.partitions_def_name == partitions_def_name
        )
        with self.index_connection() as connection:
            mark = tuple(connection.execute(mark_query).one())
        place = (self.postgres_url, partitions_def_name)
        with _keys_lock:
            kept = _keys.get(place)
            if kept is None or kept.mark != mark:
                # Keys that come meanwhile are read now, and once more at the next look.
                kept = _Keys(mark, tuple(super().get_dynamic_partitions(partitions_def_name)))
                _keys[place] = kept
        return list(kept.names)

    def add_dynamic_partitions(
        self, partitions_def_name: str, partition_keys: Sequence[str]
    ) -> None:
        """Add keys in their order, however many, by one statement; those that are there stay."""
        with self.index_connection() as connection:
            values = {"name": partitions_def_name, "keys": list(partition_keys)}
            connection.execute(_ADD_KEYS, values)


class _Keys(NamedTuple):
    """Partition keys, and the greatest id, count and sum of ids of their rows."""

    mark: tuple[Any, ...]
    names: tuple[str, ...]


# Of a process: Dagster opens an instance for each tick and each run.
_keys: dict[tuple[str, str], _Keys] = {}
_keys_lock = threading.Lock()


@functools.cache
def _pool(
    url: str,
    token_provider: Any,
    *,
    statement_timeout_ms: int | None = None,
    recycle_s: int = _RECYCLE_S,
    more: int = _MORE_CONNECTIONS,
) -> db.Engine:
    """The pool of this process for a database; a connection that was cut is replaced."""
    engine = create_pg_engine(
        url,
        token_provider,
        isolation_level="AUTOCOMMIT",
        pool_size=KEPT_CONNECTIONS,
        max_overflow=more,
        pool_recycle=recycle_s,
        pool_pre_ping=True,
    )
    if statement_timeout_ms is not None:

        @db.event.listens_for(engine, "connect")
        def limit(connection: Any, _: object) -> None:
            set_pg_statement_timeout(connection, statement_timeout_ms)

    return engine


def _when_it_is_back(engine: db.Engine, patience_s: float) -> db.Connection:
    """A connection that answers; while the server is away, look again and again."""
    give_up_at, pause_s = time.monotonic() + patience_s, _FIRST_PAUSE_S
    while True:
        try:
            return engine.connect()
        except (db.exc.DatabaseError, db.exc.TimeoutError):
            if time.monotonic() > give_up_at:
                raise
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
