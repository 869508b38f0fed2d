"""The table: keys, conditional writes, batches and pages. Errors of AWS itself rise: the message is delivered again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import batched
from typing import TYPE_CHECKING, Any

from tieout.adapters.dynamodb.values import Scalar, Values, from_attributes, to_attributes
from tieout.ports.clock import Clock

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_dynamodb.type_defs import (
        PutTypeDef,
        QueryInputTypeDef,
        TransactWriteItemTypeDef,
        UpdateItemInputTypeDef,
    )

GET_BATCH = 100
PUT_BATCH = 25
CALLS_AT_ONCE = 8
TRIES_MAX = 8
BACKOFF_SECONDS = 0.05
PAGES_MAX = 100_000
_NAME = re.compile(r"#\w+")


@dataclass(frozen=True, slots=True)
class Key:
    """Names one item."""

    pk: str
    sk: str

    def attributes(self) -> dict[str, Any]:
        """As DynamoDB wants it."""
        return to_attributes({"pk": self.pk, "sk": self.sk})


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold for a write: `#name` stands for an attribute, `:name` for a value."""

    text: str
    values: dict[str, Scalar] = field(default_factory=dict)


def joined(*parts: str) -> str:
    """The parts of a key, with `#` between them.

    Raises:
        ValueError: If a part other than the last has a `#`: two keys could become one.
    """
    if any("#" in part for part in parts[:-1]):
        raise ValueError("a name that stands in a key of the table has a #")
    return "#".join(parts)


