"""What GoldMine can do, and the settings of a connection to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tieout.domain.money import is_currency
from tieout.domain.records import Kind
from tieout.ports.connector import Manifest, Reachability, Role
from tieout.transport.settings import ZoneName, checked

READ_BATCH_MAX = 200
WRITE_BATCH_MAX = 20
"""Ours: a call has to end within 25 seconds, as it travels through the bridge."""

_Name = Annotated[str, Field(min_length=1, max_length=100)]


class GoldMineSettings(BaseModel):
    """Settings of a connection.

    Attributes:
        server, port: Of the SQL Server, as the computer of the agent calls it, such as `office-server`; by itself it
            is that computer. A named instance is reached by its port.
        database: Name of the GoldMine database.
        sqlite_file: Instead of the three: a SQLite file with GoldMine's tables, for trying things out.
        time_zone: IANA name of the zone that the GoldMine computers' clocks are in; GoldMine writes down none.
        currency: Of all amounts (ISO 4217); GoldMine writes down none.
        code_page: Python's name of the encoding of text that the database hands out as bytes.
        won_statuses, lost_statuses, inactive_statuses: Values of an opportunity's status that mean so, ignoring case.
        deal_number_field: Where an opportunity's number stands: a column of OPMGR (`OPID`, `F1`, `F2`, `F3`) or the
            name of one of its additional fields.
        deal_lines: `amount` makes one line of an opportunity's closed amount; `sales` one of each completed sale that
            is linked to it.
        products: Names of what is sold, as GoldMine has no list of products with prices; no two alike but for
            capital letters.
        compare_hours: How often customers are compared whole, beside looking at what was edited lately.
        write_user_fields: Let updates of user-defined fields of CONTACT2 (names with `U`) be written straight into the
            database. GoldMine's own synchronisation (GoldSync) does not see them.
        last_user: What is then written to LASTUSER.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    server: str = Field(default="localhost", pattern=r"^[A-Za-z0-9_.-]{1,253}$")
    port: int = Field(default=1433, ge=1, le=65535)
    database: str = Field(default="GoldMine", min_length=1, max_length=128)
    sqlite_file: str = ""
    time_zone: ZoneName = "UTC"
    currency: str = "USD"
    code_page: Literal["cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1257", "cp850", "cp437", "utf-8"] = "cp1252"
    won_statuses: tuple[_Name, ...] = ("Won",)
    lost_statuses: tuple[_Name, ...] = ("Lost",)
    inactive_statuses: tuple[_Name, ...] = ()
    deal_number_field: _Name = "OPID"
    deal_lines: Literal["amount", "sales"] = "amount"
    products: tuple[_Name, ...] = ("Services",)
    compare_hours: int = Field(default=24, ge=1, le=30 * 24)
    write_user_fields: bool = False
    last_user: str = Field(default="TIEOUT", pattern=r"^[A-Z0-9_]{1,8}$")

    @field_validator("currency")
    @classmethod
    def _is_currency(cls, value: str) -> str:
        if not is_currency(value):
            raise ValueError("it is the three capital letters of a currency, such as EUR")
        return value

    @field_validator("products")
    @classmethod
    def _are_different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len({name.casefold() for name in value}) < len(value):
            raise ValueError("two products have one name")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.sqlite_file and {"server", "port", "database"} & self.model_fields_set:
            raise ValueError("`sqlite_file` stands instead of `server`, `port` and `database`")
        meanings = [each.casefold() for each in (*self.won_statuses, *self.lost_statuses, *self.inactive_statuses)]
        if len(set(meanings)) < len(meanings):
            raise ValueError("a status means two things")
        return self

    @property
    def place(self) -> str:
        """The database, for people: `office-server/GoldMine`."""
        return self.sqlite_file or f"{self.server}/{self.database}"


def settings_of(values: Mapping[str, Any]) -> GoldMineSettings:
    """The checked settings.

    Raises:
        SettingsError: Naming each setting that is wrong.
    """
    return checked(GoldMineSettings, values, "GoldMine")


MANIFEST = Manifest(
    provider="goldmine",
    title="GoldMine",
    roles=frozenset({Role.CRM}),
    reads=frozenset({Kind.COMPANY, Kind.CONTACT, Kind.DEAL, Kind.PRODUCT}),
    writes=frozenset({Kind.COMPANY}),
    webhooks=False,
    deletions_visible=frozenset(),
    keeps_reference=frozenset(),
    natural_key=frozenset(),
    read_batch_max=READ_BATCH_MAX,
    write_batch_max=WRITE_BATCH_MAX,
    versions=False,
    idempotency_key_life_seconds=0,
    limits=(),
    settings=GoldMineSettings,
    secrets={
        "username": "SQL Server login of the GoldMine database (one of its own, that may only read)",
        "password": "Password of this login",
    },
    api_version="2024.3",
    reachability=Reachability.ON_PREMISES,
    updates={Kind.COMPANY: frozenset({"custom_fields.*"})},
    documentation=(
        "https://help.ivanti.com/ht/help/en_US/GM/GMPE2024.3-APIGuide.pdf",
        "https://www.trusoft.co.uk/goldmine/tabledefs_85_9/",
        "https://www.trusoft.co.uk/tabledefs/",
        "https://www.enigmaware.co.uk/goldmine/tabledefs/",
    ),
)
