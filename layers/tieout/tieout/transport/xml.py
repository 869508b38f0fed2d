"""XML that others wrote: read without entities, documents of its own or anything fetched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring, iterparse

DEPTH_MAX = 100


class UnreadableXmlError(ValueError):
    """It is not XML that can be read: broken, too deep, or with a document type or entities of its own."""


def parse_xml(text: bytes | str) -> Element:
    """The root element.

    Raises:
        UnreadableXmlError: Saying where, never what stands there.
    """
    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except ParseError as error:
        raise _broken(error) from None
    except (DefusedXmlException, ValueError, LookupError):
        raise UnreadableXmlError("the XML has a document type, entities or an encoding that is not read") from None
    _check_depth(root)
    return root


def stream_xml(file: BinaryIO, tags: frozenset[str]) -> Iterator[Element]:
    """Each element with one of these tags, whole, in turn; what was given out before is forgotten.

    Raises:
        UnreadableXmlError: As soon as the fault is reached; what came before was given out.
    """
    path: list[Element] = []
    try:
        for event, element in iterparse(file, events=("start", "end"), forbid_dtd=True):
            if event == "start":
                path.append(element)
                if len(path) > DEPTH_MAX:
                    raise UnreadableXmlError(f"the XML is nested more than {DEPTH_MAX} deep")
                continue
            path.pop()
            if element.tag in tags and not any(one.tag in tags for one in path):
                yield element
            if path and not any(one.tag in tags for one in path):
                path[-1].remove(element)
    except ParseError as error:
        raise _broken(error) from None
    except (DefusedXmlException, LookupError):
        raise UnreadableXmlError("the XML has a document type, entities or an encoding that is not read") from None


def _broken(error: ParseError) -> UnreadableXmlError:
    line, column = error.position
    return UnreadableXmlError(f"the XML is broken at line {line}, column {column}")


def _check_depth(root: Element) -> None:
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > DEPTH_MAX:
            raise UnreadableXmlError(f"the XML is nested more than {DEPTH_MAX} deep")
        level = [child for element in level for child in element]
