"""The Web Connector's calls as typed values, and our answers in the form that it takes. Neither state nor I/O.

The QuickBooks Web Connector (QBWC) runs on the customer's PC and is the client: SOAP 1.1, document/literal, one element
of its namespace in the body of each call. Parameters are told by name; one that is absent or empty is the empty text.
Source: QuickBooks Web Connector Programmer's Guide 2.0 for what calls mean; for their parameters, interfaces that
others generated from Intuit's description of the service, and recorded calls (tests/data/quickbooks_desktop). Read
2026-11-22.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from tieout.transport.xml import UnreadableXmlError, parse_xml

CONTENT_TYPE = "text/xml; charset=utf-8"
NAMESPACE = "http://developer.intuit.com/"
_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
# Of a qbXML version number, such as 16: QuickBooks never had more digits.
_VERSION_DIGITS_MAX = 4


class SoapError(ValueError):
    """The request is no call of the Web Connector. The message says what is wrong, and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class ServerVersion:
    """Which version the service has. Answered with a text."""


@dataclass(frozen=True, slots=True)
class ClientVersion:
    """Whether the service works with this version of the Web Connector.

    Answered with a text: empty to go on, `W:sentence` to warn, `E:sentence` to stop, `O:version` if that is supported.
    """

    version: str


@dataclass(frozen=True, slots=True)
class Authenticate:
    """A session begins.

    Answered with texts: the ticket; then empty (use the open company file), a path (use this file), `none` (no work),
    `nvu` (not a valid user) or `busy`; then, if wanted, seconds until the next run, and at least between runs.
    """

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SendRequest:
    """What to do next. Answered with qbXML, or with the empty text: nothing more, and getLastError is asked.

    Attributes:
        company: qbXML about host, company and preferences; in the first call of a session only.
        country: Of the QuickBooks edition, such as `US`.
        major, minor: The newest qbXML version that QuickBooks speaks; 0 if it did not say.
    """

    ticket: str = field(repr=False)
    company: str = field(repr=False)
    company_file: str
    country: str
    major: int
    minor: int


@dataclass(frozen=True, slots=True)
class ReceiveResponse:
    """What QuickBooks answered to the last request. Answered with a number: per cent done; negative: getLastError.

    Attributes:
        response: qbXML; empty if QuickBooks did not process the request.
        hresult, message: Why it did not, such as `0x80040400`; both empty if it did.
    """

    ticket: str = field(repr=False)
    response: str = field(repr=False)
    hresult: str
    message: str


@dataclass(frozen=True, slots=True)
class ConnectionFailed:
    """QuickBooks could not be reached. Answered with `done`, or with the path of another company file to try."""

    ticket: str = field(repr=False)
    hresult: str
    message: str


@dataclass(frozen=True, slots=True)
class LastError:
    """Why there is no request. Answered with a text for the person; `NoOp` means: pause, and ask again."""

    ticket: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Close:
    """The session ends. Answered with a text that the Web Connector shows."""

    ticket: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class InteractiveUrl:
    """Where a person answers questions; we have none. Answered with the empty text."""

    ticket: str = field(repr=False)
    session: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class InteractiveRejected:
    """A person does not want to answer questions. Answered with a text."""

    ticket: str = field(repr=False)
    reason: str


@dataclass(frozen=True, slots=True)
class InteractiveDone:
    """A person is done with the questions. Answered with `Done`, or the empty text."""

    ticket: str = field(repr=False)


type Call = (
    ServerVersion
    | ClientVersion
    | Authenticate
    | SendRequest
    | ReceiveResponse
    | ConnectionFailed
    | LastError
    | Close
    | InteractiveUrl
    | InteractiveRejected
    | InteractiveDone
)
type Result = str | int | Sequence[str]


@dataclass(frozen=True, slots=True)
class _Method:
    """How a call is written: its parameters in order, those that are numbers, and the type of its answer."""

    call: Callable[..., Call]
    parameters: tuple[str, ...] = ()
    numbers: frozenset[str] = frozenset()
    result: type[str | int | list[str]] = str


