"""Starts a poll now, in a run of its own."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from tieout.adapters.aws import Clients

_logger = logging.getLogger(__name__)


class LambdaWaker:
    """Implements `tieout.ports.bridge.Waker`."""

    def __init__(self, clients: Clients, function: str) -> None:
        self._clients, self._function = clients, function

    def poll(self, tenant: str, connection: str) -> None:
        """Have the connection asked for changes now; if that cannot be started, its schedule does it later."""
        payload = json.dumps({"tenant": tenant, "connection": connection}).encode()
        try:
            self._clients.functions.invoke(FunctionName=self._function, InvocationType="Event", Payload=payload)
        except (BotoCoreError, ClientError) as error:
            _logger.warning("A poll could not be started.", extra={"error": type(error).__name__})
