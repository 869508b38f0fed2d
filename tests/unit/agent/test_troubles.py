"""What is wrong is said in words for whoever sits at the computer, with what to do on its system."""

from __future__ import annotations

import pytest

from tests.contract.fakes import ManualClock
from tieout.agent.spool import SpoolError
from tieout.agent.troubles import trouble_of
from tieout.agent.wire import RefusedError, StrangeAnswerError, address_of
from tieout.domain.errors import SettingsError, UnavailableError

NOW = ManualClock().now()


def of(error, system="Windows"):
    return trouble_of(error, name="acme.books", system=system, now=NOW)


@pytest.mark.parametrize(
    ("error", "code", "passes", "words"),
    [
        (UnavailableError("It could not be reached.", detail="POST x: ConnectTimeout"), "unreachable", True, "online"),
        (UnavailableError("It could not be reached.", detail="POST x: SSLError"), "certificate", False, "--ca FILE"),
        (UnavailableError("It could not be reached.", detail="POST x: ProxyError"), "proxy", False, "--proxy"),
        (StrangeAnswerError("Not the bridge.", next_step="Look."), "strange_answer", True, "Look."),
        (SpoolError("It cannot be written.", next_step="Free some space."), "spool", False, "Free some space."),
        (SettingsError("No.", next_step="Correct it."), "settings", False, "Correct it."),
        (RefusedError(429, {"error": "slow_down"}), "slow_down", True, "waits"),
        (RefusedError(400, {"error": "new_one", "message": "Hm.", "next_step": "Ask."}), "new_one", False, "Ask."),
        (RefusedError(403, {"error": "code_used"}), "code_used", False, "`tieout connect`"),
    ],
)
def test_each_has_a_code_and_says_what_to_do(error, code, passes, words):
    trouble = of(error)
    assert (trouble.code, trouble.passes, trouble.since) == (code, passes, NOW)
    assert trouble.message
    assert words in trouble.next_step


@pytest.mark.parametrize(
    ("system", "words"),
    [("Windows", "w32tm /resync"), ("Darwin", "sntp"), ("Linux", "timedatectl"), ("Plan9", "Set this computer's")],
)
def test_each_system_has_its_own_way_to_set_the_clock(system, words):
    error = RefusedError(401, {"error": "clock", "server_time": int(NOW.timestamp()) - 3600})
    assert words in of(error, system).next_step
    assert "1 hour ahead" in of(error, system).message


@pytest.mark.parametrize("told", [None, "noon", [1]])
def test_a_clock_without_the_bridges_own_time_is_just_wrong(told):
    assert "clock is wrong" in of(RefusedError(401, {"error": "clock", "server_time": told})).message


@pytest.mark.parametrize(
    "text",
    [
        "https://api.example/bridge/acme.books",
        " https://api.example/stage/bridge/acme.books/ ",
        "http://127.0.0.1:8000/bridge/acme.books",
        "http://[::1]:8000/bridge/a-b.c-1",
    ],
)
def test_addresses_are_taken_as_they_are_copied(text):
    assert address_of(text) == text.strip().rstrip("/")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://api.example/bridge/acme.books?x=1",
        "https://api.example/bridge/acme.books#x",
        "https://jo@api.example/bridge/acme.books",
        "https://api.example/bridge/../acme",
        "https://api.example/bridge/ACME.books",
        "http://10.0.0.1/bridge/acme.books",
        "file:///bridge/acme.books",
        "https:///bridge/acme.books",
    ],
)
def test_others_are_refused(text):
    with pytest.raises(SettingsError, match="not the address of a bridge"):
        address_of(text)
