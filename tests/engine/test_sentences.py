"""What a person reads when a record needs a decision: what happened, to which record, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.engine.world import CRM, START, TENANT, World
from tieout.domain.changes import Change, Origin
from tieout.domain.documents import CreditNote, Customer, Invoice
from tieout.domain.effects import Match, MatchedBy
from tieout.domain.errors import RejectedError, SettingsError
from tieout.domain.links import Link, LinkKey, Withdrawal
from tieout.domain.records import Kind, Record
from tieout.engine import sentences
from tieout.engine.collect import compiled
from tieout.engine.plan import Difference, Work
from tieout.mapping import Mapped
from tieout.matching import Reason, Scored

SYNC = "deals-to-invoices"
NUMBERED = {"number": "S1"}
ACME = {"name": "Acme"}
LOST = "The deal no longer fulfils the sync's condition, "
GONE = "The deal is gone, or our user may not see it any more, "


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def work(world: World, step: str = "invoices", *, base: Mapping[str, Any] | None = None, **more: Any) -> Work:
    (stored,) = world.state.syncs(TENANT)
    sync = compiled(stored)
    (found,) = (one for one in sync.steps if one.name == step)
    key = LinkKey(TENANT, SYNC, step, "d1")
    link = Link(key, target_id=more.pop("target_id", "77"), base=base)
    change = Change(TENANT, CRM, found.from_kind, "d1", START, Origin.POLL)
    record = more.pop("record", Record(found.from_kind, "d1", "1", START, {"name": "Large order"}))
    return Work(sync, found, key, change, record, link, **more)


def says(error: RejectedError) -> tuple[str, str, str, str]:
    return error.message, error.next_step, error.code, error.field


@pytest.mark.parametrize(
    ("base", "link_to", "meant", "name"),
    [
        (NUMBERED | ACME, "77", None, "invoice S1"),
        (ACME, "77", None, "invoice Acme"),
        ({"number": None, "name": ""}, "77", "78", "invoice 77"),
        (None, None, "78", "invoice 78"),
    ],
)
def test_a_document_is_called_by_its_number_then_its_name_then_its_id(world, base, link_to, meant, name):
    named = replace(work(world, base=base, target_id=link_to), target_id=meant)
    assert sentences.document_name(named) == name


def test_kinds_of_two_words_are_two_words(world):
    step = work(world).step
    credit = replace(work(world, base=NUMBERED), step=step.crediting())
    assert sentences.document_name(credit) == "credit note S1"
    assert sentences.left_the_sync(credit).next_step == "Void the credit note in the books, or set the deal back."


def test_a_source_that_is_gone(world):
    assert says(sentences.source_gone(work(world, base=NUMBERED))) == (
        GONE + "but its invoice S1 still stands.",
        "Void the invoice in the books if that is right, then dismiss this one.",
        "",
        "",
    )
    assert says(sentences.source_gone(work(world, "customers", base=ACME)))[:2] == (
        "The company is gone, or our user may not see it any more, but its customer Acme still stands.",
        "Make the customer inactive in the books if that is right, then dismiss this one.",
    )
    assert sentences.source_gone(work(world, "items", base=ACME)).next_step.startswith("Make the item inactive in")


def test_a_source_that_is_gone_after_it_wrote_into_another_record(world):
    assert says(sentences.source_gone(work(world, "payments")))[:2] == (
        "The invoice is gone, or our user may not see it any more, but what it wrote still stands in the deal 77.",
        "Correct the deal by hand if that is right, then dismiss this one.",
    )


def test_a_record_that_left_the_sync(world):
    assert says(sentences.left_the_sync(work(world, base=NUMBERED)))[:2] == (
        LOST + "but its invoice S1 still stands.",
        "Void the invoice in the books, or set the deal back.",
    )
    assert says(sentences.left_the_sync(work(world, "payments")))[:2] == (
        "The invoice no longer fulfils the sync's condition, but what it wrote still stands in the deal 77.",
        "Correct the deal by hand, then dismiss this one; or let the step write all the same (`on_leave: write`).",
    )


@pytest.mark.parametrize(
    ("record", "name"), [(Record(Kind.INVOICE, "9", "1", START, {"number": "S1"}), "S1"), (None, "d1")]
)
def test_a_document_with_our_reference_to_which_nothing_is_linked(world, record, name):
    pair = Link(LinkKey(TENANT, SYNC, "invoices", "deal-4"))
    assert says(sentences.not_linked(work(world, "payments", record=record), pair))[:2] == (
        f"The invoice {name} carries our reference, but the deal deal-4 is not linked to it.",
        (
            f"If the invoice should stand, run `tieout backfill {SYNC} --relink --tenant acme`; if not, void it in the "
            "books and dismiss this one."
        ),
    )


def test_a_document_that_is_gone_may_be_written_anew_by_command_unless_it_writes_back(world):
    message, next_step, *_ = says(sentences.target_gone(work(world, base=NUMBERED), world.books))
    assert message == "The invoice S1 was voided in the books, or deleted there."
    assert next_step.startswith("If that was on purpose, dismiss this one; it is not written again by itself.")
    assert says(sentences.target_gone(work(world, "payments"), world.crm))[:2] == (
        "The deal 77 is gone from the CRM.",
        "If that was on purpose, dismiss this one; it is not written again by itself.",
    )


@pytest.mark.parametrize(
    ("path", "written", "shown", "was"),
    [
        ("due_date", "2026-12-01", "2026-12-24", 'its due date was "2026-12-01" and is "2026-12-24"'),
        ("note", None, "x", 'its note was empty and is "x"'),
        ("note", "x", "", 'its note was "x" and is empty'),
        ("paid", "0", 5, 'its paid was "0" and is "5"'),
    ],
)
def test_a_document_that_was_changed_on_the_other_side(world, path, written, shown, was):
    changed = Difference(path, written, shown)
    assert says(sentences.changed_on_both_sides(work(world, base=NUMBERED), world.books, changed)) == (
        f"The invoice S1 was changed in the books since it was written: {was}. The deal changed too.",
        "Make both sides equal by hand, then retry.",
        "changed-on-both-sides",
        path,
    )
    withdrawn = sentences.changed_before_withdrawal(work(world, base=NUMBERED), Withdrawal.LEFT, world.books, changed)
    assert says(withdrawn) == (
        LOST + f"but its invoice S1 was changed in the books since it was written: {was}.",
        "Void the invoice in the books if that is right, then dismiss this one.",
        "changed-before-withdrawal",
        path,
    )


@pytest.mark.parametrize(
    ("fields", "stuck", "message"),
    [
        (["email"], {}, "Both the CRM and the books changed the email of the customer Acme since they last agreed."),
        (
            ["billing_address.city", "given_name", "email"],
            {},
            (
                "Both the CRM and the books changed the billing address city, given name and email of the customer "
                "Acme since they last agreed."
            ),
        ),
        (
            ["phone", "email"],
            {"phone": "it is no number"},
            (
                "Both the CRM and the books changed the phone and email of the customer Acme since they last agreed. "
                "The phone cannot go back to the CRM: it is no number."
            ),
        ),
        (
            ["family_name"],
            {"family_name": "it is too long", "note": "nobody asked"},
            (
                "The books changed the family name of the customer Acme since they last agreed. "
                "The family name cannot go back to the CRM: it is too long."
            ),
        ),
    ],
)
def test_fields_that_both_sides_changed(world, fields, stuck, message):
    error = sentences.both_changed(work(world, "customers", base=ACME), world.crm, world.books, fields, stuck)
    assert says(error) == (
        message,
        f"Say whose value counts: run `tieout review show {SYNC}/customers/d1 --tenant acme`.",
        "conflict",
        fields[0],
    )


def test_a_record_that_goes_to_and_fro(world):
    error = sentences.flaps(work(world, "customers", base=ACME), world.crm, world.books, ["given_name", "email"])
    assert says(error) == (
        (
            "The customer Acme goes to and fro: the CRM and the books overwrote each other 10 times within an hour, "
            "last its given name and email."
        ),
        (
            "Find out who or what changes it on both sides, such as another integration, then retry it. After an "
            "hour its next change is synced again by itself."
        ),
        "flaps",
        "given_name",
    )


def test_several_candidates_are_named_in_order(world):
    matches = [Match(Record(Kind.CUSTOMER, one), MatchedBy.NATURAL_KEY) for one in ("9", "12", "1")]
    assert says(sentences.several_candidates(work(world, "customers"), matches))[:2] == (
        "Several records may be this customer: 1, 12, 9.",
        "Merge them, or give each its own name, then retry.",
    )


def scored(record_id: str, *, name: str | None = None, same_name: bool = False) -> Scored:
    fields = {} if name is None else {"name": name}
    reasons = tuple(Reason(f"reason {number}", Decimal(5 - number)) for number in range(1, 5))
    return Scored(Record(Kind.CUSTOMER, record_id, fields=fields), Decimal("0.8"), reasons, "", True, same_name)


@pytest.mark.parametrize(
    ("others", "more"),
    [([], ""), (["8"], ", or another one"), (["8", "9"], ", or one of 2 more")],
)
def test_records_that_may_be_the_one_meant(world, others, more):
    candidates = [scored("7", name="ACME"), *map(scored, others)]
    assert says(sentences.may_be_one_of(work(world, "customers"), world.books, candidates)) == (
        f"The company Large order may be the customer ACME in the books already (reason 1, reason 2, reason 3){more}.",
        (
            f"Run `tieout review show {SYNC}/customers/d1 --tenant acme`, and accept one, say that it is never one of "
            "them, or let a new customer be created."
        ),
        "match",
        "",
    )


def test_a_name_that_is_taken_is_to_be_changed_before_another_is_created(world):
    candidates = [scored("7"), scored("8", same_name=True)]
    message, next_step, *_ = says(
        sentences.may_be_one_of(work(world, "customers", record=None), world.books, candidates)
    )
    assert message.startswith("The company d1 may be the customer 7 in the books already (")
    assert next_step.endswith(
        "or let a new customer be created; give it another name first, since the books has this one."
    )


@pytest.mark.parametrize(("name", "shown"), [("Acme Group", "Acme Group"), (None, "7")])
def test_a_partner_that_may_have_been_merged(world, name, shown):
    candidates = [scored("7", name=name), scored("8")]
    assert says(sentences.may_have_become(work(world, "customers", base=ACME), world.books, candidates)) == (
        f"The customer Acme is gone from the books; it may have been merged into {shown}.",
        (
            f"Run `tieout review show {SYNC}/customers/d1 --tenant acme`: accept the one that it became, let a new "
            "one be created, or say that it is none of them."
        ),
        "target-gone",
        "",
    )


@pytest.mark.parametrize(
    ("mapped", "name"), [(Mapped({"name": "Acme"}, (), ()), "Acme"), (Mapped({}, (), ()), "d1"), (None, "d1")]
)
def test_a_name_that_belongs_to_another_record(world, mapped, name):
    assert says(sentences.belongs_to_another(work(world, "customers", mapped=mapped), world.books)) == (
        f"The customer {name} in the books belongs to another company already.",
        "Give each company a name of its own, or merge the two, then retry.",
        "",
        "name",
    )


def test_a_record_that_is_needed_and_left_out_by_the_sync(world):
    assert says(sentences.not_taken_by_the_sync(work(world), "customers", "c7")) == (
        "It needs a record of step `customers` (c7) that the sync does not take.",
        f"See whether the condition of `customers` in the sync `{SYNC}` leaves it out.",
        "",
        "customers",
    )


def test_a_sync_that_this_release_does_not_understand():
    error = sentences.not_understood(SYNC, SettingsError("No such transform.", detail="line 4"))
    assert error.message == (
        f"The sync {SYNC} is not understood by this release of Tieout, so its changes wait: No such transform."
    )
    assert error.next_step == (
        "Run `tieout mapping check` on its document, correct what it says, and run `tieout config apply`."
    )
    assert error.detail == "line 4"


def invoice(amount: str, kind: type[Invoice | CreditNote] = Invoice, **more: Any) -> Invoice | CreditNote:
    line = {"item": "1", "quantity": Decimal(1), "unit_price": Decimal(amount), "amount": Decimal(amount)}
    fields = {"customer": "1", "date": START.date(), "currency": "USD", "lines": [line], **more}
    return kind.model_validate(fields)


def deal(amount: str | None) -> Record:
    return Record(Kind.DEAL, "d1", fields={"amount": None if amount is None else Decimal(amount)})


@pytest.mark.parametrize("kind", [Invoice, CreditNote])
def test_an_amount_that_the_lines_do_not_make(world, kind):
    error = sentences.lines_differ(work(world, record=deal("10.01")), invoice("10", kind))
    assert error is not None
    assert says(error) == (
        "The deal says 10.01 USD, but its lines make 10.00 USD.",
        "Correct the amount or the lines of the deal, then retry.",
        "",
        "amount",
    )


@pytest.mark.parametrize("amount", ["10", "10.004", "9.995", None])
def test_an_amount_that_the_lines_make_to_the_cent_or_that_nobody_gave(world, amount):
    assert sentences.lines_differ(work(world, record=deal(amount)), invoice("10")) is None


def test_only_an_invoice_of_a_record_that_is_there_has_lines_to_compare(world):
    assert sentences.lines_differ(work(world, record=None), invoice("10")) is None
    assert sentences.lines_differ(work(world, record=deal("10")), Customer(name="Acme")) is None


def test_a_total_that_the_books_compute_otherwise(world):
    assert says(sentences.total_differs(work(world), world.books, Decimal("10.01"), Decimal(10))) == (
        "the books shows a total of 10.01, but the deal makes 10.",
        "Compare tax, discount and rounding on both sides, and correct one of them.",
        "",
        "total",
    )


def test_too_many_rewrites_after_a_sync_was_changed(world):
    assert says(sentences.too_many_rewrites(work(world, base=NUMBERED), 25)) == (
        f"The sync {SYNC} was changed, so that its invoice S1 is to be written again; it allows 25 of that a day.",
        (
            f"See what would be written with `tieout plan {SYNC} --tenant acme`, and apply that plan; or let all of "
            f"them pass with `tieout parked retry --tenant acme --cause cap-rewrites-{SYNC} --approve`."
        ),
        "cap-rewrites",
        "",
    )


@pytest.mark.parametrize(
    ("fields", "amount"),
    [
        ({"currency": "USD", "paid": Decimal("1234.5")}, "1,234.50 USD"),
        ({"currency": None, "paid": Decimal("1234.5")}, "1234.5"),
        ({"paid": 7}, "7"),
    ],
)
def test_an_invoice_that_is_paid_cannot_be_voided(world, fields, amount):
    document = Record(Kind.INVOICE, "77", fields=fields)
    assert says(sentences.paid_already(work(world, base=NUMBERED), Withdrawal.LEFT, world.books, document)) == (
        LOST[:-2] + f", but its invoice S1 cannot be voided: {amount} is paid.",
        (
            "Make a credit note or a refund in the books by hand, then dismiss this one; or let the step `invoices` "
            "make credit notes (`if_paid: credit_note`), then retry."
        ),
        "paid",
        "",
    )


@pytest.mark.parametrize(
    ("why", "because"),
    [
        (Withdrawal.LEFT, "The deal no longer fulfils the sync's condition"),
        (Withdrawal.SOURCE_GONE, "The deal is gone, or our user may not see it any more"),
        (Withdrawal.UNDONE, "What was written for the deal is taken back"),
    ],
)
def test_more_withdrawals_than_a_day_allows_say_why_there_is_one(world, why, because):
    assert says(sentences.above_the_cap(work(world, base=NUMBERED), why, 5)) == (
        f"{because}, so its invoice S1 is to be withdrawn; but the sync {SYNC} allows 5 of that a day.",
        (
            "See whether so many records really left or are gone. If they did, retry with `--approve`; if not, correct "
            "the records or the sync, then retry."
        ),
        "cap-withdrawals",
        "",
    )


def test_a_record_that_takes_part_again_after_its_document_was_withdrawn(world):
    message, _, code, _ = says(sentences.back_after_withdrawal(work(world, base=NUMBERED), world.books))
    assert message.startswith("The deal takes part in the sync again, but its invoice S1 was withdrawn ")
    assert code == "withdrawn"


@pytest.mark.parametrize("known", [True, False])
def test_parents_that_go_in_a_circle_or_too_deep(world: World, known: bool):
    customer = work(world, "customers") if known else work(world, "customers", record=None)
    name = "Large order" if known else "d1"
    assert says(sentences.its_own_parent(customer)) == (
        f"The company {name} belongs to a company that belongs to it in turn.",
        "Correct the parent of one of them in the source; each company may belong to one above it only.",
        "own-parent",
        "parent",
    )
    assert says(sentences.too_deep(customer, 5)) == (
        f"The company {name} belongs to a chain of more than 5 levels, and the books take no more.",
        "Let it belong to a company further up, or leave the parent of this customer out of the sync.",
        "too-deep",
        "parent",
    )


def test_a_partner_that_is_inactive(world: World):
    assert says(sentences.target_inactive(work(world, "customers", base=ACME), world.books)) == (
        "The customer Acme is inactive in the books, and nothing there is like it.",
        "Make it active in the books, then retry; what needs it waits.",
        "target-inactive",
        "",
    )
