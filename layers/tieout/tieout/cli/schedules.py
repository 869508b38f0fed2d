"""Schedules: how often each connection is asked for changes."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Protocol

from tieout.domain.connections import Connection

if TYPE_CHECKING:
    from types_boto3_scheduler import EventBridgeSchedulerClient

NAME_LENGTH_MAX = 64
# Without it, EventBridge tries to start the function for a day, while newer polls do the same work.
RETRIES = {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 3600}
_DIGEST_LENGTH = 12


class Schedules(Protocol):
    """Keeps one schedule for each connection."""

    def put(self, connection: Connection, rate: str, *, enabled: bool) -> bool:
        """Make the connection's schedule what it should be; True if it was not."""


class SchedulesOf:
    """Implements `Schedules` with EventBridge Scheduler, in the stack's own group."""

    def __init__(self, client: EventBridgeSchedulerClient, *, group: str, function_arn: str, role_arn: str) -> None:
        self._client = client
        self._group = group
        self._function_arn = function_arn
        self._role_arn = role_arn

    def put(self, connection: Connection, rate: str, *, enabled: bool) -> bool:
        """Make the connection's schedule what it should be; True if it was not.

        Args:
            connection: Whose changes to ask for.
            rate: An EventBridge rate, such as `rate(1 hour)`.
            enabled: False as long as nobody signed the connection in.
        """
        name = schedule_name(connection)
        wanted: dict[str, Any] = {
            "ScheduleExpression": rate,
            "State": "ENABLED" if enabled else "DISABLED",
            "Target": {
                "Arn": self._function_arn,
                "RoleArn": self._role_arn,
                "Input": json.dumps({"tenant": connection.tenant, "connection": connection.id}),
                "RetryPolicy": RETRIES,
            },
        }
        try:
            found: Any = self._client.get_schedule(Name=name, GroupName=self._group)
        except self._client.exceptions.ResourceNotFoundException:
            self._client.create_schedule(Name=name, GroupName=self._group, FlexibleTimeWindow={"Mode": "OFF"}, **wanted)
            return True
        target = {key: found["Target"].get(key) for key in wanted["Target"]}
        if target == wanted["Target"] and all(found.get(key) == wanted[key] for key in ("ScheduleExpression", "State")):
            return False
        self._client.update_schedule(Name=name, GroupName=self._group, FlexibleTimeWindow={"Mode": "OFF"}, **wanted)
        return True


def schedule_name(connection: Connection) -> str:
    """`tenant.connection`; a long one is cut and kept unique by a digest.

    Source: EventBridge Scheduler API Reference, CreateSchedule (64 characters of `0-9a-zA-Z-_.`), read 2026-11-22.
    """
    if len(connection.address) <= NAME_LENGTH_MAX:
        return connection.address
    digest = hashlib.sha256(connection.address.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{connection.address[: NAME_LENGTH_MAX - _DIGEST_LENGTH - 1]}.{digest}"
