"""From our customers and items to Tryton's values. No calls but the look-ups of `Company`."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from tieout.connectors.tryton.company import Company
from tieout.connectors.tryton.read import reference_of_party, tag
from tieout.connectors.tryton.wire import Row
from tieout.domain.documents import Address, Customer, Document, Item, ItemType
from tieout.domain.effects import Effect
from tieout.domain.errors import RejectedError

_CUSTOMER = {
    *("name", "company_name", "contact_name", "email", "phone", "website", "tax_id", "currency", "terms"),
    *("billing_address", "active"),
}
_ITEM = {"name", "sku", "type", "description", "price", "active"}
_TYPES = {ItemType.SERVICE: "service", ItemType.NON_INVENTORY: "goods"}
_VAT = re.compile(r"[A-Z]{2}[0-9A-Z +*.-]{2,}")


def refuse_others(document: Document, known: Collection[str]) -> None:
    """Return if every field that is filled is one of the known.

    Raises:
        RejectedError: Naming the first that Tryton has no place for.
    """
    for name in document.model_fields_set - set(known):
        if getattr(document, name) is not None:
            raise RejectedError(
                f"Tryton has no place for the field `{name}`.",
                field=name,
                next_step=f"Leave `{name}` out of this step's mapping.",
            )


def customer_values(effect: Effect, document: Customer, row: Row | None, company: Company) -> Row:
    """What is written of a customer: all that was given, and our mark; `row` is what stands there now.

    Raises:
        RejectedError: If the document cannot be said in Tryton's terms.
    """
    refuse_others(document, _CUSTOMER)
    given = document.model_fields_set
    if document.currency not in (None, company.currency):
        raise RejectedError(
            f"A customer in Tryton has no currency of its own, and the company's is {company.currency}.",
            field="currency",
            next_step="Leave `currency` out of the customers' mapping; an invoice says its own.",
        )
    values: Row = {"name": document.name}
    if "active" in given:
        values["active"] = document.active
    if "terms" in given:
        values["customer_payment_term"] = company.term_id(document.terms) if document.terms else None
    commands = {
        "addresses": _address_commands(document, row, company),
        "contact_mechanisms": _mechanism_commands(document, row),
        "identifiers": _identifier_commands(effect, document, row),
    }
    return values | {name: some for name, some in commands.items() if some}


def _address_commands(document: Customer, row: Row | None, company: Company) -> list[Any]:
    """The first address is the one that we write; a customer without one could not be invoiced."""
    given = document.model_fields_set
    values: Row = {}
    if "billing_address" in given:
        values |= _address(document.billing_address or Address(), company)
    if "contact_name" in given:
        values["attn"] = document.contact_name
    if "company_name" in given:
        values["party_name"] = document.company_name if document.company_name != document.name else None
    first = next(iter(row["addresses."]), None) if row else None
    if first is None:
        return [["create", [values]]]
    return [["write", [first["id"]], values]] if values else []


def _address(address: Address, company: Company) -> Row:
    """An address, which is always written whole."""
    lines = [line for line in (address.line1, address.line2, address.line3) if line]
    if address.state and not address.country:
        raise RejectedError(
            f"Tryton keeps the region `{address.state}` below its country, and the address has none.",
            field="billing_address",
            next_step="Give the address a country in the mapping, or leave `state` out.",
        )
    return {
        "street": "\n".join(lines) or None,
        "city": address.city,
        "postal_code": address.postal_code,
        "country": company.country_id(address.country) if address.country else None,
        "subdivision": company.subdivision_id(address.country, address.state)
        if address.state and address.country
        else None,
    }


def _mechanism_commands(document: Customer, row: Row | None) -> list[Any]:
    """The first of its type is the one that we write; None takes it away."""
    commands: list[Any] = []
    for name, types in (("email", ("email",)), ("phone", ("phone", "mobile")), ("website", ("website",))):
        if name not in document.model_fields_set:
            continue
        value = getattr(document, name)
        there = [one for one in (row["contact_mechanisms."] if row else []) if one["type"] in types]
        if value and there:
            commands.append(["write", [there[0]["id"]], {"value": value}])
        elif value:
            commands.append(["create", [{"type": types[0], "value": value}]])
        elif there:
            commands.append(["delete", [there[0]["id"]]])
    return commands


def _identifier_commands(effect: Effect, document: Customer, row: Row | None) -> list[Any]:
    """Our mark, if it is not there, and the tax number."""
    there = row["identifiers."] if row else []
    commands: list[Any] = []
    if row is None or reference_of_party(row) != effect.reference:
        ours = [one["id"] for one in there if one["code"] == tag(reference_of_party(row) or "")] if row else []
        code = {"code": tag(effect.reference)}
        commands.append(["write", ours, code] if ours else ["create", [code]])
    if "tax_id" not in document.model_fields_set:
        return commands
    numbers = [one for one in there if one["type"]] or [one for one in there if not one["code"].startswith("[tieout:")]
    if document.tax_id:
        value = {"type": "eu_vat" if _VAT.fullmatch(document.tax_id) else None, "code": document.tax_id}
        if not numbers:
            commands.append(["create", [value]])
        elif numbers[0]["code"] != document.tax_id:
            commands.append(["write", [numbers[0]["id"]], value])
    elif numbers:
        commands.append(["delete", [numbers[0]["id"]]])
    return commands


def item_values(document: Item, row: Row | None, company: Company) -> Row:
    """What is written of an item: values of its template, with those of its one product inside.

    Raises:
        RejectedError: If the document cannot be said in Tryton's terms.
    """
    refuse_others(document, _ITEM)
    given = document.model_fields_set
    values: Row = {"name": document.name}
    if "price" in given or row is None:
        values["list_price"] = document.price
    if "type" in given or row is None:
        values["type"] = _TYPES[document.type]
        values["consumable"] = document.type is ItemType.NON_INVENTORY
    product: Row = {}
    if "sku" in given:
        product["suffix_code"] = document.sku
    if "description" in given:
        product["description"] = document.description
    if "active" in given:
        values["active"] = product["active"] = document.active
    if row is None:
        values |= {"default_uom": company.unit_id(), "account_category": company.category_id()}
        return values | {"products": [["create", [product]]]}
    return values | ({"products": [["write", [row["id"]], product]]} if product else {})
