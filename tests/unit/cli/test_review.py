"""`tieout review`: what is asked, and what an answer does."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

from tests.engine.test_two_way import ADDRESS, KEY, sync
from tests.engine.world import BOOKS, CRM, START, TENANT
from tieout.cli import desk as desk_module
from tieout.cli.identity import caller_here, caller_of
from tieout.cli.parked import operate
from tieout.domain.changes import Change, Origin, Unsynced, UnsyncedState
from tieout.domain.errors import ClaimedError, SettingsError
from tieout.domain.links import LinkKey
from tieout.domain.records import Kind
from tieout.domain.reviews import Candidate, Choice, Decision, Review, ReviewKind
from tieout.ports.state import StoredSync

WHERE = "deals-to-invoices/customers/c1"
MATCH = "deals-to-invoices/customers/c2"


@pytest.fixture
def asked(terminal):
    """Both sides changed the phone and the e-mail of a company."""
    world = terminal.world
    world.state.put_sync(StoredSync(TENANT, "deals-to-invoices", 2, sync(), START))
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550100", address=ADDRESS)
    world.apply("c1", kind=Kind.COMPANY)
    (customer,) = world.books.all(Kind.CUSTOMER)
    world.clock.time = START.replace(hour=10)
    contact = {"name": "Ada Miller", "given_name": "Ada", "family_name": "Miller", "email": "crm@acme.example"}
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550111", contact=contact)
    world.clock.time = START.replace(hour=11)
    world.books.put(Kind.CUSTOMER, customer.id, phone="+16505550222", email="books@acme.example")
    record = world.books.records[Kind.CUSTOMER, customer.id]
    world.books.records[Kind.CUSTOMER, customer.id] = replace(record, edited_by="Grace")
    world.apply(customer.id, kind=Kind.CUSTOMER, connection=BOOKS)
    return terminal


@pytest.fixture
def unsure(terminal):
    """A company of which two customers may be the partner."""
    change = Change(TENANT, CRM, Kind.COMPANY, "c2", START, Origin.POLL)
    review = Review(
        ReviewKind.MATCH,
        candidates=(
            Candidate("55", "Acme Corp.", Decimal("0.91"), ("same phone", "name alike")),
            Candidate("56", "Acme Ltd", Decimal("0.72")),
        ),
    )
    parked = Unsynced(
        "deals-to-invoices",
        "customers",
        change,
        UnsyncedState.PARKED,
        "Acme",
        "match-customers",
        "Several customers may be this company.",
        START,
        review=review,
    )
    terminal.world.state.set_unsynced(LinkKey(TENANT, "deals-to-invoices", "customers", "c2"), parked)
    return terminal


def values(terminal: Any) -> tuple[Any, ...]:
    """Phone and e-mail on both sides."""
    (customer,) = terminal.world.books.all(Kind.CUSTOMER)
    company = terminal.world.crm.records[Kind.COMPANY, "c1"].fields
    return (company["phone"], company["contact"]["email"], customer.fields["phone"], customer.fields["email"])


def test_nothing_is_asked(terminal):
    assert terminal.type("review", "list").out == "No question is open.\n"
    assert terminal.json("review", "list") == {"reviews": []}


def test_questions_are_listed_by_sync_and_kind(asked):
    (one,) = asked.json("review", "list")["reviews"]
    assert (one["where"], one["kind"]) == (WHERE, "conflict")
    assert [each["field"] for each in one["conflicts"]] == ["email", "phone"]
    assert asked.json("review", "list", "--kind", "match")["reviews"] == []
    assert asked.json("review", "list", "--sync", "deals-to-invoices", "--kind", "match")["reviews"] == []
    told = asked.type("review", "list").out
    assert WHERE in told
    assert "1 question open" in told
    assert asked.type("review", "list", "--kind", "riddle").exit_code == 2


def test_a_sync_that_is_misspelt_is_told(asked):
    told = asked.json("review", "list", "--sync", "another")["error"]["message"]
    assert "has no sync `another`; it has: deals-to-invoices." in told
    assert asked.exit_code == 5


def test_of_many_questions_some_are_listed(unsure):
    (one,) = unsure.world.state.unsynced(TENANT)
    for number in range(3):
        key = LinkKey(TENANT, one.sync, one.step, f"more-{number}")
        unsure.world.state.set_unsynced(key, replace(one, change=replace(one.change, id=key.source_id)))
    told = unsure.type("review", "list", "--show", "2").out
    assert "and 2 more (--show 4)" in told
    assert "4 questions open" in told


def test_a_question_of_a_sync_that_is_gone_is_still_shown(asked):
    asked.world.state.stored_syncs.clear()
    assert "the target was edited" in asked.type("review", "show", WHERE).out
    assert WHERE in asked.type("review", "list", "--sync", "deals-to-invoices").out


def test_what_is_only_parked_takes_no_answer(terminal):
    terminal.world.deal("d1", product="Unheard Of")
    terminal.world.apply("d1")
    (one,) = terminal.world.unsynced()
    desk = terminal.desk
    decision = Decision("0", Choice.CREATE, "ada", START)
    with pytest.raises(SettingsError, match="Nothing is asked about deals-to-invoices/invoices/d1"):
        operate(desk).resolve(TENANT, one, decision)


def test_a_conflict_is_shown_with_both_values_who_and_when(asked):
    told = asked.type("review", "show", WHERE).out
    assert "+16505550100" in told
    assert "+16505550111" in told
    assert "+16505550222" in told
    assert "the CRM was edited 2026-11-22T10:00:00Z; it does not tell by whom" in told
    assert "the books was edited 2026-11-22T11:00:00Z by Grace" in told
    assert f"tieout review resolve {WHERE} --tenant acme --take source" in told
    assert asked.json("review", "show", WHERE)["target_edited_by"] == "Grace"


@pytest.mark.parametrize(("side", "phone"), [("source", "+16505550111"), ("target", "+16505550222")])
def test_one_side_is_taken(asked, side, phone):
    answer = asked.json("review", "resolve", WHERE, "--take", side, "--yes")
    assert answer["fields"] == {"email": side, "phone": side}
    assert answer["by"] == asked.desk.who()
    assert asked.world.state.links[KEY].decision is not None
    asked.work()
    assert values(asked)[0] == values(asked)[2] == phone
    assert asked.json("review", "list")["reviews"] == []
    assert asked.world.state.links[KEY].decision is None


def test_fields_are_taken_one_by_one(asked):
    asked.type("review", "resolve", WHERE, "--field", "phone=source", "--take", "target", "--yes")
    asked.work()
    assert values(asked) == ("+16505550111", "books@acme.example", "+16505550111", "books@acme.example")


def test_an_answer_is_asked_back(asked):
    asked.type("review", "resolve", WHERE, "--take", "source", given="n\n")
    assert asked.exit_code == 1
    assert "Acme Corporation has its email as in the CRM, phone as in the CRM. Keep this answer?" in asked.err
    assert asked.world.state.links[KEY].decision is None
    asked.type("review", "resolve", WHERE, "--take", "source", given="y\n")
    assert asked.exit_code == 0
    assert asked.type("review", "resolve", WHERE, "--take", "source", given="").exit_code == 2
    assert asked.type("review", "resolve", WHERE, "--take", "source", "--json").exit_code == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Give one answer"),
        (["--take", "source", "--create"], "Give one answer"),
        (["--take", "both"], "`both` is no side"),
        (["--field", "phone"], "`phone` is no NAME=source or NAME=target"),
        (["--field", "phone=source"], "does not say whose value counts for `email`"),
        (["--field", "name=source", "--take", "source"], "`name` of deals-to-invoices/customers/c1 is not in question"),
        (["--accept", "55"], "the answer says whose value counts"),
        (["--create"], "the answer says whose value counts"),
    ],
)
def test_an_answer_that_does_not_fit_a_conflict_changes_nothing(asked, options, said):
    assert asked.type("review", "resolve", WHERE, *options, "--yes").exit_code == 2
    assert said in asked.err
    assert asked.world.state.links[KEY].decision is None


def test_candidates_are_shown_with_scores_and_reasons(unsure):
    told = unsure.type("review", "show", MATCH).out
    assert "0.91" in told
    assert "same phone; name alike" in told
    assert f"tieout review resolve {MATCH} --tenant acme --accept 55" in told
    assert [one["score"] for one in unsure.json("review", "show", MATCH)["candidates"]] == ["0.91", "0.72"]


@pytest.mark.parametrize(
    ("options", "choice", "target"),
    [
        (["--accept", "56"], Choice.ACCEPT, "56"),
        (["--create"], Choice.CREATE, ""),
        (["--never", "55"], Choice.NEVER, "55"),
    ],
)
def test_a_match_is_answered(unsure, options, choice, target):
    assert unsure.type("review", "resolve", MATCH, *options, "--yes").exit_code == 0
    key = LinkKey(TENANT, "deals-to-invoices", "customers", "c2")
    decision = unsure.world.state.links[key].decision
    assert (decision.choice, decision.target_id) == (choice, target)
    (queued,) = unsure.world.queue.now
    assert (queued.id, queued.origin) == ("c2", Origin.OPERATOR)


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--take", "source"], "which record is meant"), (["--accept", "57"], "`57` is none of the candidates")],
)
def test_an_answer_that_does_not_fit_a_match_changes_nothing(unsure, options, said):
    assert unsure.type("review", "resolve", MATCH, *options, "--yes").exit_code == 2
    assert said in unsure.err
    assert unsure.world.queue.now == []


def test_a_place_where_nothing_is_asked(asked):
    for command in (["show"], ["resolve", "--take", "source", "--yes"]):
        assert asked.type("review", command[0], "deals-to-invoices/customers/c9", *command[1:]).exit_code == 1
        assert "No question is open at deals-to-invoices/customers/c9." in asked.err


def test_a_record_that_workers_write_all_the_time_is_for_later(asked, monkeypatch):
    def claimed(_: Any) -> Any:
        raise ClaimedError("Another worker is writing this document.")

    monkeypatch.setattr(asked.world.state, "store", claimed)
    assert asked.type("review", "resolve", WHERE, "--take", "source", "--yes").exit_code == 4
    assert asked.world.queue.now == []


class Sts:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.sts = self

    def get_caller_identity(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_who_decides_is_whom_aws_knows_or_the_user_here(monkeypatch):
    arn = "arn:aws:sts::123456789012:assumed-role/Accountants/grace"
    clients: Any = Sts({"Arn": arn})
    assert caller_of(clients) == arn
    clients = Sts(NoCredentialsError())
    assert caller_of(clients) == caller_here()

    def nobody() -> str:
        raise OSError("no such user")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert caller_here() == "unknown"
    assert desk_module.caller_of is caller_of
