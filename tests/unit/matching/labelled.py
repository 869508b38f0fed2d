"""The labelled set: customers as two systems write them, of which it is known whether they are the same.

`python -m tests.unit.matching.labelled` writes `tests/data/matching/cases.jsonl` again. How each perturbation is made
stands in the README there.
"""

from __future__ import annotations

import csv
import json
import random
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from tieout.domain.documents import Address, Customer
from tieout.domain.records import Kind, Record

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "tests" / "data" / "matching"
CASES = FOLDER / "cases.jsonl"
ACCOUNTS = ROOT / "sandbox" / "data" / "crm-sales-opportunities" / "accounts.csv"
SEED = 20_261_123
COMMITTED = 10
"""Cases of each perturbation in the committed file."""
NAME_MAX = 100

type Fields = dict[str, Any]


class Part(StrEnum):
    """Weights and thresholds were set with TUNED; HELD_OUT has other customers, and perturbations of its own."""

    TUNED = "tuned"
    HELD_OUT = "held_out"


@dataclass(frozen=True)
class Case:
    """A customer of the CRM, what a search in the books brings, and which of that is the same; None if none is."""

    part: Part
    perturbation: str
    document: Fields
    books: tuple[Fields, ...]
    truth: str | None

    def customer(self) -> Customer:
        fields = dict(self.document)
        if address := fields.get("billing_address"):
            fields["billing_address"] = Address(**address)
        return Customer(**fields)

    def candidates(self) -> list[Record]:
        return [
            Record(Kind.CUSTOMER, fields["id"], fields={name: value for name, value in fields.items() if name != "id"})
            for fields in self.books
        ]

    def as_json(self) -> str:
        row = {"part": self.part, "perturbation": self.perturbation, "truth": self.truth}
        return json.dumps(row | {"document": self.document, "books": list(self.books)}, ensure_ascii=False)


def committed() -> list[Case]:
    """The cases of the file."""
    rows = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
    return [
        Case(Part(row["part"]), row["perturbation"], row["document"], tuple(row["books"]), row["truth"]) for row in rows
    ]


def generated(part: Part, each: int, seed: int = SEED) -> Iterator[Case]:
    """`each` cases of every perturbation of the part; the same for the same seed."""
    for name, perturb in PERTURBATIONS.items():
        if part is Part.TUNED and name in HELD_OUT_ONLY:
            continue
        for number in range(each):
            maker = Maker(random.Random(f"{seed} {part} {name} {number}"), part)
            document, books, truth = perturb(maker)
            order = maker.rng.sample(books, len(books))
            yield Case(part, name, document, tuple(order), truth)


# ---- customers ----


def _halves(*texts: str) -> tuple[list[str], ...]:
    """Lists of words, or of phrases with commas between."""
    return tuple([phrase.strip() for phrase in text.split(",")] if "," in text else text.split() for text in texts)


