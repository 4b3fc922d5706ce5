"""Why the last run of a deal and mode promoted nothing; a promotion makes it void."""

import contextlib
from typing import Annotated

from pydantic import AwareDatetime, Field, NonNegativeInt

from segpipe.store import layout
from segpipe.store.commits import CommitLog
from segpipe.store.manifests import CommitKind, Document, Part
from segpipe.store.storage import Storage


class FailureItem(Part):
    """One thing that was wrong.

    Attributes:
        image: The photo concerned; None when it is the deal.
        error: The class of the error.
        message: Its message.
    """

    image: str | None
    error: str
    message: str


class Failure(Part):
    """Why a run promoted nothing for a deal and mode, or after that did not record what it found.

    Attributes:
        run_id: The run.
        attempt: Its attempt, from 0.
        created_at: When it gave up.
        photos_fingerprint: The deal's photos as they were then; "" when they could not be listed.
        prompts_version: What the mode was asked for; "" when that could not be read, or by a
            segpipe that knew no prompts.
        reviews_version: What people had decided about its items; "" for nothing.
        retryable: Whether the same photos and prompts may succeed later.
        errors: What was wrong.
    """

    run_id: str
    attempt: NonNegativeInt
    created_at: AwareDatetime
    photos_fingerprint: str
    prompts_version: str = ""
    reviews_version: Annotated[str, Field(exclude_if=lambda version: not version)] = ""
    retryable: bool
    errors: tuple[FailureItem, ...]


class FailureRecord(Document):
    """A failure, and the generation that was current then: 0 for none."""

    generation: NonNegativeInt
    failure: Failure


def record_failure(
    storage: Storage, log: CommitLog, deal: str, mode: str, failure: Failure
) -> None:
    """Keep a failure in place of the last one."""
    record = FailureRecord(generation=log.newest_generation(), failure=failure)
    storage.replace(layout.failure_key(deal, mode), record.to_bytes())


def forget_failure(storage: Storage, deal: str, mode: str) -> None:
    """Remove the record, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        storage.remove(layout.failure_key(deal, mode))


def last_failure(storage: Storage, log: CommitLog, deal: str, mode: str) -> Failure | None:
    """The failure that was recorded last, if nothing has been promoted since.

    Told by generations, so that no kill between a promotion and a tidying can leave a void failure
    in force.
    """
    try:
        data = storage.read(layout.failure_key(deal, mode))
    except FileNotFoundError:
        return None
    record = FailureRecord.from_bytes(data, "the record of the last failure")
    since = [kept for kept in log.kept() if kept.generation > record.generation]
    is_out_of_sight = bool(since) and since[0].generation > record.generation + 1
    promoted = any(kept.commit and kept.commit.kind is CommitKind.PROMOTE for kept in since)
    return None if promoted or is_out_of_sight else record.failure
