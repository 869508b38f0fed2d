"""What the engine asks of a CRM or of books: the same few methods for all, and capabilities instead of names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from tieout.domain.connections import Connection
from tieout.domain.effects import Effect, Match, Outcome
from tieout.domain.records import Kind, Record
from tieout.ports.clock import Clock
from tieout.ports.files import FileRows
from tieout.ports.http import Http
from tieout.ports.secrets import Secrets


class Role(StrEnum):
    """Which side of a sync a provider can stand on."""

    CRM = "crm"
    BOOKS = "books"


class Reachability(StrEnum):
    """How calls get there. ON_PREMISES: an agent beside the system runs the connector and fetches its calls.

    WEB_CONNECTOR: the connector runs in the cloud, and the system's own program fetches its requests.
    """

    CLOUD = "cloud"
    ON_PREMISES = "on_premises"
    WEB_CONNECTOR = "web_connector"


class Window(StrEnum):
    """What a limit counts.

    PACED: calls in any window; they are spread, so that a late one never waits for a whole window. QUOTA: calls in a
    long window, such as a day; all may be used early. IN_FLIGHT: calls that are under way at a time.
    """

    PACED = "paced"
    QUOTA = "quota"
    IN_FLIGHT = "in_flight"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `calls` in any `per_seconds`; a request names the limits that it spends.

    Of calls in flight at most `calls` at a time; then `per_seconds` is the longest that one of them takes.
    """

    name: str
    calls: int
    per_seconds: int
    window: Window = Window.PACED


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a provider can do; the engine decides by this alone.

    Attributes:
        provider, title: Name in documents, and name for people.
        reads, writes: Kinds that can be read, and written.
        calls_to_write: By kind, how many calls a new record of it takes, looking for it included; 1 for the others.
            For telling how long a quota lasts.
        updates: By kind, the paths that an update of a record may name, `custom_fields.*` for all of those; of a kind
            that is not in it, any.
        webhooks: True if it can tell us of changes.
        deletions_visible: Kinds whose deletions `changes` reports; the others are found by comparing ids.
        keeps_reference: Kinds whose records keep our reference, so that `find` can prove that we wrote them.
        natural_key: Kinds with a unique name: looked up before a first create, and adopted.
        read_batch_max, write_batch_max: Ids, and effects, that one call of `read` and `write` may be given.
        versions: True if an update with a stale version is refused.
        idempotency_key_life_seconds: How long a repeated key surely returns the first answer; 0 if unknown.
        limits: Of one account, shared by all workers.
        settings, secrets: Model of the connection's settings; names of its secrets with a question for each.
        documentation: Where the provider documents its interface.
        sign_in_ends: Names of the secrets that hold when the sign-in ends (ISO 8601); the earliest counts. Empty if it
            never ends by itself.
        sign_in_again: What a person does then, as an instruction.
    """

    provider: str
    title: str
    roles: frozenset[Role]
    reads: frozenset[Kind]
    writes: frozenset[Kind]
    webhooks: bool
    deletions_visible: frozenset[Kind]
    keeps_reference: frozenset[Kind]
    natural_key: frozenset[Kind]
    read_batch_max: int
    write_batch_max: int
    versions: bool
    idempotency_key_life_seconds: int
    limits: tuple[Limit, ...]
    settings: type[BaseModel]
    secrets: Mapping[str, str]
    api_version: str
    scopes: tuple[str, ...] = ()
    reachability: Reachability = Reachability.CLOUD
    documentation: tuple[str, ...] = ()
    sign_in_ends: tuple[str, ...] = ()
    sign_in_again: str = "Sign in again."
    updates: Mapping[Kind, frozenset[str]] = field(default_factory=dict)
    calls_to_write: Mapping[Kind, int] = field(default_factory=dict)

    def takes(self, kind: Kind, path: str) -> bool:
        """True if an update of a record of this kind may name the path."""
        known = self.updates.get(kind)
        if known is None:
            return kind in self.writes
        return path in known or (path.startswith("custom_fields.") and "custom_fields.*" in known)


def reached(connection: Connection, manifest: Manifest) -> Reachability:
    """How this connection is reached: some systems stand in the cloud here, and in an office there."""
    away = connection.through_agent and manifest.reachability is Reachability.CLOUD
    return Reachability.ON_PREMISES if away else manifest.reachability


@dataclass(frozen=True, slots=True)
class ChangePage:
    """One page of a change feed.

    Attributes:
        records: Changed records, whole; in a feed that shows deletions, `gone` holds the ids of those deleted.
        cursor: Where to go on. Stored only after everything in this page is recorded.
        more: True if another page is there now.
        deletions_unsure: True if the feed had a gap: what was deleted before `cursor` has to be found by comparing ids.
    """

    records: Sequence[Record]
    cursor: str
    more: bool
    gone: Sequence[str] = ()
    deletions_unsure: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a connection reaches: the provider's id of the account, its name, its home currency if it has one."""

    id: str
    name: str
    currency: str | None = None


