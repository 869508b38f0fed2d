"""Cards and their like: many mailboxes, numbers and addresses with types, put under the titles of an Outlook file.

So what is known of these titles holds for cards, too. What has no title there is numbered on: `Mobile Phone 2`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

NO_PREFERENCE = 101
_MAIL_TITLES = ("E-mail Address", *(f"E-mail {number} Address" for number in range(2, 10)))
_PHONES = (  # the first whose types are all there
    ({"fax", "work"}, "Business Fax"),
    ({"fax", "home"}, "Home Fax"),
    ({"fax"}, "Other Fax"),
    ({"pager"}, "Pager"),
    ({"cell"}, "Mobile Phone"),
    ({"mobile"}, "Mobile Phone"),
    ({"iphone"}, "Mobile Phone"),
    ({"car"}, "Car Phone"),
    ({"isdn"}, "ISDN"),
    ({"textphone"}, "TTY/TDD Phone"),
    ({"assistant"}, "Assistant's Phone"),
    ({"assistantphone"}, "Assistant's Phone"),
    ({"main"}, "Company Main Phone"),
    ({"work"}, "Business Phone"),
    ({"home"}, "Home Phone"),
    ({"pref"}, "Primary Phone"),
)
_PLACES = ((frozenset({"work"}), "Business"), (frozenset({"home"}), "Home"), (frozenset[str](), "Other"))
_NAME = ("Last Name", "First Name", "Middle Name", "Title", "Suffix")
_SIMPLE = {
    "fn": "Display Name",
    "nickname": "Nickname",
    "title": "Job Title",
    "role": "Role",
    "uid": "UID",
    "gender": "Gender",
}
_PEOPLE = (("spouse", "Spouse"), ("manager", "Manager's Name"), ("assistant", "Assistant's Name"))
_ANNIVERSARY = "anniversary"
_UNREAD = frozenset(
    {
        "version", "rev", "prodid", "photo", "logo", "sound", "key", "label", "x-ablabel", "x-abadr", "x-abuid", "kind",
        "profile", "source", "sort-string", "mailer", "lang", "tz", "geo", "class", "xml", "x-abshowas", "fburl",
        "caluri", "caladruri", "agent", "x-ms-ol-design", "x-ms-ol-default-postal-address",
    }
)  # fmt: skip
"""What nobody misses: pictures, keys, and what programs tell each other."""
_EXTENSION = re.compile(r";ext=(\d+).*|;.*", re.IGNORECASE)
_NO_YEAR = re.compile(r"--\d")
_APPLE_LABEL = re.compile(r"_\$!<(.*)>!\$_")
ORDER = (
    *("Display Name", "Title", "First Name", "Middle Name", "Last Name", "Suffix", "Nickname", "Company"),
    *("Department", "Job Title", *_MAIL_TITLES, "Business Phone", "Mobile Phone", "Home Phone"),
)


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a card.

    Attributes:
        name: In small letters, without its group.
        parts: Its components, each with its values: one of one for most, five for a name, seven for an address.
        types: In small letters, with the words of its label.
        preference: 1 is preferred most.
    """

    name: str
    parts: Sequence[Sequence[str]]
    types: frozenset[str] = frozenset()
    preference: int = NO_PREFERENCE

    @property
    def text(self) -> str:
        """The first component, whole."""
        return ", ".join(self.parts[0]).strip() if self.parts else ""

    def part(self, index: int) -> str:
        """One component; empty if there is none."""
        return ", ".join(each for each in self.parts[index] if each).strip() if index < len(self.parts) else ""


@dataclass(slots=True)
class Sheet:
    """The values of one card by title."""

    values: dict[str, str] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)

    def put(self, title: str, value: str) -> None:
        """Takes the value under the title, or under the title with the next free number."""
        if not value or value in self.values.get(title, "").split("\n"):
            return
        free, number = title, 1
        while free in self.values:
            if self.values[free] == value:
                return
            number += 1
            free = f"{title} {number}"
        self.values[free] = value


def titled(properties: Iterable[Property]) -> Sheet:
    """The card's values under titles, preferred ones first; and the names of properties that have no title."""
    sheet = Sheet()
    together: dict[str, list[str]] = {"note": [], "categories": []}
    for each in sorted(properties, key=lambda one: one.preference):
        if each.name in together:
            found = [part for parts in each.parts for part in parts if part]
            together[each.name] += [part for part in found if part not in together[each.name]]
        elif each.name in _SIMPLE:
            sheet.put(_SIMPLE[each.name], each.part(0))
        elif each.name in _PUT:
            _PUT[each.name](sheet, each)
        else:
            _put_other(sheet, each)
    sheet.put("Notes", "\n".join(together["note"]))
    sheet.put("Categories", "; ".join(together["categories"]))
    return sheet


