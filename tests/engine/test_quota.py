"""A day's quota: what waits is held against it, a person is told before it runs out, and live changes go first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.engine.world import BOOKS, CRM, START, TENANT, FakeProvider, World
from tieout.domain.changes import Lane, UnsyncedState
from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError, ThrottledError
from tieout.domain.records import Kind
from tieout.engine.backfill import sync_of
from tieout.engine.preview import Preview
from tieout.engine.quota import Quotas
from tieout.ports.connector import Limit, Window
from tieout.transport.budget import Budget

SYNC = "deals-to-invoices"
DAY = 24 * 3600
MINUTE = Limit("minute", 5, 60)


@dataclass
class Catalogued:
    """A fake provider as the catalogue has it: with the limits of a connection."""

    real: FakeProvider
    limits: tuple[Limit, ...]

    @property
    def manifest(self) -> Any:
        return self.real.manifest

    def limits_of(self, connection: Connection) -> tuple[Limit, ...]:
        if "wrong" in connection.settings:
            raise SettingsError("The settings cannot be used.")
        return self.limits


class Counted:
    """A store that counts which of its methods were asked for."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self._real, name)


class Metered:
    """A world whose books allow so many calls a day, three of which an invoice takes."""

    def __init__(self, calls: int = 100, *, per_seconds: int = DAY) -> None:
        self.world = World()
        kinds = {Kind.CUSTOMER: 3, Kind.ITEM: 2, Kind.INVOICE: 3}
        self.world.books.manifest = replace(self.world.books.manifest, calls_to_write=kinds)
        self.limits = (MINUTE, Limit("day", calls, per_seconds, Window.QUOTA))
        self.providers = {"fake_crm": Catalogued(self.world.crm, (MINUTE,))}
        self.providers["fake_books"] = Catalogued(self.world.books, self.limits)
        self.reads = Counted(self.world.state)
        self.quotas = Quotas(
            config=self.reads,
            links=self.reads,
            budgets=self.reads,
            alerts=self.world.state,
            connect=lambda connection: self.providers[connection.provider].real,
            provider=lambda name: self.providers[name],  # type: ignore[arg-type,return-value]  # what is asked of it
            clock=self.world.clock,
        )

    def spend(self, calls: int, lane: Lane = Lane.LIVE) -> None:
        budget = Budget(self.world.state, TENANT, BOOKS, self.limits[1:], self.world.clock)
        for _ in range(calls):
            budget.spend(["day"], lane)

    def throttle(self) -> None:
        """Every write to the books spends what it takes, and waits if that is not left."""

        def spend(effect: Any) -> ThrottledError | None:
            try:
                self.spend(self.world.books.manifest.calls_to_write[effect.kind])
            except ThrottledError as error:
                return error
            return None

        self.world.books.fault = spend

    def told(self) -> list[Any]:
        return [alert for alert in self.world.state.pending(TENANT) if alert.cause == f"quota-{BOOKS}"]

    def check(self, **queued: int) -> list[Any]:
        return self.quotas.check(TENANT, CRM, {Kind(kind): count for kind, count in queued.items()})


@pytest.fixture
def metered() -> Metered:
    return Metered()


