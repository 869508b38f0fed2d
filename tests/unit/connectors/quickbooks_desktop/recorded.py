"""What went through the Web Connector once: `tests/data/quickbooks_desktop`."""

from __future__ import annotations

import html
import re
from pathlib import Path
from xml.etree.ElementTree import Element

from tieout.transport.xml import parse_xml

RECORDED = Path(__file__).parents[3] / "data" / "quickbooks_desktop"


def form_of(name: str) -> Element:
    """A recorded request that has every element of its kind."""
    root = parse_xml((RECORDED / name).read_bytes())
    return root[0][0]


def answer_of(name: str) -> bytes:
    """The qbXML that QuickBooks answered, cut out of what the Web Connector brought."""
    text = (RECORDED / name).read_text("utf-8")
    if "&lt;QBXML" in text:
        text = html.unescape(text)
    match = re.search(r"<QBXMLMsgsR[sq]\b.*</QBXMLMsgsR[sq]>", text, re.DOTALL)
    assert match is not None
    inner = re.sub(r"<\?xml[^>]*\?>", "", match[0]).replace("QBXMLMsgsRq", "QBXMLMsgsRs")
    return f"<QBXML>{inner}</QBXML>".encode()