def _put_name(sheet: Sheet, name: Property) -> None:
    for index, title in enumerate(_NAME):
        sheet.put(title, name.part(index))


def _put_company(sheet: Sheet, company: Property) -> None:
    sheet.put("Company", company.part(0))
    units = (company.part(index) for index in range(1, len(company.parts)))
    sheet.put("Department", ", ".join(filter(None, units)))


def _put_mail(sheet: Sheet, mail: Property) -> None:
    address = mail.text.removeprefix("mailto:")
    if address and address not in (sheet.values.get(title) for title in _MAIL_TITLES):
        sheet.put(next((title for title in _MAIL_TITLES if title not in sheet.values), "E-mail"), address)


def _put_phone(sheet: Sheet, phone: Property) -> None:
    sheet.put(phone_title(phone), phone_of(phone.text))


def _put_page(sheet: Sheet, page: Property) -> None:
    sheet.put("Personal Web Page" if "home" in page.types else "Web Page", page.text)


def _put_birthday(sheet: Sheet, day: Property) -> None:
    sheet.put("Birthday without year" if _NO_YEAR.match(day.text) else "Birthday", day.text)


def in_order(titles: Iterable[str]) -> tuple[str, ...]:
    """Names, mailboxes and numbers first; then the rest, by the alphabet."""
    places = {title: place for place, title in enumerate(ORDER)}
    return tuple(sorted(titles, key=lambda title: (places.get(title, len(places)), title)))


def types_of(words: str) -> frozenset[str]:
    """The words of a type or label, such as `Home Fax` or Apple's `_$!<Work>!$_`."""
    match = _APPLE_LABEL.fullmatch(words.strip())
    return frozenset((match[1] if match else words).casefold().replace(",", " ").split())


def phone_title(phone: Property) -> str:
    """Under which title a number of these types goes."""
    types = phone.types | ({"pref"} if phone.preference < NO_PREFERENCE else set())
    return next((title for wanted, title in _PHONES if wanted <= types), "Other Phone")


def phone_of(text: str) -> str:
    """The number that a text or a `tel:` address holds."""
    if not text.casefold().startswith("tel:"):
        return text
    return _EXTENSION.sub(lambda match: f" ext. {match[1]}" if match[1] else "", text[len("tel:") :])


def _put_address(sheet: Sheet, address: Property) -> None:
    box, extended, street, city, state, code, country = (address.part(index) for index in range(7))
    lines = [line for line in (street, extended) if line] or [box]
    values = {
        "Street": "\n".join(lines),
        "City": city,
        "State": state,
        "Postal Code": code,
        "Country/Region": country,
        "Address PO Box": box if lines != [box] else "",
    }
    if not any(values.values()):
        return
    place = next(title for types, title in _PLACES if types <= address.types)
    free, number = place, 1
    while any(title.startswith(f"{free} {part}") for title in sheet.values for part in values):
        number += 1
        free = f"{place} {number}"
    for part, value in values.items():
        sheet.put(f"{free} {part}", value)


def _put_other(sheet: Sheet, each: Property) -> None:
    """What programs add by themselves, in their many spellings."""
    told = each.name if each.name not in ("x-abrelatednames", "x-abdate") else " ".join(each.types)
    if _ANNIVERSARY in told:
        sheet.put("Anniversary", each.text)
        return
    if each.name.startswith(("x-", "related")):
        for word, title in _PEOPLE:
            if word in told:
                sheet.put(title, each.text)
                return
    if each.name not in _UNREAD and each.text:
        sheet.unread.add(each.name)


_PUT: Mapping[str, Callable[[Sheet, Property], None]] = {
    "n": _put_name,
    "org": _put_company,
    "email": _put_mail,
    "tel": _put_phone,
    "adr": _put_address,
    "url": _put_page,
    "bday": _put_birthday,
}


def told_unread(names: set[str]) -> tuple[str, ...]:
    """The warning that names what is not taken; none if there is nothing."""
    if not names:
        return ()
    some = ", ".join(sorted(name.upper() for name in names)[:10])
    return (f"These properties are not read: {some}.",)
