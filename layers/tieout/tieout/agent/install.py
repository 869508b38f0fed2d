"""Enrolling this computer for a connection, and trying the system beside it."""

from __future__ import annotations

import hashlib
import re
import secrets as random_secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tieout.agent.beside import Beside
from tieout.agent.folder import Enrolment, Folder
from tieout.agent.serve import myself
from tieout.agent.spool import Spool
from tieout.agent.troubles import trouble_of
from tieout.agent.wire import RefusedError, StrangeAnswerError, address_of, enrol
from tieout.domain.connections import Connection
from tieout.domain.errors import RejectedError, SettingsError, TieoutError, UnavailableError
from tieout.ports.clock import Clock
from tieout.ports.connector import Account, Provider
from tieout.transport import RequestsHttp
from tieout.transport.http import office_session

KEY_BYTES = 32
CODE_LENGTH_MAX = 100


def enrolled(folder: Folder, clock: Clock, *, address: str, code: str, proxy: str = "", ca_file: str = "") -> Enrolment:
    """The enrolment, stored. The key is stored before it is sent, so that the same code can be tried again.

    Args:
        folder: The agent's.
        clock: Of this computer.
        address: As `tieout connect` printed it.
        code: As `tieout connect` printed it; works once.
        proxy: Address of the office's proxy; empty for none.
        ca_file: Further authorities to trust; empty for none.

    Raises:
        SettingsError: If the address or the code is none, or the folder cannot be written.
        RejectedError: If the bridge refuses.
        UnavailableError: If it does not answer.
    """
    address, code = address_of(address), code.strip()
    if not code or len(code) > CODE_LENGTH_MAX:
        raise SettingsError("This is not a code.", next_step="Type the code that `tieout connect` printed.")
    code_hash = hashlib.sha256(re.sub(r"[\s-]", "", code).upper().encode()).hexdigest()
    former = folder.enrolment(address.rpartition("/")[2]) or Enrolment(address)
    key = _key_for(former, address, code_hash)
    # What works stays in use until the new key is accepted.
    folder.keep(replace(former, pending={"address": address, "code_hash": code_hash, "key": key}))
    with office_session(proxy=proxy, ca_file=ca_file) as session:
        http = RequestsHttp(lambda _: None, clock=clock, session=session)
        try:
            told = enrol(http, address, code=code, key=key, agent=_said())
        except (RefusedError, UnavailableError) as error:
            raise _explained(error, former.name, folder, clock) from None
    connection, title, sequence = _connection_of(told, former.name)
    done = replace(
        former,
        address=address,
        key=key,
        code_hash=code_hash,
        pending={},
        connection=connection,
        title=title,
        sequence=sequence,
        proxy=proxy,
        ca_file=ca_file,
    )
    folder.keep(done)
    return done


def _said() -> dict[str, str]:
    """What is said of this computer; not which process it is, since it is the next one that will work."""
    return {name: value for name, value in myself().told().items() if name != "instance"}


def _key_for(former: Enrolment, address: str, code_hash: str) -> str:
    """The key that was made for this code; a new one if none was."""
    pending = former.pending
    if (pending.get("address"), pending.get("code_hash")) == (address, code_hash):
        return pending["key"]
    if former.key and (former.address, former.code_hash) == (address, code_hash):
        return former.key
    return random_secrets.token_hex(KEY_BYTES)


def _connection_of(told: Mapping[str, Any], name: str) -> tuple[Connection, str, int]:
    match told:
        case {
            "connection": {
                "tenant": str(tenant),
                "id": str(connection_id),
                "provider": str(provider),
                "title": str(title),
                "settings": dict(settings),
            }
        } if f"{tenant}.{connection_id}" == name:
            sequence = told.get("sequence", 0)
            account = told["connection"].get("account", "")
            connection = Connection(tenant, connection_id, provider, account=str(account), settings=settings)
            return connection, title, sequence if isinstance(sequence, int) else 0
    raise StrangeAnswerError("The bridge did not tell which connection this is.")


def _explained(error: RefusedError | UnavailableError, name: str, folder: Folder, clock: Clock) -> TieoutError:
    trouble = trouble_of(error, name=name, system=folder.system, now=clock.now())
    if isinstance(error, RefusedError):
        return RejectedError(trouble.message, next_step=trouble.next_step, code=trouble.code)
    return UnavailableError(trouble.message, next_step=trouble.next_step, detail=error.detail)


def settings_now(folder: Folder, enrolment: Enrolment) -> Mapping[str, Any]:
    """The connection's settings as the cloud told them last."""
    spool = folder.spool(enrolment.name)
    if spool.exists():
        with Spool(spool) as opened:
            told = opened.settings
        if told is not None:
            return told
    return enrolment.connection.settings if enrolment.connection is not None else {}


def tried(
    folder: Folder,
    clock: Clock,
    enrolment: Enrolment,
    *,
    provider: Callable[[str], Provider],
    secrets: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Account:
    """What the system beside us is, reached with these secrets and settings, which are stored: a person agreed to them.

    They are stored before they are tried: the system may be closed just now, and open when the first job comes.

    Raises:
        ProviderError, SettingsError: What the connector raises.
    """
    if enrolment.connection is None:
        raise SettingsError(f"This computer is not enrolled for {enrolment.name}.")
    agreed = replace(enrolment, secrets=dict(secrets), settings_agreed=dict(settings), account="")
    folder.keep(agreed)
    account = Beside(folder, enrolment.name, provider=provider, clock=clock).connector(settings).probe()
    # The connector may have stored new secrets meanwhile.
    latest = folder.enrolment(enrolment.name) or agreed
    folder.keep(replace(latest, account=account.name))
    return account
