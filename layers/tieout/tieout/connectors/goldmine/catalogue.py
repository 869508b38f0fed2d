"""What is sold, as the setting `products` names it: GoldMine has no list of products with prices. Makes no calls."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from tieout.domain.records import Kind, Record
from tieout.ports.connector import ChangePage


class Catalogue:
    """The products of one connection. A product's name is its id, so that one with another name is another product."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def read(self, ids: Collection[str]) -> Sequence[Record]:
        """Those with these ids."""
        return [_record(name) for name in self._names if name in ids]

    def named(self, values: Sequence[str]) -> Sequence[Record]:
        """Those with one of these names, ignoring case."""
        wanted = {value.casefold() for value in values}
        return [_record(name) for name in self._names if name.casefold() in wanted]

    def changes(self, cursor: str | None) -> ChangePage:
        """All of them if the setting was changed since `cursor`, none otherwise."""
        now = self.cursor_now()
        return ChangePage([] if cursor == now else [_record(name) for name in self._names], now, more=False)

    def cursor_now(self) -> str:
        """What the setting says."""
        return json.dumps(list(self._names))

    def ids(self) -> Sequence[str]:
        """Of all."""
        return list(self._names)


def _record(name: str) -> Record:
    return Record(Kind.PRODUCT, name, fields={"name": name})
