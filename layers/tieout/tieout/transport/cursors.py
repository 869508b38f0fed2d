"""Cursors as text: what a connector wrote for the engine to keep, read again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tieout.domain.errors import UnavailableError


def stored_cursor[Cursor](make: Callable[[Any], Cursor], text: str, title: str) -> Cursor:
    """The cursor that `make` makes of the stored JSON; `title` is the provider's name for people.

    Raises:
        UnavailableError: If the text is none of ours, or `make` finds it to be none.
    """
    try:
        return make(json.loads(text))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise UnavailableError(f"The stored cursor of the {title} connection cannot be read.") from None
