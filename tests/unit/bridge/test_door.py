"""Requests to a system's own program as text, there and back."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.bridge.test_line import Office
from tieout.bridge.calls import UnreadableError
from tieout.bridge.door import CALL, REFUSED_HEADER, BridgedDoor, answered, body_of, refused
from tieout.domain.bridge import Ended
from tieout.domain.errors import UnavailableError, UncertainError
from tieout.domain.packing import pack
from tieout.ports.http import Request

ANY_PACE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def sent(result: str | None, *, write: bool = True, body: bytes | None = b"<QBXML/>"):
    """The answer when this is reported, and the job that went out."""
    office = Office()
    jobs = []

    def does() -> None:
        if (job := office.lease()) is not None:
            jobs.append(job)
            office.counter.report(job, Ended.DONE, result)

    office.does = does
    return BridgedDoor(office.line()).send(Request("POST", "qbxml:", write=write, body=body)), jobs[0]


@ANY_PACE
@given(TEXTS, TEXTS)
def test_texts_travel_as_they_are(asked, told):
    answer, job = sent(answered(told), body=asked.encode())
    assert (answer.status, answer.body.decode(), answer.headers) == (200, told, {})
    assert (job.call, body_of(job.body)) == (CALL, asked)


@ANY_PACE
@given(TEXTS, TEXTS)
def test_why_a_request_was_not_taken_travels_too(code, message):
    answer, _ = sent(refused(code, message))
    assert (answer.status, answer.body.decode(), answer.headers) == (502, message, {REFUSED_HEADER: code})


@pytest.mark.parametrize("write", [True, False])
def test_a_job_says_whether_it_writes(write):
    _, job = sent(answered(""), write=write, body=None)
    assert (job.write, body_of(job.body)) == (write, "")


NONSENSE = [
    None,
    "",
    "nonsense",
    "[]",
    "{}",
    pack({"body": 5}),
    pack({"body": None}),
    pack({"body": "x", "refused": 5}),
    '{"body":{"$n":"no number"}}',
    '{"body":' * 100_000,
    "[" * 100_000 + "]" * 100_000,
]


@pytest.mark.parametrize("result", NONSENSE, ids=range(len(NONSENSE)))
def test_a_result_that_is_none_leaves_a_write_uncertain(result):
    with pytest.raises(UncertainError):
        sent(result)
    with pytest.raises(UnavailableError):
        sent(result, write=False)


@pytest.mark.parametrize("body", ["", "[]", "{}", pack({"body": 5}), pack({"effects": []}), "[" * 100_000])
def test_a_job_that_is_no_request_is_told(body):
    with pytest.raises(UnreadableError):
        body_of(body)
