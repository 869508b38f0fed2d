"""How commands answer: one JSON document or words on the standard output; everything else on the standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any, TextIO

import typer

from tieout.domain.errors import (
    ClaimedError,
    ReconnectError,
    SettingsError,
    TieoutError,
    UnavailableError,
    UncertainError,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

DEBUG_VARIABLE = "TIEOUT_DEBUG"
LINE_SECONDS = 5.0
# C0, DEL and C1: a terminal obeys them, and what we print is other people's text. Line ends and tabs stay.
_ORDERS = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - {ord("\n"), ord("\t")}, "\N{REPLACEMENT CHARACTER}")
WIDTH_OF_FILES = 200


class Code(IntEnum):
    """What a command's exit status means."""

    OK = 0
    NO = 1
    USAGE = 2
    WOULD_PARK = 3
    TRY_LATER = 4
    SETUP = 5
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend in a file. `line` is 0 if it is about the whole file."""

    file: str
    line: int
    path: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        where = f"{self.path}: " if self.path else ""
        return f"{place}: {where}{self.message} {self.suggestion}".rstrip()


class AnswerError(TieoutError):
    """A command that cannot do what was asked, with its own exit status and what has to be mended in files."""

    def __init__(self, message: str, *, code: Code, next_step: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, next_step=next_step)
        self.code = code
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found out.

    Attributes:
        data: For `--json`.
        view: The same for people, asked for only without `--json`.
    """

    data: Mapping[str, Any]
    view: Callable[[], Iterator[RenderableType]]
    code: Code = Code.OK


@dataclass(slots=True)
class Talk:
    """One command's conversation.

    Attributes:
        resume: What to say after Ctrl-C: how to go on.
    """

    as_json: bool
    resume: str = "Nothing was changed."
    _told: dict[str, float] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """A line for people, beside the answer."""
        print(text.translate(_ORDERS), file=sys.stderr, flush=True)

    def answer(self, answer: Answer) -> None:
        """Print the answer; ends the command if its status is not 0."""
        if self.as_json:
            print(json.dumps(plain(answer.data), ensure_ascii=False, indent=2))
        else:
            console = console_of(sys.stdout)
            for part in answer.view():
                # A sentence is not cut into lines here, so that commands and addresses in it can be copied whole.
                console.print(part, soft_wrap=isinstance(part, str))
        if answer.code is not Code.OK:
            raise typer.Exit(answer.code)

    def agree(self, question: str, *, refused: str, parts: Iterable[RenderableType] = (), why: str = "") -> None:
        """Return if a person says yes.

        Args:
            question: Ends with a question mark.
            refused: What to say to a no.
            parts: What is shown before.
            why: The sentence that says why it is asked; also for those who cannot be asked.

        Raises:
            AnswerError: If the answer is no, or nobody gives one.
        """
        if self.as_json:
            sentence = f"{why} With --json nobody can be asked.".lstrip()
            raise AnswerError(sentence, code=Code.USAGE, next_step="Add --yes.")
        if why:
            self.say(why)
        console = console_of(sys.stderr)
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, str))
        try:
            agreed = typer.confirm(question.translate(_ORDERS), err=True)
        except typer.Abort:
            raise AnswerError("Nobody answered.", code=Code.USAGE, next_step="Add --yes.") from None
        if not agreed:
            raise AnswerError(refused, code=Code.NO)

    @contextmanager
    def progress(self, **words: str) -> Iterator[Callable[[str, int], None]]:
        """Something to call with what is going on and how far it is; bars on a terminal, a line now and then elsewhere.

        Args:
            words: What to say for a name, such as `waiting="Changes that wait"`.
        """
        if not sys.stderr.isatty():
            yield self._lines(words)
            return
        from rich.console import Console  # noqa: PLC0415 - only loaded where it is shown
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as bars:
            tasks: dict[str, Any] = {}

            def show(name: str, count: int) -> None:
                if name not in tasks:
                    tasks[name] = bars.add_task(
                        words.get(name, _plural(name)), total=count if name == "waiting" else None
                    )
                if name != "waiting":
                    bars.update(tasks[name], completed=count)
                    return
                # What waits counts down: the bar shows how much of the most that was seen is done.
                total = max(count, next(task.total or 0 for task in bars.tasks if task.id == tasks[name]))
                bars.update(tasks[name], total=total, completed=total - count)

            yield show
            for task in bars.tasks:
                if task.total is None:
                    bars.update(task.id, total=task.completed)

    def _lines(self, words: Mapping[str, str]) -> Callable[[str, int], None]:
        import time  # noqa: PLC0415 - paces lines on the screen only

        def show(name: str, count: int) -> None:
            now = time.monotonic()
            if now - self._told.get(name, 0.0) >= LINE_SECONDS:
                self._told[name] = now
                self.say(f"{words.get(name, _plural(name))}: {count:,}")

        return show


