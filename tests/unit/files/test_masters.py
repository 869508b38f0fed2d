from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.files.opened import imported, opened, values
from tieout.domain.records import Kind
from tieout.files import FileError, Format, Limits, open_file

TALLY_BESIDE = Path(__file__).parents[4] / "shared/data/tally-prime"
"""An export of TallyPrime, which is large."""

PLAIN = """<ENVELOPE><HEADER><TALLYREQUEST>Import Data</TALLYREQUEST></HEADER><BODY><IMPORTDATA><REQUESTDATA>
<TALLYMESSAGE xmlns:UDF="TallyUDF"><UNIT NAME="Nos"><NAME>Nos</NAME></UNIT></TALLYMESSAGE>
<TALLYMESSAGE><LEDGER NAME="Asha &amp; Söhne" RESERVEDNAME=""><GUID>g-1</GUID><PARENT>Sundry Debtors</PARENT>
<LANGUAGENAME.LIST><NAME.LIST TYPE="String"><NAME>Asha &amp; Söhne</NAME></NAME.LIST></LANGUAGENAME.LIST>
<GSTAPPLICABLE>&#4; Not Applicable</GSTAPPLICABLE><EMAIL>asha@example.com</EMAIL><LEDGERPHONE>080 1</LEDGERPHONE>
<LEDGERCONTACT>Asha Rao</LEDGERCONTACT><PARTYGSTIN>29ABCDE1234F1Z5</PARTYGSTIN>
<ADDRESS.LIST TYPE="String"><ADDRESS>Old Road</ADDRESS></ADDRESS.LIST>
<LEDMAILINGDETAILS.LIST><APPLICABLEFROM>20250401</APPLICABLEFROM><STATE>Karnataka</STATE><PINCODE>560001</PINCODE>
<ADDRESS.LIST TYPE="String"><ADDRESS>12 MG Road</ADDRESS><ADDRESS>Indiranagar</ADDRESS><ADDRESS>x</ADDRESS>
<ADDRESS>y</ADDRESS></ADDRESS.LIST></LEDMAILINGDETAILS.LIST>
<LEDMAILINGDETAILS.LIST><APPLICABLEFROM>20090401</APPLICABLEFROM><STATE>Bihar</STATE></LEDMAILINGDETAILS.LIST>
<UDF:COLOUR.LIST DESC="`Colour`"><UDF:COLOUR>red</UDF:COLOUR></UDF:COLOUR.LIST></LEDGER></TALLYMESSAGE>
<TALLYMESSAGE><LEDGER NAME="Cash"><GUID>g-2</GUID><PARENT>Cash-in-hand\x04</PARENT></LEDGER></TALLYMESSAGE>
</REQUESTDATA></IMPORTDATA></BODY></ENVELOPE>"""


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        b'<?xml version="1.0" encoding="windows-1252"?>\n' + PLAIN.encode("cp1252"),
        PLAIN.replace('<TALLYMESSAGE xmlns:UDF="TallyUDF">', "<TALLYMESSAGE>").encode(),
    ],
)
def test_ledgers_of_a_plain_tally_export(content):
    source = opened(content, "Master.xml")
    assert (source.format, source.count, source.findings.layout.value) == (Format.TALLY_XML, 2, "tally")
    asha, cash = imported(source)
    assert asha["name"] == "Asha & Söhne"
    assert asha["contact"] == {"name": "Asha Rao", "email": "asha@example.com"}
    assert asha["phone"] == "080 1"
    assert asha["address"] == {
        "line1": "12 MG Road",
        "line2": "Indiranagar",
        "line3": "x, y",
        "state": "Karnataka",
        "postal_code": "560001",
    }
    assert asha["custom_fields"]["gstin"] == "29ABCDE1234F1Z5"
    assert (cash["name"], cash["custom_fields"]["parent"], cash["contact"]) == ("Cash", "Cash-in-hand", None)
    assert source.findings.warnings[-1] == "The file holds other masters, too, which are not read: 1 UNIT."


