"""What every transform is made of: parameters, what it sees, how it refuses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal, Protocol, override

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tieout.domain.records import Value
from tieout.mapping.paths import Found, path_text


class RefusedError(Exception):
    """A transform cannot read the value; becomes a MappingError with the rule and the path."""

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class Surroundings(Protocol):
    """What a transform sees besides its value."""

    def look(self, path: str) -> Found:
        """What stands at the path in the record."""

    def notice(self, sentence: str) -> None:
        """Tell the person who looks at the result; nothing stops."""


class Strict(BaseModel):
    """What a person writes: no unknown names, no guessed types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class Params(Strict, ABC):
    """Base of all transforms: the fields are its parameters, `apply` is what it does.

    A parameter whose name ends in `_path` says where the record holds something; `check` follows it.

    Attributes:
        gives: The type of what comes out; `same` if that depends on the value.
        takes_list: True if a list is taken as a whole; others get its items one by one.
    """

    gives: ClassVar[Literal["text", "number", "date", "same"]] = "text"
    takes_list: ClassVar[bool] = False

    @abstractmethod
    def apply(self, value: Value, around: Surroundings) -> Value:
        """What becomes of `value`.

        Raises:
            RefusedError: If it cannot be read.
        """


class Reading(Params):
    """A transform that reads a value in a strict form."""

    otherwise: Literal["error", "keep", "empty"] = Field(
        default="error",
        description="What happens to a value that cannot be read: the record is parked, the value is passed on as it"
        " stands with a notice, or the field is emptied with a notice.",
    )

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """What `value` means; null if it is empty text."""
        if isinstance(value, str) and not value.strip():
            return None
        try:
            return self.understand(value, around)
        except RefusedError as refused:
            if self.otherwise == "error":
                raise
            done = "passed on as it stands" if self.otherwise == "keep" else "left empty"
            around.notice(f"{refused.message} It was {done}.")
            return value if self.otherwise == "keep" else None

    @abstractmethod
    def understand(self, value: Value, around: Surroundings) -> Value:
        """What `value`, which is not empty text, means."""


def _known_locale(name: str) -> str:
    """The name as babel writes it, `pt_BR` for `pt-BR`.

    Raises:
        ValueError: If it is no locale.
    """
    from babel import Locale, UnknownLocaleError  # noqa: PLC0415 - only loaded where it is used

    try:
        return str(Locale.parse(name.replace("-", "_")))
    except (ValueError, UnknownLocaleError) as error:
        raise ValueError(f"`{name}` is not a locale, such as `en_US` or `de_DE`") from error


# Not `type`: the published schema shows them as the text that they are.
LocaleName = Annotated[str, AfterValidator(_known_locale)]
PathText = Annotated[str, AfterValidator(path_text)]
