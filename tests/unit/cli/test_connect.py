"""`tieout connect`: no secret is ever shown, and nothing is stored that does not work."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.engine.world import BOOKS, CRM, TENANT
from tests.unit.cli.conftest import SECRET
from tieout.cli import connect, loopback
from tieout.cli.talk import AnswerError, Code
from tieout.domain.connections import ConnectionState

KEYS = json.dumps({"username": "sync", "password": SECRET})


@pytest.fixture
def unsigned(terminal):
    """Both connections as `config apply` leaves them: paused, without secrets and account."""
    for name in (CRM, BOOKS):
        connection = terminal.world.state.connection(TENANT, name)
        terminal.world.state.put_connection(
            replace(connection, account="", state=ConnectionState.PAUSED, paused_because="Nobody has signed in yet.")
        )
    terminal.secrets.stored.clear()
    return terminal


@pytest.fixture
def browser(monkeypatch):
    """Agrees on the consent page as a person would."""
    person = Person()
    monkeypatch.setattr(connect.webbrowser, "open", person.open)
    yield person
    person.leave()


class Person:
    code = "c0de"
    strange_state_first = False

    def __init__(self) -> None:
        self._answers: list[int] = []
        self._threads: list[threading.Thread] = []

    def open(self, page: str) -> None:
        query = parse_qs(urlsplit(page).query)
        where = (query["redirect_uri"][0], query["state"][0])
        self._threads.append(threading.Thread(target=self._come_back, args=where))
        self._threads[-1].start()

    def _come_back(self, redirect: str, state: str) -> None:
        redirect = redirect.replace("http://localhost:", "http://127.0.0.1:")
        if self.strange_state_first:
            self._answers.append(get(f"{redirect}?code=evil&state=guess"))
        self._answers.append(get(f"{redirect}?code={self.code}&state={state}"))

    def leave(self) -> list[int]:
        """What the local address answered."""
        for thread in self._threads:
            thread.join(timeout=10)
        return self._answers


def get(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def assert_no_secret(terminal):
    shown = terminal.out + terminal.err
    for secret in (SECRET, "first", "token-of-", "c0de"):
        assert secret not in shown


def test_keys_are_typed_unseen_and_stored_once_they_work(unsigned):
    unsigned.type("connect", CRM, given=f"sync\n{SECRET}\n")
    assert unsigned.exit_code == Code.OK
    assert unsigned.secrets.stored[TENANT, CRM] == {"username": "sync", "password": SECRET}
    connection = unsigned.world.state.connection(TENANT, CRM)
    assert (connection.state, connection.account, connection.paused_because) == (ConnectionState.ACTIVE, "1", "")
    assert unsigned.schedules.kept["acme.act"] == ("rate(1 hour)", True)
    assert "Acme's database" in unsigned.out
    assert_no_secret(unsigned)


def test_keys_that_do_not_work_are_not_stored(unsigned):
    unsigned.type("connect", CRM, given="sync\nwrong\n")
    assert unsigned.exit_code == Code.SETUP
    assert not unsigned.secrets.stored
    assert unsigned.world.state.connection(TENANT, CRM).state is ConnectionState.PAUSED
    assert "The CRM does not accept the password." in unsigned.err
    assert "wrong" not in unsigned.out + unsigned.err


def test_keys_come_from_the_standard_input(unsigned):
    answer = unsigned.json("connect", CRM, "--secrets-file", "-", given=KEYS)
    assert (answer["account"], answer["state"]) == ("1", "active")
    assert answer["webhook"] == "https://api.example/webhooks/acme.act"
    assert unsigned.secrets.stored[TENANT, CRM]["password"] == SECRET
    assert_no_secret(unsigned)


def test_keys_come_from_variables(unsigned, monkeypatch):
    monkeypatch.setenv("TIEOUT_SECRET_USERNAME", "sync")
    monkeypatch.setenv("TIEOUT_SECRET_PASSWORD", SECRET)
    unsigned.type("connect", CRM)
    assert unsigned.exit_code == Code.OK
    assert unsigned.secrets.stored[TENANT, CRM]["password"] == SECRET


def test_nobody_to_type_keys_is_told_of_the_other_ways(unsigned):
    unsigned.type("connect", CRM, given="")
    assert unsigned.exit_code == Code.USAGE
    assert "TIEOUT_SECRET_USERNAME" in unsigned.err
    assert "--secrets-file" in unsigned.err


@pytest.mark.parametrize("text", ["not json", "[]", '{"password": 7}', '{"passwort": "open-sesame"}'])
def test_a_bad_secrets_file_is_refused_without_showing_it(unsigned, text):
    unsigned.type("connect", CRM, "--secrets-file", "-", given=text)
    assert unsigned.exit_code == Code.USAGE
    assert not unsigned.secrets.stored
    assert_no_secret(unsigned)


def test_stored_keys_are_tried_again_without_asking(terminal):
    terminal.type("connect", CRM)
    assert terminal.exit_code == Code.OK
    assert "Password" not in terminal.err


def test_keys_of_a_paused_connection_are_asked_for_again_and_enter_keeps_them(terminal):
    connection = terminal.world.state.connection(TENANT, CRM)
    terminal.world.state.put_connection(replace(connection, state=ConnectionState.PAUSED, paused_because="No."))
    terminal.type("connect", CRM, given=f"\n{SECRET}\n")
    assert terminal.exit_code == Code.OK
    assert "User name (Enter keeps it)" in terminal.err
    assert terminal.secrets.stored[TENANT, CRM] == {"username": "sync", "password": SECRET}


def test_consent_exchanges_stores_proves_and_goes_on(unsigned, browser):
    unsigned.type("connect", BOOKS, given=f"id\n{SECRET}\n")
    assert unsigned.exit_code == Code.OK, unsigned.err
    assert browser.leave() == [200]
    assert unsigned.consent.queries[0]["code"] == "c0de"
    assert unsigned.secrets.stored[TENANT, BOOKS] == {
        "client_id": "id",
        "client_secret": SECRET,
        "refresh_token": "token-of-c0de",
    }
    connection = unsigned.world.state.connection(TENANT, BOOKS)
    assert (connection.state, connection.account) == (ConnectionState.ACTIVE, "1")
    assert "Acme Ltd" in unsigned.out
    assert "Refresh token" not in unsigned.err
    assert_no_secret(unsigned)


def test_consent_ignores_an_answer_with_another_state(unsigned, browser):
    browser.strange_state_first = True
    unsigned.json("connect", BOOKS, "--secrets-file", "-", given='{"client_id": "id", "client_secret": "open-sesame"}')
    assert browser.leave() == [400, 200]
    assert [query["code"] for query in unsigned.consent.queries] == ["c0de"]


def test_consent_prints_the_page_where_no_browser_opens(unsigned, monkeypatch):
    monkeypatch.setattr(loopback, "WAIT_SECONDS_MAX", 0.05)
    unsigned.type("connect", BOOKS, "--no-browser", "--secrets-file", "-", given='{"client_id": "id"}')
    assert unsigned.exit_code == Code.TRY_LATER
    assert re.search(r"https://consent.example/\?client_id=id&redirect_uri=http://localhost:\d+/callback", unsigned.err)
    assert not unsigned.secrets.stored


def test_refused_consent_stores_nothing(unsigned, browser):
    browser.code = "x&error=access_denied"
    unsigned.type("connect", BOOKS, "--secrets-file", "-", given='{"client_id": "id"}')
    assert unsigned.exit_code == Code.NO
    assert "Consent was refused." in unsigned.err
    assert not unsigned.secrets.stored


@pytest.mark.usefixtures("browser")
def test_another_account_is_refused(terminal):
    terminal.consent.account = "2"
    terminal.type("connect", BOOKS)
    assert terminal.exit_code == Code.NO
    assert "This is the account 2, but quickbooks is of the account 1" in terminal.err
    assert terminal.secrets.stored[TENANT, BOOKS]["refresh_token"] == "first"
    assert terminal.world.state.connection(TENANT, BOOKS).account == "1"


@pytest.mark.usefixtures("browser")
def test_the_token_is_stored_before_it_is_used(terminal, monkeypatch):
    order = terminal.secrets.order
    deployment = terminal.desk.deployment
    real = deployment.connect
    monkeypatch.setattr(deployment, "connect", lambda *args, **named: (order.append("used"), real(*args, **named))[1])
    terminal.type("connect", BOOKS)
    assert order == ["stored", "used"]


def test_a_registered_redirect_is_pasted(unsigned, monkeypatch):
    monkeypatch.setattr(connect.random_secrets, "token_urlsafe", lambda _: "the-state")
    given = "https://acme.example/back?code=c0de&state=the-state\n"
    monkeypatch.setenv("TIEOUT_SECRET_CLIENT_ID", "id")
    monkeypatch.setenv("TIEOUT_SECRET_CLIENT_SECRET", SECRET)
    unsigned.type("connect", BOOKS, "--no-browser", "--redirect", "https://acme.example/back", given=given)
    assert unsigned.exit_code == Code.OK, unsigned.err
    assert "redirect_uri=https://acme.example/back" in unsigned.err
    assert_no_secret(unsigned)

    unsigned.type("connect", BOOKS, "--no-browser", given=given)
    assert unsigned.exit_code == Code.OK, "the address is the same as the last time"
    assert "redirect_uri=https://acme.example/back" in unsigned.err


def test_a_pasted_address_with_another_state_is_refused(unsigned, monkeypatch):
    monkeypatch.setenv("TIEOUT_SECRET_CLIENT_ID", "id")
    monkeypatch.setenv("TIEOUT_SECRET_CLIENT_SECRET", SECRET)
    given = "https://acme.example/back?code=c0de&state=guess\n"
    unsigned.type("connect", BOOKS, "--no-browser", "--redirect", "https://acme.example/back", given=given)
    assert unsigned.exit_code == Code.NO
    assert not unsigned.consent.queries


def test_an_unknown_connection_lists_those_there_are(terminal):
    terminal.type("connect", "quickboks")
    assert terminal.exit_code == Code.SETUP
    assert "it has: act, quickbooks" in terminal.err


def test_the_listener_is_only_reached_from_this_machine():
    with loopback.listening(0, "state") as waiting:
        assert waiting._server.server_address[0] == "127.0.0.1"


def test_a_taken_port_is_said_plainly():
    with loopback.listening(0, "state") as waiting:
        port = waiting._server.server_port
        with pytest.raises(AnswerError, match="is taken"), loopback.listening(port, "state"):
            pass


def test_tried_secrets_show_nowhere():
    tried = connect._Tried({"password": SECRET})
    assert SECRET not in repr(tried)
