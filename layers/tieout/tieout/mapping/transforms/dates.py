"""Dates, and the day that terms of payment name."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Literal, Self, override
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from tieout.domain.records import Value
from tieout.mapping.paths import ABSENT
from tieout.mapping.transforms.base import LocaleName, Params, PathText, Reading, RefusedError, Surroundings
from tieout.mapping.transforms.values import quoted, text_of


class DateOf(Reading):
    """Reads a date. ISO dates (2026-01-31) are always understood."""

    gives = "date"

    format: str | None = Field(
        default=None,
        description="How it is written: `DD.MM.YYYY`, `M/D/YY`, `D MMM YYYY` (Jan), `D MMMM YYYY` (January).",
    )
    locale: LocaleName | None = Field(
        default=None, description="Whose order of day and month, and whose names of months: `de_DE`, `en_US`."
    )
    timezone: str = Field(default="UTC", description="Where the day is counted, for moments: `Europe/Berlin`.")

    @field_validator("format")
    @classmethod
    def _form(cls, form: str | None) -> str | None:
        if form is not None:
            _date_pattern(form, None)
        return form

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"`{name}` is not a time zone, such as `Europe/Berlin`") from error
        return name

    @override
    def understand(self, value: Value, around: Surroundings) -> Value:
        """The date."""
        if isinstance(value, datetime):
            return self._day(value)
        if isinstance(value, date):
            return value
        text = text_of(value).strip()
        found = self._iso(text) or (
            read_by_format(text, self.format, self.locale) if self.format else read_by_order(text, self.locale)
        )
        if found is None:
            how = f"`{self.format}`" if self.format else "such as 2026-01-31"
            raise RefusedError(
                f"{quoted(text)} is not a date {how}.", "Correct the date, or set `format` in this rule's `date`."
            )
        return found

    def _iso(self, text: str) -> date | None:
        if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return None
        try:
            return self._day(datetime.fromisoformat(text))
        except ValueError:
            return None

    def _day(self, moment: datetime) -> date:
        if moment.tzinfo is None:
            return moment.date()
        try:
            return moment.astimezone(ZoneInfo(self.timezone)).date()
        except OverflowError:
            raise RefusedError(f"{quoted(moment.date().isoformat())} is outside the calendar.") from None


class TermsToDueDate(Params):
    """Makes the due date of an invoice date, by the terms of payment."""

    gives = "date"

    days: int | None = Field(default=None, ge=0, le=3650, description="Days after the invoice date.")
    end_of_month_plus_days: int | None = Field(
        default=None, ge=0, le=3650, description="Days after the last day of the invoice's month."
    )
    terms_path: PathText | None = Field(
        default=None,
        description="Where the record says its terms: `Net 30`, `30 days`, `EOM + 10`, `Due on receipt`. Where it says"
        " none, `days` or `end_of_month_plus_days` counts.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.days is None) == (self.end_of_month_plus_days is None):
            raise ValueError("give either `days` or `end_of_month_plus_days`")
        return self

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """The due date."""
        start = DateOf().apply(value, around)
        if not isinstance(start, date):
            return None
        days, from_month_end = self.days, self.end_of_month_plus_days is not None
        if days is None:
            days = self.end_of_month_plus_days
        said = around.look(self.terms_path) if self.terms_path else ABSENT
        if isinstance(said, str) and said.strip():
            days, from_month_end = read_terms(said)
        if from_month_end:
            start = start.replace(day=monthrange(start.year, start.month)[1])
        try:
            return start + timedelta(days=days or 0)
        except OverflowError:
            raise RefusedError(f"The due date after {start.isoformat()} is outside the calendar.") from None


def read_terms(text: str) -> tuple[int, bool]:
    """Days, and whether they are counted from the end of the month.

    Raises:
        RefusedError: If the text is no terms that we know.
    """
    words = " ".join(text.lower().replace(".", "").split())
    if words in {"due on receipt", "on receipt", "immediately", "cash", "cod"}:
        return 0, False
    if match := re.fullmatch(r"(?:net |n/?)?([0-9]{1,4})(?: days?)?(?: net)?", words):
        return int(match[1]), False
    if match := re.fullmatch(r"(?:eom|end of month)(?: ?\+? ?([0-9]{1,4})(?: days?)?)?", words):
        return int(match[1] or 0), True
    raise RefusedError(f"{quoted(text)} is not known as terms of payment.", "Write them as `Net 30` or `EOM + 10`.")


_DATE_PARTS = {
    "YYYY": "(?P<year>[0-9]{4})",
    "YY": "(?P<year>[0-9]{2})",
    "MMMM": r"(?P<month>[^\W\d_]+)",
    "MMM": r"(?P<month>[^\W\d_]+)\.?",
    "MM": "(?P<month>[0-9]{2})",
    "M": "(?P<month>[0-9]{1,2})",
    "DD": "(?P<day>[0-9]{2})",
    "D": "(?P<day>[0-9]{1,2})",
}


@lru_cache(maxsize=64)
def _date_pattern(form: str, locale: str | None) -> tuple[re.Pattern[str], Mapping[str, int]]:
    """A pattern with year, month and day, and the numbers of the months' names if it has names."""
    parts = re.split("(YYYY|YY|MMMM|MMM|MM|M|DD|D)", form)
    used = sorted(part[0] for part in parts if part in _DATE_PARTS)
    if used != ["D", "M", "Y"]:
        raise ValueError("a date's format has a year, a month and a day once each, such as `DD.MM.YYYY`")
    pattern = re.compile("".join(_DATE_PARTS.get(part, re.escape(part)) for part in parts))
    names: dict[str, int] = {}
    if "MMM" in form:
        from babel.dates import get_month_names  # noqa: PLC0415 - only loaded where it is used

        width: Literal["wide", "abbreviated"] = "wide" if "MMMM" in form else "abbreviated"
        names = {
            name.casefold().rstrip("."): number
            for number, name in get_month_names(width, locale=locale or "en").items()
        }
    return pattern, names


