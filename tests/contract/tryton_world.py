"""A real Tryton server for the tests of its connector: what they do there, and how time passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from tests.contract.suite import SimulatedWorld
from tieout.connectors import tryton
from tieout.domain.documents import (
    Address,
    CreditNote,
    Customer,
    Discount,
    Document,
    Invoice,
    Item,
    Line,
    RecordUpdate,
)
from tieout.domain.effects import Effect, Operation
from tieout.domain.records import Kind
from tieout_sandbox.simulators.clock import WallClock
from tieout_sandbox.simulators.server import serve
from tieout_sandbox.simulators.tryton import Rpc, TrytonServer, create_gate
from tieout_sandbox.simulators.tryton.seed import PASSWORD, USER

DAY = date(2026, 1, 5)
CREATE, POST = "/write/model.account.invoice.create", "/write/model.account.invoice.post"
SKIP = "/write/model.res.user.warning.skip"


class ServerClock(WallClock):
    """The server's own time is the machine's, so that time passes by making everything older."""

    def __init__(self, server: TrytonServer) -> None:
        self._server = server

    def advance(self, seconds: float) -> None:
        self._server.grow_older(seconds)

    def sleep(self, seconds: float) -> None:
        """Return at once."""


class TrytonWorld(SimulatedWorld):
    provider = tryton.CONNECTOR
    write_match = {"method": "POST", "path": "/write/*"}  # noqa: RUF012 - nobody changes it

    def __init__(self, url: str, server: TrytonServer, person: Rpc, count: Iterator[int]) -> None:
        super().__init__(url, ServerClock(server), {"username": USER, "password": PASSWORD})
        self.server = server
        self.person = person
        self._count = count
        self.customer = str(person.make("party.party", name=self.name("Acme"), addresses=[["create", [{}]]]))
        unit = person.first("product.uom", ["symbol", "=", "u"])
        template = person.make(
            "product.template",
            name=self.name("GTX Pro"),
            type="service",
            list_price=Decimal(4821),
            default_uom=unit,
            salable=True,
            sale_uom=unit,
            account_category=person.first("product.category"),
            products=[["create", [{}]]],
        )
        self.item = str(person.first("product.product", ["template", "=", template]))

    def name(self, word: str) -> str:
        """A name that nobody has yet."""
        return f"{word} {next(self._count)}"

    def settings(self) -> dict[str, Any]:
        return {"base_url": self.url, "database": "erp"}

    def account(self) -> str:
        return ""

    def draft(self, **values: Any) -> dict[str, Any]:
        """What a person fills in for an invoice of 100.00."""
        line = {
            "type": "line",
            "company": 1,
            "currency": 1,
            "quantity": 1,
            "unit_price": Decimal(100),
            "account": self.person.first("account.account", ["code", "=", "4.1.1"]),
        }
        return {
            "company": 1,
            "type": "out",
            "party": int(self.customer),
            "invoice_address": self.person.first("party.address", ["party", "=", int(self.customer)]),
            "account": self.person.first("account.account", ["code", "=", "1.2.1"]),
            "journal": self.person.first("account.journal", ["type", "=", "revenue"]),
            "currency": 1,
            "invoice_date": DAY,
            "lines": [["create", [line]]],
            **values,
        }

    def make_records(self, count: int) -> tuple[Kind, Sequence[str]]:
        """All in one transaction, so at one time to the microsecond."""
        made = self.person.call("model.account.invoice.create", [self.draft() for _ in range(count)])
        return Kind.INVOICE, [str(one) for one in made]

    def delete_record(self, kind: Kind, record_id: str) -> None:
        self.person.call("model.account.invoice.delete", [int(record_id)])

    def revoke(self) -> None:
        self.let_in(active=False)

    def let_in(self, *, active: bool = True) -> None:
        """Switch the connection's user on or off."""
        context = {"active_test": False}
        (user,) = self.person.call(
            "model.res.user.search",
            [["login", "=", USER], ["active", "in", [True, False]]],
            0,
            1,
            None,
            context=context,
        )
        self.person.call("model.res.user.write", [user], {"active": active})

    def state(self, invoice: str) -> str:
        """As Tryton has it."""
        (row,) = self.person.call("model.account.invoice.read", [int(invoice)], ["state"])
        return str(row["state"])

    def marked(self, effect: Effect) -> list[dict[str, Any]]:
        """Every invoice that bears the effect's mark, in whatever state."""
        found: list[dict[str, Any]] = self.person.call(
            "model.account.invoice.search_read",
            [["reference", "like", f"%{effect.reference}%"]],
            0,
            None,
            None,
            ["state"],
        )
        return found

    def effect(self, kind: Kind, document: Document) -> Effect:
        number = next(self._count)
        return Effect(f"{number:032x}", Operation.CREATE, kind, document, f"ref{number:09d}")

    def line(self, amount: str = "100.00", **fields: Any) -> Line:
        return Line(item=self.item, amount=Decimal(amount), **fields)

    def sales(self, *lines: Line, **fields: Any) -> dict[str, Any]:
        return {"customer": self.customer, "date": DAY, "currency": "USD", "lines": lines or (self.line(),), **fields}

    def invoice(self, *lines: Line, **fields: Any) -> Effect:
        return self.effect(Kind.INVOICE, Invoice(**self.sales(*lines, **fields)))

    def sample_effects(self) -> Sequence[Effect]:
        number = next(self._count)
        address = Address(
            line1="1 Main St", line2="2nd floor", city="Paris", state="IDF", postal_code="75001", country="FR"
        )
        lines = (
            self.line("25.00", quantity=Decimal("2.5"), unit_price=Decimal(10), description="Días", tax_code="NON"),
            self.line("0.10", quantity=Decimal(1), unit_price=Decimal("0.10")),
        )
        return [
            self.effect(
                Kind.CUSTOMER,
                Customer(
                    name=f"O'Hara \\ Söhne {number}",
                    company_name="O'Hara",
                    contact_name="Ada King Lovelace",
                    email="ada@example.test",
                    phone="+33 1 00 00 00 00",
                    website="https://example.test",
                    currency="USD",
                    terms="Net 30",
                    billing_address=address,
                ),
            ),
            self.effect(
                Kind.ITEM,
                Item(name=f"GTX 100% {number}", sku=f"G{number}", description="50_50", price=Decimal("5.125")),
            ),
            self.effect(
                Kind.INVOICE,
                Invoice(
                    **self.sales(*lines, discount=Discount(percent=Decimal(10)), memo="Thanks", note="internal"),
                    number=f"OPP-{number}",
                    due_date=date(2026, 2, 4),
                ),
            ),
            self.effect(Kind.CREDIT_NOTE, CreditNote(**self.sales(*lines, memo="Sorry"))),
            self.payment_state(self.opportunity()),
        ]

    def opportunity(self, **values: Any) -> str:
        """A lead with a line of 9642.00; its id."""
        line = {
            "product": int(self.item),
            "quantity": 2,
            "unit": self.person.first("product.uom", ["symbol", "=", "u"]),
        }
        made = self.person.make(
            "sale.opportunity",
            party=int(self.customer),
            description="A big one",
            amount=Decimal("9642.00"),
            company=1,
            start_date=DAY,
            lines=[["create", [line]]],
            **values,
        )
        return str(made)

    def won_opportunity(self) -> str:
        """An opportunity whose sale is confirmed, which is how it is won; its id."""
        made = int(self.opportunity())
        employee = self.person.make("company.employee", party=self.person.make("party.party", name="Ada"), company=1)
        self.person.call("model.sale.opportunity.write", [made], {"employee": employee})
        for button in ("opportunity", "convert"):
            self.person.call(f"model.sale.opportunity.{button}", [made])
        sale = self.person.first("sale.sale", ["origin", "=", f"sale.opportunity,{made}"])
        for button in ("quote", "confirm"):
            self.person.call(f"model.sale.sale.{button}", [sale])
        return str(made)

    def payment_state(self, deal: str, **fields: Any) -> Effect:
        """An update of a deal as the presets write it; its version is the deal's now."""
        past_the_gate = self.provider.open(self.context(base_url=self.server.url))  # whatever fails there now
        (record,) = past_the_gate.read(Kind.DEAL, [deal])
        state = {
            "payment_status": "Partly paid",
            "invoice_number": "2026/17",
            "amount_paid": Decimal("40.00"),
            "balance_due": Decimal("9602.00"),
            "paid_on": date(2026, 3, 2),
        }
        update = RecordUpdate(fields={f"custom_fields.{name}": value for name, value in (state | fields).items()})
        return replace(
            self.effect(Kind.DEAL, update),
            operation=Operation.UPDATE,
            target_id=deal,
            target_version=record.version,
        )

    def exact_effects(self) -> Sequence[Effect]:
        amounts = [Decimal(0), Decimal("0.001"), Decimal("12.345"), Decimal("10005534.10")]
        items = [self.effect(Kind.ITEM, Item(name=self.name("Exact"), price=amount)) for amount in amounts]
        lines = (
            self.line("12.35", quantity=Decimal("1.235"), unit_price=Decimal(10)),
            self.line("0.00", quantity=Decimal(0), unit_price=Decimal("3.125")),
            self.line("-0.30", quantity=Decimal(-1), unit_price=Decimal("0.30")),
            self.line("10005534.10", quantity=Decimal(1), unit_price=Decimal("10005534.10")),
        )
        return [*items, self.invoice(*lines)]

    def refused_effect(self) -> Effect:
        return self.invoice(date=date(1999, 1, 4))  # a year that the books do not have


@contextmanager
def opened(server: TrytonServer, person: Rpc, count: Iterator[int]) -> Iterator[TrytonWorld]:
    """A world before a gate of its own; all worlds of a server share its database."""
    with serve(create_gate(server.port, server.administrator, clock=WallClock())) as url:
        world = TrytonWorld(url, server, person, count)
        with world.session:
            yield world
            world.let_in()


def lost(path: str, kind: str = "lost_answer") -> list[dict[str, Any]]:
    """One call fails: the answer to it gets lost, or (`reset`) it never arrives."""
    return [{"kind": kind, "times": 1, "match": {"method": "POST", "path": path}}]
