"""The calls to Segmind's sam3-image endpoint: one that waits, or submit, poll and fetch.

See https://docs.segmind.com/docs/serverless-api/async-inference.
"""

import asyncio
import re
from http import HTTPStatus
from typing import Any

from segpipe.errors import (
    BackendError,
    BackendProtocolError,
    BackendRefusedError,
    BackendUncertainError,
)
from segpipe.segmenters.http import Answer, Attempt, BackendClient
from segpipe.segmenters.http.redaction import snippet
from segpipe.segmenters.sam3.segmind.answer import JSON_TYPES, parse_object
from segpipe.segmenters.sam3.segmind.config import Api, SegmindConfig
from segpipe.segmenters.sam3.segmind.ledger import Bill, amount
from segpipe.segmenters.sam3.segmind.pictures import NotUnderstoodError

_JSON = {"content-type": "application/json"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class SegmindApi:
    """Asks the endpoint, and lets a bill see every paid call.

    Args:
        config: The segmenter's.
        key: Of the API.
    """

    def __init__(self, config: SegmindConfig, key: str) -> None:
        self._config = config
        self._key = key
        self._client = BackendClient(
            "segmind",
            config.endpoint,
            config.http,
            headers={"x-api-key": key},
            secrets=[key],
            resend_uncertain=config.resend_uncertain,
        )

    async def ask(self, body: bytes, bill: Bill) -> Answer:
        """Send one request, JSON as bytes, and wait for its answer.

        Raises:
            BackendError: As the client raises it; an uncertain error also when a submitted job
                has no result in time.
            BudgetExceededError: The run may not pay for the call.
        """
        if self._config.api is Api.V1:
            return await self._post("/v1/sam3-image", body, bill)
        submitted = await self._post("/v2/sam3-image", body, bill)
        request_id = str(self._object(submitted).get("request_id", ""))
        if not _REQUEST_ID.fullmatch(request_id):
            raise self._misfit("it submitted the work, but named no request", submitted)
        try:
            async with asyncio.timeout(self._config.http.deadline_s):
                return await self._collect(f"/v2/requests/{request_id}", bill)
        except TimeoutError:
            pass
        raise BackendUncertainError(
            f"segmind has no result of request {request_id} after "
            f"{self._config.http.deadline_s:g} s; it may still do the work, and bill it"
        )

    async def aclose(self) -> None:
        """Close all connections; may be called again."""
        await self._client.aclose()

    async def _post(self, path: str, body: bytes, bill: Bill) -> Answer:
        return await self._client.request(
            "POST", path, on_attempt=bill.observe, content=body, headers=_JSON
        )

    async def _collect(self, path: str, bill: Bill) -> Answer:
        """Poll until the work is done, and fetch the result."""
        while True:
            polled = await self._read(f"{path}/status", bill)
            if self._is_completed(polled, bill):
                break
            await asyncio.sleep(self._config.poll_interval_s)
        result = await self._read(path, bill)
        fields = self._object(result) if result.content_type in JSON_TYPES else {}
        cost = result.headers.get("x-cost", fields.get("cost"))
        left = result.headers.get("x-remaining-credits", fields.get("remaining_credits"))
        bill.settle(amount(cost), amount(left))
        return result

    def _is_completed(self, polled: Answer, bill: Bill) -> bool:
        match self._object(polled).get("status"):
            case "COMPLETED":
                return True
            case "QUEUED" | "PROCESSING":
                return False
            case "FAILED":
                bill.settle(None, None, failed=True)
                text = snippet(polled.body.decode(errors="replace"), [self._key])
                raise BackendRefusedError(f"segmind could not do the work: {text!r}")
            case _:
                raise self._misfit("it has no status that is known", polled)

    async def _read(self, path: str, bill: Bill) -> Answer:
        def note_failure(attempt: Attempt) -> None:
            # The work was done and failed, which is not billed (the document above).
            if attempt.status == HTTPStatus.UNPROCESSABLE_ENTITY:
                bill.settle(None, None, failed=True)

        return await self._client.request("GET", path, on_attempt=note_failure)

    def _object(self, answer: Answer) -> dict[str, Any]:
        try:
            return parse_object(answer.body)
        except NotUnderstoodError as error:
            reason = str(error)
        raise self._misfit(reason, answer)

    def _misfit(self, reason: str, answer: Answer) -> BackendError:
        text = snippet(answer.body.decode(errors="replace"), [self._key])
        return BackendProtocolError(f"segmind's answer is not understood: {reason}: {text!r}")
