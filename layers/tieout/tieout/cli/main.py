"""The commands of `tieout`, by name. Each imports what it runs, so that `tieout --help` is quick."""

from __future__ import annotations

import sys
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tieout.cli.talk import talk

PLUGINS = "tieout.commands"


class _PlanGroup(TyperGroup):
    """`tieout plan SYNC` is short for `tieout plan make SYNC`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer keeps its type private
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["make", *args]
        return super().parse_args(ctx, args)


class Paid(StrEnum):
    """What becomes of an invoice that is paid when its run is taken back."""

    PARK = "park"
    CREDIT_NOTE = "credit_note"


class RowKind(StrEnum):
    """What a row of a file is."""

    COMPANY = "company"
    CONTACT = "contact"
    DEAL = "deal"
    PRODUCT = "product"


class Dates(StrEnum):
    """Which part of a date stands first."""

    DAY_FIRST = "dmy"
    MONTH_FIRST = "mdy"
    YEAR_FIRST = "ymd"


class Exported(StrEnum):
    """What can be written to a file; kinds of record in the plural."""

    COMPANIES = "companies"
    CONTACTS = "contacts"
    DEALS = "deals"
    PRODUCTS = "products"
    CUSTOMERS = "customers"
    ITEMS = "items"
    ESTIMATES = "estimates"
    INVOICES = "invoices"
    PAYMENTS = "payments"
    CREDIT_NOTES = "credit-notes"
    PARKED = "parked"


app = typer.Typer(
    name="tieout",
    help="Keeps a CRM and the books in agreement.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
config_app = typer.Typer(no_args_is_help=True, help="Check and apply connection and sync documents.")
plan_app = typer.Typer(
    cls=_PlanGroup,
    no_args_is_help=True,
    subcommand_metavar="SYNC | COMMAND [ARGS]...",
    help="What applying a sync would write: `tieout plan SYNC`; and the plans that are kept.",
)
parked_app = typer.Typer(no_args_is_help=True, help="What could not be synced and waits for a person.")
mapping_app = typer.Typer(no_args_is_help=True, help="What a sync document says.")
audit_app = typer.Typer(no_args_is_help=True, help="What happened, and whether the trail of it is whole.")
app.add_typer(config_app, name="config")
app.add_typer(plan_app, name="plan")
app.add_typer(parked_app, name="parked")
review_app = typer.Typer(no_args_is_help=True, help="Questions that only a person can answer.")
app.add_typer(review_app, name="review")
sweep_app = typer.Typer(no_args_is_help=True, help="Records that vanished all at once, held back until approved.")
app.add_typer(sweep_app, name="sweep")
app.add_typer(mapping_app, name="mapping")
app.add_typer(audit_app, name="audit")
agent_app = typer.Typer(no_args_is_help=True, help="On the computer beside a system that the cloud cannot reach.")
app.add_typer(agent_app, name="agent")

Tenant = Annotated[str, typer.Option(envvar="TIEOUT_TENANT", help="Whose data.")]
Stack = Annotated[str, typer.Option(envvar="TIEOUT_STACK", help="Name of the deployed stack.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Show = Annotated[int, typer.Option(min=0, help="How many to list.")]
Files = Annotated[list[Path], typer.Argument(help="YAML files with connection and sync documents.")]
Sync = Annotated[str, typer.Argument(help="Name of the sync.")]
Plan = Annotated[str, typer.Argument(help="Id of a stored plan, such as plan-20261122-093015-k3f9.")]
Records = Annotated[list[str] | None, typer.Option("--record", help="Only the record of this id; may be repeated.")]
Where = Annotated[list[str] | None, typer.Argument(help="Names as `tieout parked list` shows them: sync/step/id.")]
Cause = Annotated[str, typer.Option(help="All that are parked because of this.")]
All = Annotated[bool, typer.Option("--all", help="Everything that is parked.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
WaitMinutes = Annotated[int, typer.Option(min=1, max=24 * 60, help="How long to wait for the end.")]

TENANT, STACK = "default", "tieout"


@config_app.command("check")
def config_check(files: Files, *, as_json: Json = False) -> None:
    """Check documents; every problem with its file and line. Needs no AWS."""
    with talk(as_json) as conversation:
        from tieout.cli import config

        conversation.answer(config.check(files))


@config_app.command("apply")
def config_apply(files: Files, *, tenant: Tenant = TENANT, stack: Stack = STACK, as_json: Json = False) -> None:
    """Put documents to work. One problem anywhere, and nothing is changed."""
    with talk(as_json) as conversation:
        from tieout.cli import config, desk

        conversation.answer(config.apply(desk.open_desk(stack, tenant), conversation, files))


@app.command()
def connect(
    connection: Annotated[str, typer.Argument(help="Name of the connection.")],
    secrets_file: Annotated[str, typer.Option(help="JSON object of secrets; - reads the standard input.")] = "",
    *,
    ask: Annotated[bool, typer.Option("--ask", help="Ask for every secret again.")] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Local port to come back to; 0 takes a free one.")
    ] = None,
    redirect: Annotated[str, typer.Option(help="Another registered address to come back to; remembered.")] = "",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser.")] = True,
    new_code: Annotated[bool, typer.Option("--new-code", help="In an office: let another computer in.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="In an office: let none in any more.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="In an office: wait for the installation.")] = True,
    file: Annotated[Path | None, typer.Option(help="Where to write the file for the QuickBooks Web Connector.")] = None,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Sign a connection in, prove that it works, and let it go on."""
    with talk(as_json) as conversation:
        from tieout.cli import beside as in_office
        from tieout.cli import connect as work
        from tieout.cli import desk

        beside = in_office.Beside(new_code=new_code, revoke=revoke, wait=wait, file=file)
        way = work.Way(secrets_file=secrets_file, ask=ask, port=port, redirect=redirect, browser=browser, beside=beside)
        conversation.answer(work.connect(desk.open_desk(stack, tenant), conversation, connection, way))


