"""The e-mail that tells a person what could not be synced, in plain text and plain words."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from tieout.domain.changes import Alert, Unsynced, UnsyncedState
from tieout.domain.reviews import Candidate, FieldConflict, Review, ReviewKind
from tieout.domain.words import age, counted, said

if TYPE_CHECKING:
    from jinja2 import Template

WIDTH = 78
SUBJECT_MAX = 100
NAMED_MAX = 20
ASKED_MAX = 5
LABEL_MAX = 48
_INDENT = "  "
_NOT_SYNCED = " not synced"
# The engine's causes that are not "could not be synced": the document stands, but its total is another one.
_DIFFERENCE, _PAUSED, _ENDS, _BRAKE, _QUOTA = "difference-", "paused-", "sign-in-ends-", "brake-", "quota-"
# A price of an item is at stake nowhere; only documents have amounts that an accountant would miss.
_WITHOUT_AMOUNT = frozenset({"customer", "item", "company", "contact", "product"})
_RULE = "steps."  # how the place of a mapping rule begins
_RETRY, _DISMISS, _APPROVE = "tieout parked retry", "tieout parked dismiss", " --approve"
_NOTHING_TO_DO = "Nothing is lost, and Tieout keeps trying."


@dataclass(frozen=True, slots=True)
class _Line:
    """One record of the list: what stands in it, and why if each has its own reason."""

    text: str
    reason: str = ""


class AlertLetter:
    """Implements `tieout.engine.alerts.Letter`."""

    def __call__(self, alerts: Sequence[Alert]) -> tuple[str, str]:
        """Subject (100 ASCII characters at most) and plain text (78 columns, commands excepted).

        Args:
            alerts: Of one tenant and one cause; at least one.
        """
        about = [alert.unsynced for alert in alerts if alert.unsynced is not None]
        if not about and alerts[0].cause.startswith(_PAUSED):
            subject, values = _without_records(
                "connection", alerts[0], f": it stopped at {_time(alerts[0].raised_at)}."
            )
        elif not about and alerts[0].cause.startswith(_ENDS):
            subject, values = _without_records("sign_in", alerts[0])
        elif not about and alerts[0].cause.startswith(_BRAKE):
            subject, values = _without_records("brake", alerts[-1], ", and nothing was done about that.")
        elif not about and alerts[0].cause.startswith(_QUOTA):
            subject, values = _without_records("quota", alerts[-1])
        elif not about:
            subject, values = _of_no_record(alerts[0])
        elif alerts[0].cause.startswith(_DIFFERENCE):
            subject, values = _of_records(alerts, about, "show", "shows", "a different total")
        elif all(one.review is not None for one in about):
            subject, values = _of_reviews(alerts, about)
        elif about[0].state is UnsyncedState.WAITING:
            subject, values = _of_waiting(alerts, about)
        else:
            subject, values = _of_records(alerts, about, "could", "could", "not be synced")
        command = alerts[0].command
        values["command"] = command
        dismiss = command.replace(_RETRY, _DISMISS).removesuffix(_APPROVE)
        values["dismiss"] = dismiss if command.startswith(_RETRY) else ""
        text = _template().render(values)
        return _cut(f"Tieout: {subject}"), text


def _without_records(form: str, alert: Alert, rest: str = ".") -> tuple[str, dict[str, object]]:
    """What is about no single record: a connection that stopped, a sign-in that ends soon, records that vanished.

    Args:
        form: The template's part.
        alert: What is told.
        rest: How the opening goes on after the alert's subject.
    """
    return alert.subject[:1].lower() + alert.subject[1:], {
        "form": form,
        "opening": _wrapped(f"{alert.subject}{rest}"),
        "reason": _wrapped(alert.reason, _INDENT),
        "next_step": _wrapped(alert.next_step, _INDENT),
    }


def _of_no_record(alert: Alert) -> tuple[str, dict[str, object]]:
    """Changes that wait before it is known which records of the other side they concern."""
    subject, values = _without_records("waiting", alert)
    return subject, values | {
        "lines": [],
        "more": "",
        "totals": [],
        "found": "",
        "code": "",
        "sync": "",
        "next_steps": [] if alert.next_step == _NOTHING_TO_DO else [values["next_step"]],
    }


def _of_reviews(alerts: Sequence[Alert], about: Sequence[Unsynced]) -> tuple[str, dict[str, object]]:
    """Records about which a person is asked: both values, or the candidates, and the commands that answer."""
    sentence = f"{_what(alerts)} {'needs' if len(about) == 1 else 'need'} your decision"
    return sentence, {
        "form": "review",
        "opening": _wrapped(f"{sentence}."),
        "questions": [_question(alert) for alert in alerts if alert.unsynced is not None][:ASKED_MAX],
        "more": f"{len(about) - ASKED_MAX:,}" if len(about) > ASKED_MAX else "",
    }


def _question(alert: Alert) -> dict[str, object]:
    one = alert.unsynced
    if one is None or one.review is None:
        raise ValueError("nothing is asked")
    review = one.review
    resolve = f"tieout review resolve {one.where} --tenant {alert.tenant}"
    if review.kind is ReviewKind.CONFLICT:
        source, target = one.change.kind.value.replace("_", " "), _noun(alert)
        values = [line for each in review.conflicts for line in _values(each, source, target)]
        values += _edits(review, source, target)
        answers = [
            (f"The {source} counts, and the {target} gets its values:", f"{resolve} --take source"),
            (f"The {target} counts, and the {source} gets its values:", f"{resolve} --take target"),
        ]
    else:
        values = [line for each in review.candidates for line in _candidate(each)]
        first = review.candidates[0].target_id if review.candidates else "ID"
        answers = [
            (f"It is {first}:", f"{resolve} --accept {first}"),
            ("It is none of them, but a new one:", f"{resolve} --create"),
            (f"It never is {first}:", f"{resolve} --never {first}"),
        ]
    return {
        "label": f"{_INDENT}{_label(one)}",
        "reason": _wrapped(alert.reason, _INDENT * 2),
        "said": values,
        "answers": answers,
    }


def _values(conflict: FieldConflict, source: str, target: str) -> list[str]:
    """The field, and what stood and stands on either side."""
    names = {"before": conflict.agreed, source: conflict.source, target: conflict.target}
    widest = max(map(len, names)) + 1
    said = [f"{f'{name}:':<{widest}} {_said(value)}" for name, value in names.items()]
    return [
        _wrapped(_in_words(conflict.field).capitalize(), _INDENT * 2),
        *(_wrapped(one, _INDENT * 3) for one in said),
    ]


def _said(value: object) -> str:
    return "empty" if value in (None, "") else f'"{value}"'


def _edits(review: Review, source: str, target: str) -> list[str]:
    """When each side was edited, and by whom, as far as it says so."""
    edits = (
        (source, review.source_edited_at, review.source_edited_by),
        (target, review.target_edited_at, review.target_edited_by),
    )
    return [
        _wrapped(f"The {side} was edited last on {_time(at)}{f' by {by}' if by else ''}.", _INDENT * 2)
        for side, at, by in edits
        if at is not None
    ]


def _candidate(candidate: Candidate) -> list[str]:
    line = f"{candidate.target_id}: {candidate.name} ({candidate.score:.2f} of 1)"
    reasons = _wrapped("; ".join(candidate.reasons), _INDENT * 3) if candidate.reasons else ""
    return [_wrapped(line, _INDENT * 2), *([reasons] if reasons else [])]


def _of_waiting(alerts: Sequence[Alert], about: Sequence[Unsynced]) -> tuple[str, dict[str, object]]:
    """Records that are tried again and again."""
    newest = max(alert.raised_at for alert in alerts)
    oldest = min(one.change.seen_at for one in about)
    waited = age((newest - oldest).total_seconds())
    have = "has" if len(about) == 1 else "have"
    subject, values = _of_records(alerts, about, have, have, f"been waiting for {waited}")
    return subject, values | {"form": "waiting"}


def _of_records(
    alerts: Sequence[Alert], about: Sequence[Unsynced], many: str, one: str, rest: str
) -> tuple[str, dict[str, object]]:
    """Records that need a person: `3 invoices could not be synced`."""
    what = _what(alerts)
    verb = one if len(about) == 1 else many
    totals = _totals(alerts)
    sentence = f"{what} {verb} {rest}"
    reasons = list(dict.fromkeys(alert.reason for alert in alerts))
    steps = list(dict.fromkeys(alert.next_step for alert in alerts if alert.next_step not in ("", _NOTHING_TO_DO)))
    several = len(reasons) > 1
    first = about[0]
    return f"{sentence} ({', '.join(totals)})" if totals else sentence, {
        "form": "records",
        "opening": _wrapped(f"{sentence}."),
        "lines": list(_lines(alerts, several=several)),
        "more": f"{len(about) - NAMED_MAX:,}" if len(about) > NAMED_MAX else "",
        "totals": totals if len(about) > 1 else [],
        "reason": "" if several else _wrapped(reasons[0], _INDENT),
        "found": "" if several else _found(first),
        "code": "" if several or not first.code.isdigit() else first.code,
        "sync": first.sync if first.code.startswith(_RULE) else "",
        "as_is": "it as it is" if len(about) == 1 else "them as they are",
        "next_steps": [_wrapped(step, _INDENT) for step in steps[:NAMED_MAX]],
    }


def _what(alerts: Sequence[Alert]) -> str:
    """`1 customer and 12 invoices`."""
    nouns = Counter(_noun(alert) for alert in alerts)
    listed = [counted(count, noun) for noun, count in nouns.items()]
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"


def _noun(alert: Alert) -> str:
    """What the other side calls it; alerts about waiting do not say, so the record's own kind stands in."""
    if alert.subject.endswith(_NOT_SYNCED):
        return alert.subject.removesuffix(_NOT_SYNCED).lower()
    return alert.unsynced.change.kind.value.replace("_", " ") if alert.unsynced is not None else "record"


