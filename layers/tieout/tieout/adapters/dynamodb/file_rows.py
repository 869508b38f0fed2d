"""Rows of files, how they are found, their feed, and the imports that brought them.

partition key (pk)                             sort key (sk)   what
<tenant>#file_row#<connection>#<kind>.<nn>     <id>            a row; spread over 16 partitions, so that a large file
                                                               is not held up by what one partition takes a second
<tenant>#file_name#<connection>#<digest>       <id>            a row that has this text in one of its indexed fields
<tenant>#file_feed#<connection>#<kind>         <number>        ids of rows that changed together
<tenant>#file_layout#<connection>              <digest>        how files with these columns are read
<tenant>#file_import#<connection>              <id>            an import
                                               #now            the import that was under way last
                                               #last#<kind>    the import of this kind that ended last
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tieout.adapters.dynamodb.table import Condition, Key, Table, joined
from tieout.adapters.dynamodb.values import Scalar
from tieout.domain.errors import ThrottledError, UnavailableError
from tieout.domain.files import FileRow, Import, ImportState, Layout, RowState
from tieout.domain.packing import pack, time_of, time_text, unpack
from tieout.domain.records import Kind
from tieout.ports.files import INDEXED

PARTITIONS = 16
IDS_PER_PAGE = 5_000
FOUND_MAX = 100
_NUMBER_DIGITS = 12
_NAME_BYTES = 16
_NOW, _LAST = "#now", "#last#"
_BUSY = frozenset({"ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException"})
_SERVER_ERROR = 500


class DynamoFileRows:
    """Implements `tieout.ports.files.FileStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    # Rows

    def rows(self, tenant: str, connection: str, kind: Kind, ids: Sequence[str]) -> Mapping[str, FileRow]:
        """Those of the ids that are stored; strongly consistent.

        Raises:
            UnavailableError: If DynamoDB cannot be asked now.
        """
        with _asking():
            keys = [_row_key(tenant, connection, kind, one) for one in ids]
            return {item["sk"]: _row(kind, item) for item in self._table.get_many(keys)}

    def named(self, tenant: str, connection: str, kind: Kind, field: str, values: Sequence[str]) -> Sequence[FileRow]:
        """Rows whose `field` equals one of the values, ignoring case; 100 a value at most.

        Raises:
            UnavailableError: If DynamoDB cannot be asked now.
        """
        wanted = {fold(value) for value in values}
        ids: dict[str, None] = {}
        with _asking():
            for value in wanted:
                pk = _name_pk(tenant, connection, kind, field, value)
                found, _ = self._table.page(pk, after="", limit=FOUND_MAX)
                ids |= dict.fromkeys(item["sk"] for item in found)
        found_rows = self.rows(tenant, connection, kind, list(ids)).values()
        # What the row said once may still lead to it.
        return [row for row in found_rows if fold(_text(row, field)) in wanted]

    def listed(
        self, tenant: str, connection: str, kind: Kind, after: str | None, limit: int
    ) -> tuple[Sequence[FileRow], str | None]:
        """One page of all rows, and where to go on; None at the end.

        Raises:
            UnavailableError: If DynamoDB cannot be asked now.
        """
        items, going_on = self._page(tenant, connection, kind, after=after, limit=limit)
        return [_row(kind, item) for item in items], going_on

    def ids(self, tenant: str, connection: str, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """One page of all ids, and where to go on; None at the end.

        Raises:
            UnavailableError: If DynamoDB cannot be asked now.
        """
        items, going_on = self._page(tenant, connection, kind, after=after, limit=IDS_PER_PAGE, attributes=("sk",))
        return [str(item["sk"]) for item in items], going_on

    def _page(
        self,
        tenant: str,
        connection: str,
        kind: Kind,
        *,
        after: str | None,
        limit: int,
        attributes: Sequence[str] = (),
    ) -> tuple[list[dict[str, Any]], str | None]:
        """A page's place is the number of its partition and the id before it; empty partitions are passed over."""
        number, _, last = (after or "00 ").partition(" ")
        for partition in range(int(number), PARTITIONS):
            pk = _row_pk(tenant, connection, kind, partition)
            with _asking():
                items, going_on = self._table.page(pk, after=last, limit=limit, attributes=attributes)
            if going_on is not None:
                return items, f"{partition:02} {going_on}"
            if items:
                return items, f"{partition + 1:02} " if partition + 1 < PARTITIONS else None
            last = ""
        return [], None

    def put_rows(self, tenant: str, connection: str, rows: Sequence[tuple[FileRow, FileRow | None]]) -> None:
        """Store each row in place of the former one, and how it is found by its fields.

        How it is found goes first, and leads nowhere until the row is there.

        Raises:
            UnavailableError: If DynamoDB cannot be asked now; doing it again does no harm.
        """
        names = {key: None for row, _ in rows for key in _name_keys(tenant, connection, row)}
        former = [key for _, one in rows if one is not None for key in _name_keys(tenant, connection, one)]
        with _asking():
            self._table.put_and_delete_many({key: {} for key in names})
            self._table.put_and_delete_many(
                {_row_key(tenant, connection, row.kind, row.id): _row_values(row) for row, _ in rows},
                deletes=[key for key in former if key not in names],
            )

    def remove_rows(self, tenant: str, connection: str, rows: Sequence[FileRow]) -> None:
        """Forget these rows.

        Raises:
            UnavailableError: If DynamoDB cannot be asked now; doing it again does no harm.
        """
        keys = [_row_key(tenant, connection, row.kind, row.id) for row in rows]
        names = [key for row in rows for key in _name_keys(tenant, connection, row)]
        with _asking():
            self._table.put_and_delete_many({}, [*keys, *names])

    # Feed

    def feed(self, tenant: str, connection: str, kind: Kind, number: int, ids: Sequence[str]) -> bool:
        """Add an entry to the feed; False if there is one of this number.

        Raises:
            UnavailableError: If DynamoDB cannot be asked now.
        """
        key = Key(_feed_pk(tenant, connection, kind), f"{number:0{_NUMBER_DIGITS}}")
        values: dict[str, Scalar] = {"ids": pack(list(ids))}
        with _asking():
            # botocore repeats a call whose answer was lost: what is in the way may be our own.
            return self._table.put(key, values, when=Condition("attribute_not_exists(#pk)")) or (
                (self._table.get(key) or {}).get("ids") == values["ids"]
            )

    def fed(
        self, tenant: str, connection: str, kind: Kind, after: int, limit: int
    ) -> Sequence[tuple[int, Sequence[str]]]:
        """The entries of the feed whose number is above `after`, in order.

        Raises:
            UnavailableError: If DynamoDB cannot be asked now.
        """
        place = f"{after:0{_NUMBER_DIGITS}}"
        with _asking():
            items, _ = self._table.page(_feed_pk(tenant, connection, kind), after=place, limit=limit)
        return [(int(item["sk"]), unpack(item["ids"])) for item in items]

    def newest_fed(self, tenant: str, connection: str, kind: Kind) -> int:
        """The number of the newest entry; 0 if there is none.

        Raises:
            UnavailableError: If DynamoDB cannot be asked now.
        """
        with _asking():
            newest = self._table.query(_feed_pk(tenant, connection, kind), newest_first=True, first_page=1)
            return int(next(newest, {"sk": "0"})["sk"])

    # Layouts

    def layout(self, tenant: str, connection: str, digest: str) -> Layout | None:
        """How files with these columns are read; None if nobody decided yet."""
        item = self._table.get(Key(joined(tenant, "file_layout", connection), digest))
        if item is None:
            return None
        return Layout(
            digest=digest,
            columns=unpack(item["columns"]),
            choices=unpack(item["choices"]),
            saved_by=item["saved_by"],
            saved_at=time_of(item["saved_at"]),
        )

    def put_layout(self, tenant: str, connection: str, layout: Layout) -> None:
        """Remember it."""
        values: dict[str, Scalar] = {
            "columns": pack(layout.columns),
            "choices": pack(layout.choices),
            "saved_by": layout.saved_by,
            "saved_at": time_text(layout.saved_at),
        }
        self._table.put(Key(joined(tenant, "file_layout", connection), layout.digest), values)

    # Imports

    def put_import(self, one: Import) -> None:
        """Store or replace an import; it is the connection's newest, and the one under way if it is RUNNING."""
        values = _import_values(one)
        pk = joined(one.tenant, "file_import", one.connection)
        self._table.put(Key(pk, one.id), values)
        now = self.under_way(one.tenant, one.connection)
        if one.state is ImportState.RUNNING or (now is not None and now.id == one.id):
            self._table.put(Key(pk, _NOW), values)
        if one.state is ImportState.DONE and one.kind is not None:
            self._table.put(Key(pk, f"{_LAST}{one.kind}"), values)

    def under_way(self, tenant: str, connection: str) -> Import | None:
        """The import that is running; None if none is. Strongly consistent.

        Raises:
            UnavailableError: If DynamoDB cannot be asked now.
        """
        with _asking():
            one = self._import(tenant, connection, _NOW)
        return one if one is not None and one.state is ImportState.RUNNING else None

    def find_import(self, tenant: str, connection: str, import_id: str) -> Import | None:
        """The import of this id; None if there is none. Strongly consistent."""
        return self._import(tenant, connection, import_id)

    def last_import(self, tenant: str, connection: str, kind: Kind) -> Import | None:
        """The import of this kind that ended last; None if there is none. Strongly consistent."""
        return self._import(tenant, connection, f"{_LAST}{kind}")

    def imports(self, tenant: str, connection: str) -> Iterator[Import]:
        """All that are kept, in no order."""
        for item in self._table.query(joined(tenant, "file_import", connection)):
            if not item["sk"].startswith("#"):
                yield _import(tenant, connection, item)

    def _import(self, tenant: str, connection: str, name: str) -> Import | None:
        item = self._table.get(Key(joined(tenant, "file_import", connection), name))
        return None if item is None else _import(tenant, connection, item)


def fold(text: str) -> str:
    """Equal for texts that differ only in case and white space."""
    return " ".join(text.split()).casefold()


@contextmanager
def _asking() -> Iterator[None]:
    """What DynamoDB cannot answer now as our error; a call that is wrong or not allowed rises as it is.

    Raises:
        UnavailableError: If it is down, slow, or asked too much of.
    """
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _BUSY:
            raise ThrottledError("The table is asked too much of at once.", code=code) from error
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= _SERVER_ERROR:
            raise UnavailableError("The table does not answer.", code=code) from error
        raise
    except (BotoCoreError, TimeoutError) as error:
        raise UnavailableError("The table cannot be reached.", detail=type(error).__name__) from error


def _row_pk(tenant: str, connection: str, kind: Kind, partition: int) -> str:
    return joined(tenant, "file_row", connection, f"{kind}.{partition:02}")


def _row_key(tenant: str, connection: str, kind: Kind, row_id: str) -> Key:
    return Key(_row_pk(tenant, connection, kind, zlib.crc32(row_id.encode()) % PARTITIONS), row_id)


def _feed_pk(tenant: str, connection: str, kind: Kind) -> str:
    return joined(tenant, "file_feed", connection, kind)


def _name_pk(tenant: str, connection: str, kind: Kind, field: str, folded: str) -> str:
    digest = hashlib.blake2b(f"{kind}\x00{field}\x00{folded}".encode(), digest_size=_NAME_BYTES).hexdigest()
    return joined(tenant, "file_name", connection, digest)


def _name_keys(tenant: str, connection: str, row: FileRow) -> list[Key]:
    return [
        Key(_name_pk(tenant, connection, row.kind, field, fold(_text(row, field))), row.id)
        for field in INDEXED
        if _text(row, field).strip()
    ]


def _text(row: FileRow, field: str) -> str:
    value = row.fields.get(field)
    return value if isinstance(value, str) else ""


def _row_values(row: FileRow) -> dict[str, Scalar]:
    return {
        "fields": pack(row.fields),
        "digest": row.digest,
        "changed_at": time_text(row.changed_at),
        "run": row.run,
        "number": row.number,
        "state": row.state,
    }


def _row(kind: Kind, item: dict[str, Any]) -> FileRow:
    return FileRow(
        kind=kind,
        id=item["sk"],
        fields=unpack(item["fields"]),
        digest=item["digest"],
        changed_at=time_of(item["changed_at"]),
        run=item["run"],
        number=item["number"],
        state=RowState(item["state"]),
    )


_TIMES = ("started_at", "touched_at", "finished_at")


def _import_values(one: Import) -> dict[str, Scalar]:
    kept = {name: value for name, value in asdict(one).items() if name not in {"tenant", "connection", *_TIMES}}
    values: dict[str, Scalar] = {"import": pack(kept), "state": one.state}
    return values | {name: time_text(at) for name in _TIMES if (at := getattr(one, name)) is not None}


def _import(tenant: str, connection: str, item: dict[str, Any]) -> Import:
    kept = unpack(item["import"])
    return Import(
        tenant=tenant,
        connection=connection,
        **kept
        | {
            "state": ImportState(kept["state"]),
            "kind": None if kept["kind"] is None else Kind(kept["kind"]),
            "results": tuple(kept["results"]),
        }
        | {name: time_of(item[name]) for name in _TIMES if name in item},
    )