_PLACES: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "US": (("Springfield", "IL", "627"), ("Portland", "OR", "972"), ("Dayton", "OH", "454"), ("Tucson", "AZ", "857")),
    "GB": (("Leeds", "", "LS1 "), ("Bristol", "", "BS1 "), ("Cardiff", "", "CF10 "), ("London", "", "EC1A ")),
    "DE": (("Köln", "", "506"), ("Nürnberg", "", "904"), ("Leipzig", "", "041"), ("Hamburg", "", "200")),
    "FR": (("Lyon", "", "690"), ("Lille", "", "590"), ("Nîmes", "", "300"), ("Orléans", "", "450")),
    "NL": (("Utrecht", "", "351"), ("Breda", "", "481"), ("Zwolle", "", "801"), ("Leiden", "", "231")),
    "ES": (("Sevilla", "", "410"), ("Málaga", "", "290"), ("Gijón", "", "332"), ("Vigo", "", "362")),
    "AU": (("Perth", "WA", "60"), ("Hobart", "TAS", "70"), ("Cairns", "QLD", "48"), ("Geelong", "VIC", "32")),
    "CA": (("Halifax", "NS", "B3H "), ("Ottawa", "ON", "K1A "), ("Calgary", "AB", "T2P "), ("Québec", "QC", "G1V ")),
    "IN": (("Pune", "MH", "4110"), ("Surat", "GJ", "3950"), ("Mysuru", "KA", "5700"), ("Kochi", "KL", "6820")),
    "PL": (("Łódź", "", "90-"), ("Kraków", "", "30-"), ("Gdańsk", "", "80-"), ("Poznań", "", "60-")),
}
_FORMS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "US": (("Inc.", "Incorporated", "Inc", ", Inc."), ("LLC", "L.L.C.", ", LLC"), ("Corp.", "Corporation", "Corp")),
    "GB": (("Ltd", "Limited", "Ltd."), ("PLC", "plc", "P.L.C."), ("LLP", "L.L.P.")),
    "DE": (("GmbH", "G.m.b.H.", "gmbh"), ("AG", "Aktiengesellschaft"), ("GmbH & Co. KG", "GmbH und Co KG")),
    "FR": (("SARL", "S.A.R.L.", "Sarl"), ("SA", "S.A."), ("SAS", "S.A.S.")),
    "NL": (("B.V.", "BV", "b.v."), ("N.V.", "NV")),
    "ES": (("S.L.", "SL", "S. L."), ("S.A.", "SA", "S. A.")),
    "AU": (("Pty Ltd", "Pty. Ltd.", "Proprietary Limited"), ("Limited", "Ltd")),
    "CA": (("Inc.", "Incorporated"), ("Ltd.", "Limited"), ("Corp.", "Corporation")),
    "IN": (("Pvt Ltd", "Private Limited", "Pvt. Ltd."), ("LLP", "L.L.P.")),
    "PL": (("Sp. z o.o.", "sp. z o. o.", "SP Z O O"), ("S.A.", "SA")),
}
_CALLING = {
    "US": "1",
    "CA": "1",
    "GB": "44",
    "DE": "49",
    "FR": "33",
    "NL": "31",
    "ES": "34",
    "AU": "61",
    "IN": "91",
    "PL": "48",
}
# Two halves: the first for the tuned part, the second for the held-out one.
_HEADS = _halves(
    """
    Northwind Bluewater Kestrel Marigold Ironbridge Harbour Cobalt Juniper Falcon Redwood Silverline Crestview
    Lindner Bäcker Müller Fuchs Delacroix Beaumont Lefèvre Janssen Vermeer Castaño Ibáñez Ashworth Pemberton
    Sharma Patel Kowalski Nowak Granite
    """,
    """
    Eastgate Starling Saffron Copperfield Meadowlark Summit Onyx Hawthorn Osprey Birchwood Goldcrest Fairview
    Schäfer Köhler Größel Weiß Fontaine Guérin Renoir Visser Mulder Ordóñez Cabañas Whitaker Kingsley Mehta
    Reddy Wiśniewski Zając Slate
    """,
)
_TRADES = _halves(
    """
    Bakery, Logistics, Plumbing, Consulting, Metals, Software, Dental Care, Catering, Print & Sign, Joinery,
    Electrical Services, Landscaping, Freight, Optics, Textiles
    """,
    """
    Brewery, Transport, Roofing, Advisory, Plastics, Systems, Veterinary Clinic, Events, Tile & Stone,
    Carpentry, Heating Engineers, Nurseries, Shipping, Instruments, Furniture
    """,
)
_GIVEN = _halves(
    """
    Maria Daniel Andrea Peter Sofia Hannah Karl Lukas Claire Julien Femke Pilar Oliver Grace Ravi Anita Piotr
    Agnieszka
    """,
    """
    Marta Gabriel Simone Robert Elena Johanna Emil Niklas Sophie Étienne Joris Lucía Harriet Edward Arjun Sunita
    Tomasz Zofia
    """,
)
_FAMILY = _halves(
    """
    Baumann Keller Hoffmann Girard Moreau Bakker Navarro Holmes Bennett Iyer Kapoor Wójcik Carter Bishop Turner
    Reyes
    """,
    """
    Lehmann Vogel Schröder Fournier Lambert Dekker Serrano Watson Chapman Menon Bhatt Mazur Porter Abbott Foster
    Molina
    """,
)
_STREETS = {
    "DE": ("Hauptstraße", "Lindenweg", "Gartenstraße", "Bahnhofstraße"),
    "FR": ("rue de la Paix", "avenue Foch", "boulevard Victor Hugo", "place du Marché"),
    "NL": ("Kerkstraat", "Dorpsweg", "Molenlaan", "Stationsplein"),
    "ES": ("Calle Mayor", "Avenida del Sol", "Plaza Nueva", "Calle Real"),
    "PL": ("ulica Długa", "ulica Polna", "aleja Lipowa", "ulica Leśna"),
}
_ENGLISH_STREETS = ("Mill Street", "Park Avenue", "Station Road", "Church Lane", "Oak Drive", "North Boulevard")
_FREE_MAIL = ("gmail.com", "outlook.com", "yahoo.com", "gmx.net")
_COUNTRIES_OF_ACCOUNTS = {"United States": "US", "Germany": "DE"}


