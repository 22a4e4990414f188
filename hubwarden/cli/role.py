"""``role``: the custom roles of Azure that rules and their modes need, for who makes them by hand."""

from __future__ import annotations

import json
import re

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from detectors import RULES
from detectors.diagnostics import member_of
from hubwarden.cli import screen
from hubwarden.cli.running import fail
from hubwarden.cli.surroundings import CommandError
from hubwarden.domain.policy import ALL, Policy, check_policy
from hubwarden.domain.roles import (
    Modes,
    Role,
    destinations_of,
    modes_of,
    on_destination,
    reader,
    remediator,
)
from hubwarden.domain.rule import Mode
from remediators import REMEDIATORS


class Kind(StrEnum):
    """Which of the roles."""

    READER = "reader"
    REMEDIATOR = "remediator"
    DESTINATION = "destination"


_NOWHERE: Final = "/subscriptions/00000000-0000-0000-0000-000000000000"
_GUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_GROUP: Final = "/providers/microsoft.management/managementgroups/"
_SCOPE: Final = re.compile(
    rf"/subscriptions/{_GUID}(?:/resourcegroups/[^/\s]+)?|{re.escape(_GROUP)}[^/\s]+", re.IGNORECASE
)
_LONGEST: Final = 128
"""Of a role's name, in Azure."""
_WHAT: Final[Mapping[Kind, str]] = {
    Kind.READER: "What hubwarden needs to look at IoT hubs.",
    Kind.REMEDIATOR: "What hubwarden needs beyond that to fix.",
    Kind.DESTINATION: "What hubwarden needs on a destination of IoT hubs' logs.",
}


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the roles are to be for, wherever that was said."""

    modes: Modes
    destinations: Mapping[str, Modes]
    scopes: tuple[str, ...]
    observes: bool = False
    watches_all: bool = False


def register(root: typer.Typer) -> None:
    """Add this command to the command line."""
    root.command("role")(role)


def role(
    *,
    rules: Annotated[
        str | None, typer.Option(metavar="RULE,…", help="For these rules; all others are off.")
    ] = None,
    mode: Annotated[Mode | None, typer.Option(help="Their mode; report by default.")] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Else: for the rules and modes of this policy file.")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="Where the roles can be assigned: a subscription, a resource group or a management group.",
        ),
    ] = None,
    destination: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="With --rules: what diagnostics sends logs to.")
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="How their names begin.")] = "hubwarden",
    only: Annotated[
        Kind | None, typer.Option(help="Only this one, as `az role definition create` takes it.")
    ] = None,
) -> None:
    """Print the custom roles that the app's identity needs in Azure. Nothing is created by this."""
    try:
        places = [_scope(each) for each in scope or []]
        sent = [_destination(each) for each in destination or []]
        if policy is None:
            wish = _of_rules(rules, mode, places, sent)
        else:
            _check_alone(rules, mode, sent)
            wish = _of_policy(_read(policy), places)
        made = list(_roles(wish, name))
        typer.echo(json.dumps([body for _, body in made] if only is None else _one(made, only), indent=2))
    except CommandError as error:
        fail(error)


def _check_alone(*others: object) -> None:
    if any(others):
        raise CommandError("the policy file says rules, modes and destinations: leave those options out")


def _one(made: Sequence[tuple[Kind, Mapping[str, Any]]], only: Kind) -> Mapping[str, Any]:
    roles = [body for kind, body in made if kind is only]
    if not roles:
        raise CommandError(f"no {only} role: nothing here needs one")
    if len(roles) > 1:
        raise CommandError(f"there are {len(roles)} {only} roles: leave --only out to see them all")
    return roles[0]


