"""The roles that an app needs in Azure: what its rules and their modes ask for, and nothing more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hubwarden.domain.permissions import Permissions, once
from hubwarden.domain.policy import Policy
from hubwarden.domain.rule import Mode, Remediator, Rule


LOOK: Final = Permissions(actions=("Microsoft.Devices/IotHubs/read",))
"""A sweep lists the hubs of a subscription, whatever the rules are."""
LIST_SUBSCRIPTIONS: Final = Permissions(actions=("Microsoft.Resources/subscriptions/read",))
"""Where the policy file says ``all``, a sweep lists the subscriptions."""
BEFORE_A_FIX: Final = Permissions(actions=("Microsoft.Authorization/locks/read",))
"""A fix looks for a ReadOnly lock first: then a ticket says so, and no write is tried."""

_FIXING: Final = frozenset({Mode.APPROVE, Mode.AUTO})

type Modes = Mapping[str, Collection[Mode]]
"""By rule id, every mode that any hub can have. A rule that is not in it is off."""


@dataclass(frozen=True, slots=True)
class Role:
    """What a custom role of Azure allows."""

    actions: tuple[str, ...]
    data_actions: tuple[str, ...] = ()


def modes_of(policy: Policy, rules: Iterable[Rule]) -> Modes:
    """The modes that a policy file comes to, those of scopes included."""
    return {rule.id: {mode for mode, _ in policy.possible(rule)} for rule in rules}


def destinations_of(policy: Policy, rules: Iterable[Rule]) -> Mapping[str, Modes]:
    """Each destination that a policy file names, in lower case, and the modes of the rules that send there."""
    found: dict[str, dict[str, set[Mode]]] = {}
    for rule in rules:
        for mode, settings in policy.possible(rule):
            for destination in settings.destinations if mode is not Mode.OFF else ():
                found.setdefault(destination.lower(), {}).setdefault(rule.id, set()).add(mode)
    return found


def reader(rules: Sequence[Rule], modes: Modes, *, lists_subscriptions: bool = False) -> Role:
    """What it takes to look.

    Destinations of logs are read in the whole subscription: that one is gone can only be seen from above it.

    Args:
        rules: all rules that there are.
        modes: what is wished of them.
        lists_subscriptions: the policy file says ``subscriptions: [all]``.
    """
    listing = [LIST_SUBSCRIPTIONS] if lists_subscriptions else []
    needed = Permissions.merged([LOOK, *listing, *(rule.permissions for rule in _on(rules, modes))])
    return Role(once((*needed.actions, *needed.on_destination)), needed.data_actions)


def remediator(
    rules: Sequence[Rule], remediators: Mapping[str, Remediator], modes: Modes, *, observes: bool = False
) -> Role | None:
    """What fixes take beyond looking; None where there is nothing to fix.

    Args:
        rules: all rules that there are.
        remediators: their fixes.
        modes: what is wished of them.
        observes: the policy file says ``enforcement: observe``, so nothing is ever written.
    """
    fixes = [] if observes else [fix.permissions for fix in _fixes(rules, remediators, modes)]
    return Role(Permissions.merged([BEFORE_A_FIX, *fixes]).actions) if fixes else None


def on_destination(
    destination: str,
    rules: Sequence[Rule],
    remediators: Mapping[str, Remediator],
    modes: Modes,
    *,
    observes: bool = False,
) -> Role:
    """What it takes on one destination of logs: seeing it, and pointing settings at it where that may be done.

    Args:
        destination: its resource id.
        rules: all rules that there are.
        remediators: their fixes.
        modes: what is wished of the rules that send there.
        observes: the policy file says ``enforcement: observe``.
    """
    fixes = () if observes else _fixes(rules, remediators, modes)
    needed = [*(rule.permissions for rule in _on(rules, modes)), *(fix.permissions for fix in fixes)]
    return Role(Permissions.merged(needed).on(destination))


def _on(rules: Iterable[Rule], modes: Modes) -> list[Rule]:
    return [rule for rule in rules if not {Mode.OFF}.issuperset(modes.get(rule.id, ()))]


def _fixes(rules: Iterable[Rule], remediators: Mapping[str, Remediator], modes: Modes) -> Iterator[Remediator]:
    for rule in rules:
        if rule.id in remediators and not _FIXING.isdisjoint(modes.get(rule.id, ())):
            yield remediators[rule.id]