@dataclass(frozen=True)
class Party:
    """A customer before two systems write it down. `form` is the place of its legal form among its country's."""

    head: str
    form: tuple[int, int] | None
    country: str
    address: Mapping[str, str]
    phone: str
    email: str
    website: str
    tax_id: str
    person: tuple[str, str] | None = None
    contact: tuple[str, str] = ("", "")

    @property
    def name(self) -> str:
        if self.person is not None:
            return " ".join(self.person)
        if self.form is None:
            return self.head
        spelling = _FORMS[self.country][self.form[0]][self.form[1]]
        return f"{self.head}{spelling}" if spelling.startswith(",") else f"{self.head} {spelling}"


@dataclass
class Maker:
    """Makes parties and writes them down, all by one seeded source of chance."""

    rng: random.Random
    part: Part
    _ids: Iterator[int] = field(default_factory=lambda: iter(range(101, 200)))

    @property
    def half(self) -> int:
        return 0 if self.part is Part.TUNED else 1

    def company(self, country: str | None = None) -> Party:
        """One of the public lists' names, or a head and a trade."""
        if country is None and self.rng.random() < 0.3:
            head, place = self.rng.choice(_listed(self.half))
            return self._filled(head, place, form=None)
        place = country or self.rng.choice(sorted(_PLACES))
        head = self.rng.choice(_HEADS[self.half])
        if self.rng.random() < 0.2:
            head += f" & {self.rng.choice(('Sons', 'Partners', _HEADS[self.half][3]))}"
        head += f" {self.rng.choice(_TRADES[self.half])}"
        form = (self.rng.randrange(len(_FORMS[place])), 0) if self.rng.random() < 0.8 else None
        return self._filled(head, place, form)

    def person(self) -> Party:
        given, family = self.rng.choice(_GIVEN[self.half]), self.rng.choice(_FAMILY[self.half])
        if self.rng.random() < 0.2:
            given, family = self.rng.choice([row for row in _listed_persons() if (len(row[0]) % 2) == self.half])
        party = self._filled(f"{given} {family}", self.rng.choice(sorted(_PLACES)), form=None)
        mail = f"{given}.{family}@{self.rng.choice(_FREE_MAIL)}".lower()
        return replace(party, person=(given, family), email=_ascii(mail), website="", tax_id="")

    def _filled(self, head: str, country: str, form: tuple[int, int] | None) -> Party:
        domain = _ascii("".join(letter for letter in head.lower() if letter.isalnum())) + ".example"
        contact = (self.rng.choice(_GIVEN[self.half]), self.rng.choice(_FAMILY[self.half]))
        local = self.rng.choice(("info", "accounts", _ascii(contact[0].lower()), "office"))
        return Party(
            head=head,
            form=form,
            country=country,
            address=self.address(country),
            phone=self.phone(country),
            email=f"{local}@{domain}",
            website=f"https://www.{domain}/",
            tax_id=self.tax_id(country),
            contact=contact,
        )

    def address(self, country: str) -> dict[str, str]:
        city, state, code = self.rng.choice(_PLACES[country])
        streets = _STREETS.get(country, _ENGLISH_STREETS)
        street, number = self.rng.choice(streets), str(self.rng.randrange(1, 180))
        line = f"{street} {number}" if country in ("DE", "NL", "ES", "PL") else f"{number} {street}"
        address = {"line1": line, "city": city, "postal_code": self._code(country, code), "country": country}
        return address | ({"state": state} if state else {})

    def _code(self, country: str, start: str) -> str:
        digits = f"{self.rng.randrange(1000):03d}"
        if country == "GB":
            return f"{start}{digits[0]}AB"
        if country == "CA":
            return f"{start}{digits[0]}A{digits[1]}"
        if country == "NL":
            return f"{start}{digits[0]} AB"
        return start + digits[: (6 if country in ("IN", "PL") else 4 if country == "AU" else 5) - len(start)]

    def phone(self, country: str) -> str:
        """International form. Numbers that are kept for films where there are such, others made up."""
        rest = self.rng.randrange
        british = self.rng.choice(("113", "114", "115", "116", "117", "118", "121", "131", "141", "151", "161"))
        national = {
            "US": f"{rest(201, 989)}55501{rest(100):02d}",
            "CA": f"{rest(201, 989)}55501{rest(100):02d}",
            "GB": f"{british}496{rest(1000):04d}",
            "AU": f"25550{rest(10000):04d}",
        }.get(country) or str(rest(200_000_000, 999_999_999))
        return f"+{_CALLING[country]}{national}"

    def tax_id(self, country: str) -> str:
        number = f"{self.rng.randrange(10**8, 10**9)}"
        return {"US": f"{number[:2]}-{number[2:]}", "IN": f"27AAPFU{number[:4]}F1ZV", "AU": f"51{number}"}.get(
            country, f"{country}{number}"
        )

    # ---- writing down ----

    def document(self, party: Party, **changes: object) -> Fields:
        """As the CRM has it: each field but the name with seven chances of ten."""
        return self._written(party, changes)

    def booked(self, party: Party, **changes: object) -> Fields:
        """As the books have it, with an id."""
        return {"id": str(next(self._ids))} | self._written(party, changes)

    def _written(self, party: Party, changes: Mapping[str, object]) -> Fields:
        """The fields that were recorded. A change that is given is always recorded, and None is always left out."""
        whole: Fields = {
            "name": party.name,
            "given_name": (party.person or party.contact)[0],
            "family_name": (party.person or party.contact)[1],
            "email": party.email,
            "phone": party.phone,
            "website": party.website,
            "tax_id": party.tax_id,
            "billing_address": dict(party.address),
        }
        kept = {
            name: value
            for name, value in whole.items()
            if value
            and (name == "name" or (name.endswith("_name") and party.person) or self.rng.random() < _RECORDED[name])
        }
        if ("given_name" in kept) != ("family_name" in kept):
            kept.pop("given_name", None)
            kept.pop("family_name", None)
        kept |= changes
        return {name: value for name, value in kept.items() if value is not None}


