"""An open connection to one Zoho Books organisation: the methods of `tieout.ports.connector.Connector`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import cast

from pydantic import ValidationError

from tieout.connectors.zoho_books import wire
from tieout.connectors.zoho_books.auth import tokens_of
from tieout.connectors.zoho_books.client import Client, parsed, unreadable
from tieout.connectors.zoho_books.company import Company
from tieout.connectors.zoho_books.feed import Feed
from tieout.connectors.zoho_books.manifest import MANIFEST, parse_settings
from tieout.connectors.zoho_books.parts import own_number, same_name
from tieout.connectors.zoho_books.translate import PLACES, missing_steps, params_of, to_body, to_record
from tieout.domain.documents import Customer, Invoice, InvoiceStatus, Item, Project, TimeEntry
from tieout.domain.effects import Done, Effect, Match, MatchedBy, NotDone, Operation, Outcome, Unknown
from tieout.domain.errors import (
    ConflictError,
    NotFoundError,
    ProviderError,
    ReconnectError,
    RejectedError,
    SettingsError,
    UnavailableError,
    UncertainError,
)
from tieout.domain.records import Kind, Record
from tieout.matching.contacts import mailbox
from tieout.matching.names import beginning
from tieout.ports.connector import Account, ChangePage, Context, Manifest

# More records that have a name, or a reference number, are not looked at one by one.
_CANDIDATES_MAX = 10
# More customers that begin alike are not compared: a name so common says nothing.
_ALIKE_MAX = 25
_SEARCHABLE: Mapping[tuple[Kind, str], str] = {
    (Kind.CUSTOMER, "name"): "contact_name",
    (Kind.CUSTOMER, "email"): "email",
    (Kind.ITEM, "name"): "name",
}
_ALL = {"filter_by": "Status.All"}
_CUSTOMERS = {**_ALL, "contact_type": "customer"}


class ZohoBooksConnector:
    """Reads and writes one organisation. Holds no personal data beyond a call."""

    def __init__(self, context: Context) -> None:
        self._settings = parse_settings(context.connection.settings)
        self._organization = self._settings.organization_id or context.connection.account
        if not self._organization.isdigit():
            raise SettingsError(
                f"The connection {context.connection.id} does not say which Zoho Books organisation it is for.",
                next_step="Connect it with `tieout connect`, or set `organization_id`.",
            )
        tokens = tokens_of(context, self._settings)
        self._client = Client(self._settings, self._organization, tokens, context.clock)
        self._company = Company(self._client, context.clock)
        self._feed = Feed(self._client, self._settings, context.clock)

    @property
    def manifest(self) -> Manifest:
        """What Zoho Books can do."""
        return MANIFEST

    def probe(self) -> Account:
        """The organisation: its id, name and home currency."""
        known = self._client.organization()
        return Account(self._organization, known.name or self._organization, known.currency_code)

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        """The records with these ids, a call each; an invoice also says when its last payment came, if it has any."""
        records = []
        for one in ids:
            try:
                record = self._record(kind, self._client.one(f"{PLACES[kind].path}/{one}", PLACES[kind].row))
            except NotFoundError:
                continue
            records.append(self._with_last_payment(record) if kind is Kind.INVOICE else record)
        return records

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        """Records whose field equals one of the values but for case, as lists show them; a call for each value.

        Lists of items cannot be asked for an SKU, so all of them are looked at.
        """
        wanted = {value.casefold() for value in values}
        if not values:
            return []
        if (kind, field) == (Kind.ITEM, "sku"):
            found = list(self._listed(kind, _ALL))
        elif column := _SEARCHABLE.get((kind, field)):
            filters = _CUSTOMERS if kind is Kind.CUSTOMER else _ALL
            found = [record for value in values for record in self._listed(kind, {**filters, column: value})]
        else:
            raise RejectedError(f"Zoho Books cannot search {kind.value} records by `{field}`.", field=field)
        matching = (record for record in found if str(record.fields.get(field) or "").casefold() in wanted)
        return list({record.id: record for record in matching}.values())

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        """A page of the change feed."""
        return self._feed.changes(kind, cursor)

    def cursor_now(self, kind: Kind) -> str:  # noqa: ARG002 - the port's; all kinds begin now
        """A cursor from now on."""
        return self._feed.now()

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """A page of all ids."""
        return self._feed.ids(kind, after)

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:
        """By effect id, what may already be its document: customers and items by name, documents by our reference."""
        self._company.kept.refresh()
        found = {
            effect.id: self._find_named(effect) if effect.kind in MANIFEST.natural_key else self._find_ours(effect)
            for effect in effects
        }
        return {key: matches for key, matches in found.items() if matches}

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        """One outcome for each effect, one after the other; what keeps one from being sent keeps those after it."""
        self._company.kept.refresh()
        outcomes: list[Outcome] = []
        closed: ProviderError | None = None
        for effect in effects:
            outcome = self._write(effect) if closed is None else NotDone(effect.id, closed)
            outcomes.append(outcome)
            if isinstance(outcome, NotDone) and isinstance(outcome.error, UnavailableError | ReconnectError):
                closed = outcome.error
        return outcomes

    def _write(self, effect: Effect) -> Outcome:
        place, row = PLACES[effect.kind], None
        try:
            if effect.operation is Operation.CREATE:
                row = self._create(effect)
            else:
                row = self._standing(effect)
                row = self._update(effect, row) if not _is_void(effect) else row
        except UncertainError as error:
            return Unknown(effect.id, error)
        except ProviderError as error:
            return NotDone(effect.id, _names_what_is_gone(effect, error, found=row is not None))
        try:
            record = self._record(effect.kind, row)
            steps = missing_steps(effect, row)
            for step in steps:
                self._client.act(f"{place.path}/{record.id}/{step}")
            if steps:
                record = self._record(effect.kind, self._client.one(f"{place.path}/{record.id}", place.row))
        except RejectedError as error:
            return NotDone(effect.id, _half_done(effect, error))
        except ProviderError as error:
            unsure = UncertainError(
                "A part of it was written to Zoho Books, and then: " + error.message, code=error.code
            )
            return Unknown(effect.id, unsure)
        return Done(effect.id, record)

    def _create(self, effect: Effect) -> wire.Json:
        """The new record; or the one that bears our reference, with the document's content, but for hours."""
        if _is_void(effect):
            raise RejectedError("A voided invoice is not written if it was never issued.", field="status")
        place = PLACES[effect.kind]
        body = to_body(effect, self._company, self._settings, None)
        if effect.kind is Kind.TIME_ENTRY:
            return self._client.create(place.path, place.row, body)
        key = (self._settings.reference_field, effect.reference)
        return self._client.upsert(place.path, place.row, body, key, params_of(effect))

    def _standing(self, effect: Effect) -> wire.Json:
        """The record that is to be updated.

        Zoho has no version that a write could be refused for: comparing the time of the last change just before
        leaves a moment, and changes within the second of our own, in which the last writer wins.

        Raises:
            ConflictError: If somebody changed it since its version was read.
        """
        place = PLACES[effect.kind]
        row = self._client.one(f"{place.path}/{effect.target_id}", place.row)
        if effect.target_version and self._record(effect.kind, row).version != effect.target_version:
            raise ConflictError("Somebody changed this record in Zoho Books meanwhile.")
        return row

    def _update(self, effect: Effect, row: wire.Json) -> wire.Json:
        place = PLACES[effect.kind]
        body = to_body(effect, self._company, self._settings, row)
        return self._client.update(f"{place.path}/{effect.target_id}", place.row, body)

    def _find_named(self, effect: Effect) -> list[Match]:
        """By name, whole; and customers that may be the same, as lists show them, if they are wanted."""
        document = cast("Customer | Item", effect.document)
        name = " ".join(document.name.split())
        filters = {**_CUSTOMERS, "contact_name": name} if effect.kind is Kind.CUSTOMER else {**_ALL, "name": name}
        alike = [
            record
            for record in self._listed(effect.kind, filters)
            if same_name(str(record.fields["name"])) == same_name(name)
        ]
        whole = self.read(effect.kind, [record.id for record in alike[:_CANDIDATES_MAX]])
        matches = [Match(record, MatchedBy.NATURAL_KEY) for record in whole]
        if effect.similar and isinstance(document, Customer):
            known = {record.id for record in whole}
            similar = (record for record in self._similar(document) if record.id not in known)
            matches += [Match(record, MatchedBy.SIMILAR) for record in similar]
        return matches

    def _similar(self, document: Customer) -> list[Record]:
        """Customers whose name begins alike, or with the same e-mail address."""
        asked = {"contact_name_startswith": beginning(document.name), "email": mailbox(document.email) or ""}
        found = [
            record
            for filter_, value in asked.items()
            if value
            for record in islice(self._listed(Kind.CUSTOMER, {**_CUSTOMERS, filter_: value}), _ALIKE_MAX)
        ]
        return list({record.id: record for record in found}.values())

    def _find_ours(self, effect: Effect) -> list[Match]:
        """By our mark in the reference number; the unique custom field proves it, which a copy does not have.

        Where no candidate has it, as after somebody emptied it, the mark has to do. Hours have the mark alone.
        """
        listed = [
            record
            for record in self._listed(effect.kind, _where_ours_is(effect))
            if record.fields.get("reference") == effect.reference
        ]
        place = PLACES[effect.kind]
        rows = []
        for candidate in listed[:_CANDIDATES_MAX]:
            try:
                rows.append(self._client.one(f"{place.path}/{candidate.id}", place.row))
            except NotFoundError:
                continue
        field = self._settings.reference_field
        proved = [row for row in rows if parsed(wire.Entity, row).custom(field) == effect.reference]
        return [
            Match(self._record(effect.kind, row), MatchedBy.REFERENCE, unfinished=_is_unfinished(effect, row))
            for row in proved or rows
        ]

    def _with_last_payment(self, invoice: Record) -> Record:
        """None where no payment is left, so that a payment that was taken back takes its date with it."""
        last = None
        if invoice.fields.get("paid"):
            dates = [payment.date for payment in self._client.payments_of(invoice.id)]
            last = max((each for each in dates if each is not None), default=None)
        fields = {**invoice.fields, "last_payment_on": last}
        return Record(invoice.kind, invoice.id, invoice.version, invoice.edited_at, fields)

    def _listed(self, kind: Kind, filters: Mapping[str, str]) -> Iterator[Record]:
        for row in self._client.rows(PLACES[kind].path, PLACES[kind].rows, filters):
            yield from self._feed.records(kind, [row])

    def _record(self, kind: Kind, row: wire.Json) -> Record:
        try:
            record = to_record(kind, row, self._settings)
        except ValidationError:
            raise unreadable(f"a {kind.value}") from None
        if kind is not Kind.TIME_ENTRY:
            return record
        person = self._company.email_of(parsed(wire.TimeEntry, row).user_id)
        return replace(record, fields={**record.fields, "person": person})


