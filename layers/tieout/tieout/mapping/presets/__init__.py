"""Sync documents to start from: one for each pair of a CRM and books.

Each is put together from `standard.yaml` and the parts of its two providers, `<provider>.yaml`; what a part is, the
standard's first lines say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from string import Template
from typing import Any, cast

from tieout.domain.errors import SettingsError
from tieout.mapping.parse import parse
from tieout.mapping.problems import closest

_STANDARD = "standard"
_PIECE_ALONE = re.compile(r"(?P<indent> *)\$(?P<name>[a-z_]+)")
_ID_WIDTH = 15

type Part = Mapping[str, Any]


def presets() -> list[str]:
    """The names of all presets: of a CRM and books of two providers."""
    parts = _parts()
    return sorted(
        f"{crm}-{books}"
        for crm, one in parts.items()
        for books, other in parts.items()
        if crm != books and "crm" in one and "books" in other
    )


def preset(name: str) -> str:
    """The text of a preset, such as `act-quickbooks_online`.

    Raises:
        SettingsError: If there is none of this name.
    """
    known = presets()
    if name not in known:
        close = closest(name, known)
        meant = f"Did you mean `{close}`? " if close else ""
        raise SettingsError(f"There is no preset `{name}`.", next_step=f"{meant}There are: {', '.join(known)}.")
    crm, books = (_parts()[provider] for provider in name.split("-"))
    pieces = {
        **_read(_STANDARD),
        **books["books"],
        **crm["crm"],
        "crm": _short(crm),
        "crm_title": crm["title"],
        "books": _short(books),
        "books_title": books["title"],
        "source": crm["id"].ljust(_ID_WIDTH),
        "target": books["id"].ljust(_ID_WIDTH),
    }
    return "\n".join(_lines(pieces["document"], pieces)) + "\n"


def _lines(text: str, pieces: Mapping[str, str], indent: str = "") -> Iterator[str]:
    """The lines of a text with its pieces in their places. A piece alone in its line may have many, or none."""
    for line in text.splitlines():
        alone = _PIECE_ALONE.fullmatch(line)
        if alone is not None:
            yield from _lines(pieces[alone["name"]], pieces, indent + alone["indent"])
        else:
            yield f"{indent}{Template(line).substitute(pieces)}".rstrip()


def _short(part: Part) -> str:
    return cast("str", part.get("short", part["title"]))


@cache
def _parts() -> Mapping[str, Part]:
    """By provider."""
    files = (file.name for file in resources.files(__name__).iterdir() if file.name.endswith(".yaml"))
    return {name: _read(name) for each in files if (name := each.removesuffix(".yaml")) != _STANDARD}


@cache
def _read(name: str) -> Part:
    (document,) = parse(resources.files(__name__).joinpath(f"{name}.yaml").read_text("utf-8"))
    return cast("Part", document.data)