_RECORDED = {
    "given_name": 0.3,
    "family_name": 0.3,
    "email": 0.7,
    "phone": 0.7,
    "website": 0.4,
    "tax_id": 0.25,
    "billing_address": 0.7,
}


def _plain(text: str) -> str:
    """Without accents, as people write who do not have the keys; `ß` is `s` then and `ł` is `l`."""
    decomposed = unicodedata.normalize("NFKD", text.replace("ß", "s").replace("ł", "l").replace("Ł", "L"))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _ascii(text: str) -> str:
    return _plain(text).replace(" ", "")


@cache
def _listed(half: int) -> list[tuple[str, str]]:
    """Every second name of the public-domain account list; those of the contact exports are split likewise."""
    with ACCOUNTS.open(encoding="utf-8", newline="") as file:
        rows = [
            (row["account"], _COUNTRIES_OF_ACCOUNTS.get(row["office_location"], "US")) for row in csv.DictReader(file)
        ]
    rows += [(row["company"], row["country"]) for row in _exported() if row["company"]]
    return rows[half::2]


@cache
def _exported() -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads((FOLDER / "contacts.json").read_text(encoding="utf-8"))
    return rows


@cache
def _listed_persons() -> list[tuple[str, str]]:
    return [(row["given_name"], row["family_name"]) for row in _exported()]


# ---- perturbations: the same customer ----

type Made = tuple[Fields, list[Fields], str | None]


def _same(maker: Maker, party: Party, document: Fields, booked: Fields, *others: Fields) -> Made:
    """The customer is in the books; half of the time with one beside it that only looks like it."""
    books = [booked, *others]
    if not others and maker.rng.random() < 0.5:
        books.append(_lookalike(maker, party))
    return document, books, booked["id"]


def _lookalike(maker: Maker, party: Party) -> Fields:
    other = maker.person() if party.person else maker.company(party.country)
    if party.person:
        return maker.booked(replace(other, person=(other.person[0], party.person[1])))
    return maker.booked(replace(other, head=f"{party.head} {maker.rng.choice(_MORE[maker.half])}", form=party.form))


_MORE = (("Holding", "2", "West", "Group", "Services"), ("Holdings", "3", "South", "International", "Retail"))


def exact(maker: Maker) -> Made:
    party = maker.company() if maker.rng.random() < 0.8 else maker.person()
    return _same(maker, party, maker.document(party), maker.booked(party))


def name_only(maker: Maker) -> Made:
    party = maker.company()
    return _same(maker, party, {"name": party.name}, maker.booked(party))


def legal_form_spelt(maker: Maker) -> Made:
    party = maker.company(maker.rng.choice(sorted(_FORMS)))
    kind = maker.rng.randrange(len(_FORMS[party.country]))
    one, other = (
        replace(party, form=(kind, number)) for number in (0, maker.rng.randrange(1, len(_FORMS[party.country][kind])))
    )
    return _same(maker, party, maker.document(one), maker.booked(other))


def legal_form_left_out(maker: Maker) -> Made:
    party = replace(maker.company(maker.rng.choice(sorted(_FORMS))), form=(0, 0))
    bare = replace(party, form=None)
    ours, theirs = (bare, party) if maker.rng.random() < 0.5 else (party, bare)
    return _same(maker, party, maker.document(ours), maker.booked(theirs))


def legal_form_changed(maker: Maker) -> Made:
    party = maker.company(maker.rng.choice(["US", "GB", "DE", "FR", "ES"]))
    return _same(maker, party, maker.document(replace(party, form=(0, 0))), maker.booked(replace(party, form=(1, 0))))


