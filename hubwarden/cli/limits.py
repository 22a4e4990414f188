"""The commands that stop what runs by itself, and let it go on. docs/limits.md says when."""

from __future__ import annotations

from typing import Annotated

import typer

from hubwarden.cli import screen
from hubwarden.cli.output import ByOption
from hubwarden.cli.refusals import refused
from hubwarden.cli.running import run, words
from hubwarden.cli.surroundings import CommandError, Surroundings
from hubwarden.service import operate
from hubwarden.service.errors import StorageUnavailableError


_Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; people read it wherever something waits.")]

breaker = typer.Typer(no_args_is_help=True, help="What stops all automatic fixing where fixes fail.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("kill")(kill)
    app.command("resume")(resume)
    app.command("hold")(hold)
    app.command("release")(release)
    app.add_typer(breaker, name="breaker")


def kill(context: typer.Context, *, reason: _Reason, by: ByOption = None) -> None:
    """Stop every write to Azure, automatic or approved, until `resume`. What waits is not lost."""
    run(_kill(context.obj, reason, by))


def resume(context: typer.Context, *, by: ByOption = None) -> None:
    """End what `kill` began: the work goes on."""
    run(_resume(context.obj, by))


def hold(
    context: typer.Context,
    finding: Annotated[str, typer.Argument(metavar="FINDING", help="The id, as `findings` shows it.")],
    *,
    reason: _Reason,
    by: ByOption = None,
) -> None:
    """Let no machine touch this drift until `release`."""
    run(_hold(context.obj, finding, reason, by))


def release(
    context: typer.Context,
    finding: Annotated[str | None, typer.Argument(metavar="FINDING", help="What was held.")] = None,
    *,
    rule: Annotated[str | None, typer.Option(metavar="RULE", help="A rule that the share limit holds.")] = None,
    by: ByOption = None,
) -> None:
    """End a hold of one finding, or say yes to fixing the many hubs that drift of one rule now."""
    run(_release(context.obj, finding, rule, by))


@breaker.command("reset")
def reset(context: typer.Context, *, by: ByOption = None) -> None:
    """Let automatic fixes run again after too many have failed."""
    run(_reset(context.obj, by))


async def _kill(around: Surroundings, reason: str, by: str | None) -> int:
    decider, why = around.decider(by), words(reason)
    async with around.service() as service:
        try:
            thrown = await service.kill(by=str(decider), reason=why)
        except StorageUnavailableError as error:
            raise CommandError(
                f"{error}; it is not certain that writing stops: set the app setting HUBWARDEN_KILL=1 "
                "(docs/emergency.md says how)"
            ) from None
    typer.echo(f"{screen.plain(str(thrown))}: no hub is written until `resume`")
    return 0


async def _resume(around: Surroundings, by: str | None) -> int:
    decider = around.decider(by)
    async with around.writing() as service, refused(service.ports, "resume", "", decider):
        hubs = await operate.resume(service.ports, by=str(decider))
    typer.echo(f"the kill switch is off: work goes on for {hubs} hub(s)")
    return 0


async def _hold(around: Surroundings, finding_id: str, reason: str, by: str | None) -> int:
    decider, why = around.decider(by), words(reason)
    async with around.writing() as service, refused(service.ports, "hold", finding_id, decider):
        finding = await operate.hold(service.ports, finding_id, by=str(decider), reason=why)
    typer.echo(f"{finding.id} on {finding.hub.name} is held by {screen.plain(str(decider))} until `release`")
    return 0


async def _release(around: Surroundings, finding_id: str | None, rule: str | None, by: str | None) -> int:
    decider = around.decider(by)
    if (finding_id is None) == (rule is None):
        raise CommandError("say what to release: a finding, or --rule RULE")
    about = str(finding_id if rule is None else rule)
    async with around.writing() as service, refused(service.ports, "release", about, decider):
        if rule is not None:
            word = await operate.release_rule(service.ports, rule, by=str(decider))
            until = f"{word.until:%Y-%m-%d %H:%M} UTC"
            told = f"{len(word.hubs)} hub(s) are fixed at the rate that limits allow, until {until}"
        else:
            finding = await operate.release(service.ports, about, by=str(decider))
            told = f"{finding.id} on {finding.hub.name} is released: policy decides anew"
    typer.echo(told)
    return 0


async def _reset(around: Surroundings, by: str | None) -> int:
    decider = around.decider(by)
    async with around.writing() as service, refused(service.ports, "breaker reset", "", decider):
        why = await operate.reset_breaker(service.ports, by=str(decider))
    typer.echo(f"automatic fixes run again; they had stopped because {screen.plain(why)}")
    return 0