def _where_ours_is(effect: Effect) -> dict[str, str]:
    """What a list is asked for, so that it shows the effect's document if there is one."""
    document = effect.document
    if isinstance(document, Project):
        return {"filter_by": "Status.All", "customer_id": document.customer}
    if isinstance(document, TimeEntry):
        day = document.date.isoformat()
        return {"project_id": document.project, "from_date": day, "to_date": day}
    column = "reference_number_contains" if effect.kind in {Kind.PAYMENT, Kind.EXPENSE} else "reference_number"
    return {column: own_number(effect.reference)}


def _is_void(effect: Effect) -> bool:
    return isinstance(effect.document, Invoice) and effect.document.status is InvoiceStatus.VOIDED


def _is_unfinished(effect: Effect, row: wire.Json) -> bool:
    """True for an invoice or estimate of ours that was made and not sent: a void one is finished, by a person."""
    return "status/sent" in missing_steps(effect, row)


def _names_what_is_gone(effect: Effect, error: ProviderError, *, found: bool) -> ProviderError:
    """The error; where the record itself is new or stands, what Zoho does not find is what the document names."""
    if not isinstance(error, NotFoundError) or (effect.operation is Operation.UPDATE and not found):
        return error
    return RejectedError(
        "Zoho Books does not have what the document refers to: " + error.message.partition(": ")[2],
        next_step="Look the customer and the items up in Zoho Books, and link to others if they are gone.",
        code=error.code,
    )


def _half_done(effect: Effect, error: RejectedError) -> RejectedError:
    what = "It stands as a draft in Zoho Books" if isinstance(effect.document, Invoice) else "It stands in Zoho Books"
    return RejectedError(
        f"{what}, but the last step was refused. {error.message}",
        field=error.field,
        next_step=error.next_step,
        detail=error.detail,
        code=error.code,
    )