def capitals_and_marks(maker: Maker) -> Made:
    party = maker.company()
    name = maker.rng.choice(
        [
            party.name.upper(),
            party.name.lower(),
            party.name.replace("&", "and").replace(".", ""),
            f"The {party.name}",
            party.name.replace(" ", "  ") + " ",
        ]
    )
    return _same(maker, party, maker.document(party, name=name), maker.booked(party))


def typo(maker: Maker) -> Made:
    party = maker.company()
    return _same(maker, party, maker.document(party, name=_mistyped(maker, party.name)), maker.booked(party))


def _mistyped(maker: Maker, name: str) -> str:
    words = name.split(" ")
    place = max(range(len(words)), key=lambda number: len(words[number]))
    word, at = words[place], maker.rng.randrange(1, len(words[place]) - 1)
    words[place] = maker.rng.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at] + word[at:],
            word[:at] + maker.rng.choice("aeiounrst") + word[at + 1 :],
        ]
    )
    return " ".join(words)


def moved(maker: Maker) -> Made:
    party = maker.company()
    there = maker.booked(party, billing_address=maker.address(party.country))
    return _same(maker, party, maker.document(party, billing_address=dict(party.address)), there)


def address_spelt(maker: Maker) -> Made:
    party = maker.company()
    short = {
        "Street": "St.",
        "Avenue": "Ave",
        "Road": "Rd",
        "Lane": "Ln.",
        "Drive": "Dr",
        "Boulevard": "Blvd.",
        "straße": "str.",
    }
    line = party.address["line1"]
    for long, spelt in short.items():
        line = line.replace(long, spelt)
    address = {**party.address, "line1": line, "postal_code": party.address["postal_code"].replace(" ", "").lower()}
    return _same(
        maker,
        party,
        maker.document(party, billing_address=dict(party.address)),
        maker.booked(party, billing_address=address),
    )


def phone_spelt(maker: Maker) -> Made:
    party = maker.company()
    national = party.phone.removeprefix(f"+{_CALLING[party.country]}")
    trunk = "" if party.country in ("US", "CA", "ES", "PL") else "0"
    spelt = maker.rng.choice(
        [
            f"{trunk}{national}",
            f"{party.phone[:3]} ({trunk}) {national[:3]}-{national[3:]}".replace("()", ""),
            f"{trunk}{national[:3]}.{national[3:6]}.{national[6:]}",
            f"{party.phone} ext. 12",
        ]
    )
    if spelt.startswith("+"):
        spelt = f"+{_CALLING[party.country]} {national[:3]} {national[3:]}" if "(" in spelt else spelt
    address = {"billing_address": dict(party.address)}
    return _same(
        maker, party, maker.document(party, phone=party.phone, **address), maker.booked(party, phone=spelt, **address)
    )


def phone_changed(maker: Maker) -> Made:
    party = maker.company()
    return _same(
        maker, party, maker.document(party, phone=party.phone), maker.booked(party, phone=maker.phone(party.country))
    )


def other_mailbox(maker: Maker) -> Made:
    party = maker.company()
    domain = party.email.partition("@")[2]
    return _same(
        maker, party, maker.document(party, email=f"buying@{domain}"), maker.booked(party, email=f"ap@{domain}")
    )


def mail_of_everybody(maker: Maker) -> Made:
    """A company of one man: an address at a large mail provider on one side, the company's on the other."""
    party = maker.company()
    mail = f"{_ascii(party.contact[1].lower())}{maker.rng.randrange(100)}@{maker.rng.choice(_FREE_MAIL)}"
    return _same(maker, party, maker.document(party, email=mail), maker.booked(party))


def spelt_without_accents(maker: Maker) -> Made:
    party = maker.company(maker.rng.choice(["DE", "FR", "ES", "PL"]))
    accented = [head for head in _HEADS[maker.half] if not head.isascii()]
    party = replace(party, head=f"{maker.rng.choice(accented)} {maker.rng.choice(_TRADES[maker.half])}")
    german = party.head.replace("ä", "ae").replace("ö", "oe").replace("ü", "ue").replace("ß", "ss")
    plain = maker.rng.choice([german, _plain(party.head)])
    return _same(maker, party, maker.document(replace(party, head=plain)), maker.booked(party))


def transliterated(maker: Maker) -> Made:
    """A Russian name in its own letters and in Latin ones."""
    cyrillic, latin = maker.rng.choice(_CYRILLIC[maker.half])
    party = replace(maker.company("US"), head=latin, form=None, country="US")
    return _same(
        maker, party, maker.document(party, name=f"{_OOO} {cyrillic}"), maker.booked(party, name=f"{latin}, OOO")
    )


