"""Between Act!'s words and ours. Pure. A field that Act! did not send stays absent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import ValidationError

from tieout.connectors.act import wire
from tieout.domain.errors import RejectedError, UnavailableError
from tieout.domain.records import Kind, Record

type Fields = dict[str, Any]
type WireRecord = Mapping[str, Any]

_STATUSES = ("open", "won", "lost", "inactive")
_NO_IDS = frozenset({"", "00000000-0000-0000-0000-000000000000"})
_MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d)T00:00:00(?:\.0+)?(?:Z|\+00:00)?", re.ASCII)

_ADDRESS = {name: name for name in ("line1", "line2", "line3", "city", "state", "postal_code", "country")}
_COMPANY = {name: name for name in ("name", "phone", "website", "industry")}
_CONTACT = {
    "name": "full_name",
    "given_name": "first_name",
    "family_name": "last_name",
    "email": "email_address",
    "phone": "business_phone",
    "job_title": "job_title",
    "company_name": "company",
}
_DEAL = {"name": "name", "amount": "product_total", "source_id": "source_id", "owner": "record_manager"}
_DEAL_DATES = {
    "opened_on": "open_date",
    "expected_close_on": "estimated_close_date",
    "closed_on": "actual_close_date",
}
_LINE = {
    "name": "name",
    "sku": "item_number",
    "quantity": "quantity",
    "unit_price": "price",
    "discount_percent": "discount",
    "amount": "total",
}
_PRODUCT = {"name": "name", "sku": "item_number", "price": "price", "cost": "cost"}

WRITABLE: Mapping[Kind, Mapping[str, str]] = {
    Kind.COMPANY: {"name": "name", "phone": "phone", "website": "website", "industry": "industry"},
    Kind.CONTACT: {
        "name": "fullName",
        "given_name": "firstName",
        "family_name": "lastName",
        "email": "emailAddress",
        "phone": "businessPhone",
        "job_title": "jobTitle",
    },
    Kind.DEAL: {
        "name": "name",
        "status": "status",
        "source_id": "sourceId",
        "expected_close_on": "estimatedCloseDate",
        "closed_on": "actualCloseDate",
    },
    Kind.PRODUCT: {"name": "name", "sku": "itemNumber", "price": "price", "cost": "cost"},
}
"""Our paths that an update may name, and Act!'s field for each; beside them `custom_fields.<name>` and addresses."""

ADDRESSES: Mapping[Kind, Mapping[str, str]] = {
    Kind.COMPANY: {
        "address": "address",
        "billing_address": "billingAddress",
        "shipping_address": "shippingAddress",
    },
    Kind.CONTACT: {"address": "businessAddress"},
}
_ADDRESS_LINES = {**_ADDRESS, "postal_code": "postalCode"}
_MAIN_CONTACT = "contact."

SEARCHABLE: Mapping[Kind, Mapping[str, str]] = {
    Kind.COMPANY: {"name": "name"},
    Kind.CONTACT: {"name": "fullName", "email": "emailAddress"},
    Kind.DEAL: {"name": "name"},
    Kind.PRODUCT: {"name": "name", "sku": "itemNumber"},
}


# Act! -> ours


def record_of(
    kind: Kind,
    row: WireRecord,
    *,
    lines: Sequence[WireRecord] | None = None,
    main_contact: tuple[WireRecord | None] | None = None,
) -> Record:
    """The record in our words.

    Args:
        kind: What it is.
        row: Act!'s JSON.
        lines: Of a deal; None leaves `lines` absent.
        main_contact: Of a company: `(None,)` says that it has none; None leaves `contact` absent.

    Raises:
        UnavailableError: If the JSON is not of the form that Act! documents.
    """
    try:
        model, fields = _TRANSLATE[kind](row)
        if lines is not None:
            fields["lines"] = [_line(wire.Line.model_validate(line)) for line in lines]
        if main_contact is not None:
            contact = main_contact[0]
            fields["contact"] = None if contact is None else _contact(contact)[1]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UnavailableError(
            f"Act! sent a {kind.value} that Tieout does not understand.",
            detail=f"{'.'.join(map(str, first['loc']))}: {first['type']}",
        ) from None
    if "custom_fields" in model.model_fields_set:
        fields["custom_fields"] = {name: _custom(value) for name, value in (model.custom_fields or {}).items()}
    last = _edited_last(model, main_contact[0] if main_contact is not None else None)
    return Record(kind, model.id, last.edited or "", edited_at(last.edited), fields, last.edited_by or "")


