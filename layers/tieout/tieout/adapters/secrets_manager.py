"""Secrets, one per connection, in AWS Secrets Manager."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tieout.domain.errors import SettingsError
from tieout.ports.clock import Clock

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

KEPT = timedelta(minutes=5)


class SecretsManager:
    """Implements `tieout.ports.secrets.Secrets`: `<prefix>/<tenant>/<connection>`, a JSON object of texts.

    What was read or written is kept in memory for five minutes, and shown by no `repr`.
    """

    def __init__(self, client: SecretsManagerClient, prefix: str, clock: Clock) -> None:
        self._client = client
        self._prefix = prefix
        self._clock = clock
        self._kept: dict[str, tuple[datetime, Mapping[str, str]]] = {}

    def read(self, tenant: str, connection: str, *, fresh: bool = False) -> Mapping[str, str]:
        """The connection's secrets by name; a copy up to 5 minutes old unless `fresh`.

        Raises:
            SettingsError: If the connection has none yet, or they cannot be read as such.
        """
        name = self._name(tenant, connection)
        if not fresh and name in self._kept:
            kept_at, secrets = self._kept[name]
            if self._clock.now() - kept_at < KEPT:
                return dict(secrets)
        read_at = self._clock.now()
        try:
            text = self._client.get_secret_value(SecretId=name)["SecretString"]
        except self._client.exceptions.ResourceNotFoundException:
            raise SettingsError(
                f"The connection {tenant}.{connection} has no secrets yet.",
                next_step=f"Run `tieout connect {connection}` for the tenant {tenant}.",
            ) from None
        except self._client.exceptions.InvalidRequestException:
            raise _being_deleted(name) from None
        secrets = _parse(text, tenant, connection)
        self._kept[name] = (read_at, secrets)
        return dict(secrets)

    def write(self, tenant: str, connection: str, secrets: Mapping[str, str]) -> None:
        """Store the whole bundle durably, replacing the former one, before this returns.

        Raises:
            SettingsError: If somebody had them deleted in AWS and they are kept until that is done.
        """
        name = self._name(tenant, connection)
        text = json.dumps(dict(secrets), ensure_ascii=False)
        self._kept.pop(name, None)
        try:
            self._client.put_secret_value(SecretId=name, SecretString=text)
        except self._client.exceptions.ResourceNotFoundException:
            self._create(name, text)
        except self._client.exceptions.InvalidRequestException:
            raise _being_deleted(name) from None
        self._kept[name] = (self._clock.now(), dict(secrets))

    def _create(self, name: str, text: str) -> None:
        try:
            self._client.create_secret(Name=name, SecretString=text)
        except self._client.exceptions.ResourceExistsException:
            # Somebody else created it meanwhile, or it was ours and the answer was lost.
            self._client.put_secret_value(SecretId=name, SecretString=text)

    def _name(self, tenant: str, connection: str) -> str:
        return f"{self._prefix}/{tenant}/{connection}"


def _being_deleted(name: str) -> SettingsError:
    return SettingsError(
        f"The secrets {name} are being deleted in AWS Secrets Manager.",
        next_step=f"Get them back with `aws secretsmanager restore-secret --secret-id {name}`, then try again.",
    )


def _parse(text: str, tenant: str, connection: str) -> dict[str, str]:
    try:
        secrets = json.loads(text)
    except ValueError:
        secrets = None
    if not isinstance(secrets, dict) or not all(isinstance(one, str) for one in secrets.values()):
        raise SettingsError(
            f"The secrets of the connection {tenant}.{connection} are not a JSON object of texts.",
            next_step=f"Run `tieout connect {connection}` for the tenant {tenant}; it replaces them.",
        )
    return secrets