_OOO = "ООО"  # noqa: RUF001 - Cyrillic on purpose
_CYRILLIC = (
    (("Ромашка", "Romashka"), ("Северсталь", "Severstal"), ("Волна", "Volna"), ("Сокол", "Sokol")),
    (("Берёзка", "Berezka"), ("Восток", "Vostok"), ("Медведь", "Medved"), ("Полёт", "Polet")),
)


def other_spaces(maker: Maker) -> Made:
    party = replace(maker.company(), form=None)
    glued = party.head.replace(" ", "-", 1) if maker.rng.random() < 0.5 else party.head.replace(" ", "", 1)
    return _same(maker, party, maker.document(replace(party, head=glued)), maker.booked(party))


def cut(maker: Maker) -> Made:
    party = maker.company(maker.rng.choice(sorted(_FORMS)))
    long = f"{party.head} {' '.join(maker.rng.sample(_LONG[maker.half], 8))} {_FORMS[party.country][0][0]}"
    return _same(maker, party, maker.document(party, name=long[:NAME_MAX].strip()), maker.booked(party, name=long))


_LONG = _halves(
    """
    Manufacturing Distribution International Commercial Procurement Development Association Agricultural
    Cooperative Foundation
    """,
    """
    Engineering Infrastructure Environmental Consultancy Investment Telecommunication Construction Federation
    Maintenance Exchange
    """,
)


def person_swapped(maker: Maker) -> Made:
    party = maker.person()
    given, family = party.person
    name = maker.rng.choice([f"{family}, {given}", f"{family} {given}"])
    return _same(maker, party, maker.document(party, name=name), maker.booked(party))


def renamed(maker: Maker) -> Made:
    """The company has a new name; tax number and e-mail address stayed."""
    party, new = maker.company("DE"), maker.company("DE")
    kept = {"tax_id": party.tax_id, "email": party.email}
    return _same(maker, party, maker.document(replace(party, head=new.head), **kept), maker.booked(party, **kept))


def under_its_contact(maker: Maker) -> Made:
    """The books have the person's name, with the company in its own field."""
    party = maker.company()
    there = maker.booked(
        party,
        name=" ".join(party.contact),
        given_name=party.contact[0],
        family_name=party.contact[1],
        company_name=party.name,
    )
    return _same(maker, party, maker.document(party), there)


def inactive(maker: Maker) -> Made:
    party = maker.company()
    return _same(maker, party, maker.document(party), maker.booked(party, active=False))


# ---- perturbations: another customer ----


def _another(document: Fields, *books: Fields) -> Made:
    return document, list(books), None


def numbered(maker: Maker) -> Made:
    party = replace(maker.company(), form=None)
    other = maker.company(party.country)
    one, two = maker.rng.sample(["", " 1", " 2", " 3", " II", " III"], 2)
    near = replace(other, email=party.email, website=party.website) if maker.rng.random() < 0.5 else other
    return _another(
        maker.document(replace(party, head=party.head + one)),
        maker.booked(replace(near, head=party.head + two, form=None)),
    )


def branch(maker: Maker) -> Made:
    """Two shops of one firm that are invoiced apart: same web domain, other towns."""
    party = maker.company()
    other = replace(party, phone=maker.phone(party.country), address=maker.address(party.country), tax_id="")
    words = ("North", "South", "East", "West", "Uptown", "Airport", "Leipzig", "Perth")
    one, two = maker.rng.sample(words, 2)
    return _another(
        maker.document(replace(party, head=f"{party.head} {one}")),
        maker.booked(replace(other, head=f"{party.head} {two}")),
    )


def parent_and_child(maker: Maker) -> Made:
    """Same address, phone, web domain and often e-mail address; the words tell them apart."""
    party = maker.company()
    child = replace(
        party, head=f"{party.head} {maker.rng.choice(_MORE[maker.half])}", tax_id=maker.tax_id(party.country)
    )
    ours, theirs = (party, child) if maker.rng.random() < 0.5 else (child, party)
    return _another(maker.document(ours), maker.booked(theirs))


def homonym_abroad(maker: Maker) -> Made:
    party = maker.company("US")
    other = replace(maker.company(maker.rng.choice(["GB", "AU", "CA"])), head=party.head, form=None)
    ours, theirs = replace(party, form=None), other
    return _another(
        maker.document(ours, billing_address=dict(ours.address)),
        maker.booked(theirs, billing_address=dict(theirs.address)),
    )


def homonym_at_home(maker: Maker) -> Made:
    """Same name in another town of the country; at least two of phone, e-mail and address are known on both sides."""
    party = maker.company()
    other = maker.company(party.country)
    domain = f"{_ascii(party.head.lower().replace('&', ''))[:12]}-{other.address['city'].lower()[:4]}.example".replace(
        " ", ""
    )
    other = replace(other, head=party.head, form=party.form, email=f"info@{_ascii(domain)}", website="")
    ours, theirs = _told(maker, party, other)
    return _another(maker.document(party, **ours), maker.booked(other, **theirs))


