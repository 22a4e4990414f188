"""``policy`` and ``exempt``: whether the policy file is right, what it comes to, and what to write into it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from pydantic import ValidationError
from rich.text import Text

from detectors import RULES
from hubwarden.cli import screen
from hubwarden.cli.lookup import found, hub_named
from hubwarden.cli.output import Output, OutputOption, print_json
from hubwarden.cli.running import TROUBLE, run, words
from hubwarden.cli.surroundings import CommandError, Surroundings
from hubwarden.domain.exemption import Exemption
from hubwarden.domain.explain import Explained, explain
from hubwarden.domain.finding import Finding
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.policy import Policy, Problem, check_policy, policy_lines, policy_schema
from hubwarden.domain.rule import Rule
from hubwarden.domain.where import ASKED, Tags
from hubwarden.service.gate import kill_switch
from hubwarden.service.ports import Ports


app = typer.Typer(no_args_is_help=True, help="The policy file: is it right, and what does it come to?")


def register(root: typer.Typer) -> None:
    """Add these commands to the command line."""
    root.add_typer(app, name="policy")
    root.command("exempt")(exempt)


@app.command()
def validate(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Else the one that the settings name.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say everything that is wrong with a policy file, with its lines. Ends with 1 where anything is."""
    run(_validate(context.obj, file, output))


