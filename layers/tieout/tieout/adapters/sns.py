"""E-mail to people, through an SNS topic."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from tieout.domain.errors import UnavailableError

if TYPE_CHECKING:
    from types_boto3_sns import SNSClient

SUBJECT_MAX = 100
TEXT_BYTES_MAX = 240_000
_CUT = "\n\n(This message was too long for e-mail; `tieout parked list` shows the rest.)\n"


class SnsMail:
    """Implements `tieout.ports.state.Mail`. Subscriptions can filter by the attribute `tenant`."""

    def __init__(self, client: SNSClient, topic_arn: str) -> None:
        self._client = client
        self._topic_arn = topic_arn

    def send(self, tenant: str, subject: str, text: str) -> None:
        """Hand a plain-text message to the topic; what SNS would refuse in a subject is replaced or cut.

        Raises:
            UnavailableError: If it was not accepted.
        """
        try:
            self._client.publish(
                TopicArn=self._topic_arn,
                Subject=_subject(subject),
                Message=_text(text),
                MessageAttributes={"tenant": {"DataType": "String", "StringValue": tenant}},
            )
        except (BotoCoreError, ClientError) as error:
            raise UnavailableError(
                "The alert could not be handed to the e-mail topic.", detail=f"SNS: {type(error).__name__}"
            ) from error


def _subject(subject: str) -> str:
    """One line of at most 100 ASCII characters; letters lose their accents.

    Source: Amazon SNS API Reference, Publish, read 2026-11-22.
    """
    plain = unicodedata.normalize("NFKD", " ".join(subject.split()))
    letters = "".join(one for one in plain if not unicodedata.combining(one))
    ascii_only = letters.encode("ascii", "replace").decode()
    return ascii_only if len(ascii_only) <= SUBJECT_MAX else ascii_only[: SUBJECT_MAX - 3] + "..."


def _text(text: str) -> str:
    body = text.encode()
    return text if len(body) <= TEXT_BYTES_MAX else body[:TEXT_BYTES_MAX].decode(errors="ignore") + _CUT
