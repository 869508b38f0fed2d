"""Preview: what a run would do, record by record, with nothing written anywhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

import pytest

from tests.engine.test_around import preview
from tests.engine.world import BOOKS, CRM, START, TENANT, World
from tieout.domain.changes import UnsyncedState
from tieout.domain.connections import ConnectionState
from tieout.domain.effects import Operation
from tieout.domain.errors import SettingsError, UnavailableError
from tieout.domain.links import Intent, IntentState, Link, LinkKey, Withdrawal
from tieout.domain.plans import is_new_id
from tieout.domain.records import Kind
from tieout.domain.reviews import Side
from tieout.engine.ends import ApplyReport
from tieout.engine.preview import PlanReport, Preview, amount_of
from tieout.mapping import preset
from tieout.ports.connector import Connector
from tieout.ports.state import LinkStore

SYNC = "deals-to-invoices"


@pytest.fixture
def world() -> World:
    return World()


def planned(world: World, **how: Any) -> PlanReport:
    before = world.state.writes, world.books.calls["write"]
    report = preview(world).preview(TENANT, SYNC, progress=how.pop("progress", lambda *_: None), **how)
    assert (world.state.writes, world.books.calls["write"]) == before
    return report


def test_a_create_is_told_with_all_that_it_would_write(world: World):
    world.deal("d1", "1054.50")
    report = planned(world)

    customer, item, invoice = report.writes
    assert [one.step for one in report.writes] == ["customers", "items", "invoices"]
    assert (customer.amount, customer.currency, customer.former, customer.target_id) == (None, "", None, "")
    assert (invoice.source_id, invoice.operation) == ("d1", Operation.CREATE)
    assert (invoice.amount, invoice.currency) == (Decimal("1054.50"), "USD")
    assert (invoice.label, invoice.links_only, invoice.target_version) == ("GTX Pro for Acme", False, "")
    assert is_new_id(str(invoice.document["customer"])), "the customer would be created by the same run"
    assert is_new_id(str(invoice.document["lines"][0]["item"]))
    assert item.label == "GTX Pro"
    assert report.totals() == {"USD": Decimal("1054.50")}


def test_an_update_is_told_beside_what_was_written_last_and_the_version_that_stands_there(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    world.deal("d1", "1200")
    (invoice,) = world.invoices()
    (write,) = planned(world).writes
    assert (write.operation, write.target_id, write.target_version) == (Operation.UPDATE, invoice.id, invoice.version)
    assert write.amount == 1200
    assert planned(world).totals() == {}, "only what would be created is summed"


@pytest.mark.parametrize("discount", ["percent: {constant: 10}", "amount: {constant: 100}"])
def test_the_amounts_of_a_plan_are_those_of_the_invoices_with_their_discounts(discount: str):
    text = preset("act-quickbooks_online")
    world = World(text.replace("      lines:\n", f"      discount: {{object: {{{discount}}}}}\n      lines:\n", 1))
    world.deal("d1", "1000")
    world.crm.put(Kind.DEAL, "d1", amount=Decimal(900))
    report = planned(world)
    world.apply("d1")
    (invoice,) = world.invoices()
    assert invoice.fields["total"] == 900
    assert (report.writes[-1].amount, report.totals()) == (Decimal(900), {"USD": Decimal(900)})


def test_what_stands_there_already_would_only_be_linked(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation")
    report = planned(world, records={Kind.COMPANY: ["c1"]})
    (link,) = report.links
    assert (link.step, link.links_only, link.target_id, link.label) == ("customers", True, "77", "Acme Corporation")
    assert (report.writes, report.counts.adopted) == ([], 1)


def test_what_one_of_two_would_be_linked_to_is_not_told_of_the_other_in_a_later_batch(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation")
    world.company("c2", "Acme Corporation")
    world.books.manifest = replace(world.books.manifest, write_batch_max=1)
    report = planned(world, records={Kind.COMPANY: ["c1", "c2"]})
    assert [(one.source_id, one.target_id) for one in report.links] == [("c1", "77")]
    assert [(one.change.id, one.cause) for one in report.parked] == [("c2", "same-name-customers")]


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_a_document_that_the_other_side_would_refuse_is_not_told_as_written(world: World, what: str):
    world.deal("d1", "1000")
    world.apply("d1")
    (invoice,) = world.invoices()
    world.deal("d1", "1200")
    if what == "gone":
        del world.books.records[Kind.INVOICE, invoice.id]
    else:
        world.books.put(Kind.INVOICE, invoice.id, note="by a person", number="changed")
    report = planned(world)
    assert report.writes == []
    assert [one.change.id for one in report.parked] == ["d1"]
    assert report.counts.parked == 1


def test_a_write_under_way_is_left_out_of_account(world: World):
    world.deal("d1")
    key = LinkKey(TENANT, SYNC, "invoices", "d1")
    world.apply("c1", kind=Kind.COMPANY)
    until = world.clock.now() + timedelta(hours=1)
    intent = Intent("e", Operation.CREATE, "h", "1", IntentState.CLAIMED, "w", until, world.clock.now(), {})
    (stored,) = world.state.links.values()
    world.state.links[key] = replace(stored, key=key, target_id=None, payload_hash="", base=None, intent=intent)

    report = planned(world, ids=["d1"])
    assert [one.step for one in report.writes] == ["items", "invoices"]
    assert world.state.links[key].intent == intent


def test_all_ids_are_planned_in_chunks_and_every_count_is_added_up(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tieout.engine.preview.CHUNK", 2)
    for number in range(3):
        world.deal(f"d{number}")
    world.deal("open", status="open")
    world.deal("odd", product="Unheard-of")
    listed = ["d0", "d1", "d2", "open", "odd"]
    real = world.crm.ids

    def ids(kind: Kind, after: str | None) -> Any:
        if kind is not Kind.DEAL:
            return real(kind, after)
        place = int(after or 0)
        return listed[place : place + 2], str(place + 2) if place + 2 < len(listed) else None

    world.crm.ids = ids  # type: ignore[method-assign]  # pages of our own
    shown: list[tuple[str, int]] = []
    report = planned(world, progress=lambda *one: shown.append(one))

    assert shown == [("company", 1), ("product", 1), ("deal", 2), ("deal", 4), ("deal", 5)]
    counts = report.counts
    assert (counts.created, counts.skipped, counts.parked, counts.unchanged) == (5, 1, 1, 0)
    assert sum(counts.skipped_because.values()) == 1
    assert [one.source_id for one in report.writes if one.step == "invoices"] == ["d0", "d1", "d2"]


def test_only_the_records_that_are_asked_for_are_planned(world: World):
    for one in ("d1", "d2"):
        world.deal(one)
    assert {one.source_id for one in planned(world, ids=["d2"]).writes} == {"c1", "p1", "d2"}
    asked = world.crm.calls["ids"]
    assert [one.step for one in planned(world, records={Kind.PRODUCT: ["p1"]}).writes] == ["items"]
    assert world.crm.calls["ids"] == asked


def test_a_document_that_is_not_applied_yet_is_planned_in_place_of_the_running_one(world: World):
    (stored,) = world.state.syncs(TENANT)
    world.deal("d1", status="lost")
    text = stored.text.replace("equals: won", "equals: lost").replace("{won: issued}", "{lost: issued}")
    other = replace(stored, version=2, text=text)
    assert planned(world, ids=["d1"]).writes == []
    assert "invoices" in [one.step for one in planned(world, ids=["d1"], instead=other).writes]
    assert world.state.syncs(TENANT) == [stored]


def test_a_list_of_ids_without_an_end_is_left_after_its_bound(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tieout.engine.backfill.PAGES_MAX", 3)
    asked: list[Kind] = []

    def endless(kind: Kind, _: str | None) -> Any:
        asked.append(kind)
        return [], "more"

    world.crm.ids = endless  # type: ignore[method-assign]  # has no end
    assert planned(world).writes == []
    assert asked.count(Kind.DEAL) == 3


@pytest.mark.parametrize(
    ("document", "total"),
    [
        ({}, None),
        ({"lines": None}, None),
        ({"lines": []}, Decimal(0)),
        ({"lines": [{"amount": "10.05"}, {"amount": "-0.05"}]}, Decimal("10.00")),
        ({"lines": [{"amount": "10.05"}], "discount": {"percent": "10"}}, Decimal("9.04")),
        ({"lines": [{"amount": "1005"}], "discount": {"percent": "10"}, "currency": "JPY"}, Decimal(904)),
        ({"lines": [{"amount": "1.005"}], "discount": {"percent": "10"}, "currency": "KWD"}, Decimal("0.904")),
        ({"lines": [{"amount": "10.05"}], "discount": {"amount": "0.05"}, "tax_total": "1.9"}, Decimal("11.90")),
        ({"lines": [{"amount": "10.05"}], "discount": None, "tax_total": None}, Decimal("10.05")),
    ],
)
def test_an_amount_is_exact_and_no_lines_are_no_amount(document: dict[str, Any], total: Decimal | None):
    assert amount_of(document) == total


def test_a_plan_pauses_no_connection_and_tells_nobody(world: World):
    world.deal("odd", product="Unheard-of")
    report = planned(world)
    assert len(report.parked) == 1
    assert world.state.pending(TENANT) == []
    assert sum(world.queue.waiting().values()) == 0
    assert world.state.connection(TENANT, CRM) is not None


# What is only linked


@pytest.mark.parametrize(
    ("stands", "why"),
    [
        ("Acme Corporation", "same name, same e-mail address (score 0.999)"),
        ("ACME Corp.", "same name, same e-mail address (score 0.999)"),
    ],
)
def test_what_would_be_linked_says_to_what_and_why(world: World, stands: str, why: str):
    world.books.looks_similar = lambda *_: True
    world.books.put(Kind.CUSTOMER, "77", name=stands, email="ada@acme.example")
    (link,) = planned(world, records={Kind.COMPANY: ["c1"]}).links
    assert link.notices == (f"It would be linked to {stands}: {why}.",)
    assert (link.label, link.operation, link.target_id) == ("Acme Corporation", Operation.CREATE, "77")
    assert (link.amount, link.currency, link.former) == (None, "", None)


def test_a_document_that_would_be_linked_and_has_no_name_is_called_by_its_id(world: World):
    world.deal("d1", "1000")
    world.apply("d1")
    (invoice,) = world.invoices()
    del world.state.links[LinkKey(TENANT, SYNC, "invoices", "d1")]
    world.books.manifest = replace(world.books.manifest, natural_key=frozenset({Kind.INVOICE}))
    (link,) = planned(world, records={Kind.DEAL: ["d1"]}).links
    assert (link.step, link.target_id, link.label) == ("invoices", invoice.id, "")
    assert link.notices == (f"It would be linked to {invoice.id}: it bears our reference.",)
    assert (link.amount, link.currency) == (Decimal(1000), "USD")


@pytest.mark.parametrize("partner", ["adopted", "created"])
def test_the_partner_of_another_record_would_not_be_linked(world: World, partner: str):
    if partner == "adopted":
        world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation")
    world.apply("c1", kind=Kind.COMPANY)
    world.company("c2", "Acme Corporation")
    report = planned(world, records={Kind.COMPANY: ["c2"]})
    assert (report.links, report.writes) == ([], [])
    assert [(one.change.id, one.cause) for one in report.parked] == [("c2", "same-name-customers")]


# What is counted


def test_every_count_is_added_up_over_the_chunks(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tieout.engine.preview.CHUNK", 1)
    for one in ("same1", "same2", "other1", "other2"):
        world.deal(one, "1000")
    world.apply("same1", "same2", "other1", "other2")
    for one in ("other1", "other2", "new1", "new2"):
        world.deal(one, "1100")
    for one in ("open1", "open2"):
        world.deal(one, status="open")
    for one in ("odd1", "odd2"):
        world.deal(one, product="Unheard-of")
    for number in range(2):
        world.books.put(Kind.CUSTOMER, f"7{number}", name=f"Customer {number}")
        world.company(f"found{number}", f"Customer {number}")
    shown: list[tuple[str, int]] = []
    report = planned(world, progress=lambda *one: shown.append(one))

    counts = report.counts
    assert (counts.created, counts.updated, counts.adopted, counts.skipped, counts.parked) == (2, 2, 2, 2, 2)
    assert counts.unchanged == 4, "two deals, their customer and their item"
    assert counts.skipped_because.total() == 2
    assert [number for kind, number in shown if kind == "deal"] == list(range(1, 11))
    assert (len(report.writes), len(report.links), len(report.parked)) == (4, 2, 2)


def test_books_that_are_paused_let_everything_wait(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tieout.engine.preview.CHUNK", 1)
    connection = world.state.connection(TENANT, BOOKS)
    assert connection is not None
    world.state.put_connection(replace(connection, state=ConnectionState.PAUSED, paused_because="Signed out."))
    for one in ("c2", "c3"):
        world.company(one, f"Company {one}")
    report = planned(world, records={Kind.COMPANY: ["c2", "c3"]})
    assert (report.counts.waiting, report.writes, report.parked) == (2, [], [])


# What would be written


def test_an_update_is_told_beside_what_the_other_side_showed_of_what_was_written(world: World):
    world.books.put(Kind.CUSTOMER, "77", name="Acme Corporation", email="billing@acme.example")
    world.apply("c1", kind=Kind.COMPANY)
    world.crm.put(Kind.COMPANY, "c1", phone="+16505550123")
    (write,) = planned(world, records={Kind.COMPANY: ["c1"]}).writes
    assert write.former is not None
    assert (write.former["email"], write.former["name"]) == ("billing@acme.example", "Acme Corporation")
    assert (write.former.get("phone"), write.document["phone"]) == (None, "+16505550123")
    assert (write.target_id, write.withdrawal, write.side) == ("77", None, Side.TARGET)


def test_a_withdrawal_is_told_with_the_amount_of_the_document_that_it_takes_back():
    world = World(preset("act-quickbooks_online").replace("    on_leave: park ", "    on_leave: withdraw ", 1))
    world.deal("d1", "1000")
    world.apply("d1")
    (invoice,) = world.invoices()
    world.deal("d1", "1000", status="lost")
    report = planned(world)
    (write,) = report.writes
    assert (write.withdrawal, write.operation) == (Withdrawal.LEFT, Operation.UPDATE)
    assert (write.amount, write.currency, write.target_id) == (Decimal(1000), "USD", invoice.id)
    assert write.target_version == invoice.version
    assert report.totals() == {}


def test_a_way_back_is_told_of_the_side_that_it_goes_to():
    two_way = preset("act-quickbooks_online").replace("    to: customer\n", "    to: customer\n    two_way: ask\n")
    world = World(two_way)
    world.apply("c1", kind=Kind.COMPANY)
    world.clock.sleep(60)
    (customer,) = world.books.all(Kind.CUSTOMER)
    world.books.put(Kind.CUSTOMER, customer.id, email="books@acme.example")
    (write,) = planned(world, records={Kind.COMPANY: ["c1"]}).writes
    assert (write.side, write.target_id, write.document) == (Side.SOURCE, "c1", {"contact.email": "books@acme.example"})
    assert (write.amount, write.currency) == (None, "")


def test_books_without_versions_would_be_written_whatever_stands_there(world: World):
    world.books.manifest = replace(world.books.manifest, versions=False)
    world.deal("d1", "1000")
    world.apply("d1")
    (invoice,) = world.invoices()
    world.books.put(Kind.INVOICE, invoice.id, memo="by a person")
    world.deal("d1", "1200")
    report = planned(world)
    assert [one.target_id for one in report.writes] == [invoice.id]
    assert report.parked == []


def test_records_that_would_be_updated_are_each_compared_with_themselves(world: World):
    for one in ("d1", "d2", "d3"):
        world.deal(one, "1000")
    world.apply("d1", "d2", "d3")
    by_number = {str(invoice.fields["number"]): invoice for invoice in world.invoices()}
    for one in ("d1", "d2", "d3"):
        world.deal(one, "1100")
    world.books.put(Kind.INVOICE, by_number["Sd1"].id, memo="by a person")
    del world.books.records[Kind.INVOICE, by_number["Sd2"].id]
    world.deal("d4", "400")
    report = planned(world)
    writes = {one.source_id: one for one in report.writes}
    assert {source: one.target_id for source, one in writes.items()} == {
        "d1": by_number["Sd1"].id,
        "d3": by_number["Sd3"].id,
        "d4": "",
    }
    assert (writes["d1"].target_version, writes["d3"].target_version) == ("1", "0")
    assert [one.change.id for one in report.parked] == ["d2"]


def test_a_document_that_is_not_applied_yet_is_planned_beside_other_syncs_of_the_tenant(world: World):
    (stored,) = world.state.syncs(TENANT)
    text = stored.text.replace(f"name: {SYNC}", "name: other")
    world.state.put_sync(replace(stored, name="other", text=text))
    world.deal("d1")
    assert [one.step for one in planned(world).writes] == ["customers", "items", "invoices"]


def test_a_source_that_stumbles_is_read_again_and_one_that_stays_down_lets_the_records_wait(world: World):
    world.deal("d1")
    stumbles = [UnavailableError("Down."), UnavailableError("Down.")]
    world.crm.read_fault = lambda _: stumbles.pop() if stumbles else None
    assert [one.step for one in planned(world, ids=["d1"]).writes] == ["customers", "items", "invoices"]
    world.crm.read_fault = lambda _: UnavailableError("Down.")
    assert planned(world, records={Kind.DEAL: ["d1"]}).counts.waiting == 1


def test_a_sync_that_is_not_there_is_named(world: World):
    with pytest.raises(SettingsError, match="no-such-sync"):
        preview(world).preview(TENANT, "no-such-sync", progress=lambda *_: None)


def test_a_name_that_would_park_its_deal_is_told_beside_those_that_there_are(world: World):
    world.deal("odd", product="GTX Prro")
    (parked,) = planned(world, records={Kind.DEAL: ["odd"]}).parked
    world.apply("odd")
    (live,) = world.unsynced()
    assert "GTX Pro" in parked.next_step.replace("GTX Prro", "")
    assert (parked.reason, parked.next_step) == (live.reason, live.next_step)


def test_ids_are_asked_for_from_the_beginning_and_again_if_the_source_stumbles(world: World):
    world.deal("d1")
    asked: list[tuple[Kind, str | None]] = []

    def ids(kind: Kind, after: str | None) -> Any:
        asked.append((kind, after))
        if len(asked) == 1:
            raise UnavailableError("Down.")
        return (["d1"], None) if (kind, after) == (Kind.DEAL, "next") else ([], "next" if after is None else None)

    world.crm.ids = ids  # type: ignore[method-assign]  # stumbles once, and has two pages
    assert [one.step for one in planned(world).writes] == ["customers", "items", "invoices"]
    first = [(kind, after) for kind in (Kind.COMPANY, Kind.PRODUCT, Kind.DEAL) for after in (None, "next")]
    assert asked == [first[0], *first]


# With the writing taken out


class Recorder:
    """A store or a provider that answers what it was asked."""

    manifest = None

    def get(self, _: Any) -> dict[LinkKey, Link]:
        """None is stored."""
        return {}

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: (name, arguments)


@pytest.fixture
def given(world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the engine of a preview has in place of the real stores and providers, which are recorders."""
    found: dict[str, Any] = {}

    class Engine:
        def __init__(self, **given: Any) -> None:
            found.update(given)

        def apply(self, _: Any) -> ApplyReport:
            return ApplyReport()

    monkeypatch.setattr("tieout.engine.preview.ApplyChanges", Engine)
    links, connector = cast("LinkStore", Recorder()), cast("Connector", Recorder())
    dry = Preview(config=world.state, links=links, connect=lambda _: connector, clock=world.clock)
    dry.preview(TENANT, SYNC, progress=lambda *_: None, ids=["d1"])
    return found


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("by_reference", (TENANT, SYNC, "invoices", ["r1"])),
        ("by_target", (TENANT, SYNC, "invoices", ["101"])),
        ("all", (TENANT, SYNC, "invoices")),
        ("unsynced", (TENANT, UnsyncedState.PARKED)),
    ],
)
def test_whatever_is_asked_of_links_is_asked_of_the_stored_ones(given: dict[str, Any], name: str, arguments: Any):
    assert getattr(given["links"], name)(*arguments) == (name, arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("probe", ()),
        ("read", (Kind.DEAL, ["d1"])),
        ("search", (Kind.PRODUCT, "name", ["GTX Pro"])),
        ("changes", (Kind.DEAL, "cursor")),
        ("cursor_now", (Kind.DEAL,)),
        ("ids", (Kind.DEAL, "after")),
        ("find", (["effect"],)),
    ],
)
def test_whatever_is_asked_of_a_provider_is_asked_of_the_real_one(given: dict[str, Any], name: str, arguments: Any):
    assert getattr(given["connect"]("books"), name)(*arguments) == (name, arguments)


def test_a_link_that_would_be_stored_is_found_as_it_would_stand(given: dict[str, Any]):
    links, key = given["links"], LinkKey(TENANT, SYNC, "invoices", "d1")
    intent = Intent("e", Operation.CREATE, "h", "1", IntentState.CLAIMED, "w", START, START, {})
    steps: list[tuple[Any, Intent | None]] = [
        (links.store, None),
        (lambda link: links.claim(link, intent), intent),
        (lambda link: links.keep_intent(link, replace(intent, looks=1)), replace(intent, looks=1)),
        (lambda link: links.release(link, worker="w"), None),
        (lambda link: links.claim(link, intent), intent),
        (lambda link: links.settle(replace(link, target_id="101"), worker="w", pointer=True), None),
    ]
    link = Link(key)
    for step, stands in steps:
        link = step(link)
        assert link.intent == stands
        assert links.get([key]) == {key: link}
    assert link.target_id == "101"


def test_nothing_is_counted_against_a_cap(given: dict[str, Any]):
    budget = given["budget"]
    assert budget.write_budget(TENANT, "caps", {"today": 9}, 0) is True
    assert budget.read_budget(TENANT, "caps") == ({}, 0)
