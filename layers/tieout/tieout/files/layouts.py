"""Which program wrote a file, by its titles."""

from __future__ import annotations

from tieout.domain.records import Kind
from tieout.files.meanings import BY_KIND, KINDS
from tieout.files.source import Finding, Format, Table
from tieout.files.titles import folded, known_titles, locale_of, meaning_of

_BY_FORMAT = {
    Format.VCARD: "vcard",
    Format.JCARD: "vcard",
    Format.XCARD: "vcard",
    Format.TALLY_XML: "tally",
}
# Titles that only this program writes; so many of them must be there.
_MARKS = {
    "goldmine": (2, {"accountno", "contact", "phone1", "address1", "recid", "key1", "lastname", "company", "zip"}),
    "google": (2, {"email 1 type", "phone 1 type", "group membership", "email 1 label", "phone 1 label", "labels"}),
    "outlook": (2, {"email type", "email display name", "government id number", "organizational id number", "user 1"}),
    "outlook_web": (2, {"given yomi", "surname yomi", "imaddress", "personal web page", "company yomi", "schools"}),
    "thunderbird": (2, {"primary email", "secondary email", "screen name", "custom 1", "web page 1", "work zipcode"}),
    "act": (2, {"id status", "record manager", "fax phone", "last results", "edit date", "create date", "web site"}),
}
_GOLDMINE_ONLY = {"accountno", "phone1", "recid", "key1", "address1"}


def layout_of(table: Table) -> tuple[Finding, Finding]:
    """The layout, and the locale of the titles."""
    locale, _ = locale_of(table.columns)
    if table.format in _BY_FORMAT:
        return Finding(_BY_FORMAT[table.format]), Finding(None)
    if table.findings.layout.value != "generic":
        return table.findings.layout, Finding(locale)
    have = {folded(title) for title in table.columns}
    sure = Finding(locale, "sure" if known_titles(table.columns) * 2 >= len(table.columns) else "guessed")
    for layout, (enough, marks) in _MARKS.items():
        if len(have & marks) >= enough and (layout != "goldmine" or have & _GOLDMINE_ONLY):
            return Finding(layout), sure
    meanings = [meaning_of(title, locale, "outlook") for title in table.columns]
    of_people = [each for each in meanings if each in BY_KIND[Kind.CONTACT]]
    if len(of_people) * 2 >= len(meanings) and any(each in KINDS[Kind.CONTACT] for each in of_people):
        return Finding("outlook", "guessed"), sure
    return Finding("generic", "guessed"), sure
