"""`tieout sweep`: records that vanished all at once, which a brake holds back until a person approves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tieout.cli.desk import Desk
from tieout.cli.talk import Answer, AnswerError, Code
from tieout.domain.errors import SettingsError
from tieout.domain.words import counted
from tieout.engine.sweep import Held, Sweep

if TYPE_CHECKING:
    from rich.console import RenderableType

NAMED_MAX = 10


def listed(desk: Desk) -> Answer:
    """What is held back, by connection and kind."""
    held = sweep(desk).held(desk.tenant)

    def view() -> Iterator[RenderableType]:
        if not held:
            yield "Nothing is held back."
            return
        for one in held:
            yield f"{one.connection}: {counted(len(one.ids), noun(one))} vanished at once"
            more = f" and {len(one.ids) - NAMED_MAX:,} more" if len(one.ids) > NAMED_MAX else ""
            yield f"  {', '.join(one.ids[:NAMED_MAX])}{more}"
            yield f"  If they were deleted: tieout sweep approve {one.connection} --tenant {desk.tenant}"

    data = [{"connection": one.connection, "kind": one.kind, "written": one.written, "ids": one.ids} for one in held]
    return Answer({"held": data}, view)


def approved(desk: Desk, connection: str) -> Answer:
    """What was held back of the connection is queued.

    Raises:
        AnswerError: If nothing of it is held back.
    """
    try:
        count = sweep(desk).approve(desk.tenant, connection)
    except SettingsError as error:
        raise AnswerError(
            error.message, code=Code.NO, next_step=f"See `tieout sweep list --tenant {desk.tenant}`."
        ) from None

    def view() -> Iterator[RenderableType]:
        yield f"{counted(count, 'record')} queued: the sync's policies for deleted records apply to them now."
        yield f"See `tieout status --tenant {desk.tenant}` in a minute."

    return Answer({"approved": count, "connection": connection}, view)


def sweep(desk: Desk) -> Sweep:
    """What compares ids, and knows what is held back."""
    here = desk.deployment
    return Sweep(
        config=here.config,
        links=here.links,
        alerts=here.alerts,
        queue=here.queue,
        connect=here.connect,
        clock=here.clock,
    )


def noun(held: Held) -> str:
    """What vanished: `deal`, or `written invoice` if it is a document of ours."""
    kind = held.kind.value.replace("_", " ")
    return f"written {kind}" if held.written else kind
