"""`tieout connect` for systems in an office: an agent, or the system's own program, is let in and waited for."""

from __future__ import annotations

import secrets as random_secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tieout.bridge.outbox import changed
from tieout.bridge.serve import code_hash
from tieout.bridge.webconnector import PASSWORD, USER
from tieout.cli.desk import Desk
from tieout.cli.talk import Answer, AnswerError, Code, Talk
from tieout.domain.bridge import Installation
from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError, UnavailableError
from tieout.ports.connector import Account, OwnProgram, Provider

if TYPE_CHECKING:
    from rich.console import RenderableType

CODE_HOURS = 1
ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Letters and digits that are not taken for each other."""

PARTS, PART_LENGTH = 3, 4
LOOK_SECONDS = 2
WAIT_MINUTES = 60
WAITS = {"waits_for": "its installation"}
"""Stands in place of secrets until there are some: the function that takes them in may not make a secret."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What the person wants.

    Attributes:
        new_code: Let another computer in, and the present one no longer.
        revoke: Let none in any more.
        wait: Until somebody has installed it, an hour at most; else the command is given again later.
        file: Where to write the file for the system's own program; None for a name of its own, here.
    """

    new_code: bool = False
    revoke: bool = False
    wait: bool = True
    file: Path | None = None


def is_let_in(desk: Desk, connection: str) -> bool:
    """True if something is installed beside the connection's system."""
    there = desk.deployment.installations.installation(desk.tenant, connection)
    return there is not None and there.enrolled_at is not None


def revoke(desk: Desk, connection: Connection) -> Answer:
    """Let nothing in any more that is installed beside the system."""
    changed(desk.deployment.installations, _installation(desk, connection), _nobody)
    desk.deployment.secrets.write(desk.tenant, connection.id, WAITS)

    def view() -> Iterator[RenderableType]:
        yield f"{connection.id}: what is installed beside it is no longer let in. Changes wait, nothing is lost."
        yield f"For another computer: tieout connect {connection.id} --tenant {desk.tenant}"

    return Answer({"connection": connection.id, "revoked": True}, view)


def let_in(desk: Desk, talk: Talk, connection: Connection, provider: Provider, wanted: Beside) -> Answer | None:
    """Let an installation in, saying how it is made; None once it is there, else what to say as nobody waits for it.

    Raises:
        AnswerError: If the time is over in which it was waited for.
    """
    if is_let_in(desk, connection.id) and not wanted.new_code:
        return None
    if isinstance(provider, OwnProgram):
        told, data = _own_program(desk, connection, provider, wanted)
    else:
        told, data = _code(desk, connection, provider.manifest.title)
    again = f"tieout connect {connection.id} --tenant {desk.tenant}"
    if not wanted.wait:
        told.append(f"Then run `{again}`.")
        return Answer({"connection": connection.id, **data, "next": again}, lambda: iter(told))
    for line in told:
        talk.say(line)
    talk.say("Waiting for it; Ctrl-C stops only the waiting.")
    talk.resume = f"Run `{again}` once it is done there."
    _wait(desk, lambda: is_let_in(desk, connection.id))
    return None


def reach(desk: Desk, connection: Connection, title: str, *, wait: bool) -> Account:
    """Whom the system reaches, once its installation is at work.

    Raises:
        UnavailableError: If it is not there, and is not waited for; or not within an hour.
    """
    connector = desk.deployment.connect(connection)
    until = desk.deployment.clock.now() + timedelta(minutes=WAIT_MINUTES if wait else 0)
    while True:
        try:
            return connector.probe()
        except UnavailableError as error:
            if desk.deployment.clock.now() >= until:
                raise UnavailableError(
                    f"{title} could not be asked: {error.message}",
                    next_step=f"Once it is at work there, run `tieout connect {connection.id} --tenant {desk.tenant}`.",
                ) from None
        desk.deployment.clock.sleep(LOOK_SECONDS)


def _code(desk: Desk, connection: Connection, title: str) -> tuple[list[str], dict[str, object]]:
    parts = ("".join(random_secrets.choice(ALPHABET) for _ in range(PART_LENGTH)) for _ in range(PARTS))
    code, address = "-".join(parts), _address(desk)
    # The secret is made before the code is good for anything: whoever uses the code stores a key in it.
    desk.deployment.secrets.write(desk.tenant, connection.id, WAITS)
    until = desk.deployment.clock.now() + timedelta(hours=CODE_HOURS)
    changed(
        desk.deployment.installations,
        _installation(desk, connection),
        lambda one: replace(_nobody(one), code_hash=code_hash(code), code_until=until),
    )
    command = f"tieout agent install --address {address}/bridge/{connection.address} {code}"
    told = [
        f"On the computer beside {title}, with Tieout installed there, run within {CODE_HOURS} hour:",
        f"  {command}",
        "The code works once. What is installed there now, if anything, is no longer let in.",
    ]
    return told, {"code": code, "code_until": until, "command": command}


def _own_program(
    desk: Desk, connection: Connection, provider: OwnProgram, wanted: Beside
) -> tuple[list[str], dict[str, object]]:
    user, password = connection.address, random_secrets.token_urlsafe(18)
    file = provider.setup_file(connection, address=f"{_address(desk)}/webconnector/{connection.address}", user=user)
    path = wanted.file or Path(file.name)
    try:
        path.write_text(file.text, "utf-8")
    except OSError as error:
        raise AnswerError(f"The file {path} cannot be written: {error.strerror}.", code=Code.USAGE) from None
    desk.deployment.secrets.write(desk.tenant, connection.id, {USER: user, PASSWORD: password})
    now = desk.deployment.clock.now()
    changed(
        desk.deployment.installations,
        _installation(desk, connection),
        lambda one: replace(_nobody(one), enrolled_at=now),
    )
    told = [
        f"{path} is written. Take it to the computer of the system, and open it there.",
        f"The password that is asked for there, once: {password}",
    ]
    return told, {"file": str(path), "user": user, "password": password}


def _installation(desk: Desk, connection: Connection) -> Installation:
    found = desk.deployment.installations.installation(desk.tenant, connection.id)
    return found or Installation(desk.tenant, connection.id)


def _nobody(there: Installation) -> Installation:
    """The installation with nothing left of what was let in; requests are counted anew, with another key."""
    return Installation(there.tenant, there.connection, revision=there.revision)


def _address(desk: Desk) -> str:
    if not desk.bridge_url:
        raise SettingsError("This stack has no bridge yet.", next_step="Deploy it again.")
    return desk.bridge_url


def _wait(desk: Desk, done: Callable[[], bool]) -> None:
    until = desk.deployment.clock.now() + timedelta(minutes=WAIT_MINUTES)
    while not done():
        if desk.deployment.clock.now() >= until:
            raise AnswerError(
                "Nobody has installed it within an hour.",
                code=Code.NO,
                next_step="Run the command again: it makes a new code.",
            )
        desk.deployment.clock.sleep(LOOK_SECONDS)
