"""The audit trail: each change is in it once, in order, and replaying it gives today's links."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from tests.engine.trail import MemoryArchive, MemoryTips, ToldLinks, archived_roughly, broken_trail, noticed
from tests.engine.world import START, TENANT, World
from tests.unit.adapters.samples import intent, key, settled, unsynced
from tieout.domain.audit import Damage, Entry, Thing, Tip, What
from tieout.domain.changes import UnsyncedState
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.errors import TieoutError, UnavailableError
from tieout.domain.links import IntentState, Link, LinkKey, Withdrawal
from tieout.domain.records import Kind
from tieout.engine import archive, audit
from tieout.engine.archive import ArchiveAudit, entry_of, happened, link_of, name_of, state_of
from tieout.engine.audit import Audit, Replay, Verdict, replayed
from tieout.ports.audit import Noticed, PlanItem
from tieout.ports.state import Run, StoredSync

SILENT: Any = lambda _name, _count: None  # noqa: E731 - a watch that tells nobody


class Archived:
    """An archive, what archives there, and a world whose links tell of their changes."""

    def __init__(self) -> None:
        self.archive, self.tips = MemoryArchive(), MemoryTips()
        self.consumer = ArchiveAudit(self.archive, self.tips)

    def entries(self, tenant: str = TENANT) -> list[Entry]:
        trail = audit.Trail(self.archive, self.tips, tenant)
        found = list(trail.read(SILENT))
        return [one[1] for one in found if isinstance(one, tuple)]


@pytest.fixture
def archived() -> Archived:
    return Archived()


def changes(count: int, *, tenant: str = TENANT, source: str = "d") -> list[Noticed]:
    """Links that are stored, each once."""
    made = []
    for number in range(count):
        link = replace(settled(Link(key(f"{source}{number}", tenant=tenant))), revision=1)
        made.append(noticed(None, link, event=f"{tenant}-{source}-{number}"))
    return made


# What an entry says


LINK = Link(key())
INTENT = intent("w1")
OPEN = replace(LINK, revision=1, intent=INTENT)
DONE = replace(settled(OPEN), revision=2)
UNKNOWN = replace(INTENT, state=IntentState.UNKNOWN)
LOST = replace(OPEN, revision=2, intent=UNKNOWN)
PARKED = replace(LINK, unsynced=unsynced())


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (None, OPEN, What.INTENT_OPENED),
        (DONE, replace(DONE, intent=intent()), What.INTENT_OPENED),
        (OPEN, LOST, What.OUTCOME_UNKNOWN),
        (LOST, replace(LOST, intent=replace(UNKNOWN, looks=1)), What.LOOKED_UP),
        (LOST, replace(LOST, intent=replace(UNKNOWN, worker="w2")), What.TAKEN_OVER),
        (LOST, replace(LOST, intent=replace(UNKNOWN, held_until=START)), What.CHANGED),
        (OPEN, DONE, What.CREATED),
        (LOST, DONE, What.CREATED),
        (replace(DONE, intent=intent()), replace(DONE, revision=4, payload_hash="1" * 64), What.UPDATED),
        (replace(DONE, intent=intent()), replace(DONE, revision=4, settled_at=START + timedelta(1)), What.UPDATED),
        (
            replace(DONE, intent=intent()),
            replace(DONE, payload_hash="1" * 64, withdrawn=Withdrawal.LEFT),
            What.WITHDRAWN,
        ),
        (DONE, replace(DONE, withdrawn=Withdrawal.TARGET_GONE), What.WITHDRAWN),
        (OPEN, replace(LINK, revision=2), What.RELEASED),
        (None, PARKED, What.PARKED),
        (DONE, replace(DONE, unsynced=unsynced(state=UnsyncedState.WAITING)), What.WAITS),
        (PARKED, replace(LINK, unsynced=unsynced(state=UnsyncedState.DISMISSED)), What.DISMISSED),
        (replace(OPEN, intent=replace(INTENT, adopts="same name")), DONE, What.LINKED),
        (DONE, replace(DONE, target_id="77", follows=True), What.LINKED),
        (DONE, LINK, What.DECIDED),
        (PARKED, LINK, What.CLEARED),
        (DONE, replace(DONE, never=("7",)), What.CHANGED),
        (DONE, None, What.REMOVED),
    ],
)
def test_what_happened_to_a_link(before, after, what):
    assert happened(before, after) is what


ACTIVE = Connection("acme", "act", "act")
PAUSED = replace(ACTIVE, state=ConnectionState.PAUSED, paused_because="No.")
PLANNED_RUN = PlanItem("acme", "plan-1", {"state": "planned"})
RUN = Run("acme", "s", "backfill-1", START, {"page": 1})


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (None, ACTIVE, What.CONNECTED),
        (ACTIVE, PAUSED, What.PAUSED),
        (PAUSED, ACTIVE, What.RESUMED),
        (ACTIVE, replace(ACTIVE, poll="rate(1 hour)"), What.CHANGED),
        (None, StoredSync("acme", "s", 1, "text", START), What.APPLIED),
        (StoredSync("acme", "s", 1, "text", START), StoredSync("acme", "s", 2, "text", START), What.APPLIED),
        (None, RUN, What.BEGAN),
        (RUN, replace(RUN, checkpoint={"page": 2}), What.WENT_ON),
        (RUN, replace(RUN, finished_at=START), What.FINISHED),
        (None, PLANNED_RUN, What.STORED),
        (PLANNED_RUN, replace(PLANNED_RUN, values={"state": "approved"}), What.APPROVED),
        (PLANNED_RUN, replace(PLANNED_RUN, values={"state": "applying"}), What.BEGAN),
        (PLANNED_RUN, replace(PLANNED_RUN, values={"state": "applied"}), What.FINISHED),
        (PLANNED_RUN, replace(PLANNED_RUN, values={"state": "undone"}), What.UNDONE),
        (PLANNED_RUN, replace(PLANNED_RUN, values={"state": "planned", "ends": "{}"}), What.CHANGED),
        (PLANNED_RUN, None, What.REMOVED),
    ],
)
def test_what_happened_to_the_rest(before, after, what):
    entry = entry_of(noticed(before, after, event="e"))
    assert (entry.what, entry.tenant) == (what, "acme")
    assert entry.former() == (None if before is None else state_of(before))


def test_an_entry_says_who_which_and_from_what_to_what():
    entry = entry_of(noticed(OPEN, DONE, event="e7", at=START))
    assert (entry.thing, entry.what, entry.worker) == (Thing.LINK, What.CREATED, "w1")
    assert entry.name == f"{DONE.key.sync}/{DONE.key.step}/{DONE.key.source_id}"
    assert (entry.event, entry.at) == ("e7", START)
    assert entry.changes()["target_id"] == (None, "1042")
    assert entry.changes()["revision"] == (1, 2)
    assert set(entry.before) == set(entry.changes())
    assert "sync_version" not in entry.before, "what stayed is not told twice"
    assert "key" not in entry.before
    assert link_of(entry.after) == DONE
    assert link_of(entry.former()) == OPEN


def test_who_took_a_write_over_is_its_worker():
    taken = replace(LOST, intent=replace(UNKNOWN, worker="w2"))
    assert entry_of(noticed(LOST, taken, event="e")).worker == "w2"
    assert entry_of(noticed(PARKED, LINK, event="e")).worker == ""


def test_a_change_of_nothing_is_a_bug():
    with pytest.raises(ValueError, match="nothing"):
        entry_of(Noticed("acme", "e", START, None, None))


@pytest.mark.parametrize("link", [LINK, OPEN, DONE, LOST, PARKED, replace(DONE, never=("1", "2"), sync_version=3)])
def test_a_links_state_is_all_of_it(link):
    assert link_of(state_of(link)) == link


# Archiving


def test_each_batch_is_one_object_and_the_tip_is_remembered(archived):
    assert archived.consumer.archive(TENANT, changes(3)) == 3
    assert archived.consumer.archive(TENANT, changes(2, source="e")) == 2
    assert list(archived.archive.objects_of[TENANT]) == [1, 4]
    entries = archived.entries()
    assert [one.seq for one in entries] == [1, 2, 3, 4, 5]
    assert archived.tips.tip(TENANT) == Tip(5, entries[-1].hash)
    assert archived.archive.puts == 2


def test_nothing_costs_nothing(archived):
    assert archived.consumer.archive(TENANT, []) == 0
    assert archived.archive.puts == 0


def test_what_is_told_again_is_archived_once(archived):
    some = changes(4)
    archived.consumer.archive(TENANT, some[:2])
    assert archived.consumer.archive(TENANT, [*some, some[3]]) == 2
    assert ArchiveAudit(archived.archive, archived.tips).archive(TENANT, some) == 0
    assert [one.event for one in archived.entries()] == [one.event for one in some]


def test_nothing_new_is_not_remembered_again(archived):
    archived.consumer.archive(TENANT, changes(2))
    archived.tips.crashes = 1
    assert ArchiveAudit(archived.archive, archived.tips).archive(TENANT, changes(2)) == 0
    assert archived.tips.crashes == 1, "nothing was written"


def test_what_is_told_again_among_what_is_new_is_found_where_it_was_written_then(archived):
    old, new = changes(1), [replace(one, at=START + timedelta(hours=1)) for one in changes(1, source="e")]
    archived.consumer.archive(TENANT, old)
    assert ArchiveAudit(archived.archive, archived.tips).archive(TENANT, [*old, *new]) == 1


def test_clocks_may_be_a_minute_apart(archived):
    some = changes(1)
    archived.archive.now = lambda: some[0].at - archive.CLOCKS_APART
    archived.consumer.archive(TENANT, some)
    assert ArchiveAudit(archived.archive, archived.tips).archive(TENANT, some) == 0


def test_only_the_newest_objects_are_looked_at(archived, monkeypatch):
    monkeypatch.setattr(archive, "LOOK_BACK_OBJECTS", 2)
    for source in "abc":
        archived.consumer.archive(TENANT, changes(1, source=source))
    archived.archive.reads.clear()
    again = ArchiveAudit(archived.archive, archived.tips)
    assert again.archive(TENANT, [*changes(1, source="c"), *changes(1, source="b")]) == 0
    assert sorted(archived.archive.reads) == [2, 3]


def test_only_so_many_entries_are_looked_back(archived, monkeypatch):
    monkeypatch.setattr(archive, "LOOK_BACK_ENTRIES", 2)
    for source in "abcd":
        archived.consumer.archive(TENANT, changes(1, source=source))
    archived.archive.reads.clear()
    ArchiveAudit(archived.archive, archived.tips).archive(TENANT, changes(1, source="d"))
    assert sorted(archived.archive.reads) == [3, 4]


def test_objects_that_were_written_before_a_change_are_not_read_for_it(archived):
    archived.consumer.archive(TENANT, changes(2))
    later = [replace(one, at=START + timedelta(minutes=5)) for one in changes(2, source="e")]
    archived.archive.reads.clear()
    ArchiveAudit(archived.archive, archived.tips).archive(TENANT, later)
    assert archived.archive.reads == []


def test_a_tip_that_is_behind_is_walked_forward_from(archived):
    archived.consumer.archive(TENANT, changes(2))
    behind = archived.tips.tips[TENANT]
    for source in "ef":
        archived.consumer.archive(TENANT, changes(2, source=source))
    archived.tips.tips[TENANT] = behind
    ArchiveAudit(archived.archive, archived.tips).archive(TENANT, changes(1, source="g"))
    assert [one.seq for one in archived.entries()] == [1, 2, 3, 4, 5, 6, 7]
    assert archived.tips.tips[TENANT].seq == 7


def test_a_worker_that_dies_between_archiving_and_remembering_loses_and_doubles_nothing(archived):
    archived.tips.crashes = 1
    with pytest.raises(ConnectionError):
        archived.consumer.archive(TENANT, changes(2))
    assert archived.tips.tip(TENANT) is None
    assert ArchiveAudit(archived.archive, archived.tips).archive(TENANT, changes(2)) == 0
    assert archived.tips.tip(TENANT).seq == 2
    assert len(archived.entries()) == 2


def test_who_loses_the_race_for_a_place_reads_once_and_goes_on_after_it(archived):
    rival, left = ArchiveAudit(archived.archive, archived.tips), [2]

    def first() -> None:
        if left[0]:
            left[0] -= 1
            archived.archive.before_put, former = (lambda: None), archived.archive.before_put
            rival.archive(TENANT, changes(2, source=f"r{left[0]}"))
            archived.archive.before_put = former

    archived.archive.before_put = first
    assert archived.consumer.archive(TENANT, changes(3)) == 3
    assert [one.seq for one in archived.entries()] == list(range(1, 8))
    assert archived.archive.reads[:2] == [1, 3]
    assert archived.archive.puts == 5


def test_a_write_whose_answer_was_lost_and_that_is_refused_when_repeated_stands_once(archived):
    put = archived.archive.put

    def answer_lost(tenant: str, first: int, body: bytes) -> bool:
        put(tenant, first, body)
        return put(tenant, first, body)  # as the client repeats it by itself

    archived.archive.put = answer_lost
    assert archived.consumer.archive(TENANT, changes(2)) == 0
    assert [one.seq for one in archived.entries()] == [1, 2]
    assert archived.tips.tips[TENANT].seq == 2


def test_races_are_lost_a_bounded_number_of_times(archived):
    rival = ArchiveAudit(archived.archive, archived.tips)
    numbers = iter(range(10_000))

    def first() -> None:
        archived.archive.before_put = lambda: None
        rival.archive(TENANT, changes(1, source=f"r{next(numbers)}-"))
        archived.archive.before_put = first

    archived.archive.before_put = first
    with pytest.raises(UnavailableError):
        archived.consumer.archive(TENANT, changes(1))
    assert next(numbers) == archive.RACES_MAX


def test_tenants_have_chains_of_their_own(archived):
    archived.consumer.archive("acme", changes(2, tenant="acme"))
    archived.consumer.archive("other", changes(3, tenant="other"))
    assert [one.tenant for one in archived.entries("acme")] == ["acme"] * 2
    assert [one.tenant for one in archived.entries("other")] == ["other"] * 3


def test_a_damaged_object_before_the_tip_does_not_stop_the_trail(archived):
    archived.consumer.archive(TENANT, changes(2))
    archived.archive.replace(TENANT, 1, lambda _: b"gone\n{}\n[]\n")
    assert ArchiveAudit(archived.archive, archived.tips).archive(TENANT, changes(1, source="e")) == 1
    assert archived.tips.tips[TENANT].seq == 3


def test_nothing_is_added_after_a_damaged_object_that_the_table_does_not_know(archived):
    archived.consumer.archive(TENANT, changes(2))
    archived.tips.tips.clear()
    archived.archive.replace(TENANT, 1, lambda body: b"1043".join(body.rsplit(b"1042", 1)))
    with pytest.raises(TieoutError) as caught:
        ArchiveAudit(archived.archive, archived.tips).archive(TENANT, changes(1, source="e"))
    assert f"`tieout audit verify --tenant {TENANT}`" in caught.value.next_step
    assert "begins with entry 1 is damaged" in caught.value.detail


def test_only_so_many_objects_are_remembered(archived, monkeypatch):
    monkeypatch.setattr(archive, "REMEMBERED_OBJECTS", 2)
    for source in "abc":
        archived.consumer.archive(TENANT, changes(1, source=source))
    assert list(archived.consumer._remembered) == [(TENANT, 2), (TENANT, 3)]


# Replaying


def test_what_stands_twice_in_the_trail_changes_nothing(archived):
    opened, done = noticed(None, OPEN, event="1"), noticed(OPEN, DONE, event="2")
    archived.consumer.archive("acme", [opened, done])
    archived.archive.now = lambda: START - timedelta(days=1)  # so long ago that nobody looks there
    archived.archive.replace("acme", 1, lambda body: body)
    body, _ = archived.archive.objects_of["acme"][1]
    archived.archive.objects_of["acme"][1] = (body, START - timedelta(days=1))
    assert ArchiveAudit(archived.archive, archived.tips).archive("acme", [opened]) == 1
    entries, replay = archived.entries("acme"), Replay()
    for one in entries:
        replay.take(one)
    assert (replay.count, replay.repeated, replay.gaps) == (3, 1, [])
    assert replay.links() == {DONE.key: DONE}


def test_a_change_that_no_entry_tells_is_found_by_the_next_one():
    changed = replace(DONE, revision=3, target_version="1")
    told = [noticed(None, OPEN, event="1"), noticed(changed, None, event="3")]
    replay = Replay()
    for one in told:
        replay.take(entry_of(one))
    assert [one.what for one in replay.gaps] == [What.REMOVED]


def test_a_link_that_is_older_than_the_trail_needs_no_beginning():
    old = replace(DONE, settled_at=START - timedelta(days=2))
    other = noticed(None, replace(OPEN, key=key("d9")), event="0", at=START - timedelta(days=1))
    young = replace(DONE, settled_at=START)
    for link, gaps in ((old, 0), (young, 1)):
        replay = Replay()
        for one in (other, noticed(link, replace(link, revision=3, never=("1",)), event="1")):
            replay.take(entry_of(one))
        assert len(replay.gaps) == gaps
        assert replay.links()[link.key].revision == 3


def test_what_is_no_link_at_all_is_a_gap_and_ends_nothing():
    told = entry_of(noticed(OPEN, DONE, event="1"))
    replay = Replay()
    replay.take(replace(told, before={"key": "d1"}, after={"key": None}))
    assert [one.name for one in replay.gaps] == [told.name]


def test_a_link_that_was_changed_just_when_the_trail_began_may_be_older():
    replay = Replay()
    replay.take(entry_of(noticed(None, replace(OPEN, key=key("d9")), event="0", at=START)))
    assert replay.is_older(replace(DONE, settled_at=START))
    assert not replay.is_older(replace(DONE, settled_at=START + timedelta(microseconds=1)))
    assert replay.is_older(Link(key()))
    assert not Replay().is_older(Link(key())), "there is no trail"


def test_a_trail_ends_with_what_happened_last_wherever_it_stands():
    replay = Replay()
    for number, hours in enumerate((0, 2, 1)):
        at = START + timedelta(hours=hours)
        replay.take(entry_of(noticed(None, replace(OPEN, key=key(f"d{number}")), event=str(number), at=at)))
    assert (replay.began_at, replay.ended_at) == (START, START + timedelta(hours=2))


# I7: the engine at work, and a trail of all it does


class Watched(Archived):
    """The engine's world with a trail that is fed by all that its links tell."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.links = ToldLinks(now=self.world.clock.now)
        self.world.state.links = self.links
        self.archive.now = self.world.clock.now

    def work(self) -> None:
        """Documents are created, updated, parked, lost and found."""
        for name, amount in (("d1", "1054"), ("d2", "77.10"), ("d3", "5")):
            self.world.deal(name, amount)
        self.world.deal("d4", product="unknown")
        self.world.apply("d1", "d2", "d3", "d4")
        self.world.deal("d1", "2000")
        self.world.books.fault = lambda _: "lost"
        self.world.apply("d1")
        self.world.books.fault = lambda _: None
        self.world.clock.time += timedelta(minutes=10)
        self.world.settle_down()

    def feed(self, told: list[Noticed] | None = None, each: int = 3) -> None:
        some = self.links.told if told is None else told
        for begin in range(0, len(some), each):
            self.consumer.archive(TENANT, some[begin : begin + each])

    def broken(self) -> list[str]:
        return list(broken_trail(self.links, self.archive, self.tips))


