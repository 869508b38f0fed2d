"""The Act! connector against its simulator: the suite that every connector passes, and its own quirks."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.suite import ConnectorContract, SimulatedWorld, all_changes
from tieout.connectors import provider
from tieout.connectors.act.auth import webhook_token
from tieout.domain.documents import RecordUpdate
from tieout.domain.effects import Done, Effect, NotDone, Operation
from tieout.domain.errors import RejectedError, SignatureError
from tieout.domain.records import Kind
from tieout.ports.connector import Webhook
from tieout_sandbox.simulators.act import create_app
from tieout_sandbox.simulators.act.routes import Api, Reply
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.server import serve

SECRETS = {
    "username": "integration@seller.example",
    "password": "correct horse",
    "webhook_token": "9c1b-callback-token",
}
COLLECTIONS = {
    Kind.COMPANY: "companies",
    Kind.CONTACT: "contacts",
    Kind.DEAL: "opportunities",
    Kind.PRODUCT: "products",
}


class ActWorld(SimulatedWorld):
    provider = provider("act")
    write_match = {"method": "PUT", "path": "/act.web.api/api/*"}  # noqa: RUF012 - nobody changes it

    def __init__(self, url: str, clock: SimulatedClock, api: Api) -> None:
        super().__init__(url, clock, SECRETS)
        self.api = api
        self._count = itertools.count(1)

    def settings(self) -> dict[str, Any]:
        return {"base_url": f"{self.url}/act.web.api", "database": self.account()}

    def account(self) -> str:
        return "H1234567890"

    def make(self, kind: Kind, **fields: object) -> str:
        """Somebody makes a record in Act!; its id."""
        name = {"fullName" if kind is Kind.CONTACT else "name": f"Söhne & O'Hara {next(self._count)}"}
        with self.api.lock:
            return str(self.api.state.create(COLLECTIONS[kind], {**name, **fields})["id"])

    def make_records(self, count: int) -> tuple[Kind, Sequence[str]]:
        made = [self.make(Kind.DEAL, status="Won") for _ in range(count)]
        with self.api.lock:
            for one in made:
                self.api.state.add_line(one, {"name": "GTXPro", "quantity": 2, "price": 1.005})
        return Kind.DEAL, made

    def delete_record(self, kind: Kind, record_id: str) -> None:
        with self.api.lock:
            self.api.state.delete(COLLECTIONS[kind], record_id)

    def revoke(self) -> None:
        self.sandbox("POST", "settings", {"password": "changed by somebody"})

    def webhook(self, *, valid: bool = True) -> Webhook:
        token = webhook_token(SECRETS["webhook_token"] if valid else "the former one", Kind.DEAL)
        body = {"id": "195a64f8-0000-4506-8eb2-2dd6fa8dfd1a", "edited": "2026-01-05T10:02:11+00:00"}
        return Webhook({"authorization": token}, json.dumps(body).encode())

    def effect(self, kind: Kind, target: str, **fields: Any) -> Effect:
        number = next(self._count)
        document = RecordUpdate(fields={name.replace("__", "."): value for name, value in fields.items()})
        return Effect(f"{number:032x}", Operation.UPDATE, kind, document, f"ref{number:09d}", target_id=target)

    def company_with_contact(self) -> str:
        """Its id; the address stands in the company, the rest in its contact."""
        company = self.make(Kind.COMPANY, address={"line1": "1 Main St", "city": "Springfield", "latitude": "44.0"})
        self.make(Kind.CONTACT, fullName="Ada Miller", emailAddress="ada@acme.example", companyID=company)
        return company

    def company_effect(self) -> Effect:
        return self.effect(
            Kind.COMPANY,
            self.company_with_contact(),
            phone="+16505550199",
            address__city="Shelbyville",
            billing_address__postal_code="97477",
            contact__email="ada@new.example",
            contact__phone="+16505550100",
            contact__name="Ada M. Miller",
        )

    def sample_effects(self) -> Sequence[Effect]:
        number = next(self._count)
        return [
            self.effect(
                Kind.DEAL,
                self.make(Kind.DEAL),
                custom_fields__payment_status='Partly paid; 1/3 "é"',
                custom_fields__amount_paid=Decimal("1054.10"),
                custom_fields__balance_due=None,
                closed_on=date(2026, 1, 5),
                status="won",
            ),
            self.effect(
                Kind.COMPANY, self.make(Kind.COMPANY), website="https://example.test", custom_fields__user1="x"
            ),
            self.effect(Kind.COMPANY, self.company_with_contact(), contact__email="ada@new.example"),
            self.effect(Kind.CONTACT, self.make(Kind.CONTACT), email="ada@example.test", custom_fields__user1=number),
            self.effect(Kind.PRODUCT, self.make(Kind.PRODUCT), sku=f"G{number}", price=Decimal("5.125")),
        ]

    def exact_effects(self) -> Sequence[Effect]:
        amounts = [Decimal(0), Decimal("-0.30"), Decimal("0.001"), Decimal("12.345"), Decimal("10005534.10")]
        return [
            self.effect(Kind.DEAL, self.make(Kind.DEAL), custom_fields__amount_paid=amount) for amount in amounts
        ] + [self.effect(Kind.PRODUCT, self.make(Kind.PRODUCT), price=amount, cost=-amount) for amount in amounts]

    def refused_effect(self) -> Effect:
        return self.effect(Kind.DEAL, self.make(Kind.DEAL), custom_fields__no_such_field="Paid")


@pytest.fixture
def world() -> Iterator[ActWorld]:
    clock = SimulatedClock()
    app = create_app(
        clock=clock, calls_per_minute=1_000_000, username=SECRETS["username"], password=SECRETS["password"]
    )
    with serve(app) as url:
        opened = ActWorld(url, clock, app.extensions["simulator"])
        with opened.session:
            yield opened


class TestContract(ConnectorContract):
    """Every connector's tests; Act! proves a webhook by a token alone, so its body cannot be proved."""

    def test_a_webhook_is_taken_only_with_its_own_signature(self, world):
        good = world.webhook()
        world.provider.verify(good, SECRETS)
        (hint,) = world.provider.hints(good)
        assert (hint.account, hint.kind) == ("", Kind.DEAL)
        for bad in (world.webhook(valid=False), replace(good, headers={})):
            with pytest.raises(SignatureError):
                world.provider.verify(bad, SECRETS)
        with pytest.raises(SignatureError):
            world.provider.verify(good, {})


