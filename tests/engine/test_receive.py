"""Receiving: what a webhook's receipt says, what is queued of it, and when a replaced secret is looked up again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.engine.test_around import StubProvider, StubSecrets, receiver, signed
from tests.engine.world import BOOKS, TENANT, World
from tieout.domain.changes import Change, Lane, Origin
from tieout.domain.connections import Connection
from tieout.domain.records import Kind
from tieout.engine.receive import Receipt, Received, ReceiveWebhook
from tieout.ports.connector import Hint, Webhook


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("address", "webhook", "receipt"),
    [
        ("acme.quickbooks", signed("1:invoice:7 1:deal:8"), Receipt(Received.ACCEPTED, 2, "acme", "quickbooks")),
        ("acme.quickbooks", signed(""), Receipt(Received.ACCEPTED, 0, "acme", "quickbooks")),
        ("acme.quickbooks", signed("nonsense"), Receipt(Received.BAD_BODY, 0, "acme", "quickbooks")),
        ("acme.quickbooks", signed("1:deal:8", "x"), Receipt(Received.BAD_SIGNATURE, 0, "acme", "quickbooks")),
        ("acme.quick.books", signed("1:deal:8"), Receipt(Received.ACCEPTED, 1, "acme", "quick.books")),
        ("acme.other", signed("1:deal:8"), Receipt(Received.UNKNOWN_CONNECTION, 0, "", "")),
    ],
)
def test_the_receipt_says_whose_webhook_it_was_and_how_it_ended(world: World, address: str, webhook, receipt):
    world.state.put_connection(Connection(TENANT, "quick.books", "fake_books", account="1"))
    secrets = StubSecrets(**{"acme_quickbooks": "s3cret", "acme_quick.books": "s3cret"})
    receive = ReceiveWebhook(
        config=world.state,
        secrets=secrets,
        queue=world.queue,
        provider=lambda _: StubProvider(),  # type: ignore[return-value]  # no manifest is asked for
        clock=world.clock,
    )
    assert receive.receive(address, webhook) == receipt


def test_each_hint_becomes_a_live_change_of_now_of_the_connection_that_owns_its_account(world: World):
    world.state.put_connection(Connection(TENANT, "branch", "fake_books", account="2"))
    world.clock.sleep(60)
    receive = receiver(world, acme_quickbooks="s3cret", acme_branch="s3cret")
    assert receive.receive("acme.quickbooks", signed(":invoice:7 2:payment:8 3:payment:9")).changes == 2

    now = world.clock.now()
    assert world.queue.now == [
        Change(TENANT, BOOKS, Kind.INVOICE, "7", now, Origin.WEBHOOK, Lane.LIVE),
        Change(TENANT, "branch", Kind.PAYMENT, "8", now, Origin.WEBHOOK, Lane.LIVE),
    ]


def test_a_merge_that_the_provider_tells_of_is_passed_on(world: World):
    class Merging(StubProvider):
        def hints(self, webhook: Webhook) -> Sequence[Hint]:
            return [replace(one, merged_into="9") for one in super().hints(webhook)]

    asked: list[str] = []

    def provider(name: str) -> Any:
        asked.append(name)
        return Merging()

    ReceiveWebhook(
        config=world.state,
        secrets=StubSecrets(acme_quickbooks="s3cret"),
        queue=world.queue,
        provider=provider,
        clock=world.clock,
    ).receive("acme.quickbooks", signed("1:customer:7"))
    assert [(one.id, one.merged_into) for one in world.queue.now] == [("7", "9")]
    assert asked == ["fake_books"]


@pytest.mark.parametrize(("seconds", "reads"), [(29, 1), (30, 2)])
def test_nonsense_makes_us_read_the_secret_twice_a_minute_at_most(world: World, seconds: int, reads: int):
    class Counted(StubSecrets):
        fresh = 0

        def read(self, tenant: str, connection: str, *, fresh: bool = False) -> Mapping[str, str]:
            self.fresh += fresh
            return super().read(tenant, connection, fresh=fresh)

    secrets = Counted(acme_quickbooks="s3cret")
    receive = ReceiveWebhook(
        config=world.state,
        secrets=secrets,
        queue=world.queue,
        provider=lambda _: StubProvider(),  # type: ignore[return-value]  # no manifest is asked for
        clock=world.clock,
    ).receive
    receive("acme.quickbooks", signed("1:deal:8", "nonsense"))
    world.clock.sleep(seconds)
    receive("acme.quickbooks", signed("1:deal:8", "nonsense"))
    assert secrets.fresh == reads


def test_a_handshake_is_answered_before_anything_is_proved_and_queues_nothing(world: World):
    class Shaking(StubProvider):
        def handshake(self, webhook: Webhook) -> str | None:
            return webhook.query.get("token")

    class NoSecrets(StubSecrets):
        def read(self, tenant: str, connection: str, *, fresh: bool = False) -> Mapping[str, str]:
            raise AssertionError("a handshake proves nothing, so no secret is read")

    receive = ReceiveWebhook(
        config=world.state,
        secrets=NoSecrets(),
        queue=world.queue,
        provider=lambda _: Shaking(),  # type: ignore[return-value]  # no manifest is asked for
        clock=world.clock,
    ).receive
    asked = Webhook({}, b"", {"token": "abc"})
    assert receive("acme.quickbooks", asked) == Receipt(Received.HANDSHAKE, 0, "acme", "quickbooks", "abc")
    assert receive("acme.other", asked) == Receipt(Received.UNKNOWN_CONNECTION, 0, "", "")
    assert world.queue.now == []


def test_a_provider_without_handshake_answers_none(world: World):
    asked = replace(signed("1:deal:8", "x"), query={"validationToken": "abc"})
    receipt = receiver(world, acme_quickbooks="s3cret").receive("acme.quickbooks", asked)
    assert receipt == Receipt(Received.BAD_SIGNATURE, 0, "acme", "quickbooks")
