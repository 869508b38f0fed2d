"""Who is at the desk: for decisions, which are kept with the name of who made them."""

from __future__ import annotations

import getpass

from botocore.exceptions import BotoCoreError, ClientError

from tieout.adapters.aws import Clients


def caller_of(clients: Clients) -> str:
    """The caller as AWS knows them (an ARN); where it does not say, `caller_here`.

    Every identity may ask this without a permission. Source: AWS Security Token Service API Reference,
    GetCallerIdentity, read 2026-11-22.
    """
    try:
        return str(clients.sts.get_caller_identity()["Arn"])
    except (BotoCoreError, ClientError):
        return caller_here()


def caller_here() -> str:
    """The name of the user of this machine; `unknown` if it has none."""
    try:
        return getpass.getuser()
    except OSError:
        return "unknown"
