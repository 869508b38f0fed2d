"""Text that a spreadsheet would run as a formula: made harmless when written, and itself again when read.

Source: OWASP, CSV Injection (with the line feed added in 2025), read 2026-11-22. A tab in front was itself a fault
(CVE-2021-41270); the apostrophe is what spreadsheets themselves use.
"""

from __future__ import annotations

import re

_RUNS = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_WAS_MADE_HARMLESS = re.compile("'+[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def harmless(text: str) -> str:
    """The text with an apostrophe in front, if a spreadsheet would read a formula; `restored` takes it away again."""
    return "'" + text if _RUNS.match(text) else text


def restored[Text: (str, str | None)](text: Text) -> Text:
    """The text without the one apostrophe that `harmless` puts in front."""
    return text[1:] if text and text[0] == "'" and _WAS_MADE_HARMLESS.match(text) else text