_METHODS: Mapping[str, _Method] = {
    "serverVersion": _Method(ServerVersion),
    "clientVersion": _Method(ClientVersion, ("strVersion",)),
    "authenticate": _Method(Authenticate, ("strUserName", "strPassword"), result=list),
    "sendRequestXML": _Method(
        SendRequest,
        ("ticket", "strHCPResponse", "strCompanyFileName", "qbXMLCountry", "qbXMLMajorVers", "qbXMLMinorVers"),
        frozenset({"qbXMLMajorVers", "qbXMLMinorVers"}),
    ),
    "receiveResponseXML": _Method(ReceiveResponse, ("ticket", "response", "hresult", "message"), result=int),
    "connectionError": _Method(ConnectionFailed, ("ticket", "hresult", "message")),
    "getLastError": _Method(LastError, ("ticket",)),
    "closeConnection": _Method(Close, ("ticket",)),
    "getInteractiveURL": _Method(InteractiveUrl, ("wcTicket", "sessionID")),
    "interactiveRejected": _Method(InteractiveRejected, ("wcTicket", "reason")),
    "interactiveDone": _Method(InteractiveDone, ("wcTicket",)),
}
_NAMES: Mapping[object, str] = {method.call: name for name, method in _METHODS.items()}


def parse_call(body: bytes) -> Call:
    """The call that the body of a request is.

    Raises:
        SoapError: If it is none; answer it with `fault`.
    """
    try:
        root = parse_xml(body)
    except UnreadableXmlError as error:
        raise SoapError(str(error)) from None
    soap_body = root.find(f"{{{_ENVELOPE}}}Body") if root.tag == f"{{{_ENVELOPE}}}Envelope" else None
    if soap_body is None or len(soap_body) != 1:
        raise SoapError("it is no SOAP 1.1 envelope with one call in its body")
    element = soap_body[0]
    space, _, name = element.tag.rpartition("}")
    method = _METHODS.get(name)
    if space != f"{{{NAMESPACE}" or method is None:
        raise SoapError("it is no call of the QuickBooks Web Connector")
    texts = {each.tag.rpartition("}")[2]: _text(each) for each in element}
    return method.call(
        *(_number(texts, each) if each in method.numbers else texts.get(each, "") for each in method.parameters)
    )


def answer(call: Call, result: Result) -> bytes:
    """The body that answers the call.

    ASCII only: everything else stands as character references, and what XML cannot hold becomes U+FFFD.

    Raises:
        TypeError: If the call is not answered with such a result.
    """
    name = _NAMES[type(call)]
    wanted = _METHODS[name].result
    if wanted is list:
        if isinstance(result, str | int):
            raise TypeError(f"{name} is answered with texts")
        inner = "".join(f"<string>{_escaped(each)}</string>" for each in result)
    elif not isinstance(result, wanted) or isinstance(result, bool):
        raise TypeError(f"{name} is answered with {wanted.__name__}")
    else:
        inner = _escaped(str(result))
    return _envelope(f'<{name}Response xmlns="{NAMESPACE}"><{name}Result>{inner}</{name}Result></{name}Response>')


def fault(sentence: str, *, ours: bool = False) -> bytes:
    """The body that says that a request cannot be served, to be sent with status 500. `ours`: whose fault it is.

    The Web Connector shows the sentence in its log. Source: SOAP 1.1, section 4.4.
    """
    code = "soap:Server" if ours else "soap:Client"
    return _envelope(
        f"<soap:Fault><faultcode>{code}</faultcode><faultstring>{_escaped(sentence)}</faultstring></soap:Fault>"
    )


