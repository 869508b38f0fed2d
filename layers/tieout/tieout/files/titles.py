"""What the titles of columns mean, in the words of the programs that write them, in twelve languages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from tieout.files.languages import LAYOUTS, TITLES

_NOISE = re.compile("[\\s\\-_.:()/*#\"'\u2019\u00b4`,]+")
_E_MAIL = re.compile(r"\be[\s\-]?mail", re.IGNORECASE)
_DELIMITER = re.compile(r"[,;\t|]")


@lru_cache(maxsize=4096)
def folded(title: str) -> str:
    """The title in small letters without signs: `E-Mail 2: Adresse` and `email 2 adresse` are one."""
    plain = _E_MAIL.sub("email", unicodedata.normalize("NFKC", title)).casefold()
    return _NOISE.sub(" ", plain).strip()


def _table() -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    for locale, titles in TITLES.items():
        for meaning, written in titles.items():
            for each in written.split("|"):
                table.setdefault(folded(each), {}).setdefault(locale, meaning)
    return table


OF_LAYOUT = {
    layout: {folded(each): meaning for meaning, written in titles.items() for each in written.split("|")}
    for layout, titles in LAYOUTS.items()
}
"""By layout and folded title: what it means in that program's files only."""

MEANINGS = _table()
"""By folded title: what it means, by locale."""


def locale_of(titles: Iterable[str]) -> tuple[str | None, int]:
    """The locale that knows most of the titles, and how many it knows that English does not; English where none is."""
    count: dict[str, int] = {}
    for title in titles:
        for locale in MEANINGS.get(folded(title), ()):
            count[locale] = count.get(locale, 0) + 1
    if not count:
        return None, 0
    english = count.get("en_US", 0)
    best = max(count, key=lambda locale: (count[locale], locale == "en_US"))
    return best, count[best] - (english if best != "en_US" else 0)


def meaning_of(title: str, locale: str | None, layout: str) -> str | None:
    """What the title means: in that layout, else in that locale, in English, in any; None if nobody knows it."""
    if (own := OF_LAYOUT.get(layout, {}).get(folded(title))) is not None:
        return own
    known = MEANINGS.get(folded(title))
    if known is None:
        return None
    return known.get(locale or "en_US") or known.get("en_US") or next(iter(known.values()))


def known_titles(row: str | Iterable[str | None]) -> int:
    """How many of the cells, or of the parts of a line whose delimiter is not known yet, are titles."""
    cells = _DELIMITER.split(row) if isinstance(row, str) else row
    return sum(bool(each) and folded(each) in MEANINGS for each in cells)
