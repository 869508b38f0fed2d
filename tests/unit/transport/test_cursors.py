"""Cursors that are read again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from tieout.connectors.act import connector as act
from tieout.connectors.quickbooks_online import feed as quickbooks
from tieout.connectors.zoho_books import feed as zoho
from tieout.domain.errors import UnavailableError
from tieout.transport.cursors import stored_cursor


@dataclass(frozen=True)
class Cursor:
    since: str
    page: int = 1


def strict(stored: Any) -> Cursor:
    datetime.fromisoformat(stored["since"])
    return Cursor(**stored)


def test_what_was_written_is_read():
    assert stored_cursor(strict, '{"since": "2026-01-05", "page": 2}', "Shapes") == Cursor("2026-01-05", 2)


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "5", '"x"', "{}", '{"since": "x"}', '{"since": 5}', '{"since": "2026-01-05", "x": 1}'],
)
def test_a_text_of_another_form_is_unavailable(text):
    with pytest.raises(UnavailableError, match="The stored cursor of the Shapes connection cannot be read"):
        stored_cursor(strict, text, "Shapes")


@pytest.mark.parametrize("kept", [quickbooks.Cursor.parse, zoho.Cursor.parse, act.Cursor.of])
@pytest.mark.parametrize("text", ["", "[]", '{"pages": 5}'])
def test_connectors_tell_a_cursor_that_is_none_of_theirs(kept, text):
    with pytest.raises(UnavailableError, match="stored cursor"):
        kept(text)
