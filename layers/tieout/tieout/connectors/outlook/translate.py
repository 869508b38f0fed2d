"""Between Outlook's words and ours. Pure. A field that Graph did not send stays absent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from itertools import zip_longest
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from tieout.connectors.outlook import deals, wire
from tieout.connectors.outlook.wire import EXTENSION, EXTENSION_TYPE
from tieout.domain.errors import RejectedError, UnavailableError
from tieout.domain.records import Kind, Record

if TYPE_CHECKING:
    from tieout.connectors.outlook.manifest import OutlookSettings

type Fields = dict[str, Any]
type Json = Mapping[str, Any]

_CUSTOM = "custom_fields."
_MAIN_CONTACT = "contact."
_PROPERTY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DOUBLE_DIGITS = 15
_UNREAD = frozenset({"id", "extensionName"})
_ADDRESS_LINES = {"city": "city", "state": "state", "postal_code": "postalCode", "country": "countryOrRegion"}
_STREET = ("line1", "line2", "line3")
_STATUSES = {"open": "notStarted", "won": "completed", "lost": None, "inactive": "deferred"}

# Outlook's own fields that stand under `custom_fields`, and Graph's names for them.
_EXTRA = {"categories": "categories", "mobile_phone": "mobilePhone", "department": "department"}
_CONTACT = {
    "name": "displayName",
    "given_name": "givenName",
    "family_name": "surname",
    "job_title": "jobTitle",
    "company_name": "companyName",
}
_PATHS_OF_ADDRESS = {f"address.{line}" for line in (*_STREET, *_ADDRESS_LINES)}
_OF_CONTACT = frozenset({*_CONTACT, "email", "phone", *_PATHS_OF_ADDRESS})

UPDATES: Mapping[Kind, frozenset[str]] = {
    Kind.CONTACT: _OF_CONTACT | {"custom_fields.*"},
    Kind.COMPANY: frozenset({"name", "phone", "website", *_PATHS_OF_ADDRESS, "custom_fields.*"})
    | {f"{_MAIN_CONTACT}{path}" for path in _OF_CONTACT - {"company_name"}},
    Kind.DEAL: frozenset({"name", "status", "custom_fields.*"}),
}
"""Our paths that an update may name."""


# Outlook -> ours


def contact_record(kind: Kind, row: Json) -> Record:
    """A contact as a contact, or as the company that it stands for: both have its id.

    Raises:
        UnavailableError: If the JSON is not of the form that Graph documents.
    """
    model = _model(wire.Contact, row, kind)
    fields = _contact(model)
    if kind is Kind.COMPANY:
        company: Fields = {"name": model.company_name or model.display_name, "parent_id": None}
        company |= {name: fields[name] for name in ("phone", "address") if name in fields}
        if "business_home_page" in model.model_fields_set:
            company["website"] = model.business_home_page
        fields = {**company, "contact": fields}
    return _record(kind, model, fields, {ours: theirs for ours, theirs in _EXTRA.items() if theirs in row}, row)


def deal_record(
    row: Json, extension: Json | None, settings: OutlookSettings, customer_of: Callable[[str], Json | None] | None
) -> Record:
    """A task as a deal; see `deals`.

    Args:
        row: The task.
        extension: Our open extension of it; None if it has none, or it was not asked for.
        settings: Say which categories mean won and lost.
        customer_of: Finds `{id, name}` of the customer that the note names; None leaves `companies` absent.

    Raises:
        UnavailableError: If the JSON is not of the form that Graph documents.
    """
    model = _model(wire.Task, row, Kind.DEAL)
    body = model.body or wire.Body()
    note = deals.note_of(deals.text_of(body.content or "", body.content_type or "text"))
    name = (model.title or "").strip()
    lines = list(note.lines)
    if not lines and note.amount is not None:
        lines = [deals.only_line(name, note.amount)]
    fields: Fields = {
        "name": name,
        "status": _status(model, settings),
        "stage": model.status,
        "amount": note.amount,
        "opened_on": _day_of(model.created_date_time, settings.zone),
        "expected_close_on": _day(model.due_date_time, settings.zone),
        "closed_on": note.closed_on or _day(model.completed_date_time, settings.zone),
        "source_id": note.fields.get("reference") or None,
        "owner": None,
        "lines": lines,
    }
    if customer_of is not None:
        named = note.fields.get("customer", "")
        found = customer_of(named) if named else None
        fields["companies"] = [found] if found is not None else []
        fields["contacts"] = [found] if found is not None else []
    extensions = row if extension is None else {**row, "extensions": [extension]}
    return _record(Kind.DEAL, model, fields, {"categories": "categories"}, extensions)


def _model[M: wire.Item](model: type[M], row: Json, kind: Kind) -> M:
    try:
        return model.model_validate(dict(row))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UnavailableError(
            f"Outlook sent a {kind.value} that Tieout does not understand.",
            detail=f"{'.'.join(map(str, first['loc']))}: {first['type']}",
        ) from None


def _record(kind: Kind, model: wire.Item, fields: Fields, extra: Mapping[str, str], row: Json) -> Record:
    fields["custom_fields"] = {**extension_fields(row), **{ours: row.get(theirs) for ours, theirs in extra.items()}}
    return Record(kind, model.id, model.etag, _moment(model.last_modified_date_time), fields)


def extension_fields(row: Json) -> Fields:
    """What our open extension holds, in our types; an empty text is a field that was emptied."""
    ours: Json = next((one for one in row.get("extensions") or () if wire.is_ours(one)), {})
    return {
        name: _from_extension(value)
        for name, value in ours.items()
        if "@" not in name and name not in _UNREAD and _is_plain(value)
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(_is_plain(each) and not isinstance(each, list) for each in value)
    return value is None or isinstance(value, str | int | Decimal)


def _from_extension(value: Any) -> Any:  # noqa: ANN401 - a field holds anything
    if isinstance(value, str) and _DAY.match(value) and value[10:] in ("", "T00:00:00Z"):
        return deals.day(value[:10]) or value
    return None if value == "" else value


def _contact(model: wire.Contact) -> Fields:
    given = model.model_fields_set
    fields: Fields = {}
    for ours, theirs in (
        ("name", "display_name"),
        ("given_name", "given_name"),
        ("family_name", "surname"),
        ("job_title", "job_title"),
        ("company_name", "company_name"),
    ):
        if theirs in given:
            fields[ours] = getattr(model, theirs)
    if "email_addresses" in given:
        fields["email"] = next((one.address for one in model.email_addresses or () if one.address), None)
    if "business_phones" in given:
        fields["phone"] = next(iter(model.business_phones or ()), None)
    if "business_address" in given:
        fields["address"] = _address(model.business_address or wire.PhysicalAddress())
    fields["company_id"] = model.id
    return fields


def _address(model: wire.PhysicalAddress) -> Fields:
    """Lines beyond the third stand in the third."""
    lines = [line.strip() for line in (model.street or "").splitlines()]
    three = [*lines[:2], ", ".join(filter(None, lines[2:]))]
    return {
        **{name: line or None for name, line in zip_longest(_STREET, three[: len(_STREET)])},
        "city": model.city,
        "state": model.state,
        "postal_code": model.postal_code,
        "country": model.country_or_region,
    }


def _status(model: wire.Task, settings: OutlookSettings) -> str:
    """Lost wins over won: of two contradicting signs, the one that writes no invoice."""
    names = {name.casefold() for name in model.categories or ()}
    if settings.lost_category.casefold() in names:
        return "lost"
    if settings.won_category.casefold() in names or (model.status == "completed" and settings.completed_is_won):
        return "won"
    return "inactive" if model.status == "deferred" else "open"


def _moment(text: str | None) -> datetime | None:
    """Aware UTC; None if there is no time or it is none. Graph's seconds may have seven digits."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _day_of(text: str | None, zone: ZoneInfo) -> date | None:
    moment = _moment(text)
    return None if moment is None else moment.astimezone(zone).date()


