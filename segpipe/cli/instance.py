"""The Dagster instance that the command line works with."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.instance.ref import InstanceRef
from sqlalchemy.exc import SQLAlchemyError

from segpipe.cli.console import in_plain_words, warn
from segpipe.cli.lease import end_dead_runs
from segpipe.cli.options import local_folder
from segpipe.errors import StoreError
from segpipe.pipeline.partitions import DEALS
from segpipe.pipeline.state_storage import POSTGRES_VARIABLE, StateStorage
from segpipe.pipeline.storage_driver import HOME_VARIABLE, check_configured_storage_driver
from segpipe.store.disk import Disk

_FOLDER = "dagster"
_LOCK_NAME = "opening.lock"
_SETTINGS = "dagster.yaml"


def instance_folder(root: str | Path) -> Path:
    """The folder of the Dagster instance: ``DAGSTER_HOME``, else one in the data root."""
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) if home else local_folder(root) / _FOLDER


@contextmanager
def open_instance(root: str | Path) -> Iterator[dg.DagsterInstance]:
    """The instance of ``DAGSTER_HOME``, or one of SQLite files in the data root.

    The latter is where the ``dagster.yaml`` of a checkout keeps its own. Runs of killed commands
    are marked failed, so that they hold nothing up.

    Raises:
        StoreError: Its database cannot be read or written.
    """
    folder = instance_folder(root)
    with _database_errors(folder), _open(folder) as instance:
        for run_id in end_dead_runs(instance):
            warn(f"the run {run_id} was killed; it is marked failed now")
        yield instance


def add_partitions(instance: dg.DagsterInstance, deals: list[str]) -> None:
    """Make deals known to Dagster; those that are known stay as they are."""
    name = DEALS.name or ""
    known = set(instance.get_dynamic_partitions(name))
    if new := [deal for deal in deals if deal not in known]:
        instance.add_dynamic_partitions(name, new)


def packaged_settings() -> dict[str, object]:
    """The settings of a Dagster instance that come with segpipe."""
    settings: dict[str, object] = yaml.safe_load(_packaged_text())
    return settings


def _packaged_text() -> str:
    return resources.files("segpipe.cli").joinpath(_SETTINGS).read_text(encoding="utf-8")


def _open(folder: Path) -> dg.DagsterInstance:
    if os.environ.get(HOME_VARIABLE):
        check_configured_storage_driver()
        return dg.DagsterInstance.get()
    folder.mkdir(parents=True, exist_ok=True)
    # Two commands that make its databases at the same time leave them damaged for ever.
    lock = Disk().lock(folder / _LOCK_NAME)
    try:
        settings = folder / _SETTINGS
        if not settings.exists():
            new = settings.with_suffix(".new")  # a full disk must not leave half of them
            new.write_text(_packaged_text(), encoding="utf-8")
            new.replace(settings)
        reference = InstanceRef.from_dir(str(folder), overrides=_storage_overrides(folder))
        instance = dg.DagsterInstance.from_ref(reference)
        instance.get_dynamic_partitions(DEALS.name or "")  # makes the last of them
    finally:
        lock.release()
    return instance


def _storage_overrides(folder: Path) -> dict[str, object]:
    """The storage of an instance in a data root, where an environment variable names another."""
    if not os.environ.get(POSTGRES_VARIABLE):
        return {}
    return {
        "storage": {
            "custom": {
                "module": StateStorage.__module__,
                "class": StateStorage.__name__,
                "config": {"base_dir": str(folder)},
            }
        }
    }


@contextmanager
def _database_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        # The first line is the database's; what follows is SQL.
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StoreError(
            f"Dagster's database in {folder} cannot be used: {cause}; free space, or make the "
            "folder writable, or see 'segpipe doctor'"
        ) from error
    except OSError as error:
        if error.filename and Path(str(error.filename)).is_relative_to(folder):
            raise StoreError(f"Dagster's files cannot be used: {in_plain_words(error)}") from error
        raise
