"""The errors of Tieout, grouped by what the engine does next.

TieoutError
├── SettingsError            refuse to start: the settings are wrong
├── ProviderError            something a provider answered, or did not
│   ├── UnavailableError     not done: wait, try again
│   │   └── ThrottledError   not done: wait at least `retry_after_seconds`
│   ├── UncertainError       maybe done: look up by reference, then decide
│   ├── ConflictError        not done: read again, plan again
│   ├── NotFoundError        not done: read again, plan again
│   ├── RejectedError        not done: park it for a person
│   │   └── NameTakenError   not done: park it, or write it with a suffix, as the sync says
│   └── ReconnectError       not done: pause the connection, tell the operator
├── MappingError             not done: park it for a person
├── SignatureError           a webhook that does not prove who sent it
└── ClaimedError             another worker holds the document's intent
"""

from __future__ import annotations


class TieoutError(Exception):
    """Base of every expected error.

    Attributes:
        message: One sentence for the person who has to act. No secrets, no bodies.
        next_step: What that person can do, as an instruction; empty when waiting is enough.
        detail: More for the log; never a request's or an answer's body.
    """

    def __init__(self, message: str, *, next_step: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.detail = detail


class SettingsError(TieoutError):
    """The settings or a document cannot be used; nothing was started."""


class ProviderError(TieoutError):
    """A call to a provider did not end well.

    Attributes:
        request_id: The provider's id of the call, which its support asks for; empty if it gave none.
        code: The provider's own error code, as text; empty if it gave none.
    """

    def __init__(
        self, message: str, *, next_step: str = "", detail: str = "", request_id: str = "", code: str = ""
    ) -> None:
        super().__init__(message, next_step=next_step, detail=detail)
        self.request_id = request_id
        self.code = code


class UnavailableError(ProviderError):
    """Not done: the provider is down, slow or unreachable."""


class ThrottledError(UnavailableError):
    """Not done: too many calls.

    Attributes:
        retry_after_seconds: How long to wait at least; 0 if unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: int = 0,
        detail: str = "",
        request_id: str = "",
        code: str = "",
    ) -> None:
        super().__init__(message, detail=detail, request_id=request_id, code=code)
        self.retry_after_seconds = retry_after_seconds


class UncertainError(ProviderError):
    """Maybe done: the answer to a write was lost or cannot be read."""


class ConflictError(ProviderError):
    """Not done: the record changed since its version was read."""


class NotFoundError(ProviderError):
    """Not done: the record is gone, or not visible to our user."""


class RejectedError(ProviderError):
    """Not done: the provider refuses this record as it is.

    Attributes:
        field: The field it complains about, in our words; empty if it names none.
    """

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        next_step: str = "",
        detail: str = "",
        request_id: str = "",
        code: str = "",
    ) -> None:
        super().__init__(message, next_step=next_step, detail=detail, request_id=request_id, code=code)
        self.field = field


class NameTakenError(RejectedError):
    """Not done: a record of another kind has the name, and both kinds share one list of names."""


class ReconnectError(ProviderError):
    """Not done: the provider no longer accepts our sign-in; only a person can help."""


class MappingError(TieoutError):
    """The mapping cannot make a document of this record.

    Attributes:
        rule: Where the rule stands in the sync document, such as `invoices.fields.date`.
        path: The path in the source record that the rule reads, such as `lines[0].name`.
        value: The value found there, shortened to 80 characters; None if there was none.
    """

    def __init__(
        self, message: str, *, rule: str, path: str = "", value: str | None = None, next_step: str = ""
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.rule = rule
        self.path = path
        self.value = value


class SignatureError(TieoutError):
    """A webhook whose signature is wrong, missing or made with a former secret."""


class ClaimedError(TieoutError):
    """Another worker holds the intent of this document; not done by us."""
