from __future__ import annotations

import re

from tieout.connectors.quickbooks_desktop import CONNECTOR
from tieout.connectors.quickbooks_desktop.qwc import OWNER_ID, qwc_file
from tieout.domain.connections import Connection
from tieout.ports.connector import OwnProgram
from tieout.transport.xml import parse_xml

GIVEN = {
    "address": "https://api.example.com/prod/bridge/acme.books?x=1&y=2",
    "user": "acme.books",
    "tenant": "acme",
    "connection": "books",
    "title": "Tieout <acme> & books",
    "minutes_between_runs": 5,
}


def test_the_file_says_where_who_and_how_often():
    root = parse_xml(qwc_file(**GIVEN))
    told = {each.tag: each.text for each in root}

    assert root.tag == "QBWCXML"
    assert told["AppName"] == GIVEN["title"]
    assert told["AppURL"] == GIVEN["address"]
    assert told["AppSupport"] == "https://api.example.com/"
    assert told["UserName"] == "acme.books"
    assert told["OwnerID"] == OWNER_ID
    assert (told["QBType"], told["IsReadOnly"]) == ("QBFS", "false")
    assert root.findtext("Scheduler/RunEveryNMinutes") == "5"


def test_ids_have_the_form_of_windows_and_one_connection_has_one():
    first, again, other = (
        parse_xml(qwc_file(**{**GIVEN, "connection": connection})) for connection in ("books", "books", "books2")
    )

    for name in ("OwnerID", "FileID"):
        assert re.fullmatch(r"\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}", first.findtext(name) or "")
    assert first.findtext("FileID") == again.findtext("FileID") != other.findtext("FileID")
    assert first.findtext("OwnerID") == other.findtext("OwnerID")


def test_the_provider_gives_it_by_the_settings_of_the_connection():
    assert isinstance(CONNECTOR, OwnProgram)
    connection = Connection("acme", "books", "quickbooks_desktop", settings={"minutes_between_runs": 30})

    file = CONNECTOR.setup_file(connection, address=GIVEN["address"], user="acme.books")

    assert file.name == "books.qwc"
    root = parse_xml(file.text)
    assert root.findtext("Scheduler/RunEveryNMinutes") == "30"
    assert root.findtext("AppName") == "Tieout acme books"
