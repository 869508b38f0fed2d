"""The edge of every command: exit statuses, one JSON document, no traceback."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
import typer
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
)

from tieout.cli.talk import Answer, AnswerError, Code, Problem, code_of, moment, plain, table, talk
from tieout.domain import errors
from tieout.domain.records import Kind


def ends(error: BaseException, *, as_json: bool = False) -> int:
    with pytest.raises(typer.Exit) as caught, talk(as_json):
        raise error
    return caught.value.exit_code


@pytest.mark.parametrize("order", ["\x1b]52;c;aGk=\x07", "\x1b[2J", "\x9b2J", "\r"])
def test_what_records_say_does_not_steer_the_terminal(capsys, monkeypatch, order):
    def view():
        rows = table("Name")
        rows.add_row(f"Acme {order} Ltd")
        yield rows
        yield f"Jane {order} Doe"

    with talk(as_json=False) as conversation:
        conversation.answer(Answer({}, view))
        monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
        conversation.agree(
            f"Is it {order} hers?", refused="No.", parts=[f"Ada {order} Miller"], why=f"So {order} it is."
        )
    assert ends(errors.RejectedError(f"No {order} way.")) == Code.NO
    out, err = capsys.readouterr()
    assert not {"\x1b", "\x07", "\x9b", "\r"} & set(out + err)
    assert "Acme \N{REPLACEMENT CHARACTER}" in out
    assert "Jane \N{REPLACEMENT CHARACTER}" in out
    for said in ("So", "Ada", "Is it", "No"):
        assert f"{said} \N{REPLACEMENT CHARACTER}" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SettingsError("x"), Code.SETUP),
        (errors.ReconnectError("x"), Code.SETUP),
        (errors.UnavailableError("x"), Code.TRY_LATER),
        (errors.ThrottledError("x"), Code.TRY_LATER),
        (errors.UncertainError("x"), Code.TRY_LATER),
        (errors.ClaimedError("x"), Code.TRY_LATER),
        (errors.ConflictError("x"), Code.NO),
        (errors.NotFoundError("x"), Code.NO),
        (errors.RejectedError("x"), Code.NO),
        (errors.MappingError("x", rule="r"), Code.NO),
        (errors.SignatureError("x"), Code.NO),
        (AnswerError("x", code=Code.WOULD_PARK), Code.WOULD_PARK),
    ],
)
def test_each_error_has_its_exit_status(error, code):
    assert code_of(error) is code


def aws(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "secret-ish"}}, "DescribeStacks")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EndpointConnectionError(endpoint_url="http://x"), Code.TRY_LATER),
        (aws("Throttling"), Code.TRY_LATER),
        (aws("ExpiredToken"), Code.SETUP),
        (aws("AccessDenied"), Code.SETUP),
        (NoCredentialsError(), Code.SETUP),
        (NoRegionError(), Code.SETUP),
    ],
)
def test_errors_of_aws_are_told_in_a_sentence(error, code, capsys):
    assert ends(error) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: AWS ")
    assert "Next: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("bug", [ZeroDivisionError(), ParamValidationError(report="Invalid length")])
def test_a_bug_is_not_swallowed(bug):
    with pytest.raises(type(bug)), talk(as_json=False):
        raise bug


def test_an_error_as_json_is_one_document(capsys):
    problem = Problem("sync.yaml", 3, "steps.x", "It is wrong.", "Mend it.")
    error = AnswerError("Refused.", code=Code.USAGE, next_step="Mend.", problems=[problem])
    assert ends(error, as_json=True) == Code.USAGE
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["exit_code"] == 2
    assert document["error"]["problems"][0]["line"] == 3
    assert err == ""
    assert str(problem) == "sync.yaml:3: steps.x: It is wrong. Mend it."


def test_a_traceback_is_shown_to_who_asks_for_it(capsys, monkeypatch):
    monkeypatch.setenv("TIEOUT_DEBUG", "1")
    ends(errors.SettingsError("x"))
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(capsys):
    def interrupted() -> None:
        with talk(as_json=True) as conversation:
            conversation.resume = "Run it again."
            raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as caught:
        interrupted()
    assert caught.value.exit_code == Code.INTERRUPTED
    out, err = capsys.readouterr()
    assert (out, err.strip()) == ("", "Stopped. Run it again.")


def test_an_answer_is_json_or_words_never_both(capsys):
    answer = Answer({"amount": Decimal("1.50")}, lambda: iter(["[bold]1.50[/bold] :smile:"]))
    with talk(as_json=True) as conversation:
        conversation.answer(answer)
    assert json.loads(capsys.readouterr().out) == {"amount": "1.50"}
    with talk(as_json=False) as conversation:
        conversation.answer(answer)
    assert capsys.readouterr().out == "[bold]1.50[/bold] :smile:\n"


def test_progress_stays_off_the_answer(capsys):
    with talk(as_json=True) as conversation:
        with conversation.progress(waiting="Messages") as progress:
            progress("deal", 1000)
            progress("deal", 2000)
            progress("waiting", 3)
        conversation.answer(Answer({}, lambda: iter(())))
    out, err = capsys.readouterr()
    assert json.loads(out) == {}
    assert err == "Deals: 1,000\nMessages: 3\n"


def test_progress_on_a_terminal_is_bars_and_stays_off_the_answer(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with talk(as_json=True) as conversation:
        with conversation.progress(waiting="Messages") as progress:
            progress("deal", 2000)
            for left in (120, 150, 0):
                progress("waiting", left)
        conversation.answer(Answer({}, lambda: iter(())))
    out, err = capsys.readouterr()
    assert json.loads(out) == {}
    assert "2000/2000" in err
    assert "150/150" in err


def test_values_as_json():
    east = timezone(timedelta(hours=2))
    assert plain(
        {
            "kind": Kind.CREDIT_NOTE,
            "at": datetime(2026, 11, 22, 11, tzinfo=east),
            "on": date(2026, 11, 22),
            "amounts": (Decimal("1E+3"), None, True, 0, ""),
        }
    ) == {
        "kind": "credit_note",
        "at": "2026-11-22T09:00:00Z",
        "on": "2026-11-22",
        "amounts": ["1000", None, True, 0, ""],
    }
    assert moment(datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)) == "2026-01-02T03:04:05Z"


def test_help_loads_no_engine_and_no_library_of_aws():
    heavy = "tieout.engine tieout.mapping tieout.bootstrap botocore boto3 requests jinja2 babel ruamel flask pydantic"
    script = (
        "import sys; from tieout.cli.main import app, add_plugins; add_plugins(''); "
        f"print([name for name in {heavy.split()!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
