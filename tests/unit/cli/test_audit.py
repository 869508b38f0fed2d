from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.engine.trail import MemoryArchive, MemoryTips, ToldLinks
from tests.engine.world import BOOKS, START, TENANT
from tieout.bootstrap import Settings
from tieout.cli.identity import caller_here
from tieout.domain.records import Kind
from tieout.engine.archive import ArchiveAudit

DEAL = "deals-to-invoices/invoices/d1"


class Office:
    """The terminal, over a trail that is fed by what the world's links tell."""

    def __init__(self, terminal):
        self.terminal, self.world = terminal, terminal.world
        self.archive, self.tips = MemoryArchive(now=self.world.clock.now), MemoryTips()
        self.links = ToldLinks(self.world.state.links, now=self.world.clock.now)
        self.world.state.links = self.links
        deployment = terminal.desk.deployment
        deployment.settings = Settings(stack="tieout", audit_bucket="trail-bucket")
        deployment.archive, deployment.tips = self.archive, self.tips
        self._fed = 0

    def feed(self):
        ArchiveAudit(self.archive, self.tips).archive(TENANT, self.links.told[self._fed :])
        self._fed = len(self.links.told)

    def type(self, *arguments):
        return self.terminal.type("audit", *arguments)

    def json(self, *arguments):
        return self.terminal.json("audit", *arguments)

    def tamper(self):
        first = max(self.archive.objects_of[TENANT])
        self.archive.replace(TENANT, first, lambda body: body.replace(b'"what":"', b'"what":"un', 1))
        return first


@pytest.fixture
def edited(terminal):
    made = Office(terminal)
    made.world.deal("d1")
    made.world.deal("d2", product="unknown")
    made.world.apply("d1", "d2")
    made.feed()
    made.world.clock.time += timedelta(days=1)
    made.world.deal("d1", "2000")
    made.world.apply("d1")
    made.feed()
    return made


def test_a_whole_trail(edited):
    told = edited.type("verify").out
    assert edited.terminal.exit_code == 0
    assert "The chain is whole." in told
    assert f"hash {edited.tips.tip(TENANT).hash}" in told
    assert f"Replaying it gives today's links: {len(edited.links)} links alike." in told
    data = edited.json("verify")
    assert data["clean"] is True
    assert data["damage"] is None
    assert data["entries"] == data["newest"]["entry"] == len(edited.links.told)
    assert data["links"] == {"alike": len(edited.links), "newer": 0, "older": 0, "differing": []}


def test_no_trail_yet(terminal):
    office = Office(terminal)
    assert "has no entries yet" in office.type("verify").out
    assert office.terminal.exit_code == 0
    assert office.json("verify")["newest"] is None


def test_a_damaged_trail_names_the_first_bad_entry(edited):
    first = edited.tamper()
    told = edited.type("verify").out
    assert edited.terminal.exit_code == 1
    assert f"  first bad entry  {first}\n" in told
    assert f"s3://trail-bucket/audit/{TENANT}/{first:012}.jsonl, line 1\n" in told
    assert "list-object-versions --bucket trail-bucket" in told
    damage = edited.json("verify")["damage"]
    assert damage == {
        "entry": first,
        "object": f"audit/{TENANT}/{first:012}.jsonl",
        "line": 1,
        "damage": "unreadable",
        "reason": "The line is not an entry.",
    }


def test_an_object_that_is_gone_is_named(edited):
    first = max(edited.archive.objects_of[TENANT])
    del edited.archive.objects_of[TENANT][first]
    assert f"s3://trail-bucket/audit/{TENANT}/{first:012}.jsonl is missing\n" in edited.type("verify").out
    assert edited.terminal.exit_code == 1


def test_a_link_that_is_not_what_the_trail_says(edited):
    name = next(name for name in edited.links if name.source_id == "d1" and name.step == "invoices")
    dict.__delitem__(edited.links, name)
    told = edited.type("verify").out
    assert edited.terminal.exit_code == 1
    assert "1 record not what the trail says:" in told
    assert f"    {DEAL}  It is in the trail, and not in the table.\n" in told
    assert edited.json("verify")["links"]["differing"] == [
        {"name": DEAL, "reason": "It is in the trail, and not in the table."}
    ]