def wsdl(address: str) -> bytes:
    """The service's description, which the Web Connector asks for with `GET …?wsdl`; calls are sent to `address`."""
    types, messages, operations, bindings = ("".join(each) for each in zip(*map(_described, _METHODS), strict=True))
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:xs="http://www.w3.org/2001/XMLSchema" '
        f'xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:t="{NAMESPACE}" targetNamespace="{NAMESPACE}">'
        f'<wsdl:types><xs:schema elementFormDefault="qualified" targetNamespace="{NAMESPACE}">{types}'
        '<xs:complexType name="ArrayOfString"><xs:sequence><xs:element name="string" type="xs:string" nillable="true" '
        'minOccurs="0" maxOccurs="unbounded"/></xs:sequence></xs:complexType></xs:schema></wsdl:types>'
        f'{messages}<wsdl:portType name="TieoutSoap">{operations}</wsdl:portType>'
        '<wsdl:binding name="TieoutSoap" type="t:TieoutSoap">'
        f'<soap:binding transport="http://schemas.xmlsoap.org/soap/http" style="document"/>{bindings}</wsdl:binding>'
        '<wsdl:service name="Tieout"><wsdl:port name="TieoutSoap" binding="t:TieoutSoap">'
        f"<soap:address location={_quoted(address)}/></wsdl:port></wsdl:service></wsdl:definitions>"
    ).encode("ascii", "xmlcharrefreplace")


_TYPES: Mapping[type, str] = {str: "xs:string", int: "xs:int", list: "t:ArrayOfString"}


def _described(name: str) -> tuple[str, str, str, str]:
    """A method in the four parts of the description: types, messages, operation, binding."""
    method = _METHODS[name]
    parameters = "".join(
        f'<xs:element name="{each}" type="xs:int"/>'
        if each in method.numbers
        else f'<xs:element name="{each}" type="xs:string" minOccurs="0"/>'
        for each in method.parameters
    )
    least = "" if method.result is int else ' minOccurs="0"'
    result = f'<xs:element name="{name}Result" type="{_TYPES[method.result]}"{least}/>'
    literal = '<soap:body use="literal"/>'
    return (
        "".join(
            f'<xs:element name="{element}"><xs:complexType><xs:sequence>{children}'
            "</xs:sequence></xs:complexType></xs:element>"
            for element, children in ((name, parameters), (f"{name}Response", result))
        ),
        "".join(
            f'<wsdl:message name="{name}{way}"><wsdl:part name="parameters" element="t:{element}"/></wsdl:message>'
            for way, element in (("In", name), ("Out", f"{name}Response"))
        ),
        (
            f'<wsdl:operation name="{name}"><wsdl:input message="t:{name}In"/><wsdl:output message="t:{name}Out"/>'
            "</wsdl:operation>"
        ),
        (
            f'<wsdl:operation name="{name}"><soap:operation soapAction="{NAMESPACE}{name}" style="document"/>'
            f"<wsdl:input>{literal}</wsdl:input><wsdl:output>{literal}</wsdl:output></wsdl:operation>"
        ),
    )


def _text(element: Element) -> str:
    if len(element):
        raise SoapError("a parameter holds elements instead of text")
    return element.text or ""


def _number(texts: Mapping[str, str], name: str) -> int:
    text = texts.get(name, "").strip()
    if not text:
        return 0
    if not re.fullmatch(r"[0-9]+", text) or len(text) > _VERSION_DIGITS_MAX:
        raise SoapError(f"{name} is not a version number")
    return int(text)


def _envelope(inner: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<soap:Envelope xmlns:soap="{_ENVELOPE}"><soap:Body>{inner}</soap:Body></soap:Envelope>'
    ).encode("ascii", "xmlcharrefreplace")


# What XML 1.0 can hold. Source: XML 1.0 (fifth edition), production 2, without the carriage return that readers drop.
_NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _escaped(text: str) -> str:
    return escape(_NOT_IN_XML.sub("\ufffd", text.replace("\r\n", "\n")))


def _quoted(text: str) -> str:
    return f'"{escape(text, {chr(34): "&quot;"})}"'
