"""Updates of user-defined fields, straight in the database: only if the connection's settings ask for it.

GoldMine's own ways in (its XML API, GMXS32.DLL) run on Windows beside an installed GoldMine and keep its logs, ids and
shadow columns right. Past them, only an UPDATE of user-defined columns of CONTACT2 (and LASTDATE, LASTTIME, LASTUSER of
CONTACT1) is known to break nothing but this: GoldSync does not send it on, as no CONTTLOG row is written, and rights
inside GoldMine are not asked. Source: README.md, "Writing".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from tieout.connectors.goldmine.database import Change, Row
from tieout.connectors.goldmine.manifest import GoldMineSettings
from tieout.connectors.goldmine.records import Tables
from tieout.connectors.goldmine.translate import is_user_field
from tieout.domain.documents import RecordUpdate
from tieout.domain.effects import Done, Effect, NotDone, Operation, Outcome, Unknown
from tieout.domain.errors import (
    ConflictError,
    NotFoundError,
    ProviderError,
    RejectedError,
    UncertainError,
)
from tieout.domain.records import Kind
from tieout.ports.clock import Clock

_PREFIX = "custom_fields."


class Writer:
    """Writes to one database."""

    def __init__(self, tables: Tables, settings: GoldMineSettings, clock: Clock) -> None:
        self._tables = tables
        self._settings = settings
        self._clock = clock

    def write(self, effect: Effect) -> Outcome:
        """Update the fields in one transaction, where they still hold what was read; read them back before it is kept.

        Nothing is written if they hold the values already, so an effect may be written again after its end was lost.
        """
        try:
            self._update(effect)
        except UncertainError as error:
            return Unknown(effect.id, error)
        except ProviderError as error:
            return NotDone(effect.id, error)
        try:
            records = self._tables.companies.records([effect.target_id or ""])
        except ProviderError as error:
            lost = UncertainError(f"What was written could not be read back: {error.message}", detail=error.detail)
            return Unknown(effect.id, lost)
        gone = NotFoundError("The customer vanished from GoldMine while it was written.")
        return Done(effect.id, records[0]) if records else NotDone(effect.id, gone)

    def _update(self, effect: Effect) -> None:
        account, statements = effect.target_id, self._tables.database.statements
        if effect.kind is not Kind.COMPANY or effect.operation is not Operation.UPDATE or not account:
            raise RejectedError(
                f"Tieout does not {effect.operation.value} a {effect.kind.value} in GoldMine; it only updates"
                " user-defined fields of customers that are there."
            )
        if not isinstance(effect.document, RecordUpdate):
            raise RejectedError("Tieout only updates fields of customers in GoldMine.")
        wanted = self._columns(effect.document.fields)
        with self._tables.database.change() as change:
            former = self._row(change, account)
            values = {name: value for name, value in wanted.items() if not self._same(former[name], value)}
            if not values:
                return
            if change.update(statements.set_user_fields(account, values, {name: former[name] for name in values})) == 0:
                raise ConflictError("Somebody changed the customer in GoldMine at the same time.")
            self._check_kept(values, self._row(change, account))
            change.update(statements.stamp(account, self._local(), self._settings.last_user))
            change.keep()

    def _row(self, change: Change, account: str) -> Row:
        """Its row of CONTACT2."""
        rows = change.rows(self._tables.database.statements.rows("CONTACT2", "ACCOUNTNO", [account]))
        found = [row for row in rows if self._tables.translator.key(row) == account]
        if not found:
            raise NotFoundError(f"GoldMine has no customer {account}, or no row of user-defined fields for it.")
        return found[0]

    def _columns(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """By column, what it is to hold.

        Raises:
            RejectedError: Naming the field that cannot be written.
        """
        table = self._tables.database.statements.table("CONTACT2")
        found = {}
        for path, value in fields.items():
            name = path.removeprefix(_PREFIX)
            if table is None or not path.startswith(_PREFIX) or not is_user_field(name) or not table.has(name):
                raise RejectedError(
                    f"GoldMine has no user-defined field for `{path}`.",
                    field=path,
                    next_step="Make the field in GoldMine (its name begins with U), or name another one.",
                )
            found[name] = _stored(value, as_text=name in table.widths)
            if isinstance(found[name], str) and len(found[name]) > table.widths.get(name, len(found[name])):
                raise RejectedError(
                    f"GoldMine's field {name} takes {table.widths[name]} characters.",
                    field=path,
                    next_step="Shorten the value in the mapping, or let the field be wider.",
                )
        return found

    def _check_kept(self, values: Mapping[str, Any], row: Row) -> None:
        for name, value in values.items():
            if not self._same(row[name], value):
                raise RejectedError(
                    f"The GoldMine database did not keep the value of {name} as it was given.",
                    field=f"{_PREFIX}{name}",
                    next_step="Check the field's type and length in GoldMine, then retry.",
                )

    def _same(self, held: Any, wanted: Any) -> bool:  # noqa: ANN401 - a column holds anything
        custom = self._tables.translator.custom
        return bool(custom(held) == custom(wanted))

    def _local(self) -> datetime:
        return self._clock.now().astimezone(ZoneInfo(self._settings.time_zone))


def _stored(value: Any, *, as_text: bool) -> Any:  # noqa: ANN401 - a document holds anything
    """In the form that the column takes: a text column holds numbers and days as text."""
    if isinstance(value, date):
        return value.isoformat()[:10] if as_text else datetime.combine(value, time.min)
    if as_text and value is not None:
        return str(value)
    return float(value) if isinstance(value, Decimal) else value
