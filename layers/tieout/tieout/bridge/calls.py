"""A connector's calls as text, for the way to another computer and back. Both ends use this, so they agree."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from tieout.domain import errors
from tieout.domain.documents import DOCUMENTS, Document, RecordUpdate
from tieout.domain.effects import Done, Effect, Match, MatchedBy, NotDone, Operation, Outcome, Unknown
from tieout.domain.errors import ProviderError, SettingsError, TieoutError, UncertainError
from tieout.domain.packing import pack, unpack
from tieout.domain.records import Kind, Record
from tieout.ports.connector import Account, ChangePage, Connector

_NONSENSE = (ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError, RecursionError)
"""What reading a text raises that somebody else wrote: one that is nested too deep, or a number that is none, too."""


class UnreadableError(ValueError):
    """The text is no call, result or error of ours."""


def encode_call(**arguments: object) -> str:
    """The arguments of a call, by name; effects, kinds, texts and sequences of them."""
    return pack({name: _plain(value) for name, value in arguments.items()})


def run_call(connector: Connector, name: str, text: str) -> str:
    """Call the connector's method of this name with the arguments, and give what comes back.

    Raises:
        UnreadableError: If there is no such call, or these are not its arguments.
        TieoutError: What the connector raises.
    """
    prepare = _CALLS.get(name)
    if prepare is None:
        raise UnreadableError(f"there is no call {name[:40]!r}")
    try:
        call = prepare(connector, _dict(_unpacked(text)))
    except _NONSENSE:
        raise UnreadableError(f"these are not the arguments of {name}") from None
    return pack(call())


def _probe(connector: Connector, _: Mapping[str, Any]) -> Callable[[], object]:
    def call() -> object:
        account = connector.probe()
        return {"id": account.id, "name": account.name, "currency": account.currency}

    return call


def _read(connector: Connector, given: Mapping[str, Any]) -> Callable[[], object]:
    kind, ids = Kind(given["kind"]), _texts(given["ids"])
    return lambda: [_from_record(record) for record in connector.read(kind, ids)]


def _search(connector: Connector, given: Mapping[str, Any]) -> Callable[[], object]:
    kind, field, values = Kind(given["kind"]), _text(given["field"]), _texts(given["values"])
    return lambda: [_from_record(record) for record in connector.search(kind, field, values)]


def _changes(connector: Connector, given: Mapping[str, Any]) -> Callable[[], object]:
    kind, cursor = Kind(given["kind"]), _text_or_none(given["cursor"])

    def call() -> object:
        page = connector.changes(kind, cursor)
        return {
            "records": [_from_record(record) for record in page.records],
            "cursor": page.cursor,
            "more": page.more,
            "gone": list(page.gone),
            "deletions_unsure": page.deletions_unsure,
        }

    return call


def _cursor_now(connector: Connector, given: Mapping[str, Any]) -> Callable[[], object]:
    kind = Kind(given["kind"])
    return lambda: connector.cursor_now(kind)


def _ids(connector: Connector, given: Mapping[str, Any]) -> Callable[[], object]:
    kind, after = Kind(given["kind"]), _text_or_none(given["after"])

    def call() -> object:
        ids, following = connector.ids(kind, after)
        return [list(ids), following]

    return call


def _find(connector: Connector, given: Mapping[str, Any]) -> Callable[[], object]:
    effects = [_to_effect(one) for one in _list(given["effects"])]

    def call() -> object:
        return {
            effect: [
                {"record": _from_record(match.record), "by": match.by.value, "unfinished": match.unfinished}
                for match in matches
            ]
            for effect, matches in connector.find(effects).items()
        }

    return call


def _write(connector: Connector, given: Mapping[str, Any]) -> Callable[[], object]:
    effects = [_to_effect(one) for one in _list(given["effects"])]
    return lambda: [_from_outcome(outcome) for outcome in connector.write(effects)]


_CALLS: Mapping[str, Callable[[Connector, Mapping[str, Any]], Callable[[], object]]] = {
    "probe": _probe,
    "read": _read,
    "search": _search,
    "changes": _changes,
    "cursor_now": _cursor_now,
    "ids": _ids,
    "find": _find,
    "write": _write,
}


# Results, as the caller reads them


class Results:
    """What came back of each call. Every method raises UnreadableError for text that is none of it."""

    @staticmethod
    def probe(text: str) -> Account:
        """The account."""
        return read_as(text, lambda one: Account(_text(one["id"]), _text(one["name"]), _text_or_none(one["currency"])))

    @staticmethod
    def records(text: str) -> list[Record]:
        """Of `read` and `search`."""
        return read_as(text, lambda some: [_to_record(one) for one in _list(some)])

    @staticmethod
    def changes(text: str) -> ChangePage:
        """A page of changes."""

        def page(one: Mapping[str, Any]) -> ChangePage:
            return ChangePage(
                [_to_record(record) for record in _list(one["records"])],
                _text(one["cursor"]),
                more=_flag(one["more"]),
                gone=_texts(one["gone"]),
                deletions_unsure=_flag(one["deletions_unsure"]),
            )

        return read_as(text, page)

    @staticmethod
    def cursor(text: str) -> str:
        """Of `cursor_now`."""
        return read_as(text, _text)

    @staticmethod
    def ids(text: str) -> tuple[Sequence[str], str | None]:
        """A page of ids, and where to go on."""

        def page(pair: Any) -> tuple[Sequence[str], str | None]:  # noqa: ANN401 - what was reported
            ids, following = _list(pair)
            return _texts(ids), _text_or_none(following)

        return read_as(text, page)

    @staticmethod
    def matches(text: str) -> dict[str, Sequence[Match]]:
        """Of `find`, by effect id."""

        def match(one: Mapping[str, Any]) -> Match:
            return Match(_to_record(one["record"]), MatchedBy(one["by"]), unfinished=_flag(one["unfinished"]))

        return read_as(text, lambda found: {key: [match(one) for one in _list(some)] for key, some in found.items()})

    @staticmethod
    def outcomes(text: str) -> list[Outcome]:
        """Of `write`."""
        return read_as(text, lambda some: [_to_outcome(one) for one in _list(some)])


def read_as[Result](text: str, read: Callable[[Any], Result]) -> Result:
    """What the function makes of what was packed.

    Raises:
        UnreadableError: If it is not of the form that it reads.
    """
    try:
        return read(_unpacked(text))
    except _NONSENSE:
        raise UnreadableError("the text is not of the form that was expected") from None


# Errors

_ERRORS = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, ProviderError)
} | {"SettingsError": SettingsError}
_TEXTS = ("next_step", "detail", "request_id", "code", "field")


def encode_error(error: ProviderError | SettingsError) -> str:
    """The error with all that the engine and a person go by."""
    return pack(_from_error(error))


def decode_error(text: str) -> TieoutError:
    """What `encode_error` was given.

    Raises:
        UnreadableError: If it is none of a provider's errors, nor one of settings.
    """
    return read_as(text, _to_error)


def _from_error(error: ProviderError | SettingsError) -> dict[str, Any]:
    told = {name: getattr(error, name) for name in _TEXTS if getattr(error, name, "")}
    if isinstance(error, errors.ThrottledError):
        told["retry_after_seconds"] = error.retry_after_seconds
    name = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _ERRORS)
    return {"error": name, "message": error.message, **told}


def _to_error(given: Mapping[str, Any]) -> TieoutError:
    kind = _ERRORS[given["error"]]
    arguments: dict[str, Any] = {name: _text(given[name]) for name in _TEXTS if name in given}
    if kind is errors.ThrottledError:
        arguments["retry_after_seconds"] = _seconds(given["retry_after_seconds"])
    return kind(_text(given["message"]), **arguments)


# Values


def _plain(value: object) -> object:
    match value:
        case Effect():
            return _from_effect(value)
        case list() | tuple():
            return [_plain(one) for one in value]
    return value


def _unpacked(text: str) -> Any:  # noqa: ANN401 - it was anything
    """What was packed; what `pack` never writes is refused, as it would be told from it nowhere later."""
    value = unpack(text)
    _check(value)
    return value


def _check(value: object) -> None:
    match value:
        case float():
            raise TypeError("a float is not exact")
        case Decimal() if not value.is_finite():
            raise ValueError("this is no number")
        case datetime() if value.tzinfo is None:
            raise ValueError("a time without its zone")
        case str() if not value.isascii():
            value.encode()  # half a character of two halves can be kept nowhere
        case list():
            for one in value:
                _check(one)
        case dict():
            for key, one in value.items():
                _text(key)
                _check(key)
                _check(one)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError("a text is expected")


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError("yes or no is expected")


def _seconds(value: object) -> int:
    if isinstance(value, int) and value >= 0:
        return value
    raise ValueError("a number of seconds is expected")


def _list(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    raise TypeError("a list is expected")


def _dict(value: object) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise TypeError("names and values are expected")


def _texts(values: object) -> list[str]:
    return [_text(value) for value in _list(values)]


def _from_record(record: Record) -> dict[str, Any]:
    return {
        "kind": record.kind.value,
        "id": record.id,
        "version": record.version,
        "edited_at": record.edited_at,
        "edited_by": record.edited_by,
        "fields": record.fields,
    }


def _to_record(given: Mapping[str, Any]) -> Record:
    return Record(
        Kind(given["kind"]),
        _text(given["id"]),
        version=_text(given["version"]),
        edited_at=_time_or_none(given["edited_at"]),
        edited_by=_text(given["edited_by"]),
        fields=_dict(given["fields"]),
    )


def _time_or_none(value: object) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    raise TypeError("a time is expected")


def _from_effect(effect: Effect) -> dict[str, Any]:
    document = effect.document
    return {
        "id": effect.id,
        "operation": effect.operation.value,
        "kind": effect.kind.value,
        # An update's values are of any type; a document's types are known at the other end.
        "document": document.as_fields()
        if isinstance(document, RecordUpdate)
        else document.model_dump(mode="json", exclude_unset=True),
        "reference": effect.reference,
        "target_id": effect.target_id,
        "target_version": effect.target_version,
        "attempt": effect.attempt,
        "label": effect.label,
        "notices": list(effect.notices),
        "similar": effect.similar,
    }


def _to_effect(given: Mapping[str, Any]) -> Effect:
    kind = Kind(given["kind"])
    return Effect(
        id=_text(given["id"]),
        operation=Operation(given["operation"]),
        kind=kind,
        document=_to_document(kind, _dict(given["document"])),
        reference=_text(given["reference"]),
        target_id=_text_or_none(given["target_id"]),
        target_version=_text(given["target_version"]),
        attempt=_text(given["attempt"]),
        label=_text(given["label"]),
        notices=tuple(_texts(given["notices"])),
        similar=_flag(given["similar"]),
    )


def _to_document(kind: Kind, fields: Mapping[str, Any]) -> Document:
    if DOCUMENTS[kind] is RecordUpdate:
        return RecordUpdate(fields=fields)
    return DOCUMENTS[kind].model_validate_json(json.dumps(fields))


def _from_outcome(outcome: Outcome) -> dict[str, Any]:
    match outcome:
        case Done(effect_id=effect, record=record):
            return {"effect": effect, "done": _from_record(record)}
        case NotDone(effect_id=effect, error=error):
            return {"effect": effect, "not_done": _from_error(error)}
        case Unknown(effect_id=effect, error=unsure):
            return {"effect": effect, "unknown": _from_error(unsure)}


def _to_outcome(given: Mapping[str, Any]) -> Outcome:
    match given:
        case {"effect": str(effect), "done": dict(record)}:
            return Done(effect, _to_record(record))
        case {"effect": str(effect), "not_done": dict(told)}:
            error = _to_error(told)
            if isinstance(error, ProviderError) and not isinstance(error, UncertainError):
                return NotDone(effect, error)
        case {"effect": str(effect), "unknown": dict(told)}:
            unsure = _to_error(told)
            if isinstance(unsure, UncertainError):
                return Unknown(effect, unsure)
    raise ValueError("no outcome")
