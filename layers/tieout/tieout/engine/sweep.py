"""Sweeping: compare ids with what the links know, where a provider does not show what was deleted.

A record vanished if two sweeps in a row did not see it, as one absence may be a matter of rights. If more than the sync
allows vanished at once, or nothing at all is left, a brake holds all of it back until a person approves: a change of
rights or an outage looks just like that.

What is remembered between sweeps stands under cursors of the connection: `swept` and `swept-KIND` (when), `sweep-KIND`
(what was missing), `brake-KIND` (what is held back), `compare-KIND` (sweeps left to compare a kind whose feed had a
gap), `feed-KIND` (from where on to look for voids); of documents written there, `target-KIND` in place of KIND.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from tieout.domain.changes import Alert, Change, Lane, Origin, Unsynced, UnsyncedState
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.errors import ClaimedError, ProviderError, ReconnectError, SettingsError, UnavailableError
from tieout.domain.links import Link, Withdrawal
from tieout.domain.records import Kind
from tieout.domain.words import counted
from tieout.engine.collect import Connect, compiled, connection_read, connection_written, kinds_heard
from tieout.engine.ends import AlertSink, pause
from tieout.engine.plan import is_voided
from tieout.mapping import CREDIT_NOTE, CompiledStep, CompiledSync
from tieout.ports.clock import Clock
from tieout.ports.connector import Connector
from tieout.ports.queue import ChangeQueue
from tieout.ports.state import ConfigStore, LinkStore

PAGES_MAX = 1000
LEFT_BEHIND_SECONDS = 3600  # most of what waits is done by then; asking once more for the rest costs a read
MISSING_MAX = 5000  # the next sweep's memory is one item of the table; what is beyond it waits for the sweep after
COMPARISONS_AFTER_GAP = "2"
NOTES_TRIED_MAX = 5
SWEPT = "swept"
NAMED_MAX = 5


type _Linked = tuple[CompiledSync, CompiledStep, list[Link]]


@dataclass(slots=True)
class SweepReport:
    """What a sweep did.

    Attributes:
        queued: How many records were queued, by kind.
        braked: Kinds of which too many vanished at once; nothing of them was queued.
        left: Kinds that there was no time for; the next sweep begins with them.
        paused: True if the connection is paused.
    """

    queued: dict[Kind, int] = field(default_factory=dict)
    braked: list[Kind] = field(default_factory=list)
    left: list[Kind] = field(default_factory=list)
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """What a brake holds back: ids of records of one kind that a connection does not show any more."""

    connection: str
    kind: Kind
    ids: Sequence[str]
    written: bool


@dataclass(frozen=True, slots=True)
class _Side:
    """The records of one kind that the links expect at a connection: those read there, or the documents written there.

    Attributes:
        expected: By sync and step, the links by the id that the connection should show.
    """

    kind: Kind
    written: bool
    expected: Sequence[tuple[CompiledSync, CompiledStep, dict[str, Link]]]

    @property
    def name(self) -> str:
        return _name(self.kind, written=self.written)

    @property
    def ids(self) -> set[str]:
        return {one for _, _, links in self.expected for one in links}


class Watch:
    """What polling and sweeping have in common: what they ask and know, and where what they find goes."""

    def __init__(
        self,
        *,
        config: ConfigStore,
        links: LinkStore,
        alerts: AlertSink,
        queue: ChangeQueue,
        connect: Connect,
        clock: Clock,
    ) -> None:
        self._config, self._links, self._alerts, self._queue = config, links, alerts, queue
        self._connect, self._clock = connect, clock

    def _syncs(self, tenant: str) -> list[CompiledSync]:
        return [compiled(stored) for stored in self._config.syncs(tenant)]

    def _heard(self, tenant: str, connection_id: str) -> list[Kind]:
        """Kinds of the connection's records that concern a sync, without repeats."""
        heard = (kind for sync in self._syncs(tenant) for kind in kinds_heard(sync, connection_id))
        return list(dict.fromkeys(heard))

    def _send(self, tenant: str, connection_id: str, kind: Kind, ids: Iterable[str], origin: Origin) -> None:
        now = self._clock.now()
        changes = [Change(tenant, connection_id, kind, one, now, origin, Lane.LIVE) for one in ids]
        if changes:
            self._queue.send(changes)


