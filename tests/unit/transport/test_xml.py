from __future__ import annotations

import io

import pytest

from tieout.transport.xml import UnreadableXmlError, parse_xml, stream_xml

BOMB = b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>'
OUTSIDE = b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><a>&b;</a>'


def test_reads_an_element_with_its_children():
    root = parse_xml('<?xml version="1.0"?><a><b x="1">Jürgen &amp; Söhne</b></a>')
    assert (root.tag, root[0].attrib, root[0].text) == ("a", {"x": "1"}, "Jürgen & Söhne")


@pytest.mark.parametrize("text", [BOMB, OUTSIDE, b"<a>", b"", b"<a>\xff</a>", b"<a/>" * 2, b"<!DOCTYPE a><a/>"])
def test_refuses_what_is_broken_or_has_a_document_type(text):
    with pytest.raises(UnreadableXmlError):
        parse_xml(text)
    with pytest.raises(UnreadableXmlError):
        list(stream_xml(io.BytesIO(text), frozenset({"b"})))


def test_refuses_an_encoding_that_it_does_not_know():
    with pytest.raises(UnreadableXmlError):
        parse_xml(b'<?xml version="1.0" encoding="no-such"?><a/>')


def test_refuses_what_is_nested_too_deep_without_falling_over():
    deep = b"<a>" * 50_000 + b"</a>" * 50_000
    with pytest.raises(UnreadableXmlError, match="more than 100 deep"):
        parse_xml(deep)
    with pytest.raises(UnreadableXmlError, match="more than 100 deep"):
        list(stream_xml(io.BytesIO(deep), frozenset({"b"})))


def test_the_error_says_where_and_not_what():
    with pytest.raises(UnreadableXmlError, match=r"line 2, column \d+") as caught:
        parse_xml("<a>\n<secret-name></a>")
    assert "secret" not in str(caught.value)


def test_streams_one_after_the_other_and_forgets_what_was_given_out():
    text = b"<all><head>x</head>" + b"".join(b"<row><n>%d</n></row>" % n for n in range(1000)) + b"</all>"
    rows = stream_xml(io.BytesIO(text), frozenset({"row"}))
    assert [row.findtext("n") for row in rows] == [str(n) for n in range(1000)]


def test_what_came_before_a_fault_is_given_out():
    rows = stream_xml(io.BytesIO(b"<all><row>1</row><row>2</row><row"), frozenset({"row"}))
    assert next(rows).text == "1"
    assert next(rows).text == "2"
    with pytest.raises(UnreadableXmlError):
        next(rows)
