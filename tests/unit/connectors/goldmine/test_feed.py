"""The change feed, over records in memory: whatever happens between its pages, every change is given out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random

import pytest

from tests.contract.fakes import ManualClock
from tieout.connectors.goldmine import feed
from tieout.connectors.goldmine.feed import KNOWN_MAX, PAGE, Cursor, Feed, Sums, Version, bucket_of
from tieout.domain.errors import UnavailableError
from tieout.domain.records import Kind, Record

ZONE = "Europe/Berlin"
DAY = timedelta(days=1)


class Memory:
    """Implements `feed.Source`. `dated` says whether records have a time of edit; `tracking` what is tracked."""

    def __init__(self, clock: ManualClock, *, dated: bool) -> None:
        self.clock, self.dated = clock, dated
        self.held: dict[str, tuple[str, datetime]] = {}
        self.log: list[str] = []
        self.tracking: Version | None = None
        self.reads = 0

    def put(self, record_id: str, content: str, *, stamp: bool = True) -> None:
        former = self.held.get(record_id)
        edited = self.clock.now() if stamp or former is None else former[1]
        self.held[record_id] = (content, edited)
        self.log.append(record_id)

    def page(self, after: str, limit: int) -> tuple[Sequence[str], str]:
        ids = sorted(one for one in self.held if one > after)[:limit]
        return ids, ids[-1] if len(ids) == limit else ""

    def records(self, ids: Sequence[str]) -> Sequence[Record]:
        self.reads += len(ids)
        return [
            Record(Kind.COMPANY, one, held[0], held[1] if self.dated else None)
            for one in ids
            if (held := self.held.get(one)) is not None
        ]

    def edited(self, since: date, limit: int) -> Sequence[str] | None:
        if not self.dated:
            return None
        return sorted(one for one, (_, when) in self.held.items() if when.date() >= since)[:limit]

    def version(self) -> Version | None:
        return self.tracking and Version(len(self.log), self.tracking.since)

    def tracked(self, since: int, after: str, limit: int) -> tuple[Sequence[str], str]:
        ids = sorted({one for one in self.log[since:] if one > after and one in self.held})[:limit]
        return ids, ids[-1] if len(ids) == limit else ""

    def lost_track(self, since: int) -> bool:
        return False


def feed_of(source: Memory, *, hours: int = 24) -> Feed:
    return Feed(source, source.clock, zone=ZONE, compare_after=timedelta(hours=hours))


def poll(source: Memory, cursor: str | None, *, hours: int = 24) -> tuple[list[Record], str]:
    found: list[Record] = []
    for _ in range(500):
        page = feed_of(source, hours=hours).changes(cursor)
        found += page.records
        cursor = page.cursor
        if not page.more:
            return found, cursor
    raise AssertionError("the feed does not end")


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_every_change_is_given_out_whatever_happens_between_pages(seed, dated):
    """Random histories; some edits are not stamped, which only comparing finds, so the last poll is a day later."""
    random, clock = Random(seed), ManualClock()
    source = Memory(clock, dated=dated)
    for number in range(random.choice((3, 700, 1500))):
        source.put(f"{number:05}", "0")
    seen: dict[str, str] = {}
    cursor: str | None = None
    if random.random() < 0.5:
        cursor = feed_of(source).cursor_now()
        seen = {one: held[0] for one, held in source.held.items()}
    for turn in range(12):
        for _ in range(random.choice((0, 1, 30, 500))):
            source.put(f"{random.randrange(2000):05}", f"{turn}-{random.random()}", stamp=random.random() < 0.7)
        for _ in range(min(len(source.held), random.choice((0, 0, 20)))):
            source.held.pop(random.choice(list(source.held)), None)
        page = feed_of(source).changes(cursor)
        seen |= {record.id: record.version for record in page.records}
        cursor = page.cursor
        clock.advance(random.choice((0, 30, 3600, 90000)))
    clock.advance(86400)
    found, cursor = poll(source, cursor)
    seen |= {record.id: record.version for record in found}
    clock.advance(86400)
    found, cursor = poll(source, cursor)  # what changed after a comparison had passed it
    seen |= {record.id: record.version for record in found}
    assert {one: seen.get(one) for one in source.held} == {one: held[0] for one, held in source.held.items()}
    found, cursor = poll(source, cursor)
    assert len(found) <= KNOWN_MAX, "edits of the last days may come once more, after more of them than are remembered"
    assert poll(source, cursor)[0] == []
    assert len(cursor) < 20_000


def test_what_was_edited_lately_is_given_out_once_and_nothing_else_is_read():
    source = Memory(ManualClock(), dated=True)
    for number in range(5000):
        source.put(f"{number:05}", "0")
    source.clock.advance(10 * 86400)
    cursor = feed_of(source).cursor_now()
    for turn in range(3):
        source.put("00007", f"new {turn}")
        source.reads = 0
        found, cursor = poll(source, cursor)
        assert [record.id for record in found] == ["00007"]
        assert source.reads == 1
        assert poll(source, cursor)[0] == []


def test_an_edit_two_days_before_the_last_look_is_found():
    """A clock that is behind, or a computer that was offline and is synchronised now."""
    source = Memory(ManualClock(), dated=True)
    source.put("a", "0")
    source.clock.advance(30 * 86400)
    cursor = feed_of(source).cursor_now()
    source.held["a"] = ("1", source.clock.now() - 2 * DAY)
    assert [record.id for record in poll(source, cursor)[0]] == ["a"]
    source.held["a"] = ("2", source.clock.now() - 4 * DAY)
    found, cursor = poll(source, cursor)
    assert found == []
    source.clock.advance(86400)
    assert [record.id for record in poll(source, cursor)[0]] == ["a"], "comparing finds it"


def test_after_a_long_silence_everything_edited_since_is_found():
    source = Memory(ManualClock(), dated=True)
    for number in range(50):
        source.put(f"{number:05}", "0")
    cursor = feed_of(source, hours=720).cursor_now()
    source.clock.advance(86400)
    source.put("00003", "1")
    source.clock.advance(13 * 86400)
    assert [record.id for record in poll(source, cursor, hours=720)[0]] == ["00003"]


def test_more_edits_than_a_cursor_remembers_are_found_by_comparing_and_not_again():
    source = Memory(ManualClock(), dated=True)
    count = KNOWN_MAX * 3
    for number in range(count):
        source.put(f"{number:05}", "0")
    source.clock.advance(10 * 86400)
    cursor = feed_of(source).cursor_now()
    for number in range(count):
        source.put(f"{number:05}", "1")
    found, cursor = poll(source, cursor)
    assert {record.id for record in found} == set(source.held)
    assert poll(source, cursor)[0] == []
    source.put("00500", "2")
    found, _ = poll(source, cursor)
    assert "00500" in {record.id for record in found}
    assert len(found) < 10


def test_a_call_ends_after_a_page_or_some_seconds_and_is_gone_on_with():
    source = Memory(ManualClock(), dated=False)
    for number in range(3 * PAGE):
        source.put(f"{number:05}", "0")
    first = feed_of(source).changes(None)
    assert (len(first.records), first.more) == (PAGE, True)

    class Slow(Memory):
        def records(self, ids: Sequence[str]) -> Sequence[Record]:
            self.clock.advance(11)
            return super().records(ids)

    slow = Slow(source.clock, dated=False)
    slow.held = source.held
    cursor = feed_of(slow).cursor_now()
    assert json.loads(cursor)["walk"]["step"] == "first"
    rest, _ = poll(slow, cursor)
    assert len(rest) == 2 * PAGE, "what there was no time to look at comes, though it did not change"


def test_tracked_changes_are_read_alone_and_a_gap_is_compared():
    source = Memory(ManualClock(), dated=False)
    source.tracking = Version(0, 0)
    for number in range(3000):
        source.put(f"{number:05}", "0")
    cursor = feed_of(source).cursor_now()
    for number in range(PAGE + 10):
        source.put(f"{number:05}", "1")
    source.reads = 0
    found, cursor = poll(source, cursor)
    assert len(found) == source.reads == PAGE + 10
    assert poll(source, cursor)[0] == []
    source.put("02999", "1")
    source.tracking = Version(0, len(source.log) + 1)
    found, cursor = poll(source, cursor)
    assert "02999" in {record.id for record in found}
    source.tracking = Version(0, 0)
    assert poll(source, cursor)[0] == []


def test_sums_know_two_records_that_swap_their_contents():
    one, two = (next(str(n) for n in range(10**6) if bucket_of(str(n)) == 5 and n > start) for start in (-1, 5000))
    before = Sums().plus([Record(Kind.DEAL, one, "a"), Record(Kind.DEAL, two, "b")])
    after = Sums().plus([Record(Kind.DEAL, one, "b"), Record(Kind.DEAL, two, "a")])
    assert bucket_of(one) == bucket_of(two)
    assert after.differs(before, one)
    assert Sums().plus([Record(Kind.DEAL, two, "b"), Record(Kind.DEAL, one, "a")]).raw == before.raw


def test_a_cursor_is_stored_and_read_as_it_was():
    moment = datetime(2026, 1, 5, tzinfo=UTC).isoformat()
    sums = Sums().plus([Record(Kind.DEAL, "a", "1")])
    cursor = Cursor(moment, moment, sums, {b"123456": b"abcdef"}, 7, feed.Walk("emit", "x", sums, 8))
    again = Cursor.of(cursor.text)
    assert again.text == cursor.text
    assert again.known == {b"123456": b"abcdef"}
    assert again.walk is not None
    assert (again.walk.step, again.walk.after, again.walk.version) == ("emit", "x", 8)
    broken = json.loads(cursor.text) | {"sums": "eJwDAAAAAAE="}
    with pytest.raises(UnavailableError):
        Cursor.of(json.dumps(broken))
