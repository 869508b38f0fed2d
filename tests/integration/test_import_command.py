"""`tieout import` and `tieout export`, as a person types them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.aws import EXCHANGE
from tests.engine.world import CRM, START, TENANT
from tests.integration.conftest import Stack
from tests.integration.office import INBOX, OFFICE, export, open_office, people
from tieout.cli import desk as desk_module
from tieout.cli.desk import Desk
from tieout.cli.main import app
from tieout.domain.changes import Change, Origin
from tieout.domain.connections import Connection
from tieout.domain.errors import UnavailableError
from tieout.domain.files import ImportState
from tieout.domain.records import Kind
from tieout.engine.import_rows import ImportRows


class Terminal:
    """Where commands are typed."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.folder, self.office = folder, open_office(stack)
        self.desk = Desk(stack.deployment, TENANT, None, who=lambda: "ada")  # type: ignore[arg-type]  # it polls nothing

    def type(self, *arguments: str, given: str = "", ends: int = 0) -> Result:
        result = CliRunner().invoke(app, [*arguments, "--tenant", TENANT], input=given)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == ends, f"{result.stdout}\n{result.stderr}"
        return result

    def take(self, file: Path | str, *options: str, given: str = "", ends: int = 0) -> Result:
        return self.type("import", str(file), "--connection", "office", *options, given=given, ends=ends)

    def json(self, *arguments: str, ends: int = 0) -> Any:
        return json.loads(self.type(*arguments, "--json", ends=ends).stdout)

    def file(self, content: bytes, name: str = "contacts.csv") -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


@pytest.fixture
def terminal(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    made = Terminal(stack, tmp_path)
    monkeypatch.setattr(desk_module, "open_desk", lambda *_: made.desk)
    return made


def test_what_is_seen_is_shown_and_nothing_is_written_before_a_yes(terminal):
    file = terminal.file(export(people(4)))
    shown = terminal.take(file, given="n\n", ends=1)
    for told in ("CSV, 4 rows", "utf-8", "E-mail Address", "contact.email", "ada0@acme.example", "4 new"):
        assert told in shown.stderr, told
    assert "Nothing was imported" in shown.stderr
    assert terminal.office.ids() == set()
    assert terminal.office.stack.deployment.file_rows.layout(TENANT, "office", "x") is None
    done = terminal.take(file, given="y\n")
    assert "4 new" in done.stdout
    assert "outbox/acme.office/contacts-" in done.stdout
    assert len(terminal.office.ids()) == len(terminal.office.queued()) == 4


def test_what_was_decided_holds_for_the_next_file_and_for_dropped_ones(terminal):
    titles = ("Foo", "Bar")
    first = terminal.file(export([("Acme", "7")], titles), "one.csv")
    terminal.take(
        first, "--as", "company", "--map", "Foo=name", "--map", "Bar=custom_fields.number", "--key", "Bar", "-y"
    )
    assert terminal.office.ids() == {"7"}
    told = terminal.json(
        "import", str(terminal.file(export([("Globex", "8")], titles))), "--connection", "office", "--look"
    )
    assert told["decided"]
    assert (told["kind"], told["key"]) == ("company", ["Bar"])
    assert told["would_be"]["new"] == 1
    terminal.office.drop(export([("Globex", "8")], titles))
    terminal.office.work()
    assert terminal.office.ids() == {"7", "8"}
    assert terminal.office.alerts() == []


def test_a_file_that_waits_in_the_bucket_is_answered_with_the_command_of_the_e_mail(terminal):
    terminal.office.drop(export([("Acme", "7")], ("Foo", "Bar")))
    terminal.office.work()
    (alert,) = terminal.office.alerts()
    assert alert.command.startswith(f'tieout import "{INBOX}"')
    terminal.take(INBOX, "--as", "company", "--map", "Foo=name", "--yes")
    assert terminal.office.ids() == {"acme"}
    assert terminal.office.last().state is ImportState.DONE


def test_the_same_file_again_says_so(terminal):
    file = terminal.file(export(people(2)))
    terminal.take(file, "--yes")
    assert "nothing was done" in terminal.take(file, "--yes").stdout


def test_refused_rows_end_with_status_1_and_the_results_are_written_here_too(terminal):
    file = terminal.file(export([*people(1), ("", "", "", "", "1", "")]))
    out = terminal.folder / "results.csv"
    done = terminal.take(file, "--yes", "--out", str(out), ends=1)
    assert "1 refused" in done.stdout
    lines = list(csv.DictReader(io.StringIO(out.read_text("utf-8-sig"))))
    assert [line["state"] for line in lines if line["row"]] == ["new", "refused"]


def test_dates_that_can_be_read_in_two_ways_are_asked_for_even_with_yes(terminal):
    titles = ("Deal", "Deal ID", "Amount", "Close Date", "Status")
    file = terminal.file(export([("GTX", "D1", "5.00", "03/04/2026", "Won")], titles))
    refused = terminal.take(file, "--as", "deal", "--yes", ends=2)
    assert "--dates dmy|mdy|ymd" in refused.stderr
    assert terminal.office.ids(Kind.DEAL) == set()
    terminal.take(file, "--as", "deal", "--dates", "dmy", "--yes")
    (deal,) = terminal.office.stack.deployment.connect(OFFICE).read(Kind.DEAL, ["d1"])
    assert (str(deal.fields["closed_on"]), deal.fields["status"]) == ("2026-04-03", "won")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--map", "Nope=name"], "TITLE=FIELD"),
        (["--map", "Company"], "TITLE=FIELD"),
        (["--map", "Company=nowhere.at.all"], "no field"),
        (["--map", "Company=[["], "no path"),
        (["--key", "Nope"], "no column"),
        (["--decimal", ";"], "--decimal"),
    ],
)
def test_what_cannot_be_meant_is_refused(terminal, options, said):
    refused = terminal.take(terminal.file(export(people(1))), *options, "--yes", ends=2)
    assert said in refused.stderr
    assert terminal.office.ids() == set()