class Table:
    """One table. Reads by key are strongly consistent."""

    def __init__(self, client: DynamoDBClient, name: str, clock: Clock) -> None:
        self._client = client
        self._name = name
        self._clock = clock

    def get(self, key: Key) -> dict[str, Any] | None:
        """The item; None if there is none."""
        answer = self._client.get_item(TableName=self._name, Key=key.attributes(), ConsistentRead=True)
        return from_attributes(answer["Item"]) if "Item" in answer else None

    def get_many(self, keys: Iterable[Key]) -> Iterator[dict[str, Any]]:
        """The items that exist, in any order."""
        for chunk in batched(dict.fromkeys(keys), GET_BATCH, strict=False):
            yield from self._get_chunk(chunk)

    def _get_chunk(self, keys: Sequence[Key]) -> Iterator[dict[str, Any]]:
        left: list[Any] = [key.attributes() for key in keys]
        for attempt in range(TRIES_MAX):
            answer = self._client.batch_get_item(RequestItems={self._name: {"Keys": left, "ConsistentRead": True}})
            yield from (from_attributes(item) for item in answer["Responses"].get(self._name, []))
            unread = answer["UnprocessedKeys"].get(self._name)
            left = [] if unread is None else list(unread["Keys"])
            if not left:
                return
            self._back_off(attempt)
        raise TimeoutError(f"DynamoDB left {len(left)} keys unread after {TRIES_MAX} tries")

    def put(self, key: Key, values: Values, *, when: Condition | None = None) -> bool:
        """Store or replace the item; False if the condition does not hold."""
        try:
            self._client.put_item(**self.put_request(key, values, when=when))
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def put_and_delete_many(self, puts: Mapping[Key, Values], deletes: Iterable[Key] = ()) -> None:
        """Store or replace these items and remove those, in any order, several calls at once, without conditions."""
        requests: list[Any] = [
            {"PutRequest": {"Item": key.attributes() | to_attributes(values)}} for key, values in puts.items()
        ]
        requests += [{"DeleteRequest": {"Key": key.attributes()}} for key in dict.fromkeys(deletes) if key not in puts]
        chunks = list(batched(requests, PUT_BATCH, strict=False))
        if len(chunks) <= 1:
            for chunk in chunks:
                self._put_chunk(chunk)
            return
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            for _ in pool.map(self._put_chunk, chunks):
                pass

    def _put_chunk(self, requests: Sequence[Any]) -> None:
        left = list(requests)
        for attempt in range(TRIES_MAX):
            answer = self._client.batch_write_item(RequestItems={self._name: left})
            left = list(answer["UnprocessedItems"].get(self._name, []))
            if not left:
                return
            self._back_off(attempt)
        raise TimeoutError(f"DynamoDB left {len(left)} items unwritten after {TRIES_MAX} tries")

    def put_request(self, key: Key, values: Values, *, when: Condition | None = None) -> PutTypeDef:
        """The request of a put, alone or in a transaction."""
        request: PutTypeDef = {"TableName": self._name, "Item": key.attributes() | to_attributes(values)}
        if when is not None:
            request["ConditionExpression"] = when.text
            request["ExpressionAttributeNames"] = _names(when.text)
            if when.values:
                request["ExpressionAttributeValues"] = _placeholders(when.values)
        return request

    def put_all_or_none(self, puts: Sequence[PutTypeDef]) -> bool:
        """Store all in one transaction; False if the condition of one does not hold."""
        items: list[TransactWriteItemTypeDef] = [{"Put": put} for put in puts]
        try:
            self._client.transact_write_items(TransactItems=items)
        except self._client.exceptions.TransactionCanceledException as error:
            reasons = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
            if reasons <= {"None", "ConditionalCheckFailed"}:
                return False
            raise
        return True

    def update(self, key: Key, values: Values, *, drop: Iterable[str] = (), when: Condition) -> bool:
        """Set these attributes and drop those, leaving the rest alone; False if the condition does not hold."""
        sets = "SET " + ", ".join(f"#{name} = :new_{name}" for name in values) if values else ""
        drops = " REMOVE " + ", ".join(f"#{name}" for name in drop) if drop else ""
        request: UpdateItemInputTypeDef = {
            "TableName": self._name,
            "Key": key.attributes(),
            "UpdateExpression": sets + drops,
            "ConditionExpression": when.text,
            "ExpressionAttributeNames": _names(f"{sets}{drops} {when.text}"),
        }
        if placeholders := _placeholders({f"new_{name}": value for name, value in values.items()} | when.values):
            request["ExpressionAttributeValues"] = placeholders
        try:
            self._client.update_item(**request)
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def delete(self, key: Key, *, when: Condition | None = None) -> bool:
        """Remove the item if it is there; False if the condition does not hold."""
        condition: dict[str, Any] = {}
        if when is not None:
            condition["ConditionExpression"] = when.text
            condition["ExpressionAttributeNames"] = _names(when.text)
            condition["ExpressionAttributeValues"] = _placeholders(when.values)
        try:
            self._client.delete_item(TableName=self._name, Key=key.attributes(), **condition)
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def query(
        self, pk: str, *, begins: str = "", index: str = "", newest_first: bool = False, first_page: int = 0
    ) -> Iterator[dict[str, Any]]:
        """The partition's items in order of their sort keys, page by page.

        Args:
            pk: The partition.
            begins: What the sort key begins with.
            index: `unsynced` or `account`, which are eventually consistent; the table itself otherwise, strongly.
            newest_first: From the last sort key to the first.
            first_page: Its items, for who mostly needs no more; the pages after it, and 0, are as large as DynamoDB
                gives them.
        """
        pk_name = f"{index}_pk" if index else "pk"
        sk_name = "unsynced_sk" if index == "unsynced" else "sk"
        condition = "#p = :p AND begins_with(#s, :s)" if begins else "#p = :p"
        request: QueryInputTypeDef = {
            "TableName": self._name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": {"#p": pk_name} | ({"#s": sk_name} if begins else {}),
            "ExpressionAttributeValues": _placeholders({"p": pk} | ({"s": begins} if begins else {})),
            "ScanIndexForward": not newest_first,
        }
        if index:
            request["IndexName"] = index
        else:
            request["ConsistentRead"] = True
        if first_page:
            request["Limit"] = first_page
        for _ in range(PAGES_MAX):
            answer = self._client.query(**request)
            yield from (from_attributes(item) for item in answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
            request.pop("Limit", None)
        raise RuntimeError(f"a partition has more than {PAGES_MAX} pages")

    def page(
        self, pk: str, *, after: str, limit: int, attributes: Sequence[str] = ()
    ) -> tuple[list[dict[str, Any]], str | None]:
        """At most `limit` of the partition's items behind the sort key `after`, in order, and where to go on.

        Args:
            pk: The partition.
            after: The sort key before the page; empty for the beginning.
            limit: How many items at most; there may be fewer although more follow.
            attributes: Only these of each item; all if there are none.

        Returns:
            The items, and the sort key to go on behind; None at the partition's end.
        """
        request: QueryInputTypeDef = {
            "TableName": self._name,
            "KeyConditionExpression": "#p = :p AND #s > :s" if after else "#p = :p",
            "ExpressionAttributeNames": {"#p": "pk"} | ({"#s": "sk"} if after else {}),
            "ExpressionAttributeValues": _placeholders({"p": pk} | ({"s": after} if after else {})),
            "ConsistentRead": True,
            "Limit": limit,
        }
        if attributes:
            names = {f"#a{place}": name for place, name in enumerate(attributes)}
            request["ExpressionAttributeNames"] = {**request["ExpressionAttributeNames"], **names}
            request["ProjectionExpression"] = ", ".join(names)
        answer = self._client.query(**request)
        last = answer.get("LastEvaluatedKey")
        going_on = None if last is None else str(from_attributes(last)["sk"])
        return [from_attributes(item) for item in answer["Items"]], going_on

    def _back_off(self, attempt: int) -> None:
        self._clock.sleep(BACKOFF_SECONDS * 2**attempt * (0.5 + self._clock.jitter()))


def _names(expression: str) -> dict[str, str]:
    return {name: name[1:] for name in _NAME.findall(expression)}


def _placeholders(values: Values) -> dict[str, Any]:
    return {f":{name}": value for name, value in to_attributes(values).items()}
