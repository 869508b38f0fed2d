"""What files can do, and the settings of a connection that is fed by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tieout.domain.files import KINDS
from tieout.ports.connector import Manifest, Role
from tieout.transport.settings import checked

READ_BATCH_MAX = 100
"""What DynamoDB gives in one call."""

type _Word = Annotated[str, Field(min_length=1, max_length=100)]


class FilesSettings(BaseModel):
    """A connection's settings.

    Attributes:
        won, lost, inactive: What stands in a file's column for a deal's status or stage if it is won, lost or asleep,
            whatever the case; a deal with anything else there is open.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    won: tuple[_Word, ...] = ("Won", "Closed Won", "Closed - Won")
    lost: tuple[_Word, ...] = ("Lost", "Closed Lost", "Closed - Lost")
    inactive: tuple[_Word, ...] = ("Inactive",)

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        words = [word.casefold() for word in (*self.won, *self.lost, *self.inactive)]
        if len(set(words)) < len(words):
            raise ValueError("one word cannot say two things of a deal")
        return self


def settings_of(values: Mapping[str, Any]) -> FilesSettings:
    """The checked settings.

    Raises:
        SettingsError: Naming each setting that is wrong.
    """
    return checked(FilesSettings, values, "files")


MANIFEST = Manifest(
    provider="files",
    title="Files",
    roles=frozenset({Role.CRM}),
    reads=KINDS,
    writes=frozenset(),  # what came in a file is changed where the file came from
    webhooks=False,
    # A missing row says nothing. What a complete file no longer has, sweeps find out, and brake if it is much.
    deletions_visible=frozenset(),
    keeps_reference=frozenset(),
    natural_key=frozenset(),
    read_batch_max=READ_BATCH_MAX,
    write_batch_max=1,
    versions=False,
    idempotency_key_life_seconds=0,
    limits=(),
    settings=FilesSettings,
    secrets={},
    api_version="1",
    documentation=(
        "https://www.rfc-editor.org/rfc/rfc4180",
        "https://www.rfc-editor.org/rfc/rfc6350",
        "https://owasp.org/www-community/attacks/CSV_Injection",
    ),
)
