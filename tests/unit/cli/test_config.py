"""`tieout config`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.engine.world import BOOKS, CRM, TENANT
from tieout import connectors
from tieout.cli.documents import check_sides, read_documents
from tieout.cli.talk import Code
from tieout.domain.connections import ConnectionState
from tieout.domain.records import Kind
from tieout.mapping import preset

SYNC = "deals-to-invoices"
CONNECTIONS = """\
kind: connection
id: act
provider: fake_crm
settings: {database: Demo}
---
kind: connection
id: quickbooks
provider: fake_books
poll: rate(5 minutes)
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "connections.yaml").write_text(CONNECTIONS)
    (tmp_path / "sync.yaml").write_text(preset("act-quickbooks_online"))
    return [str(tmp_path / "connections.yaml"), str(tmp_path / "sync.yaml")]


@pytest.fixture
def fresh(terminal):
    """A deployment that nothing was applied to yet."""
    terminal.world.state.connections_by_name.clear()
    terminal.world.state.stored_syncs.clear()
    terminal.secrets.stored.clear()
    return terminal


def test_apply_stores_connections_schedules_and_syncs(fresh, files):
    applied = fresh.json("config", "apply", *files)["applied"]
    assert [(one["kind"], one["name"], one["end"]) for one in applied] == [
        ("connection", "act", "created"),
        ("connection", "quickbooks", "created"),
        ("sync", SYNC, "created"),
    ]
    assert applied[0]["webhook"] == "https://api.example/webhooks/acme.act"
    assert applied[2]["version"] == 1
    assert fresh.world.state.connection(TENANT, "act").settings == {"database": "Demo"}
    assert fresh.schedules.kept["acme.quickbooks"][0] == "rate(5 minutes)"
    assert fresh.schedules.kept["acme.act"][0] == "rate(1 hour)"


def test_a_new_connection_is_paused_and_not_polled_until_somebody_signs_in(fresh, files):
    fresh.type("config", "apply", *files)
    connection = fresh.world.state.connection(TENANT, "act")
    assert connection.state is ConnectionState.PAUSED
    assert fresh.schedules.kept["acme.act"] == ("rate(1 hour)", False)
    assert "next: tieout connect act --tenant acme" in fresh.out


def test_the_webhook_address_is_printed(fresh, files):
    fresh.type("config", "apply", *files)
    assert "https://api.example/webhooks/acme.quickbooks" in fresh.out


def test_unchanged_documents_make_no_new_version(fresh, files):
    fresh.type("config", "apply", *files)
    stored = dict(fresh.world.state.stored_syncs)
    applied = fresh.json("config", "apply", *files)["applied"]
    assert [one["end"] for one in applied] == ["unchanged"] * 3
    assert fresh.world.state.stored_syncs == stored


def test_a_changed_sync_gets_the_next_version(fresh, files, tmp_path):
    fresh.type("config", "apply", *files)
    (tmp_path / "sync.yaml").write_text(preset("act-quickbooks_online").replace("days: 30", "days: 14"))
    applied = fresh.json("config", "apply", files[1])["applied"]
    assert [(one["end"], one["version"]) for one in applied] == [("changed", 2)]
    assert "days: 14" in fresh.world.state.stored_syncs[TENANT, SYNC].text


def test_applying_again_keeps_account_and_state(terminal, files):
    before = terminal.world.state.connection(TENANT, CRM)
    terminal.type("config", "apply", *files)
    after = terminal.world.state.connection(TENANT, CRM)
    assert (after.account, after.state) == (before.account, ConnectionState.ACTIVE)
    assert terminal.schedules.kept["acme.act"] == ("rate(1 hour)", True)


def test_one_problem_anywhere_and_nothing_is_changed(fresh, files, tmp_path):
    broken = preset("act-quickbooks_online").replace("from: deal", "from: dela").replace("link: items", "link: itms")
    (tmp_path / "sync.yaml").write_text(broken)
    fresh.type("config", "apply", *files)
    assert fresh.exit_code == Code.USAGE
    assert not fresh.world.state.connections_by_name
    assert not fresh.world.state.stored_syncs
    assert not fresh.schedules.kept
    line = broken.splitlines().index("    from: dela") + 1
    assert f"{files[1]}:{line}: steps.invoices.from:" in fresh.err
    assert "`deal`" in fresh.err


