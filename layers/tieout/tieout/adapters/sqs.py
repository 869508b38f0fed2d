"""Queues of changes, on SQS.

A message holds up to 50 changes of one tenant, connection, kind and lane. On a standard queue the message group is the
fairness group: a connection with a long backlog does not delay the others.
Source: Amazon SQS Developer Guide, "Fair queues", read 2026-11-22.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from tieout.domain.changes import Change, Lane, Origin
from tieout.domain.errors import SettingsError, UnavailableError
from tieout.domain.records import Kind
from tieout.ports.clock import Clock

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

CHANGES_PER_MESSAGE = 50
MESSAGES_PER_CALL = 10
TRIES_MAX = 4
BACKOFF_SECONDS = 0.1
DELAY_SECONDS_MAX = 900
_FORM = 1


class SqsQueue:
    """Implements `tieout.ports.queue.ChangeQueue`.

    Args:
        client: Of SQS.
        clock: For the pauses between tries.
        lanes: The address of each lane's queue; a lane that is not given, or empty, cannot be sent to.
        retry: The address of the queue for another try; may be empty as well.
    """

    def __init__(self, client: SQSClient, clock: Clock, *, lanes: Mapping[Lane, str], retry: str) -> None:
        self._client = client
        self._clock = clock
        self._lanes = lanes
        self._retry = retry

    def send(self, changes: Sequence[Change]) -> None:
        """Queue each change on its lane.

        Raises:
            UnavailableError: If some could not be stored; sending all again does no harm.
        """
        for lane in Lane:
            some = [change for change in changes if change.lane is lane]
            if some:
                self._send(self._lanes.get(lane, ""), some, delay_seconds=0)

    def send_later(self, changes: Sequence[Change], *, delay_seconds: int) -> None:
        """Queue for another try after `delay_seconds` (0 to 900).

        Raises:
            UnavailableError: If some could not be stored; sending all again does no harm.
        """
        if not 0 <= delay_seconds <= DELAY_SECONDS_MAX:
            raise ValueError(f"a message can wait 0 to {DELAY_SECONDS_MAX} seconds, not {delay_seconds}")
        self._send(self._retry, changes, delay_seconds=delay_seconds)

    def waiting(self) -> dict[str, int]:
        """About how many messages stand in each queue, those in flight or delayed included, by queue name."""
        urls = dict.fromkeys(url for url in (*self._lanes.values(), self._retry) if url)
        return {url.rsplit("/", 1)[-1]: self._count(url) for url in urls}

    def _count(self, url: str) -> int:
        answer = self._client.get_queue_attributes(
            QueueUrl=url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
                "ApproximateNumberOfMessagesDelayed",
            ],
        )
        return sum(int(count) for count in answer["Attributes"].values())

    def _send(self, url: str, changes: Sequence[Change], *, delay_seconds: int) -> None:
        if not url:
            raise SettingsError("A change has no queue to go to: this function was not given the queue's address.")
        for messages in batched(_grouped(changes), MESSAGES_PER_CALL, strict=False):
            entries: list[SendMessageBatchRequestEntryTypeDef] = [
                {
                    "Id": str(number),
                    "MessageBody": encode(message),
                    "MessageGroupId": f"{message[0].tenant}.{message[0].connection}",
                    "DelaySeconds": delay_seconds,
                }
                for number, message in enumerate(messages)
            ]
            self._send_entries(url, entries)

    def _send_entries(self, url: str, entries: list[SendMessageBatchRequestEntryTypeDef]) -> None:
        codes: set[str] = set()
        for attempt in range(TRIES_MAX):
            try:
                answer = self._client.send_message_batch(QueueUrl=url, Entries=entries)
            except (BotoCoreError, ClientError) as error:
                raise _not_stored({type(error).__name__}) from error
            failed = {entry["Id"] for entry in answer.get("Failed", [])}
            if not failed:
                return
            codes = {entry["Code"] for entry in answer["Failed"]}
            entries = [entry for entry in entries if entry["Id"] in failed]
            if any(entry["SenderFault"] for entry in answer["Failed"]):
                break
            self._clock.sleep(BACKOFF_SECONDS * 2**attempt * (0.5 + self._clock.jitter()))
        raise _not_stored(codes)


class SqsFiles:
    """Implements `tieout.ports.files.FileQueue`: on the queue that the bucket tells of new files, too."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client, self._url = client, url

    def send(self, place: str, *, delay_seconds: int, run: str = "") -> None:
        """Let the file at the place be looked at after `delay_seconds` (0 to 900); `run` if that import goes on.

        Raises:
            UnavailableError: If it could not be stored.
        """
        body = json.dumps({"place": place, "run": run})
        try:
            self._client.send_message(QueueUrl=self._url, MessageBody=body, DelaySeconds=delay_seconds)
        except (BotoCoreError, ClientError) as error:
            raise UnavailableError("The queue of files did not store one.", detail=type(error).__name__) from error


def _not_stored(codes: Iterable[str]) -> UnavailableError:
    return UnavailableError("The queue did not store a change.", detail=f"SQS: {', '.join(sorted(codes))}")


def _grouped(changes: Sequence[Change]) -> Iterable[tuple[Change, ...]]:
    groups: dict[tuple[str, str, Kind, Lane], list[Change]] = defaultdict(list)
    for change in changes:
        groups[change.tenant, change.connection, change.kind, change.lane].append(change)
    for group in groups.values():
        yield from batched(group, CHANGES_PER_MESSAGE, strict=False)


def encode(changes: Sequence[Change]) -> str:
    """The message's body: the changes are of one tenant, connection, kind and lane."""
    first = changes[0]
    return json.dumps(
        {
            "v": _FORM,
            "tenant": first.tenant,
            "connection": first.connection,
            "kind": first.kind,
            "lane": first.lane,
            "changes": [
                {
                    "id": change.id,
                    "seen_at": change.seen_at.astimezone(UTC).isoformat(),
                    "origin": change.origin,
                    "attempts": change.attempts,
                }
                | ({"plan": change.plan} if change.plan else {})
                | ({"merged_into": change.merged_into} if change.merged_into else {})
                | ({"alone": True} if change.alone else {})
                for change in changes
            ],
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def decode(body: str) -> list[Change]:
    """The changes of a message's body.

    Raises:
        ValueError: If it is not of our form. Says what is wrong, not what stands there.
    """
    try:
        return _changes(json.loads(body))
    except json.JSONDecodeError:
        raise ValueError("the message is not JSON") from None
    except KeyError as error:
        raise ValueError(f"the message has no {error.args[0]}") from None
    except (TypeError, ValueError):
        raise ValueError(f"the message is not a set of changes in form {_FORM}") from None


def _changes(message: Any) -> list[Change]:  # noqa: ANN401  JSON is anything
    if message["v"] != _FORM:
        raise ValueError
    changes = [
        Change(
            tenant=_text(message["tenant"]),
            connection=_text(message["connection"]),
            kind=Kind(message["kind"]),
            id=_text(one["id"]),
            seen_at=_time(one["seen_at"]),
            origin=Origin(one["origin"]),
            lane=Lane(message["lane"]),
            attempts=_count(one["attempts"]),
            plan=_text(one["plan"]) if "plan" in one else "",
            merged_into=_text(one["merged_into"]) if "merged_into" in one else "",
            alone=one.get("alone", False) is True,
        )
        for one in message["changes"]
    ]
    if not changes:
        raise ValueError
    return changes


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise TypeError
    return value


def _time(value: object) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError
    return moment
