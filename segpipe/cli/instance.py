"""The Dagster instance that the command line works with."""

import os
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from segpipe.cli.options import local_folder
from segpipe.pipeline.partitions import DEALS
from segpipe.pipeline.storage_driver import HOME_VARIABLE, check_configured_storage_driver
from segpipe.store.local_storage import Disk

_FOLDER = "dagster"
_LOCK_NAME = "opening.lock"


def open_instance(root: str | Path) -> dg.DagsterInstance:
    """The instance of ``DAGSTER_HOME``, or one of SQLite files in the data root.

    The latter is where the ``dagster.yaml`` of a checkout keeps its own.
    """
    if os.environ.get(HOME_VARIABLE):
        check_configured_storage_driver()
        return dg.DagsterInstance.get()
    folder = local_folder(root) / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    quiet = {"telemetry": {"enabled": False}}
    # Two commands that make its databases at the same time leave them damaged for ever.
    lock = Disk().lock(folder / _LOCK_NAME)
    try:
        instance = dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides=quiet))
        instance.get_dynamic_partitions(DEALS.name or "")  # makes the last of them
    finally:
        lock.release()
    return instance


def add_partitions(instance: dg.DagsterInstance, deals: list[str]) -> None:
    """Make deals known to Dagster; those that are known stay as they are."""
    name = DEALS.name or ""
    known = set(instance.get_dynamic_partitions(name))
    if new := [deal for deal in deals if deal not in known]:
        instance.add_dynamic_partitions(name, new)
