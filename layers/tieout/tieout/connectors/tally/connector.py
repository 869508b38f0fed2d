"""An open connection to one company in Tally: the methods of `tieout.ports.connector.Connector`.

The company is looked for by its GUID at the beginning of each call, and named in each request: without that Tally takes
the one that is on its screen.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import cast
from xml.etree.ElementTree import Element

from tieout.connectors.tally import read, write
from tieout.connectors.tally.client import Client
from tieout.connectors.tally.company import Companies, OpenCompany, folded
from tieout.connectors.tally.errors import refused
from tieout.connectors.tally.feed import IDS_MAX, MASTERS, Cursor, counter, page_of
from tieout.connectors.tally.manifest import MANIFEST, parse_settings
from tieout.connectors.tally.tdl import all_of, any_of, collection, importing, report, rows_of, text
from tieout.connectors.tally.wire import Imported, amount_of, flag_of, number_of, text_of
from tieout.connectors.tally.write import Books
from tieout.domain.documents import (
    CreditNote,
    Customer,
    Document,
    Estimate,
    Invoice,
    InvoiceStatus,
    Item,
    Payment,
)
from tieout.domain.effects import Done, Effect, Match, MatchedBy, NotDone, Operation, Outcome, Unknown
from tieout.domain.errors import (
    ConflictError,
    NameTakenError,
    NotFoundError,
    ProviderError,
    ReconnectError,
    RejectedError,
    UnavailableError,
    UncertainError,
)
from tieout.domain.records import Kind, Record
from tieout.matching.contacts import mailbox
from tieout.matching.names import beginning
from tieout.ports.connector import Account, ChangePage, Context, Manifest

# More customers that begin alike are not compared: a name so common says nothing.
_ALIKE_MAX = 25
# So many values stand in one formula.
_FORMULA_VALUES_MAX = 20
# So many characters of a name's beginning stand in a formula.
_BEGINNING_MAX = 40
_MASTER_OF = {Kind.CUSTOMER: "LEDGER", Kind.ITEM: "STOCKITEM"}
_OPTIONAL = {Kind.INVOICE: False, Kind.ESTIMATE: True, Kind.CREDIT_NOTE: False, Kind.PAYMENT: False}
_TYPE_OF = {
    Kind.INVOICE: "$$IsSales:$VoucherTypeName",
    Kind.ESTIMATE: "$$IsSales:$VoucherTypeName",
    Kind.CREDIT_NOTE: "$$IsCreditNote:$VoucherTypeName",
    Kind.PAYMENT: "$$IsReceipt:$VoucherTypeName",
}


class TallyConnector:
    """Reads and writes one company. Holds names of its masters, and no other data, beyond a call."""

    def __init__(self, context: Context) -> None:
        self._settings = parse_settings(context.connection.settings)
        self._clock = context.clock
        self._client = Client(self._settings, context.http, context.clock)
        guid = self._settings.company_guid or context.connection.account
        name = "" if self._settings.company_guid else self._settings.company
        self._companies = Companies(self._client, context.clock, guid, name)

    @property
    def manifest(self) -> Manifest:
        """What Tally can do."""
        return MANIFEST

    def probe(self) -> Account:
        """The company: its GUID, its name now, its base currency."""
        with self._client.call():
            company = self._companies.one()
            return Account(company.guid, company.name, self._settings.currency)

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        """The records with these ids; an invoice also says when its last payment came, if it has any."""
        if not ids:
            return []
        with self._client.call():
            return self._read(kind, ids, self._books())

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        """Records whose field equals one of the values but for case; an item's SKU is its alias."""
        if field not in {"name", "email"} and (kind, field) != (Kind.ITEM, "sku"):
            raise RejectedError(f"Tally cannot search {kind.value} records by `{field}`.", field=field)
        if kind not in MASTERS or (kind, field) == (Kind.ITEM, "email"):
            raise RejectedError(f"Tally cannot search {kind.value} records by `{field}`.", field=field)
        wanted = {folded(value) for value in values}
        with self._client.call():
            books = self._books()
            found: list[Record] = []
            for some in [[]] if field == "sku" else _chunks(sorted(wanted)):  # an alias has no method of its own
                found += self._records(kind, books, where=self._where_field(kind, field, some, books))
        return [record for record in found if folded(str(record.fields.get(field) or "")) in wanted]

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        """A page of the change feed."""
        with self._client.call():
            books = self._books()
            return page_of(
                kind,
                cursor,
                books.company,
                size=self._settings.records_per_page,
                altered=lambda after, end: [
                    int(row.get("ALTERID") or 0) for row in self._rows(kind, books, where=_between(after, end))
                ],
                records=lambda after, end: self._records(kind, books, where=_between(after, end)),
            )

    def cursor_now(self, kind: Kind) -> str:
        """A cursor at the company's counter."""
        with self._client.call():
            now = counter(kind, self._companies.current())
            return str(Cursor(now, now))

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """A page of ids in the order of their making; `after` is the last one's number."""
        with self._client.call():
            books = self._books()
            rows = self._rows(kind, books, where=f"$MasterID > {int(after or 0)}")
        # Names decide what is a customer, and a cancelled voucher has no name in it any more.
        rows = sorted(
            (row for row in rows if self._is_listed(kind, row, books)), key=lambda row: _number(row, "MASTERID")
        )
        page = rows[:IDS_MAX]
        following = str(_number(page[-1], "MASTERID")) if len(rows) > IDS_MAX else None
        return [row["GUID"] for row in page], following

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:
        """By effect id, what may already be its document: masters by name, vouchers by our mark."""
        with self._client.call():
            books = self._books()
            found = {
                effect.id: self._find_named(effect, books) for effect in effects if effect.kind in MANIFEST.natural_key
            }
            found |= self._find_marked([effect for effect in effects if effect.kind not in MANIFEST.natural_key], books)
        return {key: matches for key, matches in found.items() if matches}

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        """One outcome for each effect, one after the other; what keeps one from being sent keeps those after it."""
        outcomes: list[Outcome] = []
        closed: ProviderError | None = None
        with self._client.call():
            for effect in effects:
                outcome = self._write(effect) if closed is None else NotDone(effect.id, closed)
                outcomes.append(outcome)
                if isinstance(outcome, NotDone) and isinstance(outcome.error, UnavailableError | ReconnectError):
                    closed = outcome.error
                if isinstance(outcome, Unknown):
                    # The program is busy with it still, or a window is open: whatever follows would wait behind it.
                    closed = UnavailableError("Tally did not answer to the record before this one.")
        return outcomes

    # ---- what is there ----

    def _books(self) -> Books:
        company = self._companies.current()
        return Books(self._settings, company, self._companies.masters(company))

    def _days(self, company: OpenCompany) -> tuple[dt.date, dt.date]:
        """All of the company's books: without dates, only the period on the screen is shown."""
        return company.books_from, dt.date(self._clock.now().year + 2, 3, 31)

    def _rows(self, kind: Kind, books: Books, *, where: str) -> list[dict[str, str]]:
        """A thin list of what the formula finds."""
        of = read.OBJECTS[kind][0]
        columns = {"GUID": "$GUID", "MASTERID": "$MasterID", "ALTERID": "$AlterID"}
        if kind in MASTERS:
            return rows_of(self._client.export(report(of, columns, company=books.company.name, where=where)))
        columns |= {"PARTY": "$PartyLedgerName", "CANCELLED": "$IsCancelled"}
        where = all_of(_is_kind(kind), where)
        days = self._days(books.company)
        return rows_of(self._client.export(report(of, columns, company=books.company.name, where=where, days=days)))

    def _is_listed(self, kind: Kind, row: Mapping[str, str], books: Books) -> bool:
        if kind is Kind.CUSTOMER:
            ledger = books.masters.ledger_of(row["GUID"])
            return ledger is not None and ledger.debtor
        if kind in {Kind.ITEM, Kind.PAYMENT}:
            return True  # of receipts, those that are nobody's are listed, too
        party = books.masters.ledger(row.get("PARTY", ""))
        cancelled = row.get("CANCELLED", "").casefold() == "yes"
        return cancelled or (party is not None and party.debtor)

    def _elements(self, kind: Kind, books: Books, *, where: str) -> list[Element]:
        """Whole objects of this kind that the formula finds."""
        of, methods = read.OBJECTS[kind]
        if kind in MASTERS:
            root = self._client.export(collection(of, methods, company=books.company.name, where=where))
            found = [each for each in root.iter(_MASTER_OF[kind]) if read.guid_of(each)]
            if kind is Kind.ITEM:
                return found
            known = {each.guid for each in books.masters.ledgers.values() if each.debtor}
            return [each for each in found if read.guid_of(each) in known]
        days = self._days(books.company)
        where = all_of(_is_kind(kind), where)
        root = self._client.export(collection(of, methods, company=books.company.name, where=where, days=days))
        found = [each for each in root.iter("VOUCHER") if read.guid_of(each)]
        return [each for each in found if read.kind_of(each, kind, books.masters)]

    def _records(self, kind: Kind, books: Books, *, where: str) -> list[Record]:
        return self._as_records(kind, self._elements(kind, books, where=where), books)

    def _as_records(self, kind: Kind, elements: Sequence[Element], books: Books) -> list[Record]:
        if kind is Kind.CUSTOMER:
            return [read.customer(each, self._settings) for each in elements]
        if kind is Kind.ITEM:
            return [read.item(each, self._clock.now().date()) for each in elements]
        open_bills = self._open_bills(books) if kind is Kind.INVOICE and elements else {}
        invoices = self._invoices_paid(elements, books) if kind is Kind.PAYMENT else {}
        return [
            read.voucher(kind, each, self._settings, books.masters, open_bills=open_bills, invoices=invoices)
            for each in elements
        ]

    def _read(self, kind: Kind, ids: Sequence[str], books: Books) -> list[Record]:
        elements: list[Element] = []
        for some in _chunks(list(dict.fromkeys(ids))):
            elements += self._elements(kind, books, where=any_of("$GUID", some))
        records = self._as_records(kind, elements, books)
        if kind is not Kind.INVOICE:
            return records
        return self._with_last_payments(
            dict(zip((read.guid_of(each) for each in elements), elements, strict=True)), records, books
        )

    def _open_bills(self, books: Books) -> dict[tuple[str, str], Decimal]:
        """By ledger and bill, what is open; a debit is negative. Tally lists no bill that is settled."""
        columns = {"NAME": "$Name", "PARTY": "$Parent", "OPEN": "$ClosingBalance"}
        root = self._client.export(report("Bills", columns, company=books.company.name, days=self._days(books.company)))
        return {
            (folded(row.get("PARTY", "")), folded(row.get("NAME", ""))): number_of(row.get("OPEN", "")) or Decimal(0)
            for row in rows_of(root)
        }

    def _invoices_paid(self, receipts: Sequence[Element], books: Books) -> dict[tuple[str, str], str]:
        """By ledger and bill, the ids of the invoices that made the bills which these receipts pay."""
        against = frozenset({"agstref"})
        parties = sorted({ledger for each in receipts for ledger, _, _ in read.bills_of(each, against)})
        made: dict[tuple[str, str], str] = {}
        for some in _chunks(parties):
            for invoice in self._elements(Kind.INVOICE, books, where=any_of("$PartyLedgerName", some)):
                for ledger, bill, _ in read.bills_of(invoice):
                    made[folded(ledger), folded(bill)] = read.guid_of(invoice)
        return made

    def _with_last_payments(
        self, elements: Mapping[str, Element], records: Sequence[Record], books: Books
    ) -> list[Record]:
        """None where no payment is left, so that a payment that was taken back takes its date with it."""
        paid = {record.id for record in records if record.fields.get("paid")}
        parties = sorted({text_of(elements[one], "PARTYLEDGERNAME") for one in paid} - {""})
        receipts: list[Element] = []
        for some in _chunks(parties):
            receipts += self._elements(Kind.PAYMENT, books, where=any_of("$PartyLedgerName", some))
        last = read.last_payments(receipts)
        with_days = []
        for record in records:
            bills = read.bills_of(elements[record.id])
            days = [last[key] for ledger, bill, _ in bills if (key := (folded(ledger), folded(bill))) in last]
            day = max(days, default=None) if record.id in paid else None
            fields = {**record.fields, "last_payment_on": day}
            with_days.append(Record(record.kind, record.id, record.version, record.edited_at, fields))
        return with_days

    def _where_field(self, kind: Kind, field: str, values: Sequence[str], books: Books) -> str:
        """A formula for the field; names and aliases are looked at here, since formulas do not ignore spaces."""
        if field == "email":
            return any_of("$Email", values)
        if field == "sku":
            return ""
        known = books.masters.ledger if kind is Kind.CUSTOMER else books.masters.item
        guids = [master.guid for value in values if (master := known(value)) is not None]
        return any_of("$GUID", guids) if guids else "$MasterID < 0"

    # ---- what may be ours ----

    def _find_named(self, effect: Effect, books: Books) -> list[Match]:
        document = cast("Customer | Item", effect.document)
        records = self._records(
            effect.kind, books, where=self._where_field(effect.kind, "name", [document.name], books)
        )
        matches = [Match(record, MatchedBy.NATURAL_KEY) for record in records]
        if effect.similar and isinstance(document, Customer):
            known = {record.id for record in records}
            similar = (record for record in self._similar(document, books) if record.id not in known)
            matches += [Match(record, MatchedBy.SIMILAR) for record in similar]
        return matches

    def _similar(self, document: Customer, books: Books) -> list[Record]:
        """Customers whose name begins alike, or with the same e-mail address."""
        start = folded(beginning(document.name))[:_BEGINNING_MAX]
        alike = [each.guid for name, each in books.masters.ledgers.items() if each.debtor and name.startswith(start)]
        wheres = [any_of("$GUID", alike[:_ALIKE_MAX])] if start and alike else []
        if address := mailbox(document.email):
            wheres.append(any_of("$Email", [address]))
        found = [record for where in wheres for record in self._records(Kind.CUSTOMER, books, where=where)[:_ALIKE_MAX]]
        return list({record.id: record for record in found}.values())

    def _find_marked(self, effects: Sequence[Effect], books: Books) -> dict[str, list[Match]]:
        """By our mark: one question for each kind."""
        found: dict[str, list[Match]] = {}
        for kind in dict.fromkeys(effect.kind for effect in effects):
            asked = [effect for effect in effects if effect.kind is kind]
            for record in self._records(kind, books, where=_marked(effect.reference for effect in asked)):
                for effect in asked:
                    if record.fields.get("reference") == effect.reference:
                        found.setdefault(effect.id, []).append(Match(record, MatchedBy.REFERENCE))
        return found

    # ---- what is written ----

    def _write(self, effect: Effect) -> Outcome:
        try:
            books = self._books()
            write.check(effect.document)
            if effect.operation is Operation.CREATE:
                record = self._create(effect, books)
            else:
                record = self._update(effect, books)
        except UncertainError as error:
            return Unknown(effect.id, error)
        except ProviderError as error:
            return NotDone(effect.id, error)
        return Done(effect.id, record)

    def _create(self, effect: Effect, books: Books) -> Record:
        document = effect.document
        match document:
            case Customer() | Item():
                return self._create_master(effect.kind, document, books)
            case Invoice(status=InvoiceStatus.VOIDED):
                raise RejectedError("A voided invoice is not written if it was never issued.", field="status")
            case Invoice() | CreditNote() | Estimate():
                return self._create_voucher(effect, write.sales(effect, document, books), books)
            case Payment():
                bills = self._bills([each.invoice for each in document.allocations], books)
                return self._create_voucher(effect, write.receipt(effect, document, books, bills), books)
            case _:
                raise RejectedError(f"Tally has no place for {effect.kind.value} records.")

    def _create_master(self, kind: Kind, document: Customer | Item, books: Books) -> Record:
        """A new ledger or stock item. Asked for by name first: Tally silently alters the one that has it."""
        self._refuse_known_name(kind, document, books)
        if isinstance(document, Customer):
            element = write.ledger(document, books, None)
        else:
            self._make_unit(books)
            element = write.stock_item(document, books, None, self._clock.now().date())
        counts = self._import("All Masters", element, books)
        if not counts.created and not counts.altered:
            raise refused(counts)
        # An `altered` is the one that somebody made between our question and this: the same name, so the same master.
        return self._written_master(kind, document.name)

    def _refuse_known_name(self, kind: Kind, document: Customer | Item, books: Books) -> None:
        if kind is Kind.ITEM:
            if books.masters.item(document.name) is not None:
                raise ConflictError("Tally has a stock item of this name meanwhile.")
            return
        known = books.masters.ledger(document.name)
        if known is None:
            return
        if known.debtor:
            raise ConflictError("Tally has a customer of this name meanwhile.")
        raise NameTakenError(
            f"Tally has another ledger named `{known.name}`, which is no customer: it stands in another group.",
            field="name",
            next_step="Rename one of the two, or move the ledger to Sundry Debtors in Tally, if it is the customer.",
        )

    def _make_unit(self, books: Books) -> None:
        """The unit of new items, if there is none: making one that exists may open a window."""
        if folded(self._settings.unit) not in books.masters.units:
            counts = self._import("All Masters", write.unit(self._settings.unit), books)
            if not counts.created:
                raise refused(counts)

    def _written_master(self, kind: Kind, name: str) -> Record:
        """As Tally has it now. Not to find it leaves unknown what became of it."""
        self._companies.forget()
        try:
            books = self._books()
            found = self._records(kind, books, where=self._where_field(kind, "name", [name], books))
        except ProviderError as error:
            raise _unread(error) from None
        if len(found) != 1:
            raise UncertainError("Tally says that it was written, but it is not there.", detail=f"{len(found)} found")
        return found[0]

    def _create_voucher(self, effect: Effect, element: Element, books: Books) -> Record:
        """One voucher, one request; read again, and compared."""
        counts = self._import("Vouchers", element, books)
        if counts.errors or counts.said or not counts.done:
            if counts.done:
                raise UncertainError(
                    "Tally wrote something, and says that something was wrong.", detail=str(counts.done)
                )
            raise refused(counts)
        try:
            where = f"$MasterID = {counts.voucher}" if counts.voucher else _marked([effect.reference])
            found = [
                each
                for each in self._elements(effect.kind, books, where=where)
                if read.reference_of(each) == effect.reference
            ]
            records = self._as_records(effect.kind, found, books)
        except ProviderError as error:
            raise _unread(error) from None
        if len(records) != 1:
            raise UncertainError("Tally says that it was written, but it is not there.", detail=f"{len(records)} found")
        self._refuse_other_total(element, found[0], records[0], books)
        return records[0]

    def _refuse_other_total(self, sent: Element, found: Element, record: Record, books: Books) -> None:
        """Take back a voucher that Tally made of another amount than it was sent, as it may compute taxes itself."""
        entries = sent.findall("LEDGERENTRIES.LIST") + sent.findall("ALLLEDGERENTRIES.LIST")
        wanted = abs(amount_of(entries[0]))
        total = record.fields.get("amount" if record.kind is Kind.PAYMENT else "total")
        if total == wanted:
            return
        left = self._take_back(found, books)
        raise RejectedError(
            f"Tally made it {total} instead of {wanted}, most likely as it computes the taxes itself. {left}",
            field="lines",
            next_step="Compare the tax rates and ledgers of the connection's settings with those of Tally, then retry.",
        )

    def _take_back(self, stray: Element, books: Books) -> str:
        """Delete, or at least cancel, a voucher that we just made and that must not stand; what became of it."""
        called = f"The voucher {text_of(stray, 'VOUCHERNUMBER') or text_of(stray, 'MASTERID')}"
        for action, done in (("Delete", "was deleted again."), ("Cancel", "was cancelled; it could not be deleted.")):
            try:
                counts = self._import("Vouchers", write.acting(stray, action), books)
            except UncertainError:
                raise
            except ProviderError:
                continue
            if not counts.created and counts.done:
                return f"{called} {done}"
        raise UncertainError(f"{called} stands in Tally and could not be taken back: delete it there.")

    def _bills(self, invoices: Sequence[str], books: Books) -> dict[str, tuple[str, str]]:
        """Ledger and bill of each invoice, by its id."""
        found: dict[str, tuple[str, str]] = {}
        for some in _chunks(list(dict.fromkeys(invoices))):
            for element in self._elements(Kind.INVOICE, books, where=any_of("$GUID", some)):
                for ledger, bill, _ in read.bills_of(element)[:1]:
                    found[read.guid_of(element)] = (ledger, bill)
        if missing := [one for one in invoices if one not in found]:
            raise RejectedError(
                "Tally does not have an invoice that the payment is for, or it made no bill.",
                field="allocations",
                next_step="Look the invoice up in Tally; the customer's ledger has to keep balances bill by bill.",
                detail=", ".join(missing),
            )
        return found

    def _update(self, effect: Effect, books: Books) -> Record:
        if effect.kind in MASTERS:
            return self._update_master(effect, cast("Customer | Item", effect.document), books)
        return self._update_voucher(effect, books)

    def _standing(self, effect: Effect, books: Books) -> Element:
        """What is to be updated.

        Tally compares no version: ours is compared just before, and in the moment between the last writer wins.

        Raises:
            NotFoundError: If it is gone.
            ConflictError: If somebody changed it since its version was read.
        """
        found = self._elements(effect.kind, books, where=any_of("$GUID", [effect.target_id or ""]))
        if not found:
            raise NotFoundError("Tally has no such record any more.")
        if effect.target_version and text_of(found[0], "ALTERID") != effect.target_version:
            raise ConflictError("Somebody changed this record in Tally meanwhile.")
        return found[0]

    def _update_master(self, effect: Effect, document: Customer | Item, books: Books) -> Record:
        standing = self._standing(effect, books)
        if folded(document.name) != folded(read.name_of(standing)):
            self._refuse_known_name(effect.kind, document, books)
        if isinstance(document, Customer):
            element = write.ledger(document, books, standing)
        else:
            element = write.stock_item(document, books, standing, self._clock.now().date())
        counts = self._import("All Masters", element, books)
        if counts.created:
            # An alter that matches nothing creates: somebody renamed or deleted it in this moment.
            self._companies.forget()
            stray = Element(element.tag, NAME=document.name, ACTION="Delete")
            names = element.find("NAME.LIST")
            if names is not None:
                stray.append(names)
            deleted = self._import("All Masters", stray, books)
            if not deleted.deleted:
                raise UncertainError(f"Tally made a second master `{document.name}`: delete it there.")
            raise ConflictError("Somebody renamed this record in Tally meanwhile.")
        if not counts.altered:
            raise refused(counts)
        return self._written_master(effect.kind, document.name)

    def _update_voucher(self, effect: Effect, books: Books) -> Record:
        """Cancel it, or change its texts: an alter with entries in it was seen to make a second voucher."""
        standing = self._standing(effect, books)
        (record,) = self._as_records(effect.kind, [standing], books)
        document = effect.document
        if isinstance(document, Invoice) and document.status is InvoiceStatus.VOIDED:
            return self._void(effect, standing, record, books)
        changed = write.differing(document, record.fields)
        texts = self._texts(effect, document, changed)
        if flag_of(standing, "ISCANCELLED") or set(changed) - {"memo", "number"}:
            field = next((name for name in changed if name not in {"memo", "number"}), "status")
            state = "cancelled" if flag_of(standing, "ISCANCELLED") else "posted"
            raise RejectedError(
                f"The voucher {text_of(standing, 'VOUCHERNUMBER')} is {state} in Tally, and Tieout does not change its "
                f"{field}: Tally may make a second voucher of such a change.",
                field=field,
                next_step="Cancel it in Tally and let a new one be written, or take the change back in the source.",
            )
        if not texts:
            return record
        counts = self._import("Vouchers", write.changed_texts(standing, texts), books)
        self._refuse_second(counts, effect.kind, books)
        return self._read_again(effect, books)

    def _texts(self, effect: Effect, document: Document, changed: Sequence[str]) -> dict[str, str]:
        texts: dict[str, str] = {}
        if "memo" in changed:
            texts["NARRATION"] = write.narration(getattr(document, "memo", None), effect.reference)
        if "number" in changed:
            texts["REFERENCE"] = getattr(document, "number", None) or read.tag(effect.reference)
        return texts

    def _void(self, effect: Effect, standing: Element, record: Record, books: Books) -> Record:
        if flag_of(standing, "ISCANCELLED"):
            return record
        if record.fields.get("paid"):
            raise RejectedError(
                "The invoice is paid in Tally, in part at least, so it is not cancelled.",
                field="status",
                next_step="Write a credit note, or take the payment back in Tally first.",
            )
        counts = self._import("Vouchers", write.acting(standing, "Cancel"), books)
        self._refuse_second(counts, effect.kind, books)
        after = self._read_again(effect, books)
        if after.fields.get("status") != InvoiceStatus.VOIDED.value:
            raise UncertainError("Tally says that the invoice was cancelled, but it is not.")
        return after

    def _refuse_second(self, counts: Imported, kind: Kind, books: Books) -> None:
        """Take back what an alter made instead of altering; return if it altered.

        Raises:
            RejectedError: If it made a second voucher, which is gone again.
            UncertainError: If that could not be taken back.
        """
        if not counts.created:
            if counts.errors or counts.said or not counts.done:
                raise refused(counts)
            return
        strays = self._elements(kind, books, where=f"$MasterID = {counts.voucher}") if counts.voucher else []
        if not strays:
            raise UncertainError(
                "Tally made a second voucher instead of altering one: look for it and delete it there."
            )
        left = self._take_back(strays[0], books)
        raise RejectedError(
            f"Tally made a second voucher instead of altering the one that stands. {left}",
            next_step="Make the change in Tally by hand.",
        )

    def _read_again(self, effect: Effect, books: Books) -> Record:
        try:
            found = self._records(effect.kind, books, where=any_of("$GUID", [effect.target_id or ""]))
        except ProviderError as error:
            raise _unread(error) from None
        if len(found) != 1:
            raise UncertainError("Tally says that it was altered, but it is not there.")
        return found[0]

    def _import(self, what: str, element: Element, books: Books) -> Imported:
        return self._client.post(importing(what, books.company.name, [element]))


def _is_kind(kind: Kind) -> str:
    return f"{_TYPE_OF[kind]} AND " + ("$IsOptional" if _OPTIONAL[kind] else "NOT $IsOptional")


def _between(after: int, end: int) -> str:
    return f"$AlterID > {after} AND $AlterID <= {end}"


def _marked(references: Iterable[str]) -> str:
    """A formula for vouchers with one of our marks: in the narration, or as the reference of one without a number."""
    marks = [text(read.tag(reference)) for reference in references]
    return " OR ".join(f"$Narration CONTAINING {mark} OR $Reference = {mark}" for mark in marks)


def _chunks(values: Sequence[str]) -> list[Sequence[str]]:
    return [values[begin : begin + _FORMULA_VALUES_MAX] for begin in range(0, len(values), _FORMULA_VALUES_MAX)]


def _number(row: Mapping[str, str], column: str) -> int:
    return int(number_of(row.get(column, "")) or 0)


def _unread(error: ProviderError) -> UncertainError:
    """Tally said that it wrote, and then could not be asked what."""
    return UncertainError(
        "It was written to Tally, but could not be read again: " + error.message,
        next_step=error.next_step,
        code=error.code,
    )
