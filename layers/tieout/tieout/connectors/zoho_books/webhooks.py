"""Webhooks of workflow rules: who sent them, and which record they are about.

The body is what the person who sets the rule up writes; docs/providers/zoho_books.md says what to write.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from tieout.domain.errors import SignatureError
from tieout.domain.records import Kind
from tieout.ports.connector import Hint, Webhook

SIGNATURE_HEADER = "x-zoho-webhook-signature"
SECRET_HEADER = "x-tieout-secret"  # noqa: S105 - the header's name
_MODULES: Mapping[str, Kind] = {
    "contact": Kind.CUSTOMER,
    "customer": Kind.CUSTOMER,
    "item": Kind.ITEM,
    "estimate": Kind.ESTIMATE,
    "invoice": Kind.INVOICE,
    "customerpayment": Kind.PAYMENT,
    "creditnote": Kind.CREDIT_NOTE,
    "project": Kind.PROJECT,
    "timeentry": Kind.TIME_ENTRY,
    "expense": Kind.EXPENSE,
}


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", defer_build=True)

    org: str
    module: str
    id: str


def verify(webhook: Webhook, secrets: Mapping[str, str]) -> None:
    """Return if the delivery proves that it knows the connection's secret; compares in constant time.

    A signature that is there has to fit. That Zoho Books signs as Zoho Billing does is not confirmed, and rules of some
    plans sign nothing: so one without a signature may carry the secret itself in `X-Tieout-Secret`. Such a body is not
    proved, and need not be: the record that it names is read again.
    Source: www.zoho.com/billing/kb/webhooks/securing-webhooks.html, read 2026-11-22: hexadecimal HMAC-SHA256 over the
    sorted query and form parameters, of which our address has none, and the raw body.

    Raises:
        SignatureError: Otherwise.
    """
    secret = secrets.get("webhook_secret", "").encode()
    signature = webhook.headers.get(SIGNATURE_HEADER)
    if signature is not None:
        given, wanted = signature.strip().lower().encode(), hmac.new(secret, webhook.body, hashlib.sha256).hexdigest()
        fits = hmac.compare_digest(given, wanted.encode())
    else:
        fits = hmac.compare_digest(webhook.headers.get(SECRET_HEADER, "").encode(), secret)
    if not secret or not fits:
        raise SignatureError("The webhook does not prove that it knows the secret of this connection.")


def hints_of(webhook: Webhook) -> Sequence[Hint]:
    """The record that the body names; none if it is of a kind that we do not read.

    Raises:
        ValueError: If the body is not of the form that we prescribe.
    """
    try:
        body = _Body.model_validate(json.loads(webhook.body))
    except (ValueError, RecursionError):
        # The error's own text would repeat the body.
        raise ValueError("not a webhook of Zoho Books as Tieout prescribes it") from None
    if not body.org or not body.id:
        raise ValueError("a webhook of Zoho Books that names no organisation or no record")
    kind = _MODULES.get(body.module.replace("_", "").replace(" ", "").lower())
    return [] if kind is None else [Hint(body.org, kind, body.id)]