def test_another_kind_of_master_is_read_if_a_person_says_so():
    assert values(opened(PLAIN, "Master.xml", sheet="UNIT")) == [["Nos"]]
    with pytest.raises(FileError, match="holds no masters"):
        opened(PLAIN, "Master.xml", sheet="STOCKITEM")


@pytest.mark.skipif(not TALLY_BESIDE.exists(), reason="needs the export of TallyPrime")
def test_a_whole_company():
    path = TALLY_BESIDE / "ledger_sample_data.xml"
    with path.open("rb") as file:
        source = open_file(file, name=path.name)
        rows = list(source.rows())
        found = {fields["name"]: fields for fields in imported(source)}
    assert source.count == len(rows) == len({row.values["GUID"] for row in rows}) == 295
    assert sum(row.values["PARENT"] == "Sundry Debtors" for row in rows) == 18
    abcd = found["ABCD India Pvt Ltd"]
    assert abcd["contact"]["email"] == "michalle@abcindia.com"
    assert (abcd["address"]["line1"], abcd["address"]["state"]) == ("#20, Indira Nagar, Bangalore", "Karnataka")


BOMB = '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB + PLAIN, "document type, entities"),
        (OUTSIDE + PLAIN, "document type, entities"),
        (PLAIN[:-200], "broken at line"),
        ("<ENVELOPE><BODY/></ENVELOPE>", "holds no masters"),
        ('<?xml version="1.0" encoding="no-such"?><ENVELOPE/>', "not in the encoding"),
        ('<?xml version="1.0" encoding="ascii"?>' + PLAIN, "not in the encoding"),
        ("<a><b>1</b></a>", "no records that are known"),
        ("<ENVELOPE>" + "<a>" * 500 + "</a>" * 500 + "</ENVELOPE>", "more than 100 deep"),
        ('<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"/>', "workbook of Excel 2003"),
    ],
)
def test_xml_that_cannot_be_read_is_refused(content, message):
    with pytest.raises(FileError, match=message):
        opened(content, "Master.xml")


def test_an_entity_bomb_is_refused_before_it_grows():
    bomb = (
        "<!DOCTYPE a ["
        + "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
        + '<!ENTITY e0 "x">]><ENVELOPE><LEDGER><NAME>&e9;</NAME></LEDGER></ENVELOPE>'
    )
    with pytest.raises(FileError, match="document type, entities"):
        opened(bomb, "Master.xml")


BY_TAG = """<data><contact><COMPANY>Engines</COMPANY><CONTACT>Ada Lovelace</CONTACT><LASTNAME>Lovelace</LASTNAME>
<PHONE1>1</PHONE1></contact></data>"""
BY_ATTRIBUTE = """<data><record><field name="COMPANY">Engines</field><field name="CONTACT">Ada Lovelace</field>
<field name="LASTNAME">Lovelace</field><field name="PHONE1">1</field></record></data>"""
BY_CHILD = """<data><account><properties><property><db_name>Contact1.Company</db_name><value>Engines</value></property>
<property><db_name>Contact1.Contact</db_name><value>Ada Lovelace</value></property>
<property><db_name>Contact1.Lastname</db_name><value>Lovelace</value></property>
<property><db_name>Contact1.Phone1</db_name><value>1</value></property></properties></account></data>"""


@pytest.mark.parametrize("content", [BY_TAG, BY_ATTRIBUTE, BY_CHILD])
def test_goldmine(content):
    source = opened(content, "contacts.xml")
    assert (source.format, source.columns) == (Format.GOLDMINE_XML, ("COMPANY", "CONTACT", "LASTNAME", "PHONE1"))
    assert source.findings.layout.certainty == "guessed"
    (fields,) = imported(source, Kind.COMPANY)
    assert fields == {
        "name": "Engines",
        "contact": {"name": "Ada Lovelace", "family_name": "Lovelace", "given_name": "Ada"},
        "phone": "1",
    }


def test_records_with_too_many_fields_are_refused():
    fields = "".join(f"<F{number}>x</F{number}>" for number in range(5))
    with pytest.raises(FileError, match="more than 4 fields"):
        opened(f"<data><record>{fields}</record></data>", "a.xml", Limits(columns_max=4))
