"""Large texts on their way to a system in an office and back: objects that are gone after a day."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from tieout.adapters.aws import Clients

_NOTHING = ("NoSuchKey", "AccessDenied")
"""How S3 says that nothing stands there: to those who may not list the bucket, as denied. Source: Amazon S3 API
Reference, GetObject, read 2026-11-22."""


class S3Parcels:
    """Implements `tieout.ports.bridge.Parcels`."""

    def __init__(self, clients: Clients, bucket: str) -> None:
        self._clients, self._bucket = clients, bucket

    @property
    def _client(self) -> S3Client:
        """Made when there is a parcel: most calls have none."""
        return self._clients.s3

    def put(self, name: str, body: bytes) -> None:
        """Store it under this name."""
        self._client.put_object(Bucket=self._bucket, Key=name, Body=body)

    def get(self, name: str, *, bytes_max: int) -> bytes | None:
        """What stands there; None if nothing does, or more than so much."""
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=name)
        except ClientError as error:
            if error.response["Error"]["Code"] in _NOTHING:
                return None
            raise
        return answer["Body"].read() if answer["ContentLength"] <= bytes_max else None

    def address_to_put(self, name: str, *, size: int, sha256: str, seconds: int) -> tuple[str, dict[str, str]]:
        """An address that takes one PUT of just this content, and the headers that must come with it.

        The length and the checksum are signed, so S3 takes nothing else. Source: Amazon S3 User Guide, "Checking object
        integrity", read 2026-11-22.
        """
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        address = self._client.generate_presigned_url(
            "put_object",
            Params={"Bucket": self._bucket, "Key": name, "ContentLength": size, "ChecksumSHA256": checksum},
            ExpiresIn=seconds,
        )
        return address, {"content-length": str(size), "x-amz-checksum-sha256": checksum}

    def address_to_get(self, name: str, *, seconds: int) -> str:
        """An address that gives it for so long."""
        return self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self._bucket, "Key": name}, ExpiresIn=seconds
        )
