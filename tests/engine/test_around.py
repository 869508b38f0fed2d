"""The use cases around the engine: receiving, polling, sweeping, backfill, preview, alerts, tying out, operating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.engine.world import BOOKS, CRM, TENANT, World
from tieout.domain.changes import Alert, Lane, Origin, UnsyncedState
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.effects import Operation
from tieout.domain.errors import ReconnectError, RejectedError, SettingsError, SignatureError, UnavailableError
from tieout.domain.records import Kind
from tieout.engine.alerts import SendAlerts
from tieout.engine.backfill import Backfill
from tieout.engine.operate import Operate
from tieout.engine.park import ParkChanges
from tieout.engine.poll import PollChanges
from tieout.engine.preview import Preview
from tieout.engine.receive import Received, ReceiveWebhook
from tieout.engine.tie_out import TieOut
from tieout.ports.connector import Hint, Webhook

SYNC = "deals-to-invoices"


def quiet(_: str, __: int) -> None:
    """No progress shown."""


@pytest.fixture
def world() -> World:
    return World()


def connect(world: World):
    providers = {"fake_crm": world.crm, "fake_books": world.books}
    return lambda connection: providers[connection.provider]


class StubSecrets:
    def __init__(self, **secrets: str) -> None:
        self._secrets = secrets

    def read(self, tenant: str, connection: str, *, fresh: bool = False) -> Mapping[str, str]:
        if f"{tenant}_{connection}" not in self._secrets:
            raise SettingsError("no secrets")
        return {"key": self._secrets[f"{tenant}_{connection}"]}


class StubProvider:
    """Its signature is the secret itself; its body names `account:kind:id` in lines."""

    def verify(self, webhook: Webhook, secrets: Mapping[str, str]) -> None:
        if webhook.headers.get("signature") != secrets["key"]:
            raise SignatureError("wrong")

    def hints(self, webhook: Webhook) -> Sequence[Hint]:
        return [
            Hint(account, Kind(kind), one)
            for account, kind, one in (row.split(":") for row in webhook.body.decode().split())
        ]


def receiver(world: World, **secrets: str) -> ReceiveWebhook:
    return ReceiveWebhook(
        config=world.state,
        secrets=StubSecrets(**secrets),
        queue=world.queue,
        provider=lambda _: StubProvider(),  # type: ignore[return-value]
        clock=world.clock,
    )


def signed(body: str, key: str = "s3cret") -> Webhook:
    return Webhook({"signature": key}, body.encode())


def test_signed_webhook_queues_its_hints(world: World):
    receipt = receiver(world, acme_quickbooks="s3cret").receive("acme.quickbooks", signed("1:invoice:7 1:payment:8"))

    assert (receipt.received, receipt.changes) == (Received.ACCEPTED, 2)
    assert [(one.kind, one.id, one.origin, one.lane) for one in world.queue.now] == [
        (Kind.INVOICE, "7", Origin.WEBHOOK, Lane.LIVE),
        (Kind.PAYMENT, "8", Origin.WEBHOOK, Lane.LIVE),
    ]


@pytest.mark.parametrize(
    ("address", "webhook", "expected"),
    [
        ("acme.quickbooks", signed("1:invoice:7", "former"), Received.BAD_SIGNATURE),
        ("acme.quickbooks", Webhook({}, b"1:invoice:7"), Received.BAD_SIGNATURE),
        ("acme.act", signed("1:deal:7"), Received.BAD_SIGNATURE),
        ("acme.unknown", signed("1:invoice:7"), Received.UNKNOWN_CONNECTION),
        ("acme", signed("1:invoice:7"), Received.UNKNOWN_CONNECTION),
        ("globex.quickbooks", signed("1:invoice:7"), Received.UNKNOWN_CONNECTION),
        ("acme.quickbooks", signed("nonsense"), Received.BAD_BODY),
    ],
)
def test_bad_webhook_queues_nothing(world: World, address: str, webhook: Webhook, expected: Received):
    assert receiver(world, acme_quickbooks="s3cret").receive(address, webhook).received is expected
    assert world.queue.now == []


def test_replaced_secret_is_read_again_and_nonsense_cannot_make_us_read_on_and_on(world: World):
    class Replaced(StubSecrets):
        reads = 0

        def read(self, tenant: str, connection: str, *, fresh: bool = False) -> Mapping[str, str]:
            self.reads += fresh
            return {"key": "new" if fresh else "former"}

    secrets = Replaced()
    receive = ReceiveWebhook(
        config=world.state,
        secrets=secrets,
        queue=world.queue,
        provider=lambda _: StubProvider(),  # type: ignore[return-value]
        clock=world.clock,
    ).receive
    assert receive("acme.quickbooks", signed("1:invoice:7", "new")).received is Received.ACCEPTED

    for _ in range(50):
        assert receive("acme.quickbooks", signed("1:invoice:7", "nonsense")).received is Received.BAD_SIGNATURE
    assert secrets.reads == 1
    world.clock.sleep(31)
    assert receive("acme.quickbooks", signed("1:invoice:7", "new")).received is Received.ACCEPTED


def test_webhook_about_another_tenants_account_needs_that_tenants_secret(world: World):
    world.state.put_connection(Connection("globex", BOOKS, "fake_books", account="2"))
    body = "1:invoice:7 2:invoice:9"

    receiver(world, acme_quickbooks="s3cret", globex_quickbooks="other").receive("acme.quickbooks", signed(body))
    assert {one.tenant for one in world.queue.now} == {TENANT}

    world.queue.now.clear()
    receiver(world, acme_quickbooks="s3cret", globex_quickbooks="s3cret").receive("acme.quickbooks", signed(body))
    assert {(one.tenant, one.id) for one in world.queue.now} == {(TENANT, "7"), ("globex", "9")}


def poller(world: World) -> PollChanges:
    return PollChanges(
        config=world.state,
        links=world.state,
        alerts=world.state,
        queue=world.queue,
        connect=connect(world),
        clock=world.clock,
    )


def test_first_poll_only_notes_where_to_begin_and_the_next_finds_what_changed(world: World):
    world.deal("old")
    world.clock.sleep(10)
    assert sum(poller(world).poll(TENANT, CRM).queued.values()) == 0

    world.clock.sleep(60)
    world.deal("new")
    report = poller(world).poll(TENANT, CRM)

    assert report.queued[Kind.DEAL] == 1
    assert [one.id for one in world.queue.now] == ["new"]


def test_cursor_stands_still_if_the_queue_does_not_take_the_changes(world: World):
    poller(world).poll(TENANT, CRM)
    world.clock.sleep(60)
    world.deal("new")
    world.queue.fails = True
    with pytest.raises(RuntimeError):
        poller(world).poll(TENANT, CRM)

    world.queue.fails = False
    poller(world).poll(TENANT, CRM)

    assert "new" in [one.id for one in world.queue.now]


def test_poll_that_is_no_longer_let_in_pauses_the_connection_and_tells(world: World):
    poller(world).poll(TENANT, CRM)

    def refused(_kind, _cursor):
        raise ReconnectError("The CRM no longer accepts our sign-in.")

    world.crm.changes = refused
    assert poller(world).poll(TENANT, CRM).paused

    assert world.state.connection(TENANT, CRM).state is ConnectionState.PAUSED
    assert [alert.cause for alert in world.state.pending(TENANT)] == [f"paused-{CRM}"]


def test_poll_without_secrets_pauses_the_connection_and_tells(world: World):
    def open_without_secrets(_connection):
        raise SettingsError("The connection has no secrets yet.", next_step="Run `tieout connect`.")

    poll = PollChanges(
        config=world.state,
        links=world.state,
        alerts=world.state,
        queue=world.queue,
        connect=open_without_secrets,
        clock=world.clock,
    )

    assert poll.poll(TENANT, CRM).paused
    assert [alert.next_step for alert in world.state.pending(TENANT)] == ["Run `tieout connect`."]


def test_paused_connection_goes_on_once_sign_in_works_again(world: World):
    connection = world.state.connection(TENANT, CRM)
    assert connection is not None
    world.state.put_connection(replace(connection, state=ConnectionState.PAUSED, paused_because="revoked"))
    works = {"now": False}

    def probe():
        if not works["now"]:
            raise ReconnectError("still revoked")

    world.crm.probe = probe  # type: ignore[method-assign]
    assert poller(world).poll(TENANT, CRM).paused

    works["now"] = True
    assert not poller(world).poll(TENANT, CRM).paused
    assert world.state.connection(TENANT, CRM).state is ConnectionState.ACTIVE  # type: ignore[union-attr]


def test_vanished_deal_is_queued_once_after_the_second_sweep(world: World):
    world.deal("d1")
    world.deal("d2")
    world.apply("d1", "d2")
    del world.crm.records[Kind.DEAL, "d1"]

    assert poller(world).sweep(TENANT, CRM).queued[Kind.DEAL] == 0
    assert poller(world).sweep(TENANT, CRM).queued[Kind.DEAL] == 1
    assert [(one.id, one.origin) for one in world.queue.now] == [("d1", Origin.SWEEP)]
    assert poller(world).sweep(TENANT, CRM).queued[Kind.DEAL] == 0


def test_sweep_that_does_not_reach_the_end_queues_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    world.deal("d1")
    world.apply("d1")
    del world.crm.records[Kind.DEAL, "d1"]
    monkeypatch.setattr("tieout.engine.sweep.PAGES_MAX", 3)
    world.crm.ids = lambda _kind, _after: ([], "more")  # type: ignore[method-assign]

    assert poller(world).sweep(TENANT, CRM).queued[Kind.DEAL] == 0
    assert poller(world).sweep(TENANT, CRM).queued[Kind.DEAL] == 0


def test_dead_letter_becomes_a_parked_change_with_an_alert(world: World):
    world.deal("d1")
    ParkChanges(config=world.state, links=world.state, alerts=world.state, queue=world.queue, clock=world.clock).park(
        world.change(Kind.DEAL, "d1")
    )

    (parked,) = world.unsynced()
    assert (parked.cause, parked.state) == ("worker-failed", UnsyncedState.PARKED)
    assert len(world.state.pending(TENANT)) == 1


class Mailbox:
    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str]] = []
        self.fails = False

    def send(self, tenant: str, subject: str, text: str) -> None:
        if self.fails:
            raise UnavailableError("no mail today")
        self.sent.append((tenant, subject, text))


def letter(alerts: Sequence[Alert]) -> tuple[str, str]:
    return f"{len(alerts)} {alerts[0].subject}", alerts[0].reason


def test_repeats_of_one_cause_within_an_hour_are_one_message(world: World):
    mailbox = Mailbox()
    sender = SendAlerts(config=world.state, alerts=world.state, mail=mailbox, letter=letter, clock=world.clock)
    for number in range(3):
        world.deal(f"d{number}", product="Unheard-of")
    world.apply("d0", "d1")
    assert sender.send().sent == 1
    world.apply("d2")
    assert (sender.send().sent, sender.send().gathering) == (0, 1)

    world.clock.time += timedelta(hours=1, seconds=1)
    assert sender.send().sent == 1

    assert [subject for _, subject, _ in mailbox.sent] == ["2 Invoice not synced", "1 Invoice not synced"]
    assert sender.send().told == 0


def test_message_that_cannot_be_sent_is_sent_later(world: World):
    mailbox = Mailbox()
    sender = SendAlerts(config=world.state, alerts=world.state, mail=mailbox, letter=letter, clock=world.clock)
    world.deal("d1", product="Unheard-of")
    world.apply("d1")
    mailbox.fails = True
    assert sender.send().failed == 1

    mailbox.fails = False
    assert sender.send().sent == 1


def test_letter_that_cannot_be_written_is_sent_as_bare_facts_and_holds_up_no_other(world: World):
    mailbox = Mailbox()

    def faulty(alerts: Sequence[Alert]) -> tuple[str, str]:
        if alerts[0].unsynced is not None:
            raise KeyError("a field of the template")
        return letter(alerts)

    world.deal("d1", product="Unheard-of")
    world.deal("d2", product="Unheard-of")
    world.apply("d1", "d2")
    (first, *_) = world.state.pending(TENANT)
    world.state.put([replace(first, cause="other", subject="Something else", unsynced=None)])
    sender = SendAlerts(config=world.state, alerts=world.state, mail=mailbox, letter=faulty, clock=world.clock)

    assert (sender.send().sent, world.state.pending(TENANT)) == (2, [])

    texts = {subject: text for _, subject, text in mailbox.sent}
    assert set(texts) == {"Tieout: Invoice not synced", "1 Something else"}
    facts = texts["Tieout: Invoice not synced"]
    assert facts.startswith("Invoice not synced (2 times).")
    assert first.reason in facts
    assert facts.endswith(first.command)


def backfill(world: World) -> Backfill:
    return Backfill(config=world.state, queue=world.queue, connect=connect(world), clock=world.clock)


def test_backfill_queues_everything_once_and_notes_cursors_first(world: World):
    for number in range(5):
        world.deal(f"d{number}")

    report = backfill(world).run(TENANT, SYNC, progress=quiet)

    assert report.queued == {Kind.COMPANY: 1, Kind.PRODUCT: 1, Kind.DEAL: 5}
    assert {one.lane for one in world.queue.now} == {Lane.BACKFILL}
    assert world.state.cursor(TENANT, CRM, Kind.DEAL) is not None
    assert world.state.cursor(TENANT, CRM, Kind.CONTACT) is not None, "its changes concern customers"
    assert world.state.run(TENANT, SYNC).finished_at is not None  # type: ignore[union-attr]


def test_stopped_backfill_goes_on_where_it_stopped(world: World):
    world.deal("d1")

    def stops(kind: str, _: int) -> None:
        if kind == Kind.COMPANY:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backfill(world).run(TENANT, SYNC, progress=stops)
    world.queue.now.clear()

    report = backfill(world).run(TENANT, SYNC, progress=quiet)

    assert report.resumed
    assert {one.kind for one in world.queue.now} == {Kind.PRODUCT, Kind.DEAL}


def test_backfill_reads_again_when_the_provider_stumbles_and_gives_up_after_a_minute(world: World):
    world.deal("d1")
    real, stumbles = world.crm.changes, {"left": 5}

    def stumbling(kind, cursor):
        if stumbles["left"]:
            stumbles["left"] -= 1
            raise UnavailableError("not now")
        return real(kind, cursor)

    world.crm.changes = stumbling
    assert backfill(world).run(TENANT, SYNC, progress=quiet).queued[Kind.DEAL] == 1
    assert 10 < world.clock.slept < 60

    stumbles["left"] = 1000
    with pytest.raises(UnavailableError):
        backfill(world).run(TENANT, SYNC, progress=quiet, restart=True)
    assert stumbles["left"] == 994


def test_relinking_after_a_restore_links_what_was_written_and_writes_only_what_is_missing(world: World):
    for number in range(3):
        world.deal(f"d{number}")
    world.apply("d0", "d1", "d2")
    world.state.links.clear()  # the table is older than the books
    world.state.pointers.clear()
    world.deal("d3")

    backfill(world).run(TENANT, SYNC, progress=quiet, relink=True)
    report = world.engine.apply(world.queue.now)

    assert (report.adopted, report.created) == (1 + 1 + 3, 1)
    assert sorted(str(invoice.fields["number"]) for invoice in world.invoices()) == ["Sd0", "Sd1", "Sd2", "Sd3"]
    assert world.apply("d0", "d1", "d2", "d3").unchanged == 4


def test_unknown_sync_says_which_there_are(world: World):
    with pytest.raises(SettingsError, match="it has: deals-to-invoices"):
        backfill(world).run(TENANT, "other", progress=quiet)


def preview(world: World) -> Preview:
    return Preview(config=world.state, links=world.state, connect=connect(world), clock=world.clock)


def test_plan_says_what_would_be_written_and_writes_nothing(world: World):
    world.deal("d1", "1000")
    world.deal("d2", "54")
    world.deal("d3", product="Unheard-of")
    world.deal("d4", status="lost")

    report = preview(world).preview(TENANT, SYNC, progress=quiet)

    assert report.totals() == {"USD": Decimal(1054)}
    assert [write.step for write in report.writes] == ["customers", "items", "invoices", "invoices"]
    assert [one.change.id for one in report.parked] == ["d3"]
    assert (report.counts.skipped, report.counts.parked) == (1, 1)
    assert (world.state.writes, world.books.calls["write"], world.books.records) == (0, 0, {})
    assert world.state.alerts == {}
    assert world.queue.later == []


def test_plan_shows_what_an_update_changes(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1200")

    report = preview(world).preview(TENANT, SYNC, progress=quiet)

    (write,) = report.writes
    assert write.operation is Operation.UPDATE
    assert (write.former["lines"][0]["amount"], write.document["lines"][0]["amount"]) == ("1000", "1200")


def test_plan_tells_what_would_only_be_linked_and_what_would_be_cut(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation")
    world.company("c2", "A" * 120)
    world.deal("d1", company="c2")

    report = preview(world).preview(TENANT, SYNC, progress=quiet)

    assert report.counts.adopted == 1
    assert [(write.step, write.label[:3]) for write in report.writes] == [
        ("customers", "AAA"),
        ("items", "GTX"),
        ("invoices", "GTX"),
    ]
    assert "Cut from 120 to 100 characters" in report.writes[0].notices[0]


def test_plan_of_two_sides_in_agreement_is_empty(world: World):
    world.deal("d1")
    world.apply("d1")

    report = preview(world).preview(TENANT, SYNC, progress=quiet)

    assert (report.writes, report.parked) == ([], [])


def tie_out(world: World):
    comparison = TieOut(config=world.state, links=world.state, connect=connect(world), clock=world.clock).compare(
        TENANT, SYNC, progress=quiet
    )
    return {one.step: one for one in comparison}


def test_two_sides_tie_out_and_every_kind_of_difference_shows(world: World):
    for number in range(3):
        world.deal(f"d{number}", "100.10")
    world.deal("open", status="open")
    world.apply("d0", "d1", "d2", "open")
    good = tie_out(world)["invoices"]
    assert (good.source_count, good.target_count) == (3, 3)
    assert (good.totals["USD"].source, good.totals["USD"].target) == (Decimal("300.30"), Decimal("300.30"))
    assert good.totals["USD"].difference == 0
    assert all(step.ties_out for step in tie_out(world).values())

    invoice = world.invoices()[0]
    world.books.put(Kind.INVOICE, "copy", **invoice.fields)
    assert tie_out(world)["invoices"].duplicates == 1
    del world.books.records[Kind.INVOICE, "copy"]

    world.books.put(Kind.INVOICE, invoice.id, total=Decimal("100.11"))
    assert tie_out(world)["invoices"].totals["USD"].difference == Decimal("-0.01")
    assert tie_out(world)["invoices"].differing == ["d0"]

    world.books.put(Kind.INVOICE, invoice.id, total=Decimal("100.10"), currency="EUR")
    mixed = tie_out(world)["invoices"]
    assert (mixed.totals["USD"].difference, mixed.totals["EUR"].difference) == (Decimal("100.10"), Decimal("-100.10"))
    assert not mixed.ties_out

    del world.books.records[Kind.INVOICE, invoice.id]
    broken = tie_out(world)["invoices"]
    assert (broken.missing, broken.ties_out) == (["d0"], False)


def operate(world: World) -> Operate:
    return Operate(config=world.state, links=world.state, queue=world.queue, clock=world.clock)


def test_status_counts_by_state_and_tells_the_oldest(world: World):
    world.deal("d1")
    world.deal("d2", product="Unheard-of")
    world.apply("d1", "d2")
    world.clock.sleep(90)

    steps = {step.step: step for step in operate(world).status(TENANT).steps}

    assert (steps["invoices"].in_agreement, steps["invoices"].parked) == (1, 1)
    assert steps["invoices"].oldest_unsynced_seconds == 90
    assert steps["customers"].in_agreement == 1


def test_parked_change_is_retried_or_dismissed(world: World):
    world.deal("d1", product="Unheard-of")
    world.apply("d1")
    operator = operate(world)
    (one,) = operator.parked(TENANT)
    assert operator.retry([one]) == 1
    assert [change.origin for change in world.queue.now] == [Origin.OPERATOR]

    assert operator.dismiss(TENANT, [one]) == 1
    assert operator.parked(TENANT) == []
    writes = world.state.writes
    world.apply("d1")
    assert (operator.parked(TENANT), world.state.writes) == ([], writes)


def test_changes_that_failed_together_are_tried_alone_before_any_is_parked(world: World):
    world.deal("d1")
    world.deal("d2")
    parking = ParkChanges(
        config=world.state, links=world.state, alerts=world.state, queue=world.queue, clock=world.clock
    )
    report = parking.park([*world.change(Kind.DEAL, "d1"), *world.change(Kind.DEAL, "d2")])

    assert (report.waiting, report.parked, world.unsynced()) == (2, 0, [])
    (first, one), (second, two) = world.queue.later
    assert (one.id, two.id, one.alone, two.alone) == ("d1", "d2", True, True)
    assert (second - first).total_seconds() >= 15, "they do not meet in one worker again"

    assert parking.park([one, two]).parked == 2


def test_a_poll_reminds_the_provider_to_go_on_telling_of_changes(world: World):
    asked: list[str] = []

    def subscribe() -> list[str]:
        asked.append(world.clock.now().isoformat())
        return ["renewed deal"]

    world.crm.subscribe = subscribe  # type: ignore[attr-defined]  # a connector that is a Subscriber, too
    assert poller(world).poll(TENANT, CRM).subscribed == ["renewed deal"]
    assert len(asked) == 1
    assert poller(world).poll(TENANT, BOOKS).subscribed == ()


def test_what_changed_is_queued_even_if_the_provider_refuses_to_tell_of_changes(world: World):
    def subscribe() -> list[str]:
        raise RejectedError("The address does not answer.")

    poller(world).poll(TENANT, CRM)
    world.clock.sleep(60)
    world.deal("new")
    world.crm.subscribe = subscribe  # type: ignore[attr-defined]  # a connector that is a Subscriber, too
    with pytest.raises(RejectedError):
        poller(world).poll(TENANT, CRM)
    assert [one.id for one in world.queue.now if one.kind is Kind.DEAL] == ["new"]
