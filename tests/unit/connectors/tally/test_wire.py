"""Tally's XML, which is not quite XML; its amounts, dates and counters."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from xml.etree.ElementTree import Element, fromstring

import pytest

from tieout.connectors.tally import tdl, wire
from tieout.connectors.tally.wire import Imported
from tieout.transport.xml import UnreadableXmlError

NAMES = (
    '<LEDGER NAME="A &amp; B"><UDF:OWN.LIST><UDF:OWN>x</UDF:OWN></UDF:OWN.LIST><PARENT>&#4; Primary</PARENT></LEDGER>'
)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (NAMES.encode(), "text/xml; charset=utf-8"),
        (b"\xef\xbb\xbf" + NAMES.encode(), "text/xml"),
        (NAMES.encode("utf-16-le"), "text/xml;charset=utf-16"),
        (NAMES.encode("utf-16-le"), "text/xml"),
        (NAMES.encode("utf-16"), ""),
        (b'<?xml version="1.0" encoding="UTF-16"?>' + NAMES.encode(), "text/xml"),
    ],
)
def test_illegal_characters_prefixes_and_encodings_are_read(body, content_type):
    root = wire.parsed(wire.decoded(body, content_type))

    assert (root.get("NAME"), wire.text_of(root, "PARENT")) == ("A & B", "Primary")
    assert wire.text_of(root, "UDF_OWN.LIST/UDF_OWN") == "x"


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("a&#4;b", "ab"),
        ("a&#x1F;b", "ab"),
        ("a&#xD800;b", "ab"),
        ("a&#1114112;b", "ab"),
        ("a&#x20B9;b", "a₹b"),
        ("a\x00\x07b", "ab"),
        ("a &#10; b", "a b"),
        ("10:30 UDF:x", "10:30 UDF:x"),
    ],
)
def test_only_what_xml_has_no_place_for_is_dropped(said, read):
    assert wire.text_of(wire.parsed(f"<A>{said}</A>")) == read


@pytest.mark.parametrize(
    "text", ["", "<A>", "<html>please", '<!DOCTYPE A [<!ENTITY x "y">]><A>&x;</A>', "<A>" * 200 + "</A>" * 200]
)
def test_what_is_no_xml_or_has_entities_is_refused(text):
    with pytest.raises(UnreadableXmlError):
        wire.parsed(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("-1180.00", "-1180.00"),
        ("1,00,000.50", "100000.50"),
        ("-₹ 8300.00", "-8300.00"),
        ("-$ 100.00 @ ₹ 83/$ = -₹ 8300.00", "-8300.00"),
        ("1,180.00 Dr", "-1180.00"),
        ("1,180.00 Cr", "1180.00"),
        (" 2 Nos", "2"),
        ("100.00/Nos", "100.00"),
        (".5", "0.5"),
        ("", None),
        ("Nos", None),
    ],
)
def test_numbers_are_exact_with_their_sign(text, number):
    assert wire.number_of(text) == (None if number is None else Decimal(number))


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("20260402", date(2026, 4, 2)),
        ("2-Apr-2026", date(2026, 4, 2)),
        ("2-Apr-26", date(2026, 4, 2)),
        ("2026-04-02", date(2026, 4, 2)),
        ("31-Feb-2026", None),
        ("2-Foo-2026", None),
        ("tomorrow", None),
        ("", None),
    ],
)
def test_days(text, day):
    assert wire.day_of(text) == day


def test_a_day_in_an_attribute_is_spelled():
    assert wire.said_day(date(2026, 4, 2)) == "2-Apr-2026"


@pytest.mark.parametrize(
    ("text", "days"), [("30 Days", 30), ("45", 45), ("2 Weeks", 14), ("1 Months", 30), ("soon", None)]
)
def test_credit_periods(text, days):
    assert wire.days_of(text) == days


def entry(path: str, ledger: str, amount: str) -> str:
    return f"<{path}><LEDGERNAME>{ledger}</LEDGERNAME><AMOUNT>{amount}</AMOUNT></{path}>"


PARTY, TAX = entry("LEDGERENTRIES.LIST", "P", "-118"), entry("LEDGERENTRIES.LIST", "T", "18")
ITEM = f"<ALLINVENTORYENTRIES.LIST>{entry('ACCOUNTINGALLOCATIONS.LIST', 'S', '100')}</ALLINVENTORYENTRIES.LIST>"
WHOLE = "".join(entry("ALLLEDGERENTRIES.LIST", *each) for each in (("P", "-118"), ("T", "18"), ("S", "100")))
LESS = "".join(entry("ALLLEDGERENTRIES.LIST", *each) for each in (("P", "-118"), ("T", "18")))
EMPTY = "<ALLLEDGERENTRIES.LIST>   </ALLLEDGERENTRIES.LIST><LEDGERENTRIES.LIST/>"


@pytest.mark.parametrize(
    "lists", [PARTY + TAX + ITEM, PARTY + TAX + ITEM + WHOLE, WHOLE + ITEM, LESS + ITEM, WHOLE + EMPTY]
)
def test_each_entry_counts_once_in_whatever_lists_it_stands(lists):
    postings = wire.postings_of(fromstring(f"<VOUCHER>{lists}</VOUCHER>"))

    assert {posting.ledger: posting.amount for posting in postings} == {"P": -118, "T": 18, "S": 100}
    assert len(postings) == 3
    assert wire.adds_up(postings)


def test_counters_are_read_in_both_forms():
    counters = "<CREATED>1</CREATED><ALTERED>0</ALTERED><LASTVCHID> 30013</LASTVCHID><ERRORS>0</ERRORS>"
    newer, older = (
        f"<RESPONSE>{counters}</RESPONSE>",
        f"<ENVELOPE><BODY><DATA><IMPORTRESULT>{counters}</IMPORTRESULT></DATA></BODY></ENVELOPE>",
    )

    assert wire.imported(fromstring(newer)) == wire.imported(fromstring(older)) == Imported(created=1, voucher=30013)
    assert wire.imported(fromstring("<RESPONSE><LINEERROR>No!</LINEERROR></RESPONSE>")) == Imported(said=("No!",))
    assert wire.imported(fromstring("<RESPONSE>Unknown Request</RESPONSE>")) is None


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-8", b"&#4; Applicable"), ("utf-16", "&#4; Applicable".encode("utf-16-le"))]
)
def test_tallys_own_mark_is_kept_when_it_is_sent_back(encoding, mark):
    root = Element("STOCKITEM")
    wire.add(root, "GSTAPPLICABLE", f"{wire.MARKER} Applicable")

    body, content_type = wire.encoded(root, encoding)

    assert mark in body
    assert encoding in content_type


@pytest.mark.parametrize(("text", "formula"), [("Asha", '"Asha"'), ('12" pipe', '"12" + $$StrByCharCode:34 + " pipe"')])
def test_a_quotation_mark_ends_no_text_in_a_formula(text, formula):
    assert tdl.text(text) == formula


def test_a_request_says_company_and_days_with_their_type():
    asked = tdl.collection(
        "Voucher", ["GUID"], company="A & B", days=(date(2026, 4, 1), date(2027, 3, 31)), where="$IsOptional"
    )

    variables = asked.find("BODY/DESC/STATICVARIABLES")
    assert variables is not None
    assert wire.text_of(variables, "SVCURRENTCOMPANY") == "A & B"
    for name, day in (("SVFROMDATE", "20260401"), ("SVTODATE", "20270331")):
        said = variables.find(name)
        assert said is not None
        assert (said.get("TYPE"), said.text) == ("Date", day)


def test_rows_of_a_report_begin_anew_with_their_first_column():
    root = fromstring("<ENVELOPE><TIEOUTROW>1</TIEOUTROW><A>x</A><B/><TIEOUTROW>2</TIEOUTROW><A> y  z </A></ENVELOPE>")

    assert [{name: row[name] for name in row if name != tdl.ROW} for row in tdl.rows_of(root)] == [
        {"A": "x", "B": ""},
        {"A": "y z"},
    ]
