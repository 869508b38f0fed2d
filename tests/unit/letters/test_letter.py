"""The e-mails, letter by letter: an accountant reads these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.engine.test_sweep import sweeper
from tests.engine.test_two_way import ADDRESS, Both
from tests.engine.test_withdraw import withdrawing
from tests.engine.world import CRM, TENANT, World
from tieout.adapters.letter import SUBJECT_MAX, WIDTH, AlertLetter
from tieout.domain.changes import Alert, Change, Origin, Unsynced, UnsyncedState
from tieout.domain.errors import SettingsError
from tieout.domain.records import Kind
from tieout.domain.reviews import Candidate, Review, ReviewKind
from tieout.engine.sentences import not_understood

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
HERE = Path(__file__).parent
RETRY = "tieout parked retry --tenant acme --cause"


def unsynced(
    number: int,
    label: str,
    amount: str | None,
    reason: str,
    *,
    cause: str,
    step: str = "invoices",
    kind: Kind = Kind.DEAL,
    state: UnsyncedState = UnsyncedState.PARKED,
    field: str = "",
    value: str | None = None,
    code: str = "",
    currency: str = "USD",
    seen: timedelta = timedelta(),
) -> Unsynced:
    return Unsynced(
        sync="deals-to-invoices",
        step=step,
        change=Change("acme", "act", kind, f"d{number}", NOW - seen, Origin.POLL),
        state=state,
        label=label,
        cause=cause,
        reason=reason,
        since=NOW,
        field=field,
        value=value,
        code=code,
        amount=None if amount is None else Decimal(amount),
        currency=currency,
    )


def alert(about: Unsynced | None, next_step: str, *, subject: str = "Invoice not synced", command: str = "") -> Alert:
    assert about is not None
    return Alert(
        tenant="acme",
        cause=about.cause,
        subject=subject,
        reason=about.reason,
        next_step=next_step,
        command=command or f"{RETRY} {about.cause}",
        raised_at=NOW,
        unsynced=about,
    )


def missing_item(count: int) -> list[Alert]:
    names = ("Acme Corporation", "Betasoloin", "Cancity", "Codehow", "Condax")
    amounts = ("1054", "4514.50", "1645.5")
    return [
        alert(
            unsynced(
                number,
                f"GTXPro for {names[number % len(names)]}",
                amounts[number % len(amounts)],
                'No item is named "GTXPro". The catalogue has "GTX Pro".',
                cause="item-gtxpro",
                field="lines[0].name",
                value="GTXPro",
                code="steps.invoices.fields.lines.fields.item",
            ),
            "Add `GTXPro: GTX Pro` to lookup.aliases in `steps.invoices.fields.lines.fields.item.transforms`, "
            "or add the product.",
        )
        for number in range(count)
    ]


def refused() -> list[Alert]:
    reason = (
        "QuickBooks Online refuses this invoice: Duplicate Document Number Error: "
        "You must specify a different number. This number has already been used."
    )
    about = unsynced(
        1,
        "MG Special for Donquadtech",
        "55.00",
        reason,
        cause="refused-6140-number",
        field="number",
        value="1C1I7A6R",
        code="6140",
    )
    return [alert(about, "Give the deal another number, or correct the invoice that has it, then retry.")]


def ambiguous() -> list[Alert]:
    return [
        alert(
            unsynced(
                number,
                name,
                None,
                f"Several records may be this customer: {ids}.",
                cause="several-customers",
                step="customers",
                kind=Kind.COMPANY,
            ),
            "Merge them, or give each its own name, then retry.",
            subject="Customer not synced",
        )
        for number, name, ids in ((1, "Acme Corporation", "14, 88"), (2, "Zotware", "20, 31, 90"))
    ] + [
        alert(
            unsynced(
                3,
                "GTX Basic for Zotware",
                "550",
                "Several records may be this customer: 20, 31, 90.",
                cause="several-customers",
            ),
            "Merge them, or give each its own name, then retry.",
        )
    ]


def changed_on_both_sides() -> list[Alert]:
    reason = "The invoice 145 was changed in QuickBooks Online since it was written, and the deal changed too."
    about = unsynced(
        1,
        "GTX Plus Pro for Hatfan",
        "5482",
        reason,
        cause="refused-changed-on-both-sides",
        code="changed-on-both-sides",
        currency="EUR",
    )
    return [alert(about, "Make both sides equal by hand, then retry.")]


def not_understood_sync() -> list[Alert]:
    error = not_understood("deals-to-invoices", SettingsError("The document has 5 errors."))
    return [
        Alert(
            tenant="acme",
            cause="settings",
            subject="Changes have been waiting for a while",
            reason=error.message,
            next_step=error.next_step,
            command="tieout status --tenant acme",
            raised_at=NOW,
        )
    ]


def paused() -> list[Alert]:
    return [
        Alert(
            tenant="acme",
            cause="paused-quickbooks",
            subject="The connection quickbooks needs you",
            reason="QuickBooks Online no longer accepts our sign-in: its permission was taken back or has ended.",
            next_step="Sign in again as a user who is an administrator of the company.",
            command="tieout connect quickbooks --tenant acme",
            raised_at=NOW,
        )
    ]


def sign_in_ends() -> list[Alert]:
    return [
        Alert(
            tenant="acme",
            cause="sign-in-ends-quickbooks-14",
            subject="The sign-in of quickbooks ends in 14 days",
            reason="QuickBooks Online accepts the sign-in of the connection quickbooks until 2026-12-06 09:00 UTC.",
            next_step="Sign in to QuickBooks again, as an administrator of the company.",
            command="tieout connect quickbooks --tenant acme",
            raised_at=NOW,
        )
    ]


def quota() -> list[Alert]:
    return [
        Alert(
            tenant="acme",
            cause="quota-zoho",
            subject="The calls of zoho will not suffice for what is to be written",
            reason="Zoho Books allows the connection zoho 2,000 calls in 24 hours, and 50 of them are left now. What "
            "is to be written takes about 3,600. The last of it is written about 2026-11-24 09:00 UTC.",
            next_step="If that is too late, take a plan at Zoho Books that allows more calls and say so in the "
            "settings of zoho; or ask it less often for changes (`poll`), which leaves more calls for writing.",
            command="tieout status --tenant acme",
            raised_at=NOW,
        )
    ]


def brake() -> list[Alert]:
    """Made by the sweep itself, so that the letter fits its sentences."""
    world = World()
    ids = [f"d{number:02}" for number in range(30)]
    for one in ids:
        world.deal(one)
    world.apply(*ids)
    for one in ids[:12]:
        del world.crm.records[Kind.DEAL, one]
    for _ in range(2):
        sweeper(world).sweep(TENANT, CRM)
    return [one for one in world.state.pending(TENANT) if one.cause.startswith("brake-")]


def conflict() -> list[Alert]:
    """Made by the engine itself."""
    both = Both()
    both.crm_edit(phone="+16505550111", contact={"email": "crm@acme.example"}, address={**ADDRESS, "city": None})
    city = {**both.in_books["billing_address"], "city": "Shelbyville"}
    both.books_edit(phone="+16505550222", email="books@acme.example", billing_address=city)
    record = both.company_record
    both.crm.records[Kind.COMPANY, "c1"] = replace(record, edited_by="Grace Hopper")
    both.hear(CRM)
    return list(both.state.pending(TENANT))


def match() -> list[Alert]:
    found = [
        ("55", "Acme Corp.", "0.91", ("the same phone number", "the names are alike")),
        ("56", "Acme Ltd", "0.72", ()),
    ]
    candidates = tuple(Candidate(one, name, Decimal(score), reasons) for one, name, score, reasons in found)
    return [
        alert(
            replace(
                unsynced(
                    number,
                    f"Acme {number}",
                    None,
                    "Several customers of QuickBooks Online may be this company.",
                    cause="match-customers",
                    step="customers",
                    kind=Kind.COMPANY,
                ),
                review=Review(ReviewKind.MATCH, candidates=candidates),
            ),
            "Say which one it is.",
            subject="Customer not synced",
            command="tieout review list --tenant acme",
        )
        for number in range(7)
    ]


def above_the_cap() -> list[Alert]:
    """Made by the engine itself."""
    world = World(withdrawing(caps="withdrawals: 1"))
    for one in ("d1", "d2", "d3"):
        world.deal(one)
    world.apply("d1", "d2", "d3")
    for one in ("d1", "d2", "d3"):
        world.crm.put(Kind.DEAL, one, status="lost")
    world.apply("d1", "d2", "d3")
    return list(world.state.pending(TENANT))


def waiting() -> list[Alert]:
    return [
        alert(
            unsynced(
                number,
                f"GTK 500 for {name}",
                "26768",
                "QuickBooks Online did not answer.",
                cause="unavailable",
                state=UnsyncedState.WAITING,
                seen=timedelta(hours=2, minutes=number),
            ),
            "Nothing is lost, and Tieout keeps trying.",
            subject="Changes have been waiting for a while",
            command="tieout status --tenant acme",
        )
        for number, name in enumerate(("Konex", "Warephase"))
    ]


def worker_failed() -> list[Alert]:
    about = unsynced(
        1,
        "d1",
        None,
        "The worker failed several times on this deal and could not say why.",
        cause="worker-failed",
        code="worker-failed",
    )
    return [alert(about, "Retry it; if it comes back, look at the log of the function apply_changes at that time.")]


def total_differs() -> list[Alert]:
    about = unsynced(
        1,
        "GTX Pro for Isdom",
        "4821",
        "QuickBooks Online shows a total of 4820.99, but the deal makes 4821.00.",
        cause="difference-invoices",
        field="total",
    )
    return [alert(about, "Compare the tax, discount and rounding of the invoice with the deal, and correct one side.")]


LETTERS = {
    "missing_item": missing_item(3),
    "missing_item_729": missing_item(729),
    "refused": refused(),
    "ambiguous": ambiguous(),
    "changed_on_both_sides": changed_on_both_sides(),
    "paused": paused(),
    "sign_in_ends": sign_in_ends(),
    "brake": brake(),
    "quota": quota(),
    "conflict": conflict(),
    "match": match(),
    "above_the_cap": above_the_cap(),
    "not_understood": not_understood_sync(),
    "waiting": waiting(),
    "worker_failed": worker_failed(),
    "total_differs": total_differs(),
}


@pytest.mark.parametrize("name", LETTERS)
def test_the_letter_reads_as_it_was_approved(name):
    subject, text = AlertLetter()(LETTERS[name])
    assert f"Subject: {subject}\n\n{text}" == (HERE / f"{name}.txt").read_text("utf-8")


@pytest.mark.parametrize("name", LETTERS)
def test_a_letter_fits_an_e_mail(name):
    subject, text = AlertLetter()(LETTERS[name])
    assert len(subject) <= SUBJECT_MAX
    assert subject.isascii()
    prose = [line for line in text.splitlines() if not line.lstrip().startswith("tieout ")]
    assert max(map(len, prose)) <= WIDTH
    assert "\n\n\n" not in text
    assert not any(line != line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("name", LETTERS)
@pytest.mark.parametrize("jargon", ["intent", "payload", "DynamoDB", "SQS", "None", "lines[0]", "park "])
def test_a_letter_has_no_jargon(name, jargon):
    subject, text = AlertLetter()(LETTERS[name])
    assert jargon not in f"{subject}\n{text}"


def test_totals_stand_by_currency():
    subject, text = AlertLetter()([*changed_on_both_sides(), *missing_item(2)])
    assert subject == "Tieout: 3 invoices could not be synced (5,482.00 EUR, 5,568.50 USD)"
    assert "Together: 5,482.00 EUR, 5,568.50 USD" in text


def test_prices_of_items_are_no_loss():
    about = unsynced(1, "GTX Pro", "4821", "It is refused.", cause="refused", step="items", kind=Kind.PRODUCT)
    subject, text = AlertLetter()([alert(about, "", subject="Item not synced")])
    assert subject == "Tieout: 1 item could not be synced"
    assert "4,821" not in text


def test_a_long_subject_is_cut_and_accents_do_not_break_it():
    one = paused()[0]
    long = Alert(one.tenant, one.cause, "Übersicht " * 30, one.reason, one.next_step, one.command, one.raised_at)
    subject, _ = AlertLetter()([long])
    assert len(subject) == SUBJECT_MAX
    assert subject.isascii()


def test_braces_in_a_record_are_plain_text():
    about = unsynced(1, "{{ 7 * 7 }} <b>&", "1", "{% raw %} was found", cause="x")
    _, text = AlertLetter()([alert(about, "")])
    assert "{{ 7 * 7 }} <b>&" in text
    assert "{% raw %} was found" in text


def alerts_of(world: World) -> Sequence[Alert]:
    return list(world.state.pending(TENANT))


def test_the_engines_own_alert_makes_the_letter():
    world = World()
    world.deal("d1", product="Unheard Of")
    world.apply("d1")
    subject, text = AlertLetter()(alerts_of(world))
    assert subject == "Tieout: 1 invoice could not be synced (1,054.00 USD)"
    assert "Unheard Of for Acme" in text
    assert 'it says "Unheard Of"' in text
    assert f"tieout parked retry --tenant {TENANT} --cause " in text
