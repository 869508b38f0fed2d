"""The Outlook connector against its simulator: the suite that every connector passes, and its own quirks."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from tests.contract.fakes import MemorySecrets
from tests.contract.graph_description import DESCRIPTION, Judged
from tests.contract.suite import ConnectorContract, SimulatedWorld, all_changes, all_ids, done
from tieout.connectors.outlook import CONNECTOR
from tieout.connectors.outlook.manifest import settings_of
from tieout.connectors.outlook.translate import contact_record
from tieout.domain.documents import RecordUpdate
from tieout.domain.effects import Done, Effect, NotDone, Operation, Unknown
from tieout.domain.errors import (
    ConflictError,
    NotFoundError,
    ProviderError,
    ReconnectError,
    RejectedError,
    SettingsError,
    SignatureError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)
from tieout.domain.records import Kind
from tieout.ports.connector import Webhook
from tieout.ports.http import Answer, Http, Request
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.outlook import create_app
from tieout_sandbox.simulators.outlook.errors import GraphError
from tieout_sandbox.simulators.outlook.routes import Api, _refusal
from tieout_sandbox.simulators.outlook.state import CONTACTS, DEFAULT_FOLDER, FOLDERS, LISTS, TASKS
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
        self.judge = Judged(self.http)
        self.http = self.judge
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
        return self.effect(Kind.COMPANY, self.contact(), name="x" * 256)


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


# ---- folders and feeds ----


def folder_of(world: OutlookWorld, parent: str = "") -> str:
    with world.api.lock:
        row = world.api.state.add(FOLDERS, FOLDERS, {"displayName": "Clients", "parentFolderId": parent or None})
        return str(row["id"])


@pytest.mark.parametrize("lists_default_folder", [False, True])
def test_contacts_of_all_folders_are_read_once_each(world, lists_default_folder):
    world.sandbox("POST", "settings", {"lists_default_folder": lists_default_folder})
    outer = folder_of(world)
    inner = folder_of(world, outer)
    made = [world.contact(), world.contact(outer), *[world.contact(inner) for _ in range(3)]]
    connector = world.connector()

    assert sorted(all_ids(connector, Kind.COMPANY)) == sorted(made)
    records, _, _ = all_changes(connector, Kind.CONTACT, None)
    assert sorted(record.id for record in records) == sorted(made)
    assert sorted(record.id for record in connector.read(Kind.CONTACT, made)) == sorted(made)


def test_a_contact_that_is_moved_keeps_its_id_and_comes_again(world):
    connector, other = world.connector(), folder_of(world)
    moved = world.contact()
    cursor = connector.cursor_now(Kind.CONTACT)
    with world.api.lock:
        world.api.state.move(moved, other)
    records, gone, _ = all_changes(connector, Kind.CONTACT, cursor)
    assert [record.id for record in records] == [moved]
    assert gone == [moved]  # a hint like any other: whoever reads it again finds it
    assert [record.id for record in connector.read(Kind.CONTACT, [moved])] == [moved]


def test_a_new_folder_is_followed_and_one_that_is_gone_makes_deletions_unsure(world):
    connector = world.connector()
    former = folder_of(world)
    world.contact(former)
    cursor = connector.cursor_now(Kind.CONTACT)
    with world.api.lock:
        world.api.state.remove(world.api.state.items[former])
    made = world.contact(folder_of(world))

    page = connector.changes(Kind.CONTACT, cursor)
    assert page.deletions_unsure
    records, _, cursor = all_changes(connector, Kind.CONTACT, page.cursor)
    assert [record.id for record in records] == [made]
    assert not connector.changes(Kind.CONTACT, cursor).deletions_unsure


@pytest.mark.parametrize("kind", [Kind.CONTACT, Kind.DEAL])
def test_a_token_that_died_makes_everything_come_again_and_deletions_unsure(world, kind):
    connector = world.connector()
    make = world.contact if kind is Kind.CONTACT else world.deal
    kept, gone = make(), make()
    cursor = connector.cursor_now(kind)
    world.delete_record(kind, gone)
    world.sandbox("POST", "delta/expire")

    page = connector.changes(kind, cursor)

    assert page.deletions_unsure
    assert [record.id for record in page.records] == [kept]
    assert not connector.changes(kind, page.cursor).deletions_unsure


def test_a_token_that_dies_between_two_pages_loses_nothing(world):
    world.sandbox("POST", "settings", {"page_max": 2})
    made = [world.contact() for _ in range(5)]
    connector = world.connector()
    first = connector.changes(Kind.CONTACT, None)
    assert first.more
    world.sandbox("POST", "delta/expire")
    records, _, _ = all_changes(connector, Kind.CONTACT, first.cursor)
    assert {record.id for record in records} == set(made)


def test_a_feed_that_cannot_begin_is_unavailable(world):
    world.contact()
    connector = world.connector(faults=[{"kind": "status", "status": 410, "match": {"path": "*/delta"}}])
    with pytest.raises(ProviderError):
        connector.changes(Kind.CONTACT, None)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"links": []}', '{"links": {}, "pending": 7}'])
def test_a_cursor_of_another_form_is_unavailable(world, text):
    with pytest.raises(UnavailableError, match="cursor"):
        world.connector().changes(Kind.DEAL, text)


def test_our_token_goes_to_no_other_host(world):
    connector = world.connector()
    cursor = json.loads(connector.cursor_now(Kind.DEAL))
    (name,) = cursor["links"]
    for link in (
        "https://evil.example/v1.0/delta",
        f"{world.url}.evil.example/v1.0/x",
        f"{world.url}/v1.0@evil.example",
    ):
        text = json.dumps({"links": {name: link}, "pending": [name]})
        with pytest.raises(UnavailableError, match="another address"):
            connector.changes(Kind.DEAL, text)


# ---- products ----


def test_products_are_those_of_the_settings_and_cost_no_call(world):
    connector = world.connector(products=["Consulting", "Travel"])
    world.sandbox("DELETE", "calls")

    records, _, cursor = all_changes(connector, Kind.PRODUCT, None)
    assert [(record.id, record.fields) for record in records] == [
        ("Consulting", {"name": "Consulting"}),
        ("Travel", {"name": "Travel"}),
    ]
    assert all_ids(connector, Kind.PRODUCT) == ["Consulting", "Travel"]
    assert connector.read(Kind.PRODUCT, ["Travel", "Gone"]) == records[1:]
    assert connector.search(Kind.PRODUCT, "name", ["travel", "Gone"]) == records[1:]
    with pytest.raises(RejectedError, match="sku"):
        connector.search(Kind.PRODUCT, "sku", ["1"])
    assert cursor == connector.cursor_now(Kind.PRODUCT)
    assert not connector.changes(Kind.PRODUCT, cursor).records
    assert calls(world) == {}


def test_a_product_more_in_the_settings_is_a_change(world):
    cursor = world.connector().cursor_now(Kind.PRODUCT)
    page = world.connector(products=["Services", "Travel"]).changes(Kind.PRODUCT, cursor)
    assert [record.id for record in page.records] == ["Services", "Travel"]
    assert not page.more


# ---- batches, limits, versions ----


def test_20_records_are_one_call_and_20_updates_three(world):
    made = [world.contact() for _ in range(20)]
    connector = world.connector()
    connector.probe()
    world.sandbox("DELETE", "calls")
    assert len(connector.read(Kind.COMPANY, made)) == 20
    assert calls(world) == {"POST /v1.0/$batch": 1}
    effects = [world.effect(Kind.COMPANY, one, custom_fields__balance=Decimal("1.10")) for one in made]
    assert all(isinstance(outcome, Done) for outcome in connector.write(effects))
    assert calls(world) == {"POST /v1.0/$batch": 4}
    assert all(isinstance(outcome, Done) for outcome in connector.write(effects))
    assert calls(world) == {"POST /v1.0/$batch": 6}  # nothing differs, so nothing is written


def calls(world: OutlookWorld) -> dict[str, int]:
    return {route: entry["calls"] for route, entry in world.sandbox("GET", "calls")["routes"].items()}


@pytest.mark.parametrize(
    ("status", "outcome", "error"),
    [
        (429, NotDone, ThrottledError),
        (403, NotDone, RejectedError),
        (412, NotDone, ConflictError),
        (404, NotDone, NotFoundError),
        (507, NotDone, RejectedError),
        (503, Unknown, UncertainError),
    ],
)
def test_a_part_of_a_batch_that_fails_does_not_touch_the_others(world, status, outcome, error):
    made = [world.contact() for _ in range(3)]
    answer = world.api._answer

    def failing(call: Any, application: bool) -> Any:
        if call.method == "PATCH" and quote(made[1], safe="") in call.path:
            return _refusal(GraphError(status, headers={"Retry-After": "17"}))
        return answer(call, application)

    connector = world.connector()
    world.api._answer = failing
    effects = [world.effect(Kind.COMPANY, one, name="Söhne AG") for one in made]
    ends = {one.effect_id: one for one in connector.write(effects)}
    failed = ends.pop(effects[1].id)
    assert isinstance(failed, outcome)
    assert isinstance(failed.error, error)
    if isinstance(failed.error, ThrottledError):
        assert failed.error.retry_after_seconds == 17
    assert all(isinstance(one, Done) for one in ends.values())


def test_an_edit_between_our_reading_and_our_writing_is_a_conflict(world):
    one = world.contact()
    patch = world.api.state.patch

    def overtaken(item: Any, body: Any, if_match: str = "") -> Any:
        patch(item, {"jobTitle": "somebody was faster"})
        return patch(item, body, if_match)

    connector = world.connector()
    with world.api.lock:
        object.__setattr__(world.api, "state", Overtaken(world.api.state, overtaken))
    (outcome,) = connector.write([world.effect(Kind.COMPANY, one, name="Söhne AG")])
    assert isinstance(outcome, NotDone)
    assert isinstance(outcome.error, ConflictError)


class Overtaken:
    """The state, with another `patch`."""

    def __init__(self, state: Any, patch: Any) -> None:
        self._state = state
        self.patch = patch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)


def test_what_outlook_does_not_keep_is_named(world):
    world.sandbox("POST", "settings", {"lies": True})
    for effect in world.sample_effects():
        (outcome,) = world.connector().write([effect])
        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, RejectedError)
        assert outcome.error.field


def test_our_extension_keeps_what_another_update_wrote(world):
    connector = world.connector()
    for kind, one in ((Kind.DEAL, world.deal()), (Kind.COMPANY, world.contact())):
        done(connector.write([world.effect(kind, one, custom_fields__a="first", custom_fields__day=date(2026, 1, 5))]))
        record = done(
            connector.write([world.effect(kind, one, custom_fields__b=Decimal("2.5"), custom_fields__a=None)])
        )
        fields = record.fields["custom_fields"]
        assert (fields["a"], fields["b"], fields["day"]) == (None, Decimal("2.5"), date(2026, 1, 5))


def test_a_company_and_its_contact_are_one_record_and_written_one_after_the_other(world):
    one = world.contact()
    outcomes = world.connector().write(
        [
            world.effect(Kind.COMPANY, one, name="Söhne AG", custom_fields__a="1"),
            world.effect(Kind.CONTACT, one, name="Ada", custom_fields__b="2"),
        ]
    )
    assert all(isinstance(outcome, Done) for outcome in outcomes), outcomes
    (record,) = world.connector().read(Kind.CONTACT, [one])
    assert (record.fields["company_name"], record.fields["name"]) == ("Söhne AG", "Ada")
    assert {"a": "1", "b": "2"}.items() <= record.fields["custom_fields"].items()


def test_an_email_and_a_phone_are_replaced_and_the_others_stay(world):
    emails = [{"name": "Ada", "address": "old@example.test"}, {"name": "Bob", "address": "bob@example.test"}]
    one = world.contact(emailAddresses=emails, businessPhones=["1", "2"])
    done(world.connector().write([world.effect(Kind.CONTACT, one, email="new@example.test", phone="3")]))
    row = world.api.state.items[one].row
    assert [each["address"] for each in row["emailAddresses"]] == ["new@example.test", "bob@example.test"]
    assert row["businessPhones"] == ["3", "2"]


def test_what_an_update_may_name_is_just_what_the_manifest_says(world):
    manifest = world.provider.manifest
    connector = world.connector()
    for kind, make in ((Kind.COMPANY, world.contact), (Kind.CONTACT, world.contact), (Kind.DEAL, world.deal)):
        for path in sorted(manifest.updates[kind] - {"custom_fields.*", "status"}):
            (outcome,) = connector.write([world.effect(kind, make(), **{path: "x"})])
            assert isinstance(outcome, Done), path
        (outcome,) = connector.write([world.effect(kind, make(), source_id="x")])
        assert isinstance(outcome, NotDone)
    assert not manifest.takes(Kind.DEAL, "amount")


@pytest.mark.parametrize("status", ["open", "won", "lost", "inactive"])
def test_a_deals_status_is_written_so_that_people_see_it(world, status):
    for before in ({}, {"categories": ["Won", "VIP"]}, {"categories": ["lost"], "status": "completed"}):
        one = world.deal(**before)
        record = done(world.connector().write([world.effect(Kind.DEAL, one, status=status)]))
        assert record.fields["status"] == status
        assert ("VIP" in record.fields["custom_fields"]["categories"]) == ("VIP" in before.get("categories", ()))


# ---- deals ----


def test_a_task_by_the_convention_is_a_deal_with_lines_and_its_customer(world):
    contact = world.contact(companyName="Acme Ltd", emailAddresses=[{"name": "A", "address": "Ada@Acme.example"}])
    note = "Called them.\nCustomer: ada@acme.example\nReference: D-2026-014"
    note += "\n- 3 x Consulting @ 500.00\n- Travel @ 120.50 -10%"
    world.sandbox("POST", "settings", {"html_notes": True})
    one = world.deal(note, title="Website", status="completed", categories=["VIP"])
    (deal,) = world.connector().read(Kind.DEAL, [one])
    assert deal.fields["companies"] == [{"id": contact, "name": "Acme Ltd"}]
    assert deal.fields["status"] == "won"
    assert deal.fields["source_id"] == "D-2026-014"
    assert deal.fields["closed_on"] is None  # ticked off at its making: To Do told no day
    assert deal.fields["amount"] == Decimal("1608.45")
    assert [line["name"] for line in deal.fields["lines"]] == ["Consulting", "Travel"]
    assert deal.fields["custom_fields"]["categories"] == ["VIP"]


def test_a_customer_that_may_be_several_is_none_unless_its_category_says_which(world):
    world.contact(companyName="Acme Ltd")
    meant = world.contact(companyName="acme  ltd", categories=["Customer"])
    one = world.deal("Customer: ACME Ltd\nAmount: 5")
    (deal,) = world.connector().read(Kind.DEAL, [one])
    assert deal.fields["companies"] == []
    (deal,) = world.connector(customer_category="customer").read(Kind.DEAL, [one])
    assert [each["id"] for each in deal.fields["companies"]] == [meant]


def test_a_mailbox_without_the_list_of_deals_says_what_to_do(world):
    connector = world.connector(deals_list="Sales")
    with pytest.raises(RejectedError, match="no list `Sales`") as caught:
        connector.cursor_now(Kind.DEAL)
    assert "deals_list" in caught.value.next_step
    with world.api.lock:
        for name in ("Sales", "sales"):
            world.api.state.add(LISTS, LISTS, {"displayName": name})
    with pytest.raises(RejectedError, match="several lists"):
        connector.ids(Kind.DEAL, None)


def test_searching_ignores_case_and_finds_in_every_folder(world):
    one = world.contact(
        folder_of(world), companyName="ÄCME Ltd", emailAddresses=[{"name": "", "address": "a@b.example"}]
    )
    deal = world.deal(title="Website")
    connector = world.connector()
    assert [each.id for each in connector.search(Kind.COMPANY, "name", ["äcme ltd", "other"])] == [one]
    assert [each.id for each in connector.search(Kind.CONTACT, "email", ["A@B.example"])] == [one]
    assert [each.id for each in connector.search(Kind.DEAL, "name", ["WEBSITE"])] == [deal]
    with pytest.raises(RejectedError):
        connector.search(Kind.DEAL, "email", ["x"])


# ---- sign-in ----


def signed_in(world: OutlookWorld, **settings: Any) -> Any:
    """The grant of a consent in a browser."""
    consent, typed = world.provider.consent, {**world.settings(), **settings}
    redirect = "http://localhost:9/callback"
    page = consent.address(settings=typed, secrets=SECRETS, redirect=redirect, state="a state")
    answer = world.session.get(page, allow_redirects=False, timeout=5)
    location = urlsplit(answer.headers["Location"])
    assert location.geturl().startswith(redirect)
    query = dict(parse_qsl(location.query))
    assert query["state"] == "a state"
    return consent.finish(
        settings=typed, secrets=SECRETS, redirect=redirect, query=query, http=world.http, clock=world.clock
    )


def test_a_person_signs_in_with_a_code_and_the_new_tokens_work(world):
    grant = signed_in(world)
    assert grant.account == world.account()
    assert set(SECRETS) < set(grant.secrets)
    world.secrets = MemorySecrets(grant.secrets)
    assert world.connector().probe().id == world.account()


def test_a_code_is_no_use_to_whoever_does_not_know_the_client_secret(world):
    consent, redirect = world.provider.consent, "http://localhost:9/callback"
    page = consent.address(settings=world.settings(), secrets=SECRETS, redirect=redirect, state="a")
    query = dict(
        parse_qsl(urlsplit(world.session.get(page, allow_redirects=False, timeout=5).headers["Location"]).query)
    )
    with pytest.raises(RejectedError, match="not connected"):
        consent.finish(
            settings=world.settings(),
            secrets=SECRETS,
            redirect=redirect,
            query={**query, "state": "b"},  # another consent's: its PKCE verifier is another one
            http=world.http,
            clock=world.clock,
        )


APPLICATION = {"access": "application", "directory": "seller.example", "mailbox": "sales@seller.example"}


def test_an_administrator_lets_the_application_in_and_no_me_is_asked_for(world):
    grant = signed_in(world, **APPLICATION)
    assert grant.account == "sales@seller.example"
    world.secrets = MemorySecrets(grant.secrets)
    one = world.contact()
    connector = world.connector(**APPLICATION)
    assert connector.probe().id == "sales@seller.example"
    assert [record.id for record in connector.read(Kind.CONTACT, [one])] == [one]
    assert not [route for route in calls(world) if "/v1.0/me" in route]


@pytest.mark.parametrize("settings", [{}, APPLICATION])
def test_a_refused_consent_stores_nothing(world, settings):
    world.sandbox("POST", "settings", {"consent": False})
    with pytest.raises(RejectedError, match="consent was refused"):
        signed_in(world, **settings)


def test_a_client_secret_that_ended_says_so(world):
    world.sandbox("POST", "settings", {"client_secret": "another one"})
    with pytest.raises(ReconnectError, match="secret") as caught:
        world.connector(**APPLICATION).probe()
    assert "client secret" in caught.value.next_step


def test_a_token_is_renewed_before_it_ends_and_the_new_refresh_token_is_kept(world):
    connector = world.connector()
    connector.probe()
    first = world.secrets.history[-1]
    world.clock.advance(56 * 60)
    connector.probe()
    second = world.secrets.history[-1]
    assert second["access_token"] != first["access_token"]
    assert second["refresh_token"] not in (first["refresh_token"], SECRETS["refresh_token"])
    assert world.lease.taken == ["token", "token"]


# ---- notifications ----


@pytest.fixture
def heard(world: OutlookWorld) -> Iterator[tuple[str, list[Webhook]]]:
    """An address that answers handshakes as the product does, and what it heard."""
    from flask import Flask, Response, request  # noqa: PLC0415 - only here

    heard: list[Webhook] = []
    receiver = Flask("receiver")

    @receiver.post("/webhooks/acme.outlook")
    def hear() -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        webhook = Webhook(headers, request.get_data(), request.args.to_dict())
        text = world.provider.handshake(webhook)
        if text is None:
            heard.append(webhook)
        return Response(text or "", 200, content_type="text/plain")

    with serve(receiver) as url:
        yield f"{url}/webhooks/acme.outlook", heard


def test_subscriptions_are_made_once_and_renewed_every_quarter_of_an_hour(world, heard):
    connector = world.connector(webhook_url=heard[0])
    assert connector.subscribe() == ["made contact", "made deal"]
    assert connector.subscribe() == []
    world.clock.advance(14 * 60)
    assert connector.subscribe() == []
    world.clock.advance(2 * 60)
    assert connector.subscribe() == ["renewed contact", "renewed deal"]
    assert connector.subscribe() == []
    world.clock.advance(8 * 24 * 3600)
    assert connector.subscribe() == ["made contact", "made deal"]
    assert world.judge.judged["subscription"] >= 6


def told(world: OutlookWorld) -> int:
    """How many deliveries arrive now."""
    return int(world.sandbox("POST", "notifications/push")["delivered"])


def test_hourly_polls_keep_graph_telling_though_tokens_end(world, heard):
    connector = world.connector(webhook_url=heard[0])
    connector.subscribe()
    for _ in range(5):
        world.clock.advance(3599)
        world.deal()
        assert told(world) == 1
        assert connector.subscribe() == ["renewed contact", "renewed deal"]
    world.clock.advance(3601)
    world.deal()
    assert told(world) == 0


def test_graph_that_wants_to_be_authorized_again_is_at_the_next_poll(world, heard):
    address, webhooks = heard
    connector = world.connector(webhook_url=address)
    connector.subscribe()
    cursor = connector.cursor_now(Kind.DEAL)
    world.clock.advance(3000)
    world.sandbox("POST", "notifications/lifecycle", {"event": "reauthorizationRequired"})
    for webhook in webhooks:
        world.provider.verify(webhook, SECRETS)
        DESCRIPTION.check("changeNotificationCollection", json.loads(webhook.body), "notification")
        assert world.provider.hints(webhook) == []
    missed = world.deal()
    assert told(world) == 0

    assert connector.subscribe() == ["renewed contact", "renewed deal"]
    later = world.deal()
    assert told(world) == 1
    records, _, _ = all_changes(connector, Kind.DEAL, cursor)
    assert {record.id for record in records} == {missed, later}


def test_subscriptions_that_ended_unseen_are_made_again_and_the_gap_is_read(world, heard):
    connector = world.connector(webhook_url=heard[0])
    connector.subscribe()
    cursors = {kind: connector.cursor_now(kind) for kind in (Kind.CONTACT, Kind.DEAL)}
    world.clock.advance(8 * 24 * 3600)  # nobody polled
    missed = {Kind.CONTACT: world.contact(), Kind.DEAL: world.deal()}
    assert told(world) == 0

    assert connector.subscribe() == ["made contact", "made deal"]
    for kind, cursor in cursors.items():
        records, _, _ = all_changes(connector, kind, cursor)
        assert [record.id for record in records] == [missed[kind]]
    world.contact()
    assert told(world) == 1


@pytest.mark.parametrize(
    ("cloud", "graph", "login"),
    [
        ("global", "https://graph.microsoft.com", "https://login.microsoftonline.com"),
        ("us_government", "https://graph.microsoft.us", "https://login.microsoftonline.us"),
        ("us_defense", "https://dod-graph.microsoft.us", "https://login.microsoftonline.us"),
        ("china", "https://microsoftgraph.chinacloudapi.cn", "https://login.chinacloudapi.cn"),
    ],
)
def test_each_cloud_has_its_own_addresses_and_scope(cloud, graph, login):
    settings = settings_of({"cloud": cloud})
    assert (settings.base_url, settings.login_url) == (f"{graph}/v1.0", login)
    assert settings.application_scope == f"{graph}/.default"
    page = CONNECTOR.consent.address(settings={"cloud": cloud}, secrets=SECRETS, redirect="http://x", state="s")
    assert page.startswith(f"{login}/organizations/oauth2/v2.0/authorize?")


@pytest.mark.parametrize(
    "settings", [{"cloud": "germany"}, {"cloud": None}, {"cloud": "china", "directory": "consumers"}]
)
def test_a_cloud_that_cannot_be_is_refused(settings):
    with pytest.raises(SettingsError):
        settings_of(settings)


def test_a_national_cloud_tells_of_contacts_alone_and_deals_are_polled(world, heard):
    connector = world.connector(webhook_url=heard[0], cloud="us_government")
    cursor = connector.cursor_now(Kind.DEAL)
    assert connector.subscribe() == ["made contact"]
    one = world.deal()
    assert told(world) == 0
    assert [record.id for record in all_changes(connector, Kind.DEAL, cursor)[0]] == [one]


def test_an_application_asks_for_the_token_of_its_cloud(world):
    asked: list[Request] = []

    class Listening:
        def __init__(self, inner: Http) -> None:
            self._inner = inner

        def send(self, sent: Request) -> Answer:
            asked.append(sent)
            return self._inner.send(sent)

    world.connector(wrap=Listening, cloud="us_defense", **APPLICATION).probe()
    (form,) = [dict(parse_qsl((one.body or b"").decode())) for one in asked if one.url.endswith("/token")]
    assert form["scope"] == "https://dod-graph.microsoft.us/.default"


def test_a_change_is_told_and_one_that_was_missed_is_in_the_feed(world, heard):
    address, webhooks = heard
    connector = world.connector(webhook_url=address)
    connector.subscribe()
    cursors = {kind: connector.cursor_now(kind) for kind in (Kind.CONTACT, Kind.DEAL)}
    contact, deal = world.contact(), world.deal()
    assert world.sandbox("POST", "notifications/push") == {"delivered": 2, "failed": 0}
    found = set()
    for webhook in webhooks:
        world.provider.verify(webhook, SECRETS)
        DESCRIPTION.check("changeNotificationCollection", json.loads(webhook.body), "notification")
        found |= {(hint.kind, hint.id) for hint in world.provider.hints(webhook)}
    assert found == {(Kind.COMPANY, contact), (Kind.CONTACT, contact), (Kind.DEAL, deal)}

    webhooks.clear()
    world.sandbox("POST", "notifications/lifecycle", {"event": "subscriptionRemoved"})
    later = world.deal()
    assert world.sandbox("POST", "notifications/push") == {"delivered": 0, "failed": 0}
    for webhook in webhooks:
        world.provider.verify(webhook, SECRETS)
        assert world.provider.hints(webhook) == []
    assert len(webhooks) == 2
    assert connector.subscribe() == ["made contact", "made deal"]
    records, _, _ = all_changes(connector, Kind.DEAL, cursors[Kind.DEAL])
    assert {record.id for record in records} == {deal, later}


def test_an_address_that_does_not_answer_the_handshake_is_refused(world):
    connector = world.connector(webhook_url=f"{world.url}/nothing")
    with pytest.raises(RejectedError, match="validation"):
        connector.subscribe()


def test_nothing_is_subscribed_without_an_address_and_not_without_a_token(world):
    assert world.connector().subscribe() == []
    world.secrets.history[-1]["webhook_token"] = "short"
    with pytest.raises(SettingsError, match="20 to 128"):
        world.connector(webhook_url="https://tieout.example/webhooks/a.b").subscribe()


def test_what_microsoft_documents_is_understood():
    folder = Path(__file__).parent.parent / "data" / "outlook" / "documented"
    notification = Webhook({}, (folder / "change-notification.json").read_bytes())
    CONNECTOR.verify(notification, {"webhook_token": "secretClientValue"})
    assert CONNECTOR.hints(notification) == []  # of a message, which we do not read
    DESCRIPTION.check("contact", json.loads((folder / "contact-create.request.json").read_bytes()), "contact")
    DESCRIPTION.check(
        "subscription", json.loads((folder / "subscription-create.request.json").read_bytes()), "subscription"
    )
    page = json.loads((folder / "contact-delta.page.json").read_bytes())
    (row,) = page["value"]
    assert contact_record(Kind.CONTACT, {"id": "x", **row}).fields["name"] == "displayName-value"


def test_simulated_deals_of_the_data_set_are_the_same_as_those_of_act():
    clock = SimulatedClock()
    app = create_app(clock=clock, data="crm-sales-opportunities", requests_per_10_minutes=1_000_000)
    with serve(app) as url:
        world = OutlookWorld(url, clock, app.extensions["simulator"])
        with world.session:
            records, _, _ = all_changes(world.connector(), Kind.DEAL, None)
            some = [record for record in records if record.fields["status"] == "won"][:40:2]
            read = world.connector().read(Kind.DEAL, [record.id for record in some])
    won = [record for record in records if record.fields["status"] == "won"]
    assert (len(records), len(won)) == (8800, 4238)
    assert sum(record.fields["amount"] for record in won) == 10_005_534
    assert all(len(record.fields["companies"]) == 1 and record.fields["closed_on"] for record in read)