def _amount(alert: Alert) -> tuple[Decimal, str] | None:
    one = alert.unsynced
    if one is None or one.amount is None or _noun(alert) in _WITHOUT_AMOUNT:
        return None
    return one.amount, one.currency


def _totals(alerts: Iterable[Alert]) -> list[str]:
    """The sum in each currency."""
    sums: dict[str, Decimal] = {}
    for alert in alerts:
        if (at_stake := _amount(alert)) is not None:
            amount, currency = at_stake
            sums[currency] = sums.get(currency, Decimal(0)) + amount
    return [said(amount, currency) for currency, amount in sorted(sums.items())]


def _lines(alerts: Sequence[Alert], *, several: bool) -> Iterable[_Line]:
    named = [alert for alert in alerts if alert.unsynced is not None][:NAMED_MAX]
    amounts = [said(*at_stake) if (at_stake := _amount(alert)) is not None else "" for alert in named]
    labels = [_label(alert.unsynced) for alert in named if alert.unsynced is not None]
    widest, longest = max(map(len, labels)), max(map(len, amounts))
    for alert, label, amount in zip(named, labels, amounts, strict=True):
        text = f"{_INDENT}{label:<{widest}}{_INDENT}{amount:>{longest}}".rstrip()
        yield _Line(text, _wrapped(alert.reason, _INDENT * 2) if several else "")


