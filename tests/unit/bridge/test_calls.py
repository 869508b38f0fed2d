"""A connector's calls as text: what is said arrives as it was, and what is not said in our words is refused as such."""

from __future__ import annotations

import json
import string
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tieout.bridge.calls import Results, UnreadableError, decode_error, encode_call, encode_error, run_call
from tieout.domain import errors
from tieout.domain.documents import (
    DOCUMENTS,
    Address,
    CreditNote,
    Customer,
    Discount,
    Estimate,
    EstimateStatus,
    Expense,
    Invoice,
    InvoiceStatus,
    Item,
    ItemType,
    Line,
    Payment,
    Project,
    RecordUpdate,
    TimeEntry,
)
from tieout.domain.effects import Done, Effect, Match, MatchedBy, NotDone, Operation, Unknown
from tieout.domain.packing import pack
from tieout.domain.records import Kind, Record
from tieout.ports.connector import Account, ChangePage

ANY_PACE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TIMES = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**12), max_value=10**12)
SCALARS = st.none() | st.booleans() | st.integers() | TEXTS | AMOUNTS | st.dates() | TIMES
KEYS = TEXTS | st.sampled_from(["$n", "$d", "$t", "$p", "$"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)
FIELDS = st.dictionaries(KEYS, VALUES, max_size=5)
RECORDS = st.builds(
    Record,
    st.sampled_from(Kind),
    TEXTS,
    version=TEXTS,
    edited_at=st.none() | TIMES,
    edited_by=TEXTS,
    fields=FIELDS,
)


def some(**known: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these fields: absent, null and empty are three things."""
    return st.fixed_dictionaries({}, optional=known)


NAMES = st.text(string.printable, min_size=1, max_size=12)
TEXT_OR_NONE = st.none() | TEXTS
ADDRESSES = some(line1=TEXT_OR_NONE, city=TEXT_OR_NONE, country=TEXT_OR_NONE).map(lambda given: Address(**given))
LINES = st.builds(
    lambda given, **must: Line(**must, **given),
    some(description=TEXT_OR_NONE, quantity=AMOUNTS, unit_price=st.none() | AMOUNTS, service_on=st.none() | st.dates()),
    item=TEXTS,
    amount=AMOUNTS,
)
CURRENCIES = st.sampled_from(["USD", "EUR", "JPY", "KWD"])
SALES: dict[str, Any] = {
    "customer": TEXTS,
    "date": st.dates(),
    "currency": CURRENCIES,
    "lines": st.lists(LINES, min_size=1, max_size=3).map(tuple),
}
SALES_OPTIONAL: dict[str, Any] = {
    "number": TEXT_OR_NONE,
    "discount": st.none() | st.builds(Discount, percent=AMOUNTS) | st.builds(Discount, amount=AMOUNTS),
    "tax_total": st.none() | AMOUNTS,
    "memo": TEXT_OR_NONE,
}


def documents(kind: type[Any], optional: dict[str, Any], **must: Any) -> st.SearchStrategy[Any]:
    return st.builds(lambda given, **always: kind(**always, **given), some(**optional), **must)


DOCUMENT_OF: dict[type[Any], st.SearchStrategy[Any]] = {
    Customer: documents(
        Customer,
        {"email": TEXT_OR_NONE, "billing_address": st.none() | ADDRESSES, "active": st.booleans()},
        name=NAMES,
    ),
    Item: documents(
        Item,
        {"price": st.none() | AMOUNTS, "taxable": st.none() | st.booleans(), "type": st.sampled_from(ItemType)},
        name=NAMES,
    ),
    Invoice: documents(
        Invoice,
        SALES_OPTIONAL | {"status": st.sampled_from(InvoiceStatus), "due_date": st.none() | st.dates()},
        **SALES,
    ),
    CreditNote: documents(CreditNote, SALES_OPTIONAL, **SALES),
    Estimate: documents(Estimate, SALES_OPTIONAL | {"status": st.sampled_from(EstimateStatus)}, **SALES),
    Payment: documents(
        Payment, {"number": TEXT_OR_NONE}, customer=TEXTS, date=st.dates(), currency=CURRENCIES, amount=AMOUNTS
    ),
    Project: documents(
        Project, {"rate": st.none() | AMOUNTS, "currency": st.none() | CURRENCIES}, name=NAMES, customer=TEXTS
    ),
    TimeEntry: documents(
        TimeEntry,
        {"note": TEXT_OR_NONE},
        project=TEXTS,
        person=NAMES,
        date=st.dates(),
        hours=st.decimals(min_value="0.001", max_value=24, places=3),
    ),
    Expense: documents(
        Expense,
        {"tax_included": st.none() | st.booleans()},
        account=TEXTS,
        date=st.dates(),
        currency=CURRENCIES,
        amount=AMOUNTS,
    ),
    RecordUpdate: st.builds(RecordUpdate, fields=FIELDS),
}


@st.composite
def effects(draw: st.DrawFn) -> Effect:
    kind = draw(st.sampled_from(Kind))
    return Effect(
        id=draw(TEXTS),
        operation=draw(st.sampled_from(Operation)),
        kind=kind,
        document=draw(DOCUMENT_OF[DOCUMENTS[kind]]),
        reference=draw(TEXTS),
        target_id=draw(TEXT_OR_NONE),
        target_version=draw(TEXTS),
        attempt=draw(TEXTS),
        label=draw(TEXTS),
        notices=tuple(draw(st.lists(TEXTS, max_size=2))),
        similar=draw(st.booleans()),
    )


PLAIN_ERRORS = [errors.UnavailableError, errors.ConflictError, errors.NotFoundError, errors.ReconnectError]
TOLD = {"next_step": TEXTS, "detail": TEXTS, "request_id": TEXTS, "code": TEXTS}
UNSURE = st.builds(errors.UncertainError, TEXTS, **TOLD)
REFUSED = (
    st.sampled_from(PLAIN_ERRORS).flatmap(lambda kind: st.builds(kind, TEXTS, **TOLD))
    | st.builds(
        errors.ThrottledError,
        TEXTS,
        retry_after_seconds=st.integers(0, 10**6),
        detail=TEXTS,
        request_id=TEXTS,
        code=TEXTS,
    )
    | st.sampled_from([errors.RejectedError, errors.NameTakenError]).flatmap(
        lambda kind: st.builds(kind, TEXTS, field=TEXTS, **TOLD)
    )
)
OUTCOMES = st.builds(Done, TEXTS, RECORDS) | st.builds(NotDone, TEXTS, REFUSED) | st.builds(Unknown, TEXTS, UNSURE)
MATCHES = st.builds(Match, RECORDS, st.sampled_from(MatchedBy), unfinished=st.booleans())


@dataclass
class Recorder:
    """A connector that answers what it is told to, and keeps what it was asked."""

    gives: Any = ()
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.asked.append((name, *arguments))
            return self.gives

        return call


def run(name: str, gives: Any, **arguments: Any) -> tuple[tuple[Any, ...], str]:
    """What the connector was asked, and the text that came back."""
    connector = Recorder(gives)
    text = run_call(connector, name, encode_call(**arguments))  # type: ignore[arg-type]  # it answers to every name
    (asked,) = connector.asked
    return asked, text


def spelled(value: object) -> str:
    """Types and digits included: Decimal("1.50") is not Decimal("1.5"). UTC has no hour that comes twice."""
    return repr(value).replace(", fold=1", "")


def facts(error: errors.TieoutError) -> tuple[Any, ...]:
    return type(error), error.message, vars(error)


# What is said arrives


@ANY_PACE
@given(st.lists(RECORDS, max_size=4))
def test_records_arrive_as_they_were(records):
    _, text = run("read", records, kind=Kind.INVOICE, ids=["1"])
    assert spelled(Results.records(text)) == spelled(records)


@ANY_PACE
@given(st.lists(effects(), max_size=3))
def test_effects_arrive_as_they_were(given_effects):
    asked, _ = run("write", [], effects=given_effects)
    assert asked == ("write", given_effects)
    assert spelled(asked) == spelled(("write", given_effects))
    for one, other in zip(asked[1], given_effects, strict=True):
        assert one.document.model_fields_set == other.document.model_fields_set, "absent and null are two things"


@ANY_PACE
@given(st.lists(OUTCOMES, max_size=4))
def test_outcomes_arrive_as_they_were(outcomes):
    _, text = run("write", outcomes, effects=[])
    arrived = Results.outcomes(text)
    assert [(type(one), one.effect_id) for one in arrived] == [(type(one), one.effect_id) for one in outcomes]
    for one, other in zip(arrived, outcomes, strict=True):
        if isinstance(one, Done):
            assert spelled(one) == spelled(other)
        else:
            assert facts(one.error) == facts(other.error)


@ANY_PACE
@given(st.dictionaries(TEXTS, st.lists(MATCHES, max_size=3), max_size=3))
def test_matches_arrive_as_they_were(found):
    _, text = run("find", found, effects=[])
    assert spelled(Results.matches(text)) == spelled(found)


@ANY_PACE
@given(st.lists(RECORDS, max_size=3), TEXTS, st.booleans(), st.lists(TEXTS, max_size=3), st.booleans())
def test_pages_arrive_as_they_were(records, cursor, more, gone, unsure):
    page = ChangePage(records, cursor, more, gone, unsure)
    asked, text = run("changes", page, kind=Kind.CUSTOMER, cursor=cursor)
    assert asked == ("changes", Kind.CUSTOMER, cursor)
    assert spelled(Results.changes(text)) == spelled(page)


@ANY_PACE
@given(REFUSED | UNSURE)
def test_errors_arrive_as_they_were(error):
    assert facts(decode_error(encode_error(error))) == facts(error)


@ANY_PACE
@given(st.lists(TEXTS, max_size=4), TEXT_OR_NONE)
def test_ids_arrive_as_they_were(ids, after):
    asked, text = run("ids", (ids, after), kind=Kind.ITEM, after=after)
    assert asked == ("ids", Kind.ITEM, after)
    assert Results.ids(text) == (ids, after)


def test_the_other_calls_arrive():
    asked, text = run("probe", Account("1", "Acme", None))
    assert (asked, Results.probe(text)) == (("probe",), Account("1", "Acme", None))
    asked, text = run("cursor_now", "c-1", kind=Kind.DEAL)
    assert (asked, Results.cursor(text)) == (("cursor_now", Kind.DEAL), "c-1")
    asked, text = run("search", [], kind=Kind.ITEM, field="sku", values=["a", "b"])
    assert (asked, Results.records(text)) == (("search", Kind.ITEM, "sku", ["a", "b"]), [])
    asked, _ = run("changes", ChangePage([], "c", more=False), kind=Kind.ITEM, cursor=None)
    assert asked == ("changes", Kind.ITEM, None)


def test_settings_errors_arrive():
    error = errors.SettingsError("There is no such company.", next_step="Open it.", detail="company")
    assert facts(decode_error(encode_error(error))) == facts(error)


def test_an_error_of_a_connectors_own_arrives_as_the_one_that_the_engine_knows():
    class NumberTakenError(errors.RejectedError):
        pass

    arrived = decode_error(encode_error(NumberTakenError("Taken.", field="number")))
    assert (type(arrived), arrived.message) == (errors.RejectedError, "Taken.")


# Nonsense

LIST = "[" * 100_000 + "]" * 100_000
DEEP = '{"fields":' * 50_000 + "1" + "}" * 50_000
READERS = [
    Results.probe,
    Results.records,
    Results.changes,
    Results.cursor,
    Results.ids,
    Results.matches,
    Results.outcomes,
    decode_error,
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
).map(json.dumps)
RECORD = {
    "kind": "invoice",
    "id": "1",
    "version": "2",
    "edited_at": None,
    "edited_by": "",
    "fields": {"total": Decimal("1.50")},
}


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@ANY_PACE
@given(text=JSON | st.text(max_size=30))
@example(text=LIST)
@example(text=DEEP)
@example(text='{"$n":"no number"}')
@example(text='[{"$n":"1e9999999999999999999"}]')
@example(text='{"$p":[[{"a":1},2]]}')
@example(text='{"$d":"2026-02-30"}')
@example(text="9" * 5_000)
@example(text='"\\ud800"')
def test_nonsense_is_unreadable_and_nothing_else(read, text):
    told = ""
    try:
        read(text)
    except UnreadableError as error:
        told = str(error)
    assert len(told) < 100, "nothing of it is repeated"


ANSWERS = {
    "probe": Account("1", "Acme"),
    "read": [],
    "search": [],
    "changes": ChangePage([], "c", more=False),
    "cursor_now": "c",
    "ids": ([], None),
    "find": {},
    "write": [],
}


@pytest.mark.parametrize("name", ANSWERS)
@ANY_PACE
@given(text=JSON | st.text(max_size=30))
@example(text=LIST)
@example(text=DEEP)
@example(text='{"kind":"item","ids":[],"after":null,"$n":"x"}')
@example(text='{"$n":"no number"}')
@example(text="null")
def test_nonsense_is_never_called(name, text):
    connector = Recorder(ANSWERS[name])
    try:
        run_call(connector, name, text)  # type: ignore[arg-type]  # it answers to every name
    except UnreadableError:
        assert connector.asked == []
    else:
        assert len(connector.asked) == 1
        assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize(
    ("read", "given_value"),
    [
        (Results.probe, {"id": None, "name": "Acme", "currency": None}),
        (Results.probe, {"id": "1", "name": "Acme", "currency": 5}),
        (Results.records, {}),
        (Results.records, ""),
        (Results.records, [RECORD | {"id": None}]),
        (Results.records, [RECORD | {"id": 5}]),
        (Results.records, [RECORD | {"version": None}]),
        (Results.records, [RECORD | {"kind": "spaceship"}]),
        (Results.records, [RECORD | {"edited_at": "yesterday"}]),
        (Results.records, [RECORD | {"edited_at": date(2026, 1, 1)}]),
        (Results.records, [RECORD | {"fields": []}]),
        (Results.records, [RECORD | {"fields": [["a", "b"]]}]),
        (Results.changes, {"records": [], "cursor": None, "more": False, "gone": [], "deletions_unsure": False}),
        (Results.changes, {"records": [], "cursor": "c", "more": False, "gone": "abc", "deletions_unsure": False}),
        (Results.changes, {"records": [], "cursor": "c", "more": None, "gone": [], "deletions_unsure": False}),
        (Results.cursor, None),
        (Results.cursor, 7),
        (Results.cursor, []),
        (Results.ids, ["abc", None]),
        (Results.ids, [["1"], 5]),
        (Results.ids, [["1"], None, None]),
        (Results.ids, "ab"),
        (Results.matches, []),
        (Results.matches, {"e": "none"}),
        (Results.matches, {"e": {}}),
        (Results.matches, {"e": [{"record": RECORD, "by": "guess", "unfinished": False}]}),
        (Results.outcomes, {}),
        (Results.outcomes, ""),
        (Results.outcomes, [{"effect": "e"}]),
        (Results.outcomes, [{"effect": "e", "not_done": {"error": "UncertainError", "message": ""}}]),
        (Results.outcomes, [{"effect": "e", "not_done": {"error": "SettingsError", "message": ""}}]),
        (Results.outcomes, [{"effect": "e", "unknown": {"error": "RejectedError", "message": ""}}]),
        (decode_error, {"error": "KeyError", "message": ""}),
        (decode_error, {"error": "TieoutError", "message": ""}),
        (decode_error, {"error": "UnavailableError", "message": None}),
        (decode_error, {"error": "UnavailableError", "message": "", "field": "name"}),
        (decode_error, {"error": "ThrottledError", "message": "", "retry_after_seconds": "soon"}),
        (decode_error, {"error": "ThrottledError", "message": "", "retry_after_seconds": -5}),
        (decode_error, {"error": ["UnavailableError"], "message": ""}),
    ],
)
def test_what_is_almost_a_result_is_unreadable(read, given_value):
    with pytest.raises(UnreadableError):
        read(pack(given_value))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([RECORD | {"fields": {"total": 1.5}}]),
        json.dumps([RECORD | {"fields": {"lines": [{"amount": 1e3}]}}]),
        '[{"kind":"item","id":"1","version":"","edited_at":null,"edited_by":"","fields":{"price":NaN}}]',
        '[{"kind":"item","id":"1","version":"","edited_at":null,"edited_by":"","fields":{"price":-Infinity}}]',
        '[{"kind":"item","id":"1","version":"","edited_at":null,"edited_by":"","fields":{"price":{"$n":"NaN"}}}]',
        '[{"kind":"item","id":"1","version":"","edited_at":{"$t":"2026-01-01T00:00:00"},"edited_by":"","fields":{}}]',
    ],
    ids=["float", "nested", "not-a-number", "infinite", "decimal-not-a-number", "time-without-zone"],
)
def test_no_amount_comes_as_a_float_and_no_time_without_its_zone(text):
    with pytest.raises(UnreadableError):
        Results.records(text)


@pytest.mark.parametrize(
    ("name", "given_arguments"),
    [
        ("read", {"kind": "spaceship", "ids": []}),
        ("read", {"kind": "item", "ids": "abc"}),
        ("read", {"kind": "item", "ids": [1]}),
        ("read", {"kind": "item"}),
        ("read", []),
        ("search", {"kind": "item", "field": None, "values": []}),
        ("changes", {"kind": "item", "cursor": 5}),
        ("changes", {"kind": "item"}),
        ("ids", {"kind": "item", "after": 5}),
        ("find", {"effects": {}}),
        ("write", {"effects": None}),
        ("write", {"effects": [{"id": "e"}]}),
        ("write", {"effects": ""}),
    ],
)
def test_what_is_almost_a_call_is_not_made(name, given_arguments):
    connector = Recorder([])
    with pytest.raises(UnreadableError):
        run_call(connector, name, pack(given_arguments))  # type: ignore[arg-type]  # it answers to every name
    assert connector.asked == []


@pytest.mark.parametrize("name", ["", "manifest", "subscribe", "__class__", "_from_record", "write ", "request"])
def test_only_the_calls_of_a_connector_can_be_called(name):
    connector = Recorder([])
    with pytest.raises(UnreadableError):
        run_call(connector, name, "{}")  # type: ignore[arg-type]  # it answers to every name
    assert connector.asked == []


def an_effect(**changes: Any) -> dict[str, Any]:
    given_effect: dict[str, Any] = {
        "id": "e",
        "operation": "create",
        "kind": "customer",
        "document": {"name": "Acme"},
        "reference": "r",
        "target_id": None,
        "target_version": "",
        "attempt": "",
        "label": "",
        "notices": [],
        "similar": False,
    }
    return given_effect | changes


def test_the_effect_of_the_next_test_is_one():
    connector = Recorder([])
    run_call(connector, "write", pack({"effects": [an_effect()]}))  # type: ignore[arg-type]  # it answers to every name
    assert connector.asked == [("write", [Effect("e", Operation.CREATE, Kind.CUSTOMER, Customer(name="Acme"), "r")])]


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"operation": "delete"},
        {"kind": "invoice"},
        {"document": {"name": "Acme", "colour": "red"}},
        {"document": {"name": ""}},
        {"document": []},
        {"reference": 5},
        {"target_id": 5},
        {"target_version": None},
        {"attempt": 1},
        {"label": None},
        {"notices": "ab"},
        {"notices": [1]},
        {"similar": "yes"},
    ],
    ids=str,
)
def test_what_is_almost_an_effect_is_not_written(changes):
    connector = Recorder([])
    with pytest.raises(UnreadableError):
        run_call(connector, "write", pack({"effects": [an_effect(**changes)]}))  # type: ignore[arg-type]  # as above
    assert connector.asked == []


def test_a_float_is_not_sent():
    with pytest.raises(TypeError, match="float"):
        encode_call(effects=[Effect("e", Operation.UPDATE, Kind.DEAL, RecordUpdate(fields={"amount": 1.5}), "r")])
    with pytest.raises(TypeError, match="float"):
        run("read", [Record(Kind.DEAL, "1", fields={"amount": 1.5})], kind=Kind.DEAL, ids=[])  # type: ignore[dict-item]


def test_a_large_text_arrives():
    record = Record(Kind.DEAL, "1", fields={"note": "Ünïcödé \u2028 \x00 🦆" * 200_000})
    _, text = run("read", [record], kind=Kind.DEAL, ids=["1"])
    assert Results.records(text) == [record]


def test_what_a_connector_raises_rises():
    class Refusing:
        def read(self, *_: Any) -> Any:
            raise errors.ConflictError("It changed.")

    with pytest.raises(errors.ConflictError):
        run_call(Refusing(), "read", encode_call(kind=Kind.ITEM, ids=[]))  # type: ignore[arg-type]  # enough of one


def test_a_bug_of_a_connector_is_not_taken_for_nonsense():
    class Broken:
        def read(self, *_: Any) -> Any:
            raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug") as raised:
        run_call(Broken(), "read", encode_call(kind=Kind.ITEM, ids=[]))  # type: ignore[arg-type]  # enough of one
    assert not isinstance(raised.value, UnreadableError)
