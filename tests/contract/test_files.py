"""Files, as far as a CRM that is only read has to keep the contract; the store is the real one, in moto."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from tests.aws import TABLE, create_table, mocked
from tests.contract.fakes import MemoryLease, MemorySecrets
from tests.contract.suite import ConnectorContract, Wrap, all_changes, by_id
from tieout.adapters.dynamodb.file_rows import DynamoFileRows
from tieout.adapters.dynamodb.table import Table
from tieout.connectors.files import CONNECTOR
from tieout.domain.connections import Connection
from tieout.domain.documents import RecordUpdate
from tieout.domain.effects import Effect, NotDone, Operation
from tieout.domain.errors import RejectedError, SettingsError, SignatureError, ThrottledError, UnavailableError
from tieout.domain.files import FileRow, Import, ImportState, RowState
from tieout.domain.records import Kind
from tieout.ports.connector import Connector, Context, Webhook
from tieout_sandbox.simulators.clock import SimulatedClock

HERE = ("acme", "office")
FAULTS = {"status": {503: UnavailableError, 429: ThrottledError}, "lost_answer": UnavailableError}


class Faulty:
    """The store, when it cannot be asked."""

    def __init__(self, error: type[UnavailableError]) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object) -> None:
            raise self._error("It does not answer.")

        return fail


class FilesWorld:
    """A connection whose files brought some rows."""

    provider = CONNECTOR
    write_match: Mapping[str, str] = {}

    def __init__(self, clock: SimulatedClock, rows: DynamoFileRows) -> None:
        self.clock, self.rows = clock, rows
        self.secrets = MemorySecrets({})
        self._count = itertools.count(1)

    def connector(
        self, *, faults: Iterable[Mapping[str, Any]] = (), wrap: Wrap | None = None, **settings: object
    ) -> Connector:
        rows: Any = self.rows
        for fault in faults:
            error = FAULTS[fault["kind"]]
            rows = Faulty(error if isinstance(error, type) else error[fault["status"]])
        connection = Connection(*HERE, "files", settings=settings)
        http: Any = None
        return self.provider.open(Context(connection, self.secrets, http, self.clock, MemoryLease(), lambda: rows))

    def put(self, kind: Kind, **fields: Any) -> str:
        """A row of a file that was imported just now; its id."""
        number = next(self._count)
        row_id = f"r{number:06}"
        row = FileRow(kind, row_id, fields, f"d{number}", self.clock.now(), "i/1", number, RowState.NEW)
        self.rows.feed(*HERE, kind, self.rows.newest_fed(*HERE, kind) + 1, [row_id])
        self.rows.put_rows(*HERE, [(row, None)])
        return row_id

    def make_records(self, count: int) -> tuple[Kind, Sequence[str]]:
        return Kind.CONTACT, [self.put(Kind.CONTACT, name="Söhne & O'Hara") for _ in range(count)]

    def delete_record(self, kind: Kind, record_id: str) -> None:
        self.rows.remove_rows(*HERE, list(self.rows.rows(*HERE, kind, [record_id]).values()))

    def effect(self, kind: Kind = Kind.CONTACT) -> Effect:
        number = next(self._count)
        document = RecordUpdate(fields={"name": "x"})
        return Effect(f"{number:032x}", Operation.UPDATE, kind, document, f"ref{number:09d}", target_id="r000001")

    def sample_effects(self) -> Sequence[Effect]:
        return []

    def exact_effects(self) -> Sequence[Effect]:
        return []


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[FilesWorld]:
    clock = SimulatedClock()
    with mocked(monkeypatch) as clients:
        create_table(clients)
        yield FilesWorld(clock, DynamoFileRows(Table(clients.dynamodb, TABLE, clock)))


class TestContract(ConnectorContract):
    """What is left for a system without a sign-in, webhooks and writes; what stands in place of the rest is below."""

    test_the_manifest_fits_together = None
    test_unknown_fields_pass = None
    test_what_is_written_reads_back_equal = None
    test_amounts_are_exact = None
    test_what_was_written_is_updated_in_place = None
    test_several_effects_go_in_one_call_of_write = None
    test_one_bad_effect_does_not_stop_the_others = None
    test_a_stale_version_is_a_conflict = None
    test_a_write_whose_answer_was_lost_is_found_and_stands_once = None
    test_a_write_that_never_arrived_is_unknown_and_not_found = None
    test_a_write_during_an_outage_is_unknown = None
    test_what_another_effect_wrote_is_not_found_as_ours = None
    test_what_was_not_sent_is_not_done = None
    test_revoked_access_asks_to_reconnect = None
    test_an_answer_that_is_no_answer_is_unavailable_or_unknown = None
    test_a_webhook_is_taken_only_with_its_own_signature = None
    test_a_webhook_of_another_form_is_no_webhook = None
    test_no_secret_shows_in_logs_errors_or_repr = None


def test_the_manifest_promises_reading_and_nothing_else(world):
    manifest = world.provider.manifest
    assert manifest.reads == {Kind.COMPANY, Kind.CONTACT, Kind.DEAL, Kind.PRODUCT}
    assert not manifest.writes
    assert not manifest.secrets
    assert not manifest.webhooks
    assert not manifest.deletions_visible
    assert not any(manifest.takes(kind, "name") for kind in manifest.reads)
    assert world.provider.limits_of(Connection(*HERE, "files")) == manifest.limits == ()
    assert world.connector().manifest is manifest


def test_what_is_written_is_refused_and_found_nowhere(world):
    world.make_records(1)
    connector, effect = world.connector(), world.effect()
    (outcome,) = connector.write([effect])
    assert isinstance(outcome, NotDone)
    assert isinstance(outcome.error, RejectedError)
    assert outcome.error.next_step
    assert connector.find([effect]) == {}
    assert [record.fields["name"] for record in connector.read(Kind.CONTACT, ["r000001"])] == ["Söhne & O'Hara"]


def test_webhooks_are_nobodys(world):
    with pytest.raises(SignatureError):
        world.provider.verify(Webhook({}, b"{}"), {})
    with pytest.raises(ValueError, match="webhook"):
        world.provider.hints(Webhook({}, b"{}"))


def test_settings_that_say_two_things_are_refused():
    for settings in ({"won": ["Done"], "lost": ["done"]}, {"won": [""]}, {"currency": "USD"}):
        with pytest.raises(SettingsError):
            CONNECTOR.limits_of(Connection(*HERE, "files", settings=settings))


def test_all_rows_come_in_pages_and_then_what_changed(world):
    kind, made = world.make_records(600)
    connector = world.connector()
    pages, cursor = [], None
    for _ in range(40):
        page = connector.changes(kind, cursor)
        pages.append([record.id for record in page.records])
        cursor = page.cursor
        if not page.more:
            break
    assert len(pages) > 2
    assert sorted(itertools.chain(*pages)) == sorted(made)
    assert connector.changes(kind, cursor).records == []
    late = world.put(kind, name="Late")
    assert [record.id for record in connector.changes(kind, cursor).records] == [late]


def test_what_an_import_has_not_committed_is_shown_later(world):
    """Whoever polls must not go past rows that are not stored yet: their import may die before it queues them."""
    connector = world.connector()
    before = world.put(Kind.DEAL, name="before")
    cursor = connector.cursor_now(Kind.DEAL)
    now = world.clock.now()
    running = Import(*HERE, "i", "a.csv", ImportState.RUNNING, now, now, Kind.DEAL, fed=1)
    world.rows.put_import(running)
    after = world.put(Kind.DEAL, name="after")
    page = connector.changes(Kind.DEAL, cursor)
    assert (page.records, page.cursor, page.more) == ([], cursor, False)
    assert connector.cursor_now(Kind.DEAL) == cursor
    assert {record.id for record in all_changes(connector, Kind.DEAL, None)[0]} == {before, after}
    world.clock.advance(7 * 3600)  # nobody goes on with it
    assert [record.id for record in connector.changes(Kind.DEAL, cursor).records] == [after]


def test_an_import_of_another_kind_hides_nothing(world):
    now = world.clock.now()
    world.rows.put_import(Import(*HERE, "i", "a.csv", ImportState.RUNNING, now, now, Kind.DEAL))
    kind, made = world.make_records(1)
    assert [record.id for record in all_changes(world.connector(), kind, None)[0]] == made


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (Kind.COMPANY, "name"),
        (Kind.CONTACT, "name"),
        (Kind.CONTACT, "email"),
        (Kind.DEAL, "name"),
        (Kind.PRODUCT, "sku"),
    ],
)
def test_records_are_found_by_their_fields_whatever_the_case(world, kind, field):
    wanted = world.put(kind, **{field: "Größe  1"})
    world.put(kind, **{field: "Other"})
    found = world.connector().search(kind, field, ["GRÖSSE 1", "nothing"])
    assert [record.id for record in found] == [wanted]


def test_a_field_that_nobody_can_be_found_by_is_refused(world):
    with pytest.raises(RejectedError) as refused:
        world.connector().search(Kind.COMPANY, "email", ["a@b.example"])
    assert refused.value.field == "email"


def deal(world: FilesWorld, settings: Mapping[str, Any] | None = None, **fields: Any) -> Mapping[str, Any]:
    row_id = world.put(Kind.DEAL, **fields)
    (record,) = world.connector(**(settings or {})).read(Kind.DEAL, [row_id])
    return record.fields


def test_a_deal_has_one_line_and_the_company_that_it_names(world):
    acme = world.put(Kind.COMPANY, name="Acme  Inc")
    fields = deal(world, name="GTX for Acme", amount=1, custom_fields={"company": "ACME Inc", "product": "GTX"})
    assert fields["companies"] == [{"id": acme, "name": "ACME Inc"}]
    (line,) = fields["lines"]
    assert (line["name"], line["amount"], line["product_id"]) == ("GTX", 1, None)


@pytest.mark.parametrize("companies", [0, 2])
def test_a_name_that_not_one_company_has_means_none(world, companies):
    for _ in range(companies):
        world.put(Kind.COMPANY, name="Acme")
    assert deal(world, name="d", custom_fields={"company": "Acme"})["companies"] == [{"id": None, "name": "Acme"}]


def test_a_deal_without_an_amount_has_no_lines_and_without_a_product_its_own_name(world):
    assert "lines" not in deal(world, name="d", amount=None)
    assert [line["name"] for line in deal(world, name="d", amount=5)["lines"]] == ["d"]


@pytest.mark.parametrize(
    ("fields", "settings", "status"),
    [
        ({"stage": "closed won"}, {}, "won"),
        ({"status": " LOST "}, {}, "lost"),
        ({"stage": "Gewonnen"}, {}, "open"),
        ({"stage": "Gewonnen"}, {"won": ["Gewonnen"]}, "won"),
        ({"stage": None, "status": "Inactive"}, {}, "inactive"),
        ({}, {}, "open"),
    ],
)
def test_a_deal_is_won_or_lost_by_the_words_of_the_settings(world, fields, settings, status):
    assert deal(world, settings, name="d", **fields)["status"] == status


def test_reading_shows_equal_records_whoever_asks(world):
    kind, made = world.make_records(3)
    assert by_id(world.connector().read(kind, made)) == by_id(all_changes(world.connector(), kind, None)[0])
