"""Buckets: the audit trail's archive, and the one that files come into and results go out of.

The archive's objects are written once, `audit/<tenant>/<first entry's number>.jsonl`. `If-None-Match: *` makes S3
refuse an object where one stands; the bucket's policy refuses writes without it.
Source: Amazon S3 User Guide, "How to prevent object overwrites with conditional writes", read 2026-11-22.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from tieout.domain.errors import UnavailableError
from tieout.ports.audit import Stored
from tieout.ports.files import Dropped

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

READS_AT_ONCE = 8
PAGES_MAX = 100_000
TRIES_MAX = 4
PIECE_BYTES = 1 << 20
_SERVER_ERROR = 500
_NOT_FOUND = frozenset({"404", "NoSuchKey", "NotFound"})
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


class S3Exchange:
    """Implements `tieout.ports.files.Exchange`."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def there(self, place: str) -> Dropped | None:
        """The file at the place; None if there is none, or no longer.

        Raises:
            UnavailableError: If S3 cannot be asked now.
        """
        with _asking():
            try:
                answer = self._client.head_object(Bucket=self._bucket, Key=place)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _NOT_FOUND:
                    return None
                raise
        return Dropped(place, answer["ContentLength"], answer["Metadata"])

    def fetch(self, place: str, to: Path) -> None:
        """Write the file's bytes to a path, a few at a time.

        Raises:
            UnavailableError: If S3 cannot be asked now, or the file was taken away.
        """
        with _asking(), to.open("wb") as file:
            try:
                body = self._client.get_object(Bucket=self._bucket, Key=place)["Body"]
            except self._client.exceptions.NoSuchKey as error:
                raise UnavailableError("The file was taken away while it was read.") from error
            for piece in body.iter_chunks(PIECE_BYTES):
                file.write(piece)

    def hand_out(self, path: Path, place: str) -> None:
        """Put a file from a path to a place.

        Raises:
            UnavailableError: If S3 cannot be asked now; doing it again does no harm.
        """
        with _asking(), path.open("rb") as file:
            self._client.put_object(Bucket=self._bucket, Key=place, Body=file)

    def drop(self, place: str) -> None:
        """Remove what stands there, if anything does.

        Raises:
            UnavailableError: If S3 cannot be asked now; doing it again does no harm.
        """
        with _asking():
            self._client.delete_object(Bucket=self._bucket, Key=place)


@contextmanager
def _asking() -> Iterator[None]:
    """What S3 cannot answer now as our error; a call that is wrong or not allowed rises as it is.

    Raises:
        UnavailableError: If it is down, slow, or cut off.
    """
    try:
        yield
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) < _SERVER_ERROR:
            raise
        code = str(error.response.get("Error", {}).get("Code", ""))
        raise UnavailableError("The bucket does not answer.", code=code) from error
    except BotoCoreError as error:
        raise UnavailableError("The bucket cannot be reached.", detail=type(error).__name__) from error
