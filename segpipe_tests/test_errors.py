"""Errors say where, survive pickling and know whether another try is worth it."""

import errno
import pickle

import pytest

from segpipe.errors import (
    BadPromptsError,
    CorruptImageError,
    DealFailedError,
    InputError,
    PhotosChangedError,
    PromptFileError,
    SegpipeError,
    describe,
)
from segpipe.flow.run_deal import is_retryable


def test_an_error_names_its_place_and_keeps_what_is_known() -> None:
    error = CorruptImageError("half of it is missing", image="x.jpg")
    assert error.at(deal="lot", image="other.jpg") is error
    assert str(error) == "deal 'lot', image 'x.jpg': half of it is missing"
    assert describe(error) == f"CorruptImageError: {error}"


@pytest.mark.parametrize(
    "error",
    [
        InputError("no", deal="lot", image="x", field="y"),
        DealFailedError("lot", [CorruptImageError("half", image="x.jpg"), OSError(5, "io")]),
        BadPromptsError([PromptFileError("no", deal="lot", image="x", field="text")]),
    ],
)
def test_an_error_survives_pickling(error: SegpipeError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert (back.deal, back.image, back.field) == (error.deal, error.image, error.field)


def test_a_failed_deal_names_each_reason() -> None:
    error = DealFailedError("lot", [CorruptImageError("half", deal="lot", image="x.jpg")])
    assert str(error) == "deal 'lot': CorruptImageError: deal 'lot', image 'x.jpg': half"


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (InputError(""), False),
        (PhotosChangedError(""), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (OSError(errno.ENOSPC, ""), False),
        (OSError(errno.EROFS, ""), False),
        (ZeroDivisionError(), False),
        (DealFailedError("lot", [PhotosChangedError(""), ConnectionResetError()]), True),
        (DealFailedError("lot", [PhotosChangedError(""), InputError("")]), False),
    ],
)
def test_another_try_is_worth_it_only_for_faults_that_may_pass(
    error: Exception, again: bool
) -> None:
    assert is_retryable(error) is again
