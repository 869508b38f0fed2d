"""Clients of AWS services.

They come from botocore, which boto3 only wraps: importing boto3 as well costs a cold start another 80 ms.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_lambda import LambdaClient
    from types_boto3_s3 import S3Client
    from types_boto3_scheduler import EventBridgeSchedulerClient
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_sns import SNSClient
    from types_boto3_sqs import SQSClient

# Its debug lines hold whole requests and answers, secrets included.
logging.getLogger("botocore").setLevel(logging.WARNING)

_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 4},
    connect_timeout=3,
    read_timeout=10,
    tcp_keepalive=True,
)
# Left alone, botocore signs addresses by version 2 in older regions: S3 then refuses what KMS encrypts, and the length
# and the checksum of what is put are not signed. And it names the global endpoint, which redirects for a new bucket.
_SIGNED = Config(signature_version="s3v4", s3={"addressing_style": "virtual"})


class Clients:
    """Makes each client when it is first asked for, and once.

    Args:
        region: None takes it from the environment or the profile.
        profile: Of the operator's AWS settings; None for the default chain (on Lambda: the function's role).
    """

    def __init__(self, *, region: str | None = None, profile: str | None = None) -> None:
        self._session = botocore.session.Session(profile=profile)
        self._region = region

    @cached_property
    def cloudformation(self) -> CloudFormationClient:
        """Of CloudFormation."""
        client: CloudFormationClient = self._create("cloudformation")
        return client

    @cached_property
    def scheduler(self) -> EventBridgeSchedulerClient:
        """Of EventBridge Scheduler."""
        client: EventBridgeSchedulerClient = self._create("scheduler")
        return client

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        """Of DynamoDB."""
        client: DynamoDBClient = self._create("dynamodb")
        return client

    @cached_property
    def functions(self) -> LambdaClient:
        """Of Lambda."""
        client: LambdaClient = self._create("lambda")
        return client

    @cached_property
    def s3(self) -> S3Client:
        """Of S3. Addresses that it signs are of the bucket's own region, and by version 4, which signs headers, too."""
        client: S3Client = self._create("s3", _CONFIG.merge(_SIGNED))
        return client

    @cached_property
    def sqs(self) -> SQSClient:
        """Of SQS."""
        client: SQSClient = self._create("sqs")
        return client

    @cached_property
    def sns(self) -> SNSClient:
        """Of SNS."""
        client: SNSClient = self._create("sns")
        return client

    @cached_property
    def secrets_manager(self) -> SecretsManagerClient:
        """Of Secrets Manager."""
        client: SecretsManagerClient = self._create("secretsmanager")
        return client

    @cached_property
    def sts(self) -> Any:  # noqa: ANN401 - one call, not worth a package of types
        """Of the Security Token Service: who is calling."""
        return self._create("sts")

    def _create(self, service: str, config: Config = _CONFIG) -> Any:  # noqa: ANN401 - botocore makes its clients at run time
        return self._session.create_client(service, region_name=self._region, config=config)
