"""The GoldMine connector against a database in a SQLite file: every connector's suite, and its own quirks.

There is no SQL Server here. What is peculiar to one is asserted on the SQL that is compiled for it
(`tests/unit/connectors/goldmine/`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.bridged import BridgedWorld
from tests.contract.fakes import MemoryLease, MemorySecrets
from tests.contract.suite import ConnectorContract, Wrap, all_changes, all_ids, by_id, done, only
from tieout.connectors.goldmine import CONNECTOR, GoldMineProvider
from tieout.connectors.goldmine.database import Database
from tieout.connectors.goldmine.writing import Writer
from tieout.domain.connections import Connection
from tieout.domain.documents import RecordUpdate
from tieout.domain.effects import Done, Effect, NotDone, Operation, Unknown
from tieout.domain.errors import (
    ConflictError,
    NotFoundError,
    ReconnectError,
    RejectedError,
    ThrottledError,
    UnavailableError,
)
from tieout.domain.records import Kind
from tieout.ports.connector import Connector, Context, Webhook
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.faults import FaultPlan, Faults
from tieout_sandbox.simulators.goldmine import create_app
from tieout_sandbox.simulators.goldmine.faulty import LOCK_TIME_OUT, LOGIN, faulty_engine
from tieout_sandbox.simulators.goldmine.office import Office
from tieout_sandbox.simulators.goldmine.sql_server import SqlServerSession
from tieout_sandbox.simulators.goldmine.tds import RefusalError, TdsServer
from tieout_sandbox.simulators.goldmine.tracking import Tracking

SECRETS = {"username": "tieout_reader", "password": "correct horse"}
LONG = "a.very.long.name.of.a.person@a-very-long-domain.example"


class GoldMineWorld:
    """Implements `suite.World`: the faults are those of a connection to a database, as there is no HTTP."""

    write_match: Mapping[str, str] = {"method": "PUT", "path": "/commit"}

    def __init__(self, office: Office, clock: SimulatedClock) -> None:
        self.office, self.clock = office, clock
        self.secrets = MemorySecrets(SECRETS)
        self.faults = Faults(FaultPlan())
        self.refused = 0
        self.always: list[Mapping[str, Any]] = []
        self.provider = GoldMineProvider(lambda _, __: self.engine())
        self._count = itertools.count(1)

    def engine(self, prepare: Any = None) -> Any:
        return faulty_engine(self.office.file, self.faults, refused=lambda: self.refused, prepare=prepare)

    def connector(
        self, *, faults: Iterable[Mapping[str, Any]] = (), wrap: Wrap | None = None, **settings: object
    ) -> Connector:
        assert wrap is None, "there is no HTTP to stand between"
        self.faults.replace(FaultPlan.model_validate({"faults": [*faults, *self.always]}))
        return self.provider.open(self.context(**settings))

    def context(self, **settings: object) -> Context:
        given = {
            "sqlite_file": str(self.office.file),
            "time_zone": "Europe/Berlin",
            "currency": "EUR",
            "write_user_fields": True,
            **settings,
        }
        connection = Connection("acme", "under-test", "goldmine", settings=given)
        return Context(connection, self.secrets, None, self.clock, MemoryLease())

    def make(self, **columns: object) -> str:
        """Somebody enters a customer; its ACCOUNTNO."""
        return self.office.add_customer(**{"COMPANY": f"Söhne & O'Hara {next(self._count)}", **columns})

    def make_records(self, count: int) -> tuple[Kind, Sequence[str]]:
        account = self.make()
        made = [self.office.add_deal(account, f"Deal {next(self._count)}", 1.005) for _ in range(count)]
        for one in made:
            self.office.win(one, 2.01, date(2026, 1, 5))
        return Kind.DEAL, made

    def delete_record(self, kind: Kind, record_id: str) -> None:
        if kind is Kind.DEAL:
            self.office.delete_deal(record_id)
        else:
            self.office.delete_customer(record_id)

    def refuse(self, number: int) -> None:
        """From now on connecting fails with this error."""
        self.refused = number

    def revoke(self) -> None:
        self.refuse(LOGIN)

    def webhook(self, *, valid: bool = True) -> Webhook:
        raise NotImplementedError

    def effect(self, target: str, **fields: Any) -> Effect:
        number = next(self._count)
        document = RecordUpdate(fields={f"custom_fields.{name}": value for name, value in fields.items()})
        return Effect(f"{number:032x}", Operation.UPDATE, Kind.COMPANY, document, f"ref{number:09d}", target_id=target)

    def sample_effects(self) -> Sequence[Effect]:
        return [
            self.effect(
                self.make(), UCLIENTSTA="Paid", UBALANCE=Decimal("1054.10"), UPAIDON=date(2026, 1, 5), URATING=3
            ),
            self.effect(self.make(), UCLIENTSTA='Ö "é"; 1/3', UPAIDON=None),
        ]

    def exact_effects(self) -> Sequence[Effect]:
        amounts = [Decimal(0), Decimal("-0.30"), Decimal("0.001"), Decimal("12.345"), Decimal("10005534.10")]
        return [self.effect(self.make(), UBALANCE=amount) for amount in amounts]

    def refused_effect(self) -> Effect:
        return self.effect(self.make(), UNOSUCHFLD="Paid")


class CustomersWorld(GoldMineWorld):
    """In which the suite's records are customers instead of opportunities."""

    def make_records(self, count: int) -> tuple[Kind, Sequence[str]]:
        return Kind.COMPANY, [self.make() for _ in range(count)]


