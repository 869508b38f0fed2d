"""What Tally's refusals mean: sentences, as it has no codes and answers 200 whatever became of a request.

Language packs and releases word them differently, so each row looks for few words; what no row covers is refused with
Tally's own sentence.
Source: help.tallysolutions.com/case-study-1, and measured notes of TallyPrime 3.0 to 7.1; read 2026-11-22.
"""

from __future__ import annotations

import re

from tieout.connectors.tally.wire import Imported
from tieout.domain.errors import ProviderError, RejectedError, UnavailableError
from tieout.transport.refusals import Row, Told

TITLE = "Tally"
_LENGTH_MAX = 200
_MASTER = re.compile(
    r"(ledger|stock item|unit|godown|voucher type|group)\b.*(not exist|not found|no such|invalid)", re.IGNORECASE
)

NOT_OPEN = "Tally is not open on its computer, or does not listen for us."
OPEN_IT = (
    "Open Tally and the company. If it is open: F1 (Help) > Settings > Connectivity has to say that Tally acts as "
    "`Both`, with the port of the connection's `url`."
)
NO_ANSWER = (
    "Tally is open, but does not answer: most likely a window or a question is open on its screen, or it is busy with "
    "something long."
)
CLOSE_WINDOW = "Look at Tally's screen and close the window that waits there; what waits goes on by itself."

_TABLE: tuple[tuple[re.Pattern[str], Row], ...] = (
    (
        re.compile(r"could not set.*svcurrentcompany", re.IGNORECASE),
        Row(UnavailableError, "The company was closed in Tally meanwhile: {said}", "Open the company in Tally."),
    ),
    (
        _MASTER,
        Row(
            RejectedError,
            "Tally does not have what the document names: {said}",
            "Create it in Tally, or correct the name in the connection's settings, then retry.",
        ),
    ),
    (
        re.compile(r"educational", re.IGNORECASE),
        Row(
            RejectedError,
            "Tally runs in its educational mode, which takes only the 1st, the 2nd and the 31st of a month: {said}",
            "Activate Tally's licence, then retry.",
            field="date",
        ),
    ),
    (
        re.compile(
            r"\bdate\b.*(missing|invalid|out of|beyond|before|range)|out of (range|period)|period is locked",
            re.IGNORECASE,
        ),
        Row(
            RejectedError,
            "Tally does not take this date: {said}",
            "Look whether the date lies within the company's books, and in no locked period. Without a licence, Tally "
            "takes only the 1st, the 2nd and the 31st of a month.",
            field="date",
        ),
    ),
    (
        re.compile(r"already exists|duplicate", re.IGNORECASE),
        Row(
            RejectedError,
            "Tally has one of this number or name already: {said}",
            "Look it up in Tally; change it on one side.",
            field="number",
        ),
    ),
    (
        re.compile(r"totals?\b.*(not match|differ|mismatch)|debit.*credit", re.IGNORECASE),
        Row(RejectedError, "Tally says that the voucher does not add up: {said}", field="lines"),
    ),
)
_REFUSED = Row(
    RejectedError, "Tally refuses it: {said}", "Correct the record, the mapping or Tally's settings, then retry."
)
_HELD_BACK = Row(
    RejectedError,
    "Tally holds it back as an exception, most likely as something that GST needs is missing.",
    "Open Tally's list of import exceptions, complete what is missing there or in the source, then retry.",
)
_NOTHING = Row(RejectedError, "Tally took nothing of it, and gave no reason.", "Look at Tally's screen, then retry.")


def refused(counts: Imported) -> ProviderError:
    """What an import that touched nothing means: surely not done."""
    said = " ".join(counts.said)[:_LENGTH_MAX]
    if said:
        return said_no(said)
    row = _HELD_BACK if counts.exceptions else _NOTHING
    return row.to_error(Told(TITLE, detail=_counted(counts)), write=False)


def said_no(said: str) -> ProviderError:
    """The error that a sentence of Tally's is."""
    told = Told(TITLE, said=(said.rstrip(".!") + ".")[:_LENGTH_MAX])
    row = next((row for words, row in _TABLE if words.search(said)), _REFUSED)
    return row.to_error(told, write=False)


def _counted(counts: Imported) -> str:
    return f"ignored {counts.ignored}, errors {counts.errors}, exceptions {counts.exceptions}"
