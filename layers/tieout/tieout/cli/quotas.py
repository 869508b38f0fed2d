"""What `status`, `plan` and `backfill` say of a connection's quota."""

from __future__ import annotations

from typing import Any

from tieout.cli.talk import moment
from tieout.domain.words import age, counted
from tieout.engine.quota import Forecast


def left_of(quota: Forecast) -> str:
    """What is left, and how long what waits takes if that is not enough."""
    allowance = quota.allowance
    said = f"{allowance.left:,} of {counted(allowance.limit.calls, 'call')} in {quota.period} are left"
    said += f"; what waits takes about {quota.needed:,}" if quota.needed else ""
    said += f", and the last of it is written in {age(quota.seconds)}" if not quota.suffices else ""
    return said + (f"; the next call is allowed {moment(allowance.free_at)}" if not allowance.left else "") + "."


def how_long(quota: Forecast) -> str:
    """What is to be written against what is left, and until when the last of it takes."""
    if quota.suffices:
        return quota.said()
    return f"{quota.said()} So the last of it is written in about {age(quota.seconds)}; nothing is lost meanwhile."


def data_of(quota: Forecast | None) -> dict[str, Any] | None:
    """The same for programs; None where there is no quota. `seconds` is 0 if what is left suffices."""
    if quota is None:
        return None
    allowance = quota.allowance
    return {
        "connection": quota.connection,
        "limit": allowance.limit.name,
        "calls": allowance.limit.calls,
        "per_seconds": allowance.limit.per_seconds,
        "used": allowance.used,
        "left": allowance.left,
        "free_at": allowance.free_at,
        "needed": quota.needed,
        "seconds": quota.seconds,
    }