class PersonsWorld(GoldMineWorld):
    """In which they are additional persons of one customer."""

    _account = ""

    def make_records(self, count: int) -> tuple[Kind, Sequence[str]]:
        if not self._account:
            self._account = self.make()
        made = [self.office.add_person(self._account, f"Ada {next(self._count)}") for _ in range(count)]
        return Kind.CONTACT, [f"contsupp:{recid}" for recid in made]

    def delete_record(self, kind: Kind, record_id: str) -> None:
        self.office.delete_detail(record_id.removeprefix("contsupp:"))


def opened(kind: type[GoldMineWorld], **settings: object) -> Iterator[Any]:
    clock = SimulatedClock()
    app = create_app(clock=clock, **settings)
    yield kind(app.extensions["simulator"], clock)
    app.extensions["tieout.on_close"]()


@pytest.fixture
def world() -> Iterator[GoldMineWorld]:
    yield from opened(GoldMineWorld)


class TestContract(ConnectorContract):
    """Every connector's tests. Where they stand between the connector and HTTP, these stand before the database."""

    def test_unknown_fields_pass(self, world):
        kind, made = world.make_records(2)
        plain = world.connector().read(kind, made)
        for table in ("CONTACT1", "CONTACT2", "CONTSUPP", "OPMGR", "OPMGRFLD", "CONTHIST"):
            world.office.run(f"ALTER TABLE {table} ADD COLUMN NEWFIELD INTEGER DEFAULT 2031")

        strange = world.connector()

        assert by_id(strange.read(kind, made)) == by_id(plain)
        assert {record.id for record in all_changes(strange, kind, None)[0]} >= set(made)
        for effect in world.sample_effects():
            assert isinstance(only(strange.write([effect])), Done)

    @pytest.mark.parametrize(("number", "error"), [(20009, UnavailableError), (1222, ThrottledError)])
    def test_what_was_not_sent_is_not_done(self, world, number, error):
        effects = world.sample_effects()
        world.refuse(number)

        outcomes = world.connector().write(effects)

        assert {outcome.effect_id for outcome in outcomes} == {effect.id for effect in effects}
        for outcome in outcomes:
            assert isinstance(outcome, NotDone)
            assert type(outcome.error) is error

    def test_an_answer_that_is_no_answer_is_unavailable_or_unknown(self, world):
        """A day that is none; SQLite takes it, and SQLAlchemy cannot read it."""
        kind, (made,) = world.make_records(1)
        world.office.run("UPDATE OPMGR SET CLOSEDDATE = 'please log in' WHERE OPID = ?", made)
        with pytest.raises(UnavailableError):
            world.connector().read(kind, [made])

        effect = world.sample_effects()[0]
        connector = world.connector()
        connector.probe()
        world.office.run("UPDATE CONTACT1 SET LASTDATE = 'please log in' WHERE ACCOUNTNO = ?", effect.target_id)
        stamped = connector.write([effect])  # the stamp replaces it
        assert isinstance(only(stamped), Done)
        # After the commit, what reads back is nonsense.
        world.office.run(
            "CREATE TRIGGER NONSENSE AFTER UPDATE ON CONTACT1 BEGIN"
            " UPDATE CONTACT1 SET LASTDATE = 'please log in' WHERE RECID = NEW.RECID; END"
        )
        assert isinstance(only(connector.write([world.effect(effect.target_id, URATING=4)])), Unknown)


class TestContractOfCustomers(TestContract):
    @pytest.fixture
    def world(self) -> Iterator[GoldMineWorld]:
        yield from opened(CustomersWorld, padded=False)

    def test_an_answer_that_is_no_answer_is_unavailable_or_unknown(self, world):
        _, (made,) = world.make_records(1)
        world.office.run("UPDATE CONTACT1 SET LASTDATE = 'please log in' WHERE ACCOUNTNO = ?", made)
        with pytest.raises(UnavailableError):
            world.connector().read(Kind.COMPANY, [made])


class TestContractOfPersons(TestContract):
    @pytest.fixture
    def world(self) -> Iterator[GoldMineWorld]:
        yield from opened(PersonsWorld)

    def test_an_answer_that_is_no_answer_is_unavailable_or_unknown(self, world):
        _, (made,) = world.make_records(1)
        world.office.run("UPDATE CONTSUPP SET LASTDATE = 'please log in'")
        with pytest.raises(UnavailableError):
            world.connector().read(Kind.CONTACT, [made])