def _edited_last(model: wire.Main, contact: WireRecord | None) -> wire.Main:
    """The company or its main contact: an edit of either is one of the record."""
    if contact is None:
        return model
    other = wire.Contact.model_validate(contact)
    own, its = edited_at(model.edited), edited_at(other.edited)
    return other if own is not None and its is not None and its > own else model


def edited_at(text: str | None) -> datetime | None:
    """Aware UTC; None if there is no time or it is none."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _picked(model: wire.Wire, names: Mapping[str, str]) -> Fields:
    return {ours: getattr(model, theirs) for ours, theirs in names.items() if theirs in model.model_fields_set}


def _company(row: WireRecord) -> tuple[wire.Main, Fields]:
    model = wire.Company.model_validate(row)
    fields = _picked(model, _COMPANY)
    for name in ("address", "billing_address", "shipping_address"):
        if name in model.model_fields_set:
            fields[name] = _address(getattr(model, name))
    if "parent_id" in model.model_fields_set:
        fields["parent_id"] = _id(model.parent_id)
    return model, fields


def _contact(row: WireRecord) -> tuple[wire.Main, Fields]:
    model = wire.Contact.model_validate(row)
    fields = _picked(model, _CONTACT)
    if "company_id" in model.model_fields_set:
        fields["company_id"] = _id(model.company_id)
    if "business_address" in model.model_fields_set:
        fields["address"] = _address(model.business_address)
    return model, fields


def _deal(row: WireRecord) -> tuple[wire.Main, Fields]:
    model = wire.Opportunity.model_validate(row)
    fields = _picked(model, _DEAL)
    for ours, theirs in _DEAL_DATES.items():
        if theirs in model.model_fields_set:
            fields[ours] = _date(getattr(model, theirs))
    if "status" in model.model_fields_set:
        fields["status"] = _status(model.status)
    if "stage" in model.model_fields_set:
        fields["stage"] = model.stage.name if model.stage is not None else None
    if "companies" in model.model_fields_set:
        fields["companies"] = [{"id": each.id, "name": each.name} for each in model.companies or ()]
    if "contacts" in model.model_fields_set:
        fields["contacts"] = [{"id": each.id, "name": each.display_name or each.name} for each in model.contacts or ()]
    return model, fields


def _product(row: WireRecord) -> tuple[wire.Main, Fields]:
    model = wire.Product.model_validate(row)
    return model, _picked(model, _PRODUCT)


_TRANSLATE: Mapping[Kind, Callable[[WireRecord], tuple[wire.Main, Fields]]] = {
    Kind.COMPANY: _company,
    Kind.CONTACT: _contact,
    Kind.DEAL: _deal,
    Kind.PRODUCT: _product,
}


def _line(model: wire.Line) -> Fields:
    fields = _picked(model, _LINE)
    if "product_id" in model.model_fields_set:
        fields["product_id"] = _id(model.product_id)
    return fields


def _address(model: wire.Address | None) -> Fields | None:
    return None if model is None else _picked(model, _ADDRESS)


def _id(value: str | None) -> str | None:
    """Act! sends an empty text where nothing is linked."""
    return None if value is None or value in _NO_IDS else value


def _status(value: str | int | None) -> str | None:
    if isinstance(value, int) or (value is not None and value.isascii() and value.isdigit()):
        number = int(value)
        return _STATUSES[number] if 0 <= number < len(_STATUSES) else str(value)
    return None if value is None else value.lower()


def _date(value: str | None) -> date | None:
    """The day: Act! gives dates as midnight, and the offset does not move the day."""
    if value is None:
        return None
    try:
        return date.fromisoformat(value[:10])
    except ValueError:
        return None


def _custom(value: Any) -> Any:  # noqa: ANN401 - a custom field holds anything
    if isinstance(value, str) and (midnight := _MIDNIGHT.fullmatch(value)):
        return _date(midnight[1])
    return value


# Ours -> Act!


def updated(kind: Kind, row: WireRecord, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The whole record as it is to be, for PUT: everything as it was read but the given fields.

    Raises:
        RejectedError: Naming the field that cannot be written.
    """
    new: dict[str, Any] = deepcopy(dict(row))
    for path, value in fields.items():
        group, dot, name = path.partition(".")
        if group == "custom_fields" and dot and name:
            custom = new.get("customFields")
            new["customFields"] = {**(custom if isinstance(custom, dict) else {}), name: _to_wire(value, stock=False)}
            continue
        if (place := _address_place(kind, path)) is not None:
            address = new.get(place[0])
            new[place[0]] = {**(address if isinstance(address, dict) else {}), place[1]: value}
            continue
        theirs = WRITABLE[kind].get(path)
        if theirs is None:
            raise RejectedError(
                f"Tieout cannot write the field `{path}` of a {kind.value} in Act!.",
                field=path,
                next_step=f"Write to `custom_fields.<name>` or one of: {', '.join(WRITABLE[kind])}.",
            )
        new[theirs] = _wire_status(path, value, row) if theirs == "status" else _to_wire(value, stock=True)
    return new


