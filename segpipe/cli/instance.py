"""The Dagster instance that the command line works with."""

import os
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from segpipe.pipeline.partitions import DEALS

HOME_VARIABLE = "DAGSTER_HOME"
_FOLDER = "dagster"


def open_instance(root: Path) -> dg.DagsterInstance:
    """The instance of ``DAGSTER_HOME``, or one of SQLite files in the data root.

    The latter is where the ``dagster.yaml`` of a checkout keeps its own.
    """
    if os.environ.get(HOME_VARIABLE):
        return dg.DagsterInstance.get()
    folder = root.absolute() / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    quiet = {"telemetry": {"enabled": False}}
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides=quiet))


def add_partitions(instance: dg.DagsterInstance, deals: list[str]) -> None:
    """Make deals known to Dagster; those that are known stay as they are."""
    name = DEALS.name or ""
    known = set(instance.get_dynamic_partitions(name))
    if new := [deal for deal in deals if deal not in known]:
        instance.add_dynamic_partitions(name, new)