class TestTelling:
    def test_what_fits_is_not_told(self, metered):
        metered.spend(10)
        assert metered.check(deal=30) == []
        assert metered.told() == []

    def test_what_does_not_fit_is_told_before_it_is_written(self, metered):
        metered.spend(11)
        (short,) = metered.check(deal=30)

        assert (short.needed, short.allowance.left, short.windows) == (90, 89, 1)
        (alert,) = metered.told()
        assert alert.subject == "The calls of quickbooks will not suffice for what is to be written"
        assert alert.reason == (
            "the books allows the connection quickbooks 100 calls in 24 hours, and 89 of them are left now. What is to "
            "be written takes about 90. The last of it is written about 2026-11-23 09:00 UTC."
        )
        assert "take a plan at the books that allows more calls" in alert.next_step
        assert alert.command == "tieout status --tenant acme"

    @pytest.mark.parametrize(("seconds", "again"), [(DAY - 1, False), (DAY, True)])
    def test_it_is_told_once_a_window(self, metered, seconds, again):
        metered.check(deal=300)
        metered.world.clock.time = START + timedelta(seconds=seconds)
        assert bool(metered.check(deal=300)) is again

        assert metered.told()[-1].raised_at == (metered.world.clock.time if again else START)

    def test_what_waits_already_counts_too(self, metered):
        for number in range(4):
            metered.world.deal(f"d{number}")
        metered.world.books.fault = lambda effect: (
            ThrottledError("Too many.", retry_after_seconds=900) if effect.kind is Kind.INVOICE else None
        )
        metered.world.apply(*(f"d{number}" for number in range(4)))
        assert len(list(metered.world.state.unsynced(TENANT, UnsyncedState.WAITING))) == 4

        metered.spend(89)
        (short,) = metered.quotas.check(TENANT, BOOKS, {})
        assert (short.needed, short.allowance.left) == (12, 11)

    def test_what_a_step_writes_back_is_counted_on_the_other_side(self, metered):
        metered.providers["fake_crm"].limits = (Limit("day", 10, DAY, Window.QUOTA),)
        (short,) = metered.quotas.check(TENANT, BOOKS, {Kind.INVOICE: 11})
        assert (short.connection, short.needed) == (CRM, 11)

    def test_connections_without_a_quota_and_with_wrong_settings_say_nothing(self, metered):
        metered.providers["fake_books"].limits = (MINUTE,)
        assert metered.check(deal=1_000_000) == []
        connection = metered.world.state.connection(TENANT, BOOKS)
        assert connection is not None
        metered.world.state.put_connection(replace(connection, settings={"wrong": True}))
        assert metered.check(deal=1_000_000) == []
        assert metered.quotas.waiting(TENANT, replace(connection, settings={"wrong": True})) is None

    def test_a_step_that_the_sync_no_longer_has_is_passed_over(self, metered):
        metered.world.deal("d0")
        metered.world.books.fault = lambda _: ThrottledError("Too many.", retry_after_seconds=900)
        metered.world.apply("d0")
        (sync,) = metered.world.state.syncs(TENANT)
        text = sync.text.replace("  items:", "  wares:").replace("link: items", "link: wares")
        metered.world.state.put_sync(replace(sync, version=sync.version + 1, text=text))
        assert "items" in {one.step for one in metered.world.state.unsynced(TENANT, UnsyncedState.WAITING)}

        assert metered.check(deal=30) == []
        connection = metered.world.state.connection(TENANT, BOOKS)
        assert metered.quotas.waiting(TENANT, connection).suffices


class TestWhatItReads:
    """It is asked after each poll, most of which find nothing."""

    def test_nothing_but_the_connections_if_none_has_a_quota(self, metered):
        metered.providers["fake_books"].limits = (MINUTE,)
        metered.check(deal=30)
        assert metered.reads.calls == {"connections": 1}

    def test_each_thing_once(self, metered):
        metered.check(deal=30)
        reads = {"connections": 1, "syncs": 1, "cursor": 1, "unsynced": 1, "read_budget": 1}
        assert metered.reads.calls == reads

    def test_what_waits_is_not_read_once_a_person_was_told(self, metered):
        metered.check(deal=300)
        metered.reads.calls.clear()
        metered.check(deal=300)
        assert metered.reads.calls == {"connections": 1, "syncs": 1, "cursor": 1}


