"""The file that tells the Web Connector of a connection: a person opens it on the computer with QuickBooks."""

from __future__ import annotations

import uuid
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

# One of the application, for all connections: QuickBooks keeps what an application may do under it.
OWNER_ID = "{7c9f3f0e-3a0b-4f0a-9d52-6d0f4be1c6a7}"
_FILES = uuid.UUID("3e5a1c1c-9d2f-4c0e-8b63-5f6f3f1f8d2a")


def qwc_file(*, address: str, user: str, tenant: str, connection: str, title: str, minutes_between_runs: int) -> str:
    """The text of the file, which is best saved as `<connection>.qwc`.

    `address` is the service that the Web Connector asks: https, or this machine. The page of support, on the same host
    as it has to be, is the address of the host alone. `user` is the connection's user name; a person types its password
    in. `title` is what the Web Connector calls the connection: of several, each needs another one.

    The company file is known by an id that is the connection's own: it is stored in the file at the first run, and a
    connection that is made anew under another name is another one.
    Source: QuickBooks Web Connector Programmer's Guide 2.0, "QWC file", read 2026-11-22.
    """
    parts = urlsplit(address)
    file_id = uuid.uuid5(_FILES, f"{tenant}.{connection}")
    elements = (
        ("AppName", title),
        ("AppID", ""),
        ("AppURL", address),
        ("AppDescription", "Keeps a CRM and these books in agreement."),
        ("AppSupport", f"{parts.scheme}://{parts.netloc}/"),
        ("UserName", user),
        ("OwnerID", OWNER_ID),
        ("FileID", f"{{{file_id}}}"),
        ("QBType", "QBFS"),
        ("PersonalDataPref", "pdpNotNeeded"),
        ("UnattendedModePref", "umpOptional"),
        ("AuthFlags", "0xF"),
    )
    inner = "".join(f"  <{name}>{escape(text)}</{name}>\n" for name, text in elements)
    schedule = f"  <Scheduler>\n    <RunEveryNMinutes>{minutes_between_runs}</RunEveryNMinutes>\n  </Scheduler>\n"
    return f'<?xml version="1.0"?>\n<QBWCXML>\n{inner}{schedule}  <IsReadOnly>false</IsReadOnly>\n</QBWCXML>\n'