@contextmanager
def talk(as_json: bool) -> Iterator[Talk]:
    """The outermost edge of every command: errors become sentences and exit statuses.

    Raises:
        typer.Exit: With the exit status.
    """
    conversation = Talk(as_json)
    try:
        yield conversation
    except KeyboardInterrupt:
        conversation.say(f"\nStopped. {conversation.resume}")
        raise typer.Exit(Code.INTERRUPTED) from None
    except TieoutError as error:
        problems = error.problems if isinstance(error, AnswerError) else ()
        _tell(conversation, error.message, error.next_step, problems, code_of(error))
        _traceback()
        raise typer.Exit(code_of(error)) from None
    except Exception as error:
        known = _of_aws(error)
        if known is None:
            raise
        _tell(conversation, known.message, known.next_step, (), known.code)
        _traceback()
        raise typer.Exit(known.code) from None


def _tell(conversation: Talk, message: str, next_step: str, problems: Sequence[Problem], code: Code) -> None:
    if conversation.as_json:
        error = {"message": message, "next_step": next_step, "problems": [asdict(problem) for problem in problems]}
        print(json.dumps({"error": error, "exit_code": int(code)}, ensure_ascii=False, indent=2))
        return
    for problem in problems:
        conversation.say(str(problem))
    conversation.say(f"Error: {message}")
    if next_step:
        conversation.say(f"Next: {next_step}")


def code_of(error: TieoutError) -> Code:
    """The exit status that an error ends a command with."""
    match error:
        case AnswerError():
            return error.code
        case SettingsError():
            return Code.SETUP
        case ReconnectError():
            return Code.SETUP
        case UnavailableError() | UncertainError() | ClaimedError():
            return Code.TRY_LATER
    return Code.NO


_SIGN_IN_CODES = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_NOT_SET_UP = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "NoRegionError", "ProfileNotFound", "TokenRetrievalError"}
    | {"SSOTokenLoadError", "UnauthorizedSSOTokenError", "CredentialRetrievalError", "InvalidRegionError"}
)


def _of_aws(error: Exception) -> AnswerError | None:
    """What AWS's own error means; None if it is none, and so a bug."""
    if not type(error).__module__.startswith("botocore."):
        return None
    from botocore.exceptions import (  # noqa: PLC0415 - loaded already: it is its error
        BotoCoreError,
        ClientError,
        ParamValidationError,
    )

    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        what = f"AWS refused {error.operation_name}: {code}."
        if code in _SIGN_IN_CODES:
            return AnswerError(what, code=Code.SETUP, next_step="Sign in to AWS as somebody who may do this.")
        return AnswerError(what, code=Code.TRY_LATER, next_step="Try again in a minute.")
    if type(error).__name__ in _NOT_SET_UP:
        return AnswerError(
            f"AWS cannot be asked: {str(error).rstrip('.')}.",
            code=Code.SETUP,
            next_step="Sign in to AWS (`aws sso login`), and set AWS_PROFILE and AWS_REGION.",
        )
    if isinstance(error, BotoCoreError) and not isinstance(error, ParamValidationError):  # we asked for nonsense
        return AnswerError(
            "AWS cannot be reached.", code=Code.TRY_LATER, next_step="See that this machine is online, and try again."
        )
    return None


def _traceback() -> None:
    if os.environ.get(DEBUG_VARIABLE):
        import traceback  # noqa: PLC0415 - only for who asks for it

        traceback.print_exc()


def console_of(stream: TextIO) -> Console:
    """What prints tables and sentences there."""
    from rich.console import Console  # noqa: PLC0415 - only loaded where it is shown

    class Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - handed on
            return super().render_str(text.translate(_ORDERS), **options)

    # Records are other people's text: nothing in it is markup.
    width = None if stream.isatty() else WIDTH_OF_FILES
    return Plain(file=stream, markup=False, highlight=False, emoji=False, width=width)


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table; what does not fit is folded, never cut, so that names can be copied.

    Args:
        columns: Their headings.
        right: Those of numbers.
    """
    from rich.table import Table  # noqa: PLC0415 - only loaded where it is shown

    empty = Table(box=None, header_style="bold")
    for column in columns:
        empty.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return empty


def more(count: int, show: int) -> Iterator[str]:
    """The line that says how many of `count` were not listed, if any."""
    if count > show:
        yield f"  and {count - show:,} more (--show {count})"


def _plural(name: str) -> str:
    from tieout.domain.words import counted  # noqa: PLC0415 - loads money

    return counted(2, name.replace("_", " ")).removeprefix("2 ").capitalize()


def plain(value: Any) -> Any:  # noqa: ANN401, PLR0911 - anything that a command answers, one line a type
    """The value as JSON has it: amounts as text, times in UTC."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value)


def moment(value: datetime) -> str:
    """UTC, to the second: `2026-11-22T09:00:00Z`."""
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