def _day(model: wire.Moment | None, zone: ZoneInfo) -> date | None:
    """The user's day: To Do keeps it as midnight of the user's zone, told in UTC. In another zone it is as written."""
    if model is None:
        return None
    if (model.time_zone or "UTC").upper() != "UTC":
        return deals.day(model.date_time[:10])
    return _day_of(model.date_time, zone)


# Ours -> Outlook


def updated(
    kind: Kind, row: Json, fields: Mapping[str, Any], settings: OutlookSettings
) -> tuple[Fields, Fields | None]:
    """What of the record has to be patched, and the whole new extension; empty and None where nothing changes.

    Raises:
        RejectedError: Naming the field that cannot be written.
    """
    patch: Fields = {}
    custom: Fields = {}
    for path, value in fields.items():
        name = path.removeprefix(_CUSTOM)
        if path.startswith(_CUSTOM) and (name not in _EXTRA or (kind is Kind.DEAL and name != "categories")):
            custom[_property(path, name)] = _to_extension(path, value)
        elif path.startswith(_CUSTOM):
            patch[_EXTRA[name]] = list(value or ()) if name == "categories" else value
        elif path not in UPDATES[kind]:
            raise RejectedError(
                f"Tieout cannot write the field `{path}` of a {kind.value} in Outlook.",
                field=path,
                next_step=f"Write to `custom_fields.<name>` or one of: {', '.join(sorted(UPDATES[kind]))}.",
            )
        elif kind is Kind.DEAL:
            patch |= _task_patch({**row, **patch}, path, value, settings)
        else:
            patch |= _contact_patch({**row, **patch}, kind, path, value)
    # Graph replaces an extension whole: what is not named is gone.
    # Source: https://learn.microsoft.com/graph/api/opentypeextension-update, read 2026-11-22.
    stored = {name: _to_extension(name, value) for name, value in extension_fields(row).items()}
    changed = {name: value for name, value in patch.items() if not same(value, row.get(name))}
    if all(name in stored and same(value, stored[name]) for name, value in custom.items()):
        return changed, None
    return changed, {"@odata.type": EXTENSION_TYPE, "extensionName": EXTENSION, **stored, **custom}


