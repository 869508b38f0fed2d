"""The QuickBooks Online connector against its simulator: the suite that every connector passes, and its own quirks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.suite import ConnectorContract, SimulatedWorld
from tieout.connectors import provider
from tieout.domain.documents import (
    Address,
    Allocation,
    CreditNote,
    Customer,
    Discount,
    Document,
    Invoice,
    Item,
    Line,
    Payment,
)
from tieout.domain.effects import Effect, Operation
from tieout.domain.records import Kind
from tieout.ports.connector import Webhook
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.quickbooks_online import create_app
from tieout_sandbox.simulators.server import serve

REALM = "9130350000000001"
DAY = date(2026, 1, 5)


class QuickBooksWorld(SimulatedWorld):
    provider = provider("quickbooks_online")
    write_match = {"method": "POST", "path": "/v3/company/*/batch"}  # noqa: RUF012 - nobody changes it

    def __init__(self, url: str, clock: SimulatedClock, simulator: Any) -> None:
        super().__init__(url, clock, {})
        self.simulator = simulator
        self.company = simulator.companies[REALM]
        tokens = self.sandbox("POST", "grant", {"realm": REALM})
        self.secrets.write(
            "acme",
            "under-test",
            {
                "client_id": simulator.settings.client_id,
                "client_secret": simulator.settings.client_secret,
                "webhook_verifier": simulator.settings.webhook_verifier_token,
                "access_token": tokens["access_token"],
                "refresh_token": tokens["refresh_token"],
                "access_token_expires_at": "2026-01-05T11:00:00+00:00",
            },
        )
        self.secrets.history = self.secrets.history[-1:]
        self._count = itertools.count(1)
        self.customer = self.make("Customer", DisplayName="Acme Corporation")
        self.item = self.make("Item", Name="GTX Pro", Type="Service", IncomeAccountRef={"value": "1"})

    def settings(self) -> dict[str, Any]:
        return {"base_url": self.url, "token_url": f"{self.url}/oauth2/v1/tokens/bearer"}

    def account(self) -> str:
        return REALM

    def make(self, entity: str, **fields: object) -> str:
        """Somebody makes a record in QuickBooks; its id."""
        with self.company.lock:
            return str(self.company.create(entity, fields)["Id"])

    def stored(self, entity: str, record_id: str) -> dict[str, Any]:
        """What QuickBooks holds."""
        return dict(self.company.books.tables[entity].records[record_id])

    def invoice(self, amount: str = "100.00", **fields: object) -> str:
        """Somebody makes an invoice in QuickBooks; its id."""
        detail = {"ItemRef": {"value": self.item}}
        line = {"Amount": Decimal(amount), "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": detail}
        return self.make("Invoice", CustomerRef={"value": self.customer}, Line=[line], **fields)

    def make_records(self, count: int) -> tuple[Kind, Sequence[str]]:
        return Kind.INVOICE, [self.invoice() for _ in range(count)]

    def delete_record(self, kind: Kind, record_id: str) -> None:
        with self.company.lock:
            self.company.delete("Invoice", self.stored("Invoice", record_id))

    def revoke(self) -> None:
        self.sandbox("POST", "revoke", {"realm": REALM})

    def webhook(self, *, valid: bool = True) -> Webhook:
        entity = {"name": "Invoice", "id": "412", "operation": "Update", "lastUpdated": "2026-01-05T10:12:44.000Z"}
        body = {"eventNotifications": [{"realmId": REALM, "dataChangeEvent": {"entities": [entity]}}]}
        return signed(json.dumps(body), self.simulator.settings.webhook_verifier_token if valid else "the former one")

    def effect(self, kind: Kind, document: Document) -> Effect:
        number = next(self._count)
        return Effect(f"{number:032x}", Operation.CREATE, kind, document, f"ref{number:09d}")

    def line(self, amount: str = "100.00", **fields: Any) -> Line:
        return Line(item=self.item, amount=Decimal(amount), **fields)

    def sales(self, *lines: Line, **fields: Any) -> dict[str, Any]:
        return {"customer": self.customer, "date": DAY, "currency": "USD", "lines": lines or (self.line(),), **fields}

    def sample_effects(self) -> Sequence[Effect]:
        number = next(self._count)
        address = Address(line1="1 Main St", city="Paris", state="IDF", postal_code="75001", country="FR")
        lines = (
            self.line("25.00", quantity=Decimal("2.5"), unit_price=Decimal(10), description="Días", tax_code="NON"),
            self.line("0.10", quantity=Decimal(1), unit_price=Decimal("0.10"), service_on=DAY),
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
                    note="Says [hello]",
                ),
            ),
            self.effect(
                Kind.ITEM,
                Item(
                    name=f"GTX Plus {number}",
                    sku=f"G{number}",
                    description="fast",
                    price=Decimal("5.125"),
                    taxable=False,
                ),
            ),
            self.effect(
                Kind.INVOICE,
                Invoice(
                    **self.sales(
                        *lines,
                        number=f"INV-{number}",
                        discount=Discount(percent=Decimal(10)),
                        memo="Thanks",
                        note="From the CRM",
                    ),
                    due_date=date(2026, 2, 4),
                    terms="Net 30",
                    email="ada@example.test",
                    billing_address=address,
                ),
            ),
            self.effect(Kind.CREDIT_NOTE, CreditNote(**self.sales(number=f"CN-{number}"))),
            self.effect(
                Kind.PAYMENT,
                Payment(
                    customer=self.customer,
                    date=DAY,
                    currency="USD",
                    amount=Decimal("40.50"),
                    number=f"P-{number}",
                    allocations=(Allocation(invoice=self.invoice(), amount=Decimal("40.50")),),
                ),
            ),
        ]

    def exact_effects(self) -> Sequence[Effect]:
        lines = (
            self.line("1.00", quantity=Decimal(3), unit_price=Decimal("0.333")),
            self.line("0.00", quantity=Decimal(0), unit_price=Decimal(7)),
            self.line("-0.30", quantity=Decimal("-0.125"), unit_price=Decimal("2.4")),
            self.line("10005534.10", quantity=Decimal(1), unit_price=Decimal("10005534.10")),
        )
        nothing = self.line("0.00", quantity=Decimal(1), unit_price=Decimal("0.00"))
        return [
            self.effect(Kind.INVOICE, Invoice(**self.sales(*lines, discount=Discount(amount=Decimal("0.07"))))),
            self.effect(Kind.INVOICE, Invoice(**self.sales(nothing))),
            self.effect(Kind.ITEM, Item(name="Free", price=Decimal("0.001"), cost=Decimal(0))),
        ]

    def refused_effect(self) -> Effect:
        return self.effect(Kind.INVOICE, Invoice(**self.sales(customer="999999")))


def signed(body: str, verifier: str) -> Webhook:
    digest = hmac.new(verifier.encode(), body.encode(), hashlib.sha256).digest()
    return Webhook({"intuit-signature": base64.b64encode(digest).decode()}, body.encode())


@pytest.fixture
def world() -> Iterator[QuickBooksWorld]:
    clock = SimulatedClock()
    plenty = 1_000_000
    app = create_app(
        clock=clock,
        realms=(REALM,),
        requests_per_minute=plenty,
        requests_per_second=plenty,
        batches_per_minute=plenty,
    )
    with serve(app) as url:
        opened = QuickBooksWorld(url, clock, app.extensions["simulator"])
        with opened.session:
            yield opened


class TestContract(ConnectorContract):
    """Every connector's tests."""
