"""Invoices and credit notes, which are written in steps: drafted with our mark, compared, posted.

Each step is a transaction of its own. A draft that is refused on its way is deleted again; one that a crash or a lost
answer left behind bears our mark, so that the same write finds and finishes it, and makes no second one.
Source: the account_invoice module, 8.2.0, `invoice.py`, read 2026-11-22.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from tieout.connectors.tryton.client import Client
from tieout.connectors.tryton.company import Company
from tieout.connectors.tryton.errors import WarnedError
from tieout.connectors.tryton.read import DRAFTED, INVOICE, NO_TAX, PARTY, PRODUCT, is_draft, tag, version_of
from tieout.connectors.tryton.wire import Quantity, Row
from tieout.connectors.tryton.write import refuse_others
from tieout.domain.documents import CreditNote, Invoice, InvoiceStatus, Line, less_discount
from tieout.domain.effects import Effect
from tieout.domain.errors import ConflictError, NotFoundError, ProviderError, RejectedError, UncertainError
from tieout.domain.money import minor_unit
from tieout.domain.records import Fields, Record

type Form = Invoice | CreditNote
_FORM = {"customer", "number", "date", "currency", "lines", "discount", "tax_total", "memo", "note"}
_INVOICE = {*_FORM, "status", "due_date", "terms"}
_LINE = {"item", "description", "quantity", "unit_price", "amount", "tax_code"}
# What the document itself asks for: a due date that is past, taxes other than the item's own.
_CONFIRMED = {"invoice_payment_term", "invoice_taxes"}
_WARNINGS_MAX = 4
# What a posted invoice lets be changed. Source: `_check_modify_exclude`.
_TEXTS = {"memo": "comment", "note": "description"}
_STAYS_OPEN = {*_TEXTS, "number"}


class Invoices:
    """Writes documents of one company.

    Args:
        row: Reads a document again, by its id.
        record: Makes a record of a row.
    """

    def __init__(
        self, client: Client, company: Company, row: Callable[[int], Row], record: Callable[[Row], Record]
    ) -> None:
        self._client = client
        self._company = company
        self._row = row
        self._record = record
        self._lines: dict[tuple[str, str], Row] = {}

    def create(self, effect: Effect, document: Form) -> int:
        """A posted document; its id. A draft that an earlier try left behind is finished.

        Raises:
            ConflictError: If somebody worked on that draft since.
            RejectedError: If Tryton refuses it at any step; no draft is left then.
            UncertainError: If the answer to a step was lost, or the next step could not be taken.
            ProviderError: If the first step was not taken.
        """
        if isinstance(document, Invoice) and document.status is InvoiceStatus.VOIDED:
            raise RejectedError("A voided invoice is not written if it was never issued.", field="status")
        row = self._left_behind(effect)
        if row is not None and differing(document, self._record(row).fields):
            raise ConflictError("Somebody changed the draft of this document in Tryton meanwhile.")
        made = int(row["id"]) if row is not None else self._client.create(INVOICE, self._values(effect, document))
        try:
            self.finish(document, row or self._row(made))
        except (RejectedError, UncertainError):
            raise
        except ProviderError as error:
            raise UncertainError(
                "The draft stands in Tryton, but it could not be posted.", detail=error.detail
            ) from None
        return made

    def _left_behind(self, effect: Effect) -> Row | None:
        """The draft that bears the effect's mark."""
        drafts = [["reference", "like", f"%{tag(effect.reference)}"], ["state", "in", list(DRAFTED)]]
        found = self._client.rows(INVOICE, [["type", "=", "out"], *drafts], ["id"], limit=1)
        return self._row(found[0]["id"]) if found else None

    def finish(self, document: Form, row: Row) -> None:
        """Post a draft of ours, if its total is the document's.

        Raises:
            RejectedError: If it is not, or Tryton refuses to post it; the draft is deleted then.
        """
        if not is_draft(row):
            return
        try:
            self._compare(document, row)
            self._post(row)
        except RejectedError as error:
            try:
                self._client.write(f"model.{INVOICE}.delete", [row["id"]])
            except ProviderError as left:
                detail = f"{error.detail} {left.detail}".strip()
                raise UncertainError("Tryton refused the draft, and it could not be deleted.", detail=detail) from None
            raise

    def update(self, effect: Effect, document: Form, row: Row) -> None:
        """Write the document to the one that stands there: a draft whole, a posted one as far as Tryton allows.

        Raises:
            ConflictError: If it was changed since its version was read.
            RejectedError: If it is posted, and more than its texts would have to change.
        """
        if effect.target_version and version_of(effect.kind, row) != effect.target_version:
            raise ConflictError("Somebody changed this document in Tryton meanwhile.")
        if isinstance(document, Invoice) and document.status is InvoiceStatus.VOIDED:
            self._void(row)
        elif is_draft(row):
            values = self._values(effect, document)
            lines = [["delete", [line["id"] for line in row["lines."]]], *values.pop("lines")]
            self._client.write(f"model.{INVOICE}.write", [row["id"]], values | {"lines": lines}, versions=_version(row))
            self.finish(document, self._row(row["id"]))
        else:
            self._write_texts(effect, document, row)

    def _write_texts(self, effect: Effect, document: Form, row: Row) -> None:
        """Write what still can be; always our mark too, so that the version is compared and becomes another one."""
        shown = self._record(row).fields
        changed = differing(document, shown)
        others = [name for name in changed if name not in _STAYS_OPEN]
        if others or row["state"] == "cancelled":
            field = others[0] if others else "status"
            raise RejectedError(
                f"The invoice {row['number'] or ''} is {row['state']} in Tryton, and its {field} cannot be changed any "
                "more.",
                field=field,
                next_step="Credit it in Tryton and let a new one be written, or take the change back in the source.",
            )
        number = document.number if "number" in document.model_fields_set else shown["number"]
        ours = number if isinstance(number, str) and number != row["number"] else None
        values: Row = {"reference": _reference(effect, ours)}
        values |= {_TEXTS[name]: getattr(document, name) for name in changed if name in _TEXTS}
        self._client.write(f"model.{INVOICE}.write", [row["id"]], values, versions=_version(row))

    def _void(self, row: Row) -> None:
        if row["state"] == "cancelled":
            return
        state = row["state"]
        if state != "paid":
            self._client.write(f"model.{INVOICE}.cancel", [row["id"]], versions=_version(row))
            state = self._row(row["id"])["state"]
        if state != "cancelled":  # a step that is not allowed from here may be left out without a word
            raise RejectedError(
                f"The invoice {row['number'] or ''} is {state} in Tryton, and cannot be cancelled.",
                field="status",
                next_step="Credit it in Tryton instead.",
            )

    def _post(self, row: Row) -> None:
        due = row["payment_term_date"]
        if isinstance(due, date) and due < self._company.today and not row.get("payment_term."):
            self._confirm(_past_due(row["id"]))
        for _ in range(_WARNINGS_MAX):
            try:
                self._client.write(f"model.{INVOICE}.post", [row["id"]])
            except WarnedError as warned:
                if warned.code not in _CONFIRMED:
                    raise
                self._confirm(warned.key)
            else:
                return
        raise RejectedError("Tryton asks for one confirmation after the other.", next_step="Post it by hand.")

    def _confirm(self, warning: str) -> None:
        """For once: Tryton forgets it when it is asked again."""
        self._client.write("model.res.user.warning.skip", warning, False)

    def _compare(self, document: Form, row: Row) -> None:
        expected, total = document.expected_total(), abs(row["total_amount"])
        if expected is not None and total != expected:
            raise RejectedError(
                f"Tryton makes the total {total} of it, with taxes of {abs(row['tax_amount'])}, instead of {expected}.",
                field="lines",
                next_step=f"Name the tax of each line in the mapping (`tax_code`; `{NO_TAX}` for none), or correct the "
                "taxes of the item's category in Tryton.",
            )

    def _values(self, effect: Effect, document: Form) -> Row:
        refuse_others(document, _INVOICE if isinstance(document, Invoice) else _FORM)
        for line in document.lines:
            refuse_others(line, _LINE)
        total = document.expected_total()
        if isinstance(document, Invoice) and total is not None and total < 0:
            raise RejectedError("The total is negative: Tryton takes that for a credit note.", field="lines")
        self._lines.clear()
        party = self._party(document)
        return {
            "company": self._company.id,
            "type": "out",
            "party": int(document.customer),
            "invoice_address": party["invoice_address"],
            "account": party["account"],
            "journal": self._company.journal_id(),
            "currency": self._company.currency_id(document.currency),
            "invoice_date": document.date,
            "reference": _reference(effect, document.number),
            "comment": document.memo,
            "description": document.note,
            **self._terms(document, party),
            "lines": [["create", self._line_values(document)]],
        }

    def _terms(self, document: Form, party: Row) -> Row:
        """When it is due: without terms, Tryton takes the date from which they would count."""
        if not isinstance(document, Invoice):
            return {"payment_term": None, "payment_term_date": document.date}
        if document.due_date is not None and document.terms is not None:
            raise RejectedError(
                "Tryton computes when an invoice is due from its terms, so it takes one of the two.",
                field="due_date",
                next_step="Leave `due_date` or `terms` out of the mapping.",
            )
        if document.due_date is not None:
            return {"payment_term": None, "payment_term_date": document.due_date}
        if document.terms is not None:
            return {"payment_term": self._company.term_id(document.terms), "payment_term_date": document.date}
        return {"payment_term": party.get("payment_term"), "payment_term_date": document.date}

    def _party(self, document: Form) -> Row:
        """Account, address and terms, as the form fills them in once a party is chosen."""
        self._require(PARTY, document.customer, "customer")
        filled = self._client.call(
            f"model.{INVOICE}.on_change_party",
            {
                "party": int(document.customer),
                "type": "out",
                "company": self._company.id,
                "invoice_date": document.date,
            },
        )
        party = filled if isinstance(filled, dict) else {}
        missing = next((name for name in ("account", "invoice_address") if not party.get(name)), None)
        if missing is not None:
            word = missing.replace("_", " ").replace("account", "receivable account")
            raise RejectedError(
                f"The customer has no {word} in Tryton.",
                field="customer",
                next_step="Complete the party in Tryton, or the accounting configuration, then retry.",
            )
        return party

    def _line_values(self, document: Form) -> list[Row]:
        sign = -1 if isinstance(document, CreditNote) else 1
        lines = [self._one_line(document, line, sign) for line in document.lines]
        whole = sum((line.amount for line in document.lines), Decimal(0))
        taken_off = whole - less_discount(whole, document.discount, document.currency)
        if document.discount is None:
            return lines
        taxes = [line["taxes"] for line in lines]
        if any(each != taxes[0] for each in taxes):
            raise RejectedError(
                "The lines have different taxes, so it is not clear which of them the discount lowers.",
                field="discount",
                next_step="Let the mapping put the discount into the lines.",
            )
        percent = document.discount.percent
        note = f"[tieout:discount {_digits(percent)}%]" if percent is not None else "[tieout:discount]"
        discount = {"product": None, "description": "Discount", "note": note, "quantity": Quantity(sign)}
        return [*lines, {**lines[0], **discount, "unit": None, "unit_price": _plain(-taken_off)}]

    def _one_line(self, document: Form, line: Line, sign: int) -> Row:
        filled = self._product(document, line.item)
        taxes = filled.get("taxes") or []
        if line.tax_code is not None:
            taxes = [] if line.tax_code == NO_TAX else [self._company.tax_id(line.tax_code)]
        quantity, price = _price(line, minor_unit(document.currency))
        return {
            "type": "line",
            "company": self._company.id,
            "currency": self._company.currency_id(document.currency),
            "product": int(line.item),
            "account": filled["account"],
            "unit": filled.get("unit"),
            "description": line.description,
            "quantity": Quantity(sign * quantity),
            "unit_price": _plain(price),
            "taxes": [["add", taxes]] if taxes else [],
        }

    def _product(self, document: Form, item: str) -> Row:
        """Account, unit and taxes, as the form fills them in once a product is chosen."""
        key = (item, document.customer)
        if key not in self._lines:
            self._require(PRODUCT, item, "lines")
            filled = self._client.call(
                "model.account.invoice.line.on_change_product",
                {
                    "product": int(item),
                    "type": "line",
                    "company": self._company.id,
                    "party": int(document.customer),
                    "invoice_type": "out",
                    "invoice": None,
                    "unit": None,
                    "taxes": [],
                },
            )
            if not isinstance(filled, dict) or not filled.get("account"):
                raise RejectedError(
                    "The item has no revenue account in Tryton.",
                    field="lines",
                    next_step="Give the item an accounting category with a revenue account in Tryton, then retry.",
                )
            self._lines[key] = filled
        return self._lines[key]

    def _require(self, model: str, record: str, field: str) -> None:
        """Return if the record is there and active.

        Raises:
            NotFoundError: Otherwise.
        """
        if not record.isdigit() or not self._client.rows(model, [["id", "=", int(record)]], ["id"]):
            raise NotFoundError(
                f"Tryton has no active record {record} as this document names it.",
                next_step="Make the record active in Tryton, or link to another one.",
                code=field,
            )