def _told(maker: Maker, one: Party, other: Party) -> tuple[Fields, Fields]:
    """Two of three facts of both; nobody can tell two of one name apart by nothing."""
    while other.address["city"] == one.address["city"]:
        other = replace(other, address=maker.address(one.country))
    names = maker.rng.sample(["phone", "email", "billing_address"], 2)
    facts = [
        {"phone": party.phone, "email": party.email, "billing_address": dict(party.address)} for party in (one, other)
    ]
    return {name: facts[0][name] for name in names}, {name: facts[1][name] for name in names}


def same_house(maker: Maker) -> Made:
    """Two firms in one office building, or at one accountant's address; the switchboard may be the same too."""
    party = maker.company()
    other = replace(maker.company(party.country), address=party.address)
    if maker.rng.random() < 0.5:
        other = replace(other, phone=party.phone)
    kept = {"billing_address": dict(party.address)}
    return _another(maker.document(party, **kept), maker.booked(other, **kept))


def one_person_two_firms(maker: Maker) -> Made:
    owner = maker.person()
    firms = [
        replace(maker.company(owner.country), email=owner.email, website="", contact=owner.person, phone=owner.phone)
        for _ in range(2)
    ]
    given = {"given_name": owner.person[0], "family_name": owner.person[1], "email": owner.email}
    return _another(maker.document(firms[0], **given), maker.booked(firms[1], **given))


def agents_mailbox(maker: Maker) -> Made:
    """A bookkeeper's address stands with many clients."""
    mail = f"invoices@{_ascii(maker.rng.choice(_FAMILY[maker.half]).lower())}-bookkeeping.example"
    clients = [replace(maker.company("GB"), email=mail, website="") for _ in range(3)]
    return _another(
        maker.document(clients[0], email=mail), *(maker.booked(client, email=mail) for client in clients[1:])
    )


def one_letter_apart(maker: Maker) -> Made:
    """Short made-up names that differ in a letter, of firms that have nothing to do with each other."""
    one, two = maker.rng.choice(_NEAR[maker.half])
    parties = [
        replace(maker.company("US"), head=name, form=None, email=f"info@{name.lower()}.example", website="")
        for name in (one, two)
    ]
    return _another(maker.document(parties[0]), maker.booked(parties[1]))


_NEAR = (
    (
        ("Konex", "Conex"),
        ("Betatech", "Bytatech"),
        ("Scottech", "Scantech"),
        ("Dontechi", "Dontechy"),
        ("Inity", "Unity"),
        ("Newex", "Nedex"),
    ),
    (
        ("Zoomit", "Zoomix"),
        ("Hatfan", "Hatfen"),
        ("Finjob", "Finjab"),
        ("Opentech", "Openteck"),
        ("Rantouch", "Rentouch"),
        ("Sonron", "Senron"),
    ),
)


def namesake(maker: Maker) -> Made:
    """Two people of one name, of whom two facts are known on both sides."""
    party, other = maker.person(), maker.person()
    other = replace(
        other,
        person=party.person,
        country=party.country,
        address=maker.address(party.country),
        phone=maker.phone(party.country),
    )
    other = replace(other, email=other.email.replace("@", f"{maker.rng.randrange(60, 99)}@"))
    ours, theirs = _told(maker, party, other)
    return _another(maker.document(party, **ours), maker.booked(other, **theirs))


def sister_form(maker: Maker) -> Made:
    """`X Inc.` and `X LLC` of one owner: same web domain and address, other tax numbers or phones."""
    party = maker.company(maker.rng.choice(["US", "GB", "DE"]))
    sister = replace(
        party,
        form=(1, 0),
        phone=maker.phone(party.country),
        tax_id=maker.tax_id(party.country),
        email=party.email.replace("info@", "contact@"),
    )
    told = {"phone": party.phone}, {"phone": sister.phone}
    return _another(maker.document(replace(party, form=(0, 0)), **told[0]), maker.booked(sister, **told[1]))


def tax_group(maker: Maker) -> Made:
    """Companies that file together have one VAT number, and often one address."""
    party = maker.company("GB")
    other = replace(maker.company("GB"), tax_id=party.tax_id, address=party.address)
    more = _MORE[maker.half]
    if maker.rng.random() < 0.5:
        other = replace(
            other,
            head=f"{party.head.split()[0]} {maker.rng.choice(_TRADES[maker.half])} {maker.rng.choice(more)}",
        )
    return _another(maker.document(party, tax_id=party.tax_id), maker.booked(other, tax_id=party.tax_id))


