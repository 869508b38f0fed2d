"""A connection's work: what is fetched runs once, and how it ended is told until somebody heard it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.contract.fakes import ManualClock
from tests.office.bridge import LARGE_BYTES, RefusedError
from tieout.bridge.calls import decode_error
from tieout.domain.errors import (
    ReconnectError,
    RejectedError,
    SettingsError,
    ThrottledError,
    UnavailableError,
    UncertainError,
)
from tieout.domain.packing import pack, unpack
from tieout.ports.http import Answer


def test_a_job_is_fetched_run_and_reported(office):
    job = office.put("invoice")
    assert office.turn() == 0
    assert job.ended == ""
    assert office.turn() == 10
    assert (job.ended, unpack(job.result)) == ("done", "cursor of invoice")
    assert office.system.done == ["invoice"]
    assert office.jobs == 1
    assert office.spool.unsent_count == 0
    assert office.said == []


def test_without_work_it_asks_again_after_as_long_as_it_was_told(office):
    office.bridge.wait_seconds = 7
    assert office.turn() == 7
    office.bridge.wait_seconds = 1e9
    assert office.turn() == 60


def test_it_says_of_itself_what_the_bridge_wants_to_know(office):
    office.turn()
    assert office.bridge.agent == {
        "version": "0.1.0",
        "machine": "pc-1",
        "system": "Windows 11",
        "instance": "instance-1",
    }


def test_the_system_is_opened_with_the_settings_as_they_are_now(office):
    office.bridge.settings = {"base_url": "http://127.0.0.1:9000"}
    office.bridge.account = "company-7"
    office.put()
    office.turn()
    assert office.system.accounts == ["company-7"]
    assert office.system.settings == [{"base_url": "http://127.0.0.1:9000"}]
    assert office.spool.settings == {"base_url": "http://127.0.0.1:9000"}


@pytest.mark.parametrize(
    "error",
    [
        RejectedError("The invoice has no lines.", field="lines", next_step="Add one.", code="6000"),
        ThrottledError("Slow down.", retry_after_seconds=30),
        UncertainError("It gave no answer."),
        SettingsError("The company is not open.", next_step="Open it."),
        ReconnectError("The password is wrong."),
    ],
)
def test_an_error_of_the_connector_arrives_whole(office, error):
    def fail(_):
        raise error

    office.system.act = fail
    job = office.put()
    office.turn(2)
    assert job.ended == "failed"
    told = decode_error(job.result)
    assert type(told) is type(error)
    assert vars(told) == vars(error)


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError("Paper is closed.", next_step="Open it."),
        ReconnectError("No."),
        SettingsError("Not the company."),
    ],
)
def test_a_system_that_cannot_be_asked_is_told_here_too_until_it_answers(office, error):
    def fail(_):
        raise error

    office.system.act = fail
    for _ in range(3):
        office.put()
    office.turn(4)
    assert office.said == [f"acme.books: {error.message} {error.next_step}".rstrip()]
    assert office.spool.system == (error.message, error.next_step)
    office.system.act = str
    office.put()
    office.turn(2)
    assert office.said[1:] == ["acme.books: The system beside it answers again."]
    assert office.spool.system is None


@pytest.mark.parametrize(
    "error", [RejectedError("Jo Canary has no address."), ThrottledError("Slow."), UncertainError("Jo?")]
)
def test_what_is_wrong_with_one_record_is_no_news_at_this_computer(office, error):
    def fail(_):
        raise error

    office.system.act = fail
    office.put()
    office.turn(2)
    assert office.said == []
    assert office.spool.system is None


@pytest.mark.parametrize(("write", "kind"), [(True, UncertainError), (False, UnavailableError)])
@pytest.mark.parametrize("bug", [KeyError("Jo Canary"), RecursionError(), TypeError("Canary")])
def test_a_bug_is_told_in_a_plain_sentence(office, write, kind, bug):
    def fail(_):
        raise bug

    office.system.act = fail
    job = office.put(write=write)
    office.turn(2)
    assert job.ended == "failed"
    told = decode_error(job.result)
    assert type(told) is kind
    assert told.message == "The agent at pc-1 failed while it worked; its log says where."
    assert told.detail == type(bug).__name__
    assert "Canary" not in job.result
    office.put()
    office.system.act = str
    office.turn(2)
    assert office.bridge.jobs[-1].ended == "done"


@pytest.mark.parametrize("call", ["obliterate", "__init__", "manifest", "cursor_now"])
def test_a_call_that_this_version_does_not_know_is_surely_not_done(office, call):
    job = office.bridge.put(call, "{}", write=True)
    office.turn(2)
    assert job.ended == "failed"
    told = decode_error(job.result)
    assert type(told) is UnavailableError
    assert told.next_step == "Install the newest version of the agent on pc-1."
    assert office.system.done == []


def test_a_result_that_is_no_text_to_send_is_a_failure_too(office):
    office.system.act = lambda _: "half a pair: \ud800"
    job = office.put()
    office.turn(2)
    assert isinstance(decode_error(job.result), UncertainError)


# Large ones


def test_a_large_job_is_fetched_and_a_large_report_uploaded(office):
    office.system.act = lambda _: '"' * 200_000
    body = json.dumps({"kind": "invoice", "more": "x" * LARGE_BYTES})
    job = office.bridge.put("cursor_now", body)
    office.turn(2)
    assert job.ended == "done"
    assert unpack(job.result) == '"' * 200_000
    assert office.bridge.calls == ["lease", "upload", "report", "lease"]
    assert [request.method for request in office.network.sent] == ["POST", "GET", "POST", "PUT", "POST", "POST"]
    put = office.network.sent[3]
    assert dict(put.headers) == {"x-parcel": "1"}, "neither signature nor key goes to the store"


def test_a_large_job_that_is_not_there_is_surely_not_begun(office):
    job = office.bridge.put("cursor_now", json.dumps({"kind": "invoice", "more": "x" * LARGE_BYTES}), write=True)
    office.network.faults = ["", Answer(403, {}, b"<Error/>")]
    office.turn(2)
    assert job.ended == "not_begun"
    assert office.system.done == []


def test_a_store_that_takes_nothing_is_tried_again(office):
    office.system.act = lambda _: "x" * 300_000
    job = office.put()
    office.turn()
    office.network.faults = ["", Answer(503, {}, b"<Error/>")]
    assert office.turn() > 0
    assert job.ended == ""
    office.turn()
    assert unpack(job.result) == "x" * 300_000


@pytest.mark.parametrize(("write", "kind"), [(True, UncertainError), (False, RejectedError)])
def test_a_report_that_is_larger_than_the_bridge_takes_is_told_as_an_error(office, write, kind):
    office.system.act = lambda _: "x" * 20_000_001
    job = office.put(write=write)
    office.turn(2)
    assert job.ended == "failed"
    assert type(decode_error(job.result)) is kind


# Late


@pytest.mark.parametrize("clock", ["wall", "monotonic"])
def test_a_job_is_not_begun_later_than_it_may_be_by_either_clock(office, clock):
    def sleep_of_the_computer(seconds):
        if clock == "wall":
            office.clock.advance(seconds)
            office.ticks -= seconds  # it stands still while the computer sleeps
        else:
            office.ticks += seconds

    real = office.network.send

    def late(request):
        answer = real(request)
        sleep_of_the_computer(16)
        return answer

    job = office.put()
    office.network.send = late
    office.turn()
    office.network.send = real
    office.turn()
    assert job.ended == "not_begun"
    assert office.system.done == []


def test_a_job_that_comes_just_in_time_is_begun(office):
    real = office.network.send

    def slow(request):
        answer = real(request)
        office.clock.advance(7)
        return answer

    job = office.put()
    office.network.send = slow
    office.turn(2)
    assert job.ended == "done"


def test_a_clock_that_is_set_back_makes_no_job_early(office):
    def back(request, real=office.network.send):
        answer = real(request)
        office.clock.advance(-86400)
        office.ticks += 86400 + 20
        return answer

    job = office.put()
    office.network.send = back
    office.turn()
    assert job.ended == ""
    assert office.system.done == []


# The network


def test_a_report_is_told_until_somebody_heard_it(office):
    job = office.put()
    office.turn()
    office.network.faults = ["down", "down", "lost", "down"]
    pauses = [office.turn() for _ in range(4)]
    assert pauses == sorted(pauses)
    assert job.ended == "done"
    assert office.spool.unsent_count == 1
    office.turn()
    assert office.spool.unsent_count == 0
    assert office.system.done == ["invoice"]
    assert office.bridge.reports == [(job.id, "done")]


def test_pauses_grow_to_a_minute(office):
    office.network.down = True
    pauses = [office.turn() for _ in range(12)]
    assert pauses[0] < 1.1
    assert max(pauses) <= 60
    assert pauses[-1] >= 30


def test_a_short_break_is_not_told_and_a_longer_one_is_and_its_end(office):
    office.network.faults = ["down"]
    office.turn(2)
    assert office.said == []
    office.network.down = True
    office.turn(5)
    assert len(office.said) == 1
    assert "could not be reached" in office.said[0]
    assert office.spool.trouble.passes
    office.network.down = False
    office.turn()
    assert office.said[1:] == ["acme.books: All is well again."]
    assert office.spool.trouble is None


def test_a_job_whose_fetching_was_lost_never_runs(office):
    job = office.put()
    office.network.faults = ["lost"]
    office.turn(2)
    assert job.ended == "lost"
    assert office.system.done == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {}, b"<html>Sign in to the guest network</html>"),
        Answer(200, {}, b'"{}"'),
        Answer(404, {}, b'{"message":"Not Found"}'),
        Answer(404, {}, b"<html>"),
        Answer(409, {}, b'{"message":"Conflict"}'),
        Answer(403, {}, b'{"message":"Forbidden"}'),
        Answer(407, {}, b""),
        Answer(500, {}, b'{"message":"Internal Server Error"}'),
        Answer(502, {}, b"<html>"),
        Answer(503, {}, b'{"error":"busy","message":"","next_step":""}'),
    ],
)
def test_what_is_not_the_bridges_answer_settles_no_report(office, answer):
    job = office.put()
    office.turn()
    office.network.faults = [answer, answer]
    assert office.turn() > 0
    assert office.turn() > 0
    assert office.spool.unsent_count == 1
    assert office.spool.trouble.code in {"strange_answer", "unreachable"}
    office.turn()
    assert job.ended == "done"


def test_an_answer_with_a_job_that_cannot_be_read_is_no_end_of_the_agent(office):
    for job in ({"id": "1"}, "job", {"id": "1", "lease": "l", "call": "read", "write": 1, "begin_within_seconds": 1}):
        office.network.faults = [Answer(200, {}, json.dumps({"job": job, "settings": {}}).encode())]
        assert office.turn() > 0
    office.network.faults = [Answer(200, {}, b'{"job": null}')]
    assert office.turn() > 0
    assert office.turn() == 10


def test_a_job_that_is_given_twice_runs_once(office):
    office.put()
    real = office.network.send
    answers = []

    def remember(request):
        answers.append(real(request))
        return answers[-1]

    office.network.send = remember
    office.turn(2)
    office.network.send = real
    office.network.faults = [answers[0]]
    office.turn()
    assert office.system.done == ["invoice"]
    assert office.spool.unsent_count == 0


# Refusals


def refused(office, *refusals):
    office.bridge.refusals = list(refusals)


@pytest.mark.parametrize(
    "refusal", [RefusedError(404, "unknown_job"), RefusedError(409, "not_yours"), RefusedError(409, "closed")]
)
def test_a_report_that_nobody_wants_is_not_told_again(office, refusal):
    office.put()
    office.turn()
    refused(office, refusal)
    assert office.turn() == 10
    assert office.spool.unsent_count == 0
    assert office.said == []


@pytest.mark.parametrize("refusal", [RefusedError(400, "bad_request"), RefusedError(413, "too_large")])
def test_a_report_that_cannot_be_taken_waits_and_does_not_stop_the_others(office, refusal):
    office.put()
    office.turn()
    refused(office, refusal)
    assert office.turn() == 10
    assert office.spool.unsent_count == 1
    second = office.put("item")
    office.turn(2)
    assert second.ended == "done"
    office.clock.advance(601)
    office.turn()
    assert office.spool.unsent_count == 0


@pytest.mark.parametrize(
    ("refusal", "words", "step"),
    [
        (RefusedError(403, "revoked"), "withdrew its key", "get a new code"),
        (RefusedError(401, "bad_signature"), "a newer one took its place", "get a new code"),
        (RefusedError(426, "version", supported=[2]), "too old", "Install the newest version"),
        (RefusedError(409, "second_agent"), "Another agent is at work", "Stop the other one"),
        (RefusedError(401, "replayed", sequence=9999), "a copy of this folder is used", "delete it"),
        (RefusedError(418, "teapot"), "Refused: teapot.", ""),
    ],
)
def test_a_refusal_is_told_in_plain_words_and_tried_slowly(office, refusal, words, step):
    office.put()
    refused(office, refusal, refusal, refusal)
    pauses = [office.turn() for _ in range(3)]
    assert min(pauses) >= 20
    assert len(office.said) == 1, "once, not at every try"
    assert words in office.said[0]
    assert step in office.said[0]
    assert (office.spool.trouble.code, office.spool.trouble.passes) == (refusal.body["error"], False)
    assert office.system.done == []


def test_what_was_refused_goes_on_when_it_is_let_in_again(office):
    job = office.put()
    office.bridge.revoked = True
    office.turn(3)
    office.bridge.revoked = False
    office.turn(2)
    assert job.ended == "done"
    assert office.said[-1] == "acme.books: All is well again."
    assert office.spool.trouble is None


def test_the_bridge_says_how_long_to_wait(office):
    refused(office, RefusedError(429, "slow_down", retry_after_seconds=17))
    assert office.turn() == 17
    refused(office, RefusedError(429, "slow_down", retry_after_seconds=86400))
    assert office.turn() == 60


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(86400, "1 day ahead"), (-86400, "1 day behind"), (-3 * 3600, "3 hours behind"), (400, "7 minutes ahead")],
)
def test_a_clock_that_is_off_is_told_by_how_much_and_how_to_set_it(office, seconds, words):
    office.server_clock = ManualClock()
    office.clock.advance(seconds)
    job = office.put()
    assert office.turn() == 60
    assert f"This computer's clock is {words}" in office.said[0]
    assert "w32tm /resync" in office.said[0]
    assert job.lease == ""
    office.clock.advance(-seconds)
    office.turn(2)
    assert job.ended == "done"


def test_the_clock_is_told_even_if_the_bridge_does_not_say_its_own(office):
    refused(office, RefusedError(401, "clock"))
    office.turn()
    assert "clock is wrong" in office.said[0]


# Numbers


def numbers(office):
    return [int(request.headers["tieout-sequence"]) for request in office.network.sent]


def test_each_call_has_a_larger_number_over_restarts_too(office):
    for _ in range(3):
        office.put()
        office.turn(2)
        office.start()
    assert numbers(office) == list(range(1, 10))


def test_a_call_that_a_proxy_sent_twice_is_no_trouble(office):
    job = office.put()
    office.turn()
    office.network.faults = ["twice"]
    assert office.turn() <= 1
    assert office.turn() == 10
    assert job.ended == "done"
    assert office.said == []


def test_a_folder_that_was_copied_adopts_no_number(office):
    office.turn(3)
    office.bridge.sequence = 500  # another copy went on
    office.turn()
    assert "a copy of this folder is used" in office.said[0]
    office.turn(3)
    office.start(instance="instance-1")
    office.turn(3)
    assert set(numbers(office)[3:]) == {4}
    office.start(key=KEY_2)
    office.bridge.key = KEY_2
    office.bridge.sequence = 0
    assert office.turn() == 10
    assert numbers(office)[-1] == 5


KEY_2 = "cd" * 32


# Starting again


def test_a_job_that_was_cut_off_is_reported_as_lost(office):
    class Killed(BaseException):
        pass

    def die(_):
        raise Killed

    office.system.act = die
    job = office.put()
    with pytest.raises(Killed):
        office.turn()
    office.system.act = str
    office.start()
    office.turn()
    assert job.ended == "lost"
    assert office.system.done == ["invoice"], "it does not run again"


def test_a_new_process_takes_over_at_once_from_the_one_before(office):
    office.turn()
    office.start()
    assert office.turn() == 10
    assert office.bridge.agent["replaces"] == "instance-1"
    office.turn()
    assert "replaces" not in office.bridge.agent


def test_it_takes_over_whichever_former_process_was_heard_last(office):
    office.turn()
    for _ in range(3):  # these never came through
        office.start()
        office.network.faults = ["down"]
        office.turn()
    office.start()
    assert office.turn(4) == 10
    assert office.said == []


def test_another_agent_is_waited_for(office):
    office.bridge.instance, office.bridge.heard_at = "somebody", office.clock.now().timestamp()
    assert office.turn() == 20
    office.clock.advance(61)
    assert office.turn() == 10
    assert office.said[-1].endswith("All is well again.")


# Ending


def test_a_job_that_is_given_while_it_ends_is_not_begun(office):
    job = office.put()
    real = office.network.send

    def ask_to_end(request):
        office.stopping = True
        return real(request)

    office.network.send = ask_to_end
    office.turn()
    office.worker.finish()
    assert job.ended == "not_begun"
    assert office.system.done == []


def test_what_is_done_is_reported_before_it_ends(office):
    job = office.put()
    office.turn()
    office.stopping = True
    office.network.faults = ["down", "lost"]
    office.worker.finish()
    assert job.ended == "done"
    assert office.spool.unsent_count == 0


def test_it_ends_without_a_network_too(office):
    office.put()
    office.turn()
    office.network.down = True
    office.worker.finish()
    assert office.spool.unsent_count == 1


# Versions


def test_a_newer_version_is_told_once_and_never_forced(office):
    office.bridge.latest = "0.10.0"
    job = office.put()
    office.turn(4)
    assert office.said == [
        "acme.books: Version 0.10.0 of the agent is there; this is 0.1.0. Install it when it suits you."
    ]
    assert office.spool.latest == "0.10.0"
    assert job.ended == "done"


@pytest.mark.parametrize("latest", ["0.1.0", "0.0.9", "", "newest", "1.x"])
def test_no_other_version_is_told(office, latest):
    office.bridge.latest = latest
    office.turn(2)
    assert office.said == []


def test_nothing_of_a_report_stays_in_the_spool_once_it_is_told(office):
    office.system.act = lambda _: "Jo Canary"
    office.put()
    office.turn()
    assert b"Canary" in b"".join(path.read_bytes() for path in office.file.parent.iterdir())
    office.turn()
    office.stack.close()
    assert b"Canary" not in b"".join(path.read_bytes() for path in office.file.parent.iterdir())


def test_packed_results_are_what_the_connector_gave(office):
    office.system.act = lambda _: office.clock.now() + timedelta(seconds=1)
    job = office.put()
    office.turn(2)
    assert job.result == pack(office.clock.now() + timedelta(seconds=1))