def read_by_format(text: str, form: str, locale: str | None) -> date | None:
    """The date that `text` writes as `form` says; None if it writes none. Two-digit years are 2000 to 2099."""
    pattern, names = _date_pattern(form, locale)
    match = pattern.fullmatch(text)
    if match is None:
        return None
    month = names.get(match["month"].casefold()) if names else int(match["month"])
    year = int(match["year"]) + (2000 if len(match["year"]) == len("YY") else 0)
    return _calendar(year, month or 0, int(match["day"]))


def read_by_order(text: str, locale: str | None) -> date | None:
    """The date of three numbers in the order of `locale`; None if it is none.

    Raises:
        RefusedError: If no locale says which of two days is meant.
    """
    match = re.fullmatch(r"([0-9]{1,4})[./ -]([0-9]{1,2})[./ -]([0-9]{4}|[0-9]{1,2})", text)
    if match is None:
        return None
    first, second, third = match.groups()
    if len(first) == len("YYYY"):
        return _calendar(int(first), int(second), int(third))
    if len(third) != len("YYYY"):
        return None
    day_first = _calendar(int(third), int(second), int(first))
    month_first = _calendar(int(third), int(first), int(second))
    if locale is not None:
        return day_first if _is_day_first(locale) else month_first
    if day_first is not None and month_first is not None and day_first != month_first:
        raise RefusedError(
            f"{quoted(text)} can be {day_first.isoformat()} or {month_first.isoformat()}.",
            "Set `format`, such as `DD/MM/YYYY`, in this rule's `date`.",
        )
    return day_first or month_first


@lru_cache(maxsize=64)
def _is_day_first(locale: str) -> bool:
    from babel.dates import get_date_format  # noqa: PLC0415 - only loaded where it is used

    pattern = get_date_format("short", locale).pattern.lower()
    return pattern.index("d") < pattern.index("m")


def _calendar(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