def updatable(kind: Kind) -> frozenset[str]:
    """Our paths that an update of a record of this kind may name; those of a company's main contact are part of it."""
    paths = {*WRITABLE[kind], "custom_fields.*"}
    paths |= {f"{group}.{line}" for group in ADDRESSES.get(kind, {}) for line in _ADDRESS_LINES}
    if kind is Kind.COMPANY:
        paths |= {f"{_MAIN_CONTACT}{path}" for path in updatable(Kind.CONTACT) if not path.startswith("custom_fields")}
    return frozenset(paths)


def split(kind: Kind, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of the record itself, and those of a company's main contact as a contact has them."""
    theirs = {path for path in fields if kind is Kind.COMPANY and path.startswith(_MAIN_CONTACT)}
    own = {path: value for path, value in fields.items() if path not in theirs}
    return own, {path.removeprefix(_MAIN_CONTACT): value for path, value in fields.items() if path in theirs}


def _address_place(kind: Kind, path: str) -> tuple[str, str] | None:
    """Act!'s address and its line behind one of our paths."""
    group, _, line = path.partition(".")
    theirs, name = ADDRESSES.get(kind, {}).get(group), _ADDRESS_LINES.get(line)
    return None if theirs is None or name is None else (theirs, name)


def differing(kind: Kind, row: WireRecord, fields: Mapping[str, Any]) -> str | None:
    """The first of our paths whose value in the record is not the given one; None if all are."""
    return next((path for path, value in fields.items() if not _same(value, _found(kind, row, path))), None)


def _found(kind: Kind, row: WireRecord, path: str) -> Any:  # noqa: ANN401 - a field holds anything
    group, _, name = path.partition(".")
    if group == "custom_fields":
        return (row.get("customFields") or {}).get(name)
    if path == "status":
        return _status(row.get("status"))
    if (place := _address_place(kind, path)) is not None:
        return (row.get(place[0]) or {}).get(place[1])
    return row.get(WRITABLE[kind].get(path, path))


def _wire_status(path: str, value: Any, row: WireRecord) -> str | int:  # noqa: ANN401 - checked here
    """In the form that this server uses: a word or a number."""
    if value not in _STATUSES:
        raise RejectedError(
            f"Act! has no deal status `{value}`.", field=path, next_step=f"Use one of: {', '.join(_STATUSES)}."
        )
    number = _STATUSES.index(value)
    return number if isinstance(row.get("status"), int) else _STATUSES[number].capitalize()


def _to_wire(value: Any, *, stock: bool) -> Any:  # noqa: ANN401 - JSON is anything
    """Dates of stock fields are midnight, as Act! sends them; a custom field may be text, and gets the bare day."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00+00:00" if stock else value.isoformat()
    return value


def _same(wanted: Any, found: Any) -> bool:  # noqa: ANN401 - JSON is anything
    """True if the field holds what was written, in whatever form its type gives it back."""
    if wanted in (None, "") or found in (None, ""):
        return wanted in (None, "") and found in (None, "")
    if isinstance(wanted, bool) or isinstance(found, bool):
        return str(wanted).lower() == str(found).lower()
    if isinstance(wanted, date):
        return _same_time(wanted, str(found))
    if isinstance(wanted, str) and isinstance(found, str) and _MIDNIGHT.fullmatch(found):
        return found[:10] == wanted[:10]
    number = _number(wanted)
    return wanted == found or (number is not None and number == _number(found))


def _same_time(wanted: date, found: str) -> bool:
    if isinstance(wanted, datetime):
        return edited_at(found) == wanted.astimezone(UTC)
    return _date(found) == wanted


def _number(value: Any) -> Decimal | None:  # noqa: ANN401 - JSON is anything
    """A number, also one that a text field gives back as text; `007` is no number."""
    if isinstance(value, str) and str(value).lstrip("-")[:1] == "0" and value.lstrip("-")[1:2] not in ("", "."):
        return None
    try:
        number = Decimal(value) if isinstance(value, str | int | Decimal) else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None
