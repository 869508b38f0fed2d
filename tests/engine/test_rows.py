"""What is kept of a row, what it is known by, and why it is refused."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest

from tieout.domain.records import Kind
from tieout.engine.rows import KEY_CHARACTERS_MAX, Read, read_row
from tieout.files import Choices, open_file, suggest

PEOPLE = "Company,First Name,Last Name,E-mail Address,Account"
DEALS = "Opportunity ID,Opportunity Name,Account Name,Amount,Close Date,Birthday"


def reads(text: str, kind: Kind, key: tuple[str, ...] | None = None) -> list[Read]:
    source = open_file(io.BytesIO(text.encode()), name="x.csv", choices=Choices(date_order="dmy"))
    columns = suggest(source, kind)
    if key is not None:
        columns = columns.model_copy(update={"key": key})
    return [read_row(row, columns, source.findings) for row in source.rows()]


@pytest.mark.parametrize(
    ("row", "key", "known_by"),
    [
        ("Acme,Ada,Miller,Ada@Acme.example,", None, "ada@acme.example"),
        ("Acme,Ada,Miller,,", None, "acme / ada miller"),
        (",Ada,Miller,,", None, "ada miller"),
        ("Acme,,,,", None, "acme"),
        ("Acme,Ada,Miller,ada@acme.example,A2(9#)8Kic", ("Account",), "A2(9#)8Kic"),  # GoldMine's differ by case
        ("Acme,Ada,Miller,ada@acme.example,", ("Account",), "ada@acme.example"),
        ("Acme,Ada,Miller,ada@acme.example, 7\t 8 ", ("Account",), "7 8"),
        ("Acme,Ada,Miller,ada@acme.example,7", ("Company", "Account"), "Acme / 7"),
    ],
)
def test_a_row_of_people_is_known_by_the_chosen_columns_else_by_mail_else_by_names(row, key, known_by):
    (read,) = reads(f"{PEOPLE}\n{row}\n", Kind.COMPANY, key)
    assert (read.id, read.refused) == (known_by, "")


def test_the_number_of_a_row_is_not_part_of_its_key_nor_of_its_digest():
    one, other = reads(f"{PEOPLE}\nAcme,Ada,Miller,a@b.example,\nAcme,Ada,Miller,a@b.example,\n", Kind.COMPANY)
    assert (one.id, one.digest) == (other.id, other.digest)
    assert (one.number, other.number) == (2, 3)


def test_a_company_without_a_name_has_that_of_its_contact():
    (read,) = reads(f"{PEOPLE}\n,Ada,Miller,a@b.example,\n", Kind.COMPANY)
    assert read.fields["name"] == "Ada Miller"


def test_a_long_key_is_cut_and_two_that_begin_alike_stay_apart():
    long = "x" * 500
    one, other = reads(f"{PEOPLE}\n{long}1,,,,\n{long}2,,,,\n", Kind.COMPANY)
    assert len(one.id) == len(other.id) == KEY_CHARACTERS_MAX
    assert one.id != other.id


def test_a_row_that_nothing_is_known_of_is_refused():
    (read,) = reads(f"{PEOPLE}\n,,,,7\n", Kind.COMPANY, ())
    assert read.refused
    assert read.id == ""


@pytest.mark.parametrize("row", ["D1,GTX,Acme,five,05/01/2026,", "D1,GTX,Acme,5.00,31/02/2026,"])
def test_a_deal_whose_amount_or_day_cannot_be_read_is_refused(row):
    good, bad = reads(f"{DEALS}\nD0,GTX,Acme,5.00,05/01/2026,\n{row}\n", Kind.DEAL)
    assert (good.refused, good.fields["amount"]) == ("", Decimal("5.00"))
    assert bad.refused
    assert bad.notes[0].title in {"Amount", "Close Date"}


def test_of_people_only_the_cell_that_cannot_be_read_is_left_out():
    (read,) = reads(f"{PEOPLE}\nAcme,Ada,Miller,nobody,\n", Kind.COMPANY)
    assert read.refused == ""
    assert [note.title for note in read.notes] == ["E-mail Address"]
    assert "email" not in read.fields["contact"]


def test_a_row_that_is_too_large_is_refused():
    titles = ",".join(f"Extra {number}" for number in range(20))
    cells = ",".join("x" * 8_000 for _ in range(20))
    (read,) = reads(f"Company,{titles}\nAcme,{cells}\n", Kind.COMPANY)
    assert "100,000 are kept" in read.refused
