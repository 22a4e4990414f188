"""What a rule carries: data beside the code, from which docs, roles and decisions are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from hubwarden.domain.jsons import Path
from hubwarden.domain.permissions import Permissions
from hubwarden.domain.plan import Change, Target
from hubwarden.domain.severity import Severity
from hubwarden.domain.snapshot import Facet, Snapshot
from hubwarden.domain.verdict import Drift, Verdict


class Mode(StrEnum):
    """What the operator wants done with a rule's drift."""

    OFF = "off"
    REPORT = "report"
    TICKET = "ticket"
    APPROVE = "approve"
    AUTO = "auto"


class Safety(StrEnum):
    """How far a machine may go with the fix."""

    AUTO = "auto"
    APPROVAL = "approval"
    TICKET = "ticket"


class RuleSettings(BaseModel):
    """The settings of a rule in the policy file; each rule derives its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def destinations(self) -> tuple[str, ...]:
        """Resource ids of what the rule wants hubs to send to, where it wants that."""
        return ()


@dataclass(frozen=True, slots=True)
class ManualFix:
    """How a person puts it right.

    ``{name}``, ``{resource_group}`` and ``{subscription}`` name the hub; a setting stands under its own name.
    """

    cli: str
    bicep: str
    portal: str


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold of a hub. ``detect`` is pure and yields at least one verdict.

    ``permissions`` are what it takes to read ``reads``.
    """

    id: str
    title: str
    severity: Severity
    risk: str
    recommendation: str
    reads: tuple[Facet, ...]
    permissions: Permissions
    settings: type[RuleSettings]
    detect: Callable[[Snapshot, Any], Iterator[Verdict]]
    benchmarks: tuple[str, ...]
    reference: str
    manual_fix: ManualFix
    default_mode: Mode = Mode.REPORT


def _silent(_drift: Drift, _snapshot: Snapshot, _settings: Any) -> Iterator[str]:
    yield from ()


@dataclass(frozen=True, slots=True)
class Remediator:
    """The fix of one rule. ``plan`` is pure and yields the changes that end the drift.

    It may touch these ``paths`` of the hub's body, and what lies under ``beyond`` on other targets, nothing else.
    ``permissions`` are what it takes beyond the rule's own.
    ``warn`` is pure too and yields, one sentence each, what whoever approves the plan should know of it.
    """

    rule_id: str
    safety: Safety
    why: str
    permissions: Permissions
    paths: tuple[tuple[str, ...], ...]
    plan: Callable[[Drift, Snapshot, Any], Iterator[Change]]
    beyond: tuple[tuple[Target, Path], ...] = ()
    warn: Callable[[Drift, Snapshot, Any], Iterator[str]] = _silent

    def declares(self, change: Change) -> bool:
        """Whether the change is one that it may make."""
        if change.target is Target.HUB:
            return change.path in self.paths
        return any(change.target is target and change.path[: len(path)] == path for target, path in self.beyond)