class TestContractOverTheBridge(TestContract):
    """As in an office: the same connector is called over the bridge."""

    @pytest.fixture
    def world(self) -> Iterator[Any]:
        for world in opened(GoldMineWorld):
            yield BridgedWorld(world)


class WireWorld(GoldMineWorld):
    """In which the real driver speaks TDS with a server of ours, before the same database."""

    def __init__(self, office: Office, clock: SimulatedClock) -> None:
        super().__init__(office, clock)
        self.provider = GoldMineProvider()
        self.tracking: Tracking | None = None
        self.server = TdsServer(lambda: SqlServerSession(self.office, self.faults, self.tracking))

    def context(self, **settings: object) -> Context:
        place = {"sqlite_file": "", "server": "127.0.0.1", "port": self.server.port, "database": "GoldMine"}
        return super().context(**{**place, **settings})

    def refuse(self, number: int) -> None:
        if number == LOGIN:
            self.server.refuse_login = RefusalError(number, "made up for a test")
        elif number == LOCK_TIME_OUT:
            self.always = [{"kind": "status", "status": 429}]
        else:
            self.server.port = 9  # where nobody listens


@pytest.fixture
def wire() -> Iterator[WireWorld]:
    for world in opened(WireWorld):
        with world.server.serving():
            yield world


class TestContractOverTds(TestContract):
    """By pymssql and SQLAlchemy's own dialect for SQL Server; only what executes the SQL is not SQL Server."""

    @pytest.fixture
    def world(self, wire: WireWorld) -> WireWorld:
        return wire

    def test_an_answer_that_is_no_answer_is_unavailable_or_unknown(self, world):
        kind, (made,) = world.make_records(1)
        effect = world.sample_effects()[0]
        connector = world.connector()
        connector.probe()
        world.server.nonsense_to = "FROM [OPMGR]"
        with pytest.raises(UnavailableError):
            connector.read(kind, [made])
        world.server.nonsense_to = "COMMIT TRAN"
        assert isinstance(only(connector.write([effect])), Unknown)


@pytest.mark.parametrize(
    ("number", "part", "error"),
    [
        (911, "use ", ReconnectError),
        (4060, "use ", ReconnectError),
        (1205, "FROM [OPMGR]", ThrottledError),
        (1222, "FROM [OPMGR]", ThrottledError),
        (229, "FROM [OPMGR]", ReconnectError),
        (9002, "FROM [OPMGR]", UnavailableError),
    ],
)
def test_what_a_server_refuses_with_is_told_over_the_wire(wire, number, part, error):
    kind, (made,) = wire.make_records(1)
    connector = wire.connector()
    connector.probe()
    wire.server.refusals[part] = RefusalError(number, "The server's words.")
    with pytest.raises(error) as caught:
        connector.read(kind, [made])
    assert caught.value.code == str(number)


def test_after_a_refused_login_a_server_that_is_away_is_not_taken_for_another_refusal(wire):
    """pymssql keeps the number of the refusal for what fails next."""
    connector = wire.connector()
    wire.refuse(LOGIN)
    for _ in range(2):
        with pytest.raises(ReconnectError):
            connector.probe()
    wire.server.refuse_login = None
    connector.probe()
    away = wire.connector(port=9)
    with pytest.raises(UnavailableError, match="cannot be reached"):
        away.probe()


@pytest.mark.parametrize(("number", "error"), [(1205, ThrottledError), (2628, RejectedError), (1222, ThrottledError)])
@pytest.mark.parametrize("part", ["UPDATE [CONTACT2]", "UPDATE [CONTACT1]"])
def test_an_update_that_the_server_refuses_is_not_done(wire, number, error, part):
    effect = wire.sample_effects()[0]
    wire.server.refusals[part] = RefusalError(number, "The server's words.")
    outcome = only(wire.connector().write([effect]))
    assert isinstance(outcome, NotDone)
    assert type(outcome.error) is error
    assert only_record(wire.connector(), Kind.COMPANY, effect.target_id)["custom_fields"]["UCLIENTSTA"] is None


@pytest.mark.parametrize(("number", "ends"), [(1205, NotDone), (9002, Unknown), (424242, Unknown)])
def test_a_commit_that_the_server_refuses_is_unknown_unless_it_was_surely_undone(wire, number, ends):
    effect = wire.sample_effects()[0]
    wire.server.refusals["COMMIT TRAN"] = RefusalError(number, "The server's words.")
    assert isinstance(only(wire.connector().write([effect])), ends)


