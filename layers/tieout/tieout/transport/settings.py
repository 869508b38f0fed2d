"""Settings of a connection: one sentence for what is wrong with them, and the kinds of values that many have."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from tieout.domain.errors import SettingsError

_THIS_MACHINE = frozenset({ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")})

# No `@`: https://quickbooks.api.intuit.com@example.com looks like Intuit's and is not.
_SAFE_URL = re.compile(r"(https://[^/@?#\\\s]+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?)(/[^@?#\\\s]*)?")


def _safe(value: str) -> str:
    if not _SAFE_URL.fullmatch(value):
        raise ValueError("it has to be an address with https, or of this machine, without user, query and fragment")
    return value


SafeUrl = Annotated[str, AfterValidator(_safe)]
"""An address that takes the place of the provider's own, such as a simulator's: https, or this machine."""

Calls = Annotated[int, Field(ge=1, le=1_000_000)]
"""How many calls a limit allows."""


def server_url(example: str) -> AfterValidator:
    """Makes a setting the address of the customer's own server: https, or this machine; without a slash at the end."""

    def check(value: str) -> str:
        parts = urlsplit(value.rstrip("/"))
        if not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ValueError(f"it is the address alone, such as {example}")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
            raise ValueError("it has to begin with https://, because the password is sent there")
        return parts.geturl()

    return AfterValidator(check)


def is_loopback(host: str) -> bool:
    """True for this machine, by its name or its own address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host) in _THIS_MACHINE
    except ValueError:
        return False


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("it is the name of a time zone, such as Europe/Berlin or Asia/Kolkata") from None
    return value


ZoneName = Annotated[str, AfterValidator(_known_zone)]
"""IANA name of a time zone."""


def checked[Settings: BaseModel](model: type[Settings], values: Mapping[str, Any], title: str) -> Settings:
    """The values as the provider's settings; `title` is its name for people.

    Raises:
        SettingsError: If they are not of the model's form; names every setting that is wrong, and repeats no value.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        wrong = [
            (".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, "))
            for each in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        problems = "; ".join(f"`{where}`: {what}" if where else what for where, what in wrong)
        named = ", ".join(f"`{where}`" for where, _ in wrong if where) or "the settings"
        raise SettingsError(
            f"The settings of the {title} connection cannot be used: {problems}.",
            next_step=f"Correct {named} in the connection document and apply it again.",
        ) from None
