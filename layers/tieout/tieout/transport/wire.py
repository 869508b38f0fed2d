"""JSON as providers take and give it: amounts digit by digit, and models that keep what they do not know."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from tieout.domain.errors import UnavailableError
from tieout.ports.http import Answer


class Wire(BaseModel):
    """Base of what an answer holds: unknown fields pass, names may be given in either form.

    `model_fields_set` tells what the answer held: absent is not null. Built when first used: starting stays quick.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True, defer_build=True)


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


Moment = Annotated[dt.datetime, AfterValidator(_utc)]
"""Aware UTC, whatever offset the provider sends; one without an offset is taken as UTC."""


def encode(value: object) -> bytes:
    """The value as JSON in which a Decimal stands digit by digit: the way through float would round it.

    Other letters than those of ASCII are escaped, so that no charset can garble them; dates are ISO 8601.

    Raises:
        TypeError: If there is a float in it, or anything else that has no exact form.
    """
    return _text(value).encode()


def _text(value: object) -> str:
    match value:
        case Decimal():
            return format(value, "f")
        case Mapping():
            return "{" + ",".join(f"{json.dumps(str(name))}:{_text(each)}" for name, each in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(_text, value)) + "]"
        case dt.date():
            return json.dumps(value.isoformat())
        case str() | bool() | int() | None:
            return json.dumps(value)
        case _:
            raise TypeError(f"not for the wire: {type(value).__name__}")


def object_of(answer: Answer) -> Mapping[str, Any]:
    """The JSON object that the answer holds; empty if it holds none."""
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def parsed[Model: BaseModel](model: type[Model], content: object, title: str) -> Model:
    """What a read was answered with, as the model; `title` is the provider's name for people.

    Raises:
        UnavailableError: If it is not of that form.
    """
    try:
        return model.model_validate(content)
    except ValidationError:  # its text would hold the answer
        raise unreadable(title, f"no {model.__name__}") from None


def unreadable(title: str, what: str) -> UnavailableError:
    """The error that the answer to a read is which has another form than we know; `what` goes to the log."""
    return UnavailableError(f"{title} gave an answer that cannot be understood.", detail=what)
