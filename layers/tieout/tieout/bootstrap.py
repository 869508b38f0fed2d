"""The only place that chooses implementations: settings in, use cases out.

Modules are imported where something is built of them, so that a function loads only what it runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tieout.domain.errors import SettingsError

if TYPE_CHECKING:
    from tieout.adapters.aws import Clients
    from tieout.adapters.dynamodb.table import Table
    from tieout.bridge.line import Line
    from tieout.bridge.presence import Presence
    from tieout.bridge.serve import ServeBridge
    from tieout.bridge.webconnector import ServeWebConnector
    from tieout.domain.changes import Lane
    from tieout.domain.connections import Connection
    from tieout.engine.alerts import SendAlerts
    from tieout.engine.apply import ApplyChanges
    from tieout.engine.archive import ArchiveAudit
    from tieout.engine.audit import Audit
    from tieout.engine.health import Health
    from tieout.engine.imports import Imports
    from tieout.engine.measure import MeasureUnsynced
    from tieout.engine.park import ParkChanges
    from tieout.engine.poll import PollChanges
    from tieout.engine.quota import Quotas
    from tieout.engine.receive import ReceiveWebhook
    from tieout.ports.audit import Archive, TipStore
    from tieout.ports.bridge import InstallationStore, Outbox, Parcels
    from tieout.ports.clock import Clock
    from tieout.ports.connector import Connector, Limit, Provider
    from tieout.ports.files import Exchange, FileStore
    from tieout.ports.http import Http
    from tieout.ports.queue import ChangeQueue
    from tieout.ports.secrets import Secrets
    from tieout.ports.state import AlertStore, BudgetStore, ConfigStore, LinkStore, Mail, PlanStore
    from tieout.transport import Budget

PREFIX = "TIEOUT_"
_OUTPUTS = {"table": "TableName"}  # the outputs that are not named like their setting


class Settings(BaseModel):
    """Where the deployment's resources are. Each function is given only what it needs; the rest stays empty.

    Attributes:
        secrets_prefix: Names of the connections' secrets begin with it.
        retry_base_seconds: The first wait before another try.
        worker_timeout_seconds: How long a worker may run.
        hold_beyond_worker_seconds: How much longer a document is left alone that a worker claimed. Lambda has ended the
            worker by then, but a provider may still be busy with its last call: we wait 30 seconds for an answer, and
            a look-up before the write is done would miss it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stack: str = ""
    table: str = ""
    changes_queue_url: str = ""
    backfill_queue_url: str = ""
    retry_queue_url: str = ""
    alert_topic_arn: str = ""
    audit_bucket: str = ""
    exchange_bucket: str = ""
    files_queue_url: str = ""
    poll_function_arn: str = ""
    secrets_prefix: str = ""
    retry_base_seconds: int = Field(default=15, ge=1, le=900)
    worker_timeout_seconds: int = Field(default=120, ge=1, le=900)
    hold_beyond_worker_seconds: int = Field(default=60, ge=1, le=900)

    @classmethod
    def of_environment(cls, variables: Mapping[str, str]) -> Self:
        """From variables such as TIEOUT_TABLE; others are left alone.

        Raises:
            SettingsError: Naming each variable that cannot be read.
        """
        return cls._read(variables, {name: PREFIX + name.upper() for name in cls.model_fields})

    @classmethod
    def of_outputs(cls, outputs: Mapping[str, str]) -> Self:
        """From the stack's outputs, such as TableName; others are left alone.

        Raises:
            SettingsError: Naming each output that cannot be read.
        """
        names = {name: "".join(word.capitalize() for word in name.split("_")) for name in cls.model_fields}
        return cls._read(outputs, names | _OUTPUTS)

    @classmethod
    def _read(cls, found: Mapping[str, str], names: Mapping[str, str]) -> Self:
        try:
            return cls.model_validate({name: found[key] for name, key in names.items() if found.get(key)})
        except ValidationError as error:
            wrong = "; ".join(f"{names[str(one['loc'][0])]}: {one['msg']}" for one in error.errors())
            raise SettingsError(f"Settings that cannot be used: {wrong}", next_step="Deploy the stack again.") from None

    def need(self, *names: str) -> None:
        """Return if all these are given.

        Raises:
            SettingsError: Listing those that are missing.
        """
        missing = [PREFIX + name.upper() for name in names if not getattr(self, name)]
        if missing:
            raise SettingsError(
                f"Settings that are missing: {', '.join(missing)}.",
                next_step="Deploy the stack again; it gives each function what it needs.",
            )


