"""Why the last run of a deal and mode promoted nothing; a promotion makes it void."""

import contextlib

from segpipe.store import layout
from segpipe.store.commits import CommitLog
from segpipe.store.documents import CommitKind, Failure, FailureRecord
from segpipe.store.storage import Storage


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