def test_links_that_the_trail_does_not_tell_of_yet_or_never_did_are_counted(edited):
    name, link = next((name, link) for name, link in edited.links.items() if link.settled_at is not None)
    for source_id, settled_at in (("new", edited.world.clock.now()), ("old", START - timedelta(days=9))):
        other = replace(name, source_id=source_id)
        dict.__setitem__(edited.links, other, replace(link, key=other, settled_at=settled_at))
    told = edited.type("verify").out
    assert edited.terminal.exit_code == 0
    assert "  1 change newer than the trail" in told
    assert "  1 link not changed since the trail began." in told


def test_an_entry_that_stands_twice_is_told(edited):
    first, *_ = edited.links.told
    long_ago = MemoryArchive(objects_of=edited.archive.objects_of, now=lambda: START - timedelta(days=9))
    for number, (body, _) in edited.archive.objects_of[TENANT].items():
        edited.archive.objects_of[TENANT][number] = (body, long_ago.now())
    assert ArchiveAudit(edited.archive, edited.tips).archive(TENANT, [first]) == 1
    assert "  1 entry told twice, which changes nothing." in edited.type("verify").out
    assert edited.terminal.exit_code == 0


def test_of_many_records_that_differ_some_are_listed_and_all_are_in_the_json(edited):
    name, link = next((name, link) for name, link in edited.links.items() if link.settled_at is not None)
    for number in range(25):
        other = replace(name, source_id=f"x{number}")
        dict.__setitem__(edited.links, other, replace(link, key=other, settled_at=edited.world.clock.now()))
    edited.world.clock.time += timedelta(hours=1)
    told = edited.type("verify").out
    assert edited.terminal.exit_code == 1
    assert "    and 5 more (--json lists all)\n" in told
    assert len(edited.json("verify")["links"]["differing"]) == 25


def test_a_records_history_in_words(edited):
    told = edited.type("show", DEAL).out
    assert told.startswith(f"{DEAL}\n")
    day = f"{START + timedelta(days=1):%Y-%m-%d}"
    assert "  intent opened to create\n" in told
    assert f"{day}T09:00:00Z  intent opened to update\n" in told
    invoice = edited.world.invoices()[0].id
    assert f"  created as {invoice}\n" in told
    assert f"  updated {invoice}\n" in told
    assert "      lines: " in told
    assert "2000" in told.split("updated")[1]


def test_a_record_that_stood_there_already_is_told_as_linked(edited):
    world = edited.world
    world.company("c9", "Umbrella Ltd")
    world.books.put(Kind.CUSTOMER, "77", name="Umbrella Ltd")
    world.deal("d9", company="c9")
    world.apply("d9")
    edited.feed()
    told = edited.type("show", "c9").out
    assert "  intent opened to link: same name (score 0.996)\n" in told
    assert "  linked with 77, which stood there already: same name (score 0.996)\n" in told


def test_a_renewed_record_is_told_with_who_allowed_it(edited):
    world = edited.world
    (invoice,) = world.invoices()
    world.books.put(Kind.INVOICE, invoice.id, state="voided")
    world.apply(invoice.id, kind=Kind.INVOICE, connection=BOOKS)
    world.settle_down()
    edited.terminal.json("renew", DEAL, "--yes")
    world.apply("d1")
    edited.feed()
    told = edited.type("show", DEAL).out
    assert "  withdrawn target_gone\n" in told
    assert f"  renewed by {caller_here()}: a new document may be written in its place\n" in told
    assert told.count("  created as ") == 2
    edited.type("verify")
    assert edited.terminal.exit_code == 0


def test_a_parked_records_history_says_why(edited):
    told = edited.type("show", "d2").out
    assert told.startswith("deals-to-invoices/invoices/d2\n")
    assert "  parked: " in told


def test_a_history_as_json(edited):
    data = edited.json("show", "d1")
    assert [one["what"] for one in data["entries"]] == ["intent opened", "created", "intent opened", "updated"]
    assert "lines" in data["entries"][-1]["fields"]
    assert data["entries"][0]["name"] == DEAL


def test_a_record_that_the_trail_does_not_know(edited):
    edited.type("show", "nobody")
    assert edited.terminal.exit_code == 1
    assert "tells nothing of nobody" in edited.terminal.err