class TestTheDay:
    def test_calls_come_back_as_the_day_goes_on(self, metered):
        metered.spend(100)
        connection = metered.world.state.connection(TENANT, BOOKS)
        used_up = metered.quotas.forecast(connection, 1)
        assert (used_up.allowance.used, used_up.allowance.left, used_up.windows) == (100, 0, 1)
        assert START + timedelta(days=1) <= used_up.allowance.free_at <= START + timedelta(days=1, hours=2)

        metered.world.clock.time = used_up.allowance.free_at
        assert metered.quotas.forecast(connection, 100).suffices

    def test_history_has_four_fifths_and_live_changes_the_rest(self, metered):
        connection = metered.world.state.connection(TENANT, BOOKS)
        metered.spend(80, Lane.BACKFILL)
        with pytest.raises(ThrottledError):
            metered.spend(1, Lane.BACKFILL)

        history, live = (metered.quotas.forecast(connection, 20, lane) for lane in (Lane.BACKFILL, Lane.LIVE))
        assert (history.allowance.left, history.allowance.a_window, history.suffices) == (0, 80, False)
        assert (live.allowance.left, live.allowance.a_window, live.suffices) == (20, 100, True)
        metered.spend(20)

    def test_the_quota_that_is_short_first_is_told(self, metered):
        both = (*metered.limits, Limit("week", 150, 7 * DAY, Window.QUOTA))
        metered.providers["fake_books"].limits = both
        connection = metered.world.state.connection(TENANT, BOOKS)

        assert metered.quotas.forecast(connection, 90).allowance.limit.name == "day"
        assert metered.quotas.forecast(connection, 190).allowance.limit.name == "week"

    @pytest.mark.parametrize(("needed", "windows"), [(0, 0), (100, 0), (101, 1), (200, 1), (201, 2), (1000, 9)])
    def test_how_many_days_it_takes(self, metered, needed, windows):
        connection = metered.world.state.connection(TENANT, BOOKS)
        assert metered.quotas.forecast(connection, needed).windows == windows

    def test_what_was_told_comes_true(self):
        """30 invoices of 3 calls at 30 calls a day, in simulated time: live changes wait, none is lost or doubled."""
        metered = Metered(30)
        ids = [f"d{number}" for number in range(30)]
        for one in ids:
            metered.world.deal(one)
        metered.throttle()
        (short,) = metered.check(deal=30)
        metered.world.apply(*ids)
        written: list[datetime] = []
        for _ in range(1000):
            written += [metered.world.clock.now()] * (len(metered.world.invoices()) - len(written))
            if not metered.world.queue.later:
                break
            due = max(moment for moment, _ in metered.world.queue.later)
            metered.world.clock.time = max(metered.world.clock.time, due)
            changes = [change for _, change in metered.world.queue.later]
            metered.world.queue.later.clear()
            metered.world.new_worker().apply(changes)

        assert metered.world.unsynced() == []
        assert len(metered.world.invoices()) == 30
        told = START + timedelta(seconds=short.seconds)
        # The customer and the item come on top, and a day is counted in twelve parts of two hours.
        assert told <= written[-1] <= told + timedelta(days=1, hours=6)
        for moment in written:
            within = [one for one in written if moment - timedelta(days=1) < one <= moment]
            assert len(within) <= 10


class TestPlans:
    def test_a_plan_says_what_it_takes(self, metered):
        for number in range(40):
            metered.world.deal(f"d{number}")
        preview = Preview(
            config=metered.world.state,
            links=metered.world.state,
            connect=lambda connection: metered.providers[connection.provider].real,
            clock=metered.world.clock,
        )
        report = preview.preview(TENANT, SYNC, progress=lambda *_: None)
        (forecast,) = metered.quotas.of_plan(TENANT, sync_of(metered.world.state, TENANT, SYNC), report.writes)

        assert forecast.needed == 40 * 3 + 3 + 2
        assert forecast.windows == 1

    def test_history_counts_what_has_no_partner_yet(self, metered):
        for number in range(40):
            metered.world.deal(f"d{number}")
        metered.world.apply("d0", "d1")
        metered.spend(30)

        forecast = metered.quotas.of_history(TENANT, SYNC)
        assert (forecast.needed, forecast.allowance.left, forecast.windows) == (38 * 3, 50, 1)
        assert "80 for history" in forecast.said()

    def test_history_without_a_quota_asks_nothing(self, metered):
        metered.providers["fake_books"].limits = (MINUTE,)
        metered.world.crm.calls.clear()

        assert metered.quotas.of_history(TENANT, SYNC) is None
        assert dict(metered.world.crm.calls) == {}
