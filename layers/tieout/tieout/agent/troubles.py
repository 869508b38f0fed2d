"""What is wrong, in plain words for whoever sits at this computer, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tieout.agent.spool import SpoolError, Trouble
from tieout.agent.wire import RefusedError, StrangeAnswerError
from tieout.domain.errors import SettingsError, TieoutError, UnavailableError

AGAIN = "get a new code with `tieout connect` and run `tieout agent install` with it"
_SET_CLOCK = {
    "Windows": "Open Settings, Time & language, Date & time, and press Sync now; or run `w32tm /resync` as "
    "administrator.",
    "Darwin": "Open System Settings, General, Date & Time, and switch on setting it automatically; or run "
    "`sudo sntp -sS time.apple.com`.",
    "Linux": "Run `sudo timedatectl set-ntp true`.",
}
_CERTIFICATE = (
    "See that this computer's date is right. If the office's proxy or virus scanner looks into encrypted "
    "connections, install with --ca FILE, its certificate (ask whoever runs the network)."
)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def trouble_of(error: TieoutError, *, name: str, system: str, now: datetime) -> Trouble:
    """What an error of a call means for a person.

    Args:
        error: Of the call.
        name: Of the connection: `tenant.connection`.
        system: As `platform.system()` has it.
        now: Aware UTC, by this computer.
    """
    match error:
        case RefusedError():
            return _of_refusal(error, name, system, now)
        case SpoolError() | SettingsError():
            code = "spool" if isinstance(error, SpoolError) else "settings"
            return Trouble(code, error.message, error.next_step, passes=False, since=now)
        case StrangeAnswerError():
            return Trouble("strange_answer", error.message, error.next_step, passes=True, since=now)
        case UnavailableError() if error.detail.endswith("SSLError"):
            message = "What answered at the bridge's address cannot prove who it is."
            return Trouble("certificate", message, _CERTIFICATE, passes=False, since=now)
        case UnavailableError() if error.detail.endswith("ProxyError"):
            message = "The proxy does not let this computer out."
            step = "See that the proxy's address, name and password are right: `tieout agent install --proxy …`."
            return Trouble("proxy", message, step, passes=False, since=now)
    step = "See that this computer is online. Nothing is lost: the agent goes on by itself."
    return Trouble("unreachable", error.message, error.next_step or step, passes=True, since=now)


def _of_refusal(error: RefusedError, name: str, system: str, now: datetime) -> Trouble:
    message, step, passes = error.message or "The bridge refuses.", error.next_step, False
    match error.code:
        case "clock":
            message = f"This computer's clock is {_off(error.facts, now)}, so its requests are refused."
            step = _SET_CLOCK.get(system, "Set this computer's date and time.")
        case "second_agent":
            message = f"Another agent is at work for {name} right now, and only one may be."
            step = (
                "Stop the other one: it runs on another computer, or with a copy of this folder. If there is none, "
                "wait: this one takes over a minute after the other was heard last."
            )
        case "replayed":
            message = (
                f"The bridge was called for {name} more often than this folder knows: a copy of this folder is used "
                "elsewhere, or this one comes from a backup."
            )
            step = f"Stop the other copy, and delete it. Then {AGAIN}: it makes every older copy worthless."
        case "revoked":
            message = f"This computer may no longer work for {name}: somebody withdrew its key."
            step = f"If that was not meant, {AGAIN}."
        case "bad_signature":
            message = f"The bridge does not know this computer's key for {name}: a newer one took its place."
            step = f"If this is the computer that is meant to do the work, {AGAIN}."
        case "version":
            message = "This version of the agent is too old for the bridge."
            step = "Install the newest version (docs/on-premises.md says how), and start the agent again."
        case "code_unknown" | "code_used":
            message = "The code is not good: it works once, and for an hour."
            step = "Get a new one with `tieout connect`."
        case "slow_down":
            message, step, passes = "The bridge asks to be called less often.", "Nothing: the agent waits.", True
    return Trouble(error.code, message, step, passes=passes, since=now)


def _off(facts: Mapping[str, Any], now: datetime) -> str:
    try:
        ahead = round(now.timestamp() - float(facts["server_time"]))
    except (KeyError, TypeError, ValueError):
        return "wrong"
    return f"{_span(abs(ahead))} {'ahead' if ahead > 0 else 'behind'}"


def _span(seconds: int) -> str:
    for unit, word in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if seconds >= unit:
            count = round(seconds / unit)
            return f"{count:,} {word}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"
