from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.files.opened import imported, opened, values
from tieout.files import FileError, Format, Limits

CARD = "BEGIN:VCARD\r\nVERSION:{}\r\n{}\r\nEND:VCARD\r\n"


def card(*lines: str, version: str = "3.0") -> str:
    return CARD.format(version, "\r\n".join(lines))


def one(content: str | bytes, **choices) -> dict:
    source = opened(content, "card.vcf", **choices)
    assert source.format is Format.VCARD
    (fields,) = imported(source)
    return fields


def test_folded_lines_are_joined():
    assert one(card("FN:Ada Love", " lace", "\t King", "N:Lovelace;Ada"))["name"] == "Ada Lovelace King"


def test_quoted_printable_goes_on_after_a_soft_break_and_keeps_encoded_semicolons():
    fields = one(
        card(
            "N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BC=",
            "ller=3B Sohn;J=C3=B6rg",
            "ADR;WORK;ENCODING=QUOTED-PRINTABLE:;;Weg 1=0D=0AHof 2;K=F6ln",
            version="2.1",
        )
    )
    assert (fields["family_name"], fields["given_name"]) == ("Müller; Sohn", "Jörg")
    assert (fields["address"]["line1"], fields["address"]["line2"], fields["address"]["city"]) == (
        "Weg 1",
        "Hof 2",
        "Köln",
    )


def test_escapes_are_those_of_the_version():
    new = one(card(r"FN:a\, b\; c\\n d\ne\:f", r"N:O\;Neil;Ada\, B.;C,D", "NOTE:x"))
    assert (new["name"], new["family_name"], new["given_name"]) == ("a, b; c\\n d\ne:f", "O;Neil", "Ada, B.")
    assert new["custom_fields"]["middle_name"] == "C, D"
    old = one(card(r"FN:C:\new\table", r"N:O\;Neil;A,B", version="2.1"))
    assert (old["name"], old["family_name"], old["given_name"]) == ("C:\\new\\table", "O;Neil", "A,B")


def test_parameters_may_be_quoted_and_hold_signs():
    fields = one(
        card('TEL;X-A="a:b;c,d";TYPE="work,voice":+1 2', "item1.EMAIL;TYPE=WORK;PREF=2:b@b.de", "EMAIL;PREF=1:a@b.de")
    )
    assert (fields["phone"], fields["email"], fields["custom_fields"]["email_2"]) == ("+1 2", "a@b.de", "b@b.de")


def test_pictures_and_inner_cards_are_passed():
    fields = one(
        card(
            "FN:Ada",
            "PHOTO;ENCODING=BASE64;TYPE=JPEG:/9j/4AAQ",
            "SkZJRgABAQ==",
            "",
            "AGENT:",
            "BEGIN:VCARD",
            "FN:Agent",
            "END:VCARD",
            "TEL;HOME:1",
            version="2.1",
        )
    )
    assert (fields["name"], fields["phone"]) == ("Ada", "1")


def test_what_has_no_title_is_told():
    source = opened(card("FN:Ada", "X-FAVOURITE-COLOUR:blue", "IMPP:xmpp:a@b.de"), "a.vcf")
    assert source.findings.warnings == ("These properties are not read: IMPP, X-FAVOURITE-COLOUR.",)


def test_a_day_without_its_year_is_no_birthday():
    fields = one(card("FN:Ada", "BDAY:--0203"))
    assert fields["custom_fields"] == {"birthday_without_year": "--0203"}


def test_more_numbers_than_titles_are_numbered_on():
    source = opened(card("FN:Ada", *(f"TEL;TYPE=CELL:{number}" for number in range(4)), "TEL;TYPE=CELL:2"), "a.vcf")
    assert source.columns[1:] == ("Mobile Phone", "Mobile Phone 2", "Mobile Phone 3", "Mobile Phone 4")
    assert values(source)[0][1:] == ["0", "1", "2", "3"]