def test_what_the_driver_says_is_what_was_asked(wire):
    """Quoting, types and texts of the real driver, there and back; days whatever the login's language is."""
    account = wire.make(COMPANY="Söhne & O'Hara 'A%s' [B] N'x'", CITY="Łódź")
    deal = wire.office.add_deal(account, "Deal", 0.1 + 0.2, CLOSEBY=date(2026, 2, 1))
    connector = wire.connector()
    fields = only_record(connector, Kind.COMPANY, account)
    assert (fields["name"], fields["address"]["city"]) == ("Söhne & O'Hara 'A%s' [B] N'x'", "Łódź")
    assert [one.id for one in connector.search(Kind.COMPANY, "name", [fields["name"]])] == [account]
    found = only_record(connector, Kind.DEAL, deal)
    assert (found["amount"], found["expected_close_on"]) == (Decimal("0.30"), date(2026, 2, 1))
    assert "SET LOCK_TIMEOUT 4000; SET DEADLOCK_PRIORITY LOW; SET DATEFORMAT ymd" in wire.server.said
    cursor = connector.cursor_now(Kind.COMPANY)
    wire.office.edit_customer(account, CITY="Springfield")
    assert changed(connector, Kind.COMPANY, cursor)[0] == {account}
    assert any("LASTDATE] >= '2026-01-03 00:00:00.000'" in text for text in wire.server.said)


def test_change_tracking_is_asked_over_the_wire(wire):
    wire.tracking = Tracking(wire.office, TRACKED)
    accounts = [wire.make() for _ in range(3)]
    wire.clock.advance(30 * 86400)
    connector = wire.connector()
    cursor = connector.cursor_now(Kind.COMPANY)
    wire.office.run("UPDATE CONTACT2 SET UCLIENTSTA = 'Gold' WHERE ACCOUNTNO = ?", accounts[1])
    wire.server.said.clear()
    found, cursor = changed(connector, Kind.COMPANY, cursor)
    assert found == {accounts[1]}
    assert any("CHANGETABLE(CHANGES CONTACT2, " in text for text in wire.server.said)
    assert not any("SELECT TOP 250 [K].[KEY_] FROM (SELECT DISTINCT [CONTACT1]" in text for text in wire.server.said)
    assert changed(connector, Kind.COMPANY, cursor)[0] == set()


# ---- what changed ----


def changed(connector: Connector, kind: Kind, cursor: str) -> tuple[set[str], str]:
    """Ids that a poll gives out, and the next cursor."""
    records, gone, cursor = all_changes(connector, kind, cursor)
    assert not gone
    return {record.id for record in records}, cursor


def test_a_change_of_any_row_that_a_customer_is_made_of_is_found(world):
    office, connector = world.office, world.connector()
    account, other = world.make(), world.make()
    address = office.add_email(account, "ada@acme.example")
    site = office.add_web_site(account, "https://acme.example")
    cursor = connector.cursor_now(Kind.COMPANY)
    for change in (
        lambda: office.edit_customer(account, CITY="Springfield"),
        lambda: office.edit_customer(account, UCLIENTSTA="Gold"),
        lambda: office.edit_detail(address, CONTSUPREF="ada@new.example"),
        lambda: office.edit_detail(site, CONTSUPREF="https://new.example"),
    ):
        change()
        found, cursor = changed(connector, Kind.COMPANY, cursor)
        assert found == {account}, "at the same minute, as the clock stands still"
        found, cursor = changed(connector, Kind.COMPANY, cursor)
        assert found == set()
    office.edit_customer(other)  # LASTDATE is written again, and nothing is another
    assert changed(connector, Kind.COMPANY, cursor)[0] == set()


def test_what_no_stamp_tells_of_is_found_by_comparing(world):
    office, connector = world.office, world.connector(compare_hours=24)
    account = world.make()
    address = office.add_email(account, "ada@acme.example")
    world.make()
    world.clock.advance(4 * 86400)
    cursor = connector.cursor_now(Kind.COMPANY)
    office.run("UPDATE CONTACT2 SET UCLIENTSTA = 'Gold' WHERE ACCOUNTNO = ?", account)
    found, cursor = changed(connector, Kind.COMPANY, cursor)
    assert found == set()
    world.clock.advance(86400)
    found, cursor = changed(connector, Kind.COMPANY, cursor)
    assert found == {account}
    office.delete_detail(address)
    world.clock.advance(86400)
    assert changed(connector, Kind.COMPANY, cursor)[0] == {account}


def test_a_merged_customer_is_gone_and_its_deals_are_the_survivors(world):
    office, connector = world.office, world.connector()
    loser, survivor = world.make(), world.make()
    deal = office.add_deal(loser, "Consulting", 100)
    person = office.add_person(loser, "Ben Haas")
    cursor = connector.cursor_now(Kind.DEAL)
    office.merge(loser, survivor)
    assert changed(connector, Kind.DEAL, cursor)[0] == {deal}
    (record,) = connector.read(Kind.DEAL, [deal])
    assert record.fields["companies"][0]["id"] == survivor
    assert all_ids(connector, Kind.COMPANY) == [survivor]
    (record,) = connector.read(Kind.CONTACT, [f"contsupp:{person}"])
    assert record.fields["company_id"] == survivor


def test_a_thousand_deals_are_given_out_once_and_then_the_one_that_changed_with_few_others(world):
    connector = world.connector()
    account = world.make()
    made = [world.office.add_deal(account, f"Deal {number}", 1) for number in range(1000)]
    records, _, cursor = all_changes(connector, Kind.DEAL, None)
    assert [record.id for record in records] == sorted(made)
    assert len(cursor) < 10_000
    world.office.edit_deal(made[500], STATUS="Lost")
    found, cursor = changed(connector, Kind.DEAL, cursor)
    assert made[500] in found
    assert len(found) < 12
    assert changed(connector, Kind.DEAL, cursor)[0] == set()


