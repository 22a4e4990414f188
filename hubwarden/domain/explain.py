"""What would happen with a drift now, and which lines of the policy file say so."""

from __future__ import annotations

import re

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hubwarden.domain.decision import Action, decide
from hubwarden.domain.finding import Finding
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.policy import Policy
from hubwarden.domain.rule import Mode, Remediator, Rule
from hubwarden.domain.where import Tags


_PLACE: Final = re.compile(r"\bpolicy ([a-z_]+(?:\.[a-z][a-z0-9_-]*|\[[0-9]+\])*)")


@dataclass(frozen=True, slots=True)
class Line:
    """A place of the policy file that a reason names, and its line; None where it is left to the default."""

    place: str
    line: int | None


@dataclass(frozen=True, slots=True)
class Explained:
    """What would happen with a drift of one rule on one hub; ``action`` is None where nobody looks for one."""

    rule: str
    mode: Mode
    action: Action | None
    reason: str
    lines: tuple[Line, ...]


def explain(
    policy: Policy,
    rules: Sequence[tuple[Rule, Remediator | None]],
    hub: HubId,
    tags: Tags | None,
    *,
    now: datetime,
    lines: Mapping[str, int],
) -> Iterator[Explained]:
    """For each rule what would be decided about a drift that is seen now for the first time.

    Args:
        policy: the operator's wishes.
        rules: each with its fix.
        hub: which.
        tags: the hub's, None where they are not known.
        now: UTC.
        lines: place of the policy file → line; see ``policy_lines``.
    """
    for rule, remediator in rules:
        wish = policy.wish_for(rule.id, hub, tags)
        finding = Finding(hub, rule.id, "", rule.severity, "a drift", now, now)
        decision = decide(finding, remediator, policy, now, tags)
        action, reason = (None, f"{wish}: nobody looks for a drift") if wish.mode is Mode.OFF else (
            decision.action, decision.reason
        )  # fmt: skip
        yield Explained(rule.id, wish.mode, action, reason, tuple(lines_of(reason, lines)))


def lines_of(reason: str, lines: Mapping[str, int]) -> Iterator[Line]:
    """The places that a reason names, each once, in its order."""
    for place in dict.fromkeys(_PLACE.findall(reason)):
        if place in lines or place.partition(".")[0].partition("[")[0] in _TOP:
            yield Line(place, lines.get(place))


_TOP: Final = frozenset(Policy.model_fields)
