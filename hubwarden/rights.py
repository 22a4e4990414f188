"""``python -m hubwarden.rights`` prints what each rule needs of Azure: Bicep makes roles of it.

With ``--table`` it prints the table of docs/permissions.md instead: each permission, for whom, and why.
"""

from __future__ import annotations

import json
import sys

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from detectors import RULES
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.permissions import Permissions
from hubwarden.domain.roles import BEFORE_A_FIX, LIST_SUBSCRIPTIONS, LOOK
from remediators import REMEDIATORS


WHY: Final[Mapping[str, str]] = MappingProxyType({
    "Microsoft.Authorization/locks/read": (
        "Sees a ReadOnly lock before the write. Without it the write is tried, and Azure refuses it."
    ),
    "Microsoft.Devices/IotHubs/listkeys/action": (
        "Azure shows the names and rights of shared access policies in no other way. It returns the keys too: see "
        "below."
    ),
    "Microsoft.Devices/IotHubs/read": "Lists the hubs and reads each; every plan is made of a fresh reading.",
    "Microsoft.Devices/IotHubs/twins/read": (
        "Queries which devices have a security module that is alive: ids, states and times, no twin as a whole."
    ),
    "Microsoft.Devices/IotHubs/write": (
        "Writes the hub back with what the plan changes. It is worth the keys: see below."
    ),
    "Microsoft.EventHub/namespaces/authorizationRules/listkeys/action": (
        "Azure asks for it of whoever points a setting at the event hub. hubwarden never calls it."
    ),
    "Microsoft.EventHub/namespaces/authorizationRules/read": "Sees whether what logs are sent to still exists.",
    "Microsoft.Insights/diagnosticSettings/read": "Reads a hub's diagnostic settings.",
    "Microsoft.Insights/diagnosticSettings/write": (
        "Writes the one setting that is hubwarden's own. Nobody else's is touched, and none is deleted."
    ),
    "Microsoft.Insights/diagnosticSettingsCategories/read": "Reads which logs there are to send; once a day.",
    "Microsoft.OperationalInsights/workspaces/read": "Sees whether what logs are sent to still exists.",
    "Microsoft.OperationalInsights/workspaces/sharedKeys/action": (
        "Azure asks for it of whoever points a setting at the workspace. hubwarden never calls it."
    ),
    "Microsoft.Resources/subscriptions/read": "Lists the subscriptions.",
    "Microsoft.Security/iotSecuritySolutions/read": "Reads which hubs Defender for IoT watches, and how.",
    "Microsoft.Security/iotSecuritySolutions/write": "Puts the hub into the solution that the policy file names.",
    "Microsoft.Storage/storageAccounts/listKeys/action": (
        "Azure asks for it of whoever points a setting at the account. hubwarden never calls it."
    ),
    "Microsoft.Storage/storageAccounts/read": "Sees whether what logs are sent to still exists.",
})  # fmt: skip
"""Permission → why."""

_ANY: Final = "any"
_ALL: Final = "any, where `all` is watched"


def rights() -> JsonObject:
    """Rule → what its look and its fix need; ``service`` → what is needed beside them."""
    return {
        "service": {
            "read": _shown(LOOK), "listSubscriptions": _shown(LIST_SUBSCRIPTIONS), "fix": _shown(BEFORE_A_FIX),
        },
        "rules": {
            rule.id: {
                "read": _shown(rule.permissions),
                "fix": _shown(REMEDIATORS[rule.id].permissions if rule.id in REMEDIATORS else Permissions()),
            }
            for rule in RULES
        },
    }  # fmt: skip


def table() -> str:
    """The same for people, in Markdown: what is asked for most mildly first."""
    users: dict[str, dict[str, list[str]]] = {}
    for to, who, permissions in _needs():
        for where, action in _places(to, permissions):
            users.setdefault(action, {}).setdefault(f"{to} | {where}", []).append(who)
    rows = [
        f"| `{action}` | {to} | {', '.join(dict.fromkeys(who))} | {WHY[action]} |"
        for action in sorted(users, key=lambda action: ("look" not in next(iter(users[action])), action.lower()))
        for to, who in users[action].items()
    ]
    return "\n".join(["| permission | to | where | rules | why |", "|---|---|---|---|---|", *rows])


def _needs() -> Iterator[tuple[str, str, Permissions]]:
    """To look or to fix, for whom, what."""
    yield "look", _ANY, LOOK
    yield "look", _ALL, LIST_SUBSCRIPTIONS
    for rule in RULES:
        only = Permissions.merged([LOOK, rule.permissions])
        yield "look", f"[{rule.id}](rules/{rule.id}.md)", _without(only, LOOK)
    yield "fix", _ANY, BEFORE_A_FIX
    for rule_id, remediator in REMEDIATORS.items():
        yield "fix", f"[{rule_id}](rules/{rule_id}.md)", remediator.permissions


def _without(permissions: Permissions, others: Permissions) -> Permissions:
    kept = tuple(action for action in permissions.actions if action not in others.actions)
    return Permissions(kept, permissions.data_actions, permissions.on_destination)


def _places(to: str, permissions: Permissions) -> Iterator[tuple[str, str]]:
    """Where each of them is given."""
    yield from (("subscription", action) for action in permissions.actions)
    yield from (("subscription, data plane", action) for action in permissions.data_actions)
    where = "subscription, destination" if to == "look" else "destination only"
    yield from ((where, action) for action in permissions.on_destination)


def _shown(permissions: Permissions) -> JsonObject:
    return {
        "actions": [*permissions.actions],
        "dataActions": [*permissions.data_actions],
        "onDestination": [*permissions.on_destination],
    }


if __name__ == "__main__":
    print(table() if "--table" in sys.argv else json.dumps(rights(), indent=2))  # noqa: T201 - its whole job
