from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from tests.aws import START
from tieout.domain.audit import (
    Damage,
    Entry,
    Flaw,
    Thing,
    Tip,
    What,
    beginning,
    canonical,
    line_of,
    read_object,
    sealed,
)

TENANT = "acme"


def entry(**changes: object) -> Entry:
    made = Entry(
        tenant=TENANT,
        seq=0,
        previous="",
        at=START,
        event="e",
        thing=Thing.LINK,
        name="s/invoices/d1",
        what=What.CREATED,
        before={"target_id": None, "revision": 1},
        after={
            "target_id": "1042",
            "revision": 2,
            "base": {"note": "Größe\u2028& Söhne", "lines": [{"amount": "1.50"}]},
        },
    )
    return replace(made, **changes)


def chain(count: int, tip: Tip | None = None) -> list[Entry]:
    tip, entries = tip or beginning(TENANT), []
    for number in range(count):
        one = sealed(entry(event=f"e{number}"), tip)
        tip = Tip(one.seq, one.hash)
        entries.append(one)
    return entries


def body(entries: list[Entry]) -> bytes:
    return b"".join(map(line_of, entries))


def read(data: bytes, *, first: int = 1, after: Tip | None = None) -> list[Entry | Flaw]:
    return list(read_object(data, tenant=TENANT, first=first, after=after or beginning(TENANT)))


def test_what_was_written_reads_back_equal():
    entries = chain(3)
    assert read(body(entries)) == entries
    assert [one.seq for one in entries] == [1, 2, 3]


def test_a_chain_goes_on_over_objects():
    entries = chain(4)
    tip = Tip(2, entries[1].hash)
    assert read(body(entries[2:]), first=3, after=tip) == entries[2:]


def test_tenants_chains_begin_with_hashes_of_their_own():
    assert beginning("acme").hash != beginning("other").hash
    assert chain(1)[0].previous == beginning("acme").hash


def test_the_way_a_value_is_written_is_one():
    assert canonical({"b": [1, None, True, "ü"], "a": {"z": "", "y": 0}}) == (
        '{"a":{"y":0,"z":""},"b":[1,null,true,"ü"]}'.encode()
    )
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [0.1, {"a": [{"b": 1.0}]}, [float("nan")], object()])
def test_what_has_several_spellings_is_refused(value):
    with pytest.raises(TypeError):
        canonical(value)


def test_a_line_end_within_a_text_does_not_end_the_line():
    assert body([sealed(entry(worker="a\nb"), beginning(TENANT))]).count(b"\n") == 1


def test_former_is_what_stood_there():
    one = entry(before={"target_id": None, "revision": 1}, after={"target_id": "7", "revision": 2, "base": {}})
    assert one.former() == {"revision": 1, "base": {}}
    assert one.changes() == {"target_id": (None, "7"), "revision": (1, 2)}
    assert entry(before=None).former() is None
    assert entry(before={"revision": 3}, after=None).former() == {"revision": 3}
    assert entry(before={"revision": 3}, after=None).changes() == {"revision": (3, None)}


# Every way in which an object can be bad


def resealed(line: bytes, **changes: object) -> bytes:
    """The line with other values and a hash that fits them: what a careful forger writes."""
    forged = replace(TypeAdapter(Entry).validate_json(line), **changes)
    return line_of(sealed(forged, Tip(forged.seq - 1, forged.previous)))


LINES = [line_of(one) for one in chain(5)]