def _of_rules(rules: str | None, mode: Mode | None, scopes: Sequence[str], destinations: Sequence[str]) -> _Wish:
    if rules is None:
        raise CommandError("say --rules or --policy")
    named = [rule_id for part in rules.split(",") if (rule_id := part.strip())]
    wrong = [rule_id for rule_id in named if rule_id not in {rule.id for rule in RULES}]
    if wrong or not named:
        known = ", ".join(rule.id for rule in RULES)
        raise CommandError(f"no rule {', '.join(wrong) or 'is named'}; there are: {known}")
    modes = {rule_id: {mode or Mode.REPORT} for rule_id in named}
    if destinations and not any(rule.permissions.on_destination for rule in RULES if rule.id in named):
        raise CommandError("none of these rules sends logs anywhere: leave --destination out")
    if not scopes:
        screen.complain(f"say with --scope where the roles can be assigned; {_NOWHERE} stands for it")
    if not destinations and mode in {Mode.APPROVE, Mode.AUTO} and any(map(_writes_to_destination, named)):
        screen.complain("a fix takes rights on the destination of the logs too: say --destination")
    return _Wish(modes, dict.fromkeys(destinations, modes), tuple(scopes) or (_NOWHERE,))


def _writes_to_destination(rule_id: str) -> bool:
    return rule_id in REMEDIATORS and bool(REMEDIATORS[rule_id].permissions.on_destination)


def _of_policy(policy: Policy, scopes: Sequence[str]) -> _Wish:
    if policy.watches_all and not scopes:
        raise CommandError("the policy file says subscriptions: [all]: say with --scope where that is")
    watched = [f"/subscriptions/{each}" for each in policy.subscriptions if each != ALL]
    return _Wish(
        modes_of(policy, RULES),
        destinations_of(policy, RULES),
        tuple(scopes or watched),
        policy.observes,
        policy.watches_all,
    )


def _roles(wish: _Wish, name: str) -> Iterator[tuple[Kind, Mapping[str, Any]]]:
    on_group = any(each.lower().startswith(_GROUP) for each in wish.scopes)
    looks = reader(RULES, wish.modes, lists_subscriptions=wish.watches_all or on_group)
    if on_group and looks.data_actions:
        screen.complain(
            f"a role with data actions cannot be assigned on a management group: {', '.join(looks.data_actions)} "
            "is left out; assign the built-in role IoT Hub Data Reader there as well"
        )
        looks = Role(looks.actions)
    yield Kind.READER, _shown(Kind.READER, f"{name} reader", looks, wish.scopes)
    fixes = remediator(RULES, REMEDIATORS, wish.modes, observes=wish.observes)
    if fixes is not None:
        yield Kind.REMEDIATOR, _shown(Kind.REMEDIATOR, f"{name} remediator", fixes, wish.scopes)
    for number, (destination, modes) in enumerate(wish.destinations.items(), start=1):
        allowed = on_destination(destination, RULES, REMEDIATORS, modes, observes=wish.observes)
        called = f"{name} logs {number} {destination.rstrip('/').rpartition('/')[2]}"
        if allowed.actions:
            group = "/".join(destination.split("/")[:5])
            yield Kind.DESTINATION, _shown(Kind.DESTINATION, called, allowed, (group,))


def _shown(kind: Kind, name: str, role: Role, scopes: Sequence[str]) -> Mapping[str, Any]:
    if len(name) > _LONGEST:
        raise CommandError(f"the name of a role has at most {_LONGEST} characters: {name!r}")
    return {
        "Name": name,
        "IsCustom": True,
        "Description": _WHAT[kind],
        "Actions": [*role.actions],
        "NotActions": [],
        "DataActions": [*role.data_actions],
        "NotDataActions": [],
        "AssignableScopes": [*scopes],
    }


def _scope(text: str) -> str:
    scope = f"/subscriptions/{text}" if re.fullmatch(_GUID, text, re.IGNORECASE) else text.rstrip("/")
    if not _SCOPE.fullmatch(scope):
        kinds = "a subscription (or its id), a resource group or a management group"
        raise CommandError(f"--scope {text!r} is not the resource id of {kinds}")
    return scope


def _destination(text: str) -> str:
    if member_of(text) is None:
        kinds = "a workspace, a storage account or an Event Hubs namespace's authorization rule"
        raise CommandError(f"--destination {text!r} is not the resource id of {kinds}")
    return text


def _read(file: Path) -> Policy:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from None
    policy, problems = check_policy(text, RULES, today=datetime.now(UTC).date())
    if policy is None:
        raise CommandError("\n".join(f"{file}: {problem}" for problem in problems))
    return policy
