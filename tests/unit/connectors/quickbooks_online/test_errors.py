"""The fault table: what each answer means for a read and for a write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tieout.connectors.quickbooks_online.errors import TABLE, Fault, parse_fault, to_error
from tieout.domain.errors import (
    ConflictError,
    NotFoundError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)

RECORDED = Path(__file__).parents[3] / "data" / "quickbooks_online"


def error_of(fault, *, status=200, write=True):
    return to_error(fault, status=status, write=write, request_id="1-tid")


def recorded(name: str) -> Fault | None:
    text = (RECORDED / name).read_text()
    return parse_fault(json.loads(text) if name.endswith("json") else text)


@pytest.mark.parametrize(
    ("name", "code", "error", "field"),
    [
        ("json/create_item_error.json", "2020", RejectedError, "name"),
        ("json/create_sales_receipt_error.json", "2020", RejectedError, "lines"),
        ("json/read_item_error.json", "610", NotFoundError, ""),
        ("json/query_error.json", "4000", RejectedError, ""),
        ("json/update_preferences_error.json", "5010", ConflictError, ""),
        ("xml/customer_duplicate_error.xml", "6240", RejectedError, "name"),
        ("xml/fault.xml", "2050", RejectedError, ""),
        ("xml/query_validation_error.xml", "4001", RejectedError, ""),
        ("xml/throttle_exceeded_error.xml", "3001", ThrottledError, ""),
        ("xml/too_many_requests_error.xml", "3001", ThrottledError, ""),
        ("xml/generic_error.xml", "10000", UncertainError, ""),
        ("xml/batch_response.xml", "2050", RejectedError, ""),
    ],
)
def test_recorded_faults(name, code, error, field):
    fault = recorded(name)
    assert fault is not None

    raised = error_of(fault)

    assert type(raised) is error
    assert (raised.code, raised.request_id) == (code, "1-tid")
    assert getattr(raised, "field", "") == field


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("003200", ReconnectError),
        ("3100", ReconnectError),
        ("120", ReconnectError),
        ("6190", ReconnectError),
        ("600", UncertainError),
        ("610", NotFoundError),
        ("5010", ConflictError),
        ("5020", RejectedError),
        ("6070", RejectedError),
        ("6100", RejectedError),
        ("6540", RejectedError),
        ("2170", RejectedError),
        ("2500", RejectedError),
        ("1040", RejectedError),
        ("630", RejectedError),
        ("620", RejectedError),
        ("500", RejectedError),
    ],
)
def test_codes(code, error):
    fault = parse_fault(
        {"Fault": {"Error": [{"code": code, "Message": "m", "Detail": "d"}], "type": "ValidationFault"}}
    )

    assert type(error_of(fault)) is error


@pytest.mark.parametrize(
    ("fault", "status", "write", "error"),
    [
        (None, 200, True, UncertainError),
        (None, 200, False, UnavailableError),
        (None, 500, True, UncertainError),
        (None, 503, False, UnavailableError),
        (None, 404, True, UncertainError),
        (None, 400, True, UncertainError),
        (None, 401, True, ReconnectError),
        (None, 403, False, ReconnectError),
        (None, 429, True, ThrottledError),
        (Fault(code="10000", type="SystemFault"), 200, True, UncertainError),
        (Fault(code="10000", type="SystemFault"), 500, False, UnavailableError),
        (Fault(code="98765", type="SystemFault"), 200, True, UncertainError),
        (Fault(code="98765", type="ValidationFault"), 400, True, RejectedError),
        (Fault(code="3001", type="SERVICE"), 403, True, ThrottledError),
        (Fault(type=""), 200, True, UncertainError),
    ],
)
def test_what_the_status_and_the_type_add(fault, status, write, error):
    assert type(error_of(fault, status=status, write=write)) is error


def test_the_gateways_small_letters_and_hidden_code_are_read():
    text = (
        '{"fault": {"error": [{"message": "message=ThrottleExceeded; errorCode=003001; statusCode=429"}], "type": "x"}}'
    )

    fault = parse_fault(json.loads(text))

    assert fault is not None
    assert fault.code == "3001"
    assert error_of(fault, status=429).retry_after_seconds == 60


@pytest.mark.parametrize("content", [{}, {"Fault": None}, {"Invoice": {"Id": "1"}}, [], None, 3, "", "<html>", "{"])
def test_what_is_no_fault(content):
    assert parse_fault(content) is None


@pytest.mark.parametrize("content", [{"Fault": {}}, {"Fault": {"Error": []}}, {"fault": {"error": {"code": 610}}}])
def test_a_fault_without_a_list_of_errors_is_still_one(content):
    assert parse_fault(content) is not None


def test_the_providers_sentence_reaches_the_person_and_is_bounded():
    fault = Fault(code="6000", detail="The due date is before the date. " * 40, type="ValidationFault")

    assert "due date" in error_of(fault).message
    assert len(parse_fault({"Fault": {"Error": [{"Detail": "x" * 5000}]}}).detail) == 300


def test_every_refusal_says_what_to_do():
    for code, row in TABLE.items():
        if row.error in (RejectedError, ReconnectError, NotFoundError):
            assert row.next_step, code


def test_no_entity_of_xml_is_expanded():
    entity = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>'

    fault = parse_fault(f'{entity}<Fault><Error code="610"><Detail>&b;</Detail></Error></Fault>')

    assert fault is not None
    assert fault.detail == "&b;"
