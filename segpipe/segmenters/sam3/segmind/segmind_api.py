"""The calls to Segmind's sam3-image endpoint: one that waits, or submit, poll and fetch.

See https://docs.segmind.com/docs/serverless-api/async-inference.
"""

import asyncio
import re
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from segpipe.errors import BackendRefusedError, BackendUnavailableError, BackendUncertainError
from segpipe.segmenters.http import Answer, Attempt, BackendClient
from segpipe.segmenters.http.http_answers import redact
from segpipe.segmenters.sam3.segmind.answer_masks import NotUnderstoodError
from segpipe.segmenters.sam3.segmind.call_ledger import Bill, amount
from segpipe.segmenters.sam3.segmind.segmind_answer import (
    JSON_TYPES,
    beginning,
    misfit,
    parse_object,
)
from segpipe.segmenters.sam3.segmind.segmind_settings import Api, SegmindConfig

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
        self._secrets = [key]
        self._client = BackendClient(
            "segmind",
            config.endpoint,
            config.http,
            headers={"x-api-key": key},
            secrets=self._secrets,
            resend_uncertain=config.resend_uncertain,
        )

    async def ask(self, body: bytes, bill: Bill) -> Answer:
        """Send one request, JSON as bytes, and wait for its answer.

        While the run has a limit of cost and no call has told what one costs, calls take turns.
        The deadline of the settings is for the whole of it, from the moment that its turn comes.

        Raises:
            BackendError: As the client raises it; an uncertain error also when a submitted job
                has no result in time, or its result cannot be had.
            BudgetExceededError: The run may not pay for the call.
        """
        async with bill.turn():
            if self._config.api is Api.V1:
                return await self._post("/v1/sam3-image", body, bill)
            return await self._submit_and_collect(body, bill)

    async def aclose(self) -> None:
        """Close all connections; may be called again."""
        await self._client.aclose()

    async def _post(self, path: str, body: bytes, bill: Bill) -> Answer:
        return await self._client.request(
            "POST", path, on_attempt=bill.observe, content=body, headers=_JSON
        )

    async def _submit_and_collect(self, body: bytes, bill: Bill) -> Answer:
        deadline_s = self._config.http.deadline_s
        ends = asyncio.get_running_loop().time() + deadline_s
        request_id = self._request_id(await self._post("/v2/sam3-image", body, bill))
        try:
            async with asyncio.timeout_at(ends):
                return await self._collect(f"/v2/requests/{request_id}", bill)
        except TimeoutError:
            reason = f"segmind has no result of request {request_id} after {deadline_s:g} s"
        except (BackendUnavailableError, BackendUncertainError) as error:
            # To ask for the result is free and may be repeated; to submit the work again is not.
            reason = f"the result of segmind's request {request_id} cannot be had: {error.message}"
        raise BackendUncertainError(
            f"{reason}; it may still do the work, and bill it, so the work was not submitted again"
        )

    def _request_id(self, submitted: Answer) -> str:
        """What the work is called, in URLs and messages: so it must not be the key."""
        request_id = self._object(submitted).get("request_id")
        if (
            not isinstance(request_id, str)
            or not _REQUEST_ID.fullmatch(request_id)
            or redact(request_id, self._secrets) != request_id
        ):
            raise misfit("it took the work, but named no request", submitted, self._secrets)
        return request_id

    async def _collect(self, path: str, bill: Bill) -> Answer:
        """Poll until the work is done, and fetch the result."""
        while True:
            polled = await self._read(f"{path}/status", bill)
            if self._is_completed(polled, bill):
                break
            await asyncio.sleep(self._config.poll_interval_s)
        result = await self._read(path, bill)
        fields = await asyncio.to_thread(_fields, result)
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
                said = beginning(polled, self._secrets)
                raise BackendRefusedError(f"segmind could not do the work: {said!r}")
            case _:
                raise misfit("it has no status that is known", polled, self._secrets)

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
        raise misfit(reason, answer, self._secrets)


def _fields(answer: Answer) -> dict[str, Any]:
    """What stands beside the masks; nothing where the answer is no object."""
    if answer.content_type in JSON_TYPES:
        with suppress(NotUnderstoodError):
            return parse_object(answer.body)
    return {}
