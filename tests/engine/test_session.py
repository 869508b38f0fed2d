"""What the parts of one run share: open connections, who is told that one needs a person, and known partners."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.engine.world import BOOKS, CRM, START, TENANT, World
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.errors import ReconnectError, SettingsError, TieoutError, UnavailableError
from tieout.domain.links import Link, LinkKey, Withdrawal
from tieout.engine.session import Session


class Told:
    """Stands for the ends of changes: notes which connections are paused, and why."""

    def __init__(self) -> None:
        self.about: list[tuple[str, TieoutError]] = []

    def paused(self, connection: Connection, error: TieoutError) -> None:
        self.about.append((connection.id, error))


@pytest.fixture
def world() -> World:
    return World()


def session_of(world: World, *, opened: list[Connection] | None = None) -> Session:
    def connect(connection: Connection) -> Any:
        if opened is not None:
            opened.append(connection)
        return world.crm if connection.id == CRM else world.books

    ends: Any = Told()
    caps: Any = None
    return Session(
        tenant=TENANT,
        config=world.state,
        links=world.state,
        clock=world.clock,
        policy=world.policy,
        ends=ends,
        caps=caps,
        connect=connect,
        out_of_time=lambda: False,
    )


def key(record_id: str) -> LinkKey:
    return LinkKey(TENANT, "deals-to-invoices", "customers", record_id)


def test_a_connection_is_opened_once_in_a_run_with_what_is_stored_of_it(world: World):
    opened: list[Connection] = []
    session = session_of(world, opened=opened)
    for _ in range(2):
        assert session.connector(CRM) is world.crm
        assert session.connector(BOOKS) is world.books
    assert opened == [world.state.connection(TENANT, CRM), world.state.connection(TENANT, BOOKS)]


def test_a_connection_that_is_not_set_up_is_named_with_the_command_that_sets_it_up(world: World):
    with pytest.raises(UnavailableError) as caught:
        session_of(world).connector("xero")
    assert caught.value.message == "The connection xero is not set up."
    assert caught.value.next_step == "Add a connection document for `xero` and run `tieout config apply`."


def test_a_paused_connection_says_why_and_how_it_goes_on(world: World):
    books = world.state.connection(TENANT, BOOKS)
    assert books is not None
    world.state.put_connection(replace(books, state=ConnectionState.PAUSED, paused_because="Signed out."))
    with pytest.raises(UnavailableError) as caught:
        session_of(world).connector(BOOKS)
    assert caught.value.message == f"The connection {BOOKS} is paused: Signed out."
    assert caught.value.next_step == f"Run `tieout connect {BOOKS} --tenant {TENANT}`."


@pytest.mark.parametrize(
    ("connection", "error", "told"),
    [
        (BOOKS, ReconnectError("Signed out."), True),
        (BOOKS, SettingsError("The address is missing."), True),
        (BOOKS, UnavailableError("Down."), False),
        ("xero", ReconnectError("Signed out."), False),
    ],
)
def test_only_what_a_person_has_to_mend_pauses_the_connection(
    world: World, connection: str, error: TieoutError, told: bool
):
    session = session_of(world)
    session.failed(connection, error)
    ends: Any = session.ends
    assert ends.about == ([(connection, error)] if told else [])


def test_partners_are_known_until_they_are_withdrawn_or_forgotten(world: World):
    session = session_of(world)
    session.know({key("c1"): Link(key("c1"), target_id="1"), key("c2"): Link(key("c2"))})
    session.know({key("c3"): Link(key("c3"), target_id="3", withdrawn=Withdrawal.TARGET_GONE)})
    session.know({key("c4"): Link(key("c4"), target_id="4")})
    assert session.targets == {key("c1"): "1", key("c4"): "4"}
    session.forget(key("c1"))
    session.forget(key("c2"))
    assert session.targets == {key("c4"): "4"}


def test_a_run_knows_when_it_began_and_has_a_name_of_its_own(world: World):
    first = session_of(world)
    world.clock.sleep(60)
    second = session_of(world)
    assert first.began == START
    assert (second.began - first.began).total_seconds() == 60
    assert first.worker != second.worker
    assert len(first.worker) == 12