class Connector(Protocol):
    """An open connection to one account. Every method raises the errors of `tieout.domain.errors` and no others."""

    @property
    def manifest(self) -> Manifest:
        """What the provider can do."""

    def probe(self) -> Account:
        """Prove that sign-in works. Reads only."""

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        """The records with these ids (`read_batch_max` at most), in any order; without those gone or not visible."""

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        """Records whose `field` (`name`, `sku`, `email`) equals one of `values` (100 at most), ignoring case."""

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        """Records changed since `cursor`, oldest first; from the very first record if it is None.

        Nothing is lost among records of equal edit time; some may come twice.
        """

    def cursor_now(self, kind: Kind) -> str:
        """A cursor from which `changes` gives what changes from now on."""

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """One page of all ids that are visible now, and where to go on; None at the end."""

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:
        """By effect id, the records that may already be the effect's document; effects without any are left out.

        Records that keep our reference match by it alone. Others match by natural key. At most `write_batch_max`.
        Reads only, as plans ask it too: a document that we left half-way is `unfinished`, and writing completes it.
        """

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        """One outcome for each effect, in any order. Raises no ProviderError, and never tries an effect twice.

        At most `write_batch_max` effects. The effects do not depend on each other.
        """


@dataclass(frozen=True, slots=True)
class Context:
    """What a connector gets to open a connection.

    Attributes:
        lease: `lease("token")` is held by one worker at a time in the whole deployment; entering waits up to 20
            seconds and then raises UnavailableError.
        rows: Gives the rows of files, to a connector that reads those.
    """

    connection: Connection
    secrets: Secrets
    http: Http
    clock: Clock
    lease: Callable[[str], AbstractContextManager[None]]
    rows: Callable[[], FileRows] | None = None


@dataclass(frozen=True, slots=True)
class Hint:
    """What a webhook says: this record of this account may have changed, or was merged into another."""

    account: str
    kind: Kind
    id: str
    merged_into: str = ""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A request as it came in: header names lower case, the body's raw bytes, the address's query decoded."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """The end of a consent: the secrets to store, and the account that the person chose."""

    secrets: Mapping[str, str] = field(repr=False)
    account: str


class Consent(Protocol):
    """Sign-in by the provider's own page (OAuth 2.0 authorization code)."""

    def address(self, *, settings: Mapping[str, Any], secrets: Mapping[str, str], redirect: str, state: str) -> str:
        """The page to open in the person's browser."""

    def finish(
        self,
        *,
        settings: Mapping[str, Any],
        secrets: Mapping[str, str],
        redirect: str,
        query: Mapping[str, str],
        http: Http,
        clock: Clock,
    ) -> Grant:
        """Exchange the code of the redirect's query for tokens.

        Raises:
            RejectedError: If consent was refused or the code is no longer good.
        """


class Provider(Protocol):
    """What a connector's folder exports as `CONNECTOR`."""

    @property
    def manifest(self) -> Manifest:
        """What the provider can do."""

    @property
    def consent(self) -> Consent | None:
        """Sign-in by consent; None if the secrets are typed in."""

    def limits_of(self, connection: Connection) -> tuple[Limit, ...]:
        """The manifest's limits, with what the connection's settings say instead.

        Raises:
            SettingsError: If the settings are not what the provider's model accepts.
        """

    def open(self, context: Context) -> Connector:
        """A connector for this connection. Makes no call.

        Raises:
            SettingsError: If the settings are not what the provider's model accepts.
        """

    def verify(self, webhook: Webhook, secrets: Mapping[str, str]) -> None:
        """Return if the webhook proves that the provider sent it; compares in constant time over the raw body.

        Raises:
            SignatureError: Otherwise.
        """

    def hints(self, webhook: Webhook) -> Sequence[Hint]:
        """What the body says; kinds that we do not read are left out.

        Raises:
            ValueError: If the body is not of the provider's form.
        """


@runtime_checkable
class Handshaker(Protocol):
    """A provider, too, that sends a text to a webhook address and wants to have it back before it sends changes."""

    def handshake(self, webhook: Webhook) -> str | None:
        """What to answer with, as plain text and nothing else; None if the request is no handshake.

        It is the sender's text, and nothing proves the sender yet: at most 1,024 printable ASCII characters.
        """


@dataclass(frozen=True, slots=True)
class SetupFile:
    """A file that a person opens beside the system, so that its own program fetches requests here."""

    name: str
    text: str = field(repr=False)


@runtime_checkable
class OwnProgram(Protocol):
    """A provider, too, of WEB_CONNECTOR reachability: its system's own program is told of us by a file."""

    def setup_file(self, connection: Connection, *, address: str, user: str) -> SetupFile:
        """The file; the same again for the same connection. No secret is in it.

        Raises:
            SettingsError: If the settings are not what the provider's model accepts.
        """


@runtime_checkable
class FedByFiles(Protocol):
    """A connector, too, whose records are what was imported from files."""

    @property
    def imports(self) -> frozenset[Kind]:
        """Kinds whose rows it shows."""


@runtime_checkable
class Subscriber(Protocol):
    """A connector, too, whose provider forgets to whom it tells changes unless it is reminded."""

    def subscribe(self) -> Sequence[str]:
        """Make or renew what is due, called whenever changes are asked for; what was done, for the log.

        Raises:
            SettingsError: If something is missing that only a person can give.
            ProviderError: As every method.
        """