def test_8800_deals_with_their_lines_are_92_calls_and_a_list_of_37():
    """The goal: at most 0.05 reads for each of the 4,238 invoices."""
    clock = SimulatedClock()
    app = create_app(clock=clock, calls_per_minute=1_000_000, data="crm-sales-opportunities")
    with serve(app) as url:
        world = ActWorld(url, clock, app.extensions["simulator"])
        with world.session:
            connector = world.connector()
            batch = connector.manifest.read_batch_max
            listed, _, _ = all_changes(connector, Kind.DEAL, None)
            ids = [record.id for record in listed]
            deals = [
                deal
                for start in range(0, len(ids), batch)
                for deal in connector.read(Kind.DEAL, ids[start : start + batch])
            ]
            routes = world.sandbox("GET", "calls")["routes"]
    assert len(deals) == len(set(ids)) == 8800
    won = [deal for deal in deals if deal.fields["status"] == "won"]
    assert len(won) == 4238
    assert sum(deal.fields["lines"][0]["amount"] for deal in won) == 10_005_534
    calls = {route: entry["calls"] for route, entry in routes.items()}
    assert calls == {
        "GET /act.web.api/authorize": 1,
        "GET /act.web.api/api/opportunities": 37,
        "POST /act.web.api/api/$batch": 92,
    }
    assert sum(calls.values()) / len(won) < 0.05


def test_an_update_of_a_company_writes_its_main_contact_too_and_leaves_the_rest(world):
    connector, effect = world.connector(), world.company_effect()
    (outcome,) = connector.write([effect])
    assert isinstance(outcome, Done)
    (record,) = connector.read(Kind.COMPANY, [effect.target_id])
    assert outcome.record == record
    assert record.fields["contact"]["email"] == "ada@new.example"
    assert record.fields["contact"]["name"] == "Ada M. Miller"
    assert record.fields["address"]["line1"] == "1 Main St"
    assert record.fields["address"]["city"] == "Shelbyville"
    with world.api.lock:
        (stored,) = [row for row in world.api.state.tables["companies"].values() if row["id"] == effect.target_id]
    assert stored["address"]["latitude"] == "44.0"


