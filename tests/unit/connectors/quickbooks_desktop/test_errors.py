from __future__ import annotations

import pytest

from tieout.connectors.quickbooks_desktop.errors import RESULTS, TABLE, not_taken, refusal
from tieout.domain.errors import (
    ConflictError,
    NotFoundError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)
from tieout.ports.http import Answer

CUSTOMER_GONE = (
    'There is an invalid reference to QuickBooks Customer "Joe Smith" in the SalesOrder.  QuickBooks error message: '
    "Invalid argument.  The specified record does not exist in the list."
)
CLOSED_PERIOD = 'The date "2017-12-09" is in a closed accounting period.'
ITEM_GONE = CUSTOMER_GONE.replace('Customer "Joe Smith"', 'Item "sooo wrong"')


@pytest.mark.parametrize(
    ("code", "message", "error", "field"),
    [
        (3040, "There was an error when converting the amount", RejectedError, ""),
        (3100, "The name is already in use.", RejectedError, "name"),
        (3120, 'Object "1" cannot be found.', NotFoundError, None),
        (3140, CUSTOMER_GONE, NotFoundError, None),
        (3140, ITEM_GONE, RejectedError, "lines"),
        (3140, ITEM_GONE.replace("Item", "Terms"), RejectedError, "terms"),
        (3140, ITEM_GONE.replace("Item", "Sales Tax Code"), RejectedError, "lines"),
        (3171, "closed", RejectedError, "date"),
        (3175, "in use", ThrottledError, None),
        (3200, "out-of-date", ConflictError, None),
        (3170, "It is in a closed accounting period.", RejectedError, "date"),
        (3210, "The date is wrong", RejectedError, "date"),
        (3210, CLOSED_PERIOD, RejectedError, "date"),
        (3260, "no permission", RejectedError, ""),
        (9101, "macro", RejectedError, ""),
    ],
)
def test_refusals_have_an_error_and_a_field(code, message, error, field):
    for write in (False, True):
        found = refusal(code, message, write=write)

        assert type(found) is error
        assert found.code == str(code)
        if field is not None:
            assert found.field == field


def test_a_closed_period_is_told_as_such_whatever_its_code():
    found = refusal(3210, CLOSED_PERIOD, write=True)
    assert "open the period in QuickBooks" in found.next_step


@pytest.mark.parametrize("code", [1000, 1010, 2000, 9999, -1])
def test_what_no_row_covers_is_uncertain_for_a_write_and_unavailable_for_a_read(code):
    assert type(refusal(code, "?", write=True)) is UncertainError
    assert type(refusal(code, "?", write=False)) is UnavailableError


@pytest.mark.parametrize("result", sorted(RESULTS))
def test_a_known_result_says_that_nothing_was_done(result):
    answer = Answer(502, {"hresult": result.upper().replace("X", "x")}, b"Could not start QuickBooks.")

    found = not_taken(answer, write=True)

    assert not isinstance(found, UncertainError)
    assert type(found) is type(not_taken(answer, write=False))
    assert found.code == result


@pytest.mark.parametrize(
    "answer",
    [
        Answer(502, {"hresult": "0x80040402"}, b"Unexpected error."),
        Answer(502, {"hresult": "0x8004040E"}, b"There is not enough memory to complete the request."),
        Answer(502, {}, b"<html>Bad gateway</html>"),
        Answer(500, {"hresult": "0x80040408"}, b""),
        Answer(204, {}, b""),
        Answer(302, {}, b""),
    ],
)
def test_everything_else_is_uncertain_for_a_write(answer):
    assert type(not_taken(answer, write=True)) is UncertainError
    assert type(not_taken(answer, write=False)) is UnavailableError


def test_a_person_is_told_what_to_do():
    for row in (*TABLE.values(), *RESULTS.values()):
        waits = {ThrottledError, ConflictError, NotFoundError}
        assert row.next_step or row.error in waits or row is RESULTS["0x8004041b"]
        assert row.sentence.format(said="x")


def test_a_gateway_page_is_not_repeated():
    found = not_taken(Answer(502, {}, b"<html>secret</html>"), write=False)

    assert "secret" not in found.message + found.detail


@pytest.mark.parametrize(("status", "error"), [(401, ReconnectError), (403, ReconnectError), (429, ThrottledError)])
def test_the_doors_own_refusals(status, error):
    assert type(not_taken(Answer(status, {}, b""), write=True)) is error