def test_two_addresses_of_one_place_are_kept_apart():
    source = opened(card("FN:Ada", "ADR;TYPE=WORK:;;A 1;B", "ADR;TYPE=WORK:;;C 2;D;;9"), "a.vcf")
    assert dict(zip(source.columns, values(source)[0], strict=True)) == {
        "Display Name": "Ada",
        "Business Street": "A 1",
        "Business City": "B",
        "Business 2 Street": "C 2",
        "Business 2 City": "D",
        "Business 2 Postal Code": "9",
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_cards_are_read_in_every_encoding(encoding):
    assert one(card("FN:Jörg Weiß", "N:Weiß;Jörg").encode(encoding))["name"] == "Jörg Weiß"


def test_a_property_may_name_an_encoding_of_its_own():
    body = card("FN;CHARSET=cp1250:@", "NOTE:ü", version="2.1").encode().replace(b"@", "Łódź".encode("cp1250"))
    fields = one(body)
    assert (fields["name"], fields["custom_fields"]["notes"]) == ("Łódź", "ü")


def test_a_person_says_the_encoding_of_cards():
    assert one(card("FN:Łódź").encode("cp1250"), encoding="cp1250")["name"] == "Łódź"
    with pytest.raises(FileError, match="is not an encoding"):
        opened(card("FN:x"), "a.vcf", encoding="no-such")


def test_a_card_that_does_not_end_refuses_the_file():
    with pytest.raises(FileError, match="Card 2, which begins in line 5, does not end"):
        opened(card("FN:Ada") + "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Eve\r\n", "a.vcf")


def test_a_card_inside_another_spoils_that_one_only():
    source = opened("BEGIN:VCARD\nFN:Ada\n" + card("FN:Eve"), "a.vcf")
    assert [(row.number, row.problem) for row in source.rows()] == [
        (1, "The card that begins in line 1 does not end."),
        (2, ""),
    ]


def test_a_line_that_is_no_property_spoils_its_card_only():
    source = opened(card("FN:Ada", "just text") + card("FN:Eve"), "a.vcf")
    assert [row.problem for row in source.rows()] == ["Line 4 is no property of a card.", ""]


def test_a_value_without_an_end_spoils_its_card_and_is_not_held():
    long = "NOTE:" + "x" * 70 + "\r\n"
    source = opened(card("FN:Ada", long + (" " + "x" * 70 + "\r\n") * 20_000) + card("FN:Eve"), "a.vcf")
    assert ["more than 1,000,000" in row.problem for row in source.rows()] == [True, False]


def test_a_field_that_is_too_long_spoils_its_card_only():
    source = opened(card("FN:Ada", "NOTE:" + "x" * 9_000) + card("FN:Eve"), "a.vcf")
    assert [bool(row.problem) for row in source.rows()] == [True, False]


def test_cards_without_anything_are_refused():
    with pytest.raises(FileError, match="no cards, or only empty ones"):
        opened(card("VERSION:3.0"), "a.vcf")


def test_cards_with_too_many_fields_are_refused():
    with pytest.raises(FileError, match="more than 3 fields"):
        opened(card("FN:Ada", "TEL:1", "TEL:2", "TEL:3"), "a.vcf", Limits(columns_max=3))


JCARD = [
    "vcard",
    [
        ["version", {}, "text", "4.0"],
        ["fn", {}, "text", "Ada Lovelace"],
        ["n", {}, "text", ["Lovelace", "Ada", ["King", "B."], "", ""]],
        ["org", {}, "text", "Engines"],
        ["org", {}, "text", ["Mills", "R&D"]],
        ["email", {"type": "home"}, "text", "home@example.com"],
        ["email", {"type": ["work"], "pref": "1"}, "text", "ada@example.com"],
        ["tel", {"type": ["work", "voice"]}, "uri", "tel:+44-20-1;ext=7"],
        ["adr", {"type": "work"}, "text", ["", "Floor 3", "1 Mill Rd", "London", "", "N1 9GU", "UK"]],
        ["x-odd"],
    ],
]
ADA = {
    "name": "Ada Lovelace",
    "given_name": "Ada",
    "family_name": "Lovelace",
    "company_name": "Engines",
    "email": "ada@example.com",
    "phone": "+44-20-1 ext. 7",
    "address": {
        "line1": "1 Mill Rd",
        "line2": "Floor 3",
        "line3": None,
        "city": "London",
        "postal_code": "N1 9GU",
        "country": "UK",
    },
}


@pytest.mark.parametrize("content", [JCARD, [JCARD]])
def test_jcard(content):
    source = opened(json.dumps(content), "cards.json")
    assert source.format is Format.JCARD
    (fields,) = imported(source)
    custom = fields.pop("custom_fields")
    assert fields == ADA
    assert (custom["middle_name"], custom["email_2"]) == ("King, B.", "home@example.com")


@pytest.mark.parametrize(
    "content", ["[1, 2]", "{}", "[]", "[[", '["vcard", 1]', '["vcard"]', "[" * 200_000, '["x", []]']
)
def test_json_that_holds_no_cards_is_refused(content):
    with pytest.raises(FileError):
        opened(content, "cards.json")


XCARD = """<?xml version="1.0"?>{}<vcards xmlns="urn:ietf:params:xml:ns:vcard-4.0"><vcard>
<fn><text>Ada Lovelace</text></fn><n><surname>Lovelace</surname><given>Ada</given><additional/></n>
<org><text>Engines</text><text>R&amp;D</text></org>
<email><parameters><type><text>home</text></type></parameters><text>home@example.com</text></email>
<email><parameters><pref><integer>1</integer></pref></parameters><text>ada@example.com</text></email>
<tel><parameters><type><text>work</text></type></parameters><uri>tel:+44-20-1;ext=7</uri></tel>
<adr><parameters><type><text>work</text></type></parameters><pobox/><ext>Floor 3</ext><street>1 Mill Rd</street>
<locality>London</locality><region/><code>N1 9GU</code><country>UK</country></adr></vcard></vcards>"""


def test_xcard():
    source = opened(XCARD.format(""), "cards.xml")
    assert source.format is Format.XCARD
    (fields,) = imported(source)
    custom = fields.pop("custom_fields")
    assert fields == ADA
    assert (custom["department"], custom["email_2"]) == ("R&D", "home@example.com")


@pytest.mark.parametrize("name", ["cards.xml", "cards.vcf"])
def test_an_xcard_with_entities_or_cut_off_is_refused(name):
    for bad in (
        XCARD.format('<!DOCTYPE a [<!ENTITY b "bb">]>'),
        XCARD.format('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>'),
        XCARD.format("")[:-20],
    ):
        with pytest.raises(FileError, match="cannot be read"):
            opened(bad, name)


LINES = st.lists(st.text('abTELNFN;:,="\\\n \t=0A@ü.', max_size=30), max_size=8)


@given(LINES, st.sampled_from(["2.1", "3.0", "4.0"]))
def test_whatever_stands_in_a_card_the_next_one_is_read(lines, version):
    source = opened(card("FN:Ada", *lines, version=version) + card("FN:Eve"), "a.vcf")
    last = list(source.rows())[-1]
    assert (last.problem, last.values["Display Name"]) == ("", "Eve")