TAMPERED: dict[str, tuple[Callable[[], bytes], Damage, int, int]] = {
    "a value": (lambda: b"".join(LINES).replace(b'"1042"', b'"1043"', 1), Damage.CHANGED, 1, 1),
    "a hash": (
        lambda: b"".join([*LINES[:2], LINES[2].replace(chain(3)[2].hash.encode(), b"0" * 64), *LINES[3:]]),
        Damage.CHANGED,
        3,
        3,
    ),
    "an amount as a float": (
        lambda: b"".join([LINES[0], LINES[1].replace(b'"1.50"', b"1.50"), *LINES[2:]]),
        Damage.CHANGED,
        2,
        2,
    ),
    "no number at all": (lambda: LINES[0].replace(b'"revision":2', b'"revision":NaN'), Damage.CHANGED, 1, 1),
    "a time before all time": (
        lambda: re.sub(rb'"at":"[^"]+"', b'"at":"0001-01-01T00:00:00+23:00"', LINES[0]),
        Damage.CHANGED,
        1,
        1,
    ),
    "spaces": (lambda: b"".join([LINES[0], LINES[1].replace(b'":', b'": ', 1), *LINES[2:]]), Damage.CHANGED, 2, 2),
    "a name twice": (
        lambda: b"".join([LINES[0].replace(b'{"after"', b'{"worker":"x","after"', 1), *LINES[1:]]),
        Damage.CHANGED,
        1,
        1,
    ),
    "a name that is unknown": (
        lambda: b"".join([LINES[0].replace(b'{"after"', b'{"aaa":1,"after"', 1), *LINES[1:]]),
        Damage.CHANGED,
        1,
        1,
    ),
    "a forged entry with a fitting hash": (
        lambda: b"".join([*LINES[:2], resealed(LINES[2], worker="mallory"), *LINES[3:]]),
        Damage.REPLACED,
        4,
        4,
    ),
    "the first entry is gone": (lambda: b"".join(LINES[1:]), Damage.MISSING, 1, 1),
    "an entry is gone": (lambda: b"".join(LINES[:2] + LINES[3:]), Damage.MISSING, 3, 3),
    "two are exchanged": (
        lambda: b"".join([LINES[0], LINES[2], LINES[1], *LINES[3:]]),
        Damage.MISSING,
        2,
        2,
    ),
    "one stands twice": (lambda: b"".join([*LINES[:3], LINES[2], *LINES[3:]]), Damage.ORDER, 4, 4),
    "another tenant's": (
        lambda: line_of(sealed(entry(tenant="other"), beginning(TENANT))),
        Damage.FOREIGN,
        1,
        1,
    ),
    "another tenant's chain": (
        lambda: line_of(sealed(entry(), beginning("other"))),
        Damage.REPLACED,
        1,
        1,
    ),
    "no JSON": (lambda: LINES[0] + b"gone\n" + LINES[2], Damage.UNREADABLE, 2, 2),
    "no UTF-8": (lambda: LINES[0] + LINES[1].replace("ö".encode(), b"\xff"), Damage.UNREADABLE, 2, 2),
    "an empty line": (lambda: LINES[0] + b"\n" + LINES[1], Damage.UNREADABLE, 2, 2),
    "cut off": (lambda: b"".join(LINES)[:-1], Damage.UNREADABLE, 5, 5),
    "empty": (lambda: b"", Damage.UNREADABLE, 1, 1),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_the_first_bad_entry_is_named(name):
    make, damage, seq, line = TAMPERED[name]
    *good, last = read(make())
    assert isinstance(last, Flaw)
    assert (last.damage, last.seq, last.first, last.line) == (damage, seq, 1, line)
    assert last.reason.endswith(".")
    # What comes before it is whole; a file that was cut off is not read at all.
    assert [one.seq for one in good] == list(range(1, seq if name != "cut off" else 1))


def test_an_object_that_is_not_there_is_missed_by_the_next_one():
    [flaw] = read(body(chain(5)[3:]), first=4)
    assert (flaw.damage, flaw.seq, flaw.first, flaw.line) == (Damage.MISSING, 1, None, 0)
    assert flaw.reason == "Entries 1 to 3 are missing: no object holds them."


def test_an_object_where_none_can_begin():
    entries = chain(5)
    [flaw] = read(body(entries[2:]), first=3, after=Tip(4, entries[3].hash))
    assert (flaw.damage, flaw.seq, flaw.first) == (Damage.ORDER, 5, 3)