@pytest.fixture
def watched() -> Watched:
    made = Watched()
    made.work()
    return made


def test_replaying_the_trail_gives_todays_links(watched):
    watched.feed()
    assert watched.broken() == []
    assert replayed(watched.entries()) == watched.links
    said = {one.what for one in watched.entries()}
    assert {What.INTENT_OPENED, What.CREATED, What.PARKED, What.OUTCOME_UNKNOWN} <= said


def test_what_stood_in_the_books_already_is_linked_and_not_created(watched):
    world = watched.world
    world.company("c9", "Umbrella Ltd")
    world.books.put(Kind.CUSTOMER, "77", name="Umbrella Ltd")
    world.deal("d9", company="c9")
    world.apply("d9")
    world.settle_down()
    watched.feed()
    told = [one for one in watched.entries() if one.name == "deals-to-invoices/customers/c9"]
    assert [one.what for one in told][-2:] == [What.INTENT_OPENED, What.LINKED]
    assert told[-1].after["target_id"] == "77"


def test_each_settled_write_has_an_intent_before_it(watched):
    watched.feed()
    opened: set[str] = set()
    settled_writes = 0
    for one in watched.entries():
        if one.what is What.INTENT_OPENED:
            opened.add(one.name)
        if one.what in {What.CREATED, What.UPDATED}:
            settled_writes += 1
            assert one.name in opened
            opened.discard(one.name)
    assert settled_writes >= 5


