"""An open connection to one Tryton company: the methods of `tieout.ports.connector.Connector`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import timedelta
from typing import cast

from tieout.connectors.tryton.client import Client
from tieout.connectors.tryton.company import Company
from tieout.connectors.tryton.errors import unclear
from tieout.connectors.tryton.feed import Feed
from tieout.connectors.tryton.invoices import Invoices, differing
from tieout.connectors.tryton.manifest import MANIFEST, Settings
from tieout.connectors.tryton.notes import commands as note_commands
from tieout.connectors.tryton.read import (
    INVOICE,
    MOVE_LINE,
    OPPORTUNITY,
    PARTY,
    PRODUCT,
    SOURCES,
    TEMPLATE,
    is_draft,
    reference_of,
    tag,
    to_record,
    version_of,
)
from tieout.connectors.tryton.wire import Row
from tieout.connectors.tryton.write import customer_values, item_values
from tieout.domain.documents import CreditNote, Customer, Invoice, Item, RecordUpdate
from tieout.domain.effects import Done, Effect, Match, MatchedBy, NotDone, Operation, Outcome, Unknown
from tieout.domain.errors import ConflictError, NotFoundError, ProviderError, RejectedError, UncertainError
from tieout.domain.records import Kind, Record
from tieout.matching.contacts import mailbox
from tieout.matching.names import beginning
from tieout.ports.connector import Account, ChangePage, Context, Manifest

_SEARCHABLE: Mapping[tuple[Kind, str], str] = {
    (Kind.CUSTOMER, "name"): "name",
    (Kind.CUSTOMER, "email"): "contact_mechanisms.value",
    (Kind.COMPANY, "name"): "name",
    (Kind.ITEM, "name"): "template.name",
    (Kind.ITEM, "sku"): "code",
    (Kind.PRODUCT, "name"): "template.name",
    (Kind.PRODUCT, "sku"): "code",
}
# More parties that begin alike are not compared: a name so common says nothing.
_ALIKE_MAX = 25
_NAMED = (Kind.CUSTOMER, Kind.ITEM)


class TrytonConnector:
    """Reads and writes one company. Holds no personal data beyond a call."""

    def __init__(self, context: Context, settings: Settings, sessions: MutableMapping[str, str]) -> None:
        self._client = Client(context, settings, sessions)
        self._company = Company(self._client, settings, context.clock)
        self._feed = Feed(self._client, context.clock, timedelta(minutes=settings.overlap_minutes), self._records)
        self._settings = settings

    @property
    def manifest(self) -> Manifest:
        """What Tryton can do."""
        return MANIFEST

    def probe(self) -> Account:
        """The company: database and id, name and currency."""
        self._company.kept.forget()
        name, currency = self._company.name, self._company.currency
        return Account(f"{self._settings.database}/{self._company.id}", name, currency)

    # ---- reading ----

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        """The records with these ids."""
        wanted = [int(one) for one in ids if one.isdigit()]
        return self._records(kind, self._rows(kind, [["id", "in", wanted]])) if wanted else []

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        """Records whose field equals one of the values but for case."""
        path = _SEARCHABLE.get((kind, field))
        if path is None:
            raise RejectedError(f"Tryton cannot search {kind.value} records by `{field}`.", field=field)
        wanted = {value.casefold() for value in values}
        found = self._records(kind, self._rows(kind, [_any_like(path, values)])) if values else []
        return [record for record in found if str(record.fields.get(field) or "").casefold() in wanted]

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        """A page of the change feed."""
        return self._feed.changes(kind, cursor)

    def cursor_now(self, kind: Kind) -> str:  # noqa: ARG002 - the port's signature
        """A cursor from now on; the same for all kinds."""
        return self._feed.now()

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """A page of all ids."""
        return self._feed.ids(kind, after)

    def _rows(self, kind: Kind, domain: Sequence[object]) -> list[Row]:
        source = SOURCES[kind]
        return self._client.rows(source.model, [*source.domain, *domain], source.asked, inactive=source.inactive)

    def _records(self, kind: Kind, rows: Sequence[Row]) -> list[Record]:
        if not rows:
            return []
        try:
            moves = self._moves(rows) if SOURCES[kind].model == INVOICE else {}
            return [to_record(kind, row, currency=self._company.currency, moves=moves) for row in rows]
        except (ValueError, KeyError, TypeError):
            raise unclear(f"a {kind.value}", write=False) from None

    def _moves(self, rows: Sequence[Row]) -> dict[int, Row]:
        """The ledger's lines that invoices name: when they are due, and when they were paid."""
        ids = sorted({line for row in rows for line in (*row["payment_lines"], *row["lines_to_pay"])})
        found = self._client.rows(MOVE_LINE, [["id", "in", ids]], ["date", "maturity_date"]) if ids else []
        return {row["id"]: row for row in found}

    # ---- finding ----

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:
        """By effect id, what may already be its document; a draft of ours that still says the same is unfinished."""
        self._company.kept.refresh()
        found: dict[str, Sequence[Match]] = {}
        by_kind: defaultdict[Kind, list[Effect]] = defaultdict(list)
        for effect in effects:
            by_kind[effect.kind].append(effect)
        for kind, some in by_kind.items():
            found |= self._find_named(kind, some) if kind in _NAMED else self._find_documents(kind, some)
        return found

    def _find_documents(self, kind: Kind, effects: Sequence[Effect]) -> dict[str, Sequence[Match]]:
        marks = [["reference", "like", f"%{tag(effect.reference)}"] for effect in effects]
        rows = self._rows(kind, [["OR", *marks]])
        records = self._records(kind, rows)
        found: defaultdict[str, list[Match]] = defaultdict(list)
        for effect in effects:
            document = cast("Invoice | CreditNote", effect.document)
            for row, record in zip(rows, records, strict=True):
                if reference_of(row) == effect.reference:
                    left = is_draft(row) and not differing(document, record.fields)
                    found[effect.id].append(Match(record, MatchedBy.REFERENCE, unfinished=left))
        return dict(found)

    def _find_named(self, kind: Kind, effects: Sequence[Effect]) -> dict[str, Sequence[Match]]:
        """By our mark, which only parties bear, then by name."""
        names = {effect.id: cast("Customer | Item", effect.document).name for effect in effects}
        domain = _any_like("name" if kind is Kind.CUSTOMER else "template.name", list(names.values()))
        if kind is Kind.CUSTOMER:
            domain.append(["identifiers.code", "in", [tag(effect.reference) for effect in effects]])
            domain += [
                each for effect in effects if effect.similar for each in _like(cast("Customer", effect.document))
            ]
        rows = self._rows(kind, [domain])
        records = dict(zip((row["id"] for row in rows), self._records(kind, rows), strict=True))
        matches: dict[str, Sequence[Match]] = {}
        for effect in effects:
            found = _matches(effect, names[effect.id], [records[row["id"]] for row in rows])
            if found:
                matches[effect.id] = found
        return matches

    # ---- writing ----

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        """One outcome for each effect, one after the other: an effect that is refused would undo the others."""
        self._company.kept.refresh()
        return [self._write(effect) for effect in effects]

    def _write(self, effect: Effect) -> Outcome:
        try:
            written = self._write_one(effect)
        except UncertainError as error:
            return Unknown(effect.id, error)
        except ProviderError as error:
            return NotDone(effect.id, error)
        try:
            (record,) = self.read(effect.kind, [str(written)])
        except (ProviderError, ValueError):
            return Unknown(effect.id, UncertainError("It is written in Tryton, but could not be read again."))
        return Done(effect.id, record)

    def _write_one(self, effect: Effect) -> int:
        """Write the effect; the id of what stands there then."""
        match effect.document:
            case Customer() as document:
                return self._write_customer(effect, document)
            case Item() as document:
                return self._write_item(effect, document)
            case Invoice() | CreditNote() as document:
                invoices = self._invoices(effect.kind)
                if effect.operation is Operation.CREATE:
                    return invoices.create(effect, document)
                row = self._row(effect.kind, effect.target_id or "")
                invoices.update(effect, document, row)
                return int(row["id"])
            case RecordUpdate() as document if effect.kind is Kind.DEAL and effect.operation is Operation.UPDATE:
                return self._write_deal(effect, document)
            case _:
                raise RejectedError(f"Tieout does not write {effect.kind.value} records to Tryton.")

    def _write_customer(self, effect: Effect, document: Customer) -> int:
        if effect.operation is Operation.CREATE:
            return self._client.create(PARTY, customer_values(effect, document, None, self._company))
        row = self._current(effect)
        values = customer_values(effect, document, row, self._company)
        self._client.write(f"model.{PARTY}.write", [row["id"]], values, versions=_versions(row))
        return int(row["id"])

    def _write_item(self, effect: Effect, document: Item) -> int:
        if effect.operation is Operation.CREATE:
            made = self._client.create(TEMPLATE, item_values(document, None, self._company))
            try:
                (product,) = self._client.rows(PRODUCT, [["template", "=", made]], ["id"], inactive=True)
            except (ProviderError, ValueError):
                raise UncertainError("The item is written in Tryton, but could not be read again.") from None
            return int(product["id"])
        row = self._current(effect)
        template = row["template."]
        versions = {f"{PRODUCT},{row['id']}": row["_timestamp"], f"{TEMPLATE},{template['id']}": template["_timestamp"]}
        values = item_values(document, row, self._company)
        self._client.write(f"model.{TEMPLATE}.write", [template["id"]], values, versions=versions)
        return int(row["id"])

    def _write_deal(self, effect: Effect, document: RecordUpdate) -> int:
        """The note of ours is replaced in any case, so that the deal has another version."""
        row = self._current(effect)
        values = {"notes": note_commands(row["notes."], document.fields)}
        versions = {f"{OPPORTUNITY},{row['id']}": row["_timestamp"]}
        self._client.write(f"model.{OPPORTUNITY}.write", [row["id"]], values, versions=versions)
        return int(row["id"])

    def _current(self, effect: Effect) -> Row:
        """What stands there now.

        Raises:
            ConflictError: If it is not what the effect was planned on.
        """
        row = self._row(effect.kind, effect.target_id or "")
        if effect.target_version and version_of(effect.kind, row) != effect.target_version:
            raise ConflictError("Somebody changed this record in Tryton meanwhile.")
        return row

    def _row(self, kind: Kind, record: str) -> Row:
        found = self._rows(kind, [["id", "=", int(record)]]) if record.isdigit() else []
        if not found:
            raise NotFoundError("Tryton has no such record, or its user may not see it.")
        return found[0]

    def _invoices(self, kind: Kind) -> Invoices:
        def row(invoice: int) -> Row:
            return self._row(kind, str(invoice))

        def record(found: Row) -> Record:
            return self._records(kind, [found])[0]

        return Invoices(self._client, self._company, row, record)


