"""The operator's desk: one tenant of one deployed stack, found by the stack's name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tieout.adapters.aws import Clients
from tieout.bootstrap import Deployment, Settings
from tieout.cli.identity import caller_here, caller_of
from tieout.cli.schedules import Schedules, SchedulesOf
from tieout.cli.talk import AnswerError, Code
from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError

TENANT_LENGTH_MAX = 40
_TENANT = re.compile("[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command works with.

    Attributes:
        webhook_url: A connection's webhook address is this followed by its own.
        poll_default: How often a connection is asked for changes if its document does not say.
        who: Asks who is at the desk; decisions are kept with that.
        bridge_url: Where agents and the Web Connector fetch their work.
    """

    deployment: Deployment
    tenant: str
    schedules: Schedules
    webhook_url: str = ""
    poll_default: str = ""
    who: Callable[[], str] = caller_here
    bridge_url: str = ""

    def __post_init__(self) -> None:
        """The tenant stands in keys, addresses and names of schedules, so nothing else may stand in it."""
        if not _TENANT.fullmatch(self.tenant) or len(self.tenant) > TENANT_LENGTH_MAX:
            raise AnswerError(
                f'"{self.tenant}" cannot be a tenant: small letters, digits and single hyphens, '
                f"{TENANT_LENGTH_MAX} at most.",
                code=Code.USAGE,
            )

    def webhook_address(self, connection: Connection) -> str:
        """Where the provider sends its webhooks."""
        return f"{self.webhook_url}{connection.address}"

    def connection(self, name: str) -> Connection:
        """The tenant's connection of this name.

        Raises:
            SettingsError: If there is none.
        """
        found = self.deployment.config.connection(self.tenant, name)
        if found is None:
            known = ", ".join(sorted(one.id for one in self.deployment.config.connections(self.tenant))) or "none yet"
            raise SettingsError(
                f"The tenant {self.tenant} has no connection `{name}`; it has: {known}.",
                next_step=f"Add a connection document for `{name}` and run `tieout config apply FILE`.",
            )
        return found


def open_desk(stack: str, tenant: str) -> Desk:
    """The desk for a deployed stack, on AWS or on this machine (AWS_ENDPOINT_URL decides).

    Raises:
        SettingsError: If there is no such stack, or it is not one of Tieout's.
    """
    # botocore itself only reads AWS_DEFAULT_REGION; the AWS CLI and `sam` read both.
    clients = Clients(region=os.environ.get("AWS_REGION"))
    outputs = _outputs(clients, stack)
    settings = Settings.of_outputs(outputs).model_copy(update={"stack": stack})
    settings.need("table", "changes_queue_url", "backfill_queue_url", "retry_queue_url", "secrets_prefix")
    schedules = SchedulesOf(
        clients.scheduler,
        group=outputs.get("ScheduleGroup", ""),
        function_arn=outputs.get("PollFunctionArn", ""),
        role_arn=outputs.get("SchedulerRoleArn", ""),
    )
    return Desk(
        deployment=Deployment(settings, clients=clients),
        tenant=tenant,
        schedules=schedules,
        webhook_url=outputs.get("WebhookUrl", ""),
        bridge_url=outputs.get("BridgeUrl", ""),
        poll_default=outputs.get("PollSchedule", ""),
        who=lambda: caller_of(clients),
    )


def _outputs(clients: Clients, stack: str) -> Mapping[str, str]:
    client = clients.cloudformation
    try:
        found = client.describe_stacks(StackName=stack)["Stacks"] if stack else []
    except client.exceptions.ClientError as error:
        # CloudFormation says "ValidationError" where it means that there is none of this name.
        if error.response.get("Error", {}).get("Code") != "ValidationError":
            raise
        found = []
    outputs = {
        output["OutputKey"]: output["OutputValue"]
        for one in found
        for output in one.get("Outputs", [])
        if "OutputKey" in output and "OutputValue" in output
    }
    if not outputs:
        raise SettingsError(
            f"There is no deployed stack `{stack}` in this AWS account and region.",
            next_step="Name it with --stack or TIEOUT_STACK, choose the region with AWS_REGION, or run `sam deploy`.",
        )
    return outputs
