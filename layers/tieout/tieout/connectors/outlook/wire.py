"""Microsoft Graph's JSON, as far as we read it; unknown fields are kept and ignored.

Source: schemas/v1.0-Prod.csdl of microsoftgraph/msgraph-metadata, commit f54f11b6, read 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from tieout.transport import wire

EXTENSION = "app.tieout.fields"
"""Name of the one open extension that holds our fields; each name takes one of a mailbox's few named properties."""

EXTENSION_TYPE = "microsoft.graph.openTypeExtension"


class Wire(wire.Wire):
    """Base."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel)


class EmailAddress(Wire):
    """`microsoft.graph.emailAddress`."""

    name: str | None = None
    address: str | None = None


class PhysicalAddress(Wire):
    """`microsoft.graph.physicalAddress`; `street` may have several lines."""

    street: str | None = None
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country_or_region: str | None = None


class Item(Wire):
    """What contacts and tasks have."""

    id: str
    etag: Annotated[str, Field(alias="@odata.etag")] = ""
    last_modified_date_time: str | None = None
    categories: tuple[str, ...] | None = None
    extensions: tuple[dict[str, Any], ...] | None = None


class Contact(Item):
    """`microsoft.graph.contact`."""

    display_name: str | None = None
    given_name: str | None = None
    surname: str | None = None
    company_name: str | None = None
    job_title: str | None = None
    department: str | None = None
    email_addresses: tuple[EmailAddress, ...] | None = None
    business_phones: tuple[str, ...] | None = None
    mobile_phone: str | None = None
    business_home_page: str | None = None
    business_address: PhysicalAddress | None = None


class Moment(Wire):
    """`microsoft.graph.dateTimeTimeZone`."""

    date_time: str
    time_zone: str | None = None


class Body(Wire):
    """`microsoft.graph.itemBody`."""

    content: str | None = None
    content_type: str | None = None


class Task(Item):
    """`microsoft.graph.todoTask`."""

    title: str | None = None
    status: str | None = None
    body: Body | None = None
    created_date_time: str | None = None
    due_date_time: Moment | None = None
    completed_date_time: Moment | None = None


def is_ours(extension: Mapping[str, Any]) -> bool:
    """True for our open extension; its id may have the type before the name."""
    return EXTENSION in (extension.get("extensionName"), str(extension.get("id", ""))[-len(EXTENSION) :])
