"""What agents ask, by somebody who wants to get at the work of others, or to have something done twice."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.bridge.served import CODE, NAME, Agent, Served, code_of
from tieout.bridge import serve
from tieout.bridge.serve import Asked, Refusal, signature
from tieout.domain.bridge import Ended, JobState
from tieout.domain.errors import ClaimedError

ANY_PACE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
OTHER_KEY = "a1" * 32
CANARY = "canary"


@pytest.fixture
def served():
    served = Served()
    served.let_in()
    return served


@pytest.fixture
def agent(served):
    agent = Agent(served)
    agent.enrol()
    return agent


def refused(act):
    with pytest.raises(Refusal) as caught:
        act()
    return code_of(caught)


# The whole way


def test_an_agent_is_let_in_gets_a_job_and_reports_it(served):
    agent = Agent(served)
    assert agent.enrol() == {
        "connection": {
            "tenant": "acme",
            "id": "books",
            "provider": "fake_books",
            "title": "the books",
            "account": "",
            "settings": {"company": "of acme"},
        },
        "sequence": 0,
    }
    assert agent.call("lease", {"running": False}) == {
        "job": None,
        "wait_seconds": 10,
        "latest": "0.2.0",
        "account": "",
        "settings": {"company": "of acme"},
    }
    queued = served.queue("write", '{"effects":[]}', write=True)
    answer = agent.call("lease", {"running": False})
    job = answer["job"]
    assert job == {
        "id": queued.id,
        "lease": job["lease"],
        "call": "write",
        "write": True,
        "body": '{"effects":[]}',
        "body_at": None,
        "begin_within_seconds": 15,
    }
    assert len(job["lease"]) == 32
    assert answer["wait_seconds"] == 0
    assert agent.report(job) == {}
    ended = served.outbox.job("acme", "books", queued.id)
    assert (ended.state, ended.ended, ended.result) == (JobState.ENDED, Ended.DONE, "r")
    there = served.there()
    assert (there.machine, there.system, there.version, there.instance) == ("OFFICE-PC", "Windows 11", "0.1.0", "i1")
    assert there.seen_at == there.enrolled_at == served.clock.now()


def test_who_had_work_lately_is_held_and_comes_back_at_once(served, agent):
    served.queue()
    agent.report(agent.lease())
    served.clock.slept.clear()
    assert agent.call("lease", {"running": False})["wait_seconds"] == 0
    assert sum(served.clock.slept) == 5
    served.clock.time += timedelta(seconds=61)
    served.clock.slept.clear()
    assert agent.call("lease", {"running": False})["wait_seconds"] == 10
    assert served.clock.slept == []


def test_a_large_job_is_fetched_from_beside(served, agent):
    body = json.dumps({"ids": ["x" * 1_000_000]})
    job = served.queue(body=body)
    told = agent.lease()
    assert (told["body"], told["body_at"]) == (None, f"https://parcels.example/{job.call_parcel}?seconds=600")


def test_who_asks_for_the_next_job_gave_up_the_one_before(served, agent):
    job = served.queue(write=True)
    agent.lease()
    assert agent.lease() is None
    assert served.outbox.job("acme", "books", job.id).ended is Ended.LOST


# Signatures


def changed(asked, part):
    headers = dict(asked.headers)
    match part:
        case "body":
            return replace(asked, body=asked.body + b" ")
        case "call":
            return replace(asked, call="upload")
        case "address":
            return replace(asked, address="other.books")
        case "signature-digit":
            last = headers["tieout-signature"]
            headers["tieout-signature"] = last[:-1] + ("0" if last[-1] != "0" else "1")
        case "signature-shorter":
            headers["tieout-signature"] = headers["tieout-signature"][:-1]
        case "signature-upper":
            headers["tieout-signature"] = headers["tieout-signature"].upper()
        case "signature-not-ascii":
            headers["tieout-signature"] = "ü" * 64
        case "time" | "sequence":
            headers[f"tieout-{part}"] = str(int(headers[f"tieout-{part}"]) + 1)
        case "sequence-with-zero":
            headers["tieout-sequence"] = "0" + headers["tieout-sequence"]
        case _:
            del headers[part]
    return replace(asked, headers=headers)


@pytest.mark.parametrize(
    "part",
    [
        "body",
        "call",
        "address",
        "time",
        "sequence",
        "sequence-with-zero",
        "signature-digit",
        "signature-shorter",
        "signature-upper",
        "signature-not-ascii",
        "tieout-time",
        "tieout-sequence",
        "tieout-signature",
    ],
)
def test_whatever_is_changed_on_the_way_is_refused(served, agent, part):
    served.let_in(name="other.books")
    Agent(served, key=OTHER_KEY, name="other.books").enrol()
    asked = agent.signed("lease", {"agent": agent.said, "running": False})
    before = served.there()
    assert refused(lambda: agent.answered(changed(asked, part))) == (401, "bad_signature")
    assert served.there() == before, "nothing is noted of who proved nothing"
    assert agent.answered(asked)["job"] is None, "what was not changed is let in"


def test_our_signature_is_the_one_of_the_wire():
    digest = hashlib.sha256(b"{}").hexdigest()
    text = f"1\nacme.books/lease\n1782000000\n42\n{digest}"
    wanted = hmac.new(b"k" * 32, text.encode(), hashlib.sha256).hexdigest()
    assert signature(b"k" * 32, "acme.books/lease", "1782000000", "42", b"{}") == wanted


@pytest.mark.parametrize("what", ["signature", "code", "lease"])
def test_secrets_are_compared_in_constant_time(served, agent, monkeypatch, what):
    """Whoever could measure how long a comparison takes would find out the secret one digit after the other."""
    compared = []

    def compare(one, other):
        compared.append({one, other})
        return hmac_compare(one, other)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr(serve.hmac, "compare_digest", compare)
    if what == "signature":
        asked = agent.signed("lease", {"agent": agent.said})
        agent.answered(asked)
        assert {asked.headers["tieout-signature"].encode()} in compared
    elif what == "code":
        agent.enrol()
        assert {served.there().code_hash} in compared
    else:
        served.queue()
        job = agent.lease()
        agent.report(job)
        assert {job["lease"].encode()} in compared


@pytest.mark.parametrize("version", ["0", "2", "1 ", "", None])
def test_another_version_is_told_which_one_is_spoken(agent, version):
    asked = agent.signed("lease", {"agent": agent.said})
    headers = {name: value for name, value in asked.headers.items() if name != "tieout-version"}
    headers |= {"tieout-version": version} if version is not None else {}
    with pytest.raises(Refusal) as caught:
        agent.answered(replace(asked, headers=headers))
    assert code_of(caught) == (426, "version")
    assert caught.value.body["supported"] == [1]


def test_the_key_of_another_connection_opens_nothing_here(served, agent):
    served.let_in(name="other.books")
    other = Agent(served, key=OTHER_KEY, name="other.books")
    other.enrol()
    served.queue(name="other.books")
    agent.name = "other.books"
    assert refused(agent.lease) == (401, "bad_signature")


# Clock and numbers


@pytest.mark.parametrize("seconds", [-86_400, -301, 301, 86_400])
def test_a_wrong_clock_is_told_the_time(served, agent, seconds):
    now = int(served.clock.now().timestamp())
    with pytest.raises(Refusal) as caught:
        agent.call("lease", time=str(now + seconds))
    assert code_of(caught) == (401, "clock")
    assert caught.value.body["server_time"] == now
    assert served.there().sequence == 0


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_five_minutes_are_let_pass(served, agent, seconds):
    agent.call("lease", time=str(int(served.clock.now().timestamp()) + seconds))


@pytest.mark.parametrize("time", ["", "now", "-5", "1e9", "1782000000.5", "9" * 16, "\uff11\uff17"])
def test_a_time_that_is_none_is_refused(agent, time):
    assert refused(lambda: agent.call("lease", time=time)) == (401, "clock")


def test_a_request_that_was_here_is_not_taken_again(served, agent):
    asked = agent.signed("lease", {"agent": agent.said, "running": False})
    agent.answered(asked)
    served.queue()
    with pytest.raises(Refusal) as caught:
        agent.answered(asked)
    assert code_of(caught) == (401, "replayed")
    assert caught.value.body["sequence"] == agent.sequence
    assert [job.state for job in served.outbox.stored.values()] == [JobState.QUEUED]


def test_numbers_may_be_left_out_and_never_go_back(served, agent):
    agent.sequence = 499
    agent.call("lease")
    agent.sequence = 498
    assert refused(lambda: agent.call("lease")) == (401, "replayed")
    agent.sequence = 10**15 - 2
    agent.call("lease")
    assert served.there().sequence == 10**15 - 1


@pytest.mark.parametrize("number", ["", "-1", "+9", "9.0", " 9", "\uff19", "9" * 16, "0x9"])
def test_a_number_that_is_none_is_refused(agent, number):
    assert refused(lambda: agent.call("lease", sequence=number)) == (400, "bad_request")


def test_zero_is_the_number_before_the_first(agent):
    assert refused(lambda: agent.call("lease", sequence="0")) == (401, "replayed")


def test_of_two_requests_at_once_with_one_number_one_is_let_in(served, agent):
    """The other one was stored between our look and our writing."""
    asked = agent.signed("lease", {"agent": agent.said, "running": False})
    real = served.installations.put_installation

    def put(installation):
        served.installations.put_installation = real
        Agent(served, sequence=0).answered(asked)
        return real(installation)

    served.installations.put_installation = put
    assert refused(lambda: agent.answered(asked)) == (401, "replayed")


def test_who_is_never_alone_is_asked_to_come_again(served, agent):
    def put(_installation):
        raise ClaimedError("It changed meanwhile.")

    served.installations.put_installation = put
    assert refused(agent.lease) == (503, "busy")


# Two with one key


def test_a_second_agent_with_the_same_key_is_refused(served, agent):
    agent.lease()
    copy = Agent(served, sequence=100, said=agent.said | {"instance": "i2", "machine": "LAPTOP"})
    with pytest.raises(Refusal) as caught:
        copy.lease()
    assert code_of(caught) == (409, "second_agent")
    assert "OFFICE-PC" in caught.value.body["message"]
    there = served.there()
    assert (there.instance, there.machine, there.sequence) == ("i1", "OFFICE-PC", agent.sequence)
    assert agent.lease() is None, "the first one goes on"


def test_a_restart_on_the_same_computer_says_whom_it_replaces(served, agent):
    agent.lease()
    again = Agent(served, sequence=agent.sequence, said=agent.said | {"instance": "i2", "replaces": "i1"})
    assert again.lease() is None
    assert served.there().instance == "i2"
    assert refused(lambda: Agent(served, sequence=100, said=agent.said).lease()) == (409, "second_agent")


@pytest.mark.parametrize("replaces", ["", "i0", None, ["i1"], "i1 "])
def test_who_replaces_somebody_else_is_refused(served, agent, replaces):
    agent.lease()
    other = Agent(served, sequence=100, said=agent.said | {"instance": "i2", "replaces": replaces})
    assert refused(other.lease) == (409, "second_agent")


def test_after_a_minute_of_silence_another_computer_goes_on(served, agent):
    agent.lease()
    other = Agent(served, sequence=100, said=agent.said | {"instance": "i2"})
    served.clock.time += timedelta(seconds=59)
    assert refused(other.lease) == (409, "second_agent")
    served.clock.time += timedelta(seconds=1)
    assert other.lease() is None


# Revoking


def test_who_is_revoked_gets_nothing_at_once_though_the_key_is_remembered(served, agent):
    agent.lease()
    served.queue()
    served.revoke()
    assert refused(agent.lease) == (403, "revoked")
    assert [job.state for job in served.outbox.stored.values()] == [JobState.QUEUED]


def test_a_new_code_shuts_the_former_computer_out(served, agent):
    agent.lease()
    served.let_in("2222-3333-4444")
    assert refused(agent.lease) == (403, "revoked")
    new = Agent(served, key=OTHER_KEY, said=agent.said | {"instance": "i2"})
    new.enrol("2222-3333-4444")
    assert new.lease() is None
    assert refused(agent.lease)[0] in (401, 403)


def test_who_is_revoked_while_held_gets_no_job(served, agent):
    served.queue()
    agent.report(agent.lease())
    real = served.clock.sleep

    def sleep(seconds):
        real(seconds)
        if len(served.clock.slept) == 2:
            served.revoke()
            served.queue(write=True)

    served.clock.sleep = sleep
    assert refused(agent.lease) == (403, "revoked")
    (left,) = [job for job in served.outbox.stored.values() if job.write]
    assert left.state is JobState.QUEUED or left.ended is Ended.NOT_BEGUN, "it is surely not done"


def test_a_job_comes_with_the_settings_of_its_time_though_it_was_held(served, agent):
    served.queue()
    agent.report(agent.lease())
    real = served.clock.sleep

    def sleep(seconds):
        real(seconds)
        if len(served.clock.slept) == 2:
            stored = served.config.connection("acme", "books")
            served.config.put_connection(replace(stored, settings={"company": "another"}, account="a-1"))
            served.queue()

    served.clock.sleep = sleep
    answer = agent.call("lease", {"running": False})
    assert answer["job"] is not None
    assert (answer["settings"], answer["account"]) == ({"company": "another"}, "a-1")


def test_who_was_just_let_in_is_known_in_every_process_at_once(served, agent):
    """Even if the former computer, with its former key, keeps asking there."""
    _, agent.bridge = served.process()
    served.let_in("2222-3333-4444")
    for _ in range(3):
        refused(agent.lease)
    new = Agent(served, key=OTHER_KEY, said=agent.said | {"instance": "i2"})
    new.enrol("2222-3333-4444")
    refused(agent.lease)
    new.bridge = agent.bridge
    assert new.lease() is None


def test_whoever_guesses_keys_does_not_have_us_read_secrets_each_time(served, agent):
    agent.lease()
    asked = served.secrets.asked
    for _ in range(50):
        assert refused(lambda: Agent(served, key=OTHER_KEY).lease()) == (401, "bad_signature")
    assert served.secrets.asked - asked <= 1
    served.revoke()
    asked = served.secrets.asked
    for _ in range(50):
        assert refused(lambda: Agent(served, key=OTHER_KEY).lease())[0] in (401, 403)
    assert served.secrets.asked - asked <= 1


# Codes


def test_the_same_code_and_key_get_the_same_answer(served):
    agent = Agent(served)
    first = agent.enrol()
    agent.lease()
    assert agent.enrol() == first
    assert served.there().sequence == 1, "an answer that was lost is repeated; numbers go on"


def test_a_code_works_for_one_key(served, agent):
    assert refused(Agent(served, key=OTHER_KEY).enrol) == (403, "code_used")
    assert agent.lease() is None


@pytest.mark.parametrize("code", ["abcdefghjklm", " abcd efgh jklm ", "ABCD-EFGHJKLM"])
def test_hyphens_blanks_and_case_do_not_count(served, code):
    assert Agent(served).enrol(code)["sequence"] == 0


@pytest.mark.parametrize("code", ["", "ABCD-EFGH-JKLN", None, 5, [], {}, "\ud800", "x" * 100_000, "ABCD-EFGH-JKLM\x00"])
def test_a_wrong_code_is_unknown(served, code):
    before = served.there()
    assert refused(lambda: Agent(served).enrol(code)) == (403, "code_unknown")
    assert served.there() == before


def test_a_code_is_good_for_an_hour(served):
    served.clock.time += timedelta(hours=1, microseconds=1)
    assert refused(Agent(served).enrol) == (403, "code_unknown")
    served.clock.time -= timedelta(microseconds=1)
    assert Agent(served).enrol()["sequence"] == 0


def test_without_a_code_nobody_is_let_in(served):
    served.revoke()
    for code in (CODE, "", None):
        assert refused(lambda code=code: Agent(served).enrol(code)) == (403, "code_unknown")
    served.installations.stored.clear()
    assert refused(Agent(served).enrol) == (403, "code_unknown")


def test_a_code_of_another_connection_is_unknown(served):
    served.let_in("2222-3333-4444", name="other.books")
    assert refused(lambda: Agent(served).enrol("2222-3333-4444")) == (403, "code_unknown")


@pytest.mark.parametrize("key", ["", "5e" * 31, "5e" * 33, "5E" * 32, "zz" * 32, None, 5, "5e" * 32 + "\n"])
def test_a_key_is_32_bytes(served, key):
    assert refused(lambda: Agent(served).enrol(key=key)) == (400, "bad_request")


def test_of_two_who_use_one_code_at_once_one_is_let_in(served):
    one, other = Agent(served), Agent(served, key=OTHER_KEY)
    real = served.installations.put_installation

    def put(installation):
        served.installations.put_installation = real
        other.enrol()
        return real(installation)

    served.installations.put_installation = put
    assert refused(one.enrol) == (503, "busy")
    assert refused(one.enrol) == (403, "code_used")
    assert other.lease() is None


# Reports


def test_a_report_is_taken_again_if_it_is_the_same(served, agent):
    served.queue()
    job = agent.lease()
    assert agent.report(job) == agent.report(job) == {}
    assert refused(lambda: agent.report(job, "lost", None)) == (409, "closed")
    assert refused(lambda: agent.report(job, "not_begun", None)) == (409, "closed")


@pytest.mark.parametrize("ended", list(Ended))
def test_every_end_is_taken(served, agent, ended):
    queued = served.queue()
    agent.report(agent.lease(), ended.value, "text")
    assert served.outbox.job("acme", "books", queued.id).ended is ended


def test_the_first_report_counts(served, agent):
    queued = served.queue()
    job = agent.lease()
    agent.report(job, body="first")
    agent.report(job, body="second")
    assert served.outbox.job("acme", "books", queued.id).result == "first"


@pytest.mark.parametrize("lease", ["", "0" * 32, "x"])
def test_a_job_of_somebody_else_is_not_reported(served, agent, lease):
    served.queue()
    job = agent.lease()
    assert refused(lambda: agent.report(job | {"lease": lease})) == (409, "not_yours")
    assert agent.report(job) == {}


def test_a_job_that_nobody_fetched_is_not_reported(served, agent):
    queued = served.queue()
    assert refused(lambda: agent.report({"id": queued.id, "lease": ""})) == (409, "not_yours")
    assert served.outbox.job("acme", "books", queued.id).state is JobState.QUEUED


def test_a_job_of_another_tenant_is_unknown(served, agent):
    served.let_in(name="other.books")
    other = Agent(served, key=OTHER_KEY, name="other.books")
    other.enrol()
    served.queue(name="other.books")
    job = other.lease()
    assert refused(lambda: agent.report(job)) == (404, "unknown_job")
    said = {"bytes": 10, "sha256": "0" * 64, "id": job["id"]}
    assert refused(lambda: agent.call("upload", said)) == (404, "unknown_job")
    assert other.report(job) == {}


def test_a_report_that_comes_too_late_is_settled(served, agent):
    served.queue()
    job = agent.lease()
    served.outbox.stored.clear()
    assert refused(lambda: agent.report(job)) == (404, "unknown_job")


@pytest.mark.parametrize(
    "changes",
    [
        {"ended": "finished"},
        {"ended": None},
        {"ended": ["done"]},
        {"id": 5},
        {"id": None},
        {"id": "a#b/../\n"},
        {"id": "x" * 201},
        {"id": "\ud800"},
        {"lease": 5},
        {"lease": "\ud800"},
        {"body": {}},
        {"body": 5},
        {"body": "\ud800"},
        {"body": None, "body_at": "bridge/other.books/1/report"},
        {"body": None, "body_at": "bridge/acme.books/../other.books/1/report"},
        {"body": None, "body_at": 5},
        {"body": None, "body_at": ""},
    ],
    ids=str,
)
def test_a_report_that_is_none_is_refused(served, agent, changes):
    served.queue()
    job = agent.lease()
    assert refused(lambda: agent.report(job, **changes)) == (400, "bad_request")
    assert agent.report(job) == {}, "the true one is still taken"


def test_a_large_report_stands_where_it_was_to_be_put(served, agent):
    queued = served.queue()
    job = agent.lease()
    told = agent.call("upload", {"id": job["id"], "bytes": 20_000_000, "sha256": "ab" * 32})
    assert told["key"] == queued.report_parcel
    assert told["url"].endswith(f"{queued.report_parcel}?size=20000000&sha256={'ab' * 32}&seconds=600")
    assert agent.report(job, body=None, body_at=told["key"]) == {}
    ended = served.outbox.stored["acme", "books", queued.id]
    assert (ended.result, ended.result_apart) == (None, True)


@pytest.mark.parametrize("size", [20_000_001, 10**30])
def test_a_report_that_is_too_large_is_refused(served, agent, size):
    served.queue()
    job = agent.lease()
    said = {"id": job["id"], "bytes": size, "sha256": "ab" * 32}
    assert refused(lambda: agent.call("upload", said)) == (413, "too_large")


@pytest.mark.parametrize(
    "changes",
    [{"bytes": 0}, {"bytes": -1}, {"bytes": True}, {"bytes": 1.5}, {"bytes": "9"}, {"bytes": None}]
    + [{"sha256": one} for one in ("", "AB" * 32, "ab" * 31, None, 5, "ab" * 32 + "\n")]
    + [{"id": None}, {"id": "a#b"}],
    ids=str,
)
def test_an_upload_that_is_none_is_refused(served, agent, changes):
    served.queue()
    job = agent.lease()
    said = {"id": job["id"], "bytes": 10, "sha256": "ab" * 32} | changes
    assert refused(lambda: agent.call("upload", said)) == (400, "bad_request")


def test_an_upload_for_nothing_is_refused(agent):
    said = {"id": "2026-999", "bytes": 10, "sha256": "ab" * 32}
    assert refused(lambda: agent.call("upload", said)) == (404, "unknown_job")


def test_a_job_that_ended_takes_no_upload(served, agent):
    served.queue()
    job = agent.lease()
    agent.report(job)
    said = {"id": job["id"], "bytes": 10, "sha256": "ab" * 32}
    assert refused(lambda: agent.call("upload", said)) == (409, "closed")


# Nonsense


DEEP = b'{"a":' * 100_000
BODIES = [b"", b"[]", b"null", b"5", b'"x"', b"{", b"\xff\xfe", b"{}", DEEP, b"[" * 100_000, b"9" * 10_000, b"NaN"]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:8].decode("latin-1"))
@pytest.mark.parametrize("call", ["enrol", "lease", "report", "upload"])
def test_what_is_no_request_is_refused(agent, call, body):
    assert refused(lambda: agent.answered(agent.signed(call, body))) == (400, "bad_request")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = ["agent", "code", "key", "id", "lease", "ended", "body", "body_at", "bytes", "sha256", "running"]


@ANY_PACE
@given(
    call=st.sampled_from(["enrol", "lease", "report", "upload"]),
    content=st.dictionaries(st.sampled_from(NAMES) | st.text(), JSON, max_size=8),
    with_agent=st.booleans(),
)
@example(call="report", content={"ended": "done", "id": "", "lease": ""}, with_agent=True)
def test_whatever_is_said_is_answered_or_refused(call, content, with_agent):
    served = Served()
    served.let_in()
    agent = Agent(served)
    agent.enrol()
    body = json.dumps(content | ({"agent": agent.said} if with_agent else {})).encode()
    try:
        agent.answered(agent.signed(call, body))
    except Refusal as refusal:
        status = refusal.status.value
    else:
        status = 200
    assert status in (200, 400, 403, 404, 409, 413)


@pytest.mark.parametrize("said", [None, [], "agent", 5])
def test_who_does_not_say_who_it_is_is_refused(agent, said):
    agent.said = said
    assert refused(lambda: agent.call("lease")) == (400, "bad_request")


def test_what_an_agent_says_of_itself_is_shown_shortened_and_without_control_characters(served, agent):
    agent.said |= {"instance": "i1", "machine": "PC\n\x1b[31m\u202e" + "x" * 1000, "system": {"a": ["b"]}, "version": 7}
    agent.lease()
    there = served.there()
    assert there.machine.startswith("PC[31mx")
    assert len(there.machine) <= 200
    assert (there.system, there.version) == ("{'a': ['b']}", "7")


def test_an_agent_with_a_job_in_hand_does_not_ask_for_another(served, agent):
    served.queue()
    assert refused(lambda: agent.call("lease", {"running": True})) == (400, "bad_request")
    assert [job.state for job in served.outbox.stored.values()] == [JobState.QUEUED]


@pytest.mark.parametrize(
    "address",
    [
        "",
        ".",
        "acme",
        "acme.",
        ".books",
        "acme.other",
        "nobody.books",
        "ACME.books",
        "acme.books.",
        "acme/books",
        "../acme.books",
        "acme.books/../other.books",
        "acme.books\n",
        "%61cme.books",
    ],
)
@pytest.mark.parametrize("call", ["enrol", "lease"])
def test_an_address_that_is_none_is_refused(agent, address, call):
    agent.name = address
    content = {"code": CODE, "key": agent.key, "agent": agent.said}
    assert refused(lambda: agent.answered(agent.signed(call, content))) == (403, "revoked")


@pytest.mark.parametrize("call", ["", "Lease", "lease/", "../report", "answer", "__init__", "_lease"])
def test_a_call_that_is_none_is_refused(agent, call):
    assert refused(lambda: agent.call(call)) == (404, "unknown_call")


# Who is heard


def test_what_waits_is_told_who_is_heard_and_when_it_was_before(served, agent):
    first = served.clock.now()
    agent.lease()
    served.clock.time += timedelta(hours=3)
    agent.lease()
    assert served.presence.heard_before == [first, first]
    assert served.there().seen_at == first + timedelta(hours=3)


def test_whoever_is_heard_was_never_told_to_be_silent(served, agent):
    served.forget(told_at=served.clock.now())
    agent.lease()
    assert served.there().told_at is None


def test_who_is_refused_is_not_heard(served, agent):
    for asked in (
        agent.signed("lease", {"agent": agent.said}, time="5"),
        replace(agent.signed("lease", {"agent": agent.said}), body=b"{}"),
    ):
        refused(lambda asked=asked: agent.answered(asked))
    assert served.presence.heard_before == []


# Nothing private


def test_nothing_of_a_secret_body_or_key_is_told_or_logged(served, caplog):
    caplog.set_level(logging.DEBUG)
    agent = Agent(served, said={"instance": "i1", "machine": "PC", "system": "Windows", "version": "1"})
    agent.enrol()
    served.queue(body=json.dumps({"ids": [CANARY]}))
    job = agent.lease()
    told = []

    def note(act):
        with pytest.raises(Refusal) as caught:
            act()
        told.append(f"{caught.value!r} {caught.value} {caught.value.body} {caught.value.__cause__!r}")

    note(lambda: agent.report(job, "canary", CANARY))
    note(lambda: agent.report(job | {"lease": CANARY}, body=CANARY))
    note(lambda: agent.report(job | {"id": CANARY}, body=CANARY))
    note(lambda: agent.report(job, body=None, body_at=CANARY))
    note(lambda: agent.answered(agent.signed("lease", CANARY.encode())))
    note(lambda: agent.enrol(CANARY))
    note(lambda: Agent(served, key=OTHER_KEY).enrol())
    note(lambda: Agent(served, key=OTHER_KEY).lease())
    note(lambda: agent.enrol(key=CANARY))
    note(lambda: agent.call("upload", {"id": job["id"], "bytes": 10, "sha256": CANARY}))
    asked = agent.signed("lease", CANARY.encode())
    told.append(repr(asked))
    told.append(repr(served.there()))
    told.append(caplog.text)
    shown = "\n".join(told)
    for secret in (CANARY, agent.key, OTHER_KEY, CODE, job["lease"], asked.headers["tieout-signature"]):
        assert secret not in shown


def test_a_request_shows_neither_its_headers_nor_its_body():
    assert repr(Asked(NAME, "lease", {"tieout-signature": CANARY}, CANARY.encode())).count(CANARY) == 0


def test_a_note_that_cannot_be_made_loses_no_job(served, agent):
    """When it last worked is good for its pace only."""
    real = served.installations.put_installation

    def put(installation):
        if installation.worked_at is not None:
            raise ClaimedError("It changed meanwhile.")
        return real(installation)

    served.installations.put_installation = put
    queued = served.queue(write=True)
    assert agent.report(agent.lease()) == {}
    assert served.outbox.job("acme", "books", queued.id).ended is Ended.DONE


def test_an_enrolment_that_broke_off_half_way_is_repeated(served, monkeypatch):
    """The installation says which key counts, and the key was not stored any more."""
    agent = Agent(served)

    def write(*_):
        raise TimeoutError

    with monkeypatch.context() as broken:
        broken.setattr(served.secrets, "write", write)
        with pytest.raises(TimeoutError):
            agent.enrol()
    assert refused(agent.lease) == (401, "bad_signature")
    assert refused(Agent(served, key=OTHER_KEY).enrol) == (403, "code_used")
    agent.enrol()
    assert agent.lease() is None