def _past_due(invoice: int) -> str:
    """The key of the warning that an invoice is due in the past, as Tryton makes it.

    Confirmed before it is asked for, it saves half of what posting costs; a release that makes it otherwise asks.
    Source: trytond 8.2.1, `res/user.py` (`Warning_.format`), read 2026-11-22.
    """
    digest = hashlib.md5(f"{INVOICE},{invoice}".encode(), usedforsecurity=False).hexdigest()
    return f"{digest}.invoice_payment_term"


def differing(document: Form, shown: Fields) -> list[str]:
    """Names of the given fields that the record does not show; whether it is posted is left out."""
    given = document.as_fields()
    given.pop("status", None)
    if given.get("number") is None:
        given.pop("number", None)
    return [name for name, value in given.items() if not _shows(shown.get(name), value)]


def _shows(found: Any, wanted: Any) -> bool:  # noqa: ANN401 - values of any field
    if isinstance(wanted, Mapping):
        inside = found if isinstance(found, Mapping) else {}
        kept = {name: each for name, each in wanted.items() if not (_is_discounted(wanted) and name in _PRICE)}
        return all(_shows(inside.get(name), each) for name, each in kept.items() if name != "tax_code" or each)
    if isinstance(wanted, list | tuple):
        if not isinstance(found, list) or len(found) != len(wanted):
            return False
        return all(_shows(*pair) for pair in zip(found, wanted, strict=True))
    if isinstance(wanted, str) and isinstance(found, str):
        return found.split() == wanted.split()
    return bool(found == wanted) or (wanted in (None, "") and found in (None, ""))


