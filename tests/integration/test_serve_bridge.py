"""Where systems in offices fetch their work, over moto: the whole way of a call, and what is refused at the door."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from functions.poll_changes import app as poll_changes
from functions.serve_bridge import app as serve_bridge
from tests.aws import EXCHANGE, TABLE
from tests.engine.world import BOOKS, TENANT
from tests.integration.conftest import Stack, sample
from tests.unit.bridge.served import Agent
from tieout.bridge.calls import run_call
from tieout.bridge.serve import Asked, ServeBridge, code_hash
from tieout.domain.bridge import Installation
from tieout.domain.documents import Customer
from tieout.domain.effects import Done, Effect, Operation, Unknown
from tieout.domain.errors import UnavailableError
from tieout.domain.records import Kind
from tieout.ports.connector import Reachability

CODE = "ABCD-EFGH-JKLM"
ADDRESS = f"{TENANT}.{BOOKS}"
CANARIES = ("CANARY", "Canary", "canary")


class Office:
    """The books stand in an office; an agent speaks to the function by events."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.clock = stack.world.clock
        stack.deployment.settings = stack.deployment.settings.model_copy(update={"poll_function_arn": "poll"})
        self.reach(Reachability.ON_PREMISES)
        self.agent = Agent(SimpleNamespace(clock=self.clock), name=ADDRESS)  # type: ignore[arg-type]  # enough of one
        self.told: list[dict[str, Any]] = []
        self.lose = False
        self._busy = False

    def reach(self, reachability: Reachability) -> None:
        self.stack.world.books.manifest = replace(self.stack.world.books.manifest, reachability=reachability)

    def invite(self) -> None:
        """As `tieout connect` does."""
        until = self.clock.now() + timedelta(hours=1)
        self.stack.deployment.secrets.write(TENANT, BOOKS, {"waits_for": "its installation"})
        self.stack.deployment.installations.put_installation(
            Installation(TENANT, BOOKS, code_hash=code_hash(CODE), code_until=until)
        )

    def event(self, asked: Asked) -> dict[str, Any]:
        event = sample("serve_bridge")
        event["headers"] = {"content-type": "application/json", **asked.headers}
        event["pathParameters"] = {"connection": asked.address, "call": asked.call}
        event["body"] = asked.body.decode()
        return event

    def ask(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        answer = serve_bridge.handler(self.event(asked), self.stack.context)
        assert answer["headers"] == {"Content-Type": "application/json", "Cache-Control": "no-store"}
        return answer["statusCode"], json.loads(answer["body"])

    def enrol(self, code: str = CODE) -> tuple[int, dict[str, Any]]:
        body = {"code": code, "key": self.agent.key, "agent": self.agent.said}
        return self.ask(Asked(ADDRESS, "enrol", {}, json.dumps(body).encode()))

    def call(self, call: str, **content: Any) -> dict[str, Any]:
        status, answer = self.ask(self.agent.signed(call, {"agent": self.agent.said, **content}))
        assert status == 200, answer
        return answer

    def work(self) -> None:
        """What the agent does while the worker waits."""
        if self._busy:  # the function sleeps, too, while it holds an answer
            return
        self._busy = True
        job = self.call("lease", running=False)["job"]
        if job is not None:
            self.told.append(job)
            body = job["body"] if job["body"] is not None else self._parcel(job["body_at"])
            result = run_call(self.stack.world.books, job["call"], body)
            if not self.lose:
                self.report(job, result)
        self._busy = False

    def report(self, job: dict[str, Any], result: str) -> None:
        content: dict[str, Any] = {"id": job["id"], "lease": job["lease"], "ended": "done", "body": result}
        if len(result.encode()) > 256_000:
            raw = result.encode()
            told = self.call("upload", id=job["id"], bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest())
            self.stack.clients.s3.put_object(Bucket=EXCHANGE, Key=told["key"], Body=raw)
            content |= {"body": None, "body_at": told["key"]}
        assert self.call("report", **content) == {}

    def _parcel(self, address: str) -> str:
        name = unquote(urlsplit(address).path).removeprefix("/")
        return self.stack.clients.s3.get_object(Bucket=EXCHANGE, Key=name)["Body"].read().decode()

    def connector(self) -> Any:
        connection = self.stack.deployment.config.connection(TENANT, BOOKS)
        assert connection is not None
        return self.stack.deployment.connect(connection)

    @property
    def left(self) -> list[str]:
        items = self.stack.clients.dynamodb.scan(TableName=TABLE)["Items"]
        return [item["sk"]["S"] for item in items if item["sk"]["S"].startswith("job#")]


@pytest.fixture
def office(stack, monkeypatch):
    office = Office(stack)
    real = office.clock.sleep

    def sleep(seconds: float) -> None:
        office.work()
        real(seconds)

    office.invite()
    office.enrol()
    office.call("lease", running=False)
    monkeypatch.setattr(office.clock, "sleep", sleep)
    return office


def effect(number: int = 1) -> Effect:
    return Effect(f"e{number}", Operation.CREATE, Kind.CUSTOMER, Customer(name=f"Acme {number}"), f"r{number}")


# The whole way


def test_a_write_goes_out_and_its_outcome_comes_back(office):
    (outcome,) = office.connector().write([effect()])
    assert isinstance(outcome, Done)
    assert [one.fields["name"] for one in office.stack.world.books.all(Kind.CUSTOMER)] == ["Acme 1"]
    assert outcome.record == office.stack.world.books.all(Kind.CUSTOMER)[0]
    assert office.left == []
    assert [job["call"] for job in office.told] == ["write"]


def test_a_write_whose_report_is_lost_is_found_by_its_look_up(office):
    connector = office.connector()
    office.lose = True
    (outcome,) = connector.write([effect()])
    assert isinstance(outcome, Unknown)
    office.lose = False
    assert [match.record.fields["name"] for match in connector.find([effect()])["e1"]] == ["Acme 1"]
    assert len(office.stack.world.books.all(Kind.CUSTOMER)) == 1


@pytest.mark.parametrize("letters", [300, 2_000])
def test_large_jobs_and_reports_come_through(office, letters):
    ids = [f"{number}-{'x' * letters}" for number in range(1_000)]
    for one in ids[:200]:
        office.stack.world.books.put(Kind.CUSTOMER, one, name="Ü" * 1_000)
    records = office.connector().read(Kind.CUSTOMER, ids)
    assert [record.id for record in records] == ids[:200]
    assert (office.told[0]["body"] is None) == (letters == 2_000)
    assert office.left == []


def test_nobody_who_is_silent_is_waited_for(office):
    office.clock.time += timedelta(seconds=91)
    before = office.clock.slept
    with pytest.raises(UnavailableError):
        office.connector().read(Kind.CUSTOMER, ["1"])
    assert (office.clock.slept, office.left) == (before, [])


# At the door


def test_the_sample_event_is_answered(stack):
    Office(stack)
    answer = serve_bridge.handler(sample("serve_bridge"), stack.context)
    assert (answer["statusCode"], json.loads(answer["body"])["error"]) == (403, "revoked")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "acme",
        "acme.",
        ".books",
        "ACME.books",
        "acme.books.x",
        "../acme.books",
        "acme.books/../other.books",
        "acme#link.books",
        "acme.books#x",
        "acme%23.books",
        "acme.books\n",
        "acme.bücher",
        f"{'a' * 65}.books",
    ],
)
@pytest.mark.parametrize("call", ["lease", None])
def test_an_address_that_is_none_is_not_found(office, address, call):
    event = sample("serve_bridge")
    event["pathParameters"] = {"connection": address} | ({"call": call} if call is not None else {})
    answer = serve_bridge.handler(event, office.stack.context)
    assert answer["statusCode"] == 404