def _found(one: Unsynced) -> str:
    """The field in question and what stands there; empty if the error names none."""
    if not one.field:
        return ""
    place = _in_words(one.field)
    if one.value is None:
        return "" if place in one.reason else _wrapped(f"Field: {place}.", _INDENT)
    return _wrapped(f'Field: {place}; it says "{one.value}".', _INDENT)


def _in_words(path: str) -> str:
    """`lines[0].name` is `name in line 1`."""
    from tieout.mapping.evaluate import words_of_path  # noqa: PLC0415 - only loaded when a letter is written

    try:
        return words_of_path(path)
    except ValueError:
        return path.replace("_", " ")


def _label(one: Unsynced) -> str:
    """The record's name in one short line; its kind and id if it could not be read."""
    change = one.change
    named = one.label if one.label != change.id else f"{change.kind.value.replace('_', ' ')} {change.id}"
    line = " ".join(named.split())
    return line if len(line) <= LABEL_MAX else f"{line[: LABEL_MAX - 3]}..."


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        " ".join(text.split()),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _cut(subject: str) -> str:
    plain = subject.encode("ascii", "replace").decode()
    return plain if len(plain) <= SUBJECT_MAX else f"{plain[: SUBJECT_MAX - 3]}..."


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - only loaded when a letter is written

    # Plain text: nothing in it is markup, so nothing is escaped.
    environment = Environment(
        autoescape=False,  # noqa: S701 - see above
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(resources.files("tieout.adapters").joinpath("letter.txt.j2").read_text("utf-8"))
