from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tieout.connectors.zoho_books.errors import to_error
from tieout.domain.errors import (
    NotFoundError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)

NOW = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)


def error(content, status=400, *, write=True, zone="UTC"):
    return to_error(content, status=status, write=write, now=NOW, zone=zone)


@pytest.mark.parametrize(
    ("status", "content", "kind", "code"),
    [
        (401, {"code": 57, "message": "You are not authorized"}, ReconnectError, "57"),
        (401, None, ReconnectError, "401"),
        (200, {"code": 14, "message": "Invalid token"}, ReconnectError, "14"),
        (404, {"code": 1002, "message": "Invoice does not exist."}, NotFoundError, "1002"),
        (404, None, NotFoundError, "404"),
        (400, {"code": 3062, "message": 'The customer "x" already exists.'}, RejectedError, "3062"),
        (400, {"code": 9999, "message": "Something of its own."}, RejectedError, "9999"),
        (200, {"code": 4, "message": "Invalid value"}, RejectedError, "4"),
        (400, {"code": "4", "message": ["no text"]}, RejectedError, "4"),
        (429, None, ThrottledError, "429"),
        (200, {"code": 1070}, ThrottledError, "1070"),
    ],
)
@pytest.mark.parametrize("write", [True, False])
def test_what_was_refused_is_the_same_for_reads_and_writes(status, content, kind, code, write):
    found = error(content, status, write=write)

    assert (type(found), found.code) == (kind, code)
    assert found.message.endswith(".")


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (500, {"code": 1000, "message": "Internal Error"}),
        (400, {"code": 1000, "message": "Internal Error"}),
        (503, None),
        (500, {"code": 9999, "message": "Something of its own."}),
        (200, None),
        (200, {"code": 0, "message": "success"}),
        (200, {"code": True}),
        (200, [1]),
        (403, None),
    ],
)
def test_what_does_not_say_that_it_was_refused_is_unknown_for_a_write(status, content):
    assert type(error(content, status)) is UncertainError
    assert type(error(content, status, write=False)) is UnavailableError


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("Invoice number already exists.", "number"),
        ("Transactions before 31 Jan 2026 have been locked.", "date"),
        ("The books have a closed period", "date"),
        ("Invalid custom field cf_x", ""),
        ("Please enter a valid block number", ""),
    ],
)
def test_what_has_no_published_code_is_known_by_its_words(message, field):
    found = error({"code": 77, "message": message})

    assert isinstance(found, RejectedError)
    assert found.field == field
    assert message.rstrip(".") in found.message


@pytest.mark.parametrize(
    ("zone", "until", "hours"),
    [
        ("UTC", "2026-03-29 00:00 (UTC)", 1.5),
        ("Asia/Kolkata", "2026-03-30 00:00 (Asia/Kolkata)", 20),
        ("Europe/Berlin", "2026-03-29 00:00 (Europe/Berlin)", 0.5),
    ],
)
def test_a_day_that_is_used_up_ends_at_the_organisations_midnight(zone, until, hours):
    found = error({"code": 45, "message": "per day"}, 429, zone=zone)

    assert isinstance(found, ThrottledError)
    assert until in found.message
    assert found.retry_after_seconds == hours * 3600 + 1


def test_a_day_of_23_hours_is_waited_for_no_longer():
    found = to_error(
        {"code": 45}, status=429, write=False, now=datetime(2026, 3, 28, 23, 30, tzinfo=UTC), zone="Europe/Berlin"
    )

    assert isinstance(found, ThrottledError)
    assert found.retry_after_seconds == 22.5 * 3600 + 1


def test_a_long_message_is_cut_and_its_white_space_is_plain():
    found = error({"code": 4, "message": "a\n\tb " + "x" * 1000})

    assert found.message.startswith("Zoho Books refuses it: a b xxx")
    assert len(found.message) < 240