def _versions(row: Row) -> dict[str, str]:
    """By `model,id`, the versions of a party and its parts; Tryton compares those that are written."""
    models = {
        "addresses.": "party.address",
        "contact_mechanisms.": "party.contact_mechanism",
        "identifiers.": "party.identifier",
    }
    parts = {f"{model},{one['id']}": one["_timestamp"] for name, model in models.items() for one in row[name]}
    return {f"{PARTY},{row['id']}": row["_timestamp"], **parts}


def _any_like(path: str, values: Sequence[str]) -> list[object]:
    """A condition: the value at the path is one of these but for case, and perhaps a few more.

    In a pattern `%` and `_` stand for anything, so more may be found. A backslash means itself in one database and the
    next character in another: any character takes its place.
    """
    forms = sorted({form.replace("\\", "_") for value in values for form in (value, " ".join(value.split()))})
    return ["OR", *([path, "ilike", form] for form in forms)]


def _like(document: Customer) -> list[object]:
    """Conditions for parties that may be the same."""
    start, mail = beginning(document.name).partition("%")[0].strip(), mailbox(document.email)
    conditions: list[object] = [["name", "ilike", f"{start}%".replace("\\", "_")]] if start else []
    return [*conditions, ["contact_mechanisms.value", "ilike", mail]] if mail else conditions


def _matches(effect: Effect, name: str, records: Sequence[Record]) -> list[Match]:
    mine = [record for record in records if record.fields.get("reference") == effect.reference]
    if mine:
        return [Match(record, MatchedBy.REFERENCE) for record in mine]
    same = [record for record in records if _folded(str(record.fields["name"])) == _folded(name)]
    matches = [Match(record, MatchedBy.NATURAL_KEY) for record in same]
    if effect.similar and isinstance(effect.document, Customer):
        start, mail = _folded(beginning(name)), mailbox(effect.document.email)
        alike = [
            record
            for record in records
            if record not in same
            and (
                (start and _folded(str(record.fields["name"])).startswith(start))
                or (mail is not None and mailbox(record.fields.get("email")) == mail)
            )
        ]
        matches += [Match(record, MatchedBy.SIMILAR) for record in alike[:_ALIKE_MAX]]
    return matches


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()