@pytest.mark.parametrize("seed", range(50))
def test_repeats_races_and_deaths_change_nothing(watched, seed):
    told = watched.links.told
    archived, tips = archived_roughly(told, Random(seed))
    assert list(broken_trail(watched.links, archived, tips)) == []
    trail = audit.Trail(archived, tips, TENANT)
    assert sorted(one[1].event for one in trail.read(SILENT)) == sorted(one.event for one in told)


def test_races_are_lost_in_the_test_above(watched):
    made = [archived_roughly(watched.links.told, Random(seed))[0] for seed in range(50)]
    assert sum(one.puts - len(one.objects_of[TENANT]) for one in made) >= 10


def without_told(watched: Watched, what: What) -> list[Noticed]:
    """All but the last change of this kind."""
    wanted = [one for one in watched.links.told if happened(one.before, one.after) is what][-1]
    return [one for one in watched.links.told if one is not wanted]


def exchanged(watched: Watched) -> list[Noticed]:
    """The last two changes of a link, the other way round."""
    told = watched.links.told
    last = max(number for number, one in enumerate(told) if happened(one.before, one.after) is What.CREATED)
    first = max(n for n, one in enumerate(told[:last]) if one.after.key == told[last].after.key)
    swapped = list(told)
    swapped[first], swapped[last] = told[last], told[first]
    return swapped


