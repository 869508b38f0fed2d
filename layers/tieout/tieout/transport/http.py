"""The one door to providers, on `requests`.

What a failed write means is decided by whether its bytes may have left: a refused or timed-out *connect* sent nothing
and is "not done"; anything later (no answer in time, a reset, a body cut off) may have been done.
Source: psf/requests `src/requests/exceptions.py` and urllib3 `exceptions.py`, read 2026-11-22.
"""

from __future__ import annotations

import http.cookiejar
import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ReadTimeoutError

from tieout.domain.errors import ProviderError, SettingsError, UnavailableError, UncertainError
from tieout.ports.clock import Clock
from tieout.ports.http import Answer, Request
from tieout.transport import redact
from tieout.transport.settings import is_loopback

CONNECT_TIMEOUT_SECONDS = 5
BODY_BYTES_MAX = 32 * 1024 * 1024
READ_ATTEMPTS_MAX = 3
BACKOFF_SECONDS = 0.25
_CHUNK_BYTES = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CAUSES_MAX = 10

_log = logging.getLogger(__name__)


class RequestsHttp:
    """Sends requests over kept connections. Implements `tieout.ports.http.Http`.

    Args:
        spend: Called with the names of `Request.spends` before each sending; it waits, or raises ThrottledError.
        ended: Called with the same names and the answer, or None if none came, once a call is over.
        clock: For the pauses between tries of a read, and the time a call took.
        session: A fresh one by default. It takes no proxy, no password file and no cookies from outside.
    """

    def __init__(
        self,
        spend: Callable[[Sequence[str]], None],
        ended: Callable[[Sequence[str], Answer | None], None] = lambda _, __: None,
        *,
        clock: Clock,
        session: requests.Session | None = None,
    ) -> None:
        self._spend, self._ended = spend, ended
        self._clock = clock
        self._session = session if session is not None else _new_session()
        # urllib3 logs whole URLs with their query, in debug lines and in warnings.
        logging.getLogger("urllib3").setLevel(logging.ERROR)

    def send(self, request: Request) -> Answer:
        """The provider's answer, whatever its status; reads are tried three times at most, writes once.

        Raises:
            UnavailableError: Not done: could not connect; or it was a read and no answer came.
            UncertainError: It was a write and no whole answer came.
            ThrottledError: Not sent: the connection's own budget is used up for now.
            SettingsError: Not sent: the address is neither https nor of this machine.
        """
        _check_address(request.url)
        if request.write or not request.again:
            return self._send_once(request)
        for attempt in range(READ_ATTEMPTS_MAX - 1):
            try:
                return self._send_once(request)
            except _NoAnswerError:
                self._clock.sleep(BACKOFF_SECONDS * 2**attempt * (0.5 + self._clock.jitter()))
        return self._send_once(request)

    def _send_once(self, request: Request) -> Answer:
        self._spend(request.spends)
        began_at = self._clock.now()
        try:
            answer = self._exchange(request)
        except requests.RequestException as error:
            if not _was_given_up(error):
                self._ended(request.spends, None)
            # The exception's text holds the URL with its query, so it goes no further.
            raise _lost(request, error) from None
        self._ended(request.spends, answer)
        _log.info(
            "%s answered %d in %d ms (request id %s)",
            redact.call(request.method, request.url),
            answer.status,
            (self._clock.now() - began_at).total_seconds() * 1000,
            redact.request_id(answer.headers) or "none",
        )
        if answer.status in _REDIRECTS:
            raise _useless(request, "sent us to another address, which Tieout does not follow")
        return answer

    def _exchange(self, request: Request) -> Answer:
        with self._session.request(
            request.method,
            request.url,
            params=dict(request.params),
            headers=dict(request.headers),
            data=request.body,
            timeout=(CONNECT_TIMEOUT_SECONDS, request.timeout_seconds),
            allow_redirects=False,
            stream=True,
        ) as response:
            body = bytearray()
            for chunk in response.iter_content(_CHUNK_BYTES):
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise _useless(request, f"sent an answer of more than {BODY_BYTES_MAX // 1024**2} MB")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, headers, bytes(body))