_PRICE = ("quantity", "unit_price")


def _is_discounted(line: Mapping[str, Any]) -> bool:
    """True for a line whose quantity and price do not make its amount; only that is kept then."""
    price, amount = line.get("unit_price"), line.get("amount")
    if amount is None:
        return False
    return price is None or line.get("quantity", Decimal(1)) * price != amount


def _price(line: Line, unit: Decimal) -> tuple[Decimal, Decimal]:
    """Quantity and price whose product Tryton rounds (half to even) to the amount; one times the amount otherwise."""
    if line.unit_price is not None:
        made = (line.quantity * line.unit_price).quantize(unit, ROUND_HALF_EVEN)
        if made == line.amount:
            return line.quantity, line.unit_price
    return Decimal(1), line.amount


def _plain(amount: Decimal) -> Decimal:
    """Without zeros at the end, which count as digits."""
    return Decimal(_digits(amount))


def _digits(amount: Decimal) -> str:
    return format(amount.normalize(), "f")


def _reference(effect: Effect, number: str | None) -> str:
    """Our mark behind the document's number, in the field that Tryton prints as reference.

    Tryton gives invoices their numbers itself, and lets nobody else do so.
    """
    return f"{number} {tag(effect.reference)}" if number else tag(effect.reference)


def _version(row: Row) -> dict[str, str]:
    return {f"{INVOICE},{row['id']}": row["_timestamp"]}
