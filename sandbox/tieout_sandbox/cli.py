"""`tieout sandbox`: what runs on one machine and is never deployed."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from tieout_sandbox.dataset import DEALS
from tieout_sandbox.simulators import SIMULATORS, StartError, create_app, with_side
from tieout_sandbox.simulators.faults import FaultPlan
from tieout_sandbox.simulators.server import serve as serve_app

DEALS_MIN = 140
"""With fewer, the tour's scenes find no deal of their kind."""

app = typer.Typer(no_args_is_help=True, help="Simulators of providers, on this machine.")


@app.callback()
def _sandbox() -> None:
    """Simulators of providers, on this machine."""


@app.command()
def serve(
    simulator: Annotated[str, typer.Argument(help=f"One of: {', '.join(SIMULATORS)}.")],
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    faults: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="YAML or JSON of faults.")] = None,
    state: Annotated[Path | None, typer.Option(dir_okay=False, help="Keep the state in this JSON file.")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; may be repeated.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the first line as JSON.")] = False,
) -> None:
    """Serve a simulator until Ctrl-C or SIGTERM. The first line printed is its base URL."""
    if simulator not in SIMULATORS:
        raise typer.BadParameter(f"there is no simulator {simulator!r}; there are: {', '.join(SIMULATORS)}")
    try:
        plan = FaultPlan.read(faults) if faults else None
        served = create_app(simulator, faults=plan, state_file=state, **_settings(setting or []))
    except ValidationError as error:
        problems = (f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors())
        raise typer.BadParameter("; ".join(problems)) from error
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    except StartError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with serve_app(served, port) as base_url:
        typer.echo(json.dumps({"simulator": simulator, "base_url": base_url}) if as_json else base_url)
        stop.wait()


def _settings(pairs: list[str]) -> dict[str, object]:
    """`NAME=VALUE` as options; a value that is JSON (a number, true, null) is taken as such, anything else as text."""
    options: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


@app.command()
def tour(
    *,
    once: Annotated[bool, typer.Option("--once", help="End after the closing table.")] = False,
    faults: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="YAML of faults.")] = None,
    crm: Annotated[str, typer.Option(help="Provider of the deals.")] = "act",
    books: Annotated[str, typer.Option(help="Provider of the invoices.")] = "quickbooks_online",
    deals: Annotated[
        str, typer.Option(help="How many deals there are, or `all`; by itself what the books take in some minutes.")
    ] = "",
) -> None:
    """The whole way in a local AWS: deploy, connect, sync, pay, fail, compare. Exit status 0 only if it ties out."""
    from rich.console import Console  # noqa: PLC0415 - only the tour draws

    from tieout_sandbox.local_aws import LocalAwsError  # noqa: PLC0415 - only the tour deploys
    from tieout_sandbox.served import StageError  # noqa: PLC0415 - only the tour deploys
    from tieout_sandbox.tour import tour as play  # noqa: PLC0415 - only the tour deploys

    console = Console()
    try:
        good = play(
            once=once,
            faults=faults,
            console=console,
            crm=_one_of(crm, with_side("CRM")),
            books=_one_of(books, with_side("BOOKS")),
            deals=_count(deals),
        )
    except (StageError, LocalAwsError) as error:
        console.print(f"[red]{error}")
        raise typer.Exit(1) from error
    raise typer.Exit(0 if good else 1)


def _one_of(provider: str, known: list[str]) -> str:
    if provider not in known:
        raise typer.BadParameter(f"there is no {provider!r} for this; there are: {', '.join(known)}")
    return provider


def _count(deals: str) -> int | None:
    """None if the books decide.

    Raises:
        typer.BadParameter: If it is no number of deals that scenes can be played with.
    """
    if not deals:
        return None
    if deals == "all":
        return DEALS
    if not deals.isdecimal() or not DEALS_MIN <= int(deals) <= DEALS:
        raise typer.BadParameter(f"{deals!r} is neither `all` nor a number from {DEALS_MIN} to {DEALS}")
    return int(deals)
