from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from tieout.bridge.soap import (
    NAMESPACE,
    Authenticate,
    ClientVersion,
    Close,
    ConnectionFailed,
    InteractiveDone,
    InteractiveRejected,
    InteractiveUrl,
    LastError,
    ReceiveResponse,
    SendRequest,
    ServerVersion,
    SoapError,
    answer,
    fault,
    parse_call,
    wsdl,
)
from tieout.transport.xml import parse_xml

RECORDED = Path(__file__).parents[2] / "data" / "quickbooks_desktop"
ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"


def envelope(inner: str, *, prefix: str = "soap", space: str = ENVELOPE) -> bytes:
    return (
        f'<?xml version="1.0" encoding="utf-8"?><{prefix}:Envelope xmlns:{prefix}="{space}">'
        f"<{prefix}:Body>{inner}</{prefix}:Body></{prefix}:Envelope>"
    ).encode()


def called(name: str, **parameters: str) -> bytes:
    inner = "".join(f"<{each}>{escape(text)}</{each}>" for each, text in parameters.items())
    return envelope(f'<{name} xmlns="{NAMESPACE}">{inner}</{name}>')


CALLS = [
    (called("serverVersion"), ServerVersion()),
    (called("clientVersion", strVersion="2.3.0.215"), ClientVersion("2.3.0.215")),
    (called("authenticate", strUserName="acme", strPassword="p<&>w ü"), Authenticate("acme", "p<&>w ü")),
    (
        called(
            "sendRequestXML",
            ticket="t",
            strHCPResponse="<QBXML/>",
            strCompanyFileName=r"C:\Bücher\Acme & Co.qbw",
            qbXMLCountry="US",
            qbXMLMajorVers="16",
            qbXMLMinorVers="0",
        ),
        SendRequest("t", "<QBXML/>", r"C:\Bücher\Acme & Co.qbw", "US", 16, 0),
    ),
    (
        called("receiveResponseXML", ticket="t", response="", hresult="0x80040400", message="parsing"),
        ReceiveResponse("t", "", "0x80040400", "parsing"),
    ),
    (
        called("connectionError", ticket="t", hresult="0x80040408", message="Could not start QuickBooks."),
        ConnectionFailed("t", "0x80040408", "Could not start QuickBooks."),
    ),
    (called("getLastError", ticket="t"), LastError("t")),
    (called("closeConnection", ticket="t"), Close("t")),
    (called("getInteractiveURL", wcTicket="t", sessionID="s"), InteractiveUrl("t", "s")),
    (called("interactiveRejected", wcTicket="t", reason="busy"), InteractiveRejected("t", "busy")),
    (called("interactiveDone", wcTicket="t"), InteractiveDone("t")),
]


@pytest.mark.parametrize(("body", "call"), CALLS)
def test_every_call_is_understood(body, call):
    assert parse_call(body) == call


def test_parameters_are_told_by_name_and_may_be_absent_or_empty():
    body = called("sendRequestXML", qbXMLMinorVers="0", strHCPResponse="", ticket="t")

    assert parse_call(body) == SendRequest("t", "", "", "", 0, 0)


def test_the_prefix_is_the_clients_own_and_a_header_is_passed_over():
    inner = f'<x:getLastError xmlns:x="{NAMESPACE}"><x:ticket>t</x:ticket></x:getLastError>'
    with_header = envelope(inner, prefix="E").replace(b"<E:Body>", b"<E:Header><a/></E:Header><E:Body>")

    assert parse_call(b"\xef\xbb\xbf" + with_header) == LastError("t")


@pytest.mark.parametrize("name", ["invoice_add_rs.xml", "receive_payment_add_rs.xml"])
def test_a_recorded_call_is_understood(name):
    call = parse_call((RECORDED / name).read_bytes())

    assert isinstance(call, ReceiveResponse)
    assert call.ticket == "354f40b4-b661-4472-a13f-8abf13a743c3"
    assert (call.hresult, call.message) == ("", "")
    assert parse_xml(call.response).find("QBXMLMsgsRs") is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"ticket=1",
        b"<a/>",
        b'<!DOCTYPE a [<!ENTITY b "c">]>' + called("serverVersion").partition(b"?>")[2],
        envelope(""),
        envelope(f'<serverVersion xmlns="{NAMESPACE}"/>' * 2),
        envelope("<serverVersion/>"),
        envelope('<serverVersion xmlns="http://example.com/"/>'),
        envelope(f'<serverVersion xmlns="{NAMESPACE}"/>', space="http://www.w3.org/2003/05/soap-envelope"),
        called("dropTables"),
        envelope(f'<getLastError xmlns="{NAMESPACE}"><ticket><b>t</b></ticket></getLastError>'),
        called("sendRequestXML", ticket="t", qbXMLMajorVers="sixteen"),
        called("sendRequestXML", ticket="t", qbXMLMajorVers="-1"),
        called("sendRequestXML", ticket="t", qbXMLMajorVers="9" * 5000),
    ],
)
def test_everything_else_is_refused(body):
    with pytest.raises(SoapError):
        parse_call(body)


