"""``python -m hubwarden.rights`` prints what each rule needs of Azure: Bicep makes roles of it.

With ``--table`` it prints the table of docs/permissions.md instead.
"""

from __future__ import annotations

import json

from detectors import RULES
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.permissions import Permissions
from hubwarden.domain.roles import BEFORE_A_FIX, LIST_SUBSCRIPTIONS, LOOK
from remediators import REMEDIATORS


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


def _shown(permissions: Permissions) -> JsonObject:
    return {
        "actions": [*permissions.actions],
        "dataActions": [*permissions.data_actions],
        "onDestination": [*permissions.on_destination],
    }


if __name__ == "__main__":
    print(json.dumps(rights(), indent=2))  # noqa: T201 - that is its whole job