def departments(maker: Maker) -> Made:
    """Long names that are the same for 60 letters and more, and then are not."""
    party = maker.company()
    long = f"{party.head} {' '.join(maker.rng.sample(_LONG[maker.half], 5))}"
    one, two = maker.rng.sample(["Department of Roads", "Department of Schools", "Library", "Waste Works"], 2)
    other = replace(party, phone=maker.phone(party.country), address=maker.address(party.country), tax_id="")
    return _another(
        maker.document(party, name=f"{long} {one}"[:NAME_MAX]), maker.booked(other, name=f"{long} {two}"[:NAME_MAX])
    )


def nobody(maker: Maker) -> Made:
    """A search by the first word brings others that are not it."""
    party = maker.company()
    others = [
        replace(maker.company(party.country), head=f"{party.head.split()[0]} {trade}")
        for trade in maker.rng.sample(_TRADES[maker.half], 3)
    ]
    others = [other for other in others if other.head != party.head]
    return _another(maker.document(party), *(maker.booked(other) for other in others))


def franchise(maker: Maker) -> Made:
    """One brand, one web domain, other owners in other towns: the name alone is the same."""
    party = maker.company()
    other = replace(party, phone=maker.phone(party.country), address=maker.address(party.country), tax_id="")
    domain = party.email.partition("@")[2]
    other = replace(other, email=f"{_ascii(other.address['city'].lower())}@{domain}", address=dict(other.address))
    ours, theirs = _told(maker, party, other)
    return _another(maker.document(party, **ours), maker.booked(other, **theirs))


# ---- only in the held-out part ----


def couple(maker: Maker) -> Made:
    """Two of one household: given names that differ in a letter or so, one address and one phone."""
    party = maker.person()
    one, two = maker.rng.choice(
        [
            ("Andrea", "Andreas"),
            ("Daniel", "Daniela"),
            ("Gabriel", "Gabriele"),
            ("Simon", "Simone"),
            ("Martin", "Martina"),
        ]
    )
    kept = {"phone": party.phone, "billing_address": dict(party.address)}
    ours, theirs = (
        replace(party, person=(given, party.person[1]), email=f"{given.lower()}@gmail.com") for given in (one, two)
    )
    return _another(maker.document(ours, **kept), maker.booked(theirs, **kept))


def middle_initial(maker: Maker) -> Made:
    party = maker.person()
    given, family = party.person
    return _same(
        maker, party, maker.document(party, name=f"{given} {maker.rng.choice('ABCJM')}. {family}"), maker.booked(party)
    )


def abbreviated(maker: Maker) -> Made:
    party = maker.company()
    long, short = maker.rng.choice(
        [("International", "Intl"), ("Manufacturing", "Mfg"), ("Associates", "Assoc."), ("Brothers", "Bros")]
    )
    one, two = (replace(party, head=f"{party.head} {word}") for word in (long, short))
    return _same(maker, party, maker.document(one), maker.booked(two))


def typo_and_moved(maker: Maker) -> Made:
    party = maker.company()
    document = maker.document(party, name=_mistyped(maker, party.name), billing_address=maker.address(party.country))
    return _same(maker, party, document, maker.booked(party, billing_address=dict(party.address)))


def form_and_phone(maker: Maker) -> Made:
    party = replace(maker.company(maker.rng.choice(sorted(_FORMS))), form=(0, 0))
    document = maker.document(replace(party, form=None), phone=maker.phone(party.country))
    return _same(maker, party, document, maker.booked(party, phone=party.phone))


PERTURBATIONS: Mapping[str, Callable[[Maker], Made]] = {
    made.__name__: made
    for made in (
        exact,
        name_only,
        legal_form_spelt,
        legal_form_left_out,
        legal_form_changed,
        capitals_and_marks,
        typo,
        moved,
        address_spelt,
        phone_spelt,
        phone_changed,
        other_mailbox,
        mail_of_everybody,
        spelt_without_accents,
        transliterated,
        other_spaces,
        cut,
        person_swapped,
        renamed,
        under_its_contact,
        inactive,
        numbered,
        branch,
        parent_and_child,
        homonym_abroad,
        homonym_at_home,
        same_house,
        one_person_two_firms,
        agents_mailbox,
        one_letter_apart,
        namesake,
        sister_form,
        tax_group,
        departments,
        nobody,
        franchise,
        couple,
        middle_initial,
        abbreviated,
        typo_and_moved,
        form_and_phone,
    )
}
HELD_OUT_ONLY = frozenset({"couple", "middle_initial", "abbreviated", "typo_and_moved", "form_and_phone"})


def whole(each: int = COMMITTED) -> Sequence[Case]:
    """Both parts, as the file has them."""
    return [case for part in Part for case in generated(part, each)]


if __name__ == "__main__":
    CASES.write_text("".join(f"{case.as_json()}\n" for case in whole()), encoding="utf-8")
