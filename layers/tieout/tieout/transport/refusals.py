"""Rows of a connector's table of refusals, and the error that each becomes."""

from __future__ import annotations

from dataclasses import dataclass

from tieout.domain.errors import ProviderError, RejectedError, ThrottledError, UnavailableError, UncertainError


@dataclass(frozen=True, slots=True)
class Row:
    """What a refusal means.

    Attributes:
        error: One of `domain.errors`.
        sentence: For the person; `{said}` in it is what the provider says.
        next_step: What the person does then.
        field: Whose value is refused, in our words.
        retry_after_seconds: Of ThrottledError.
    """

    error: type[ProviderError]
    sentence: str = "{said}"
    next_step: str = ""
    field: str = ""
    retry_after_seconds: int = 0

    def to_error(self, told: Told, *, write: bool) -> ProviderError:
        """The error; of a write that may have been done although the provider is unavailable: uncertain."""
        about = {"detail": told.detail, "request_id": told.request_id, "code": told.code}
        if self.error is UncertainError or (write and self.error is UnavailableError):
            return UncertainError(f"{told.title} did not say whether it was written.", **about)
        message = self.sentence.format(said=told.said or "it gave no reason")
        if self.error is ThrottledError:
            return ThrottledError(message, retry_after_seconds=self.retry_after_seconds, **about)
        if self.error is RejectedError:
            return RejectedError(message, field=self.field or told.field, next_step=self.next_step, **about)
        return self.error(message, next_step=self.next_step, **about)


@dataclass(frozen=True, slots=True)
class Told:
    """What a refusal says.

    Attributes:
        title: The provider's name for people.
        said: Its own sentence, fit for a person; empty if it gave none.
        field: What it complains about, in our words.
        detail, request_id, code: As `domain.errors.ProviderError` has them.
    """

    title: str
    said: str = ""
    field: str = ""
    detail: str = ""
    request_id: str = ""
    code: str = ""
