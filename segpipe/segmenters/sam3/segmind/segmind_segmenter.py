"""SAM 3 by Segmind's API as a segmenter."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

from segpipe.detection import Detection, SegmentationResult, Thresholds
from segpipe.prompt import Mode, Prompt
from segpipe.segmenters.kept_data import Ledgers
from segpipe.segmenters.sam3.segmind.answer_masks import SentPhoto
from segpipe.segmenters.sam3.segmind.call_ledger import Bill, Budget, Ledger
from segpipe.segmenters.sam3.segmind.ledger_folder import LedgerFolder
from segpipe.segmenters.sam3.segmind.segmind_answer import Reading, read_answer
from segpipe.segmenters.sam3.segmind.segmind_api import SegmindApi
from segpipe.segmenters.sam3.segmind.segmind_boxes import box_itself, match_boxes, one_item
from segpipe.segmenters.sam3.segmind.segmind_request import (
    SegmindRequest,
    Upload,
    ask_for_all,
    ask_for_boxes,
    check_prompt,
    make_upload,
    stray_points,
)
from segpipe.segmenters.sam3.segmind.segmind_settings import SegmindConfig, read_api_key
from segpipe.segmenters.segmenter import CallContext, Segmenter, current_call_context
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage

_ALL = 0  # masks: one is wanted for every box, however many there are


class SegmindSegmenter(Segmenter):
    """Finds what a prompt means by Segmind's paid API.

    ``inside_box`` takes one call for all boxes without points, and one for each box with points;
    a mask belongs to the box that its own box overlaps most. A box for which the service finds
    nothing is itself the mask, with score 0, and a note says so. The API cannot use a text there:
    it is the label alone. When a call fails, the others of its prompt are paid for again on a
    retry; :class:`BoxByBox` around a cache prevents that.

    Args:
        config: The settings.
        ledgers: Where calls are accounted for; by default files in the folder that settings name.

    Raises:
        ConfigError: The environment variable with the key is not set.
    """

    id = "sam3-segmind"

    def __init__(self, config: SegmindConfig, ledgers: Ledgers | None = None) -> None:
        self._config = config
        self._key = read_api_key(config)
        self._api = SegmindApi(config, self._key)
        self._budget = Budget(
            config.max_paid_calls,
            config.max_cost,
            config.cost_per_call,
            config.max_cost_per_day,
        )
        self._ledgers = ledgers or LedgerFolder(Path(config.ledger_folder))
        self._of_requests: dict[str, Ledger] = {}

    @property
    def concurrency(self) -> int:
        """As many as may be under way."""
        return self._config.http.in_flight

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8; only a copy, perhaps smaller, is sent.

        The API knows no threshold for the pixels of masks, and bounds the others: see
        :meth:`SegmindConfig.within`.

        Raises:
            PromptError: The prompt makes no sense for the image, or has what the API lacks.
            BudgetExceededError: The next call would pass a limit of the run.
            BackendError: The API failed, or its answer is not understood.
            StoreError: The ledger cannot be written.
        """
        height, width = image.shape[:2]
        prompt = check_prompt(prompt, width=width, height=height)
        started = time.perf_counter()
        bill = self._bill(current_call_context())
        config = self._config.within(thresholds)
        upload = await asyncio.to_thread(make_upload, image, config)
        if prompt.mode is Mode.INSIDE_BOX:
            reading = await self._inside_boxes(prompt, upload, bill, config)
        else:
            reading = await self._everything(prompt, upload, bill, config)
        return SegmentationResult.of_one_pass(
            reading.detections,
            image,
            self.id,
            started,
            usage=bill.usage,
            notes=reading.notes,
        )

    async def paid_calls(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> int:
        """One, or with points in drawn boxes one for each of these."""
        is_drawn = prompt.mode is Mode.INSIDE_BOX
        return len(ask_for_boxes(prompt.boxes, prompt.points)) if is_drawn else 1

    async def require_budget(self, calls: int) -> None:
        """Raise BudgetExceededError when so many more calls would pass a limit of the run."""
        bill = self._bill(current_call_context())
        await asyncio.to_thread(bill.require_budget, calls)

    async def revision(self) -> str:
        """Where the API is: it tells no revision, but a double must not answer for the real one."""
        return self._config.endpoint

    async def aclose(self) -> None:
        """Close the connections; may be called again."""
        await self._api.aclose()

    async def _everything(
        self, prompt: Prompt, upload: Upload, bill: Bill, config: SegmindConfig
    ) -> Reading:
        question = ask_for_all(prompt)
        reading = await self._ask(question, upload, bill, question.text, config)
        if prompt.points:
            return replace(reading, detections=one_item(reading.detections, prompt.points))
        return reading

    async def _inside_boxes(
        self, prompt: Prompt, upload: Upload, bill: Bill, config: SegmindConfig
    ) -> Reading:
        label = prompt.text
        config = config.model_copy(update={"max_masks": _ALL})
        found: dict[Box, Detection] = {}
        notes: list[str] = []
        for question in ask_for_boxes(prompt.boxes, prompt.points):
            reading = await self._ask(question, upload, bill, label, config)
            found |= match_boxes(question.boxes, reading.detections)
            notes += (note for note in reading.notes if note not in notes)
        for box in prompt.boxes:
            if box not in found:
                size = {"width": upload.photo_width, "height": upload.photo_height}
                found[box] = replace(box_itself(box, **size), label=label)
                where = ", ".join(f"{side:g}" for side in box)
                notes.append(f"Nothing was found in the box ({where}): it is its mask, score 0.")
        notes += (
            f"The point ({point.x:g}, {point.y:g}) lies in no box and was not used."
            for point in stray_points(prompt)
        )
        return Reading(tuple(found[box] for box in prompt.boxes), tuple(notes))

    async def _ask(
        self,
        question: SegmindRequest,
        upload: Upload,
        bill: Bill,
        label: str | None,
        config: SegmindConfig,
    ) -> Reading:
        body = await asyncio.to_thread(question.body, upload, config)
        answer = await self._api.ask(body, bill)
        photo = SentPhoto(upload.photo_width, upload.photo_height, upload.width, upload.height)
        return await asyncio.to_thread(
            read_answer,
            answer,
            photo,
            label=label,
            max_masks=config.max_masks,
            secrets=[self._key],
        )

    def _bill(self, context: CallContext) -> Bill:
        request = context.request or context.run_id
        if request not in self._of_requests:
            self._of_requests[request] = Ledger(self._ledgers, request)
        return Bill(self._of_requests[request], self._budget, context)