def test_the_first_poll_needs_no_long_call(world):
    """A call that is out of time is gone on with, and nothing is lost; the pages are short."""
    account = world.make()
    made = {world.office.add_deal(account, f"Deal {number}", 1) for number in range(600)}
    slow = world.connector()
    page = slow.changes(Kind.DEAL, None)
    assert page.more
    assert len(page.records) == 250
    rest, _, _ = all_changes(slow, Kind.DEAL, page.cursor)
    assert {record.id for record in [*page.records, *rest]} == made


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"looked_at": 1}'])
def test_a_cursor_that_is_none_of_ours_is_refused(world, text):
    with pytest.raises(UnavailableError, match="cursor"):
        world.connector().changes(Kind.DEAL, text)


# ---- change tracking ----

TRACKED = ("CONTACT1", "CONTACT2", "CONTSUPP", "OPMGR", "OPMGRFLD", "CONTHIST")


@pytest.fixture
def tracking(world, monkeypatch) -> Tracking:
    """Switched on for the world's database."""
    made = Tracking(world.office, TRACKED)
    world.provider = GoldMineProvider(lambda _, __: made.install(world.engine(made.prepare)))
    monkeypatch.setattr(Database, "tracks", True)
    return made


@pytest.mark.usefixtures("tracking")
def test_with_change_tracking_only_what_changed_is_read(world):
    office = world.office
    account, other = world.make(), world.make()
    deal = office.add_deal(account, "Consulting", 100)
    office.add_deal(other, "Travel", 50)
    address = office.add_email(account, "ada@acme.example")
    person = office.add_person(account, "Ben Haas")
    world.clock.advance(30 * 86400)
    connector = world.connector(compare_hours=1)
    cursors = {kind: connector.cursor_now(kind) for kind in (Kind.COMPANY, Kind.CONTACT, Kind.DEAL)}

    def poll() -> dict[Kind, set[str]]:
        found = {}
        for kind, cursor in cursors.items():
            found[kind], cursors[kind] = changed(connector, kind, cursor)
        return found

    persons = {f"contact1:{account}", f"contsupp:{person}"}
    nobody: dict[Kind, set[str]] = {kind: set() for kind in cursors}
    assert poll() == nobody
    office.run("UPDATE CONTACT2 SET UCLIENTSTA = 'Gold' WHERE ACCOUNTNO = ?", account)  # no stamp tells of it
    assert poll() == {Kind.COMPANY: {account}, Kind.CONTACT: persons, Kind.DEAL: set()}
    office.edit_deal(deal, STAGE="Offer")
    assert poll() == nobody | {Kind.DEAL: {deal}}
    office.add_field(deal, "Project", "P-1")
    assert poll() == nobody | {Kind.DEAL: {deal}}
    office.delete_detail(address)  # nothing says whose it was: all are compared
    assert poll()[Kind.COMPANY] == {account}
    assert poll() == nobody


def test_what_change_tracking_forgot_is_compared(world, tracking):
    office, connector = world.office, world.connector()
    accounts = [world.make() for _ in range(5)]
    world.clock.advance(30 * 86400)
    cursor = connector.cursor_now(Kind.COMPANY)
    office.run("UPDATE CONTACT2 SET UCLIENTSTA = 'Gold' WHERE ACCOUNTNO = ?", accounts[3])
    tracking.valid_from = tracking.version() + 1
    found, cursor = changed(connector, Kind.COMPANY, cursor)
    assert found == {accounts[3]}
    office.edit_customer(accounts[1], CITY="Springfield")
    assert changed(connector, Kind.COMPANY, cursor)[0] == {accounts[1]}


@pytest.mark.usefixtures("tracking")
def test_change_tracking_that_is_switched_off_later_loses_nothing(world, monkeypatch):
    office = world.office
    accounts = [world.make() for _ in range(5)]
    world.clock.advance(30 * 86400)
    cursor = world.connector().cursor_now(Kind.COMPANY)
    monkeypatch.setattr(Database, "tracks", False)
    office.edit_customer(accounts[1], CITY="Springfield")
    assert changed(world.connector(), Kind.COMPANY, cursor)[0] == {accounts[1]}


def test_with_one_table_untracked_edits_are_found_by_their_stamp(world, monkeypatch):
    made = Tracking(world.office, TRACKED[1:])
    world.provider = GoldMineProvider(lambda _, __: made.install(world.engine(made.prepare)))
    monkeypatch.setattr(Database, "tracks", True)
    account = world.make()
    cursor = world.connector().cursor_now(Kind.COMPANY)
    world.office.edit_customer(account, CITY="Springfield")
    assert changed(world.connector(), Kind.COMPANY, cursor)[0] == {account}


# ---- what is read ----


