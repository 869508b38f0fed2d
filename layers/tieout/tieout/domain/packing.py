"""Values as text and back: exact, without `float`. What the table, the outbox and the agents keep is written so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

_NUMBER, _DATE, _TIME, _PAIRS = "$n", "$d", "$t", "$p"


def pack(value: object) -> str:
    """Compact JSON text. Decimals, dates and times survive, each under a key of its own, such as `{"$n":"1.50"}`.

    Raises:
        TypeError: If there is a float in it, or something that JSON and these cannot say.
    """
    return json.dumps(_to_json(value), ensure_ascii=False, separators=(",", ":"))


def unpack(text: str) -> Any:  # noqa: ANN401  it was anything
    """What `pack` was given; sequences come back as lists."""
    return json.loads(text, object_hook=_from_json)


def _to_json(value: object) -> object:  # noqa: PLR0911 - one line a type
    match value:
        case None | bool() | int() | str():
            return str(value) if isinstance(value, str) else value
        case Decimal():
            return {_NUMBER: str(value)}
        case datetime():
            return {_TIME: time_text(value)}
        case date():
            return {_DATE: value.isoformat()}
        case Mapping():
            if any(key.startswith("$") for key in value):
                return {_PAIRS: [[key, _to_json(one)] for key, one in value.items()]}
            return {key: _to_json(one) for key, one in value.items()}
        case Sequence() if not isinstance(value, bytes | bytearray):
            return [_to_json(one) for one in value]
    raise TypeError(f"cannot store a {type(value).__name__}")


def _from_json(value: dict[str, Any]) -> Any:  # noqa: ANN401  it was anything
    match value:
        case {"$n": str(text)}:
            return Decimal(text)
        case {"$d": str(text)}:
            return date.fromisoformat(text)
        case {"$t": str(text)}:
            return time_of(text)
        case {"$p": list(pairs)}:
            return dict(pairs)
    return value


def time_text(moment: datetime) -> str:
    """ISO 8601 in UTC, always with microseconds, so that the order of the texts is the order of the times.

    Raises:
        ValueError: If the time is not aware.
    """
    if moment.tzinfo is None:
        raise ValueError("a time without its zone cannot be stored")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def time_of(text: str) -> datetime:
    """The aware UTC time that `time_text` wrote."""
    return datetime.fromisoformat(text)
