from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.dynamodb.models import DynamoDBBackend

from tests.aws import START, TABLE
from tests.unit.adapters.samples import INVOICE, STEP, SYNC, TENANT, intent, key, settled, unsynced
from tieout.adapters.aws import Clients
from tieout.adapters.dynamodb.links import TAKES_MAX, DynamoLinks, _item_key, _pointer_key
from tieout.adapters.dynamodb.table import Table
from tieout.domain.changes import UnsyncedState
from tieout.domain.effects import Operation
from tieout.domain.errors import ClaimedError
from tieout.domain.links import IntentState, Link, LinkKey, Turns, Withdrawal
from tieout.domain.packing import time_text
from tieout.domain.reviews import Candidate, Choice, Decision, FieldConflict, Review, ReviewKind, Side

WRITES = ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems")


@pytest.fixture
def links(table: Table) -> DynamoLinks:
    return DynamoLinks(table)


@pytest.fixture
def calls(clients: Clients) -> list[str]:
    """Names of the operations that are sent."""
    names: list[str] = []

    def note(model: Any, **_: Any) -> None:
        names.append(model.name)

    clients.dynamodb.meta.events.register("before-call.dynamodb.*", note)
    return names


def size(attribute: Any) -> int:
    """Bytes that DynamoDB counts for a value. Source: DynamoDB Developer Guide, "Item sizes", read 2026-11-22."""
    ((kind, value),) = attribute.items()
    match kind:
        case "S":
            return len(value.encode())
        case "N":
            return len(value) // 2 + 2
        case "M":
            return 3 + sum(len(name) + size(one) + 1 for name, one in value.items())
    raise AssertionError(kind)


def items(clients: Clients) -> Iterator[dict[str, Any]]:
    for item in clients.dynamodb.scan(TableName=TABLE)["Items"]:
        yield dict(item)


def item_size(item: dict[str, Any]) -> int:
    return sum(len(name.encode()) + size(value) for name, value in item.items())


def claimed(links: DynamoLinks, source_id: str = "d-1", worker: str = "w1") -> Link:
    return links.claim(Link(key(source_id)), intent(worker))


def test_links_never_stored_are_left_out(links):
    assert links.get([key("d-1"), key("d-2")]) == {}
    assert links.get([]) == {}


def test_a_claim_is_read_back_equal_and_raises_the_revision(links):
    link = claimed(links)
    assert link.revision == 1
    assert links.get([key("d-1")]) == {key("d-1"): link}


def test_an_intent_with_a_target_is_read_back_equal(links):
    open_intent = intent(target_id="1042", looks=3, state=IntentState.UNKNOWN)
    link = links.claim(Link(key()), open_intent)
    assert links.get([key()])[key()].intent == open_intent == link.intent


def test_a_settled_link_is_read_back_equal_without_intent(links):
    link = links.settle(settled(claimed(links)), worker="w1", pointer=False)
    stored = links.get([key("d-1")])[key("d-1")]
    assert stored == link
    assert (stored.revision, stored.intent, stored.base) == (2, None, INVOICE)


def test_a_claim_keeps_what_was_settled(links):
    link = links.settle(settled(claimed(links)), worker="w1", pointer=False)
    again = links.claim(link, intent("w2"))
    stored = links.get([key("d-1")])[key("d-1")]
    assert stored == again
    assert stored.target_id == "1042"
    assert stored.base == INVOICE


def test_an_empty_field_is_stored_as_empty(links):
    link = links.settle(settled(claimed(links)), worker="w1", pointer=False)
    link = links.claim(link, intent("w2"))
    links.settle(
        replace(link, target_id=None, base=None, settled_at=None, target_version=""), worker="w2", pointer=False
    )
    stored = links.get([key("d-1")])[key("d-1")]
    assert (stored.target_id, stored.base, stored.settled_at, stored.target_version) == (None, None, None, "")


def test_a_second_first_claim_is_refused(links):
    claimed(links)
    with pytest.raises(ClaimedError):
        claimed(links, worker="w2")


