"""The commands: read what was asked for, call one use case, print what it says."""

from __future__ import annotations

import logging

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from hubwarden.cli import audit, limits, policy, role, screen, shapes
from hubwarden.cli import rollback as undo
from hubwarden.cli.lookup import found as _found
from hubwarden.cli.lookup import hub_named as _hub
from hubwarden.cli.output import ByOption, Output, OutputOption, print_json
from hubwarden.cli.refusals import refusals_told
from hubwarden.cli.running import TROUBLE, fail, run, words
from hubwarden.cli.surroundings import CommandError, Surroundings
from hubwarden.domain.finding import Finding, State
from hubwarden.domain.policy import ALL
from hubwarden.service.approve import approve, reject
from hubwarden.service.messages import SweepMessage
from hubwarden.service.overview import Overview, overview
from hubwarden.service.preview import preview
from hubwarden.service.recount import recount


CLEAN: Final = 0
DRIFT: Final = 2


_FindingId = Annotated[str, typer.Argument(metavar="FINDING", help="The id, as `findings` shows it.")]
_Plan = Annotated[str, typer.Option(metavar="DIGEST", help="The plan, as `show` shows it.")]
_Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept with the finding.")]

app = typer.Typer(
    name="python -m hubwarden.cli", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
app.add_typer(audit.app, name="audit")
policy.register(app)
limits.register(app)
role.register(app)


def main(arguments: Sequence[str]) -> int:
    """Run one command; its exit code. A command line that is wrong is trouble, for 2 says that there is drift."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # What it says of the policy file is in our own words already.
    for name in ("hubwarden.bootstrap", "hubwarden.entrances"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return int(app(arguments, standalone_mode=False) or CLEAN)
    except typer.TyperException as error:
        screen.complain(error.format_message())
        screen.complain("--help says what can be asked for")
    except typer.Abort:
        screen.complain("nothing was decided and nothing was changed")
    return TROUBLE


@app.callback()
def settings(
    context: typer.Context,
    settings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A local.settings.json; what the environment says goes before it."),
    ] = None,
) -> None:
    """What hubwarden has found, and your word on it."""
    around = context.ensure_object(Surroundings)
    if settings is not None:
        try:
            around.lay_under(settings)
        except CommandError as error:
            fail(error)


@app.command()
def findings(
    context: typer.Context,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Also what is resolved.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the drifts, and what could not be judged.

    Ends with 0 where all is well, 2 where there is drift, 1 where not all could be judged or something is wrong.
    """
    run(_findings(context.obj, resolved=all_, output=output))


@app.command()
def show(context: typer.Context, finding: _FindingId, output: OutputOption = Output.TABLE) -> None:
    """Show one finding: what was seen, what happened, and the plan that waits for a word."""
    run(_show(context.obj, finding, output))


@app.command("plan")
def plan_(context: typer.Context, finding: _FindingId, output: OutputOption = Output.TABLE) -> None:
    """Read the hub now, with your own sign-in, and show what would end the drift. Nothing is written."""
    run(_plan_now(context.obj, finding, output))


_sweep_app = typer.Typer(no_args_is_help=True, help="Have every hub looked at.")
app.add_typer(_sweep_app, name="sweep")


@_sweep_app.callback()
def _sweeps() -> None:
    """So that `now` is a word of its own."""


@_sweep_app.command("now")
def sweep_now(context: typer.Context) -> None:
    """Have every hub looked at now, instead of with the next timer."""
    run(_sweep(context.obj))


@app.command("approve")
def approve_(
    context: typer.Context,
    finding: _FindingId,
    *,
    plan: _Plan = "",
    reason: _Reason = "no reason given",
    by: ByOption = None,
) -> None:
    """Say yes to a plan, and have it carried out. Without --plan it is shown, and you are asked."""
    run(_approve(context.obj, finding, plan, reason, by))


@app.command("reject")
def reject_(
    context: typer.Context, finding: _FindingId, *, plan: _Plan, reason: _Reason, by: ByOption = None
) -> None:
    """Say no to a plan: nothing is fixed unless the drift changes, or goes and comes back."""
    run(_reject(context.obj, finding, plan, reason, by))


@app.command()
def count(
    context: typer.Context,
    hub: Annotated[str, typer.Argument(metavar="HUB", help="Its name, or its resource id.")],
) -> None:
    """Have a hub's devices counted now, instead of with the next regular count."""
    run(_count(context.obj, hub))


@app.command()
def remediations(
    context: typer.Context,
    hub: Annotated[str, typer.Argument(metavar="HUB", help="Its name, or its resource id; else all.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """List what hubwarden has written in the last 90 days, and what became of it."""
    run(_remediations(context.obj, hub, output))


@app.command()
def rollback(
    context: typer.Context,
    remediation: Annotated[str, typer.Argument(help="The id, as `remediations` shows it.")],
    *,
    reason: _Reason,
    by: ByOption = None,
) -> None:
    """Ask that a fix be undone: the plan waits for an approval, and says what would not be as it was."""
    run(_rollback(context.obj, remediation, reason, by))


async def _findings(around: Surroundings, *, resolved: bool, output: Output) -> int:
    async with around.service() as service:
        known = await overview(service.ports, resolved=resolved)
        warnings: list[str] = (await service.on_health())["warnings"]
    if output is Output.JSON:
        print_json(shapes.of_overview(known, warnings))
    else:
        screen.show_overview(known)
    for warning in warnings:
        screen.complain(warning)
    return _code(known, warnings)


def _code(known: Overview, warnings: Sequence[str]) -> int:
    if known.drifting:
        return DRIFT
    return TROUBLE if known.not_judged or warnings else CLEAN


async def _show(around: Surroundings, finding_id: str, output: Output) -> int:
    async with around.service() as service:
        finding = await _found(service.ports, finding_id)
    if output is Output.JSON:
        print_json(shapes.of_finding_whole(finding))
    else:
        screen.show_finding(finding)
    return CLEAN


async def _plan_now(around: Surroundings, finding_id: str, output: Output) -> int:
    async with around.service() as service:
        made = await preview(service.ports, finding_id)
    if output is Output.JSON:
        print_json(shapes.of_preview(made))
    else:
        screen.show_preview(made)
    return CLEAN


async def _sweep(around: Surroundings) -> int:
    async with around.writing() as service:
        await service.ports.work.send(SweepMessage(subscription=ALL))
    typer.echo("a sweep begins now; `findings` tells what comes of it")
    return CLEAN


async def _approve(around: Surroundings, finding_id: str, plan: str, reason: str, by: str | None) -> int:
    decider = around.decider(by)
    async with around.writing() as service:
        seen = plan or _asked_for(around, await _found(service.ports, finding_id))
        async with refusals_told(service.ports, finding_id):
            finding = await approve(service.ports, finding_id, plan=seen, by=decider, reason=words(reason))
    if finding.state is State.AWAITING_APPROVAL:
        typer.echo(f"agreed to by {screen.plain(str(decider))}: it waits for somebody else to agree too")
        return CLEAN
    typer.echo(f"approved by {screen.plain(str(decider))}: the plan for {finding.hub.name} is carried out now")
    return CLEAN


def _asked_for(around: Surroundings, finding: Finding) -> str:
    """The digest of the plan that was shown and agreed to; nobody approves what they have not seen."""
    if finding.state is not State.AWAITING_APPROVAL or finding.proposal is None:
        stands = f"it is {finding.state}: {finding.history[-1].reason}"
        raise CommandError(f"finding {finding.id} does not wait for an approval, {stands}")
    screen.show_finding(finding)
    if not around.is_terminal():
        raise CommandError(
            f"nothing was decided: look at the plan, then say --plan {finding.proposal.digest} if it is right"
        )
    typer.confirm("Carry out this plan?", abort=True, err=True)
    return finding.proposal.digest


async def _reject(around: Surroundings, finding_id: str, plan: str, reason: str, by: str | None) -> int:
    decider = around.decider(by)
    async with around.writing() as service, refusals_told(service.ports, finding_id):
        finding = await reject(service.ports, finding_id, plan=plan, by=decider, reason=words(reason))
    typer.echo(f"rejected by {screen.plain(str(decider))}: {finding.hub.name} is left as it is")
    return CLEAN


async def _count(around: Surroundings, name: str) -> int:
    async with around.writing() as service:
        hub = await _hub(service.ports, name)
        await recount(service.ports, hub)
    typer.echo(f"the devices of {hub.name} are counted now; `findings` tells what comes of it")
    return CLEAN


async def _remediations(around: Surroundings, name: str, output: Output) -> int:
    async with around.service() as service:
        hub = await _hub(service.ports, name) if name else None
        known = await undo.written(service.ports, hub)
    (undo.show_json if output is Output.JSON else undo.show)(known)
    return CLEAN


async def _rollback(around: Surroundings, remediation_id: str, reason: str, by: str | None) -> int:
    await undo.ask(around, remediation_id, words(reason), by)
    return CLEAN