def test_the_running_version_stays_when_a_document_is_refused(terminal, tmp_path):
    running = terminal.world.state.stored_syncs[TENANT, SYNC]
    file = tmp_path / "sync.yaml"
    file.write_text(preset("act-quickbooks_online").replace("to: invoice", "to: invoices"))
    terminal.type("config", "apply", str(file))
    assert terminal.exit_code == Code.USAGE
    assert terminal.world.state.stored_syncs[TENANT, SYNC] is running


def test_settings_are_checked_against_the_providers_model(fresh, files, tmp_path):
    (tmp_path / "connections.yaml").write_text(CONNECTIONS.replace("database: Demo", "databse: Demo"))
    problem = fresh.json("config", "apply", *files)["error"]["problems"][0]
    assert (problem["line"], problem["path"]) == (4, "settings.databse")
    assert problem["suggestion"] == "Did you mean `database`?"


def test_an_unknown_provider_is_named_with_its_line(fresh, files, tmp_path):
    (tmp_path / "connections.yaml").write_text(CONNECTIONS.replace("fake_books", "quickboks"))
    fresh.type("config", "apply", *files)
    assert f"{files[0]}:8: provider: There is no provider `quickboks`." in fresh.err


def test_a_sync_needs_its_connections(fresh, files):
    fresh.type("config", "apply", files[1])
    assert fresh.exit_code == Code.USAGE
    assert "There is no connection `act`." in fresh.err
    assert "There is no connection `quickbooks`." in fresh.err


def test_a_connection_keeps_its_provider(terminal, tmp_path):
    file = tmp_path / "connections.yaml"
    file.write_text("kind: connection\nid: act\nprovider: fake_books\n")
    terminal.type("config", "apply", str(file))
    assert terminal.exit_code == Code.USAGE
    assert "`act` is a connection to fake_crm already." in terminal.err
    assert terminal.world.state.connection(TENANT, "act").provider == "fake_crm"


def test_two_documents_of_one_name_are_refused(fresh, files, tmp_path):
    (tmp_path / "more.yaml").write_text(CONNECTIONS)
    fresh.type("config", "apply", *files, str(tmp_path / "more.yaml"))
    assert fresh.exit_code == Code.USAGE
    assert f"The connection act stands in {files[0]} already." in fresh.err


def test_a_missing_file_is_said_plainly(fresh):
    fresh.type("config", "apply", "nowhere.yaml")
    assert fresh.exit_code == Code.USAGE
    assert "nowhere.yaml cannot be read" in fresh.err


def test_check_needs_no_deployment(monkeypatch, terminal, tmp_path):
    monkeypatch.setattr("tieout.cli.desk.open_desk", None)
    file = tmp_path / "sync.yaml"
    file.write_text(preset("act-quickbooks_online"))
    assert terminal.json("config", "check", str(file))["documents"] == [f"sync {SYNC}"]
    assert terminal.exit_code == Code.OK


def test_check_knows_what_a_provider_cannot_do(terminal, tmp_path):
    names = {one.manifest.provider for one in connectors.PROVIDERS}
    assert "quickbooks_online" in names
    file = tmp_path / "all.yaml"
    file.write_text("kind: connection\nid: act\nprovider: quickbooks_online\n---\n" + preset("act-quickbooks_online"))
    problems = terminal.json("config", "check", str(file))["error"]["problems"]
    assert "steps.customers.from" in {problem["path"] for problem in problems}
    assert "Tieout cannot read `company` with QuickBooks Online." in {problem["message"] for problem in problems}


def test_a_two_way_step_needs_a_source_that_is_written_and_a_target_that_is_read(terminal, tmp_path):
    file = tmp_path / "sync.yaml"
    text = preset("act-quickbooks_online")
    file.write_text(text.replace("    # two_way: ask ", "    two_way: ask "), "utf-8")
    written = read_documents([file], terminal.desk.deployment.provider)
    crm, books = terminal.world.crm.manifest, terminal.world.books.manifest
    assert check_sides(written, {CRM: crm, BOOKS: books}, complete=True) == []
    sides = {
        CRM: replace(crm, writes=crm.writes - {Kind.COMPANY}),
        BOOKS: replace(books, reads=books.reads - {Kind.CUSTOMER}),
    }
    problems = check_sides(written, sides, complete=True)
    assert [(each.path, each.message) for each in problems] == [
        ("steps.customers.two_way", "Tieout cannot write `company` with the CRM."),
        ("steps.customers.two_way", "Tieout cannot read `customer` with the books."),
    ]
    file.write_text(text, "utf-8")
    written = read_documents([file], terminal.desk.deployment.provider)
    assert check_sides(written, sides, complete=True) == []
