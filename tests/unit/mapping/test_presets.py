"""Presets: every pair of a CRM and books has one, which asks of both only what they can do."""

from __future__ import annotations

import itertools
import re
from importlib import resources
from pathlib import Path

import pytest

from tieout.cli.documents import read_documents
from tieout.connectors import PROVIDERS, provider
from tieout.domain.records import Kind
from tieout.mapping import compile_sync, preset, presets
from tieout.mapping.parse import parse
from tieout.ports.connector import Manifest, Role

FOLDER = resources.files("tieout.mapping.presets")
PARTS = {
    file.name.removesuffix(".yaml"): parse(file.read_text("utf-8"))[0].data
    for file in FOLDER.iterdir()
    if file.name.endswith(".yaml")
}
STANDARD = PARTS.pop("standard")
MANIFESTS = {one.manifest.provider: one.manifest for one in PROVIDERS}
PAIRS = [
    (crm, books)
    for crm, books in itertools.product(MANIFESTS.values(), repeat=2)
    if crm is not books and Role.CRM in crm.roles and Role.BOOKS in books.roles
]
pair = pytest.mark.parametrize(
    ("crm", "books"), [pytest.param(*each, id=f"{each[0].provider}-{each[1].provider}") for each in PAIRS]
)


@pair
def test_a_pair_has_a_preset_that_asks_only_what_both_can_do(crm: Manifest, books: Manifest, tmp_path: Path):
    text = preset(f"{crm.provider}-{books.provider}")
    sync = compile_sync(text)
    connections = [_connection(id_, its) for id_, its in ((sync.source, crm), (sync.target, books))]
    file = tmp_path / "sync.yaml"
    file.write_text("---\n".join([text, *connections]))

    read_documents([file], provider)  # what `config check` does: refuses kinds that cannot be read or written

    for step in sync.document.steps.values():
        reads, writes = (crm, books) if step.reads == "source" else (books, crm)
        assert set(step.also_on) <= reads.reads
        if step.writes_back is not None:
            assert [path for path in step.fields if not writes.takes(step.to, path)] == []
    comes_back = any(step.to is Kind.DEAL for step in sync.document.steps.values())
    assert comes_back == (Kind.DEAL in crm.writes)


def _connection(name: str, manifest: Manifest) -> str:
    """A connection document, with the settings that have to be there."""
    values = {"base_url": "https://server.example", "database": "one"}
    needed = [each for each, field in manifest.settings.model_fields.items() if field.is_required()]
    settings = ", ".join(f"{each}: {values[each]}" for each in needed)
    return f"kind: connection\nid: {name}\nprovider: {manifest.provider}\nsettings: {{{settings}}}\n"


@pytest.mark.parametrize("name", presets())
def test_a_preset_is_whole_and_tidy(name: str):
    lines = preset(name).splitlines()
    assert [line for line in lines if "$" in line or line != line.rstrip()] == []
    assert not any(not one and not two for one, two in itertools.pairwise(lines))
    assert lines[-1]


def test_each_provider_has_a_part_for_each_of_its_roles():
    for name, manifest in MANIFESTS.items():
        assert {role.value for role in manifest.roles} == PARTS[name].keys() & {role.value for role in Role}
        assert PARTS[name]["title"] == manifest.title


def test_parts_have_pieces_that_the_standard_knows():
    """A misspelled piece would leave the standard's one in its place."""
    for part in PARTS.values():
        assert part.keys() <= {"title", "short", "id", *(role.value for role in Role)}
        for role in Role:
            assert part.get(role.value, {}).keys() <= STANDARD.keys()


def test_every_piece_of_the_standard_is_used():
    named = {name for text in STANDARD.values() for name in re.findall(r"\$([a-z_]+)", text)}
    given = {"crm", "crm_title", "books", "books_title", "source", "target"}
    assert named - given == STANDARD.keys() - {"document"}


def test_a_piece_of_the_crm_counts_before_that_of_the_books():
    assert "parent_id" in preset("act-quickbooks_online")
    assert "parent_id" not in preset("outlook-quickbooks_online")