def test_a_claim_of_an_old_revision_is_refused(links):
    old = claimed(links)
    links.release(old, worker="w1")
    with pytest.raises(ClaimedError):
        links.claim(old, intent("w2"))


def test_a_claim_of_a_link_that_is_gone_is_refused(links):
    with pytest.raises(ClaimedError):
        links.claim(Link(key(), revision=4), intent())


def test_of_workers_that_claim_at_once_one_wins(links, monkeypatch):
    # DynamoDB's write to one item is atomic; moto's is, if it has one writer at a time.
    lock, update_item = threading.Lock(), DynamoDBBackend.update_item

    def atomic(*args: Any, **options: Any) -> Any:
        with lock:
            return update_item(*args, **options)

    monkeypatch.setattr(DynamoDBBackend, "update_item", atomic)
    start = threading.Barrier(8)
    ends: list[str] = []

    def work(number: int) -> None:
        start.wait()
        try:
            links.claim(Link(key()), intent(f"w{number}"))
        except ClaimedError:
            ends.append("refused")
        else:
            ends.append(f"w{number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    winners = [end for end in ends if end != "refused"]
    assert len(ends) == 8
    assert len(winners) == 1
    stored = links.get([key()])[key()]
    assert stored.intent is not None
    assert stored.intent.worker == winners[0]


@pytest.mark.parametrize("end", ["settle", "release", "keep_intent"])
def test_who_was_overtaken_cannot_end_the_write(links, end):
    mine = claimed(links)
    links.claim(mine, intent("w2"))
    with pytest.raises(ClaimedError):
        {
            "settle": lambda: links.settle(settled(mine), worker="w1", pointer=False),
            "release": lambda: links.release(mine, worker="w1"),
            "keep_intent": lambda: links.keep_intent(mine, intent("w1", looks=1)),
        }[end]()
    stored = links.get([key("d-1")])[key("d-1")]
    assert stored.intent is not None
    assert stored.intent.worker == "w2"


@pytest.mark.parametrize("end", ["settle", "release"])
def test_who_does_not_hold_the_intent_cannot_end_the_write(links, end):
    link = claimed(links)
    ends = {
        "settle": lambda: links.settle(settled(link), worker="w2", pointer=False),
        "release": lambda: links.release(link, worker="w2"),
    }
    with pytest.raises(ClaimedError):
        ends[end]()


def test_an_intent_is_kept_and_taken_over(links):
    link = claimed(links)
    kept = links.keep_intent(link, intent("w1", state=IntentState.UNKNOWN, looks=1))
    taken = links.keep_intent(kept, intent("w2", state=IntentState.UNKNOWN, looks=1))
    assert links.get([key("d-1")])[key("d-1")] == taken
    with pytest.raises(ClaimedError):
        links.settle(settled(kept), worker="w1", pointer=False)


def test_a_released_link_has_no_intent_and_can_be_claimed(links):
    free = links.release(claimed(links), worker="w1")
    assert links.get([key("d-1")])[key("d-1")] == free
    assert links.claim(free, intent("w2")).revision == 3


@pytest.mark.parametrize("write", ["claim", "settle", "release", "keep_intent", "store"])
def test_a_write_whose_answer_was_lost_and_that_botocore_repeats_counts_as_done(links, clients, write):
    link = Link(key()) if write == "claim" else links.claim(Link(key()), intent("w1"))

    repeats = iter([0, None])  # once at once, then no more: what botocore does when no answer came
    clients.dynamodb.meta.events.register_first("needs-retry.dynamodb.UpdateItem", lambda **_: next(repeats, None))
    match write:
        case "claim":
            done = links.claim(link, intent("w1"))
        case "settle":
            done = links.settle(settled(link), worker="w1", pointer=False)
        case "release":
            done = links.release(link, worker="w1")
        case "store":
            done = links.store(replace(link, never=("7",), shown={"lines": [{"amount": "1.50"}]}))
        case _:
            done = links.keep_intent(link, intent("w1", looks=1))
    assert next(repeats, "asked twice") == "asked twice"
    assert links.get([key()])[key()] == done


def test_two_records_with_one_reference_are_refused(links, monkeypatch):
    claimed(links, "d-1")
    monkeypatch.setattr(LinkKey, "reference", property(lambda _: "aaaaaaaaaaaa"))
    links.claim(Link(key("d-2")), intent())
    with pytest.raises(RuntimeError, match="two source records"):
        links.get([key("d-3")])
    with pytest.raises(RuntimeError, match="two source records"):
        links.claim(Link(key("d-3")), intent())
    with pytest.raises(RuntimeError, match="two source records"):
        links.set_unsynced(key("d-3"), unsynced("d-3"))
    assert links.get([key("d-2")])[key("d-2")].revision == 1


def test_what_hinders_a_record_is_stored_before_any_claim(links):
    links.set_unsynced(key("d-1"), unsynced("d-1"))
    stored = links.get([key("d-1")])[key("d-1")]
    assert stored == Link(key("d-1"), unsynced=unsynced("d-1"))
    again = links.claim(stored, intent("w1"))
    assert links.get([key("d-1")])[key("d-1")] == again
    assert again.unsynced == unsynced("d-1")


def test_what_hinders_a_record_leaves_its_link_alone(links):
    link = claimed(links)
    links.set_unsynced(key("d-1"), unsynced("d-1"))
    assert links.get([key("d-1")])[key("d-1")] == replace(link, unsynced=unsynced("d-1"))
    links.settle(settled(link), worker="w1", pointer=False)
    assert links.get([key("d-1")])[key("d-1")].unsynced is None
    assert list(links.unsynced(TENANT)) == []


def test_what_no_longer_hinders_a_record_is_cleared(links, clients):
    link = claimed(links)
    links.set_unsynced(key("d-1"), unsynced("d-1"))
    links.set_unsynced(key("d-1"), None)
    assert links.get([key("d-1")])[key("d-1")] == link
    assert list(links.unsynced(TENANT)) == []
    links.set_unsynced(key("never"), None)
    assert len(list(items(clients))) == 1


@pytest.mark.parametrize("newer", [{"age": 1}, {"cause": "other"}, {"state": UnsyncedState.DISMISSED}, {"seen": 1}])
def test_only_what_is_said_still_is_replaced_or_cleared(links, newer):
    seen = timedelta(seconds=newer.pop("seen", 0))
    before = unsynced("d-1", age=10)
    after = unsynced("d-1", **{"age": 10, **newer})
    after = replace(after, change=replace(after.change, seen_at=before.change.seen_at + seen))
    links.set_unsynced(key("d-1"), before)
    links.set_unsynced(key("d-1"), after, instead_of=before)
    assert list(links.unsynced(TENANT)) == [after]
    links.set_unsynced(key("d-1"), None, instead_of=before)
    links.set_unsynced(key("d-1"), before, instead_of=before)
    assert list(links.unsynced(TENANT)) == [after]
    links.set_unsynced(key("d-1"), None, instead_of=after)
    assert list(links.unsynced(TENANT)) == []


@pytest.mark.parametrize("cleared", [True, False])
@pytest.mark.parametrize(
    ("read", "is_still_said"),
    [({}, True), ({"age": 11}, False), ({"state": UnsyncedState.WAITING}, False)],
    ids=["the same", "older", "of another state"],
)
def test_what_was_said_while_places_were_shorter_is_replaced_and_cleared_too(
    links, clients, read, is_still_said, cleared
):
    said, newer = unsynced("d-1", age=10), unsynced("d-1", age=1)
    links.set_unsynced(key("d-1"), said)
    (item,) = items(clients)
    place = f"parked#{time_text(said.since)}#{SYNC}#{STEP}#{key('d-1').reference}"
    assert item["unsynced_sk"]["S"].startswith(f"{place}#"), "it goes on with what shorter ones did not tell"
    clients.dynamodb.put_item(TableName="tieout-table", Item=item | {"unsynced_sk": {"S": place}})

    links.set_unsynced(key("d-1"), None if cleared else newer, instead_of=unsynced("d-1", **{"age": 10, **read}))
    after = [] if cleared else [newer]
    assert list(links.unsynced(TENANT)) == (after if is_still_said else [said])


def test_what_is_not_said_at_all_is_not_replaced(links):
    links.set_unsynced(key("d-1"), unsynced("d-1"), instead_of=unsynced("d-1"))
    assert links.get([key("d-1")]) == {}


def test_absent_zero_and_empty_stay_apart(links):
    bare = unsynced("d-1", value=None, amount=None, currency="", field="", code="", next_step="")
    links.set_unsynced(key("d-1"), bare)
    zero = unsynced("d-2", value="", amount=Decimal("0.00"))
    links.set_unsynced(key("d-2"), zero)
    assert {one.change.id: one for one in links.unsynced(TENANT)} == {"d-1": bare, "d-2": zero}


def test_unsynced_records_come_oldest_first_and_by_state(links):
    waiting = UnsyncedState.WAITING
    rows = [
        unsynced("d-1", age=10),
        unsynced("d-2", age=30, state=waiting),
        unsynced("d-3", age=20),
        unsynced("d-4", age=40),
    ]
    for row in rows:
        links.set_unsynced(key(row.change.id), row)
    links.set_unsynced(key("other", tenant="globex"), unsynced("other", tenant="globex"))
    assert [one.change.id for one in links.unsynced(TENANT)] == ["d-4", "d-2", "d-3", "d-1"]
    assert [one.change.id for one in links.unsynced(TENANT, UnsyncedState.PARKED)] == ["d-4", "d-3", "d-1"]
    assert [one.change.id for one in links.unsynced(TENANT, waiting)] == ["d-2"]
    assert [one.change.id for one in links.unsynced("globex")] == ["other"]


def test_the_oldest_alone_is_read_without_the_others(links, clients):
    for number in range(5):
        links.set_unsynced(key(f"d-{number}"), unsynced(f"d-{number}", age=number))
    read = []
    clients.dynamodb.meta.events.register("after-call.dynamodb.Query", lambda parsed, **_: read.append(parsed["Count"]))
    assert next(links.unsynced(TENANT, UnsyncedState.PARKED)).change.id == "d-4"
    assert read == [1]
    assert len(list(links.unsynced(TENANT, UnsyncedState.PARKED))) == 5
    assert read == [1, 1, 4]


def test_a_pointer_leads_from_the_target_to_the_link(links):
    link = links.settle(settled(claimed(links)), worker="w1", pointer=True)
    links.settle(settled(claimed(links, "d-2"), "1043"), worker="w1", pointer=False)
    assert links.by_target(TENANT, SYNC, STEP, ["1042", "1043", "1044"]) == {"1042": link}
    assert links.by_target("globex", SYNC, STEP, ["1042"]) == {}
    assert links.by_target(TENANT, SYNC, "customers", ["1042"]) == {}


def test_a_pointer_to_a_link_that_has_another_target_is_ignored(links):
    mine = claimed(links)
    taken = links.claim(mine, intent("w2"))
    with pytest.raises(ClaimedError):
        links.settle(settled(mine, "1042"), worker="w1", pointer=True)
    links.settle(settled(taken, "1050"), worker="w2", pointer=True)
    assert set(links.by_target(TENANT, SYNC, STEP, ["1042", "1050"])) == {"1050"}


def test_a_link_that_goes_on_to_another_target_is_found_by_that_one(links):
    link = links.settle(settled(claimed(links)), worker="w1", pointer=True)
    moved = links.store(replace(link, target_id="1050"), pointer=True)
    links.store(moved)
    assert set(links.by_target(TENANT, SYNC, STEP, ["1042", "1050"])) == {"1050"}


def test_the_pointer_stands_before_the_link_is_settled(links, calls):
    link = claimed(links)
    calls.clear()
    links.settle(settled(link), worker="w1", pointer=True)
    assert calls == ["PutItem", "UpdateItem"]


def named(link: Link, target_id: str = "1042") -> Link:
    return replace(link, target_id=target_id)


def way_back(links: DynamoLinks) -> str:
    """The source record that the pointer of target 1042 leads to, whatever its link says."""
    item = links._table.get(_pointer_key(key(), "1042"))
    assert item is not None
    return str(item["source_id"])


def test_taking_a_record_costs_one_write_as_any_way_back_does(links, calls):
    link = claimed(links)
    calls.clear()
    assert links.take_target(named(link))
    assert calls == ["PutItem"]
    done = links.settle(settled(link), worker="w1", pointer=False)
    assert links.by_target(TENANT, SYNC, STEP, ["1042"]) == {"1042": done}


def test_a_record_that_is_anothers_partner_is_not_taken(links):
    first = links.settle(settled(claimed(links)), worker="w1", pointer=True)
    second = claimed(links, "d-2")
    assert not links.take_target(named(second))
    assert links.by_target(TENANT, SYNC, STEP, ["1042"]) == {"1042": first}
    assert links.take_target(named(second, "1043"))


def test_a_record_that_another_is_about_to_link_is_not_taken_until_that_is_given_up(links):
    first = claimed(links)
    assert links.take_target(named(first))
    second = claimed(links, "d-2")
    assert not links.take_target(named(second))
    kept = links.keep_intent(first, intent("w3"))  # its worker died, and another one goes on
    assert not links.take_target(named(second))
    assert links.take_target(named(kept))

    links.release(kept, worker="w3")
    assert links.take_target(named(second))
    assert way_back(links) == "d-2"
    done = links.settle(settled(second), worker="w1", pointer=False)
    assert links.by_target(TENANT, SYNC, STEP, ["1042"]) == {"1042": done}


@pytest.mark.parametrize("writing", [False, True])
def test_a_record_whose_former_owner_has_another_partner_is_taken(links, writing):
    first = links.settle(settled(claimed(links)), worker="w1", pointer=True)
    moved = links.store(replace(first, target_id="1050"), pointer=True)
    if writing:
        links.claim(moved, intent("w1", operation=Operation.UPDATE, target_id="1050"))
    assert links.take_target(named(claimed(links, "d-2")))
    assert way_back(links) == "d-2"


def test_a_record_that_another_link_only_follows_is_taken(links):
    first = links.settle(settled(claimed(links)), worker="w1", pointer=True)
    links.store(replace(first, follows=True))
    assert links.take_target(named(claimed(links, "d-2")))


def test_a_record_whose_way_back_leads_to_no_link_is_taken(links, clients):
    links.settle(settled(claimed(links)), worker="w1", pointer=True)
    item = _item_key(key("d-1"))
    clients.dynamodb.delete_item(TableName=TABLE, Key=item.attributes())
    assert links.take_target(named(claimed(links, "d-2")))


def test_a_way_back_without_a_revision_is_told_from_one_that_was_put_since(links, table):
    links.release(claimed(links), worker="w1")
    table.put(_pointer_key(key(), "1042"), {"source_id": "d-1"})
    second = claimed(links, "d-2")
    at_its_link(links, lambda: table.put(_pointer_key(key(), "1042"), {"source_id": "d-1", "revision": 9}))
    assert links.take_target(named(second))
    table.put(_pointer_key(key(), "1042"), {"source_id": "d-1"})
    assert links.take_target(named(second))
    assert way_back(links) == "d-2"


def at_its_link(links: DynamoLinks, act: Callable[[], object], *, times: int = 1) -> list[str]:
    """The owner's link was read; then this happens, `times` times. Notes how often it did."""
    real = links.get
    happened: list[str] = []

    def get(keys: Any) -> dict[LinkKey, Link]:
        found = real(keys)
        if len(happened) < times:
            happened.append("once")
            act()
        return found

    links.get = get
    return happened


def test_a_record_whose_former_owner_takes_it_again_meanwhile_is_not_taken(links):
    """The way back leads to the same one as before, but another claim put it there."""
    first = claimed(links)
    assert links.take_target(named(first))
    free = links.release(first, worker="w1")
    second = claimed(links, "d-2")

    def takes_it_again() -> None:
        again = links.claim(free, intent("w3"))
        assert links.take_target(named(again))
        links.settle(settled(again), worker="w3", pointer=False)

    happened = at_its_link(links, takes_it_again)
    assert not links.take_target(named(second))
    assert happened == ["once"]
    assert way_back(links) == "d-1"


def test_a_record_that_somebody_else_takes_meanwhile_is_not_taken(links):
    links.take_target(named(claimed(links)))
    links.release(links.get([key("d-1")])[key("d-1")], worker="w1")
    second, third = claimed(links, "d-2"), claimed(links, "d-3")
    at_its_link(links, lambda: links.take_target(named(third)))
    assert not links.take_target(named(second))
    assert way_back(links) == "d-3"


def test_taking_a_record_that_others_change_again_and_again_ends(links, table):
    links.release(claimed(links), worker="w1")
    revisions = iter(range(100, 200))

    def changes() -> None:
        table.put(_pointer_key(key(), "1042"), {"source_id": "d-1", "revision": next(revisions)})

    changes()
    second = claimed(links, "d-2")
    happened = at_its_link(links, changes, times=100)
    with pytest.raises(ClaimedError, match="linking this record"):
        links.take_target(named(second))
    assert len(happened) == TAKES_MAX


@pytest.mark.parametrize("by", [None, "d-2"])
def test_a_way_back_that_is_free_or_our_own_once_it_is_read_is_taken(links, table, monkeypatch, by):
    links.settle(settled(claimed(links)), worker="w1", pointer=True)
    second, real = claimed(links, "d-2"), table.get

    def get(at: Any) -> dict[str, Any] | None:
        monkeypatch.setattr(table, "get", real)
        table.delete(at)
        if by is not None:
            table.put(at, {"source_id": by, "revision": 1})
        return real(at)

    monkeypatch.setattr(table, "get", get)
    assert links.take_target(named(second))
    assert way_back(links) == "d-2"


@pytest.mark.parametrize("former", [False, True])
def test_a_taken_record_whose_answer_was_lost_and_that_botocore_repeats_is_ours(links, clients, former):
    if former:
        links.store(links.settle(settled(claimed(links)), worker="w1", pointer=True).renewed(by="lee"))
    second = claimed(links, "d-2")
    repeats = iter([0, None, 0, None] if former else [0, None])
    clients.dynamodb.meta.events.register_first("needs-retry.dynamodb.PutItem", lambda **_: next(repeats, None))
    assert links.take_target(named(second))
    assert next(repeats, "asked as often as meant") == "asked as often as meant"
    assert way_back(links) == "d-2"


def test_of_many_that_take_one_record_at_once_one_gets_it(links):
    claims = [claimed(links, f"d-{number}") for number in range(8)]
    taken: list[str] = []

    def work(link: Link) -> None:
        if links.take_target(named(link)):
            taken.append(link.key.source_id)

    threads = [threading.Thread(target=work, args=(link,)) for link in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert taken == [way_back(links)]


def test_links_are_found_by_reference(links):
    link = claimed(links)
    found = links.by_reference(TENANT, SYNC, STEP, [key("d-1").reference, key("d-2").reference])
    assert found == {key("d-1").reference: link}
    assert links.by_reference("globex", SYNC, STEP, [key("d-1").reference]) == {}


def test_a_renewed_link_is_read_back_equal_and_has_lost_its_partner(links, clients):
    link = links.settle(settled(claimed(links)), worker="w1", pointer=False)
    assert {"generation", "renewed_by"} & next(items(clients)).keys() == set(), "most links have neither"
    stored = links.store(replace(link, withdrawn=Withdrawal.UNDONE, plan="undo-1").renewed(by="kim"))
    assert links.get([key("d-1")]) == {key("d-1"): stored}
    assert stored == Link(key("d-1"), revision=3, plan="undo-1", generation=1, renewed_by="kim")


def test_a_renewed_link_is_found_by_the_reference_of_today_alone(links, calls):
    former = links.settle(settled(claimed(links)), worker="w1", pointer=False)
    links.claim(Link(key("d-2")), intent())
    renewed = links.store(former.renewed(by="kim"))
    references = [former.reference, renewed.reference, key("d-2").reference]
    assert links.by_reference(TENANT, SYNC, STEP, references).keys() == {key("d-2").reference}
    calls.clear()
    link = links.claim(renewed, intent("w2"))
    assert calls == ["PutItem", "UpdateItem"], "the way back stands before the document can be written"
    found = links.by_reference(TENANT, SYNC, STEP, references)
    assert {name: one.key.source_id for name, one in found.items()} == {
        renewed.reference: "d-1",
        key("d-2").reference: "d-2",
    }
    assert found[renewed.reference] == link
    assert links.by_reference("globex", SYNC, STEP, references) == {}

    link = links.settle(settled(link, "1043"), worker="w2", pointer=False)
    calls.clear()
    link = links.claim(link, intent("w3", operation=Operation.UPDATE, target_id="1043"))
    assert calls == ["UpdateItem"]
    again = links.store(links.settle(link, worker="w3", pointer=False).renewed(by="lee"))
    links.claim(again, intent("w4"))
    assert links.by_reference(TENANT, SYNC, STEP, references).keys() == {key("d-2").reference}
    assert links.by_reference(TENANT, SYNC, STEP, [again.reference])[again.reference].generation == 2


def test_each_generation_has_a_reference_of_its_own():
    links_of_all = [Link(key(f"d-{number}"), generation=generation) for number in range(50) for generation in range(4)]
    references = {link.reference for link in links_of_all}
    assert len(references) == len(links_of_all)
    assert all(re.fullmatch("[a-z2-7]{12}", one) for one in references)
    assert Link(key()).reference == key().reference


def test_two_renewals_at_once_make_one_generation(links):
    former = links.settle(settled(claimed(links)), worker="w1", pointer=False)
    links.store(former.renewed(by="kim"))
    with pytest.raises(ClaimedError):
        links.store(former.renewed(by="lee"))
    assert links.get([key("d-1")])[key("d-1")].renewed_by == "kim"


def test_all_links_of_a_step_come_over_several_pages(links, clients):
    for number in range(7):
        links.claim(Link(key(f"d-{number}")), intent())
    links.claim(Link(key("c-1", step="customers")), intent())
    links.claim(Link(key("d-1", tenant="globex")), intent())
    pages = []

    def small_pages(params: Any, **_: Any) -> None:
        pages.append(params)
        params["Limit"] = 3

    clients.dynamodb.meta.events.register("provide-client-params.dynamodb.Query", small_pages)
    assert {link.key.source_id for link in links.all(TENANT, SYNC, STEP)} == {f"d-{number}" for number in range(7)}
    assert len(pages) == 3


def test_more_than_a_hundred_links_are_read_in_batches(links, calls):
    keys = [key(f"d-{number}") for number in range(120)]
    links.claim(Link(keys[0]), intent())
    links.claim(Link(keys[119]), intent())
    calls.clear()
    assert set(links.get([*keys, keys[0]])) == {keys[0], keys[119]}
    assert calls == ["BatchGetItem", "BatchGetItem"]


def test_keys_that_were_not_read_are_asked_for_again(links, clients, clock):
    claimed(links)
    shortages = iter([True, True, False])

    def short(parsed: Any, **_: Any) -> None:
        if next(shortages):
            parsed["UnprocessedKeys"] = {TABLE: {"Keys": [item_key()]}}
            parsed["Responses"] = {}

    def item_key() -> Any:
        return {"pk": {"S": f"{TENANT}#link#{SYNC}"}, "sk": {"S": f"{STEP}#{key('d-1').reference}"}}

    clients.dynamodb.meta.events.register("after-call.dynamodb.BatchGetItem", short)
    assert set(links.get([key("d-1")])) == {key("d-1")}
    assert len(clock.slept) == 2


def test_keys_that_are_never_read_raise(links, clients, clock):
    def nothing(parsed: Any, **_: Any) -> None:
        parsed["UnprocessedKeys"] = {TABLE: {"Keys": [{"pk": {"S": "a"}, "sk": {"S": "b"}}]}}
        parsed["Responses"] = {}

    clients.dynamodb.meta.events.register("after-call.dynamodb.BatchGetItem", nothing)
    with pytest.raises(TimeoutError):
        links.get([key()])
    assert sum(clock.slept) < 20


def test_a_failing_table_rises_as_it_is(links, clients):
    clients.dynamodb.delete_table(TableName=TABLE)
    with pytest.raises(ClientError):
        claimed(links)


def test_claiming_and_settling_an_invoice_cost_one_write_unit_each(links, clients, calls):
    link = links.claim(Link(key()), intent())
    assert link.intent is not None
    (with_intent,) = items(clients)
    links.settle(settled(link), worker=link.intent.worker, pointer=False)
    (settled_item,) = items(clients)
    assert item_size(with_intent) < 1024, "the larger of both sizes is what a write costs"
    assert item_size(settled_item) < 1024
    assert "unsynced_pk" not in settled_item, "an index entry would cost a unit more"
    assert [call for call in calls if call in WRITES] == ["UpdateItem", "UpdateItem"]


def test_reading_writes_nothing(links, calls):
    claimed(links)
    calls.clear()
    links.get([key("d-1")])
    links.by_reference(TENANT, SYNC, STEP, [key("d-1").reference])
    links.by_target(TENANT, SYNC, STEP, ["1"])
    assert not set(calls) & set(WRITES)


def test_times_keep_their_microseconds(links):
    later = START + timedelta(microseconds=1)
    links.claim(Link(key(), settled_at=later), intent(held_until=later))
    stored = links.get([key()])[key()]
    assert stored.settled_at == later
    assert stored.intent is not None
    assert stored.intent.held_until == later


def test_a_name_that_would_make_two_keys_one_is_refused(links):
    with pytest.raises(ValueError, match="#"):
        links.get([LinkKey(TENANT, SYNC, "in#voices", "d-1")])


CONFLICT = Review(
    ReviewKind.CONFLICT,
    conflicts=(FieldConflict("billing_address.city", None, "Berlin", {"a": ["x", None]}),),
    source_edited_at=START,
    target_edited_by="Kim",
)
MATCH = Review(
    ReviewKind.MATCH,
    candidates=(
        Candidate("58", "Acme", Decimal("0.91"), ("same e-mail", "phone differs")),
        Candidate("59", "", Decimal(0)),
    ),
)


@pytest.mark.parametrize("review", [CONFLICT, MATCH])
def test_a_review_is_read_back_equal(links, review):
    reviewed = replace(unsynced(), review=review)
    links.set_unsynced(key("d-1"), reviewed)
    assert links.get([key("d-1")])[key("d-1")].unsynced == reviewed


def test_what_is_known_beside_the_write_is_read_back_equal_and_cleared(links):
    claimed_link = claimed(links)
    decision = Decision("abc", Choice.FIELDS, "kim", START, "58", {"email": Side.TARGET, "phone": Side.SOURCE})
    noted = replace(
        settled(claimed_link),
        sync_version=3,
        shown={"phone": "0049", "fax": None},
        withdrawn=Withdrawal.UNDONE,
        follows=True,
        decision=decision,
        never=("58", "59"),
        turns=Turns(Side.SOURCE, 4, START),
        plan="plan-20261122-090000-k3f9",
    )
    stored = links.settle(noted, worker="w1", pointer=False)
    assert links.get([stored.key]) == {stored.key: stored}
    assert replace(stored, revision=noted.revision) == noted
    bare = links.store(
        replace(stored, shown=None, withdrawn=None, follows=False, decision=None, never=(), turns=None, plan="")
    )
    assert links.get([bare.key]) == {bare.key: bare}


def test_an_intent_of_a_two_way_write_is_read_back_equal(links):
    two_way = intent(
        "w1",
        side=Side.SOURCE,
        agreed={"email": "a@b.example"},
        shown={"phone": "0049", "fax": None},
        withdrawal=Withdrawal.LEFT,
        plan="p1",
        adopts="same tax id, same name (score 0.999)",
    )
    stored = links.claim(Link(key("d-1")), two_way)
    assert links.get([stored.key])[stored.key].intent == two_way


def test_a_note_on_a_link_that_changed_meanwhile_is_refused(links):
    former = claimed(links)
    links.keep_intent(former, intent("w2"))
    with pytest.raises(ClaimedError):
        links.store(replace(former, follows=True))
