"""The queue of runs, whose pools have their limits before the first run waits in it."""

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.run_coordinator.base import SubmitRunContext


class LimitedRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue; a pool that nobody set has its default limit from the first run on.

    Dagster notes the default limit of a pool while it looks at the runs that wait for it, and
    lets that look pass: the first runs of a new instance all begin at once.
    """

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Note the limits of the run's pools, and queue it."""
        instance = self._instance
        if instance.global_op_concurrency_default_limit:
            needed = context.dagster_run.run_op_concurrency
            wanted = set(needed.all_pools or ()) if needed else set()
            for pool in wanted - set(instance.event_log_storage.get_concurrency_keys()):
                instance.event_log_storage.initialize_concurrency_limit_to_default(pool)
        return super().submit_run(context)