@plan_app.command("make")
def plan_make(
    sync: Sync,
    record: Records = None,
    *,
    file: Annotated[Path | None, typer.Option(help="A file with the sync as it is to be, not applied yet.")] = None,
    save: Annotated[bool, typer.Option("--save/--no-save", help="Keep the plan, so that it can be applied.")] = True,
    show: Show = 20,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Show what applying the sync would write, and keep it as a plan. Nothing is written to either side."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, plans

        here = desk.open_desk(stack, tenant)
        conversation.answer(plans.make(here, conversation, sync, record or [], file=file, save=save, show=show))


@plan_app.command("list")
def plan_list(*, show: Show = 20, tenant: Tenant = TENANT, stack: Stack = STACK, as_json: Json = False) -> None:
    """List the plans that are kept, the newest first."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, plans

        conversation.answer(plans.listed(desk.open_desk(stack, tenant), show=show))


@plan_app.command("show")
def plan_show(
    plan: Plan, *, show: Show = 20, tenant: Tenant = TENANT, stack: Stack = STACK, as_json: Json = False
) -> None:
    """Show one plan, who approved and applied it, and how its writes ended."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, plans

        conversation.answer(plans.shown(desk.open_desk(stack, tenant), plan, show=show))


@plan_app.command("approve")
def plan_approve(plan: Plan, *, tenant: Tenant = TENANT, stack: Stack = STACK, as_json: Json = False) -> None:
    """Let a plan be applied that is above the sync's caps; it remembers who let it."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, plans

        conversation.answer(plans.approved(desk.open_desk(stack, tenant), plan))


@app.command()
def apply(
    plan: Annotated[str, typer.Argument(metavar="PLAN|SYNC", help="A stored plan; or a sync, to plan it first.")],
    record: Records = None,
    *,
    yes: Yes = False,
    only_unchanged: Annotated[
        bool, typer.Option("--only-unchanged", help="Write what is still as planned, and leave the rest.")
    ] = False,
    max_writes: Annotated[int | None, typer.Option(min=0, help="Refuse a plan with more writes.")] = None,
    max_amount: Annotated[str, typer.Option(help="Refuse a plan that writes more than this in a currency.")] = "",
    show: Show = 20,
    wait_minutes: WaitMinutes = 30,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Write just what a plan says, or tell what changed since; of a sync: plan, ask, and write just that."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, plans

        wish = plans.Wish(
            yes=yes,
            only_unchanged=only_unchanged,
            cap=plans.cap_of(max_writes, max_amount),
            show=show,
            wait_seconds=wait_minutes * 60,
        )
        conversation.answer(plans.apply(desk.open_desk(stack, tenant), conversation, plan, record or [], wish))


@app.command()
def undo(
    plan: Plan,
    *,
    paid: Annotated[Paid, typer.Option(help="What becomes of invoices that are paid, in part too.")] = Paid.PARK,
    show: Show = 20,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Plan how to take back what an applied plan wrote: voids, credit notes, former values. Nothing is written yet."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, plans

        here = desk.open_desk(stack, tenant)
        conversation.answer(plans.undo(here, conversation, plan, credit_paid=paid is Paid.CREDIT_NOTE, show=show))


@app.command()
def renew(
    where: Annotated[str, typer.Argument(help="A record whose document was withdrawn: sync/step/id.")] = "",
    *,
    plan: Annotated[
        str, typer.Option(help="All that this undo withdrew; the plan that it took back will do, too.")
    ] = "",
    yes: Yes = False,
    show: Show = 20,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Allow new documents in place of those that were withdrawn. Nothing is written yet."""
    with talk(as_json) as conversation:
        from tieout.cli import desk
        from tieout.cli import renew as work

        conversation.answer(work.renew(desk.open_desk(stack, tenant), conversation, where, plan, yes=yes, show=show))


@app.command()
def backfill(
    sync: Sync,
    *,
    restart: Annotated[bool, typer.Option("--restart", help="Begin again, not where it stopped.")] = False,
    relink: Annotated[bool, typer.Option("--relink", help="After a restore: link what was written already.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until all is synced, and compare.")] = True,
    yes: Yes = False,
    wait_minutes: WaitMinutes = 240,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Sync the history, then compare both sides. Can be stopped and run again at any moment."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, history

        wait_seconds = wait_minutes * 60 if wait else None
        conversation.answer(
            history.backfill(
                desk.open_desk(stack, tenant),
                conversation,
                sync,
                restart=restart,
                relink=relink,
                yes=yes,
                wait_seconds=wait_seconds,
            )
        )


@app.command("import")
def import_file(
    file: Annotated[
        str, typer.Argument(help="A file; or what was dropped into the bucket: inbox/TENANT.CONNECTION/NAME.")
    ],
    connection: Annotated[str, typer.Option(help="The connection that it feeds.")],
    *,
    kind: Annotated[RowKind | None, typer.Option("--as", help="What each row is.")] = None,
    mapped: Annotated[
        list[str] | None, typer.Option("--map", help="TITLE=FIELD, or TITLE= to leave it out; may be repeated.")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", help="Title of the column that rows are known by; may be repeated.")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Such as windows-1252.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="What stands between columns.")] = None,
    dates: Annotated[Dates | None, typer.Option(help="Order of day, month and year.")] = None,
    decimal: Annotated[str | None, typer.Option(help="What stands before the fraction: , or .")] = None,
    sheet: Annotated[str | None, typer.Option(help="Name of the sheet of a workbook.")] = None,
    header_row: Annotated[int | None, typer.Option(min=0, help="Row with the titles; 0 if there are none.")] = None,
    complete: Annotated[bool, typer.Option("--complete", help="What is not in the file is gone.")] = False,
    hold: Annotated[bool, typer.Option("--hold", help="Queue nothing: a plan comes first.")] = False,
    instead: Annotated[bool, typer.Option("--instead", help="Give up another import that is under way.")] = False,
    look: Annotated[bool, typer.Option("--look", help="Say what the file is, and import nothing.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write here, too, how each row ended.")] = None,
    yes: Yes = False,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Read a file's rows into a connection; shows how they will be read, and asks. Run again, it goes on."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, files

        said = files.said(
            encoding=encoding,
            delimiter=delimiter,
            dates=dates and dates.value,
            decimal=decimal,
            sheet=sheet,
            header_row=header_row,
            kind=kind and kind.value,
            mapped=mapped or (),
            key=key or (),
            complete=complete,
            hold=hold,
            instead=instead,
            look=look,
            yes=yes,
            out=out,
        )
        conversation.answer(files.import_file(desk.open_desk(stack, tenant), conversation, file, connection, said))


@app.command()
def export(
    what: Annotated[Exported, typer.Argument(help="What to write.")],
    connection: Annotated[str, typer.Option(help="Whose records; of what is parked, all if none is named.")] = "",
    *,
    out: Annotated[Path | None, typer.Option(help="A new file, not the standard output.")] = None,
    for_machines: Annotated[
        bool, typer.Option("--for-machines", help="Leave text as it is; a spreadsheet may run it as a formula.")
    ] = False,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Write a connection's records, or what is parked, as CSV that a spreadsheet can open."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, files

        here = desk.open_desk(stack, tenant)
        conversation.answer(files.export(here, conversation, what.value, connection, out, for_machines=for_machines))


@app.command("tie-out")
def tie_out(sync: Sync, *, tenant: Tenant = TENANT, stack: Stack = STACK, as_json: Json = False) -> None:
    """Count and add up both sides, and say where they differ."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, history

        conversation.answer(history.tie_out(desk.open_desk(stack, tenant), conversation, sync))


@app.command()
def status(*, tenant: Tenant = TENANT, stack: Stack = STACK, as_json: Json = False) -> None:
    """Show where everything stands; exit status 1 if something needs a person."""
    with talk(as_json) as conversation:
        from tieout.cli import desk
        from tieout.cli import status as work

        conversation.answer(work.status(desk.open_desk(stack, tenant)))


@parked_app.command("list")
def parked_list(
    *, cause: Cause = "", show: Show = 50, tenant: Tenant = TENANT, stack: Stack = STACK, as_json: Json = False
) -> None:
    """List what is parked, oldest first."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, parked

        conversation.answer(parked.listed(desk.open_desk(stack, tenant), cause=cause, show=show))


@parked_app.command("show")
def parked_show(
    where: Annotated[str, typer.Argument(help="sync/step/id")],
    *,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Show one parked change in full."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, parked

        conversation.answer(parked.shown(desk.open_desk(stack, tenant), where))


@parked_app.command("retry")
def parked_retry(
    where: Where = None,
    *,
    cause: Cause = "",
    everything: All = False,
    approve: Annotated[bool, typer.Option("--approve", help="The sync's caps do not hold them back.")] = False,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Try parked changes again."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, parked

        here = desk.open_desk(stack, tenant)
        chosen = parked.chosen(here, where or [], cause, everything=everything)
        conversation.answer(parked.retried(here, chosen, approve=approve))


@parked_app.command("dismiss")
def parked_dismiss(
    where: Where = None,
    *,
    cause: Cause = "",
    everything: All = False,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Leave parked changes as they are; each comes back only if its cause changes."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, parked

        here = desk.open_desk(stack, tenant)
        conversation.answer(parked.dismissed(here, parked.chosen(here, where or [], cause, everything=everything)))


@sweep_app.command("list")
def sweep_list(*, tenant: Tenant = TENANT, stack: Stack = STACK, as_json: Json = False) -> None:
    """List what vanished in such numbers that nothing was done about it."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, sweep

        conversation.answer(sweep.listed(desk.open_desk(stack, tenant)))


@sweep_app.command("approve")
def sweep_approve(
    connection: Annotated[str, typer.Argument(help="Id of the connection.")],
    *,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Say that what vanished was deleted indeed: the sync's policies apply to it now."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, sweep

        conversation.answer(sweep.approved(desk.open_desk(stack, tenant), connection))


@review_app.command("list")
def review_list(
    *,
    sync: Annotated[str, typer.Option(help="Only of this sync.")] = "",
    kind: Annotated[str, typer.Option(help="Only `conflict` or `match`.")] = "",
    show: Show = 50,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """List open questions, oldest first."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, review

        conversation.answer(review.listed(desk.open_desk(stack, tenant), sync=sync, kind=kind, show=show))


@review_app.command("show")
def review_show(
    where: Annotated[str, typer.Argument(help="sync/step/id")],
    *,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Show one question: both values, who and when; or the candidates with scores and reasons."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, review

        conversation.answer(review.shown(desk.open_desk(stack, tenant), where))


@review_app.command("resolve")
def review_resolve(
    where: Annotated[str, typer.Argument(help="sync/step/id")],
    *,
    take: Annotated[str, typer.Option(help="Whose values count: source or target.")] = "",
    field: Annotated[list[str] | None, typer.Option(help="NAME=source or NAME=target; may be repeated.")] = None,
    accept: Annotated[str, typer.Option(help="It is the candidate of this id.")] = "",
    create: Annotated[bool, typer.Option("--create", help="It is none of them: create a new one.")] = False,
    never: Annotated[str, typer.Option(help="It never is the candidate of this id.")] = "",
    yes: Yes = False,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Answer a question; the record is synced as you say."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, review

        said = review.Said(take=take, fields=field or [], accept=accept, create=create, never=never)
        here = desk.open_desk(stack, tenant)
        conversation.answer(review.resolved(here, conversation, where, said, yes=yes))


@mapping_app.command("check")
def mapping_check(file: Annotated[Path, typer.Argument()], *, as_json: Json = False) -> None:
    """Check the sync documents of a file. Needs no AWS."""
    with talk(as_json) as conversation:
        from tieout.cli import mapping

        conversation.answer(mapping.check(file))


@mapping_app.command("show")
def mapping_show(
    sync: Annotated[str, typer.Argument(help="Name of a running sync, or a file.")],
    *,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Show what becomes what, field by field."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, mapping

        is_file = Path(sync).is_file()
        syncs = mapping.from_file(Path(sync)) if is_file else mapping.deployed(desk.open_desk(stack, tenant), sync)
        conversation.answer(mapping.show(syncs))


@mapping_app.command("explain")
def mapping_explain(
    sync: Annotated[str, typer.Argument(help="Name of a running sync, or a file.")],
    record: Annotated[str, typer.Argument(help="Id of the record.")],
    *,
    step: Annotated[str, typer.Option(help="Only this step.")] = "",
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Show how each value of a record comes to be."""
    with talk(as_json) as conversation:
        from tieout.cli import desk, mapping

        here = desk.open_desk(stack, tenant)
        syncs = mapping.from_file(Path(sync)) if Path(sync).is_file() else mapping.deployed(here, sync)
        conversation.answer(mapping.explain(here, syncs, record, only=step))


@mapping_app.command("preset")
def mapping_preset(
    name: Annotated[str, typer.Argument(help="Without it, the names of all presets.")] = "", *, as_json: Json = False
) -> None:
    """Print a sync document to start from."""
    with talk(as_json) as conversation:
        from tieout.cli import mapping

        conversation.answer(mapping.preset_of(name))


@audit_app.command("verify")
def audit_verify(*, tenant: Tenant = TENANT, stack: Stack = STACK, as_json: Json = False) -> None:
    """Check that the trail is whole and that replaying it gives today's links; exit status 1 if not."""
    with talk(as_json) as conversation:
        from tieout.cli import audit, desk

        conversation.answer(audit.verify(desk.open_desk(stack, tenant), conversation))


@audit_app.command("export")
def audit_export(
    *,
    record: Annotated[str, typer.Option(help="Only this record: sync/step/id, or its id alone.")] = "",
    since: Annotated[str, typer.Option(help="From this day or time on, UTC: 2026-11-22.")] = "",
    until: Annotated[str, typer.Option(help="Until the end of this day, or before this time.")] = "",
    form: Annotated[str, typer.Option("--format", help="jsonl, as in the archive, or csv.")] = "jsonl",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file, not the standard output.")] = None,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Write the trail's entries, one a line."""
    with talk(as_json) as conversation:
        from tieout.cli import audit, desk

        asked, written = audit.wanted(record, since, until), audit.form_of(form)
        conversation.answer(audit.export(desk.open_desk(stack, tenant), conversation, asked, written, output))


@audit_app.command("show")
def audit_show(
    record: Annotated[str, typer.Argument(help="sync/step/id, or the record's id alone.")],
    *,
    tenant: Tenant = TENANT,
    stack: Stack = STACK,
    as_json: Json = False,
) -> None:
    """Tell what happened to a record, from the beginning."""
    with talk(as_json) as conversation:
        from tieout.cli import audit, desk

        conversation.answer(audit.shown(desk.open_desk(stack, tenant), conversation, record))


Data = Annotated[Path | None, typer.Option("--data", help="The agent's folder.")]
Beside = Annotated[str, typer.Argument(metavar="[CONNECTION]", help="Of several: which, such as acme.tally.")]
SecretsFile = Annotated[str, typer.Option(help="JSON object of secrets; - reads the standard input.")]


@agent_app.command("install")
def agent_install(
    code: Annotated[str, typer.Argument(help="As `tieout connect` printed it.")],
    *,
    address: Annotated[str, typer.Option(help="As `tieout connect` printed it: https://…/bridge/….")],
    data: Data = None,
    proxy: Annotated[str | None, typer.Option(help="The office's proxy; else HTTPS_PROXY.")] = None,
    ca: Annotated[Path | None, typer.Option(help="PEM file of further authorities to trust.")] = None,
    secrets_file: SecretsFile = "",
    as_json: Json = False,
) -> None:
    """Enrol this computer for a connection, and try the system beside it."""
    with talk(as_json) as conversation:
        from tieout.cli import agent

        wish = agent.Wish(proxy=proxy, ca=ca, secrets_file=secrets_file)
        conversation.answer(agent.install(conversation, agent.folder_of(data), address, code, wish))


@agent_app.command("run")
def agent_run(*, data: Data = None, as_json: Json = False) -> None:
    """Work for all connections of the folder; Ctrl-C ends it in order."""
    with talk(as_json) as conversation:
        from tieout.cli import agent

        conversation.answer(agent.run(conversation, agent.folder_of(data)))


@agent_app.command("status")
def agent_status(*, data: Data = None, as_json: Json = False) -> None:
    """Say whether all is well, and what to do if not."""
    with talk(as_json) as conversation:
        from tieout.cli import agent

        conversation.answer(agent.status(agent.folder_of(data)))


@agent_app.command("check")
def agent_check(
    connection: Beside = "",
    *,
    ask: Annotated[bool, typer.Option("--ask", help="Ask for every secret again.")] = False,
    yes: Yes = False,
    data: Data = None,
    secrets_file: SecretsFile = "",
    as_json: Json = False,
) -> None:
    """Try the system beside this computer, and agree to changed settings or give new passwords."""
    with talk(as_json) as conversation:
        from tieout.cli import agent

        folder = agent.folder_of(data)
        conversation.answer(agent.check(conversation, folder, connection, ask=ask, secrets_file=secrets_file, yes=yes))


@agent_app.command("service")
def agent_service(
    *,
    system: Annotated[str, typer.Option("--for", help="windows, linux or macos; else this computer's.")] = "",
    into: Annotated[Path, typer.Option(help="Where to write the file.")] = Path(),
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Write the file that makes the agent start with the computer, and say what to do with it."""
    with talk(as_json) as conversation:
        from tieout.cli import agent

        conversation.answer(agent.service_for(agent.folder_of(data), system, into))


@agent_app.command("remove")
def agent_remove(connection: Beside = "", *, yes: Yes = False, data: Data = None, as_json: Json = False) -> None:
    """Forget a connection on this computer: its key and its passwords."""
    with talk(as_json) as conversation:
        from tieout.cli import agent

        conversation.answer(agent.remove(conversation, agent.folder_of(data), connection, yes=yes))


def add_plugins(wanted: str) -> None:
    """Add what other installed packages bring: each entry point of `tieout.commands` is a typer app.

    Only the `wanted` one is loaded; the others are just named in the help.
    """
    known = {group.name for group in app.registered_groups}
    for point in entry_points(group=PLUGINS):
        if point.name not in known:
            app.add_typer(point.load() if point.name == wanted else _named(point), name=point.name)


def _named(point: EntryPoint) -> typer.Typer:
    summary = point.dist.metadata.get("Summary", "") if point.dist is not None else ""
    named = typer.Typer(help=summary)
    named.callback(invoke_without_command=True)(lambda: None)
    return named


def run() -> None:
    """The console script."""
    add_plugins(next(iter(sys.argv[1:]), ""))
    app()
