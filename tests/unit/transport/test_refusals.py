"""What a row of a table becomes."""

from __future__ import annotations

import pytest

from tieout.domain.errors import (
    ConflictError,
    NotFoundError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)
from tieout.transport.refusals import Row, Told

TOLD = Told("Shapes", said="Too round.", field="name", detail="status 400", request_id="q-1", code="17")


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize("error", [RejectedError, ReconnectError, NotFoundError, ConflictError, ThrottledError])
def test_what_was_surely_not_done_is_the_row_s_error_for_reads_and_writes(error, write):
    raised = Row(error, "Shapes refuses it: {said}", "Mend it.", retry_after_seconds=7).to_error(TOLD, write=write)

    assert type(raised) is error
    assert raised.message == "Shapes refuses it: Too round."
    assert (raised.detail, raised.request_id, raised.code) == ("status 400", "q-1", "17")
    if isinstance(raised, ThrottledError):
        assert raised.retry_after_seconds == 7
    else:
        assert raised.next_step == "Mend it."


def test_a_write_that_met_an_outage_may_have_been_done_and_a_read_was_not():
    row = Row(UnavailableError, "Shapes is down.")

    read, written = row.to_error(TOLD, write=False), row.to_error(TOLD, write=True)
    assert (type(read), read.message) == (UnavailableError, "Shapes is down.")
    assert (type(written), written.message) == (UncertainError, "Shapes did not say whether it was written.")
    assert (written.detail, written.request_id, written.code) == ("status 400", "q-1", "17")
    assert type(Row(UncertainError, "seen before").to_error(TOLD, write=False)) is UncertainError


def test_the_field_of_the_row_goes_before_the_provider_s():
    lines = Row(RejectedError, field="lines").to_error(TOLD, write=True)
    name = Row(RejectedError).to_error(TOLD, write=True)
    assert isinstance(lines, RejectedError)
    assert isinstance(name, RejectedError)
    assert (lines.field, name.field) == ("lines", "name")


def test_a_provider_that_says_nothing_gave_no_reason():
    assert Row(RejectedError, "Refused: {said}").to_error(Told("Shapes"), write=True).message == (
        "Refused: it gave no reason"
    )
    assert Row(RejectedError, "{said}").to_error(Told("Shapes", said="{odd} %s"), write=True).message == "{odd} %s"
