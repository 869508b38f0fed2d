"""Names, paths and values as people say them."""

from __future__ import annotations

from tieout.mapping.paths import ABSENT, Found, parse_path
from tieout.mapping.transforms import quoted, shortened

VALUE_LENGTH_MAX = 80


_WORDS = {"closed_on": "close date", "opened_on": "open date", "id": "id"}


def words(name: str) -> str:
    """A name as people say it: `due_date` is `due date`, `closed_on` is `close date`, `opened_on` is `open date`."""
    if name in _WORDS:
        return _WORDS[name]
    return f"{name[:-3]} date".replace("_", " ") if name.endswith("_on") else name.replace("_", " ")


_ONE = {"companies": "company", "contacts": "contact", "lines": "line", "invoice_ids": "invoice"}


def words_of_path(path: str) -> str:
    """What stands at a path, as people say it: `companies[0].id` is `company`, `lines[1].name` `name in line 2`."""
    parts = parse_path(path).parts
    said: list[str] = []
    for number, part in enumerate(parts):
        following = parts[number + 1] if number + 1 < len(parts) else None
        if isinstance(part, str) and part != "custom_fields":
            one = _ONE.get(part, words(part))
            said.append(f"{one} {following + 1}" if isinstance(following, int) else words(part))
    if len(said) > 1 and said[-1] == "id":
        return said[-2].removesuffix(" 1")
    return " in ".join(reversed(said)) if any(isinstance(part, int) for part in parts) else " ".join(said)


def shown(value: Found) -> str | None:
    """The value as an error carries it: in one line, cut; None if there is none."""
    if value is None or value is ABSENT:
        return None
    return shortened(value if isinstance(value, str) else quoted(value).strip('"'), VALUE_LENGTH_MAX)