def test_what_is_secret_does_not_show():
    for body, _ in CALLS:
        text = repr(parse_call(body))
        assert "p<&>w" not in text
        assert "'t'" not in text
        assert "QBXML/" not in text
    with pytest.raises(SoapError) as caught:
        parse_call(called("sendRequestXML", ticket="t", qbXMLMajorVers="hunter2"))
    assert "hunter2" not in str(caught.value)


def result_of(body: bytes, name: str) -> object:
    response = parse_xml(body)[0][0]
    assert response.tag == f"{{{NAMESPACE}}}{name}Response"
    (result,) = response
    assert result.tag == f"{{{NAMESPACE}}}{name}Result"
    return [each.text or "" for each in result] if len(result) else result.text


def test_texts_numbers_and_lists_are_answered():
    assert result_of(answer(ClientVersion("2"), ""), "clientVersion") is None
    assert result_of(answer(ReceiveResponse("t", "", "", ""), -101), "receiveResponseXML") == "-101"
    assert result_of(answer(Authenticate("a", "b"), ["ticket", ""]), "authenticate") == ["ticket", ""]
    assert b"<string></string>" in answer(Authenticate("a", "b"), ["ticket", ""])


def test_qbxml_is_carried_as_text_and_in_ascii():
    qbxml = '<?xml version="1.0"?><?qbxml version="13.0"?><QBXML a="ü">]]> 😀 &amp; &#228;</QBXML>'
    body = answer(SendRequest("t", "", "", "", 13, 0), qbxml)

    assert body.isascii()
    assert result_of(body, "sendRequestXML") == qbxml


def test_what_xml_cannot_hold_is_replaced():
    assert result_of(answer(Close("t"), "a\x00b\x0b\ud800c\r\nd\te"), "closeConnection") == "a�b��c\nd\te"


@pytest.mark.parametrize(
    ("call", "result"),
    [
        (Authenticate("a", "b"), "ticket"),
        (Authenticate("a", "b"), 1),
        (ReceiveResponse("t", "", "", ""), "100"),
        (ReceiveResponse("t", "", "", ""), True),
        (LastError("t"), 5),
        (LastError("t"), ["NoOp"]),
    ],
)
def test_a_call_is_not_answered_with_something_else(call, result):
    with pytest.raises(TypeError, match="is answered with"):
        answer(call, result)


def test_a_fault_says_whose_it_is():
    theirs, ours = (parse_xml(fault("<no> ü", ours=each))[0][0] for each in (False, True))

    assert theirs.tag == f"{{{ENVELOPE}}}Fault"
    assert [each.text for each in theirs] == ["soap:Client", "<no> ü"]
    assert ours[0].text == "soap:Server"


def test_the_description_names_each_call_with_its_parameters_and_the_address():
    text = wsdl('https://bridge.example.com/a?b=1&c="2"')
    root = parse_xml(text)
    spaces = {"w": "http://schemas.xmlsoap.org/wsdl/", "x": "http://www.w3.org/2001/XMLSchema"}
    soap = "{http://schemas.xmlsoap.org/wsdl/soap/}"
    names = [each.get("name") for each in root.findall("w:portType/w:operation", spaces)]
    elements = {each.get("name"): each for each in root.findall("w:types/x:schema/x:element", spaces)}
    parts = {each.get("name"): each[0].get("element") for each in root.findall("w:message", spaces)}

    assert len(names) == len(CALLS)
    assert set(elements) == {f"{name}{end}" for name in names for end in ("", "Response")}
    assert parts == {
        f"{name}{way}": f"t:{name}{end}" for name in names for way, end in (("In", ""), ("Out", "Response"))
    }
    assert [
        each.get("name") for each in elements["sendRequestXML"].iter("{http://www.w3.org/2001/XMLSchema}element")
    ] == [
        "sendRequestXML",
        "ticket",
        "strHCPResponse",
        "strCompanyFileName",
        "qbXMLCountry",
        "qbXMLMajorVers",
        "qbXMLMinorVers",
    ]
    actions = {each.get("soapAction") for each in root.iter(f"{soap}operation")}
    assert actions == {f"{NAMESPACE}{name}" for name in names}
    (address,) = root.iter(f"{soap}address")
    assert address.get("location") == 'https://bridge.example.com/a?b=1&c="2"'