def test_what_is_not_there_is_refused(terminal):
    assert "no file" in terminal.take(terminal.folder / "none.csv", ends=2).stderr
    assert "in the bucket" in terminal.take(INBOX, ends=1).stderr
    terminal.office.drop(export(people(1)), "inbox/globex.office/theirs.csv")
    assert "in the bucket" in terminal.take("inbox/globex.office/theirs.csv", ends=1).stderr
    file = str(terminal.file(export(people(1))))
    assert "not fed by files" in terminal.type("import", file, "--connection", "act", "--yes", ends=5).stderr


def test_nobody_can_be_asked_with_json(terminal):
    file = str(terminal.file(export(people(1))))
    told = terminal.json("import", file, "--connection", "office", ends=2)
    assert told["error"]["next_step"] == "Add --yes."
    done = terminal.json("import", file, "--connection", "office", "--yes")
    assert (done["counts"], done["queued"]) == ({"new": 1}, True)


def test_an_import_that_was_stopped_goes_on(terminal, monkeypatch):
    file = terminal.file(export(people(1200)))
    store = ImportRows._store
    calls = iter(range(10))

    def dies(self: Any, *arguments: Any) -> None:
        if next(calls) == 1:
            raise UnavailableError("The table does not answer.")
        store(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ImportRows, "_store", dies)
        terminal.take(file, "--yes", ends=4)
    assert "1,200 new" in terminal.take(file, "--yes").stdout
    assert len(terminal.office.ids()) == 1200


def test_held_rows_are_planned_first(terminal):
    done = terminal.take(terminal.file(export(people(2))), "--hold", "--yes")
    assert "tieout plan" in done.stdout
    assert terminal.office.queued() == []


# Export


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"))))


def test_records_are_written_with_what_they_are_known_by_and_come_back_unchanged(terminal):
    content = export([*people(3), ("=1+1", "@Eve", "Doe", "eve@acme.example", "+49 30 1", "")])
    terminal.take(terminal.file(content), "--yes")
    terminal.office.queued()
    out = terminal.folder / "out.csv"
    told = terminal.json("export", "companies", "--connection", "office", "--out", str(out))
    assert told["rows"] == 4
    rows = {row["id"]: row for row in rows_of(out)}
    eve = rows["eve@acme.example"]
    assert (eve["name"], eve["contact.name"], eve["phone"]) == ("'=1+1", "'@Eve Doe", "'+49 30 1")
    raw = terminal.folder / "raw.csv"
    terminal.type("export", "companies", "--connection", "office", "--out", str(raw), "--for-machines")
    assert {row["id"]: row for row in rows_of(raw)}["eve@acme.example"]["name"] == "=1+1"
    assert terminal.type("export", "companies", "--connection", "office").stdout.count("\n") == 5


def test_what_the_books_have_can_be_written_too(terminal):
    terminal.office.stack.world.books.put(
        Kind.INVOICE, "i1", number="S1", lines=[{"name": "GTX", "amount": 5}], total=5
    )
    out = terminal.folder / "invoices.csv"
    terminal.type("export", "invoices", "--connection", "quickbooks", "--out", str(out))
    (row,) = rows_of(out)
    assert (row["id"], row["number"], json.loads(row["lines"])) == ("i1", "S1", [{"name": "GTX", "amount": 5}])


def test_what_is_parked_can_be_written(terminal):
    stack = terminal.office.stack
    stack.world.deal("d1", company="nobody")
    stack.deployment.apply_changes().apply([Change(TENANT, CRM, Kind.DEAL, "d1", START, Origin.POLL)])
    out = terminal.folder / "parked.csv"
    terminal.type("export", "parked", "--out", str(out))
    assert [row["id"] for row in rows_of(out)] == ["d1"]
    assert rows_of(out)[0]["reason"]


@pytest.mark.parametrize(
    ("arguments", "ends", "said"),
    [
        (["payments", "--connection", "office"], 2, "has no payments"),
        (["companies", "--connection", "nobody"], 5, "no connection"),
    ],
)
def test_what_a_connection_does_not_have_cannot_be_written(terminal, arguments, ends, said):
    assert said in terminal.type("export", *arguments, ends=ends).stderr


def test_no_file_is_overwritten(terminal):
    out = terminal.file(b"mine", "out.csv")
    assert "there already" in terminal.type("export", "parked", "--out", str(out), ends=2).stderr
    assert out.read_bytes() == b"mine"


def test_another_tenants_connection_is_not_there(terminal):
    terminal.office.stack.deployment.config.put_connection(Connection("globex", "theirs", "files"))
    file = str(terminal.file(export(people(1))))
    terminal.type("import", file, "--connection", "theirs", "--yes", ends=5)
    assert terminal.office.stack.clients.s3.list_objects_v2(Bucket=EXCHANGE).get("Contents", []) == []