def only_record(connector: Connector, kind: Kind, record_id: str) -> Any:
    (record,) = connector.read(kind, [record_id])
    return record.fields


def test_addresses_of_e_mail_are_put_together_and_belong_to_whom_they_name(world):
    office, connector = world.office, world.connector()
    account = world.make(CONTACT="Ada van Miller", LASTNAME="van Miller", TITLE="Director")
    person = office.add_person(account, "Ben Haas", PHONE="555-1", CITY="Shelbyville")
    office.add_email(account, "old@acme.example")
    office.add_email(account, LONG)
    office.add_email(account, "ben@acme.example", person=person)
    office.add_email(account, "unattached@acme.example", primary=False, STATUS="00", ZIP="0111")
    office.run("UPDATE CONTSUPP SET ADDRESS1 = 'left over' WHERE CONTSUPREF LIKE 'old@%'")

    main = only_record(connector, Kind.COMPANY, account)["contact"]
    assert (main["email"], main["given_name"], main["family_name"]) == (LONG, "Ada", "van Miller")
    assert only_record(connector, Kind.CONTACT, f"contact1:{account}")["email"] == LONG
    more = only_record(connector, Kind.CONTACT, f"contsupp:{person}")
    assert (more["email"], more["phone"], more["company_id"]) == ("ben@acme.example", "555-1", account)
    assert more["address"]["city"] == "Shelbyville"

    assert [each.id for each in connector.search(Kind.CONTACT, "email", [LONG.upper()])] == [f"contact1:{account}"]
    assert [each.id for each in connector.search(Kind.CONTACT, "email", ["BEN@acme.example"])] == [f"contsupp:{person}"]
    assert connector.search(Kind.CONTACT, "email", ["old@acme.example", LONG[:35]]) == []
    assert [each.id for each in connector.search(Kind.CONTACT, "name", ["ben HAAS"])] == [f"contsupp:{person}"]


def test_of_several_addresses_without_a_flag_none_is_taken(world):
    account = world.make()
    world.office.add_email(account, "one@acme.example", primary=False)
    assert only_record(world.connector(), Kind.CONTACT, f"contact1:{account}")["email"] == "one@acme.example"
    world.office.add_email(account, "two@acme.example", primary=False)
    assert only_record(world.connector(), Kind.CONTACT, f"contact1:{account}")["email"] is None


