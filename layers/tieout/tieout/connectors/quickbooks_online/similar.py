"""Customers that may be the same though their name differs, and others that have a name already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import batched

from pydantic import ValidationError

from tieout.connectors.quickbooks_online import wire
from tieout.connectors.quickbooks_online.client import Client, Query, any_of, like, unreadable
from tieout.connectors.quickbooks_online.company import Company
from tieout.connectors.quickbooks_online.manifest import BATCH_ITEMS_MAX
from tieout.connectors.quickbooks_online.translate import same_name, to_record
from tieout.domain.documents import Customer
from tieout.domain.records import Kind, Record
from tieout.matching.contacts import mailbox
from tieout.matching.names import beginning

# More customers that begin alike are not compared: a name so common says nothing.
_ALIKE_MAX = 25
_OF_ONE_MAILBOX_MAX = 100
# Their names are in one list with those of customers. Source: the Customer entity's page, read 2026-11-22.
_OTHERS = {"Vendor": "vendor", "Employee": "employee"}
_ANY = " AND Active IN (true, false)"


def similar_customers(
    client: Client, company: Company, documents: Mapping[str, Customer]
) -> dict[str, Sequence[Record]]:
    """By the documents' keys, customers with the same e-mail address or whose name begins alike.

    One batch call for 29 documents, whatever is found.
    """
    starts = {key: _start(document.name) for key, document in documents.items()}
    mails = {key: mailbox(document.email) for key, document in documents.items()}
    queries = [
        Query("Customer", like("DisplayName", f"{start}%") + _ANY, _ALIKE_MAX)
        for start in sorted({same_name(start) for start in starts.values() if start})
    ]
    if addresses := sorted({address for address in mails.values() if address}):
        queries.append(Query("Customer", any_of("PrimaryEmailAddr", addresses) + _ANY, _OF_ONE_MAILBOX_MAX))
    found = _records((row for rows in _ask(client, queries) for row in rows), company)
    return {
        key: [record for record in found if _is_alike(record, starts[key], mails[key])][:_OF_ONE_MAILBOX_MAX]
        for key in documents
    }


def holders_of(client: Client, names: Sequence[str]) -> dict[str, str]:
    """By name (in small letters, as `same_name` makes them), what has it: `vendor` or `employee`. One call."""
    if not names:
        return {}
    asked = sorted({form for name in names for form in (name, " ".join(name.split()))})
    queries = [Query(entity, any_of("DisplayName", asked) + _ANY, len(asked)) for entity in _OTHERS]
    holders: dict[str, str] = {}
    for entity, rows in zip(_OTHERS, _ask(client, queries), strict=True):
        holders |= {same_name(str(row.get("DisplayName", ""))): _OTHERS[entity] for row in rows}
    return holders


def _ask(client: Client, queries: Sequence[Query]) -> list[list[wire.Json]]:
    return [rows for some in batched(queries, BATCH_ITEMS_MAX, strict=False) for rows in client.queries(some)]


def _records(rows: Iterable[wire.Json], company: Company) -> list[Record]:
    try:
        records = [to_record(Kind.CUSTOMER, row, company) for row in rows]
    except ValidationError:
        raise unreadable("a customer") from None
    return list({record.id: record for record in records}.values())


def _start(name: str) -> str:
    """How names like it begin; what a pattern gives a meaning to ends it."""
    return beginning(name).partition("%")[0].strip()


def _is_alike(record: Record, start: str, mail: str | None) -> bool:
    name = same_name(str(record.fields.get("name") or ""))
    return bool(start and name.startswith(same_name(start))) or (
        mail is not None and mailbox(record.fields.get("email")) == mail
    )