PLANTED = {
    "a write is not told": lambda watched: without_told(watched, What.CREATED),
    "an intent is not told": lambda watched: without_told(watched, What.INTENT_OPENED),
    "a parked record is not told": lambda watched: without_told(watched, What.PARKED),
    "two changes of a link change places": exchanged,
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_caught(watched, bug):
    watched.feed(PLANTED[bug](watched))
    assert watched.broken() != []


def test_a_write_past_the_stream_is_caught(watched):
    watched.feed()
    name, link = next((name, link) for name, link in watched.links.items() if link.target_id is not None)
    dict.__setitem__(watched.links, name, replace(link, target_id="9999"))
    assert len(watched.broken()) == 1


# Verifying


class Office(Watched):
    """What an auditor asks."""

    def __init__(self) -> None:
        super().__init__()
        self.links.told.clear()

    def audit(self) -> Audit:
        return Audit(
            archive=self.archive,
            tips=self.tips,
            config=self.world.state,
            links=self.world.state,
            clock=self.world.clock,
        )

    def verify(self) -> Verdict:
        return self.audit().verify(TENANT, SILENT)

    def later(self) -> None:
        self.world.clock.time += timedelta(hours=1)


@pytest.fixture
def office() -> Office:
    made = Office()
    made.work()
    made.feed()
    return made


def test_a_whole_trail_is_clean(office):
    verdict = office.verify()
    assert verdict.clean
    assert (verdict.alike, verdict.newer, verdict.older) == (len(office.links), 0, 0)
    assert (verdict.entries, verdict.tip.seq) == (len(office.links.told), len(office.links.told))
    assert verdict.objects == len(office.archive.objects_of[TENANT])
    assert verdict.began_at < verdict.ended_at
    assert office.world.clock.slept == 0


def test_nothing_at_all_is_clean():
    verdict = Office().verify()
    assert verdict.clean
    assert (verdict.entries, verdict.objects, verdict.began_at) == (0, 0, None)


def test_damage_is_told_with_its_place_and_nothing_is_compared(office):
    office.archive.replace(TENANT, 4, lambda body: body.replace(b'"worker":', b'"Worker":', 1))
    verdict = office.verify()
    assert not verdict.clean
    assert (verdict.flaw.first, verdict.flaw.line, verdict.flaw.seq) == (4, 1, 4)
    assert (verdict.entries, verdict.tip.seq) == (3, 3)
    assert verdict.differing == []


def test_an_object_in_the_middle_that_is_gone(office):
    del office.archive.objects_of[TENANT][4]
    flaw = office.verify().flaw
    assert (flaw.damage, flaw.seq, flaw.first) == (Damage.MISSING, 4, None)


def test_newest_objects_that_are_gone_are_missed(office):
    first = max(office.archive.objects_of[TENANT])
    del office.archive.objects_of[TENANT][first]
    flaw = office.verify().flaw
    assert (flaw.damage, flaw.seq, flaw.first) == (Damage.MISSING, first, None)
    assert "the table remembers" in flaw.reason


def test_a_trail_that_is_gone_altogether_is_missed(office):
    office.archive.objects_of.clear()
    assert office.verify().flaw.seq == 1


def test_a_chain_that_was_written_anew_is_not_the_one_that_the_table_remembers(office):
    forged = [replace(one, at=one.at + timedelta(days=1)) for one in office.links.told]
    office.archive.objects_of.clear()
    ArchiveAudit(office.archive, MemoryTips()).archive(TENANT, forged)
    flaw = office.verify().flaw
    assert (flaw.damage, flaw.seq, flaw.line) == (Damage.REPLACED, len(forged), len(forged))
    assert list(office.audit().trail(TENANT).read(SILENT))[-1] == flaw


def test_a_trail_that_lags_is_waited_for(office):
    office.world.deal("d7")
    office.world.apply("d7")
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        office.world.clock.time += timedelta(seconds=seconds)
        if len(slept) == 2:
            office.feed()

    office.world.clock.sleep = sleep
    verdict = office.verify()
    assert verdict.clean
    assert (verdict.alike, verdict.newer) == (len(office.links), 0)
    assert slept == [5, 5]


def test_a_change_that_the_trail_does_not_tell_of_yet_is_newer(office):
    office.world.deal("d7")
    office.world.apply("d7")
    verdict = office.verify()
    assert verdict.clean
    assert verdict.newer == 1
    assert verdict.alike == len(office.links) - 1
    assert office.world.clock.slept == audit.LOOKS * audit.LOOK_SECONDS


@pytest.mark.parametrize(("too_long", "newer"), [(timedelta(), 1), (timedelta(microseconds=1), 0)])
def test_a_trail_may_lag_a_quarter_of_an_hour(office, too_long, newer):
    office.world.deal("d7")
    office.world.apply("d7")
    looking = timedelta(seconds=audit.LOOKS * audit.LOOK_SECONDS)
    office.world.clock.time += audit.LAG_MAX - looking + too_long
    verdict = office.verify()
    assert (verdict.newer, verdict.clean) == (newer, newer == 1)


def test_a_change_that_the_trail_does_not_tell_of_for_long_differs(office):
    office.world.deal("d7")
    office.world.apply("d7")
    office.later()
    verdict = office.verify()
    assert not verdict.clean
    [difference] = verdict.differing
    assert difference.name == "deals-to-invoices/invoices/d7"
    assert difference.reason == "It is in the table, and no entry tells of it."


def first_invoice(office: Office) -> LinkKey:
    return next(name for name, link in office.links.items() if link.target_id is not None and name.step == "invoices")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"target_id": "999"}, "The table has something else than the trail: target_id."),
        ({"revision": 1}, "the table was set back."),
    ],
)
def test_a_table_that_was_changed_by_hand_differs(office, change, reason):
    name = first_invoice(office)
    dict.__setitem__(office.links, name, replace(office.links[name], **change))
    office.later()
    [difference] = office.verify().differing
    assert difference.reason.endswith(reason)


