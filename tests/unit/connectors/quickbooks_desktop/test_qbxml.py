from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from tests.unit.connectors.quickbooks_desktop.recorded import answer_of
from tieout.connectors.quickbooks_desktop.qbxml import (
    Ask,
    UnreadableError,
    date_of,
    decimal_of,
    fits,
    flag_of,
    message_set,
    moment_of,
    parse_replies,
    text_of,
)
from tieout.transport.xml import parse_xml


def test_elements_are_sent_in_the_order_of_the_schema():
    text = message_set(
        [
            Ask(
                "InvoiceAddRq",
                {
                    "InvoiceAdd": {
                        "InvoiceLineAdd": [
                            {"Amount": Decimal("1.50"), "ItemRef": {"ListID": "1-2"}},
                            {"ItemRef": {"FullName": "a & <b>"}, "Quantity": Decimal("0E-2")},
                        ],
                        "TxnDate": date(2026, 1, 5),
                        "IsActive": True,
                        "CustomerRef": {"ListID": "8-1"},
                    }
                },
            )
        ],
        set_id="T1",
    )

    assert text == (
        '<?xml version="1.0" encoding="utf-8"?><?qbxml version="13.0"?><QBXML>'
        '<QBXMLMsgsRq onError="continueOnError" newMessageSetID="T1"><InvoiceAddRq requestID="0"><InvoiceAdd>'
        "<CustomerRef><ListID>8-1</ListID></CustomerRef><TxnDate>2026-01-05</TxnDate><IsActive>true</IsActive>"
        "<InvoiceLineAdd><ItemRef><ListID>1-2</ListID></ItemRef><Amount>1.50</Amount></InvoiceLineAdd>"
        "<InvoiceLineAdd><ItemRef><FullName>a &amp; &lt;b&gt;</FullName></ItemRef><Quantity>0.00</Quantity>"
        "</InvoiceLineAdd></InvoiceAdd></InvoiceAddRq></QBXMLMsgsRq></QBXML>"
    )


def test_other_letters_are_sent_as_references():
    text = message_set([Ask("CustomerQueryRq", {"FullName": ["Söhne 東京 😀"]}, {"iteratorID": '{"x"}'})])

    assert text.isascii()
    assert parse_xml(text)[0][0][0].text == "Söhne 東京 😀"
    assert parse_xml(text)[0][0].get("iteratorID") == '{"x"}'


def test_an_element_that_the_schema_does_not_have_is_a_fault_of_ours():
    with pytest.raises(KeyError, match="NoSuch"):
        message_set([Ask("CustomerQueryRq", {"NoSuch": "1"})])


def test_recorded_replies_are_understood():
    replies = parse_replies(
        answer_of("receive_payment_add_rs.xml").replace(b"0bb737ee-2862-4ab7-8d35-f551f84793c9", b"3")
    )

    reply = replies.by_position[3]
    assert (reply.code, reply.message, reply.found) == (0, "Status OK", True)
    (payment,) = reply.records()
    assert text_of(payment, "CustomerRef/FullName") == "spree@example.com"
    assert decimal_of(payment, "TotalAmount") == Decimal("210.00")
    assert date_of(payment, "TxnDate") == date(2014, 3, 2)
    assert moment_of(payment, "TimeModified").isoformat() == "2014-11-26T20:18:19-02:00"
    assert text_of(payment, "NoSuch") is None
    assert flag_of(payment, "NoSuch") is None


@pytest.mark.parametrize(
    ("name", "code", "count"),
    [
        ("item_inventory_query_rs_empty.xml", 1, 0),
        ("item_inventory_query_rs.xml", 0, 1),
        ("item_inventory_query_rs_multiple.xml", 0, 2),
    ],
)
def test_recorded_queries_found_what_they_found(name, code, count):
    reply = parse_replies(
        answer_of(name).replace(b"QueryRs statusCode", b'QueryRs requestID="1" statusCode')
    ).by_position[1]

    assert (reply.code, len(reply.records()), reply.found) == (code, count, True)


def test_a_recorded_refusal_is_one():
    body = answer_of("sales_order_add_rs_invalid_record_ref.xml").replace(
        b"AddRs statusCode", b'AddRs requestID="0" statusCode'
    )

    reply = parse_replies(body).by_position[0]

    assert (reply.code, reply.found, reply.records()) == (3140, False, [])
    assert 'QuickBooks Customer "Joe Smith"' in reply.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html/>",
        b"<QBXML/>",
        b"<QBXML><QBXMLMsgsRq/></QBXML>",
        b'<QBXML><QBXMLMsgsRs><InvoiceAddRs requestID="0" statusCode="none"/></QBXMLMsgsRs></QBXML>',
        b'<QBXML><QBXMLMsgsRs><InvoiceAddRs requestID="0"/></QBXMLMsgsRs></QBXML>',
        b'<QBXML><QBXMLMsgsRs messageSetStatusCode="x"/></QBXML>',
    ],
)
def test_what_is_no_answer_is_refused(body):
    with pytest.raises(UnreadableError):
        parse_replies(body)


@pytest.mark.parametrize("request_id", ["", "x", "-1", "²", "123456789"])
def test_a_reply_to_none_of_our_requests_is_passed_over(request_id):
    body = f'<QBXML><QBXMLMsgsRs><InvoiceAddRs requestID="{request_id}" statusCode="0"/></QBXMLMsgsRs></QBXML>'

    assert parse_replies(body.encode()).by_position == {}


@pytest.mark.parametrize("text", ["1e5", "NaN", "1,00", "0x1", "9" * 50])
def test_what_is_no_number_is_told(text):
    with pytest.raises(UnreadableError, match="no number"):
        decimal_of(parse_xml(f"<a><b>{text}</b></a>"), "b")


def test_what_is_no_date_is_told():
    element = parse_xml("<a><b>05/01/2026</b></a>")
    for read in (date_of, moment_of):
        with pytest.raises(UnreadableError):
            read(element, "b")


@pytest.mark.parametrize(
    ("text", "fit"), [("a\tb\nc ü 😀", True), ("a\x00", False), ("a\rb", False), ("\ud800", False)]
)
def test_characters_that_xml_cannot_hold_are_told(text, fit):
    assert fits(text) is fit
