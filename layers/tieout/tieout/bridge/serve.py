"""What an agent asks of us: to be enrolled, for its next job, to take a report, for a place to put a large one.

Every request but the first is signed with the installation's key over its address, time, number and body, and its
number is higher than every one before; so nothing can be changed on the way or sent twice. docs/on-premises.md has the
whole of it for a reviewer.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from tieout.bridge.outbox import TRIES_MAX, Counter, is_busy
from tieout.bridge.presence import Presence
from tieout.domain.bridge import Ended, Installation, Job, JobState
from tieout.domain.connections import Connection
from tieout.domain.errors import ClaimedError, SettingsError
from tieout.ports.bridge import InstallationStore, Outbox, Parcels
from tieout.ports.clock import Clock
from tieout.ports.connector import Manifest
from tieout.ports.secrets import Secrets
from tieout.ports.state import ConfigStore

VERSION = "1"
KEY = "bridge_key"
"""The name of the key beside the connection's other secrets."""

CLOCK_SECONDS_MAX = 300
SECOND_AGENT_SECONDS = 60
HOLD_SECONDS = 5
IDLE_SECONDS = 10
BEGIN_SECONDS = 15
INLINE_BYTES_MAX = 1_000_000
PARCEL_BYTES_MAX = 20_000_000
PARCEL_SECONDS = 600
_TEXT_MAX = 200
_KEY = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[0-9]{1,15}")
_PLAIN = re.compile(r"[A-Za-z0-9.:_-]*")


