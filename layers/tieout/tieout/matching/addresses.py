"""Postal addresses: the same house, the same place, or another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from tieout.matching.names import distance, fold

# The many spellings of what a street is called; the short one stands for all. `saint` and `street` are both `st`.
_SHORT = {
    long: short
    for short, spellings in {
        "st": "street saint str strasse",
        "ave": "avenue av aven avda avenida",
        "rd": "road",
        "blvd": "boulevard boul bd bvd",
        "dr": "drive drv",
        "ln": "lane",
        "ct": "court",
        "pl": "place plaza pza platz",
        "sq": "square",
        "hwy": "highway",
        "pkwy": "parkway",
        "ter": "terrace terr",
        "cir": "circle",
        "crk": "creek",
        "n": "north nord norte",
        "s": "south sud sur",
        "e": "east ost este",
        "w": "west oeste",
        "ne": "northeast",
        "nw": "northwest",
        "se": "southeast",
        "sw": "southwest",
        "ste": "suite",
        "apt": "apartment appartement",
        "fl": "floor",
        "bldg": "building",
        "c": "calle",
        "r": "rue rua",
        "v": "via",
        "weg": "wg",
        "mt": "mount",
        "ft": "fort",
        "no": "number num nr",
        "box": "pobox",
    }.items()
    for long in spellings.split()
}
_LONG_ENOUGH = 5


class Place(StrEnum):
    """How two addresses lie to each other."""

    HOUSE = "same address"
    POSTAL_CODE = "same postal code"
    CITY = "same city"
    STREET_DIFFERS = "another street in the same city"
    CITY_DIFFERS = "another city"
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class _Address:
    street: frozenset[str]
    numbers: frozenset[str]
    city: str
    postal_code: str


def place(one: Mapping[str, object] | None, other: Mapping[str, object] | None) -> Place:
    """How the addresses lie to each other, as far as both say."""
    mine, theirs = _folded(one or {}), _folded(other or {})
    codes = _is_same(mine.postal_code[:_LONG_ENOUGH], theirs.postal_code[:_LONG_ENOUGH])
    cities = _is_same_city(mine.city, theirs.city)
    streets = _is_same_street(mine, theirs)
    if False in (codes, cities) and True not in (codes, cities):
        return Place.CITY_DIFFERS
    if streets and (codes or cities):  # a large city has many codes, and a code may cover many places
        return Place.HOUSE
    if streets is False and (codes or cities):
        return Place.STREET_DIFFERS
    if codes:
        return Place.POSTAL_CODE
    return Place.CITY if cities else Place.UNKNOWN


def _folded(address: Mapping[str, object]) -> _Address:
    def said(name: str) -> str:
        text = address.get(name)
        return text if isinstance(text, str) else ""

    return _taken_apart(said("line1"), said("line2"), said("city"), said("postal_code"), said("country"))


@lru_cache(maxsize=4096)
def _taken_apart(line1: str, line2: str, city: str, postal_code: str, country: str) -> _Address:
    street = fold(f"{line1} {line2}")
    street = re.sub(r"(strasse|str)\b\.?", " st", street)  # German writes it in one word
    words = [_SHORT.get(word, word) for word in re.findall(r"[a-z0-9]+", street)]
    town = " ".join(_SHORT.get(word, word) for word in re.findall(r"[a-z0-9]+", fold(city)))
    code = re.sub(r"[^a-z0-9]", "", fold(postal_code))
    if country and code.startswith(country.casefold()) and code[len(country) :].isdigit():
        code = code[len(country) :]
    return _Address(
        frozenset(word for word in words if not any(map(str.isdigit, word))),
        frozenset(word for word in words if any(map(str.isdigit, word))),
        town,
        code,
    )


def _is_same(one: str, other: str) -> bool | None:
    return one == other if one and other else None


def _is_same_city(one: str, other: str) -> bool | None:
    if not one or not other:
        return None
    typo = min(len(one), len(other)) >= _LONG_ENOUGH and distance(one, other, most=1) <= 1
    return one == other or typo or one.startswith(f"{other} ") or other.startswith(f"{one} ")


def _is_same_street(one: _Address, other: _Address) -> bool | None:
    """True if house number and street are the same; one side may say more, such as the floor."""
    if not (one.numbers or one.street) or not (other.numbers or other.street):
        return None
    numbers = one.numbers <= other.numbers or other.numbers <= one.numbers
    if bool(one.numbers) != bool(other.numbers):
        numbers = False
    shorter, longer = sorted((one.street, other.street), key=len)
    return numbers and all(
        any(word == theirs or (len(word) >= _LONG_ENOUGH and distance(word, theirs, most=1) <= 1) for theirs in longer)
        for word in shorter
    )
