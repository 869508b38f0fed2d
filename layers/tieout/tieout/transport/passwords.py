"""Sign-in with user name and password for a session, which all connectors of a process share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, MutableMapping

from tieout.domain.errors import ReconnectError, SettingsError
from tieout.ports.connector import Context

SESSIONS_MAX = 1000
_NEEDED = ("username", "password")


class PasswordSignIn[Session]:
    """Signs in where no good session is kept.

    Args:
        context: Of the connection.
        title: The provider's name for people.
        place: What the session is good for, such as the address and the database.
        ask: The provider's session for these secrets; raises ReconnectError if it refuses them.
        kept: Sessions of this process by a digest of place, user name and password. Shared by all connectors, so that
            not every one signs in; whoever does not know the password does not find the session.
        lasts: False for a session that is too old to be used.
    """

    def __init__(
        self,
        context: Context,
        *,
        title: str,
        place: tuple[str, ...],
        ask: Callable[[Mapping[str, str]], Session],
        kept: MutableMapping[str, Session],
        lasts: Callable[[Session], bool] = lambda _: True,
    ) -> None:
        self._context = context
        self._title = title
        self._place = place
        self._ask = ask
        self._kept = kept
        self._lasts = lasts
        self._key = ""

    def current(self) -> Session:
        """A session; signs in first if none is kept that lasts.

        Raises:
            SettingsError: If the connection has no user name, or no password.
            ProviderError: As `ask` raises it.
        """
        if not self._key:
            self._key = self._key_of(self._read(fresh=False))
        session = self._kept.get(self._key)
        return session if session is not None and self._lasts(session) else self._begun()

    def forget(self) -> None:
        """Sign in anew before the next call."""
        self._kept.pop(self._key, None)

    def _begun(self) -> Session:
        secrets = self._read(fresh=False)
        try:
            session = self._ask(secrets)
        except ReconnectError:
            # The password may have been changed while an older copy was kept.
            newer = self._read(fresh=True)
            if newer == secrets:
                raise
            secrets, session = newer, self._ask(newer)
        if len(self._kept) >= SESSIONS_MAX:
            self._kept.clear()
        self._key = self._key_of(secrets)
        self._kept[self._key] = session
        return session

    def _key_of(self, secrets: Mapping[str, str]) -> str:
        parts = (*self._place, *(secrets[name] for name in _NEEDED))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _read(self, *, fresh: bool) -> Mapping[str, str]:
        connection = self._context.connection
        secrets = self._context.secrets.read(connection.tenant, connection.id, fresh=fresh)
        missing = [name for name in _NEEDED if not secrets.get(name)]
        if missing:
            raise SettingsError(
                f"The connection {connection.id} has no {missing[0]} for {self._title}.",
                next_step="Run `tieout connect` for it.",
            )
        return secrets