def differing(row: Json, patch: Json, extension: Json | None) -> str | None:
    """Graph's name of the first value that was not kept; None if all were."""
    kept = extension_fields(row)
    for name, value in patch.items():
        if not same(value, row.get(name)):
            return name
    for name, value in (extension or {}).items():
        if "@" not in name and name not in _UNREAD and not same(value, kept.get(name)):
            return f"{_CUSTOM}{name}"
    return None


def _property(path: str, name: str) -> str:
    if _PROPERTY.fullmatch(name) is None or name in _UNREAD:
        raise RejectedError(
            f"Outlook cannot keep a field named `{name}`.",
            field=path,
            next_step="Use letters, digits and underscores in the sync document, beginning with a letter.",
        )
    return name


def _to_extension(path: str, value: Any) -> Any:  # noqa: ANN401 - a field holds anything
    """Numbers beyond what a double holds exactly would come back as others."""
    if isinstance(value, Decimal) and len(value.normalize().as_tuple().digits) > _DOUBLE_DIGITS:
        raise RejectedError("The number has more digits than Outlook keeps.", field=path)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping) or (isinstance(value, list | tuple) and not _is_plain(list(value))):
        raise RejectedError("Outlook keeps texts, numbers, yes and no, and lists of them.", field=path)
    return "" if value is None else value


def _contact_patch(row: Json, kind: Kind, path: str, value: Any) -> Fields:  # noqa: ANN401 - as given
    if kind is Kind.COMPANY and path == "name":
        return {"companyName" if row.get("companyName") else "displayName": value}
    if kind is Kind.COMPANY and path == "website":
        return {"businessHomePage": value}
    path = path.removeprefix(_MAIN_CONTACT)
    if path == "email":
        emails = [_known(wire.EmailAddress, each) for each in row.get("emailAddresses") or ()]
        first = {**(emails[0] if emails else {"name": row.get("displayName")}), "address": value}
        return {"emailAddresses": [*([first] if value else []), *emails[1:]]}
    if path == "phone":
        phones = list(row.get("businessPhones") or ())
        return {"businessPhones": [*([value] if value else []), *phones[1:]]}
    group, _, line = path.partition(".")
    if group == "address":
        return {"businessAddress": _address_with(row.get("businessAddress") or {}, line, value)}
    return {_CONTACT[path]: value}


def _address_with(address: Json, line: str, value: str | None) -> Fields:
    known = _known(wire.PhysicalAddress, address)
    if line in _ADDRESS_LINES:
        return {**known, _ADDRESS_LINES[line]: value}
    lines = {**_address(wire.PhysicalAddress.model_validate(known)), line: value}
    return {**known, "street": "\r\n".join(lines[name] or "" for name in _STREET).rstrip()}


def _known(model: type[wire.Wire], found: Json) -> Fields:
    """Only the fields that Graph takes; an answer may hold more."""
    names = {each.alias for each in model.model_fields.values()}
    return {name: value for name, value in found.items() if name in names}


def _task_patch(row: Json, path: str, value: Any, settings: OutlookSettings) -> Fields:  # noqa: ANN401 - as given
    if path == "name":
        return {"title": value}
    if value not in _STATUSES:
        raise RejectedError(
            f"A deal in Outlook has no status `{value}`.", field=path, next_step=f"Use one of: {', '.join(_STATUSES)}."
        )
    if _status(wire.Task.model_validate(dict(row)), settings) == value:
        return {}
    signs = {settings.won_category.casefold(), settings.lost_category.casefold()}
    kept = [name for name in row.get("categories") or () if name.casefold() not in signs]
    sign = {"lost": [settings.lost_category], "won": [settings.won_category]}.get(value, [])
    status = _STATUSES[value] or row.get("status")
    return {"status": status, "categories": [*kept, *sign]}


def same(wanted: Any, found: Any) -> bool:  # noqa: ANN401, PLR0911 - JSON is anything; one return for each form
    """True if Graph holds what was written, in whatever form it gives it back; empty is empty in any form."""
    if wanted in (None, "", [], ()) or found in (None, "", [], ()):
        return wanted in (None, "", [], ()) and found in (None, "", [], ())
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(same(value, found.get(name)) for name, value in wanted.items() if "@" not in name)
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return (
            isinstance(found, Sequence)
            and not isinstance(found, str)
            and len(wanted) == len(found)
            and all(same(*pair) for pair in zip(wanted, found, strict=True))
        )
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found
    if isinstance(found, date) or isinstance(wanted, date):
        return str(wanted)[:10] == str(found)[:10]
    if isinstance(wanted, str) and isinstance(found, str):
        return wanted.splitlines() == found.splitlines()
    return wanted == found or (_number(wanted) is not None and _number(wanted) == _number(found))


def _number(value: Any) -> Decimal | None:  # noqa: ANN401 - JSON is anything
    try:
        number = Decimal(value) if isinstance(value, str | int | Decimal) else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None
