"""`tieout mapping`."""

from __future__ import annotations

import pytest

from tieout.cli.talk import Code
from tieout.mapping import preset, presets

SYNC = "deals-to-invoices"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "sync.yaml"
    path.write_text(preset("act-quickbooks_online"))
    return str(path)


def test_check_names_the_steps_in_their_order(terminal, file):
    assert terminal.json("mapping", "check", file)["syncs"] == [
        {"name": SYNC, "steps": ["customers", "items", "invoices", "payments"]}
    ]


def test_check_of_a_bad_file_names_line_and_path(terminal, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(preset("act-quickbooks_online").replace("link: items", "link: itms"))
    terminal.type("mapping", "check", str(path))
    assert terminal.exit_code == Code.USAGE
    assert f"{path}:" in terminal.err
    assert "`items`" in terminal.err


def test_show_of_a_file_and_of_the_running_sync_agree(terminal, file):
    assert terminal.json("mapping", "show", file) == terminal.json("mapping", "show", SYNC)
    terminal.type("mapping", "show", SYNC)
    assert "invoices: deal to invoice, if status equals won" in terminal.out
    assert "payments: invoice to deal, if paid greater than 0 or state equals voided" in terminal.out


def test_show_has_every_field(terminal):
    steps = terminal.json("mapping", "show", SYNC)["syncs"][0]["steps"]
    rows = {row["field"].strip(): row for row in steps["invoices"]}
    assert rows["customer"] == {
        "field": "customer",
        "from": "companies[0].id",
        "then": "the customers with this id",
        "otherwise": "parks",
    }
    assert rows["lines[].quantity"]["otherwise"] == "1"
    assert rows["currency"]["from"] == 'always "USD"'


def test_explain_shows_each_values_way(terminal):
    terminal.world.deal("d1", "1054")
    terminal.type("mapping", "explain", SYNC, "d1")
    assert terminal.exit_code == Code.OK
    assert "invoices: deal d1, GTX Pro for Acme" in terminal.out
    answer = terminal.json("mapping", "explain", SYNC, "d1")
    (invoice,) = answer["steps"]
    fields = {field["rule"]: field for field in invoice["fields"]}
    assert fields["steps.invoices.fields.number"]["result"] == "Sd1"
    assert fields["steps.invoices.fields.status"]["steps"] == [{"name": "lookup", "value": "issued"}]
    assert fields["steps.invoices.fields.customer"]["result"] == {"step": "customers", "by": "id", "value": "c1"}


def test_explain_of_a_value_that_cannot_be_mapped(terminal):
    terminal.world.deal("d1", "1054")
    terminal.world.crm.put(terminal.world.crm.all("deal")[0].kind, "d1", closed_on=None)
    terminal.type("mapping", "explain", SYNC, "d1")
    assert terminal.exit_code == Code.NO
    assert "PARKS" in terminal.out
    assert "Enter the close date in the deal." in terminal.out


def test_explain_of_a_record_that_nobody_reads(terminal):
    terminal.type("mapping", "explain", SYNC, "d9")
    assert terminal.exit_code == Code.NO
    assert "No step reads a record d9." in terminal.err


def test_explain_of_one_step_by_a_file(terminal, file):
    terminal.world.company("x", "Twin")
    terminal.world.deal("x")
    answer = terminal.json("mapping", "explain", file, "x", "--step", "customers")
    assert [(step["step"], step["label"]) for step in answer["steps"]] == [("customers", "Twin")]


def test_a_printed_preset_can_be_checked(terminal, tmp_path):
    assert terminal.json("mapping", "preset")["presets"] == presets()
    terminal.type("mapping", "preset", "act-quickbooks_online")
    path = tmp_path / "printed.yaml"
    path.write_text(terminal.out)
    terminal.type("mapping", "check", str(path))
    assert terminal.exit_code == Code.OK


def test_an_unknown_preset_suggests_one(terminal):
    terminal.type("mapping", "preset", "act-quickbooks")
    assert terminal.exit_code == Code.SETUP
    assert "act-quickbooks_online" in terminal.err


def test_show_says_what_goes_both_ways(terminal, tmp_path):
    text = preset("act-quickbooks_online").replace("    # two_way: ask ", "    two_way: newest ")
    file = tmp_path / "sync.yaml"
    file.write_text(
        text.replace("email: {path: contact.email,", "email: {path: contact.email, owner: target,"), "utf-8"
    )
    told = terminal.type("mapping", "show", str(file)).out
    assert "customers: company to customer, and back; if both changed a field, the newest counts" in told
    assert "email, owner: target" in told
    file.write_text(text.replace("two_way: newest", "two_way: ask"), "utf-8")
    assert "if both changed a field, a person decides" in terminal.type("mapping", "show", str(file)).out