class Deployment:
    """One deployed stack: builds its use cases and stores, each when it is first asked for.

    Args:
        settings: Where its resources are.
        clients: Of AWS; the environment's region and identity by default.
        clock: The system's by default.
        provider: Finds a provider by name; all that Tieout knows by default.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clients: Clients | None = None,
        clock: Clock | None = None,
        provider: Callable[[str], Provider] | None = None,
    ) -> None:
        self.settings = settings
        self._given_clients, self._given_clock, self._given_provider = clients, clock, provider
        self._connectors: dict[tuple[str, Lane | None], tuple[Connection, Connector]] = {}
        self._budgets: dict[tuple[str, tuple[Limit, ...]], Budget] = {}
        self._doors: dict[tuple[Budget, Lane], Http] = {}

    # Use cases

    def receive_webhook(self) -> ReceiveWebhook:
        """What stands behind the webhooks' address; one a process, as it remembers when it read a secret again."""
        return self._receiver

    @cached_property
    def _receiver(self) -> ReceiveWebhook:
        from tieout.engine.receive import ReceiveWebhook  # noqa: PLC0415 - see the module

        self.settings.need("table", "changes_queue_url", "secrets_prefix")
        return ReceiveWebhook(
            config=self.config, secrets=self.secrets, queue=self.queue, provider=self.provider, clock=self.clock
        )

    def poll_changes(self) -> PollChanges:
        """What the schedules run."""
        from tieout.engine.poll import PollChanges  # noqa: PLC0415 - see the module

        self.settings.need("table", "changes_queue_url", "secrets_prefix")
        return PollChanges(
            config=self.config,
            links=self.links,
            alerts=self.alerts,
            queue=self.queue,
            connect=self.connect,
            clock=self.clock,
        )

    def apply_changes(self) -> ApplyChanges:
        """The worker."""
        from tieout.domain.changes import Lane  # noqa: PLC0415 - see the module
        from tieout.engine.apply import ApplyChanges  # noqa: PLC0415 - see the module
        from tieout.engine.policy import RetryPolicy  # noqa: PLC0415 - see the module

        settings = self.settings
        settings.need("table", "retry_queue_url", "secrets_prefix")
        return ApplyChanges(
            config=self.config,
            links=self.links,
            alerts=self.alerts,
            queue=self.queue,
            budget=self.budget,
            connect=self.connect,
            connect_backfill=partial(self.connect, lane=Lane.BACKFILL),
            clock=self.clock,
            plans=self.plans,
            policy=RetryPolicy(
                base_seconds=settings.retry_base_seconds,
                hold_seconds=settings.worker_timeout_seconds + settings.hold_beyond_worker_seconds,
            ),
        )

    def park_changes(self) -> ParkChanges:
        """What makes visible on which changes the workers failed."""
        from tieout.engine.park import ParkChanges  # noqa: PLC0415 - see the module

        self.settings.need("table", "retry_queue_url")
        return ParkChanges(config=self.config, links=self.links, alerts=self.alerts, queue=self.queue, clock=self.clock)

    def send_alerts(self) -> SendAlerts:
        """What tells people."""
        from tieout.adapters.letter import AlertLetter  # noqa: PLC0415 - see the module
        from tieout.engine.alerts import SendAlerts  # noqa: PLC0415 - see the module

        self.settings.need("table", "alert_topic_arn")
        return SendAlerts(
            config=self.config, alerts=self.alerts, mail=self.mail, letter=AlertLetter(), clock=self.clock
        )

    @cached_property
    def health(self) -> Health:
        """What probes connections; one a process, as it remembers when it noted a contact."""
        from tieout.engine.health import Health  # noqa: PLC0415 - see the module

        return Health(
            config=self.config,
            secrets=self.secrets,
            alerts=self.alerts,
            connect=self.connect,
            provider=self.provider,
            clock=self.clock,
        )

    def quotas(self) -> Quotas:
        """What knows how far the connections' quotas reach."""
        from tieout.engine.quota import Quotas  # noqa: PLC0415 - see the module

        return Quotas(
            config=self.config,
            links=self.links,
            budgets=self.budget,
            alerts=self.alerts,
            connect=self.connect,
            provider=self.provider,
            clock=self.clock,
        )

    def measure_unsynced(self) -> MeasureUnsynced:
        """What tells how old the oldest change is that is not in agreement."""
        from tieout.engine.measure import MeasureUnsynced  # noqa: PLC0415 - see the module

        self.settings.need("table")
        return MeasureUnsynced(config=self.config, links=self.links, clock=self.clock)

    def archive_audit(self) -> ArchiveAudit:
        """What puts the table's changes into the audit trail; one a process, as it remembers what it archived."""
        return self._archiver

    @cached_property
    def _archiver(self) -> ArchiveAudit:
        from tieout.engine.archive import ArchiveAudit  # noqa: PLC0415 - see the module

        self.settings.need("table", "audit_bucket")
        return ArchiveAudit(self.archive, self.tips)

    def audit(self) -> Audit:
        """What checks the audit trail and tells of it."""
        from tieout.engine.audit import Audit  # noqa: PLC0415 - see the module

        self.settings.need("audit_bucket")
        return Audit(archive=self.archive, tips=self.tips, config=self.config, links=self.links, clock=self.clock)

    def imports(self) -> Imports:
        """What takes files in."""
        from tieout.adapters.sqs import SqsFiles  # noqa: PLC0415 - see the module
        from tieout.engine.imports import Imports  # noqa: PLC0415 - see the module

        settings = self.settings
        settings.need("table", "changes_queue_url", "backfill_queue_url", "exchange_bucket", "files_queue_url")
        return Imports(
            rows=self.file_rows,
            config=self.config,
            exchange=self.exchange,
            files=SqsFiles(self._clients.sqs, settings.files_queue_url),
            queue=self.queue,
            leases=self.budget,
            alerts=self.alerts,
            connect=self.connect,
            clock=self.clock,
        )

    def serve_bridge(self) -> ServeBridge:
        """What agents ask; one a process, as it remembers when it read a secret again."""
        return self._bridge

    @cached_property
    def _bridge(self) -> ServeBridge:
        from tieout import __version__  # noqa: PLC0415 - see the module
        from tieout.bridge.serve import ServeBridge  # noqa: PLC0415 - see the module

        self.settings.need("table", "changes_queue_url", "exchange_bucket", "poll_function_arn", "secrets_prefix")
        return ServeBridge(
            config=self.config,
            secrets=self.secrets,
            outbox=self.outbox,
            installations=self.installations,
            parcels=self._parcels,
            presence=self.presence,
            manifest=lambda name: self.provider(name).manifest,
            clock=self.clock,
            latest=__version__,
        )

    def serve_web_connector(self) -> ServeWebConnector:
        """What the QuickBooks Web Connector asks."""
        from tieout import __version__  # noqa: PLC0415 - see the module
        from tieout.bridge.webconnector import ServeWebConnector  # noqa: PLC0415 - see the module

        self.settings.need("table", "changes_queue_url", "exchange_bucket", "poll_function_arn", "secrets_prefix")
        return ServeWebConnector(
            config=self.config,
            secrets=self.secrets,
            outbox=self.outbox,
            installations=self.installations,
            presence=self.presence,
            manifest=lambda name: self.provider(name).manifest,
            clock=self.clock,
            version=__version__,
        )

    @cached_property
    def presence(self) -> Presence:
        """What knows who stands beside the systems in offices."""
        from tieout.adapters.waker import LambdaWaker  # noqa: PLC0415 - see the module
        from tieout.bridge.presence import Presence  # noqa: PLC0415 - see the module

        return Presence(
            config=self.config,
            links=self.links,
            installations=self.installations,
            queue=self.queue,
            alerts=self.alerts,
            waker=LambdaWaker(self._clients, self.settings.poll_function_arn),
            manifest=lambda name: self.provider(name).manifest,
            clock=self.clock,
        )

    def is_away(self, tenant: str, connection: str) -> bool:
        """True if the connection is to a system in an office that cannot be asked now; a person hears of it in time."""
        from tieout.ports.connector import Reachability, reached  # noqa: PLC0415 - see the module

        found = self.config.connection(tenant, connection)
        if found is None or reached(found, self.provider(found.provider).manifest) is Reachability.CLOUD:
            return False
        return self.presence.is_away(found)

    # Ports

    @cached_property
    def clock(self) -> Clock:
        """Tells the time."""
        from tieout.adapters.clock import SystemClock  # noqa: PLC0415 - see the module

        return self._given_clock or SystemClock()

    @cached_property
    def config(self) -> ConfigStore:
        """Tenants, connections, syncs, cursors, runs."""
        from tieout.adapters.dynamodb.config import DynamoConfig  # noqa: PLC0415 - see the module

        return DynamoConfig(self._table)

    @cached_property
    def links(self) -> LinkStore:
        """Links, intents, what is not in agreement."""
        from tieout.adapters.dynamodb.links import DynamoLinks  # noqa: PLC0415 - see the module

        return DynamoLinks(self._table)

    @cached_property
    def plans(self) -> PlanStore:
        """Stored plans."""
        from tieout.adapters.dynamodb.plans import DynamoPlans  # noqa: PLC0415 - see the module

        return DynamoPlans(self._table)

    @cached_property
    def alerts(self) -> AlertStore:
        """Alerts on their way to a person."""
        from tieout.adapters.dynamodb.alerts import DynamoAlerts  # noqa: PLC0415 - see the module

        return DynamoAlerts(self._table)

    @cached_property
    def budget(self) -> BudgetStore:
        """Budgets and leases."""
        from tieout.adapters.dynamodb.budget import DynamoBudget  # noqa: PLC0415 - see the module

        return DynamoBudget(self._table)

    @cached_property
    def archive(self) -> Archive:
        """Where the audit trail is."""
        from tieout.adapters.s3 import S3Archive  # noqa: PLC0415 - see the module

        return S3Archive(self._clients.s3, self.settings.audit_bucket)

    @cached_property
    def tips(self) -> TipStore:
        """Where each tenant's audit trail ended."""
        from tieout.adapters.dynamodb.audit import DynamoTips  # noqa: PLC0415 - see the module

        return DynamoTips(self._table)

    @cached_property
    def file_rows(self) -> FileStore:
        """Rows of files, and the imports that brought them."""
        from tieout.adapters.dynamodb.file_rows import DynamoFileRows  # noqa: PLC0415 - see the module

        return DynamoFileRows(self._table)

    @cached_property
    def exchange(self) -> Exchange:
        """The bucket that files come into."""
        from tieout.adapters.s3 import S3Exchange  # noqa: PLC0415 - see the module

        return S3Exchange(self._clients.s3, self.settings.exchange_bucket)

    @cached_property
    def outbox(self) -> Outbox:
        """Jobs for systems in offices."""
        from tieout.adapters.dynamodb.bridge import DynamoOutbox  # noqa: PLC0415 - see the module

        return DynamoOutbox(self._table, self._parcels)

    @cached_property
    def installations(self) -> InstallationStore:
        """Who fetches them."""
        from tieout.adapters.dynamodb.bridge import DynamoInstallations  # noqa: PLC0415 - see the module

        return DynamoInstallations(self._table)

    @cached_property
    def _parcels(self) -> Parcels:
        from tieout.adapters.parcels import S3Parcels  # noqa: PLC0415 - see the module

        return S3Parcels(self._clients, self.settings.exchange_bucket)

    @cached_property
    def queue(self) -> ChangeQueue:
        """Where changes wait."""
        from tieout.adapters.sqs import SqsQueue  # noqa: PLC0415 - see the module
        from tieout.domain.changes import Lane  # noqa: PLC0415 - see the module

        lanes = {Lane.LIVE: self.settings.changes_queue_url, Lane.BACKFILL: self.settings.backfill_queue_url}
        return SqsQueue(self._clients.sqs, self.clock, lanes=lanes, retry=self.settings.retry_queue_url)

    @cached_property
    def secrets(self) -> Secrets:
        """The connections' secrets."""
        from tieout.adapters.secrets_manager import SecretsManager  # noqa: PLC0415 - see the module

        return SecretsManager(self._clients.secrets_manager, self.settings.secrets_prefix, self.clock)

    @cached_property
    def mail(self) -> Mail:
        """Reaches people."""
        from tieout.adapters.sns import SnsMail  # noqa: PLC0415 - see the module

        return SnsMail(self._clients.sns, self.settings.alert_topic_arn)

    def provider(self, name: str) -> Provider:
        """The provider of this name.

        Raises:
            SettingsError: If Tieout has no such connector.
        """
        if self._given_provider is not None:
            return self._given_provider(name)
        from tieout.connectors import provider  # noqa: PLC0415 - see the module

        return provider(name)

    def connect(self, connection: Connection, *, secrets: Secrets | None = None, lane: Lane | None = None) -> Connector:
        """An open connector; it keeps within the connection's limits, together with all other workers.

        One stays open a process and lane while its connection is the same, and so keeps what it looked up.

        Args:
            connection: Which.
            secrets: Instead of those that are stored, to try them before they are.
            lane: Live if None. Calls of the backfill lane let live ones overtake them.
        """
        from tieout.adapters import lease  # noqa: PLC0415 - see the module
        from tieout.bridge.connector import BridgedConnector  # noqa: PLC0415 - see the module
        from tieout.ports.connector import Context, Reachability, reached  # noqa: PLC0415 - see the module

        former, connector = self._connectors.get((connection.address, lane), (None, None))
        if connector is not None and former == connection and secrets is None:
            return connector
        provider = self.provider(connection.provider)
        if reached(connection, provider.manifest) is Reachability.ON_PREMISES:
            # Its limits are kept where its calls are made.
            return BridgedConnector(provider.manifest, self._line(connection))
        held = partial(lease.held, self.budget, self.clock, connection.tenant)
        connector = provider.open(
            Context(
                connection=connection,
                secrets=self.secrets if secrets is None else secrets,
                http=self.http(connection, lane),
                clock=self.clock,
                lease=lambda name: held(f"{connection.id}/{name}"),
                rows=lambda: self.file_rows,
            )
        )
        if secrets is None:
            self._connectors[connection.address, lane] = (connection, connector)
        return connector

    def _line(self, connection: Connection) -> Line:
        from tieout.bridge.line import Line, Patience  # noqa: PLC0415 - see the module

        # Workers begin nothing in their last third, or their last 40 seconds: see `tieout.edge.out_of_time`.
        return Line(
            connection,
            self.provider(connection.provider).manifest.title,
            outbox=self.outbox,
            installations=self.installations,
            clock=self.clock,
            patience=Patience.within(min(40, self.settings.worker_timeout_seconds / 3)),
        )

    def http(self, connection: Connection, lane: Lane | None = None) -> Http:
        """One door a connection, lane and process: it keeps the line open. Both lanes spend one budget."""
        from tieout.bridge.door import BridgedDoor  # noqa: PLC0415 - see the module
        from tieout.domain.changes import Lane  # noqa: PLC0415 - see the module
        from tieout.ports.connector import Reachability  # noqa: PLC0415 - see the module
        from tieout.transport import Budget, RequestsHttp  # noqa: PLC0415 - see the module

        if self.provider(connection.provider).manifest.reachability is Reachability.WEB_CONNECTOR:
            return BridgedDoor(self._line(connection))
        limits = self.provider(connection.provider).limits_of(connection)
        name, lane = (connection.address, limits), lane or Lane.LIVE
        if name not in self._budgets:
            self._budgets[name] = Budget(self.budget, connection.tenant, connection.id, limits, self.clock)
        budget = self._budgets[name]
        if (budget, lane) not in self._doors:
            self._doors[budget, lane] = RequestsHttp(partial(budget.spend, lane=lane), budget.ended, clock=self.clock)
        return self._doors[budget, lane]

    @cached_property
    def _clients(self) -> Clients:
        from tieout.adapters.aws import Clients  # noqa: PLC0415 - see the module

        return self._given_clients or Clients()

    @cached_property
    def _table(self) -> Table:
        from tieout.adapters.dynamodb.table import Table  # noqa: PLC0415 - see the module

        return Table(self._clients.dynamodb, self.settings.table, self.clock)


@lru_cache(maxsize=1)
def deployment() -> Deployment:
    """The deployment that this function belongs to, by its environment; built once a process."""
    return Deployment(Settings.of_environment(os.environ))
