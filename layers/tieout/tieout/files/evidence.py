"""How dates and numbers are written in a file: found out over whole columns, never cell by cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tieout.files.source import Choices, DateOrder, Decimal, Finding, Row

_DATE = re.compile(r"(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})(?:[T ].*)?", re.ASCII)
_NUMBER = re.compile(
    r"\(?[-+]?\s?(?:[$€£¥₹]|[A-Z]{3})?\s?[-+]?\d[\d.,' \u00a0\u202f\u2019]*\s?(?:[$€£¥₹]|[A-Z]{3})?-?\)?",
    re.ASCII,
)
_EMPTY_DATE = re.compile(r"0{1,4}[./-]0{1,2}[./-]0{1,4}(?: .*)?")
_BEGINS_WITH_YEAR = re.compile(r"\d{4}\D")
_MONTHS, _YEAR_DIGITS, _GROUP = 12, 4, 3
_DAY_FIRST = frozenset({"de", "es", "fi", "fr", "it", "pl", "pt", "ru", "sk"})
_YEAR_FIRST = frozenset({"zh"})


def is_empty_date(text: str) -> bool:
    """True for what programs write where there is no date, such as `0/0/00`.

    Source: exports of classic Outlook, which has no empty date.
    """
    return _EMPTY_DATE.fullmatch(text) is not None


def date_evidence(text: str) -> frozenset[DateOrder] | None:
    """In which orders the text can be a date; all for ISO, which is always understood; None if it is none."""
    match = _DATE.fullmatch(text)
    if match is None or is_empty_date(text):
        return None
    first, dot, second, third = int(match[1]), match[2] == ".", int(match[3]), int(match[4])
    if len(match[1]) == _YEAR_DIGITS:
        return frozenset({"ymd", "dmy", "mdy"}) if second <= _MONTHS else None
    if len(match[4]) == _GROUP or len(match[1]) > 2:  # noqa: PLR2004 - two digits
        return None
    can: set[DateOrder] = set()
    if 1 <= first <= 31 and 1 <= second <= _MONTHS:  # noqa: PLR2004 - days of a month
        can.add("dmy")
    if 1 <= second <= 31 and 1 <= first <= _MONTHS and not dot:  # noqa: PLR2004 - days of a month
        can.add("mdy")
    if len(match[4]) <= 2 and len(match[1]) == 2 and 1 <= second <= _MONTHS and 1 <= third <= 31 and not dot:  # noqa: PLR2004
        can.add("ymd")
    return frozenset(can) or None


def number_evidence(text: str) -> frozenset[Decimal] | None:
    """Which sign can stand before the fraction; None if it is no number."""
    if _NUMBER.fullmatch(text) is None:
        return None
    points, commas = text.count("."), text.count(",")
    both: frozenset[Decimal] = frozenset({".", ","})
    if not points and not commas:
        return both
    if points and commas:
        last: Decimal = "." if text.rindex(".") > text.rindex(",") else ","
        return frozenset({last}) if text.count(last) == 1 else None
    sign: Decimal = "." if points else ","
    other: Decimal = "," if points else "."
    if points + commas > 1:
        return frozenset({other})
    before, after = (re.sub(r"\D", "", part) for part in text.split(sign))
    if len(after) != _GROUP or len(before) > _GROUP or before in ("", "0"):
        return frozenset({sign})
    return both


@dataclass(slots=True)
class _Column:
    """What the cells of one column allow; None once a cell was neither."""

    dates: frozenset[DateOrder] | None = frozenset({"dmy", "mdy", "ymd"})
    numbers: frozenset[Decimal] | None = frozenset({".", ","})
    iso: bool = True
    filled: bool = False
    separated: bool = False

    def look(self, text: str) -> None:
        if self.dates is not None and not is_empty_date(text):
            found = date_evidence(text)
            self.iso = self.iso and _BEGINS_WITH_YEAR.match(text) is not None
            self.dates = None if found is None else self.dates & found
        if self.numbers is not None:
            can = number_evidence(text)
            self.separated = self.separated or "." in text or "," in text
            self.numbers = None if can is None else self.numbers & can
        self.filled = True

    @property
    def decided(self) -> bool:
        return self.dates is None and self.numbers is None


@dataclass(slots=True)
class Evidence:
    """Looks at each row in turn, and says at the end how dates and numbers are written."""

    columns: dict[str, _Column]
    rows: int = 0
    empty: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.empty = set(self.columns)

    @classmethod
    def of(cls, titles: Iterable[str]) -> Evidence:
        """None yet, for these columns."""
        return cls({title: _Column() for title in titles})

    def look(self, row: Row) -> None:
        """Takes the row into account."""
        self.rows += 1
        self.empty -= {title for title in self.empty if row.values.get(title)}
        for title, column in list(self.columns.items()):
            cell = row.values.get(title)
            text = cell.strip() if cell else ""
            if text:
                column.look(text)
                if column.decided:
                    del self.columns[title]

    def date_order(self, choices: Choices, locale: str | None) -> tuple[Finding, tuple[str, ...]]:
        """The order of all columns with dates, and warnings."""
        if choices.date_order is not None:
            return Finding(choices.date_order, "chosen"), ()
        dated = {title: column for title, column in self.columns.items() if column.filled and column.dates is not None}
        told = {title: column.dates for title, column in dated.items() if not column.iso and column.dates is not None}
        if not told:
            return Finding("ymd" if dated else None), ()
        agreed = _agreed(told, ("dmy", "mdy", "ymd"))
        if not agreed:
            return Finding(None, "guessed"), (_disagree("Dates", told),)
        if len(agreed) == 1:
            return Finding(agreed[0]), ()
        language = (locale or "").split("_")[0]
        guess = "dmy" if language in _DAY_FIRST else "ymd" if language in _YEAR_FIRST else None
        some = ", ".join(f"“{title}”" for title in list(told)[:3])
        if guess in agreed:
            return Finding(guess, "guessed"), (f"The order of day and month in {some} is guessed from the language.",)
        return Finding(None, "guessed"), (f"Day and month in {some} can be read both ways: say which is meant.",)

    def decimal(self, choices: Choices, delimiter: str | None) -> tuple[Finding, tuple[str, ...]]:
        """The sign before the fraction in all columns with numbers, and warnings."""
        if choices.decimal is not None:
            return Finding(choices.decimal, "chosen"), ()
        told = {
            title: column.numbers
            for title, column in self.columns.items()
            if column.filled and column.separated and column.dates is None and column.numbers is not None
        }
        if not told:
            return Finding(None), ()
        agreed = _agreed(told, (".", ","))
        if not agreed:
            return Finding(None, "guessed"), (_disagree("Numbers", told),)
        if len(agreed) == 1:
            return Finding(agreed[0]), ()
        some = ", ".join(f"“{title}”" for title in list(told)[:3])
        if delimiter == ";":
            return Finding(",", "guessed"), (f"The decimal comma in {some} is guessed from the delimiter.",)
        return Finding(None, "guessed"), (f"Point and comma in {some} can be read both ways: say which is meant.",)


def _agreed[Way](told: Mapping[str, frozenset[Way]], ways: Iterable[Way]) -> list[Way]:
    return [way for way in ways if all(way in each for each in told.values())]


def _disagree(what: str, told: Mapping[str, frozenset[str]]) -> str:
    some = ", ".join(f"“{title}”" for title in list(told)[:5])
    return f"{what} are not written in one way in {some}: say which is meant; what cannot be read so is refused."