def test_ids_that_differ_by_case_alone_are_two_even_where_the_database_does_not_regard_it(world):
    """The columns get a collation that ignores case, as SQL Server's often is."""
    office = world.office
    for name, value in (("A1#(bK", "Lower"), ("A1#(BK", "Upper")):
        world.make(ACCOUNTNO=name, COMPANY=value)
        office.add_email(name, f"{value}@acme.example")
    office._settings.padded = False
    for table in ("CONTACT1", "CONTACT2", "CONTSUPP"):
        rows = office.rows(table)
        (made,) = office.query("SELECT sql FROM sqlite_master WHERE name = ?", table)
        office.run(f"DROP TABLE {table}")
        office.run(made["sql"].replace("COLLATE RTRIM", "COLLATE NOCASE"))
        for row in rows:
            stripped = [value.rstrip() if isinstance(value, str) else value for value in row.values()]
            office.run(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", *stripped)
    connector = world.connector()
    assert all_ids(connector, Kind.COMPANY) == ["A1#(BK", "A1#(bK"]
    (record,) = connector.read(Kind.COMPANY, ["A1#(bK"])
    assert (record.id, record.fields["name"]) == ("A1#(bK", "Lower")
    assert record.fields["contact"]["email"] == "Lower@acme.example"
    assert len(connector.read(Kind.COMPANY, ["A1#(bK", "A1#(BK"])) == 2
    outcome = only(connector.write([world.effect("A1#(bK", UCLIENTSTA="Gold")]))
    assert isinstance(outcome, Done)
    assert [
        only_record(connector, Kind.COMPANY, one)["custom_fields"]["UCLIENTSTA"] for one in ("A1#(bK", "A1#(BK")
    ] == [
        "Gold",
        None,
    ]


def test_rows_without_an_id_and_other_rows_of_a_deal_are_no_records(world):
    office, connector = world.office, world.connector()
    account = world.make()
    deal = office.add_deal(account, "Consulting", 100)
    office.run("INSERT INTO CONTACT1 (ACCOUNTNO, COMPANY, RECID) VALUES ('', 'Nobody', 'x1'), (NULL, 'Nobody', 'x2')")
    office.run("INSERT INTO OPMGR (OPID, RECTYPE, NAME, RECID) VALUES (?, 'OK', 'A task', 'x3')", deal)
    office.run("INSERT INTO OPMGR (OPID, RECTYPE, NAME, RECID) VALUES ('P1', 'P', 'A project', 'x4')")
    assert all_ids(connector, Kind.COMPANY) == [account]
    assert all_ids(connector, Kind.DEAL) == [deal]
    assert only_record(connector, Kind.DEAL, deal)["name"] == "Consulting"
    assert all_ids(connector, Kind.CONTACT) == [f"contact1:{account}"]


def test_a_deal_has_what_its_settings_say(world):
    office = world.office
    account = world.make(COMPANY="Acme")
    deal = office.add_deal(account, "Consulting", 99.995, PRODUCTNAME="GTX Pro", F1="D-7", CLOSEBY=date(2026, 2, 1))
    office.add_field(deal, "Project", "P-1")
    fields = only_record(world.connector(), Kind.DEAL, deal)
    assert (fields["status"], fields["amount"], fields["closed_on"]) == ("open", Decimal("100.00"), None)
    assert (fields["source_id"], fields["expected_close_on"]) == (deal, date(2026, 2, 1))
    assert fields["companies"] == [{"id": account, "name": "Acme"}]
    assert fields["custom_fields"]["Project"] == "P-1"
    assert [line["name"] for line in fields["lines"]] == ["GTX Pro"]

    office.win(deal, 0.1 + 0.2, date(2026, 1, 5))
    office.edit_deal(deal, STATUS="GEWONNEN")
    connector = world.connector(won_statuses=["gewonnen"], deal_number_field="Project")
    fields = only_record(connector, Kind.DEAL, deal)
    assert (fields["status"], fields["amount"], fields["source_id"]) == ("won", Decimal("0.30"), "P-1")
    assert fields["lines"][0]["amount"] == Decimal("0.30")
    yen = only_record(world.connector(won_statuses=["Gewonnen"], currency="JPY"), Kind.DEAL, deal)
    assert yen["amount"] == Decimal(0)


def test_completed_sales_are_lines_if_they_are_as_much_as_the_deal(world):
    office, connector = world.office, world.connector(deal_lines="sales")
    deal = office.add_deal(world.make(), "Consulting", 100)
    office.win(deal, 100.50, date(2026, 1, 5))
    pending = [office.forecast_sale(deal, "Consulting"), office.forecast_sale(deal, "Travel")]
    assert only_record(connector, Kind.DEAL, deal)["lines"] == []
    cursor = connector.cursor_now(Kind.DEAL)

    office.complete_sale(pending[0], "80.50", units="7", person="Ada Miller")
    lines = only_record(connector, Kind.DEAL, deal)["lines"]
    assert [(line["name"], line["amount"]) for line in lines] == [("Consulting", None)], "part of it is missing"

    office.complete_sale(pending[1], "20", units="8")
    assert changed(connector, Kind.DEAL, cursor)[0] == {deal}
    lines = only_record(connector, Kind.DEAL, deal)["lines"]
    assert [(line["name"], line["quantity"], line["unit_price"], line["amount"]) for line in lines] == [
        ("Consulting", Decimal(7), Decimal("11.50"), Decimal("80.50")),
        ("Travel", Decimal(8), Decimal("2.50"), Decimal("20.00")),
    ]


def test_columns_and_tables_that_are_missing_leave_their_fields_absent(world):
    office = world.office
    account = world.make(PHONE1="555", CONTACT="Ada Miller")
    deal = office.add_deal(account, "Consulting", 100)
    for statement in (
        "ALTER TABLE CONTACT1 DROP COLUMN COUNTRY",
        "ALTER TABLE CONTACT1 DROP COLUMN TITLE",
        "ALTER TABLE OPMGR DROP COLUMN PRODUCTNAME",
        "ALTER TABLE CONTACT1 RENAME COLUMN PHONE1 TO Phone1",
        "DROP TABLE OPMGRFLD",
        "DROP TABLE CONTHIST",
    ):
        office.run(statement)
    connector = world.connector(deal_lines="sales")
    fields = only_record(connector, Kind.COMPANY, account)
    assert "country" not in fields["address"]
    assert "job_title" not in fields["contact"]
    assert fields["phone"] == "555"
    assert "PRODUCTNAME" not in only_record(connector, Kind.DEAL, deal)["custom_fields"]


@pytest.mark.parametrize("statement", ["DROP TABLE OPMGR", "ALTER TABLE CONTSUPP DROP COLUMN LINKACCT"])
def test_a_database_that_is_not_goldmines_asks_for_another(world, statement):
    world.office.run(statement)
    with pytest.raises(ReconnectError, match=r"OPMGR|CONTSUPP\.LINKACCT"):
        world.connector().probe()


def test_a_new_user_field_is_seen_within_two_hours(world):
    connector, account = world.connector(), world.make()
    connector.read(Kind.COMPANY, [account])
    world.office.run("ALTER TABLE CONTACT2 ADD COLUMN UNEW CHAR(10) DEFAULT 'x'")
    world.clock.advance(7200)
    assert only_record(connector, Kind.COMPANY, account)["custom_fields"]["UNEW"] == "x"


# ---- what is written ----


def test_nothing_is_written_unless_the_settings_say_so(world):
    connector, effect = world.connector(write_user_fields=False), world.sample_effects()[0]
    before = world.office.rows("CONTACT2")
    outcome = only(connector.write([effect]))
    assert isinstance(outcome, NotDone)
    assert isinstance(outcome.error, RejectedError)
    assert "write_user_fields" in outcome.error.next_step
    assert world.office.rows("CONTACT2") == before


def test_an_update_stamps_the_customer_and_touches_nothing_else(world):
    account, other = world.make(NOTES="Kept"), world.make()
    before = {table: world.office.rows(table) for table in ("CONTACT1", "CONTACT2")}
    world.clock.advance(86400)
    done(world.connector(last_user="BOOKS").write([world.effect(account, UCLIENTSTA="Paid")]))
    after = {table: world.office.rows(table) for table in ("CONTACT1", "CONTACT2")}
    differing = {
        (table, row["ACCOUNTNO"].rstrip(), name)
        for table, rows in after.items()
        for row, former in zip(rows, before[table], strict=True)
        for name in row
        if row[name] != former[name]
    }
    assert differing == {
        ("CONTACT2", account, "UCLIENTSTA"),
        ("CONTACT1", account, "LASTDATE"),
        ("CONTACT1", account, "LASTUSER"),
    }
    assert other not in {account for _, account, _ in differing}
    (record,) = world.connector().read(Kind.COMPANY, [account])
    assert (record.edited_at, record.edited_by) == (world.clock.now(), "BOOKS")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"UCLIENTSTA": "x" * 21}, "custom_fields.UCLIENTSTA"),
        ({"NEXTACTION": "Call"}, "custom_fields.NEXTACTION"),
        ({"KEY1": "Customer"}, "custom_fields.KEY1"),
        ({"U": "x"}, "custom_fields.U"),
    ],
)
def test_what_does_not_fit_or_is_no_user_field_is_refused_by_name(world, fields, field):
    account = world.make()
    outcome = only(world.connector().write([world.effect(account, **{"URATING": 1, **fields})]))
    assert isinstance(outcome, NotDone)
    assert isinstance(outcome.error, RejectedError)
    assert outcome.error.field == field
    assert only_record(world.connector(), Kind.COMPANY, account)["custom_fields"]["URATING"] is None


