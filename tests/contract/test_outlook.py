"""The Outlook connector against its simulator: the suite that every connector passes, and its own quirks."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.suite import ConnectorContract, SimulatedWorld
from tieout.connectors.outlook import CONNECTOR
from tieout.domain.documents import RecordUpdate
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import SignatureError
from tieout.domain.records import Kind
from tieout.ports.connector import Webhook
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.outlook import create_app
from tieout_sandbox.simulators.outlook.routes import Api
from tieout_sandbox.simulators.outlook.state import CONTACTS, DEFAULT_FOLDER, TASKS
from tieout_sandbox.simulators.server import serve

SECRETS = {
    "client_id": "0f1c3f6e-5b1a-4c55-9a7e-0d6f2f7b9a11",
    "client_secret": "a client secret of the sandbox",
    "refresh_token": "the first refresh token",
    "webhook_token": "9c1b-notification-token",
}


class OutlookWorld(SimulatedWorld):
    provider = CONNECTOR
    write_match = {"method": "P*", "path": "/v1.0/me/*"}  # noqa: RUF012 - nobody changes it

    def __init__(self, url: str, clock: SimulatedClock, api: Api) -> None:
        super().__init__(url, clock, SECRETS)
        self.api = api
        self._count = itertools.count(1)

    def settings(self) -> dict[str, Any]:
        return {"base_url": f"{self.url}/v1.0", "login_url": self.url}

    def account(self) -> str:
        return "5b7c0000-0000-4c55-9a7e-0d6f2f7b9a11"

    def contact(self, folder: str = DEFAULT_FOLDER, **fields: object) -> str:
        """Somebody makes a contact in Outlook; its id."""
        number = next(self._count)
        row = {"displayName": f"Ada O'Hara {number}", "companyName": f"Söhne & Co {number}", **fields}
        with self.api.lock:
            return str(self.api.state.add(CONTACTS, folder, row)["id"])

    def deal(self, note: str = "- 2 x GTXPro @ 1.005", **fields: object) -> str:
        """Somebody makes a task in the list of deals; its id."""
        row = {"title": f"Deal {next(self._count)}", "body": {"content": note, "contentType": "text"}, **fields}
        with self.api.lock:
            return str(self.api.state.add(TASKS, self.api.state.deals, row)["id"])

    def make_records(self, count: int) -> tuple[Kind, Sequence[str]]:
        return Kind.DEAL, [self.deal(categories=["Won"]) for _ in range(count)]

    def delete_record(self, kind: Kind, record_id: str) -> None:
        with self.api.lock:
            self.api.state.remove(self.api.state.items[record_id])

    def revoke(self) -> None:
        self.sandbox("POST", "revoke")

    def webhook(self, *, valid: bool = True) -> Webhook:
        notification = {
            "subscriptionId": "0c4e0000-0000-4c55-9a7e-0d6f2f7b9a11",
            "subscriptionExpirationDateTime": "2026-01-12T09:00:00Z",
            "clientState": SECRETS["webhook_token"] if valid else "the former one",
            "changeType": "updated",
            "tenantId": "9d2f0000-0000-4c55-9a7e-0d6f2f7b9a11",
            "resource": "Users/5b7c/Contacts/AAkALg",
            "resourceData": {"@odata.type": "#Microsoft.Graph.Contact", "id": "AAkALg"},
        }
        return Webhook({"content-type": "application/json"}, json.dumps({"value": [notification]}).encode())

    def effect(self, kind: Kind, target: str, **fields: Any) -> Effect:
        number = next(self._count)
        document = RecordUpdate(fields={name.replace("__", "."): value for name, value in fields.items()})
        return Effect(f"{number:032x}", Operation.UPDATE, kind, document, f"ref{number:09d}", target_id=target)

    def sample_effects(self) -> Sequence[Effect]:
        return [
            self.effect(
                Kind.DEAL,
                self.deal(),
                custom_fields__payment_status='Partly paid; 1/3 "é"',
                custom_fields__amount_paid=Decimal("1054.10"),
                custom_fields__paid=False,
            ),
            self.effect(Kind.DEAL, self.deal(), name="Another title", status="won"),
            self.effect(
                Kind.COMPANY,
                self.contact(),
                name="Söhne AG",
                phone="+16505550199",
                website="https://example.test",
                address__line2="2nd floor",
                address__city="Shelbyville",
                contact__email="ada@new.example",
                contact__name="Ada M. Miller",
                custom_fields__categories=["Customer", "VIP"],
            ),
            self.effect(Kind.COMPANY, self.contact(), custom_fields__balance=Decimal("12.50")),
            self.effect(
                Kind.CONTACT,
                self.contact(),
                email="ada@example.test",
                given_name="Ada",
                custom_fields__mobile_phone="1",
            ),
        ]

    def exact_effects(self) -> Sequence[Effect]:
        amounts = [Decimal(0), Decimal("-0.30"), Decimal("0.001"), Decimal("12.345"), Decimal("10005534.10")]
        return [self.effect(Kind.DEAL, self.deal(), custom_fields__amount_paid=amount) for amount in amounts] + [
            self.effect(Kind.COMPANY, self.contact(), custom_fields__balance=amount) for amount in amounts
        ]

    def refused_effect(self) -> Effect:
        return self.effect(Kind.COMPANY, self.contact(), website=5)


@pytest.fixture
def world() -> Iterator[OutlookWorld]:
    clock = SimulatedClock()
    app = create_app(clock=clock, requests_per_10_minutes=1_000_000)
    with serve(app) as url:
        opened = OutlookWorld(url, clock, app.extensions["simulator"])
        with opened.session:
            yield opened


class TestContract(ConnectorContract):
    """Every connector's tests; Graph signs nothing, the body itself carries the token."""

    def test_a_webhook_is_taken_only_with_its_own_signature(self, world):
        good = world.webhook()
        world.provider.verify(good, SECRETS)
        assert [(hint.account, hint.kind, hint.id) for hint in world.provider.hints(good)] == [
            ("", Kind.COMPANY, "AAkALg"),
            ("", Kind.CONTACT, "AAkALg"),
        ]
        mixed = json.loads(good.body)
        mixed["value"].append(json.loads(world.webhook(valid=False).body)["value"][0])
        for bad in (
            world.webhook(valid=False),
            replace(good, body=b'{"value": []}'),
            replace(good, body=b"{"),
            replace(good, body=json.dumps(mixed).encode()),
        ):
            with pytest.raises(SignatureError):
                world.provider.verify(bad, SECRETS)
        with pytest.raises(SignatureError):
            world.provider.verify(good, {})
