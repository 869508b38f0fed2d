"""The audit trail's archive: a bucket whose objects are written once, `audit/<tenant>/<first entry's number>.jsonl`.

`If-None-Match: *` makes S3 refuse an object where one stands; the bucket's policy refuses writes without it.
Source: Amazon S3 User Guide, "How to prevent object overwrites with conditional writes", read 2026-11-22.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import batched
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from tieout.domain.errors import UnavailableError
from tieout.ports.audit import Stored

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

READS_AT_ONCE = 8
PAGES_MAX = 100_000
TRIES_MAX = 4
_NAME = re.compile(r"audit/[^/]+/(\d{12})\.jsonl")
# 412: an object stands there. 409: another write of it is under way, which may fail.
_TAKEN, _BUSY = "PreconditionFailed", "ConditionalRequestConflict"


def object_name(tenant: str, first: int) -> str:
    """Where the object stands that begins with this entry."""
    return f"audit/{tenant}/{first:012}.jsonl"


class S3Archive:
    """Implements `tieout.ports.audit.Archive`."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, tenant: str, first: int, body: bytes) -> bool:
        """Store an object under the number of its first entry; False if one stands there already.

        Raises:
            UnavailableError: If others were writing it each time it was tried.
        """
        for _ in range(TRIES_MAX):
            try:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=object_name(tenant, first),
                    Body=body,
                    ContentType="application/x-ndjson",
                    IfNoneMatch="*",
                )
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code", "")
                if code == _TAKEN:
                    return False
                if code != _BUSY:
                    raise
            else:
                return True
        raise UnavailableError("The archive of the audit trail is busy.", detail=_BUSY)

    def get(self, tenant: str, first: int) -> bytes | None:
        """The object; None if there is none. Strongly consistent."""
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=object_name(tenant, first))
        except self._client.exceptions.NoSuchKey:
            return None
        return answer["Body"].read()

    def read(self, tenant: str, firsts: Iterable[int]) -> Iterator[tuple[int, bytes | None]]:
        """Each of these objects, in this order; several are fetched at once."""
        with ThreadPoolExecutor(READS_AT_ONCE) as pool:
            for some in batched(firsts, READS_AT_ONCE, strict=False):
                yield from zip(some, pool.map(lambda first: self.get(tenant, first), some), strict=True)

    def objects(self, tenant: str, *, after: int = 0) -> Iterator[Stored]:
        """The objects whose first entry's number is above `after`, in order; others' names are left out."""
        token: dict[str, str] = {"StartAfter": object_name(tenant, after)}
        for _ in range(PAGES_MAX):
            answer = self._client.list_objects_v2(
                Bucket=self._bucket,
                Prefix=f"audit/{tenant}/",
                **token,  # type: ignore[arg-type]  # one of two names
            )
            for one in answer.get("Contents", []):
                if (named := _NAME.fullmatch(one["Key"])) is not None:
                    yield Stored(int(named[1]), one["LastModified"])
            if not answer["IsTruncated"]:
                return
            token = {"ContinuationToken": answer["NextContinuationToken"]}
        raise RuntimeError(f"the audit trail of {tenant} has more than {PAGES_MAX} pages of objects")
