"""The outermost edge, shared by the functions: what is logged and counted, and how a batch of messages ends.

A log may show names, codes, counts and places in the code; never an event, and never an error's own text, which can
hold a customer's name or an answer's body.
"""

from __future__ import annotations

import functools
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit
from botocore.exceptions import ClientError

from tieout.adapters.sqs import decode
from tieout.domain.errors import ProviderError, TieoutError

if TYPE_CHECKING:
    from tieout.domain.changes import Change
    from tieout.engine.ends import ApplyReport
    from tieout.ports.audit import Noticed

CAUSES_MAX = 5
SPARE_MILLISECONDS_MAX = 40_000

# The package's own loggers (`tieout.transport` and so on) end here, and so get the tenant and the connection.
logger = Logger(service="tieout")
metrics = Metrics(namespace="Tieout")

type Event = Mapping[str, Any]


class Context(Protocol):
    """What Lambda tells a function about its run."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the run."""


type Handler[Answer] = Callable[[Event, Context], Answer]


def function[Answer](name: str) -> Callable[[Handler[Answer]], Handler[Answer]]:
    """A handler that logs its name in every line, publishes its counts, and shows nothing private when it fails."""

    def decorated(handle: Handler[Answer]) -> Handler[Answer]:
        @functools.wraps(handle)
        def handler(event: Event, context: Context) -> Answer:
            logger.append_keys(function=name, request=context.aws_request_id)
            try:
                return handle(event, context)
            except Exception as error:  # noqa: BLE001 - the outermost edge
                log_failure("The function failed.", error)
                failure = type(error).__name__
            finally:
                if metrics.metric_set:
                    metrics.flush_metrics()
            # The runtime logs what we raise, text and all: so it is not the error itself, nor anything chained to it.
            raise RuntimeError(f"{name} failed with {failure}; the log says where")

        return handler

    return decorated


def count(**counts: int) -> None:
    """Add to the function's metrics; all are counts except `...Seconds`."""
    for name, value in counts.items():
        unit = MetricUnit.Seconds if name.endswith("Seconds") else MetricUnit.Count
        metrics.add_metric(name=name, unit=unit, value=value)


def count_ends(report: ApplyReport) -> None:
    """Count and log what became of some changes."""
    applied = report.created + report.updated + report.adopted
    count(
        ChangesApplied=applied,
        ChangesUnchanged=report.unchanged,
        ChangesSkipped=report.skipped,
        ChangesParked=report.parked,
        ChangesWaiting=report.waiting,
    )
    ends = {
        "created": report.created,
        "updated": report.updated,
        "adopted": report.adopted,
        "unchanged": report.unchanged,
        "skipped": report.skipped,
        "parked": report.parked,
        "waiting": report.waiting,
    }
    logger.info("Changes reached their end.", ends=ends, paused=list(report.paused))


def log_failure(what: str, error: BaseException) -> None:
    """Log which errors came together and where in the code, without their texts."""
    causes = list(_causes(error))
    known: dict[str, object] = {"error": [type(cause).__name__ for cause in causes], "where": _places(causes[-1])}
    if isinstance(error, TieoutError):
        known["detail"] = error.detail
    if isinstance(error, ProviderError):
        known |= {"code": error.code, "provider_request": error.request_id}
    known["aws"] = [
        cause.response.get("Error", {}).get("Code", "") for cause in causes if isinstance(cause, ClientError)
    ]
    logger.error(what, extra=known)


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    for _ in range(CAUSES_MAX):
        if current is None:
            return
        yield current
        current = current.__cause__ or current.__context__


def _places(error: BaseException) -> list[str]:
    return [f"{place.filename}:{place.lineno} {place.name}" for place in traceback.extract_tb(error.__traceback__)]


def out_of_time(context: Context, timeout_seconds: int) -> Callable[[], bool]:
    """True once a third of the function's time, or 40 seconds if that is less, are left: enough to end in order."""
    spare = min(SPARE_MILLISECONDS_MAX, timeout_seconds * 1000 // 3)
    return lambda: context.get_remaining_time_in_millis() < spare


@dataclass(frozen=True, slots=True)
class _Message:
    id: str
    changes: Sequence[Change]


def settle_messages(event: Event, settle: Callable[[Sequence[Change]], None]) -> dict[str, list[dict[str, str]]]:
    """Which messages SQS has to deliver again, as ReportBatchItemFailures wants it.

    Args:
        event: From SQS.
        settle: Returns only after every change it is given has a durable end. It gets one connection's changes
            together; if it raises, it gets them message by message, so that one message does not fail the others.
    """
    failed: list[str] = []
    connections: dict[tuple[str, str], list[_Message]] = defaultdict(list)
    for record in event["Records"]:
        try:
            changes = decode(record["body"])
        except ValueError:
            logger.error("A message is not of our form.", message_id=record["messageId"])  # noqa: TRY400 - its text stays out of the log
            failed.append(record["messageId"])
        else:
            connections[changes[0].tenant, changes[0].connection].append(_Message(record["messageId"], changes))
    for (tenant, connection), messages in connections.items():
        with logger.append_context_keys(tenant=tenant, connection=connection):
            failed += _failed(messages, settle)
    count(MessagesFailed=len(failed))
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def settle_stream(event: Event, archive: Callable[[str, Sequence[Noticed]], int]) -> dict[str, list[dict[str, str]]]:
    """Where the table's stream has to begin again, as ReportBatchItemFailures wants it.

    Args:
        event: From the table's stream.
        archive: Returns only after a tenant's changes are kept, with how many were new. What comes after a record that
            cannot be read, of the same tenant, is left for the next time: the order of what happened is kept.
    """
    from tieout.adapters.dynamodb.audit import noticed_of, tenant_of  # noqa: PLC0415 - for the one function that has it

    failed: dict[str, str] = {}
    told: dict[str, list[tuple[str, Noticed]]] = defaultdict(list)
    for record in event["Records"]:
        tenant, number = tenant_of(record), record["dynamodb"]["SequenceNumber"]
        if tenant in failed:
            continue
        try:
            noticed = noticed_of(record)
        except Exception as error:  # noqa: BLE001 - the outermost edge: the record is told again
            log_failure("A record of the stream cannot be read.", error)
            failed[tenant] = number
        else:
            if noticed is not None:
                told[tenant].append((number, noticed))
    added = 0
    for tenant, some in told.items():
        with logger.append_context_keys(tenant=tenant):
            try:
                added += archive(tenant, [noticed for _, noticed in some])
            except Exception as error:  # noqa: BLE001 - the outermost edge: the records are told again
                log_failure(f"{len(some)} changes could not be archived.", error)
                failed[tenant] = some[0][0]
    count(AuditEntriesArchived=added, AuditTenantsFailed=len(failed))
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed.values()]}


def _failed(messages: Sequence[_Message], settle: Callable[[Sequence[Change]], None]) -> list[str]:
    if _settled(messages, settle):
        return []
    if len(messages) == 1:
        return [messages[0].id]
    return [message.id for message in messages if not _settled([message], settle)]


def _settled(messages: Sequence[_Message], settle: Callable[[Sequence[Change]], None]) -> bool:
    try:
        settle([change for message in messages for change in message.changes])
    except Exception as error:  # noqa: BLE001 - the outermost edge: the message is delivered again
        log_failure(f"{len(messages)} messages could not be settled.", error)
        return False
    return True
