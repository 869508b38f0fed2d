"""Times and numbers as QuickBooks Online writes them."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

PACIFIC = ZoneInfo("America/Los_Angeles")
"""Offset of MetaData times, and time zone of the simulated company."""


def wire_time(moment: datetime, *, milliseconds: bool = False) -> str:
    """A moment with the US Pacific offset; whole seconds, as in MetaData, unless asked for more."""
    return moment.astimezone(PACIFIC).isoformat(timespec="milliseconds" if milliseconds else "seconds")


def today(moment: datetime) -> date:
    """The company's day."""
    return moment.astimezone(PACIFIC).date()


def plain(value: Any) -> Any:  # noqa: ANN401 - what json.dumps asks about
    """A Decimal as the JSON number that reads back equal: amounts have far fewer digits than a float keeps."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


def dumps(answer: Any) -> str:  # noqa: ANN401 - JSON is anything
    """The answer as JSON text."""
    return json.dumps(answer, default=plain, ensure_ascii=False)