def test_a_company_says_when_and_by_whom_it_or_its_contact_was_edited_last(world):
    connector, company = world.connector(), world.company_with_contact()
    (before,) = connector.read(Kind.COMPANY, [company])
    world.clock.advance(60)
    contact = next(row for row in world.api.state.tables["contacts"].values() if row["companyID"] == company)
    with world.api.lock:
        world.api.state.replace("contacts", contact["id"], {**contact, "businessPhone": "1"})
    (after,) = connector.read(Kind.COMPANY, [company])
    assert after.version != before.version
    assert after.edited_at == world.clock.now()
    assert after.edited_by == SECRETS["username"]


def test_a_company_without_a_contact_refuses_a_contacts_field(world):
    (outcome,) = world.connector().write(
        [world.effect(Kind.COMPANY, world.make(Kind.COMPANY), contact__email="a@b.de")]
    )
    assert isinstance(outcome, NotDone)
    assert isinstance(outcome.error, RejectedError)
    assert outcome.error.field == "contact.email"


@pytest.mark.parametrize("phase", ["before", "after"])
def test_a_company_of_which_half_was_written_is_right_after_the_next_try(world, phase):
    """The contact's part fails, or its answer says so; the same effect again makes it whole."""
    connector, effect = world.connector(), world.company_effect()
    handle = world.api._part_reply

    def failing(part: Any) -> Any:
        if part.method == "PUT" and "/contacts/" in part.path:
            reply = handle(part) if phase == "after" else None
            assert reply is None or reply.status == 200
            return Reply(503, b"")
        return handle(part)

    world.api._part_reply = failing
    (outcome,) = connector.write([effect])
    assert not isinstance(outcome, Done)
    world.api._part_reply = handle
    (outcome,) = connector.write([effect])
    assert isinstance(outcome, Done)
    assert outcome.record.fields["phone"] == "+16505550199"
    assert outcome.record.fields["contact"]["email"] == "ada@new.example"


def test_what_an_update_may_name_is_just_what_the_manifest_says(world):
    manifest = world.connector().manifest
    assert manifest.takes(Kind.COMPANY, "contact.email")
    assert manifest.takes(Kind.COMPANY, "billing_address.postal_code")
    assert manifest.takes(Kind.DEAL, "custom_fields.payment_status")
    assert not manifest.takes(Kind.COMPANY, "contact.company_id")
    assert not manifest.takes(Kind.DEAL, "amount")
    for path in sorted(manifest.updates[Kind.COMPANY] - {"custom_fields.*"}):
        (outcome,) = world.connector().write([world.effect(Kind.COMPANY, world.company_with_contact(), **{path: "x"})])
        assert isinstance(outcome, Done), path


def test_a_webhook_of_the_server_is_taken(world):
    """What the simulator posts is what the connector proves and understands."""
    connector = world.connector()
    (target,) = world.make_records(1)[1]
    heard: list[Webhook] = []
    receiver = create_receiver(heard)
    with serve(receiver) as address:
        hook = {
            "monitor": "Opportunities",
            "triggerEvent": "Updated",
            "callbackUrl": f"{address}/hooks/act",
            "callbackToken": webhook_token(SECRETS["webhook_token"], Kind.DEAL),
        }
        with world.api.lock:
            world.api.state.register(hook)
        world.clock.advance(60)
        (outcome,) = connector.write([world.effect(Kind.DEAL, target, custom_fields__payment_status="Paid")])
        assert isinstance(outcome, Done)
        assert world.sandbox("POST", "webhooks/push") == {"delivered": 1, "failed": 0}
    (webhook,) = heard
    world.provider.verify(webhook, SECRETS)
    (hint,) = world.provider.hints(webhook)
    assert (hint.kind, hint.id) == (Kind.DEAL, target)


def create_receiver(heard: list[Webhook]) -> Any:
    """An application that keeps the webhooks it gets."""
    from flask import Flask, request  # noqa: PLC0415 - only here

    app = Flask("receiver")

    @app.post("/hooks/act")
    def hear() -> str:
        headers = {name.lower(): value for name, value in request.headers.items()}
        heard.append(Webhook(headers, request.get_data()))
        return ""

    app.extensions["tieout.on_close"] = lambda: None
    return app