@app.command("explain")
def explain_(
    context: typer.Context,
    hub: Annotated[str, typer.Argument(metavar="HUB", help="Its name, or its resource id.")],
    *,
    rule: Annotated[str | None, typer.Option(metavar="RULE", help="Only this rule.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="As if these were the hub's tags.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what would happen with a drift now, rule by rule, and which line of the file says so."""
    run(_explain(context.obj, hub, rule, tag or [], output))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the policy file, for editors."""
    print_json(policy_schema(RULES))


def exempt(
    context: typer.Context,
    finding: Annotated[str, typer.Argument(metavar="FINDING", help="The id, as `findings` shows it.")],
    *,
    until: Annotated[str, typer.Option(metavar="DAY", help="The last day on which it holds, such as 2027-01-31.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why the drift is accepted.")],
    owner: Annotated[str, typer.Option(metavar="NAME", help="Who answers for it.")],
) -> None:
    """Print the lines that make a finding exempt, for the policy file. Nothing is changed by this."""
    run(_exempt(context.obj, finding, until, reason, owner))


async def _validate(around: Surroundings, file: Path | None, output: Output) -> int:
    name = file or _named(around)
    policy, problems = check_policy(_text(name), RULES, today=datetime.now(UTC).date())
    if output is Output.JSON:
        print_json(
            {"file": str(name), "usable": policy is not None, "problems": [_told(each) for each in problems]}
        )
    else:
        for problem in problems:
            screen.console().print(Text(screen.plain(f"{name}: {problem}")), soft_wrap=True)
        if not problems:
            screen.console().print(Text(f"{name} is right"))
    return TROUBLE if problems else 0


async def _explain(around: Surroundings, name: str, rule: str | None, given: Sequence[str], output: Output) -> int:
    async with around.service() as service:
        ports, text = service.ports, _text(service.settings.policy_file)
        hub = await hub_named(ports, name)
        if not ports.policy.watches(hub):
            raise CommandError(f"{hub} is in no subscription that the policy file names: it is not looked at")
        tags = _tags(given) if given else await _known_tags(ports, hub)
        rules = _rules(ports, rule)
        notes = await _in_the_way(ports, hub, {each.id for each in rules})
    pairs = [(each, ports.remediators.get(each.id)) for each in rules]
    told = list(explain(ports.policy, pairs, hub, tags, now=ports.clock.now(), lines=policy_lines(text)))
    if output is Output.JSON:
        print_json(
            {
                "hub": hub.path,
                "tags": None if tags is None else _shown(tags),
                "tags_not_read": [] if tags is None else ports.policy.tags_not_read(tags),
                "notes": notes,
                "rules": [_as_json(each) for each in told],
            }
        )
    else:
        _show_tags(hub, tags, [] if tags is None else ports.policy.tags_not_read(tags))
        for note in notes:
            screen.console().print(Text(f"but now: {screen.plain(note)}"), soft_wrap=True)
        _show(told, str(service.settings.policy_file))
    return 0


def _rules(ports: Ports, wanted: str | None) -> list[Rule]:
    rules = [each for each in ports.rules if wanted in {None, each.id}]
    if not rules:
        raise CommandError(f"no rule {wanted}; there are: {', '.join(each.id for each in ports.rules)}")
    return rules


async def _in_the_way(ports: Ports, hub: HubId, rules: Collection[str]) -> list[str]:
    """What stops the machine now, whatever the policy file says."""
    kill, stored = await kill_switch(ports), await ports.safety.ledger()
    notes = [f"{kill}: no hub is written"] if kill else []
    if stored and stored.value.tripped:
        notes.append(f"all automatic fixing has stopped: {stored.value.tripped}")
    notes += [str(asked) for rule, asked in stored.value.asked.items() if rule in rules] if stored else []
    for finding in [each.value for each in await ports.findings.of_hub(hub)]:
        if finding.rule_id in rules and finding.hold is not None:
            notes.append(f"{finding.id} ({finding.rule_id}) is held by {finding.hold.by}: {finding.hold.reason}")
    return notes


async def _exempt(around: Surroundings, finding_id: str, until: str, reason: str, owner: str) -> int:
    async with around.service() as service:
        finding, policy = await found(service.ports, finding_id), service.ports.policy
        today = service.ports.clock.now().astimezone(UTC).date()
    if finding.rollback is not None:
        raise CommandError(
            f"{finding.id} is no drift but the rollback of a fix, and nothing is exempt by it: to be rid of it, "
            "`reject` its plan; to accept what the fix was for, exempt "
            f"{' or '.join(finding.rollback.findings)}"
        )
    exemption = _exemption(finding, until, words(reason), owner)
    _check_in_time(policy, exemption, today)
    entry = exemption.model_dump(exclude_none=True)
    typer.echo(yaml.safe_dump([entry], sort_keys=False, allow_unicode=True, width=1000).rstrip())
    screen.complain("nothing was changed: add these lines to `exemptions:` in the policy file, and deploy it")
    return 0


def _exemption(finding: Finding, until: str, reason: str, owner: str) -> Exemption:
    try:
        return Exemption.model_validate({
            "rule": finding.rule_id,
            "hub": finding.hub.path,
            "subject": finding.subject or None,
            "until": until,
            "reason": reason,
            "owner": owner,
        })  # fmt: skip
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise CommandError(f"--{first['loc'][0]} {first['msg'].removeprefix('Value error, ')}") from None


def _check_in_time(policy: Policy, exemption: Exemption, today: date) -> None:
    last = today + timedelta(days=policy.exemption_max_days)
    if not today <= exemption.until <= last:
        raise CommandError(f"--until {exemption.until} must be a day from {today} to {last} (exemption_max_days)")


async def _known_tags(ports: Ports, hub: HubId) -> Tags | None:
    stored = await ports.records.get(hub)
    return stored.value.tags if stored else None


def _tags(given: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if not all(name.strip() and sign for name, sign, _ in pairs):
        raise CommandError("--tag is written NAME=VALUE")
    return {name.strip(): value for name, _, value in pairs}


def _named(around: Surroundings) -> Path:
    return Path(around.env.get("HUBWARDEN_POLICY") or "policy.yaml")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from None


def _show_tags(hub: HubId, tags: Tags | None, not_read: Sequence[str]) -> None:
    out = screen.console()
    said = "not known: the hub was not looked at yet" if tags is None else _listed(_shown(tags))
    out.print(Text(f"{hub.path}\ntags that the policy file asks about: {screen.plain(said)}"), soft_wrap=True)
    if not_read:
        names = screen.plain(", ".join(not_read))
        out.print(Text(f"not known until the hub is looked at again: {names}"), soft_wrap=True)


def _show(told: Sequence[Explained], file: str) -> None:
    out = screen.console()
    for each in told:
        out.print(Text(f"\n{each.rule} (mode {each.mode}): {each.action or 'nothing'}", style="bold"))
        out.print(Text(f"  {screen.plain(each.reason)}"), soft_wrap=True)
        for line in each.lines:
            where = f"{file}:{line.line}" if line.line else "not in the file, so by default"
            out.print(Text(f"  {line.place}: {screen.plain(where)}"), soft_wrap=True)


def _shown(tags: Tags) -> dict[str, Any]:
    return {name: value for name, value in tags.items() if name != ASKED}


def _listed(tags: Tags) -> str:
    return ", ".join(f"{name}={value}" for name, value in tags.items()) or "none"


def _as_json(told: Explained) -> dict[str, Any]:
    return {
        "rule": told.rule,
        "mode": told.mode.value,
        "action": told.action and told.action.value,
        "reason": told.reason,
        "lines": [{"place": line.place, "line": line.line} for line in told.lines],
    }


def _told(problem: Problem) -> dict[str, Any]:
    return {
        "line": problem.line, "path": problem.path, "message": problem.message, "expired": problem.expired,
    }  # fmt: skip