class Refusal(Exception):  # noqa: N818 - it is no failure of ours, but an answer
    """What is answered instead: a status, a code for the program, a sentence and what to do for the person."""

    def __init__(
        self, status: HTTPStatus, code: str, message: str, next_step: str = "", **more: int | str | list[int]
    ) -> None:
        super().__init__(code)
        self.status, self.code = status, code
        self.body = {"error": code, "message": message, "next_step": next_step, **more}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: the address `tenant.connection`, the call, header names in lower case, the raw body."""

    address: str
    call: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class ServeBridge:
    """Answers agents."""

    def __init__(
        self,
        *,
        config: ConfigStore,
        secrets: Secrets,
        outbox: Outbox,
        installations: InstallationStore,
        parcels: Parcels,
        presence: Presence,
        manifest: Callable[[str], Manifest],
        clock: Clock,
        latest: str,
    ) -> None:
        self._config, self._secrets, self._clock = config, secrets, clock
        self._outbox, self._installations, self._parcels = outbox, installations, parcels
        self._presence, self._manifest, self._latest = presence, manifest, latest
        self._counter = Counter(outbox, installations, clock)

    def answer(self, asked: Asked) -> dict[str, Any]:
        """The body of the answer.

        Raises:
            Refusal: With what to answer instead.
        """
        connection = self._connection(asked.address)
        if asked.call == "enrol":
            return self._enrol(connection, _object(asked.body))
        answers = {"lease": self._lease, "report": self._report, "upload": self._upload}
        if asked.call not in answers:
            raise Refusal(HTTPStatus.NOT_FOUND, "unknown_call", "There is no such call.")
        there = self._check_signature(connection, asked)
        given = _object(asked.body)
        return answers[asked.call](connection, self._let_in(connection, asked, given, there), given)

    # Who it is

    def _connection(self, address: str) -> Connection:
        tenant, dot, name = address.partition(".")
        connection = self._config.connection(tenant, name) if dot else None
        if connection is None:
            raise _revoked()
        return connection

    def _check_signature(self, connection: Connection, asked: Asked) -> Installation:
        """The installation whose key made the signature.

        Raises:
            Refusal: If no key that is let in did.
        """
        if asked.headers.get("tieout-version") != VERSION:
            raise Refusal(
                HTTPStatus.UPGRADE_REQUIRED,
                "version",
                "This agent speaks another version of the bridge.",
                f"Install Tieout {self._latest} on this computer.",
                supported=[int(VERSION)],
            )
        there = self._installations.installation(connection.tenant, connection.id)
        if there is None or there.enrolled_at is None or not there.key_hash:
            raise _revoked()
        key = self._key(connection, there)
        headers = asked.headers
        wanted = key and signature(
            bytes.fromhex(key),
            f"{asked.address}/{asked.call}",
            headers.get("tieout-time", ""),
            headers.get("tieout-sequence", ""),
            asked.body,
        )
        same = hmac.compare_digest(wanted.encode(), headers.get("tieout-signature", "").encode())
        if not wanted or not same:
            raise Refusal(
                HTTPStatus.UNAUTHORIZED,
                "bad_signature",
                "The key of this agent is not the one that is let in.",
                f"Run `tieout connect {connection.id} --tenant {connection.tenant} --new-code`, and install it again.",
            )
        return there

    def _key(self, connection: Connection, there: Installation) -> str:
        """The key that the installation says is let in, in hexadecimal digits; empty if it is not kept (yet)."""
        for fresh in (False, True):  # what we remember may be a former one
            try:
                key = self._secrets.read(connection.tenant, connection.id, fresh=fresh).get(KEY, "")
            except SettingsError:
                continue
            if _KEY.fullmatch(key) and hmac.compare_digest(_hash(key), there.key_hash):
                return key
        return ""

    def _let_in(
        self, connection: Connection, asked: Asked, given: Mapping[str, Any], there: Installation
    ) -> Installation:
        """The installation, with the request's number and when it was heard, stored.

        Raises:
            Refusal: If its clock is wrong, the number is old, it was revoked, or another agent has its key.
        """
        now = self._clock.now()
        self._check_clock(asked, now)
        number = asked.headers.get("tieout-sequence", "")
        if not _NUMBER.fullmatch(number):
            raise _bad("The number of the request is missing.")
        agent = _agent(given)
        for _ in range(TRIES_MAX):
            if int(number) <= there.sequence:
                raise Refusal(
                    HTTPStatus.UNAUTHORIZED,
                    "replayed",
                    "A request with this number, or a higher one, was here before.",
                    "If a copy of this agent's folder is used elsewhere, stop that one and install it with a new code.",
                    sequence=there.sequence,
                )
            _check_alone(there, agent, now)
            heard = replace(_as_said(there, agent), sequence=int(number), seen_at=now, told_at=None)
            try:
                heard = self._installations.put_installation(heard)
            except ClaimedError:
                there = self._still_let_in(there)
                continue
            self._presence.heard(connection, there, heard)
            return heard
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "busy", "Another request of this agent is being answered.")

    def _still_let_in(self, there: Installation) -> Installation:
        """The installation as it is stored now.

        Raises:
            Refusal: If it was revoked meanwhile.
        """
        now = self._installations.installation(there.tenant, there.connection)
        if now is None or now.enrolled_at is None or now.key_hash != there.key_hash:
            raise _revoked()
        return now

    def _check_clock(self, asked: Asked, now: datetime) -> None:
        text = asked.headers.get("tieout-time", "")
        seconds = int(text) if _NUMBER.fullmatch(text) else 0
        off = seconds - int(now.timestamp())
        if abs(off) > CLOCK_SECONDS_MAX:
            raise Refusal(
                HTTPStatus.UNAUTHORIZED,
                "clock",
                "The clock of this computer is wrong.",
                "Set its time, its date and its time zone.",
                server_time=int(now.timestamp()),
            )

    # Enrolling

    def _enrol(self, connection: Connection, given: Mapping[str, Any]) -> dict[str, Any]:
        code, key, now = str(given.get("code", "")), str(given.get("key", "")), self._clock.now()
        agent = _agent(given)
        if not _KEY.fullmatch(key):
            raise _bad("The agent's key is not of the right form.")
        there = self._installations.installation(connection.tenant, connection.id)
        if there is None or not there.code_hash or not hmac.compare_digest(there.code_hash, code_hash(code)):
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                "code_unknown",
                "This code is not known.",
                "Look at the code again; a new one takes the former one's place.",
            )
        if there.code_until is None or now > there.code_until:
            raise Refusal(
                HTTPStatus.FORBIDDEN, "code_unknown", "This code was good for an hour, which is over.", _ANOTHER_CODE
            )
        key_hash = _hash(key)
        if there.key_hash and not hmac.compare_digest(there.key_hash, key_hash):
            raise Refusal(HTTPStatus.FORBIDDEN, "code_used", "This code was used already.", _ANOTHER_CODE)
        if not there.key_hash:
            # Of two that use one code at once, one gets it: the key is only let in once the installation says so.
            said = _as_said(there, agent)
            enrolled = replace(said, key_hash=key_hash, enrolled_at=now, sequence=0, seen_at=now, told_at=None)
            try:
                self._installations.put_installation(enrolled)
            except ClaimedError:
                raise Refusal(
                    HTTPStatus.SERVICE_UNAVAILABLE, "busy", "Another request of this agent is being answered."
                ) from None
        self._secrets.write(connection.tenant, connection.id, {KEY: key})
        manifest = self._manifest(connection.provider)
        return {
            "connection": {
                "tenant": connection.tenant,
                "id": connection.id,
                "provider": connection.provider,
                "title": manifest.title,
                "account": connection.account,
                "settings": dict(connection.settings),
            },
            "sequence": 0,
        }

    # Jobs

    def _lease(self, connection: Connection, there: Installation, given: Mapping[str, Any]) -> dict[str, Any]:
        if given.get("running") is True:
            raise _bad("An agent asks for its next job when the one before has ended.")
        self._counter.end_lost(there)
        busy = is_busy(there, self._clock.now())
        job = self._counter.lease(there, hold_seconds=HOLD_SECONDS if busy else 0)
        if job is not None:
            try:
                self._still_let_in(there)
            except Refusal:  # while it was held
                self._counter.report(job, Ended.NOT_BEGUN, None)
                raise
            connection = self._connection(connection.address)  # its settings may be others since
        return {
            "job": None if job is None else self._told(job),
            "wait_seconds": 0 if busy or job is not None else IDLE_SECONDS,
            "latest": self._latest,
            "account": connection.account,
            "settings": dict(connection.settings),
        }

    def _told(self, job: Job) -> dict[str, Any]:
        large = len(job.body.encode()) > INLINE_BYTES_MAX
        return {
            "id": job.id,
            "lease": job.lease,
            "call": job.call,
            "write": job.write,
            "body": None if large else job.body,
            "body_at": self._parcels.address_to_get(job.call_parcel, seconds=PARCEL_SECONDS) if large else None,
            "begin_within_seconds": BEGIN_SECONDS,
        }

    def _report(self, connection: Connection, there: Installation, given: Mapping[str, Any]) -> dict[str, Any]:
        job_id, lease, how = _short(given, "id"), _short(given, "lease"), _short(given, "ended")
        body, at = given.get("body"), given.get("body_at")
        if how not in set(Ended) or not (body is None or _is_text(body)):
            raise _bad("The report does not say how the job ended.")
        job = self._outbox.job(connection.tenant, connection.id, job_id)
        if job is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "unknown_job", "Nobody waits for this job any more.")
        if not hmac.compare_digest(job.lease.encode(), lease.encode()) or not lease:
            raise Refusal(HTTPStatus.CONFLICT, "not_yours", "This job was given to somebody else.")
        if at is not None and at != job.report_parcel:
            raise _bad("The report's content is not where it was to be put.")
        if job.state is JobState.ENDED:
            if job.ended == how:
                return {}  # the same report again: our answer was lost
            raise Refusal(HTTPStatus.CONFLICT, "closed", "This job has ended otherwise.")
        self._counter.report(job, Ended(how), body, apart=at is not None)
        self._counter.note_work(there)
        return {}

    def _upload(self, connection: Connection, _: Installation, given: Mapping[str, Any]) -> dict[str, Any]:
        size, digest, job_id = given.get("bytes"), str(given.get("sha256", "")), _short(given, "id")
        if not isinstance(size, int) or isinstance(size, bool) or size < 1 or not _KEY.fullmatch(digest):
            raise _bad("The size or the checksum is missing.")
        if size > PARCEL_BYTES_MAX:
            raise Refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "too_large",
                f"A report may have {PARCEL_BYTES_MAX:,} bytes at most.",
            )
        job = self._outbox.job(connection.tenant, connection.id, job_id)
        if job is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "unknown_job", "Nobody waits for this job any more.")
        if job.state is JobState.ENDED:
            raise Refusal(HTTPStatus.CONFLICT, "closed", "This job has ended.")
        url, headers = self._parcels.address_to_put(job.report_parcel, size=size, sha256=digest, seconds=PARCEL_SECONDS)
        return {"url": url, "headers": headers, "key": job.report_parcel}


def signature(key: bytes, call: str, time: str, sequence: str, body: bytes) -> str:
    """The signature of a request, in hexadecimal digits; `call` is its address and what it asks for."""
    text = "\n".join([VERSION, call, time, sequence, hashlib.sha256(body).hexdigest()])
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def code_hash(code: str) -> str:
    """What is kept of a one-time code; hyphens, blanks and case do not count."""
    return _hash(re.sub(r"[\s-]", "", code).upper())


def _hash(text: str) -> str:
    # JSON can say half a character of two halves, which is no text that is ever let in.
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


_ANOTHER_CODE = "Ask for another code: `tieout connect CONNECTION --new-code`."


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise _bad("The body is no JSON object.")
    return given


@dataclass(frozen=True, slots=True)
class _Agent:
    """What an agent says of itself; `replaces` is the run before it on the same computer."""

    instance: str
    machine: str
    system: str
    version: str
    replaces: str


def _agent(given: Mapping[str, Any]) -> _Agent:
    """What the agent says of itself, shortened: it is shown to people."""
    agent = given.get("agent")
    if not isinstance(agent, dict):
        raise _bad("The agent does not say which it is.")
    return _Agent(*(_shown(agent.get(one.name, "")) for one in fields(_Agent)))


def _as_said(there: Installation, agent: _Agent) -> Installation:
    return replace(there, instance=agent.instance, machine=agent.machine, system=agent.system, version=agent.version)


def _shown(value: object) -> str:
    return "".join(one for one in str(value)[:_TEXT_MAX] if one.isprintable())


def _short(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str) or len(value) > _TEXT_MAX or not _PLAIN.fullmatch(value):
        raise _bad(f"`{name}` is not of the right form.")
    return value


def _is_text(value: object) -> bool:
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:  # half a character of two halves, which can be kept nowhere
        return False


def _check_alone(there: Installation, agent: _Agent, now: datetime) -> None:
    other = there.instance and there.instance not in (agent.instance, agent.replaces)
    recent = there.seen_at is not None and now - there.seen_at < timedelta(seconds=SECOND_AGENT_SECONDS)
    if other and recent:
        raise Refusal(
            HTTPStatus.CONFLICT,
            "second_agent",
            f"Another agent with this key is at work on {there.machine or 'another computer'}.",
            "Stop one of them; if both are wanted, give each a connection of its own.",
        )


def _revoked() -> Refusal:
    return Refusal(
        HTTPStatus.FORBIDDEN,
        "revoked",
        "This agent is not let in (any more).",
        "Ask whoever runs Tieout for a new code: `tieout connect CONNECTION --new-code`.",
    )


def _bad(message: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, "bad_request", message)
