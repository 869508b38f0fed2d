"""A connector whose calls travel: the real one runs beside the system, and this one stands for it in the cloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tieout.bridge.calls import Results, UnreadableError, encode_call
from tieout.bridge.line import Line
from tieout.domain.effects import Effect, Match, NotDone, Outcome, Unknown
from tieout.domain.errors import ProviderError, ReconnectError, SettingsError, UncertainError
from tieout.domain.records import Kind, Record
from tieout.ports.connector import Account, ChangePage, Manifest


class BridgedConnector:
    """Implements `tieout.ports.connector.Connector`."""

    def __init__(self, manifest: Manifest, line: Line) -> None:
        self._manifest, self._line = manifest, line

    @property
    def manifest(self) -> Manifest:
        """What the provider can do."""
        return self._manifest

    def probe(self) -> Account:
        """Whom the connection reaches, asked of the system itself."""
        return self._ask("probe", encode_call(), Results.probe)

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        """The records with these ids."""
        return self._ask("read", encode_call(kind=kind, ids=list(ids)), Results.records)

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        """Records whose field equals one of the values."""
        return self._ask("search", encode_call(kind=kind, field=field, values=list(values)), Results.records)

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        """Records changed since the cursor."""
        return self._ask("changes", encode_call(kind=kind, cursor=cursor), Results.changes)

    def cursor_now(self, kind: Kind) -> str:
        """A cursor from now on."""
        return self._ask("cursor_now", encode_call(kind=kind), Results.cursor)

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """A page of all ids."""
        return self._ask("ids", encode_call(kind=kind, after=after), Results.ids)

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:
        """By effect id, what may already be its document."""
        return self._ask("find", encode_call(effects=list(effects)), Results.matches)

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        """One outcome for each effect; what the report does not tell is unknown, each in its own name."""
        try:
            told = Results.outcomes(self._line.call("write", encode_call(effects=list(effects)), write=True))
        except UnreadableError:
            return self._all(effects, self._line.unreadable(write=True))
        except ProviderError as failed:
            return self._all(effects, failed)
        except SettingsError as wrong:  # beside the system, where nothing was begun
            refused = ReconnectError(wrong.message, next_step=wrong.next_step, detail=wrong.detail)
            return self._all(effects, refused)
        outcomes = {outcome.effect_id: outcome for outcome in told}
        left_out = [effect for effect in effects if effect.id not in outcomes]
        outcomes |= {one.effect_id: one for one in self._all(left_out, self._line.unreadable(write=True))}
        return [outcomes[effect.id] for effect in effects]

    def _all(self, effects: Sequence[Effect], error: ProviderError) -> Sequence[Outcome]:
        if isinstance(error, UncertainError):
            return [Unknown(effect.id, error) for effect in effects]
        return [NotDone(effect.id, error) for effect in effects]

    def _ask[Result](self, name: str, body: str, read: Callable[[str], Result]) -> Result:
        try:
            return read(self._line.call(name, body, write=False))
        except UnreadableError:
            raise self._line.unreadable(write=False) from None