class Sweep(Watch):
    """Compares one connection with its links; asks again for what dead workers left behind."""

    def sweep(self, tenant: str, connection_id: str, *, out_of_time: Callable[[], bool] = lambda: False) -> SweepReport:
        """What was queued: records that vanished, and those that a dead worker left behind.

        Kinds take turns: the one swept longest ago comes first. A kind that fails does not keep the others from theirs.

        Raises:
            ProviderError: The first failure, after the other kinds had their turn; it comes again with the next sweep.
        """
        report = SweepReport()
        connection = self._config.connection(tenant, connection_id)
        if connection is None or connection.state is ConnectionState.PAUSED:
            return report
        self._config.put_cursor(tenant, connection_id, SWEPT, self._clock.now().isoformat())
        failed: ProviderError | None = None
        try:
            connector = self._connect(connection)
            for kind in sorted(self._kinds(connection), key=lambda kind: self._cursor(connection, f"swept-{kind}")):
                if out_of_time():
                    report.left.append(kind)
                    continue
                try:
                    self._sweep_kind(connection, connector, kind, report, out_of_time)
                except ReconnectError:
                    raise
                except ProviderError as error:
                    failed = failed or error
        except (ReconnectError, SettingsError) as error:
            pause(self._config, self._alerts, self._clock, connection, error)
            report.paused = True
        if failed is not None:
            raise failed
        return report

    def held(self, tenant: str) -> list[Held]:
        """What brakes hold back, for a person to approve."""
        found = []
        for connection in self._config.connections(tenant):
            for kind in self._kinds(connection):
                for written in (False, True):
                    brake = json.loads(self._cursor(connection, f"brake-{_name(kind, written=written)}") or "{}")
                    if brake:
                        found.append(Held(connection.id, kind, brake["ids"], written))
        return found

    def approve(self, tenant: str, connection_id: str) -> int:
        """How many records were queued that a brake held back: a person says that they are gone indeed.

        Raises:
            SettingsError: If there is no such connection, or nothing of it is held back.
        """
        connection = self._config.connection(tenant, connection_id)
        held = [one for one in self.held(tenant) if one.connection == connection_id]
        if connection is None or not held:
            raise SettingsError(
                f"No brake holds anything of the connection {connection_id}.", next_step="See `tieout sweep list`."
            )
        count = 0
        for one in held:
            linked = self._linked(connection, one.kind, written=one.written)
            side = _side(linked, one.kind, written=one.written)
            expected = sorted(side.ids & set(one.ids))
            self._release(connection, side, expected, Origin.APPROVED)
            count += len(expected)
            memory = self._memory(connection, side)
            self._remember(connection, side, memory["new"] | set(one.ids), memory["queued"] | set(one.ids))
            self._put(connection, f"brake-{side.name}", {})
        return count

    # One kind

    def _sweep_kind(
        self,
        connection: Connection,
        connector: Connector,
        kind: Kind,
        report: SweepReport,
        out_of_time: Callable[[], bool],
    ) -> None:
        read = self._linked(connection, kind, written=False)
        left = sorted(self._left_behind(link for _, _, links in read for link in links))
        self._send(connection.tenant, connection.id, kind, left, Origin.SWEEP)
        report.queued[kind] = len(left)
        gap = self._cursor(connection, f"compare-{kind}")
        written = self._linked(connection, kind, written=True)
        sides = [_side(read, kind, written=False), _side(written, kind, written=True)]
        visible = kind in connector.manifest.deletions_visible and gap in ("", "0")
        heard = kind in self._heard(connection.tenant, connection.id)
        if kind is Kind.INVOICE and not heard and sides[1].ids:
            self._follow(connection, connector, sides[1], report, out_of_time)
        told = visible and heard  # polls are told of each deletion
        sides = [side for side in sides if side.ids and not told]
        if sides:
            seen = self._seen(connector, kind, out_of_time)
            if seen is None:  # what was not seen may only not have been reached
                report.left.append(kind)
                return
            for side in sides:
                self._compare(connection, connector, side, seen, report)
        if gap not in ("", "0"):
            self._config.put_cursor(connection.tenant, connection.id, f"compare-{kind}", str(int(gap) - 1))
        self._config.put_cursor(connection.tenant, connection.id, f"swept-{kind}", self._clock.now().isoformat())

    def _follow(
        self,
        connection: Connection,
        connector: Connector,
        side: _Side,
        report: SweepReport,
        out_of_time: Callable[[], bool],
    ) -> None:
        """Voids of documents that no step reads back: ids do not show them, so the feed is asked for them."""
        name = f"feed-{side.name}"
        cursor = self._cursor(connection, name)
        if not cursor:
            self._config.put_cursor(connection.tenant, connection.id, name, connector.cursor_now(side.kind))
            return
        for _ in range(PAGES_MAX):
            page = connector.changes(side.kind, cursor)
            voided = (record.id for record in page.records if is_voided(record))
            taken_out = sorted(side.ids & {*voided, *page.gone})
            self._release(connection, side, taken_out, Origin.SWEEP)
            report.queued[side.kind] += len(taken_out)
            self._config.put_cursor(connection.tenant, connection.id, name, page.cursor)
            cursor = page.cursor
            if not page.more or out_of_time():
                return

    def _left_behind(self, links: Iterable[Link]) -> set[str]:
        now = self._clock.now()
        long_ago = now - timedelta(seconds=LEFT_BEHIND_SECONDS)
        left = set()
        for link in links:
            if link.unsynced is None or link.unsynced.state is UnsyncedState.WAITING:
                waits = link.unsynced is not None and link.unsynced.since <= long_ago
                if waits or (link.intent is not None and link.intent.held_until <= now):
                    left.add(link.key.source_id)
        return left

    def _seen(self, connector: Connector, kind: Kind, out_of_time: Callable[[], bool]) -> set[str] | None:
        """All ids that are visible now; None if the end was not reached."""
        seen: set[str] = set()
        after: str | None = None
        for _ in range(PAGES_MAX):
            ids, after = connector.ids(kind, after)
            seen.update(ids)
            if after is None:
                return seen
            if out_of_time():
                return None
        return None

    def _compare(
        self, connection: Connection, connector: Connector, side: _Side, seen: set[str], report: SweepReport
    ) -> None:
        missing = side.ids - seen
        former = self._memory(connection, side)
        queued = former["queued"] & missing
        vanished = sorted((missing & former["new"]) - queued)
        brake = f"brake-{side.name}"
        held = json.loads(self._cursor(connection, brake) or "{}")
        if vanished and self._is_too_much(side, set(vanished), seen):
            report.braked.append(side.kind)
            if len(vanished) > held.get("told", 0):
                self._alerts.put([self._alert(connection, connector, side, vanished)])
            self._put(connection, brake, {"ids": vanished[:MISSING_MAX], "told": len(vanished)})
        else:
            self._release(connection, side, vanished, Origin.SWEEP)
            report.queued[side.kind] += len(vanished)
            queued |= set(vanished)
            if held:
                self._put(connection, brake, {})
        self._remember(connection, side, missing, queued)

    def _is_too_much(self, side: _Side, vanished: set[str], seen: set[str]) -> bool:
        for sync, _, links in side.expected:
            caps = sync.document.caps
            allowed = min(caps.withdrawals, -(-len(links) * caps.withdrawals_percent // 100))
            lost = len(vanished & links.keys())
            if lost > allowed or (lost and not seen):
                return True
        return False

    def _release(self, connection: Connection, side: _Side, ids: Sequence[str], origin: Origin) -> None:
        """Queue what vanished. A document that was written is noted first; then the record that it was made of is."""
        if not side.written:
            self._send(connection.tenant, connection.id, side.kind, ids, origin)
            return
        for sync, step, links in side.expected:
            gone = [links[one] for one in ids if one in links]
            for link in gone:
                read, made_of = connection_read(sync, step), link.key.source_id
                change = Change(connection.tenant, read, step.from_kind, made_of, self._clock.now(), origin)
                self._note_gone(link, change)
            makers = [link.key.source_id for link in gone]
            self._send(connection.tenant, connection_read(sync, step), step.from_kind, makers, origin)

    def _note_gone(self, link: Link, change: Change) -> None:
        """Note that the link's document is gone, unless it has another one by now.

        Before that it is noted to wait: should we die before its record is queued, a later sweep asks for it again.

        Raises:
            UnavailableError: If workers store the link all the time; nothing of it was queued.
        """
        for _ in range(NOTES_TRIED_MAX):
            if link.withdrawn is not None:
                return
            if link.unsynced is None and not link.key.step.endswith(CREDIT_NOTE):
                self._links.set_unsynced(link.key, _waiting(link, change))
            try:
                self._links.store(replace(link, withdrawn=Withdrawal.TARGET_GONE))
            except ClaimedError:
                today = self._links.get([link.key]).get(link.key, link)
                if today.target_id != link.target_id:
                    return
                link = today
            else:
                return
        raise UnavailableError(f"The link of {_named(link)} is being written all the time.")

    def _alert(self, connection: Connection, connector: Connector, side: _Side, vanished: Sequence[str]) -> Alert:
        title, gone = connector.manifest.title, set(vanished)
        links = {one: link for _, _, some in side.expected for one, link in some.items() if one in gone}
        named = ", ".join(_named(link) for link in list(links.values())[:NAMED_MAX])
        noun = side.kind.replace("_", " ")
        return Alert(
            tenant=connection.tenant,
            cause=f"brake-{connection.id}-{side.name}",
            subject=f"{counted(len(vanished), noun)} of {connection.id} vanished at once",
            reason=f"{title} no longer shows {counted(len(vanished), noun)} of the {len(side.ids):,} that are linked, "
            f"among them {named}. A change of our user's rights or an outage looks like that too.",
            next_step=f"See in {title} whether they were deleted. If they are there, let our user see them: nothing "
            "else is to be done. If they were deleted, approve it with the command below.",
            command=f"tieout sweep approve {connection.id} --tenant {connection.tenant}",
            raised_at=self._clock.now(),
        )

    # What is expected

    def _linked(self, connection: Connection, kind: Kind, *, written: bool) -> list[_Linked]:
        """The links of each step that reads the kind from this connection, or writes documents of it there."""
        place = connection_written if written else connection_read
        return [
            (sync, step, list(self._links.all(connection.tenant, sync.name, step.name)))
            for sync in self._syncs(connection.tenant)
            for step in sync.linked_steps
            if place(sync, step) == connection.id
            and (step.to_kind if written else step.from_kind) == kind
            and not (written and step.pairs is not None)
        ]

    def _kinds(self, connection: Connection) -> list[Kind]:
        """Kinds that are read from the connection, or written to it as documents."""
        written = [
            step.to_kind
            for sync in self._syncs(connection.tenant)
            for step in sync.steps
            if connection_written(sync, step) == connection.id and step.pairs is None
        ]
        return list(dict.fromkeys([*self._heard(connection.tenant, connection.id), *written]))

    # Memory

    def _memory(self, connection: Connection, side: _Side) -> dict[str, set[str]]:
        stored = json.loads(self._cursor(connection, f"sweep-{side.name}") or "{}")
        if isinstance(stored, list):  # of an earlier release
            stored = {"new": stored}
        return {name: set(stored.get(name, ())) for name in ("new", "queued")}

    def _remember(self, connection: Connection, side: _Side, missing: set[str], queued: set[str]) -> None:
        kept = sorted(missing)[:MISSING_MAX]
        by_state: dict[str, list[str]] = defaultdict(list)
        for one in kept:
            by_state["queued" if one in queued else "new"].append(one)
        self._put(connection, f"sweep-{side.name}", by_state)

    def _cursor(self, connection: Connection, name: str) -> str:
        return self._config.cursor(connection.tenant, connection.id, name) or ""

    def _put(self, connection: Connection, name: str, value: object) -> None:
        self._config.put_cursor(connection.tenant, connection.id, name, json.dumps(value))


def _side(linked: Sequence[_Linked], kind: Kind, *, written: bool) -> _Side:
    """What the links expect to be there; not what nobody would miss, nor what is known to stand no more."""
    expected = []
    for sync, step, links in linked:
        if not written and (step.on_delete == "keep" or step.name.endswith(CREDIT_NOTE)):
            continue
        standing = (link for link in links if link.target_id is not None and link.withdrawn is None)
        if written:  # a mapping may write a document as voided
            standing = (link for link in standing if (link.base or {}).get("status") != "voided")
        by_id = {(link.target_id or "") if written else link.key.source_id: link for link in standing}
        if by_id:
            expected.append((sync, step, by_id))
    return _Side(kind, written, expected)


def _name(kind: Kind, *, written: bool) -> str:
    return f"target-{kind}" if written else str(kind)


def _waiting(link: Link, change: Change) -> Unsynced:
    return Unsynced(
        sync=link.key.sync,
        step=link.key.step,
        change=change,
        state=UnsyncedState.WAITING,
        label=_named(link),
        cause=f"target-gone-{link.key.step}",
        reason="Its document was voided or deleted on the other side, and it is looked at again.",
        since=change.seen_at,
    )


def _named(link: Link) -> str:
    base = link.base or {}
    return str(base.get("number") or base.get("name") or link.key.source_id)