def test_a_history_before_the_damage_is_told(edited):
    edited.tamper()
    told = edited.type("show", "d1").out
    assert edited.terminal.exit_code == 1
    assert "created as" in told
    assert "updated" not in told
    assert "The audit trail is damaged" in told


def test_entries_are_exported_as_they_stand(edited):
    lines = edited.type("export").out.encode()
    stored = b"".join(body for body, _ in edited.archive.objects_of[TENANT].values())
    assert lines == stored


def test_a_file_is_written(edited, tmp_path):
    file = tmp_path / "trail.jsonl"
    edited.type("export", "--output", str(file))
    assert edited.terminal.out == ""
    assert f"{len(edited.links.told)} entries written to {file}." in edited.terminal.err
    assert len(file.read_text().splitlines()) == len(edited.links.told)
    assert edited.json("export", "-o", str(file)) == {
        "file": str(file),
        "exported": len(edited.links.told),
        "damage": None,
    }


def test_a_file_that_cannot_be_written(edited, tmp_path):
    edited.type("export", "--output", str(tmp_path / "no" / "such"))
    assert edited.terminal.exit_code == 2
    assert "cannot be written" in edited.terminal.err


@pytest.mark.parametrize(
    ("options", "whats"),
    [
        (["--record", DEAL], ["intent opened", "created", "intent opened", "updated"]),
        (["--record", "d1", "--since", "2026-11-23"], ["intent opened", "updated"]),
        (["--record", "d1", "--until", "2026-11-22"], ["intent opened", "created"]),
        (["--record", "d1", "--until", "2026-11-22T08:59:59Z"], []),
        (["--record", "d1", "--since", "2026-11-23", "--until", "9999-12-31"], ["intent opened", "updated"]),
        (["--record", "d1", "--since", "2026-11-23T09:00:00", "--until", "2026-11-23"], ["intent opened", "updated"]),
        (["--record", "d1", "--since", "2026-11-23T10:00:00+01:00"], ["intent opened", "updated"]),
    ],
)
def test_what_is_exported_can_be_chosen(edited, options, whats):
    assert [one["what"] for one in edited.json("export", *options)["entries"]] == whats


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_what_is_no_time_is_refused(edited, option):
    edited.type("export", option, "yesterday")
    assert edited.terminal.exit_code == 2
    assert f"{option} yesterday is neither a date nor a time." in edited.terminal.err


def test_an_unknown_form_is_refused(edited):
    edited.type("export", "--format", "xml")
    assert edited.terminal.exit_code == 2
    assert "jsonl, csv" in edited.terminal.err


def test_a_table(edited):
    rows = list(csv.DictReader(io.StringIO(edited.type("export", "--format", "csv", "--record", "d1").out)))
    assert [row["what"] for row in rows] == ["intent opened", "created", "intent opened", "updated"]
    assert rows[1]["target_id"] == edited.world.invoices()[0].id
    assert {"intent", "revision", "target_id"} <= set(rows[1]["changed"].split())
    assert json.loads(rows[1]["after"])["revision"] == 2
    assert json.loads(rows[1]["before"])["target_id"] is None
    assert rows[0]["before"] == ""


def test_a_table_does_not_go_into_a_json_document(edited, tmp_path):
    refused = edited.json("export", "--format", "csv")
    assert (refused["error"]["next_step"][:17], edited.terminal.exit_code) == ("Add --output FILE", 2)
    assert edited.json("export", "--format", "csv", "-o", str(tmp_path / "f"))["exported"] == len(edited.links.told)
    assert (tmp_path / "f").read_text().startswith("entry,at,")


def test_no_cell_of_a_table_is_a_formula(edited):
    name, link = next((name, link) for name, link in edited.links.items() if link.target_id is not None)
    edited.links[name] = replace(link, revision=link.revision + 1, target_id="=1+1")
    edited.feed()
    rows = list(csv.DictReader(io.StringIO(edited.type("export", "--format", "csv").out)))
    assert rows[-1]["target_id"] == "'=1+1"
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


def test_an_export_of_a_damaged_trail_says_so(edited, tmp_path):
    edited.tamper()
    edited.type("export", "-o", str(tmp_path / "f"))
    assert edited.terminal.exit_code == 1
    assert "first bad entry" in edited.terminal.err
    assert edited.json("export")["damage"]["line"] == 1
