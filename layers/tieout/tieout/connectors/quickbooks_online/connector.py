"""An open connection to one QuickBooks company: the methods of `tieout.ports.connector.Connector`."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import batched
from typing import cast

from pydantic import ValidationError

from tieout.connectors.quickbooks_online import wire
from tieout.connectors.quickbooks_online.auth import tokens_of
from tieout.connectors.quickbooks_online.client import Client, any_of, unreadable
from tieout.connectors.quickbooks_online.company import Company
from tieout.connectors.quickbooks_online.errors import NAME_TAKEN, name_is_anothers, parse_fault, to_error
from tieout.connectors.quickbooks_online.feed import Feed
from tieout.connectors.quickbooks_online.manifest import MANIFEST, QUERY_ROWS_MAX, parse_settings
from tieout.connectors.quickbooks_online.similar import holders_of, similar_customers
from tieout.connectors.quickbooks_online.translate import (
    ENTITIES,
    NAME_LISTS,
    NATURAL_KEYS,
    own_number,
    same_name,
    to_item,
    to_record,
)
from tieout.domain.documents import CreditNote, Customer, Document, Invoice, InvoiceStatus, Item, Payment
from tieout.domain.effects import Done, Effect, Match, MatchedBy, NotDone, Outcome, Unknown
from tieout.domain.errors import ProviderError, RejectedError, SettingsError, UncertainError
from tieout.domain.records import Kind, Record
from tieout.ports.connector import Account, ChangePage, Context, Manifest
from tieout.transport.wire import encode

# Ten pages of 1,000: more records cannot answer to 100 ids or names.
_PAGES_MAX = 10
_VALUES_MAX = 100
_NAMESPACE = uuid.UUID("5b0a1a5e-6d0f-4c59-9a7b-3f4f0f9c7c11")
_SEARCHABLE: Mapping[tuple[Kind, str], str] = {
    (Kind.CUSTOMER, "name"): "DisplayName",
    (Kind.CUSTOMER, "email"): "PrimaryEmailAddr",
    (Kind.ITEM, "name"): "Name",
    (Kind.ITEM, "sku"): "Sku",
}
_NUMBERED = (Invoice, CreditNote)
_DATED = (Invoice, CreditNote, Payment)
# What QuickBooks itself says then.
_CLOSED = "6210"


class QuickBooksOnlineConnector:
    """Reads and writes one company. Holds no personal data beyond a call."""

    def __init__(self, context: Context) -> None:
        settings = parse_settings(context.connection.settings)
        realm = settings.realm_id or context.connection.account
        if not realm.isdigit():
            raise SettingsError(
                f"The connection {context.connection.id} does not say which QuickBooks company it is for.",
                next_step="Connect it with `tieout connect`, or set `realm_id`.",
            )
        self._realm = realm
        self._client = Client(settings, realm, tokens_of(context, settings))
        self._company = Company(self._client, settings.income_account, context.clock)
        self._feed = Feed(self._client, self._company, context.clock)

    @property
    def manifest(self) -> Manifest:
        """What QuickBooks Online can do."""
        return MANIFEST

    def probe(self) -> Account:
        """The company: its realm id, name and home currency."""
        name = self._client.company_info().name
        return Account(self._realm, name or self._realm, self._company.home_currency)

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        """The records with these ids; an invoice also says when its last payment came, if it has any."""
        if not ids:
            return []
        records = self._select(kind, any_of("Id", ids))
        return self._with_last_payment(records) if kind is Kind.INVOICE else records

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        """Records whose field equals one of the values but for case."""
        if not values:
            return []
        column = _SEARCHABLE.get((kind, field))
        if column is None:
            raise RejectedError(f"QuickBooks cannot search {kind.value} records by `{field}`.", field=field)
        wanted = {value.casefold() for value in values}
        found = self._select(kind, any_of(column, values))
        return [record for record in found if str(record.fields.get(field) or "").casefold() in wanted]

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        """A page of the change feed."""
        return self._feed.changes(kind, cursor)

    def cursor_now(self, kind: Kind) -> str:
        """A cursor from now on."""
        return self._feed.now(kind)

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """A page of all ids."""
        return self._feed.ids(kind, after)

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:
        """By effect id, what may already be its document."""
        self._company.kept.refresh()
        found: dict[str, Sequence[Match]] = {}
        by_kind: defaultdict[Kind, list[Effect]] = defaultdict(list)
        for effect in effects:
            by_kind[effect.kind].append(effect)
        for kind, of_kind in by_kind.items():
            found |= self._find_named(kind, of_kind) if kind in NATURAL_KEYS else self._find_documents(kind, of_kind)
        return found | self._find_similar(effects, found)

    def _find_similar(
        self, effects: Sequence[Effect], found: Mapping[str, Sequence[Match]]
    ) -> dict[str, Sequence[Match]]:
        """What was found, with customers that may be the same; nothing more is asked where our own stands already."""
        asked = {
            effect.id: effect.document
            for effect in effects
            if effect.similar
            and isinstance(effect.document, Customer)
            and not any(match.by is MatchedBy.REFERENCE for match in found.get(effect.id, ()))
        }
        matches: dict[str, Sequence[Match]] = {}
        for key, records in (similar_customers(self._client, self._company, asked) if asked else {}).items():
            exact = list(found.get(key, ()))
            known = {match.record.id for match in exact}
            similar = [Match(record, MatchedBy.SIMILAR) for record in records if record.id not in known]
            if similar:
                matches[key] = exact + similar
        return matches

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        """One outcome for each effect; all of them go in one batch call."""
        self._company.kept.refresh()
        outcomes: list[Outcome] = []
        sent: dict[str, Effect] = {}
        items: list[wire.Json] = []
        try:
            dates = self._dates_of(effects)
        except ProviderError as error:
            return [NotDone(each.id, error) for each in effects]
        for key, effect in zip(map(str, range(1, len(effects) + 1)), effects, strict=True):
            try:
                self._refuse_closed(effect, dates)
                items.append(to_item(effect, self._company, key))
                sent[key] = effect
            except RejectedError as error:
                outcomes.append(NotDone(effect.id, error))
            except ProviderError as error:  # a look-up failed: nothing was sent, and the next would fail too
                return [NotDone(each.id, error) for each in effects]
        if sent:
            outcomes += self._write_batch(items, sent)
        if any(isinstance(one, NotDone) and one.error.code == _CLOSED for one in outcomes):
            self._company.kept.forget()  # once somebody opened the period, a new try is to see that
        return outcomes

    def _dates_of(self, effects: Sequence[Effect]) -> dict[tuple[Kind, str], date]:
        """The dates that the documents to be updated have now; empty if the books were never closed."""
        ids: defaultdict[Kind, set[str]] = defaultdict(set)
        for effect in effects:
            if isinstance(effect.document, _DATED) and effect.target_id is not None:
                ids[effect.kind].add(effect.target_id)
        if not ids or self._company.closed_until is None:
            return {}
        return {
            (kind, record.id): on
            for kind, some in ids.items()
            for record in self._select_any(kind, "Id", sorted(some))
            if isinstance(on := record.fields.get("date"), date)
        }

    def _refuse_closed(self, effect: Effect, dates: Mapping[tuple[Kind, str], date]) -> None:
        """QuickBooks asks a person for a password then, and may let an app through; we never write there.

        Raises:
            RejectedError: If the document is, or was, dated in the closed period.
        """
        document = effect.document
        if not isinstance(document, _DATED) or (closed := self._company.closed_until) is None:
            return
        stands = dates.get((effect.kind, effect.target_id or ""))
        on = [stands] if _is_void(document) else [document.date, stands]
        early = [each for each in on if each is not None and each <= closed]
        if early:
            raise RejectedError(
                f"The books are closed up to {closed.isoformat()}, and this {effect.kind.value.replace('_', ' ')} is "
                f"dated {early[0].isoformat()}.",
                field="date",
                code=_CLOSED,
                next_step="Change the date, or open the period in QuickBooks.",
            )

    def _write_batch(self, items: Sequence[wire.Json], sent: Mapping[str, Effect]) -> list[Outcome]:
        try:
            answers, request_id = self._client.batch(items, _request_key(items, sent.values()))
        except UncertainError as error:
            return [Unknown(effect.id, error) for effect in sent.values()]
        except ProviderError as error:
            return [NotDone(effect.id, error) for effect in sent.values()]
        return self._told_whose(
            [self._outcome(effect, answers.get(key, {}), request_id) for key, effect in sent.items()], sent.values()
        )

    def _told_whose(self, outcomes: Sequence[Outcome], effects: Iterable[Effect]) -> list[Outcome]:
        """The outcomes; of customers that were refused for their name, with the vendor or employee who has it."""
        customers = {effect.id: effect.document.name for effect in effects if isinstance(effect.document, Customer)}
        refused = {
            outcome.effect_id: customers[outcome.effect_id]
            for outcome in outcomes
            if isinstance(outcome, NotDone) and outcome.error.code == NAME_TAKEN and outcome.effect_id in customers
        }
        try:
            holders = holders_of(self._client, list(refused.values()))
        except ProviderError:
            return list(outcomes)  # the sentence is the general one then
        told: list[Outcome] = []
        for outcome in outcomes:
            holder = holders.get(same_name(refused.get(outcome.effect_id, "")))
            if isinstance(outcome, NotDone) and holder is not None:
                error = name_is_anothers(refused[outcome.effect_id], holder, outcome.error)
                told.append(NotDone(outcome.effect_id, error))
            else:
                told.append(outcome)
        return told

    def _outcome(self, effect: Effect, answer: wire.Json, request_id: str) -> Outcome:
        row = answer.get(ENTITIES[effect.kind])
        if isinstance(row, dict):
            try:
                return Done(effect.id, to_record(effect.kind, row, self._company))
            except (ValidationError, ProviderError):
                pass
        error = to_error(parse_fault(answer), status=200, write=True, request_id=request_id)
        return Unknown(effect.id, error) if isinstance(error, UncertainError) else NotDone(effect.id, error)

    def _find_named(self, kind: Kind, effects: Sequence[Effect]) -> dict[str, Sequence[Match]]:
        """By name; a customer that bears our tag is ours, whatever its name looks like."""
        names = {effect.id: cast("Customer | Item", effect.document).name for effect in effects}
        asked = sorted({form for name in names.values() for form in (name, " ".join(name.split()))})
        records = [record for record in self._select_any(kind, NATURAL_KEYS[kind], asked) if _may_stand_on_line(record)]
        matches: dict[str, Sequence[Match]] = {}
        for effect in effects:
            mine = [record for record in records if record.fields.get("reference") == effect.reference]
            alike = [
                record for record in records if same_name(str(record.fields["name"])) == same_name(names[effect.id])
            ]
            if mine:
                matches[effect.id] = [Match(record, MatchedBy.REFERENCE) for record in mine]
            elif alike:
                matches[effect.id] = [Match(record, MatchedBy.NATURAL_KEY) for record in alike]
        return matches

    def _find_documents(self, kind: Kind, effects: Sequence[Effect]) -> dict[str, Sequence[Match]]:
        """By the number we gave, then among the customer's documents of that date; our mark decides in both."""
        matches: dict[str, Sequence[Match]] = {}
        numbers = sorted({number for effect in effects if (number := self._number(effect))})
        if numbers:
            matches |= _ours(effects, self._select_any(kind, "DocNumber", numbers))
        missing = [effect for effect in effects if effect.id not in matches]
        if missing:
            documents = [cast("Invoice | CreditNote | Payment", effect.document) for effect in missing]
            customers = any_of("CustomerRef", sorted({document.customer for document in documents}))
            dates = any_of("TxnDate", sorted({document.date.isoformat() for document in documents}))
            matches |= _ours(missing, self._select(kind, f"{customers} AND {dates}"))
        return matches

    def _number(self, effect: Effect) -> str | None:
        if not isinstance(effect.document, _NUMBERED):
            return None
        if effect.document.number is not None:
            return effect.document.number
        return None if self._company.numbers_itself else own_number(effect.reference)

    def _with_last_payment(self, invoices: Sequence[Record]) -> Sequence[Record]:
        paid_by = {invoice.id: cast("list[str]", invoice.fields["payment_ids"]) for invoice in invoices}
        payment_ids = sorted({payment for payments in paid_by.values() for payment in payments})
        payments = self._select_any(Kind.PAYMENT, "Id", payment_ids)
        dates = {payment.id: payment.fields["date"] for payment in payments}
        with_dates: list[Record] = []
        for invoice in invoices:
            its = [date for payment in paid_by[invoice.id] if (date := dates.get(payment)) is not None]
            # None where no payment is left, so that a payment that was taken back takes its date with it.
            last = max(its) if its else None  # type: ignore[type-var] # all of them are dates
            fields = {**invoice.fields, "last_payment_on": last}
            with_dates.append(Record(invoice.kind, invoice.id, invoice.version, invoice.edited_at, fields))
        return with_dates

    def _select_any(self, kind: Kind, column: str, values: Sequence[str]) -> list[Record]:
        return [
            record
            for some in batched(values, _VALUES_MAX, strict=False)
            for record in self._select(kind, any_of(column, some))
        ]

    def _select(self, kind: Kind, where: str) -> list[Record]:
        """All records that fulfil the condition, whatever number of pages; inactive ones too."""
        where += " AND Active IN (true, false)" if kind in NAME_LISTS else ""
        records: dict[str, Record] = {}
        for page in range(_PAGES_MAX):
            rows, _ = self._client.query(ENTITIES[kind], where, order="Id", start=1 + page * QUERY_ROWS_MAX)
            try:
                found = [to_record(kind, row, self._company) for row in rows]
            except ValidationError:
                raise unreadable(f"a {kind.value}") from None
            records |= {record.id: record for record in found}
            if len(rows) < QUERY_ROWS_MAX:
                return list(records.values())
        raise unreadable(f"more than {_PAGES_MAX} pages for a bounded question")


def _request_key(items: Sequence[wire.Json], effects: Iterable[Effect]) -> str:
    """The batch's `requestid`: the same for the same writes, and new for a new try or changed content."""
    attempts = " ".join(f"{effect.id}:{effect.attempt}" for effect in effects)
    return str(uuid.uuid5(_NAMESPACE, f"{attempts} {encode(list(items)).decode()}"))


def _is_void(document: Document) -> bool:
    return isinstance(document, Invoice) and document.status is InvoiceStatus.VOIDED


def _may_stand_on_line(record: Record) -> bool:
    """A category has a name like an item, but cannot be sold."""
    return record.kind is not Kind.ITEM or record.fields.get("type") != "category"


def _ours(effects: Sequence[Effect], records: Sequence[Record]) -> dict[str, Sequence[Match]]:
    """By effect id, the records that bear our tag, or the number that only we give."""
    matches: dict[str, Sequence[Match]] = {}
    for effect in effects:
        mine = [
            Match(record, MatchedBy.REFERENCE)
            for record in records
            if record.fields.get("reference") == effect.reference
            or record.fields.get("number") == own_number(effect.reference)
        ]
        if mine:
            matches[effect.id] = mine
    return matches
