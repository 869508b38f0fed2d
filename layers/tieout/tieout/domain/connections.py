"""Connections: one tenant's authorised account at one provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class ConnectionState(StrEnum):
    """PAUSED: only a person can help; changes wait and nothing is lost."""

    ACTIVE = "active"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Connection:
    """One account at one provider.

    Attributes:
        tenant, id: Lower-case letters, digits and hyphens; together unique in the deployment.
        provider: The connector's name, such as `quickbooks_online`.
        account: The provider's own id of the account (a realm, a database); webhooks name it.
        settings: What the connector's settings model accepts; no secrets.
        poll: How often to ask for changes, as an EventBridge rate; empty for the deployment's default.
        through_agent: It stands in an office, though others of its provider are reached from the cloud.
        paused_because: The sentence for people; empty while active.
    """

    tenant: str
    id: str
    provider: str
    account: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    poll: str = ""
    state: ConnectionState = ConnectionState.ACTIVE
    paused_because: str = ""
    paused_at: datetime | None = None
    through_agent: bool = False

    @property
    def address(self) -> str:
        """The name used in webhook addresses and logs: `tenant.connection`."""
        return f"{self.tenant}.{self.id}"
