"""`audit verify` and `audit export`: whether the trail is whole, and its lines for somebody else to keep."""

from __future__ import annotations

import sys

from datetime import date, datetime
from typing import Annotated, Final

import typer

from rich.table import Table
from rich.text import Text

from hubwarden.cli import screen
from hubwarden.cli.output import Output, OutputOption, print_json
from hubwarden.cli.running import TROUBLE, run
from hubwarden.cli.surroundings import CommandError, Surroundings
from hubwarden.domain.audit import Head, Verdict, kind_of
from hubwarden.domain.jsons import JsonObject
from hubwarden.service.trail import export_trail, verify_trail


_WHOLE: Final = 0
_SHOWN: Final = 50
_DAYS: Final = ["%Y-%m-%d"]

app = typer.Typer(no_args_is_help=True, help="The audit trail: whether nobody touched it, and its lines.")


@app.command()
def verify(
    context: typer.Context,
    since: Annotated[
        datetime | None,
        typer.Option(formats=_DAYS, metavar="DAY", help="Only from this day (UTC) on, as 2026-11-23."),
    ] = None,
    head: Annotated[
        str, typer.Option(metavar="SEQ:HASH", help="A head noted earlier: prove that nothing was cut off since.")
    ] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Check the chain, line by line, and tell its head.

    Ends with 0 where it is whole, and 1 where lines were changed, removed, put in or moved, or it cannot be read.
    """
    run(_verify(context.obj, since.date() if since else None, head, output))


@app.command()
def export(
    context: typer.Context,
    since: Annotated[datetime, typer.Option(formats=_DAYS, metavar="DAY", help="The first day (UTC).")],
    until: Annotated[datetime, typer.Option(formats=_DAYS, metavar="DAY", help="The last day, included.")],
    kind: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="Only lines of this kind; repeatable.")
    ] = None,
) -> None:
    """Print the lines of some days, as they are: JSON lines."""
    run(_export(context.obj, since.date(), until.date(), frozenset(kind or ())))


async def _verify(around: Surroundings, since: date | None, head: str, output: Output) -> int:
    noted = _head(head) if head else None
    async with around.service() as service:
        verdict = await verify_trail(service.audit_reader, since=since, noted=noted)
    if output is Output.JSON:
        print_json(_shape(verdict))
    else:
        _show(verdict)
    return _WHOLE if verdict.whole else TROUBLE


async def _export(around: Surroundings, since: date, until: date, kinds: frozenset[str]) -> int:
    if until < since:
        raise CommandError(f"--until {until} is before --since {since}")
    unreadable = 0
    async with around.service() as service:
        async for line in export_trail(service.audit_reader, since=since, until=until):
            kind = kind_of(line) if kinds else None
            unreadable += bool(kinds) and kind is None
            if not kinds or kind in kinds:
                sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
    if unreadable:
        screen.complain(f"{unreadable} lines that cannot be read were left out: `audit verify` says which")
        return TROUBLE
    return _WHOLE


def _head(text: str) -> Head:
    try:
        return Head.parse(text)
    except ValueError as error:
        raise CommandError(str(error)) from None


def _shape(verdict: Verdict) -> JsonObject:
    head = verdict.head
    return {
        "whole": verdict.whole,
        "blobs": verdict.blobs,
        "lines": verdict.lines,
        "unchained": verdict.unchained,
        "first": verdict.first.seq if verdict.first else None,
        "head": {"seq": head.seq, "hash": head.hash} if head else None,
        "problems": [
            {"blob": problem.blob or None, "line": problem.line or None, "what": problem.what}
            for problem in verdict.problems
        ],
        "notes": list(verdict.notes),
    }


def _show(verdict: Verdict) -> None:
    typer.echo(f"{'Whole' if verdict.whole else 'NOT WHOLE'}: {verdict.lines} lines in {verdict.blobs} blobs.")
    if verdict.head:
        typer.echo(f"Head: {verdict.head}")
    for note in verdict.notes:
        typer.echo(f"Note: {note}.")
    if verdict.problems:
        table = Table("blob", "line", "what", box=None, pad_edge=False)
        for problem in verdict.problems[:_SHOWN]:
            table.add_row(Text(problem.blob), Text(str(problem.line or "")), Text(screen.plain(problem.what)))
        screen.console().print(table)
    if len(verdict.problems) > _SHOWN:
        typer.echo(f"… and {len(verdict.problems) - _SHOWN} more: --output json names them all.")