@pytest.mark.parametrize("parameters", [None, {}])
def test_a_request_without_an_address_is_not_found(office, parameters):
    event = sample("serve_bridge") | {"pathParameters": parameters}
    assert serve_bridge.handler(event, office.stack.context)["statusCode"] == 404


@pytest.mark.parametrize("call", ["", "answer", "../report", "x" * 10_000])
def test_a_call_that_is_none_is_not_found(office, call):
    status, answer = office.ask(office.agent.signed(call, {"agent": office.agent.said}))
    assert (status, answer["error"]) == (404, "unknown_call")


MB = 1024 * 1024


@pytest.mark.parametrize(
    ("body", "encoded"),
    [
        ("x" * (MB + 1), False),
        ("ü" * (MB // 2 + 1), False),
        (base64.b64encode(b"x" * (MB + 1)).decode(), True),
        ("x" * (2 * MB), False),
    ],
    ids=["letters", "bytes", "encoded", "far-too-many"],
)
def test_a_request_that_is_too_large_is_refused_unread(office, body, encoded):
    event = office.event(office.agent.signed("lease", {})) | {"body": body, "isBase64Encoded": encoded}
    answer = serve_bridge.handler(event, office.stack.context)
    assert (answer["statusCode"], json.loads(answer["body"])["error"]) == (413, "too_large")


@pytest.mark.parametrize("body", ["not base64!", "ü", "a"])
def test_a_body_that_is_not_what_it_says_is_refused(office, body):
    event = office.event(office.agent.signed("lease", {})) | {"body": body, "isBase64Encoded": True}
    answer = serve_bridge.handler(event, office.stack.context)
    assert (answer["statusCode"], json.loads(answer["body"])["error"]) == (400, "bad_request")


def test_a_body_in_base64_is_read(office):
    asked = office.agent.signed("lease", {"agent": office.agent.said, "running": False})
    event = office.event(asked) | {"body": base64.b64encode(asked.body).decode(), "isBase64Encoded": True}
    assert serve_bridge.handler(event, office.stack.context)["statusCode"] == 200


def test_a_request_without_body_and_headers_is_refused(office):
    event = sample("serve_bridge")
    for name in ("body", "headers", "isBase64Encoded"):
        del event[name]
    event["pathParameters"] = {"connection": ADDRESS, "call": "lease"}
    assert serve_bridge.handler(event, office.stack.context)["statusCode"] == 426
    event["pathParameters"]["call"] = "enrol"
    assert serve_bridge.handler(event, office.stack.context)["statusCode"] == 400


def test_header_names_are_of_any_case(office):
    event = office.event(office.agent.signed("lease", {"agent": office.agent.said, "running": False}))
    event["headers"] = {name.upper(): value for name, value in event["headers"].items()}
    assert serve_bridge.handler(event, office.stack.context)["statusCode"] == 200


def test_what_is_served_and_refused_is_counted(office, lines):
    office.enrol("WRONG")
    office.call("lease", running=False)
    counts = [line for line in lines() if "_aws" in line]
    assert sum(line.get("BridgeRefused", [0])[0] for line in counts) == 1
    assert sum(line.get("BridgeServed", [0])[0] for line in counts) >= 1


# The Web Connector


def soap_event(body: str, address: str = ADDRESS, method: str = "POST") -> dict[str, Any]:
    event = sample("serve_bridge")
    event["pathParameters"] = {"connection": address}
    event["requestContext"]["http"]["method"] = method
    return event | {"body": body}


def call_of(name: str, **parameters: str) -> str:
    inner = "".join(f"<{each}>{text}</{each}>" for each, text in parameters.items())
    return (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        f'<{name} xmlns="http://developer.intuit.com/">{inner}</{name}></s:Body></s:Envelope>'
    )


@pytest.fixture
def connected(office):
    office.reach(Reachability.WEB_CONNECTOR)
    office.stack.deployment.secrets.write(TENANT, BOOKS, {"username": "u", "password": "CANARY-password"})
    return office


def test_the_web_connector_is_told_what_it_may_call(connected):
    answer = serve_bridge.handler(soap_event("", method="GET"), connected.stack.context)
    assert answer["statusCode"] == 200
    assert answer["headers"]["Content-Type"] == "text/xml; charset=utf-8"
    assert f"https://abcdef1234.execute-api.eu-west-1.amazonaws.com/webconnector/{ADDRESS}" in answer["body"]


def test_the_web_connector_signs_in(connected):
    body = call_of("authenticate", strUserName="u", strPassword="CANARY-password")
    answer = serve_bridge.handler(soap_event(body), connected.stack.context)
    assert answer["statusCode"] == 200
    assert "nvu" not in answer["body"]
    body = call_of("authenticate", strUserName="u", strPassword="other")
    assert "<string>nvu</string>" in serve_bridge.handler(soap_event(body), connected.stack.context)["body"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "nonsense",
        "<a/>",
        call_of("dropTables"),
        "x" * (5 * MB + 1),
        '<!DOCTYPE a [<!ENTITY b "CANARY">]><a>&b;</a>',
    ],
    ids=["nothing", "text", "xml", "unknown", "too-large", "entity"],
)
def test_what_is_no_call_of_the_web_connector_is_a_fault(connected, lines, body):
    answer = serve_bridge.handler(soap_event(body), connected.stack.context)
    assert answer["statusCode"] == 500
    assert "<soap:Fault><faultcode>soap:Client</faultcode>" in answer["body"]
    assert "CANARY" not in answer["body"]
    assert any(line.get("message") == "A request of a Web Connector was refused." for line in lines())


# Polls


def test_a_silent_office_is_passed_over_and_fails_nothing(office, lines):
    asked = poll_changes.handler({}, office.stack.context)["asked"]
    office.clock.time += timedelta(minutes=10)
    assert poll_changes.handler({}, office.stack.context)["asked"] == asked - 1
    assert any("Nobody stands beside this system now" in line.get("message", "") for line in lines())
    only = {"tenant": TENANT, "connection": BOOKS}
    assert poll_changes.handler(only, office.stack.context) == {"asked": 0, "queued": 0}
    assert poll_changes.handler(only | {"sweep": True}, office.stack.context) == {"asked": 0, "queued": 0}
    assert office.stack.deployment.alerts.pending(TENANT) == []
    office.clock.time += timedelta(hours=25)
    poll_changes.handler(only, office.stack.context)
    poll_changes.handler(only, office.stack.context)
    (alert,) = office.stack.deployment.alerts.pending(TENANT)
    assert alert.cause == f"silent-{BOOKS}"


def test_where_nothing_is_installed_yet_nothing_fails(stack):
    office = Office(stack)
    assert poll_changes.handler({"tenant": TENANT, "connection": BOOKS}, stack.context) == {"asked": 0, "queued": 0}
    assert office.left == []


# Nothing private


def test_nothing_of_what_is_sent_is_logged(office, logs):
    office.agent.key = "ca" * 32
    said = office.agent.said
    for asked in (
        Asked(ADDRESS, "enrol", {}, json.dumps({"code": "CANARY", "key": office.agent.key, "agent": said}).encode()),
        Asked(ADDRESS, "CANARY", {"x": "CANARY"}, b"CANARY"),
        office.agent.signed("report", {"agent": said, "id": "CANARY", "lease": "CANARY", "body": "Jo Canary"}),
        office.agent.signed("lease", b"CANARY"),
    ):
        status, answer = office.ask(asked)
        assert status >= 400
        assert not any(canary in json.dumps(answer) for canary in CANARIES)
    told = logs()
    assert "A request of an agent was refused." in told
    assert [line for line in told.splitlines() if any(canary in line for canary in (*CANARIES, "ca" * 32))] == []


def test_nothing_of_a_job_is_logged_on_its_way(office, logs):
    office.stack.world.books.put(Kind.CUSTOMER, "1", name="Jo Canary")
    assert office.connector().read(Kind.CUSTOMER, ["1"])[0].fields["name"] == "Jo Canary"
    told = logs()
    assert "BridgeServed" in told
    assert [line for line in told.splitlines() if any(canary in line for canary in (*CANARIES, office.agent.key))] == []


@pytest.mark.parametrize("error", [KeyError("Jo Canary"), ValueError("CANARY")])
def test_a_bug_shows_nothing(office, logs, monkeypatch, error):
    def broken(_self, _asked):
        raise error from RuntimeError("canary")

    monkeypatch.setattr(ServeBridge, "answer", broken)
    with pytest.raises(RuntimeError) as raised:
        office.call("lease", running=False)
    assert raised.value.__cause__ is raised.value.__context__ is None
    told = logs() + repr(raised.value)
    assert type(error).__name__ in told
    assert not any(canary in told for canary in CANARIES)
