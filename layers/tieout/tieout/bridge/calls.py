"""A connector's calls as text, for the way to another computer and back. Both ends use this, so they agree."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tieout.domain import errors
from tieout.domain.documents import DOCUMENTS, Document, RecordUpdate
from tieout.domain.effects import Done, Effect, Match, MatchedBy, NotDone, Operation, Outcome, Unknown
from tieout.domain.errors import ProviderError, SettingsError, TieoutError, UncertainError
from tieout.domain.packing import pack, unpack
from tieout.domain.records import Kind, Record
from tieout.ports.connector import Account, ChangePage, Connector


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
        call = prepare(connector, unpack(text))
    except (ValueError, TypeError, KeyError, AttributeError):
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
    kind, field, values = Kind(given["kind"]), str(given["field"]), _texts(given["values"])
    return lambda: [_from_record(record) for record in connector.search(kind, field, values)]


def _changes(connector: Connector, given: Mapping[str, Any]) -> Callable[[], object]:
    kind, cursor = Kind(given["kind"]), given["cursor"]

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
    kind, after = Kind(given["kind"]), given["after"]

    def call() -> object:
        ids, following = connector.ids(kind, after)
        return [list(ids), following]

    return call


def _find(connector: Connector, given: Mapping[str, Any]) -> Callable[[], object]:
    effects = [_to_effect(one) for one in given["effects"]]

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
    effects = [_to_effect(one) for one in given["effects"]]
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
        return _read_as(text, lambda one: Account(str(one["id"]), str(one["name"]), one["currency"]))

    @staticmethod
    def records(text: str) -> list[Record]:
        """Of `read` and `search`."""
        return _read_as(text, lambda some: [_to_record(one) for one in some])

    @staticmethod
    def changes(text: str) -> ChangePage:
        """A page of changes."""

        def page(one: Mapping[str, Any]) -> ChangePage:
            return ChangePage(
                [_to_record(record) for record in one["records"]],
                str(one["cursor"]),
                more=one["more"] is True,
                gone=_texts(one["gone"]),
                deletions_unsure=one["deletions_unsure"] is True,
            )

        return _read_as(text, page)

    @staticmethod
    def cursor(text: str) -> str:
        """Of `cursor_now`."""
        return _read_as(text, str)

    @staticmethod
    def ids(text: str) -> tuple[Sequence[str], str | None]:
        """A page of ids, and where to go on."""
        return _read_as(text, lambda pair: (_texts(pair[0]), None if pair[1] is None else str(pair[1])))

    @staticmethod
    def matches(text: str) -> dict[str, Sequence[Match]]:
        """Of `find`, by effect id."""

        def match(one: Mapping[str, Any]) -> Match:
            return Match(_to_record(one["record"]), MatchedBy(one["by"]), unfinished=one["unfinished"] is True)

        return _read_as(text, lambda found: {str(key): [match(one) for one in some] for key, some in found.items()})

    @staticmethod
    def outcomes(text: str) -> list[Outcome]:
        """Of `write`."""
        return _read_as(text, lambda some: [_to_outcome(one) for one in some])


def _read_as[Result](text: str, read: Callable[[Any], Result]) -> Result:
    try:
        return read(unpack(text))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        raise UnreadableError("the result is not of the form that was expected") from None


# Errors

_ERRORS = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, ProviderError)
} | {"SettingsError": SettingsError}
_TEXTS = ("next_step", "detail", "request_id", "code", "field")


def encode_error(error: TieoutError) -> str:
    """The error with all that the engine and a person go by."""
    return pack(_from_error(error))


def decode_error(text: str) -> TieoutError:
    """What `encode_error` was given.

    Raises:
        UnreadableError: If it is none of a provider's errors, nor one of settings.
    """
    return _read_as(text, _to_error)


def _from_error(error: TieoutError) -> dict[str, Any]:
    told = {name: getattr(error, name) for name in _TEXTS if getattr(error, name, "")}
    if isinstance(error, errors.ThrottledError):
        told["retry_after_seconds"] = error.retry_after_seconds
    name = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _ERRORS)
    return {"error": name, "message": error.message, **told}


def _to_error(given: Mapping[str, Any]) -> TieoutError:
    kind = _ERRORS[given["error"]]
    arguments: dict[str, Any] = {name: str(given[name]) for name in _TEXTS if name in given}
    if kind is errors.ThrottledError:
        arguments["retry_after_seconds"] = int(given.get("retry_after_seconds", 0))
    return kind(str(given["message"]), **arguments)


# Values


def _plain(value: object) -> object:
    match value:
        case Effect():
            return _from_effect(value)
        case list() | tuple():
            return [_plain(one) for one in value]
    return value


def _texts(values: Sequence[Any]) -> list[str]:
    if not all(isinstance(value, str) for value in values):
        raise TypeError("texts are expected")
    return list(values)


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
        str(given["id"]),
        version=str(given["version"]),
        edited_at=given["edited_at"],
        edited_by=str(given["edited_by"]),
        fields=dict(given["fields"]),
    )


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
        id=given["id"],
        operation=Operation(given["operation"]),
        kind=kind,
        document=_to_document(kind, given["document"]),
        reference=given["reference"],
        target_id=given["target_id"],
        target_version=given["target_version"],
        attempt=given["attempt"],
        label=given["label"],
        notices=tuple(given["notices"]),
        similar=given["similar"],
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