def test_a_value_that_the_database_changes_is_not_kept(world):
    account = world.make()
    world.office.run(
        "CREATE TRIGGER ROUNDS AFTER UPDATE OF UBALANCE ON CONTACT2 BEGIN"
        " UPDATE CONTACT2 SET UBALANCE = ROUND(NEW.UBALANCE)"
        " WHERE RECID = NEW.RECID AND UBALANCE != ROUND(UBALANCE); END"
    )
    outcome = only(world.connector().write([world.effect(account, UBALANCE=Decimal("1.50"), UCLIENTSTA="Paid")]))
    assert isinstance(outcome, NotDone)
    assert outcome.error.field == "custom_fields.UBALANCE"
    custom = only_record(world.connector(), Kind.COMPANY, account)["custom_fields"]
    assert (custom["UBALANCE"], custom["UCLIENTSTA"]) == (None, None)


def test_what_somebody_changed_in_the_moment_between_is_a_conflict(world, monkeypatch):
    account = world.make()
    row_of = Writer._row

    def meanwhile(self: Writer, change: Any, account: str) -> Any:
        row = dict(row_of(self, change, account))
        return row | {"UCLIENTSTA": "Silver"}  # what was read is not there any more

    monkeypatch.setattr(Writer, "_row", meanwhile)
    outcome = only(world.connector().write([world.effect(account, UCLIENTSTA="Paid")]))
    assert isinstance(outcome, NotDone)
    assert isinstance(outcome.error, ConflictError)


def test_values_that_are_there_already_are_not_written_again(world):
    account = world.make()
    effect = world.effect(account, UCLIENTSTA="Paid", UBALANCE=Decimal("1.10"), UPAIDON=date(2026, 1, 5))
    done(world.connector().write([effect]))
    before = world.office.rows("CONTACT1")
    world.clock.advance(3600)
    done(world.connector().write([effect]))
    assert world.office.rows("CONTACT1") == before


def test_a_locked_row_is_waited_for_and_not_written(world):
    effect = world.sample_effects()[0]
    connector = world.connector(faults=[{"kind": "status", "status": 429, "match": world.write_match}])
    outcome = only(connector.write([effect]))
    assert isinstance(outcome, NotDone)
    assert isinstance(outcome.error, ThrottledError)
    assert outcome.error.retry_after_seconds == 30


def test_a_customer_that_is_gone_is_not_found(world):
    outcome = only(world.connector().write([world.effect("NOBODY", UCLIENTSTA="Paid")]))
    assert isinstance(outcome, NotDone)
    assert isinstance(outcome.error, NotFoundError)


def test_the_registered_provider_opens_a_file_and_makes_none(world, tmp_path):
    context = world.context()
    account = world.make()
    connector = CONNECTOR.open(context)
    assert [record.id for record in connector.read(Kind.COMPANY, [account])] == [account]
    missing = CONNECTOR.open(world.context(sqlite_file=str(tmp_path / "none.sqlite")))
    with pytest.raises(UnavailableError):
        missing.probe()
    assert not list(tmp_path.iterdir())
