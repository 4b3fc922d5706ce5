"""Where Dagster keeps its own state: SQLite files, or PostgreSQL where one variable names it."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import dagster as dg
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from segpipe.errors import ConfigError

POSTGRES_VARIABLE = "SEGPIPE_POSTGRES_URL"
"""The environment variable that names a PostgreSQL database."""


class StateStorage(DagsterStorage, ConfigurableClass):
    """SQLite files in a folder, unless ``SEGPIPE_POSTGRES_URL`` names a PostgreSQL database.

    In ``dagster.yaml``::

        storage:
          custom:
            module: segpipe.pipeline.state_storage
            class: StateStorage
            config:
              base_dir: data/dagster
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """What stands under ``config`` in ``dagster.yaml``."""
        return {"base_dir": dg.StringSource}

    @classmethod
    def from_config_value(  # type: ignore[override]  # what it stands for, not itself
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> DagsterStorage:
        """Build the one or the other.

        Raises:
            ConfigError: The variable names a database that cannot be used from here.
        """
        url = os.environ.get(POSTGRES_VARIABLE)
        if url:
            return postgres_storage(url, inst_data)
        return DagsterSqliteStorage(config_value["base_dir"], inst_data=inst_data)


def postgres_storage(url: str, inst_data: ConfigurableClassData | None = None) -> DagsterStorage:
    """Dagster's state in the PostgreSQL database that a URL names.

    Raises:
        ConfigError: Its driver is not installed.
    """
    if find_spec("dagster_postgres") is None:
        raise ConfigError(
            "Dagster's state is to be in PostgreSQL, which needs the extra 'postgres': "
            "pip install 'segpipe[postgres]'",
            field=POSTGRES_VARIABLE,
        )
    from segpipe.pipeline.pooled_postgres import PooledPostgresStorage  # noqa: PLC0415 - an extra

    return PooledPostgresStorage(url, inst_data=inst_data)