class _NoAnswerError(UnavailableError):
    """Not done, and no answer came: worth another try at once, if it was a read."""


class _UnreachedError(_NoAnswerError):
    """Not even a connection stood."""


def is_unreached(error: UnavailableError) -> bool:
    """True if nobody listens at the address, rather than that somebody does not answer."""
    return isinstance(error, _UnreachedError)


def is_unanswered(error: UnavailableError) -> bool:
    """True if somebody listens, and gave no answer to a read, or no whole one."""
    return isinstance(error, _NoAnswerError) and not is_unreached(error)


def _new_session() -> requests.Session:
    session = requests.Session()
    # A password file of the machine would replace our Authorization header; a proxy would see every token.
    session.trust_env = False
    # One session may serve several tenants: a cookie of one must not travel with another's call.
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = "tieout/0.1"
    return session


def office_session(*, proxy: str = "", ca_file: str = "") -> requests.Session:
    """A session for a computer in an office.

    Args:
        proxy: Address of the proxy that https goes through; empty for none. It only sees to which hosts.
        ca_file: Certificates of authorities to trust, beside those of the operating system and those of `requests`.

    Raises:
        SettingsError: If that file cannot be read.
    """
    session = _new_session()
    # What the operating system trusts holds the authority of an office's own proxy, where there is one.
    trust = ssl.create_default_context()
    if ca_file:
        try:
            trust.load_verify_locations(ca_file)
        except OSError:
            raise SettingsError(
                f"The certificates in {ca_file} cannot be read.", next_step="Give a file in PEM form."
            ) from None
        # Authorities of offices often lack extensions that Python asks for since 3.13.
        trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    session.mount("https://", _TrustingAdapter(trust))
    if proxy:
        session.proxies = {"https": proxy}
    return session


class _TrustingAdapter(HTTPAdapter):
    """Trusts what the given context trusts, through a proxy too."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._trust = trust
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 - handed on
        """See HTTPAdapter."""
        super().init_poolmanager(*args, **more, ssl_context=self._trust)

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:  # noqa: ANN401 - handed on
        """See HTTPAdapter."""
        return super().proxy_manager_for(proxy, **more, ssl_context=self._trust)


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))):
        return
    raise SettingsError(
        f"Nothing was sent to {parts.scheme}://{parts.hostname or ''}: that is neither https nor this machine.",
        next_step="Correct the address in the connection's settings.",
    )


def _lost(request: Request, error: requests.RequestException) -> ProviderError:
    detail = f"{redact.call(request.method, request.url)}: {type(error).__name__}"
    host = urlsplit(request.url).hostname
    if _was_not_sent(error):
        return _UnreachedError(f"{host} could not be reached.", detail=detail)
    message = f"{host} gave no whole answer within {request.timeout_seconds:g} seconds."
    return UncertainError(message, detail=detail) if request.write else _NoAnswerError(message, detail=detail)


def _useless(request: Request, what: str) -> ProviderError:
    message = f"{urlsplit(request.url).hostname} {what}."
    detail = redact.call(request.method, request.url)
    return UncertainError(message, detail=detail) if request.write else UnavailableError(message, detail=detail)


def _was_not_sent(error: BaseException) -> bool:
    """True if no connection stood yet. `requests` raises one ConnectionError for refused and for reset alike."""
    return any(
        isinstance(cause, NewConnectionError | ConnectTimeoutError | ssl.SSLCertVerificationError)
        for cause in _causes(error)
    )


def _was_given_up(error: BaseException) -> bool:
    """True if we stopped waiting: the provider may be working on it still, while one that hangs up has stopped."""
    return any(isinstance(cause, ReadTimeoutError) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    pending: list[BaseException] = [error]
    for _ in range(_CAUSES_MAX):
        if not pending:
            return
        current = pending.pop()
        yield current
        nested = [*current.args, getattr(current, "reason", None), current.__cause__]
        pending.extend(cause for cause in nested if isinstance(cause, BaseException))
