"""The ends of a change: applied, unchanged, skipped, parked or waiting. There is no sixth."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from tieout.domain.changes import Alert, Change, Origin, Unsynced, UnsyncedState
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.effects import Operation
from tieout.domain.errors import (
    ClaimedError,
    MappingError,
    ProviderError,
    RejectedError,
    ThrottledError,
    TieoutError,
    UnavailableError,
)
from tieout.domain.links import LinkKey
from tieout.domain.plans import ALREADY_SO
from tieout.domain.records import Kind
from tieout.domain.reviews import Review
from tieout.engine.collect import coalesce, further_right
from tieout.engine.plan import Work
from tieout.engine.policy import RetryPolicy
from tieout.ports.clock import Clock
from tieout.ports.state import LinkStore

CAUSE_LENGTH_MAX = 80
DIFFERENCE = "difference"
HALF_WAY = "half-way"
CAP = "cap-"
TOLD_AFTER_ATTEMPTS = 3


@dataclass(slots=True)
class ApplyReport:
    """What became of the changes, counted by record and step; customers and items that were needed are included."""

    created: int = 0
    updated: int = 0
    adopted: int = 0
    unchanged: int = 0
    skipped: int = 0
    parked: int = 0
    waiting: int = 0
    paused: list[str] = field(default_factory=list)
    oldest_unsynced_seconds: int = 0
    skipped_because: Counter[str] = field(default_factory=Counter)


class Connections(Protocol):
    """What is needed of `ConfigStore` to pause a connection."""

    def connection(self, tenant: str, connection: str) -> Connection | None:
        """One connection; strongly consistent."""

    def put_connection(self, connection: Connection) -> None:
        """Store or replace a connection."""


class AlertSink(Protocol):
    """What is needed of `AlertStore` to tell somebody."""

    def put(self, alerts: Sequence[Alert]) -> None:
        """Store them durably."""


class RetryQueue(Protocol):
    """What is needed of `ChangeQueue` to let a change wait."""

    def send_later(self, changes: Sequence[Change], *, delay_seconds: int) -> None:
        """Queue for another try."""


class Ends:
    """Brings work to its end, durably: state first, then the count.

    Attributes:
        passed: Works that needed no write since `begin`, and why.
    """

    def __init__(
        self,
        *,
        config: Connections,
        links: LinkStore,
        alerts: AlertSink,
        queue: RetryQueue,
        clock: Clock,
        policy: RetryPolicy,
    ) -> None:
        self._config, self._links, self._alerts, self._queue = config, links, alerts, queue
        self._clock, self._policy = clock, policy
        # One for all: changes that wait for the same go on travelling together, and are read and written in batches.
        self._jitter = clock.jitter()
        self._retries: dict[tuple[str, str, Kind, str, str], tuple[int, Change]] = {}
        self.passed: dict[LinkKey, tuple[Work, str]] = {}
        self._ended: dict[LinkKey, tuple[UnsyncedState, TieoutError | None, str]] = {}
        self.report = ApplyReport()

    def written(self, work: Work, operation: Operation) -> None:
        """The effect was settled by us."""
        work.ended = True
        self.recovered(operation)

    def recovered(self, operation: Operation) -> None:
        """A write whose answer was lost was found done; the work itself goes on."""
        if operation is Operation.CREATE:
            self.report.created += 1
        else:
            self.report.updated += 1

    def adopted(self, work: Work) -> None:
        """A record that stood on the other side already was linked."""
        work.ended = True
        self.report.adopted += 1

    def unchanged(self, work: Work) -> None:
        """Both sides agree; a difference in totals stays parked until somebody looks at it."""
        work.ended = True
        self.report.unchanged += 1
        self.passed[work.key] = work, ALREADY_SO
        if work.link.unsynced is not None and not work.link.unsynced.cause.startswith(DIFFERENCE):
            self._hinders_no_more(work)

    def skipped(self, work: Work, reason: str) -> None:
        """The sync does not want this record; a document left half-way stays told until a person has seen to it."""
        work.ended = True
        self.report.skipped += 1
        self.report.skipped_because[reason] += 1
        self.passed[work.key] = work, reason
        former = work.link.unsynced
        asked = work.change.origin in (Origin.OPERATOR, Origin.APPROVED)
        if asked or former is None or not former.cause.startswith(HALF_WAY):
            self._hinders_no_more(work)

    def echoed(self, change: Change) -> None:  # noqa: ARG002 - which one does not matter, as in `unwanted`
        """It says nothing new: both sides agree."""
        self.report.unchanged += 1

    def again(self, work: Work) -> None:
        """Another write of it follows: it comes back at once, and what a plan asked for is done."""
        self._retry(replace(work.change, origin=further_right(work.change.origin, Origin.TARGET), plan=""), None, 0)

    def left_out(self, work: Work) -> None:
        """The plan that asked for it does not say to write this; whatever else is known of the record stays."""
        work.ended = True
        self.report.skipped += 1
        self.report.skipped_because["not as planned"] += 1
        former = work.link.unsynced
        if former is not None and (former.state, former.change.plan) == (UnsyncedState.WAITING, work.change.plan):
            self._hinders_no_more(work)

    def unwanted(self, changes: Iterable[Change], reason: str) -> None:
        """No step wants these changes."""
        for _ in changes:
            self.report.skipped += 1
            self.report.skipped_because[reason] += 1

    def parked(self, work: Work, error: TieoutError, *, cause: str = "", review: Review | None = None) -> None:
        """A person has to decide. The alert stands before the state, so that it cannot be lost between the two.

        With a `review` they can do so by an answer; another question is told anew.
        """
        work.ended = True
        self.report.parked += 1
        cause = cause or cause_of(error)
        self._ended[work.key] = (UnsyncedState.PARKED, error, cause)
        former = work.link.unsynced
        told = former is not None and former.state in (UnsyncedState.PARKED, UnsyncedState.DISMISSED)
        if former is not None and told and (former.cause, former.reason) == (cause, error.message):
            same = former.review is None if review is None else former.review == review
            if same:
                again = replace(self._unsynced(work, former.state, error, cause), review=review)
                if again != former:  # it is newer: who read the record before that does not call it settled
                    self._links.set_unsynced(work.key, again, instead_of=former)
                return
        unsynced = replace(self._unsynced(work, UnsyncedState.PARKED, error, cause), review=review)
        alert = Alert(
            tenant=work.key.tenant,
            cause=cause,
            subject=f"{work.step.to_kind.value.replace('_', ' ').capitalize()} not synced",
            reason=error.message,
            next_step=error.next_step,
            command=_command(work.key, cause, review),
            raised_at=self._clock.now(),
            unsynced=unsynced,
        )
        self._alerts.put([alert])
        self._links.set_unsynced(work.key, unsynced)

    def waits(self, work: Work, error: TieoutError, *, at_least: int = 0) -> None:
        """It may work later: it goes to the retry queue, and the table says why it waits.

        A record that is only needed is queued when that is noted, and not with each try of what needs it, which tries
        it too: what is queued would grow with every try.
        """
        work.ended = True
        self.report.waiting += 1
        cause = cause_of(error)
        self._ended[work.key] = (UnsyncedState.WAITING, error, cause)
        unsynced = work.link.unsynced
        if unsynced is not None and (unsynced.state, unsynced.cause) != (UnsyncedState.WAITING, cause):
            unsynced = None
        if unsynced is None or not work.needed or unsynced.change.plan != work.change.plan:
            self._retry(work.change, error, at_least)
        if isinstance(error, ClaimedError) and work.change.attempts < TOLD_AFTER_ATTEMPTS:
            return  # two workers met; writing that down would cost more than it tells
        if unsynced is None:
            unsynced = self._unsynced(work, UnsyncedState.WAITING, error, cause)
            self._links.set_unsynced(work.key, unsynced)
        self._tell_of_waiting(work.change, error, unsynced)

    def _tell_of_waiting(self, change: Change, error: TieoutError, unsynced: Unsynced | None) -> None:
        if change.attempts + 1 != self._policy.alert_after_attempts:
            return
        alert = Alert(
            tenant=change.tenant,
            cause=cause_of(error),
            subject="Changes have been waiting for a while",
            reason=error.message,
            next_step=error.next_step or "Nothing is lost, and Tieout keeps trying.",
            command=f"tieout status --tenant {change.tenant}",
            raised_at=self._clock.now(),
            unsynced=unsynced,
        )
        self._alerts.put([alert])

    def put_off(self, changes: Iterable[Change], error: TieoutError | None = None) -> None:
        """Changes that could not even be read, or that this worker has no time for."""
        for change in changes:
            self.report.waiting += 1
            self._retry(change, error, 0)
            if error is not None:
                self._tell_of_waiting(change, error, None)

    def out_of_time(self, work: Work) -> None:
        """This worker has no time left to write it: it goes back to the queue, and so does what needs it."""
        if work.change.attempts >= TOLD_AFTER_ATTEMPTS:
            self.waits(work, UnavailableError("The other side answers so slowly that there was no time to write it."))
            return
        work.ended = True
        self._ended[work.key] = (UnsyncedState.WAITING, None, "")
        self.report.waiting += 1
        self._retry(replace(work.change, attempts=work.change.attempts + 1), None, 0)

    def follows(self, work: Work, key: LinkKey) -> None:
        """The work ends as the one that it needs did."""
        state, error, cause = self._ended[key]
        if error is None:
            self.out_of_time(work)
        elif state is UnsyncedState.PARKED:
            self.parked(work, error, cause=cause)
        else:
            self.waits(work, error)

    def concluded(self, work: Work) -> None:
        """Another link says what became of it, such as that of the credit note for its invoice."""
        work.ended = True
        self._hinders_no_more(work)

    def _hinders_no_more(self, work: Work) -> None:
        if work.link.unsynced is not None:
            self._links.set_unsynced(work.key, None, instead_of=work.link.unsynced)

    def look_at(self, change: Change) -> None:
        """Another record has to be looked at because of this run; queued by `flush`."""
        self._retry(change, None, 0)

    def begin(self) -> None:
        """Other changes follow, which may be about the same records: what became of the former says nothing of them."""
        self._ended.clear()
        self.passed.clear()

    def ended(self, key: LinkKey) -> bool:
        """True if this run parked it or let it wait."""
        return key in self._ended

    def paused(self, connection: Connection, error: TieoutError) -> None:
        """Only a person can make the connection work again."""
        if connection.address not in self.report.paused:
            self.report.paused.append(connection.address)
            pause(self._config, self._alerts, self._clock, connection, error)

    def flush(self) -> None:
        """Send what waits to the retry queue; only now may the changes be acknowledged."""
        later: dict[int, list[Change]] = defaultdict(list)
        for delay, change in self._retries.values():
            later[delay].append(change)
        for delay, changes in sorted(later.items()):
            self._queue.send_later(changes, delay_seconds=delay)
        self._retries.clear()

    def _retry(self, change: Change, error: TieoutError | None, at_least: int) -> None:
        if isinstance(error, ThrottledError):
            at_least = max(at_least, error.retry_after_seconds)
        delay = 0
        if error is not None:
            delay = self._policy.delay_seconds(change.attempts, self._jitter, at_least)
            change = replace(change, attempts=change.attempts + 1)
        name = (change.tenant, change.connection, change.kind, change.id, change.plan)
        if (former := self._retries.get(name)) is not None:
            # Several steps or syncs let it wait: one try serves them all, or each try would double what is queued.
            delay, change = min(delay, former[0]), coalesce([former[1], change])[0]
        self._retries[name] = (delay, change)
        self._age(change.seen_at)

    def _unsynced(self, work: Work, state: UnsyncedState, error: TieoutError, cause: str) -> Unsynced:
        former, record = work.link.unsynced, work.record
        self._age(work.change.seen_at)
        return Unsynced(
            sync=work.key.sync,
            step=work.key.step,
            change=work.change,
            state=state,
            label=work.step.label(record) if record is not None else work.key.source_id,
            amount=work.step.amount(record) if record is not None else None,
            currency=work.step.currency(record) if record is not None else "",
            cause=cause,
            reason=error.message,
            next_step=error.next_step,
            field=error.path if isinstance(error, MappingError) else getattr(error, "field", ""),
            value=error.value if isinstance(error, MappingError) else None,
            code=error.rule if isinstance(error, MappingError) else getattr(error, "code", ""),
            since=former.since if former is not None else self._clock.now(),
        )

    def _age(self, seen_at: datetime) -> None:
        age = round((self._clock.now() - seen_at).total_seconds())
        self.report.oldest_unsynced_seconds = max(self.report.oldest_unsynced_seconds, age)


def _command(key: LinkKey, cause: str, review: Review | None) -> str:
    """What goes on once the cause is gone, or the question is answered."""
    if review is not None:
        return f"tieout review list --tenant {key.tenant}"
    approve = " --approve" if cause.startswith(CAP) else ""
    return f"tieout parked retry --tenant {key.tenant} --cause {cause}{approve}"


def pause(config: Connections, alerts: AlertSink, clock: Clock, connection: Connection, error: TieoutError) -> None:
    """Pause the connection and tell a person, unless it is paused already."""
    current = config.connection(connection.tenant, connection.id)
    if current is None or current.state is ConnectionState.PAUSED:
        return
    now = clock.now()
    alerts.put(
        [
            Alert(
                tenant=connection.tenant,
                cause=f"paused-{connection.id}",
                subject=f"The connection {connection.id} needs you",
                reason=error.message,
                next_step=error.next_step,
                command=f"tieout connect {connection.id} --tenant {connection.tenant}",
                raised_at=now,
            )
        ]
    )
    config.put_connection(replace(current, state=ConnectionState.PAUSED, paused_because=error.message, paused_at=now))


def waited(work: Work, error: TieoutError) -> int:
    """How often in a row the work waited because of this."""
    former = work.link.unsynced
    if former is None or (former.state, former.cause) != (UnsyncedState.WAITING, cause_of(error)):
        return 0
    return max(1, work.change.attempts - former.change.attempts)


def cause_of(error: TieoutError) -> str:
    """A short name that is equal for equal causes, fit for a command line."""
    match error:
        case MappingError():
            parts = [error.rule.rsplit(".", 1)[-1], error.value or "empty"]
        case RejectedError():
            parts = ["refused", error.code, error.field]
        case ProviderError():
            parts = [type(error).__name__.removesuffix("Error"), error.code]
        case _:
            parts = [type(error).__name__.removesuffix("Error")]
    words = re.sub(r"[^a-z0-9]+", "-", " ".join(part for part in parts if part).casefold())
    return words.strip("-")[:CAUSE_LENGTH_MAX]
