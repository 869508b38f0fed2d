"""Act!'s JSON, as far as we read it; unknown fields are kept and ignored.

Source: the Swagger 2.0 document of a Web API ({base}/swagger/docs/v1), read 2026-08-13.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from tieout.transport import wire


class Wire(wire.Wire):
    """Base."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel)


class Address(Wire):
    """A postal address."""

    line1: str | None = None
    line2: str | None = None
    line3: str | None = None
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str | None = None


class Main(Wire):
    """What every main record has."""

    id: str
    edited: str | None = None
    edited_by: str | None = None
    custom_fields: dict[str, Any] | None = None


class Company(Main):
    """`/api/companies`."""

    name: str | None = None
    phone: str | None = None
    website: str | None = None
    industry: str | None = None
    address: Address | None = None
    billing_address: Address | None = None
    shipping_address: Address | None = None
    parent_id: Annotated[str | None, Field(alias="parentID")] = None


class Contact(Main):
    """`/api/contacts`."""

    full_name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    email_address: str | None = None
    business_phone: str | None = None
    job_title: str | None = None
    company: str | None = None
    company_id: Annotated[str | None, Field(alias="companyID")] = None
    business_address: Address | None = None


class Embedded(Wire):
    """A company or a contact inside an opportunity: one has `name`, the other `displayName`."""

    id: str
    name: str | None = None
    display_name: str | None = None


class Stage(Wire):
    """Where an opportunity stands in its process."""

    name: str | None = None


class Opportunity(Main):
    """`/api/opportunities`. The document says that `status` is a word; servers send numbers too."""

    name: str | None = None
    status: str | int | None = None
    stage: Stage | None = None
    product_total: Decimal | None = None
    open_date: str | None = None
    estimated_close_date: str | None = None
    actual_close_date: str | None = None
    source_id: str | None = None
    record_manager: str | None = None
    companies: tuple[Embedded, ...] | None = None
    contacts: tuple[Embedded, ...] | None = None


class Line(Wire):
    """`/api/opportunities/{id}/products`. `discount` is a percentage, `total` is after it."""

    product_id: Annotated[str | None, Field(alias="productID")] = None
    name: str | None = None
    item_number: str | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    discount: Decimal | None = None
    total: Decimal | None = None


class Product(Main):
    """`/api/products`."""

    name: str | None = None
    item_number: str | None = None
    price: Decimal | None = None
    cost: Decimal | None = None


def rows_of(body: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON is anything
    """The records of a list: a bare array, or an object with `value` in other releases.

    Raises:
        ValueError: If it is neither.
    """
    rows = body.get("value") if isinstance(body, Mapping) else body
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("not a list of records")
    return rows
