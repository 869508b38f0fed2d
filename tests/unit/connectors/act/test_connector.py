"""Reading in batches, and writes that are read back."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.connectors.act.conftest import World
from tieout.connectors.act.batch import Part, decode, encode
from tieout.connectors.act.errors import error_of
from tieout.domain.documents import Item, RecordUpdate
from tieout.domain.effects import Done, Effect, NotDone, Operation, Outcome, Unknown
from tieout.domain.errors import (
    NotFoundError,
    ProviderError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)
from tieout.domain.records import Kind
from tieout.ports.http import Answer, Request


def update(target: str, kind: Kind = Kind.DEAL, number: int = 1, **fields: Any) -> Effect:
    document = RecordUpdate(fields={f"custom_fields.{name}": value for name, value in fields.items()})
    return Effect(f"{number:032d}", Operation.UPDATE, kind, document, "r" * 12, target)


def only(outcomes: Any) -> Outcome:
    (outcome,) = outcomes
    return outcome


def meddle_with_writes(world: World, change: Callable[[Request], Answer | None]) -> None:
    world.http.meddle = lambda request: change(request) if request.write else None


# Reading


def test_96_deals_with_their_lines_are_one_call():
    world = World(connection={"requests_per_minute": 600})
    deals = [world.add("opportunities", name=f"Deal {number}") for number in range(96)]
    for deal in deals:
        world.state.add_line(deal, {"name": "GTXPro", "quantity": 2, "price": 1.005})
    world.connector.probe()
    world.http.requests.clear()
    records = world.connector.read(Kind.DEAL, deals)
    assert len(world.http.requests) == 1
    assert sorted(record.id for record in records) == sorted(deals)
    for record in records:
        lines: Any = record.fields["lines"]
        (line,) = lines
        assert (line["name"], line["quantity"], line["unit_price"]) == ("GTXPro", 2, Decimal("1.005"))
        assert line["amount"] == Decimal("2.01")


def test_records_gone_or_hidden_are_left_out(world):
    here, hidden = world.add("opportunities", name="Here"), world.add("opportunities", name="Hidden")
    world.settings.hidden = [hidden]
    gone = "195a64f8-0000-4506-8eb2-2dd6fa8dfd1a"
    assert [record.id for record in world.connector.read(Kind.DEAL, [here, hidden, gone])] == [here]
    assert world.connector.read(Kind.DEAL, []) == []


def test_ids_are_the_same_in_either_case_and_asked_for_once(world):
    deal = world.add("opportunities", name="Deal")
    world.state.add_line(deal, {"name": "Part", "price": 1})
    (record,) = world.connector.read(Kind.DEAL, [deal.upper(), deal.upper()])
    assert len(record.fields["lines"]) == 1


def test_the_main_contact_is_the_oldest_with_an_address(world):
    company = world.add("companies", name="Acme")
    for name, email in (("First", None), ("Second", ""), ("Third", "third@acme.example"), ("Fourth", "4@acme.example")):
        world.add("contacts", fullName=name, emailAddress=email, companyID=company)
        world.clock.advance(1)
    (record,) = world.connector.read(Kind.COMPANY, [company])
    assert record.fields["contact"]["name"] == "Third"


def test_without_any_address_it_is_the_oldest(world):
    bare, with_one = world.add("companies", name="Bare"), world.add("companies", name="With one")
    world.add("contacts", fullName="Old", companyID=with_one)
    world.clock.advance(1)
    world.add("contacts", fullName="New", companyID=with_one)
    found = {record.id: record.fields["contact"] for record in world.connector.read(Kind.COMPANY, [bare, with_one])}
    assert found[bare] is None
    assert found[with_one]["name"] == "Old"


def test_search_takes_100_names_at_once_whatever_they_hold(world):
    wanted = world.add("products", name="O'Neil & Söhne, 5% + #1")
    world.add("products", name="Another")
    names = [f"A long name of a product, number {number}" for number in range(99)] + ["o'neil & söhne, 5% + #1"]
    world.connector.probe()
    world.http.requests.clear()
    assert [record.id for record in world.connector.search(Kind.PRODUCT, "name", names)] == [wanted]
    assert len(world.http.requests) == 1
    assert world.connector.search(Kind.PRODUCT, "name", []) == []


def test_a_field_that_cannot_be_searched_is_named(world):
    with pytest.raises(RejectedError, match="sku"):
        world.connector.search(Kind.DEAL, "sku", ["x"])


@pytest.mark.parametrize("settings", [{"envelope": True}, {"status_as_number": True}])
def test_releases_that_answer_in_another_form(settings):
    world = World(**settings)
    deal = world.add("opportunities", name="Deal", status=1)
    (record,) = world.connector.read(Kind.DEAL, [deal])
    assert record.fields["status"] == "won"
    done = only(world.connector.write([update(deal, payment_status="Paid")]))
    assert isinstance(done, Done)
    assert done.record.fields["status"] == "won"


# Writing


def test_an_update_is_read_back_and_leaves_the_rest_alone(world):
    deal = world.add(
        "opportunities",
        name="Deal",
        status="Won",
        competitor="Somebody",
        actualCloseDate="2026-03-01T00:00:00+00:00",
        customFields={"opportunity_field_1": "kept"},
    )
    before = world.state.record("opportunities", deal)
    world.clock.advance(5)
    outcome = only(world.connector.write([update(deal, payment_status="Paid", amount_paid=Decimal("1054.105"))]))
    assert isinstance(outcome, Done)
    assert outcome.record.fields["custom_fields"]["amount_paid"] == Decimal("1054.105")
    assert outcome.record.version != before["edited"]
    after = world.state.record("opportunities", deal)
    assert after["customFields"] == {**before["customFields"], "payment_status": "Paid", "amount_paid": 1054.105}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"customFields", "edited"}


def test_the_same_update_again_writes_nothing(world):
    deal = world.add("opportunities", name="Deal")
    effect = update(deal, payment_status="Paid")
    world.connector.write([effect])
    world.http.requests.clear()
    assert isinstance(only(world.connector.write([effect])), Done)
    assert not any(request.write for request in world.http.requests)


def test_30_updates_are_three_calls(world):
    deals = [world.add("opportunities", name="Deal") for _ in range(30)]
    world.connector.probe()
    world.http.requests.clear()
    effects = [update(deal, number=number, payment_status="Paid") for number, deal in enumerate(deals)]
    assert all(isinstance(outcome, Done) for outcome in world.connector.write(effects))
    assert len(world.http.requests) == 3
    assert sum(request.write for request in world.http.requests) == 1


def test_two_updates_of_one_record_do_not_undo_each_other(world):
    deal = world.add("opportunities", name="Deal")
    effects = [update(deal, number=1, payment_status="Paid"), update(deal, number=2, amount_paid=Decimal(5))]
    assert all(isinstance(outcome, Done) for outcome in world.connector.write(effects))
    custom = world.state.record("opportunities", deal)["customFields"]
    assert (custom["payment_status"], custom["amount_paid"]) == ("Paid", 5)


def test_a_field_that_is_not_kept_is_named(world):
    deal = world.add("opportunities", name="Deal")
    outcome = only(world.connector.write([update(deal, payment_state="Paid")]))
    assert isinstance(outcome, NotDone)
    assert isinstance(outcome.error, RejectedError)
    assert outcome.error.field == "custom_fields.payment_state"


@pytest.mark.parametrize("kind", [Kind.DEAL, Kind.CONTACT, Kind.COMPANY, Kind.PRODUCT])
def test_every_kind_can_be_updated(world, kind):
    collections = {
        Kind.DEAL: ("opportunities", {"name": "Deal"}),
        Kind.CONTACT: ("contacts", {"fullName": "Ada"}),
        Kind.COMPANY: ("companies", {"name": "Acme"}),
        Kind.PRODUCT: ("products", {"name": "Part"}),
    }
    name, fields = collections[kind]
    world.settings.custom_fields[name].append("extra")
    target = world.add(name, **fields)
    outcome = only(world.connector.write([update(target, kind, extra="x")]))
    assert isinstance(outcome, Done)
    assert outcome.record.fields["custom_fields"]["extra"] == "x"


def test_a_lost_answer_is_unknown_and_the_record_tells(world):
    deal = world.add("opportunities", name="Deal")

    def lose(request: Request) -> Answer | None:
        world.http.deliver(request)
        raise UncertainError("lost")

    meddle_with_writes(world, lose)
    effect = update(deal, payment_status="Paid")
    assert isinstance(only(world.connector.write([effect])), Unknown)
    (record,) = world.connector.read(Kind.DEAL, [deal])
    assert record.fields["custom_fields"]["payment_status"] == "Paid"


def test_what_cannot_be_read_back_is_unknown(world):
    deal = world.add("opportunities", name="Deal")
    written = False

    def fail_after_the_write(request: Request) -> Answer | None:
        nonlocal written
        if written:
            return Answer(503, {}, b"")
        written = request.write and "$batch" not in request.url
        return None

    world.http.meddle = fail_after_the_write
    outcome = only(world.connector.write([update(deal, payment_status="Paid")]))
    assert written
    assert isinstance(outcome, Unknown)


def test_a_page_of_somebody_else_is_unknown(world):
    deal = world.add("opportunities", name="Deal")
    meddle_with_writes(world, lambda _: Answer(200, {"content-type": "text/html"}, b"<html>sign in</html>"))
    assert isinstance(only(world.connector.write([update(deal, payment_status="Paid")])), Unknown)


def test_a_refused_connection_is_not_done(world):
    deal = world.add("opportunities", name="Deal")

    def refuse(_: Request) -> Answer | None:
        raise UnavailableError("could not connect")

    meddle_with_writes(world, refuse)
    assert isinstance(only(world.connector.write([update(deal, payment_status="Paid")])), NotDone)


def test_one_bad_part_does_not_stop_the_others(world):
    good, bad = world.add("opportunities", name="Good"), world.add("opportunities", name="Bad")
    gone = "195a64f8-0000-4506-8eb2-2dd6fa8dfd1a"

    def fail_one(request: Request) -> Answer | None:
        reply = world.http.deliver(request)
        assert reply.body.count(b"HTTP/1.1 200 OK") == 2
        first, _, rest = reply.body.partition(b"HTTP/1.1 200 OK")
        which = b"HTTP/1.1 500 Internal Server Error"
        return Answer(reply.status, reply.headers, first + which + rest)

    meddle_with_writes(world, fail_one)
    effects = [
        update(bad, number=1, payment_status="Paid"),
        update(good, number=2, payment_status="Paid"),
        update(gone, number=3, payment_status="Paid"),
        Effect("4" * 32, Operation.CREATE, Kind.DEAL, RecordUpdate(fields={}), "r" * 12),
        Effect("5" * 32, Operation.UPDATE, Kind.ITEM, Item(name="x"), "r" * 12, good),
    ]
    outcomes = {outcome.effect_id: outcome for outcome in world.connector.write(effects)}
    assert isinstance(outcomes[effects[0].id], Unknown)
    assert isinstance(outcomes[effects[1].id], Done)
    for effect, error in ((effects[2], NotFoundError), (effects[3], RejectedError), (effects[4], RejectedError)):
        outcome = outcomes[effect.id]
        assert isinstance(outcome, NotDone)
        assert isinstance(outcome.error, error)


def test_a_batch_answered_in_part_is_unknown(world):
    deals = [world.add("opportunities", name="Deal") for _ in range(2)]

    def cut(request: Request) -> Answer | None:
        reply = world.http.deliver(request)
        return Answer(reply.status, reply.headers, reply.body[: len(reply.body) // 2])

    meddle_with_writes(world, cut)
    effects = [update(deal, number=number, payment_status="Paid") for number, deal in enumerate(deals)]
    assert all(isinstance(outcome, Unknown) for outcome in world.connector.write(effects))


# Errors


@pytest.mark.parametrize(
    ("status", "read", "write"),
    [
        (400, RejectedError, RejectedError),
        (401, ReconnectError, ReconnectError),
        (403, ThrottledError, RejectedError),
        (404, NotFoundError, NotFoundError),
        (409, RejectedError, RejectedError),
        (415, RejectedError, RejectedError),
        (418, UnavailableError, UncertainError),
        (423, UnavailableError, UnavailableError),
        (429, ThrottledError, ThrottledError),
        (500, UnavailableError, UncertainError),
        (502, UnavailableError, UncertainError),
        (503, UnavailableError, UncertainError),
        (504, UnavailableError, UncertainError),
    ],
)
def test_what_each_status_means(status, read, write):
    body = b'{"message":"m","exceptionMessage":"Name too long.\\nat D:\\\\x","stackTrace":"at D:\\\\build\\\\x.cs"}'
    for is_write, wanted in ((False, read), (True, write)):
        error = error_of(Answer(status, {}, body), write=is_write, now_seconds=0)
        assert type(error) is wanted
        assert isinstance(error, ProviderError)
        assert "D:" not in error.message + error.detail
        if wanted is RejectedError and status == 400:
            assert "Name too long." in error.message


@pytest.mark.parametrize(("reset", "seconds"), [("12", 12), ("1000030", 60), ("1800000007", 7), ("soon", 10), ("", 10)])
def test_how_long_to_wait_is_bounded(reset, seconds):
    error = error_of(Answer(429, {"x-ratelimit-reset": reset}, b""), write=False, now_seconds=1_800_000_000)
    assert isinstance(error, ThrottledError)
    assert error.retry_after_seconds == seconds


# Wire


def test_a_batch_is_sent_in_the_form_of_the_documentation():
    body = encode([Part("GET", "/api/x", {"$top": "1"})], base_path="/base", host="a.example", boundary="b")
    assert body == (
        b"--b\r\nContent-Type: application/http; msgtype=request\r\n\r\n"
        b"GET /base/api/x?$top=1 HTTP/1.1\r\nHost: a.example\r\n\r\n\r\n--b--\r\n"
    )


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"[]"),
        ("multipart/mixed", b"--b--"),
        ("multipart/mixed; boundary=b", b"--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 200 OK\r\n\r\n[]"),
        ("multipart/mixed; boundary=b", b"--b\r\n\r\nnonsense\r\n--b--"),
        ("multipart/mixed; boundary=b", b""),
    ],
)
def test_a_broken_answer_to_a_batch_is_noticed(content_type, body):
    with pytest.raises(ValueError):  # noqa: PT011 - any
        decode(Answer(200, {"content-type": content_type}, body))


def test_a_body_with_blank_lines_and_quoted_boundary_is_kept():
    part = b"Content-Type: application/http\r\n\r\nHTTP/1.1 404 Not Found\r\nA: b\r\n\r\none\r\n\r\ntwo"
    body = b"\r\n--x y\r\n" + part + b"\r\n--x y--"
    (answer,) = decode(Answer(200, {"content-type": 'multipart/mixed; boundary="x y"'}, body))
    assert (answer.status, answer.headers["a"], answer.body) == (404, "b", b"one\r\n\r\ntwo")
