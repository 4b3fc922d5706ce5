"""A run that somebody has ended stops, also where no signal reaches it."""

import asyncio
import contextlib
import time
from pathlib import Path

import dagster as dg
from dagster import DagsterExecutionInterruptedError

from segpipe.detection import SegmentationResult, Thresholds
from segpipe.pipeline.interrupts import CANCEL_TAG, note_cancel
from segpipe.prompt import Mode, Prompt
from segpipe.vision.image import RgbImage
from segpipe_tests.deals import make_deal
from segpipe_tests.goods import BrightSegmenter
from segpipe_tests.pipeline.dagster_runs import make_defs, run_deals

ENDS_WITHIN_S = 10.0
FAR_TOO_LONG_S = 120.0


def test_a_run_looks_whether_it_was_ended_and_a_second_one_is_another(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store = make_deal(tmp_path, "a", (1,))
    make_deal(tmp_path, "b", (2,))

    class Endless(BrightSegmenter):
        async def segment(
            self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
        ) -> SegmentationResult:
            (run,) = instance.get_runs()
            note_cancel(instance, run.run_id)
            await asyncio.sleep(FAR_TOO_LONG_S)
            return await super().segment(image, prompt, thresholds)

    begun = time.monotonic()
    with contextlib.suppress(DagsterExecutionInterruptedError):
        run_deals(make_defs(tmp_path, Endless), instance, ["a", "b"])
    assert time.monotonic() - begun < ENDS_WITHIN_S
    (run,) = instance.get_runs()
    assert run.status is dg.DagsterRunStatus.CANCELED
    assert store.current("a", Mode.FIND_ALL) is None
    assert store.current("b", Mode.FIND_ALL) is None

    # Who starts it again inherits its tags, not its end.
    job = make_defs(tmp_path).resolve_job_def("find_all_everything")
    again = job.execute_in_process(instance=instance, tags=run.tags)
    assert again.success
    assert again.dagster_run.tags[CANCEL_TAG] == run.run_id
    assert store.current("a", Mode.FIND_ALL) is not None