def test_a_link_that_is_gone_from_the_table_differs(office):
    name = first_invoice(office)
    dict.__delitem__(office.links, name)
    [difference] = office.verify().differing
    assert (difference.name, difference.reason) == (
        f"deals-to-invoices/invoices/{name.source_id}",
        "It is in the trail, and not in the table.",
    )


def test_gaps_are_told():
    office = Office()
    office.work()
    lost = [one for one in office.links.told if happened(one.before, one.after) is What.INTENT_OPENED][-1]
    office.feed([one for one in office.links.told if one is not lost])
    verdict = office.verify()
    assert not verdict.clean
    assert [one.name for one in verdict.gaps] == [name_of(lost.after.key)]


def test_links_that_are_older_than_the_trail_are_counted(office):
    name = key("old", tenant=TENANT, step="invoices")
    name = replace(name, sync="deals-to-invoices")
    dict.__setitem__(office.links, name, replace(settled(Link(name)), settled_at=START - timedelta(days=9)))
    verdict = office.verify()
    assert verdict.clean
    assert (verdict.older, verdict.alike) == (1, len(office.links) - 1)


def test_a_link_without_any_trail_is_not_clean_after_a_while():
    office = Office()
    office.world.deal("d1")
    office.world.apply("d1")
    assert office.verify().newer == len(office.links)
    office.later()
    assert len(office.verify().differing) == len(office.links)
