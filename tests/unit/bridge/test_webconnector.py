"""Sessions of the QuickBooks Web Connector, call by call as it sends them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from xml.sax.saxutils import escape

import pytest

from tests.bridge import Waiting
from tests.unit.bridge.served import Kept, Served
from tieout.bridge import soap
from tieout.bridge.door import REFUSED_HEADER, BridgedDoor
from tieout.bridge.line import Line
from tieout.bridge.webconnector import ServeWebConnector
from tieout.domain.bridge import Ended, Installation, Job, JobState
from tieout.domain.connections import Connection
from tieout.domain.errors import UnavailableError, UncertainError
from tieout.domain.packing import pack, unpack
from tieout.ports.connector import Reachability
from tieout.ports.http import Request
from tieout.transport.xml import parse_xml

PASSWORD = "pass-word-1"
FILE = r"C:\Books\Acme & Co.qbw"
ASKED, ANSWERED = "<QBXML>Grüße & <a/></QBXML>", "<QBXML><b>&amp;</b></QBXML>"


class Office(Served):
    """The service, and two connections to QuickBooks Desktop that are let in."""

    def __init__(self) -> None:
        super().__init__()
        self.manifest = replace(self.manifest, reachability=Reachability.WEB_CONNECTOR)
        for tenant in ("acme", "other"):
            self.config.put_connection(Connection(tenant, "books", "fake_books", settings={"company_file": FILE}))
            self.invite(tenant)
        self.kept = Kept(self.vault)
        self.service = ServeWebConnector(
            config=self.config,
            secrets=self.kept,
            outbox=self.outbox,
            installations=self.installations,
            presence=self.presence,  # type: ignore[arg-type]  # as much of one as it needs
            manifest=lambda _: self.manifest,
            clock=self.clock,
            version="0.2.0",
        )

    def invite(self, tenant: str, password: str = PASSWORD) -> None:
        """As `tieout connect` does."""
        self.vault.stored[tenant, "books"] = {"username": f"{tenant}.books", "password": password}
        former = self.installations.installation(tenant, "books")
        revision = former.revision if former is not None else 0
        now = self.clock.now()
        self.installations.put_installation(Installation(tenant, "books", enrolled_at=now, revision=revision))

    def work(self, text: str = ASKED, *, write: bool = True) -> Job:
        return self.queue("request", pack({"body": text}), write=write)

    def stored(self, job: Job) -> Job:
        return self.outbox.stored[job.tenant, job.connection, job.id]


@dataclass
class Program:
    """The Web Connector on one computer."""

    office: Office
    address: str = "acme.books"
    ticket: str = ""

    def ask(self, call: str, **parameters: str) -> list[str]:
        """The texts of the answer."""
        inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in parameters.items())
        body = (
            '<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">'
            f'<soap:Body><{call} xmlns="{soap.NAMESPACE}">{inner}</{call}></soap:Body></soap:Envelope>'
        )
        root = parse_xml(self.office.service.answer(self.address, body.encode()))
        result = root[0][0][0]
        assert root[0][0].tag == f"{{{soap.NAMESPACE}}}{call}Response"
        assert result.tag == f"{{{soap.NAMESPACE}}}{call}Result"
        return [each.text or "" for each in result] if len(result) else [result.text or ""]

    def sign_in(self, user: str = "acme.books", password: str = PASSWORD) -> list[str]:
        answer = self.ask("authenticate", strUserName=user, strPassword=password)
        self.ticket = answer[0]
        return answer

    def send(self, file: str = FILE) -> str:
        names = {"ticket": self.ticket, "strHCPResponse": "", "strCompanyFileName": file}
        return self.ask("sendRequestXML", **names, qbXMLCountry="US", qbXMLMajorVers="16", qbXMLMinorVers="0")[0]

    def receive(self, response: str = ANSWERED, hresult: str = "", message: str = "") -> int:
        names = {"ticket": self.ticket, "response": response, "hresult": hresult, "message": message}
        return int(self.ask("receiveResponseXML", **names)[0])

    def last_error(self) -> str:
        return self.ask("getLastError", ticket=self.ticket)[0]

    def close(self) -> str:
        return self.ask("closeConnection", ticket=self.ticket)[0]


@pytest.fixture
def office():
    return Office()


@pytest.fixture
def program(office):
    program = Program(office)
    program.sign_in()
    return program


def meanwhile(office: Office, act: Callable[[], None], *, after: int = 2) -> None:
    """Do this once while a request is held."""
    real, slept = office.clock.sleep, []

    def sleep(seconds: float) -> None:
        real(seconds)
        slept.append(seconds)
        if len(slept) == after:
            act()

    office.clock.sleep = sleep  # type: ignore[method-assign]  # of this test's clock


# Signing in


def test_it_is_told_our_version_and_that_any_of_its_own_will_do(office):
    program = Program(office)
    assert program.ask("serverVersion") == ["0.2.0"]
    assert program.ask("clientVersion", strVersion="2.3.0.215") == [""]


def test_who_is_let_in_gets_a_ticket_and_is_told_the_company_file(office):
    program = Program(office)
    ticket, file = program.sign_in()
    assert (len(ticket), file) == (32, FILE)
    there = office.there()
    assert there.seen_at == office.clock.now()
    assert office.presence.woken == ["acme.books"], "what waits is asked for now"


def test_each_session_has_a_ticket_of_its_own(office):
    assert len({Program(office).sign_in()[0] for _ in range(5)}) == 5


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("acme.books", "pass-word-2"),
        ("acme.books", PASSWORD + " "),
        ("acme.books", PASSWORD[:-1]),
        ("acme.books", ""),
        ("other.books", PASSWORD),
        ("ACME.books", PASSWORD),
        ("", PASSWORD),
        ("", ""),
        ("ü", "ü"),
    ],
)
def test_who_is_not_known_is_not_let_in(office, user, password):
    before = office.there()
    assert Program(office).sign_in(user, password) == ["", "nvu"]
    assert office.there() == before
    assert office.presence.woken == []


@pytest.mark.parametrize("address", ["acme.nothing", "nobody.books", "acme", "", "acme.books.x"])
def test_where_nothing_is_nobody_is_let_in(office, address):
    assert Program(office, address).sign_in() == ["", "nvu"]


def test_who_is_revoked_is_not_let_in_and_its_session_is_over(office, program):
    office.revoke()
    job = office.work()
    assert program.send() == ""
    assert Program(office).sign_in() == ["", "nvu"]
    assert office.stored(job).state is JobState.QUEUED


def test_a_replaced_password_is_not_let_in_though_it_is_remembered(office):
    assert Program(office).sign_in()[0]
    office.invite("acme", "another")
    assert Program(office).sign_in() == ["", "nvu"]
    assert Program(office).sign_in(password="another")[0]


def test_without_a_password_nobody_is_let_in(office):
    for secrets in ({}, {"username": "", "password": ""}, {"username": "acme.books"}):
        office.vault.stored["acme", "books"] = secrets
        assert Program(office).sign_in("", "") == ["", "nvu"]
        assert Program(office).sign_in("acme.books", "") == ["", "nvu"]
    del office.vault.stored["acme", "books"]
    assert Program(office).sign_in() == ["", "nvu"]


def test_only_systems_with_a_web_connector_are_served(office):
    office.manifest = replace(office.manifest, reachability=Reachability.ON_PREMISES)
    assert Program(office).sign_in() == ["", "nvu"]


@pytest.mark.parametrize("body", [b"", b"<a/>", b"{}", b"\xff", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"])
def test_what_is_no_call_is_refused(office, body):
    with pytest.raises(soap.SoapError):
        office.service.answer("acme.books", body)


# Work


def test_a_request_goes_out_and_its_answer_comes_back(office, program):
    job = office.work()
    assert program.send() == ASKED
    assert office.stored(job).state is JobState.LEASED
    assert program.receive() == 50
    ended = office.stored(job)
    assert (ended.ended, unpack(ended.result or "")) == (Ended.DONE, {"body": ANSWERED})
    assert program.last_error() == ""


def test_requests_go_out_one_after_the_other(office, program):
    jobs = [office.work(f"<a{n}/>") for n in range(3)]
    for number in range(3):
        assert program.send() == f"<a{number}/>"
        assert program.receive(f"<b{number}/>") == 50
    assert [unpack(office.stored(job).result)["body"] for job in jobs] == ["<b0/>", "<b1/>", "<b2/>"]


def through_the_door(office: Office, act: Callable[[], None], *, write: bool) -> Any:
    """What the connector in the cloud gets, while the program does this once there is work."""
    begun: list[bool] = []

    def work() -> None:
        if office.outbox.stored and not begun:
            begun.append(True)
            act()

    line = Line(
        Connection("acme", "books", "fake_books"),
        "the books",
        outbox=office.outbox,
        installations=office.installations,
        clock=Waiting(office.clock, work),
    )
    return BridgedDoor(line).send(Request("POST", "qbxml:", write=write, body=ASKED.encode()))


@pytest.mark.parametrize("write", [True, False])
def test_the_door_gives_what_the_program_brought(office, program, write):
    def act() -> None:
        assert program.send() == ASKED
        program.receive()

    answer = through_the_door(office, act, write=write)
    assert (answer.status, answer.body.decode()) == (200, ANSWERED)
    assert office.outbox.stored == {}


@pytest.mark.parametrize("write", [True, False])
def test_a_request_that_quickbooks_did_not_take_says_why(office, program, write):
    def act() -> None:
        program.send()
        assert program.receive("", "0x80040400", "QuickBooks found an error when parsing the text.") < 0
        assert program.last_error() == (
            "QuickBooks did not take a request (0x80040400): QuickBooks found an error when parsing the text."
        )
        assert program.close() == "OK"

    answer = through_the_door(office, act, write=write)
    assert (answer.status, answer.headers[REFUSED_HEADER]) == (502, "0x80040400")
    assert answer.body.decode() == "QuickBooks found an error when parsing the text."


@pytest.mark.parametrize("write", [True, False])
def test_a_request_that_is_never_answered_may_have_been_done(office, program, write):
    with pytest.raises(UncertainError if write else UnavailableError):
        through_the_door(office, program.send, write=write)


def test_a_request_that_was_not_answered_when_the_next_is_asked_for_is_lost(office, program):
    job = office.work()
    program.send()
    following = office.work("<next/>", write=False)
    assert program.send() == "<next/>"
    assert office.stored(job).ended is Ended.LOST
    assert office.stored(following).state is JobState.LEASED
    assert program.receive() == 50
    assert office.stored(following).ended is Ended.DONE


def test_a_request_of_which_the_session_does_not_know_is_lost_too(office, program):
    """We stopped between giving the job and noting it."""
    job = office.work()
    assert office.service._counter.lease(office.there()) is not None
    assert program.send() == ""
    assert office.stored(job).ended is Ended.LOST


@pytest.mark.parametrize("body", ["", "{}", pack({"effects": []}), pack({"body": ""})])
def test_a_job_that_has_no_request_is_surely_not_done(office, program, body):
    job = office.queue("request", body, write=True)
    assert program.send() == ""
    assert office.stored(job).ended is Ended.NOT_BEGUN
    office.work()
    assert program.send() == ASKED


def test_an_answer_to_nothing_changes_nothing(office, program):
    job = office.work()
    assert program.receive() == 50
    assert office.stored(job).state is JobState.QUEUED


def test_an_answer_that_comes_twice_counts_once(office, program):
    job = office.work()
    program.send()
    program.receive("<first/>")
    program.receive("<second/>")
    assert unpack(office.stored(job).result) == {"body": "<first/>"}


def test_a_long_message_of_quickbooks_is_kept_shortened(office, program):
    office.work()
    program.send()
    program.receive("", "0x8" * 50_000, "why " * 100_000)
    assert len(office.there().session) < 2_000


# Nothing to do


def test_while_work_may_come_it_is_asked_to_come_again(office, program):
    assert program.send() == ""
    assert sum(office.clock.slept) == 10, "held, since work may come"
    assert program.last_error() == "NoOp"


def test_work_that_comes_while_it_is_held_goes_out(office, program):
    meanwhile(office, office.work)
    assert program.send() == ASKED


def test_after_a_while_without_work_the_session_ends(office, program):
    office.clock.time += timedelta(seconds=31)
    assert program.send() == ""
    assert program.last_error() == ""
    assert program.close() == "OK"


def test_an_answer_begins_the_patience_anew(office, program):
    office.clock.time += timedelta(seconds=35)
    office.work()
    program.send()
    program.receive()
    program.send()
    assert program.last_error() == "NoOp"


def test_each_call_says_that_it_is_there(office, program):
    office.forget(told_at=office.clock.now())
    office.clock.time += timedelta(seconds=50)
    program.send()
    there = office.there()
    assert (office.clock.now() - there.seen_at, there.told_at) == (timedelta(0), None)


# Company files


@pytest.mark.parametrize("file", [FILE, FILE.upper(), ""])
def test_the_right_company_file_is_worked_with(office, program, file):
    office.work()
    assert program.send(file) == ASKED


def test_another_company_file_is_not_written_to(office, program):
    job = office.work()
    assert program.send(r"C:\Books\Other.qbw") == ""
    assert "Another company file is open" in program.last_error()
    assert office.stored(job).state is JobState.QUEUED
    assert program.send() == ASKED, "once the right one is open, it goes on"


def test_without_a_file_in_the_settings_any_is_worked_with(office, program):
    office.config.put_connection(Connection("acme", "books", "fake_books"))
    office.work()
    assert program.send(r"C:\Books\Other.qbw") == ASKED


# Ends


def test_a_closed_session_is_over(office, program):
    office.work()
    assert program.close() == "OK"
    assert program.send() == ""
    assert program.receive() < 0
    assert "over" in program.last_error()
    assert program.close() == "OK"


def test_quickbooks_that_cannot_be_reached_ends_the_session(office, program):
    office.work()
    told = program.ask("connectionError", ticket=program.ticket, hresult="0x80040408", message="Could not start.")
    assert told == ["done"]
    assert program.send() == ""


def test_what_was_in_hand_when_it_closed_is_lost_when_the_next_session_begins(office, program):
    job = office.work()
    program.send()
    program.close()
    Program(office).sign_in()
    assert office.stored(job).ended is Ended.LOST


def test_another_session_takes_over(office, program):
    job = office.work()
    program.send()
    other = Program(office)
    other.sign_in()
    assert office.stored(job).ended is Ended.LOST
    assert program.receive() < 0
    assert office.stored(job).ended is Ended.LOST, "the former session's answer comes too late"
    assert "another one began" in program.last_error()
    assert program.send() == ""
    program.close()
    office.work("<next/>")
    assert other.send() == "<next/>", "and does not end the new one"


def test_a_session_that_is_taken_over_while_it_is_held_gets_no_work_and_stays_over(office, program):
    other = Program(office)
    jobs = []

    def act() -> None:
        other.sign_in()
        jobs.append(office.work())

    meanwhile(office, act)
    assert program.send() == ""
    assert office.stored(jobs[0]).state is JobState.QUEUED or office.stored(jobs[0]).ended is Ended.NOT_BEGUN
    office.work("<next/>")
    assert other.send() in (ASKED, "<next/>")
    assert program.send() == ""


def test_a_new_password_ends_a_session_that_is_held(office, program):
    meanwhile(office, lambda: office.invite("acme", "another"))
    assert program.send() == ""
    office.work()
    assert program.send() == ""
    assert program.receive() < 0


@pytest.mark.parametrize("ticket", ["", "0" * 32, "ü", "x" * 10_000])
def test_a_ticket_that_is_none_gets_nothing(office, program, ticket):
    job = office.work()
    program.ticket = ticket
    assert program.send() == ""
    assert program.receive() < 0
    assert program.close() == "OK"
    assert office.stored(job).state is JobState.QUEUED


def test_a_ticket_of_another_connection_gets_nothing(office, program):
    other = Program(office, "other.books")
    other.sign_in("other.books")
    job = office.work()
    ours, other.address = other.ticket, "acme.books"
    assert other.send() == ""
    assert other.receive() < 0
    assert office.stored(job).state is JobState.QUEUED
    assert ours != program.ticket
    assert program.send() == ASKED


def test_before_the_first_session_a_ticket_gets_nothing(office):
    assert Program(office).send() == ""


# Nothing private


def test_no_password_or_ticket_is_shown(office, program, caplog):
    job = office.work()
    program.send()
    call = soap.Authenticate("acme.books", PASSWORD)
    shown = f"{call!r} {office.there()!r} {office.stored(job)!r} {caplog.text}"
    assert "QBXML" not in shown
    assert office.stored(job).lease not in shown
    assert PASSWORD not in shown
    assert program.ticket not in shown
    assert json.loads(office.there().session)["ticket"] == program.ticket
