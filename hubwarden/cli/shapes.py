"""The JSON that the command line prints. docs/command-line.md describes it; members are added, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from hubwarden.domain.finding import Finding, Proposal, State
from hubwarden.domain.jsons import JsonObject
from hubwarden.service.overview import Overview
from hubwarden.service.preview import Preview


def of_overview(overview: Overview, warnings: Sequence[str]) -> JsonObject:
    """Everything that ``findings`` tells."""
    sweep = overview.last_sweep
    return {
        "findings": [of_finding(finding) for finding in overview.findings],
        "not_judged": [
            {"path": entry.path, "rule": entry.rule, "reason": entry.reason} for entry in overview.not_judged
        ],
        "dead": dict(overview.dead),
        "last_sweep": None if sweep is None else {
            "started_at": sweep.started_at.isoformat(),
            "finished_at": sweep.finished_at.isoformat(),
            "complete": sweep.complete,
            "summary": sweep.summary,
        },
        "warnings": [*warnings],
        "enforcement": "observe" if overview.observes else "enforce",
    }  # fmt: skip


def of_finding(finding: Finding) -> JsonObject:
    """A finding as it stands in a list."""
    exempted = finding.exempted if finding.state is State.EXEMPT else None
    return {
        "id": finding.id,
        "hub": finding.hub.path,
        "rule": finding.rule_id,
        "subject": finding.subject,
        "severity": finding.severity.value,
        "state": finding.state.value,
        "summary": finding.summary,
        "first_seen": finding.first_seen.isoformat(),
        "last_seen": finding.last_seen.isoformat(),
        "occurrences": finding.occurrences,
        "held": finding.history[-1].reason if finding.state is State.HELD else None,
        "plan": None if finding.proposal is None else finding.proposal.digest,
        "exemption": None if exempted is None else {
            "until": exempted.until.isoformat(),
            "reason": exempted.reason,
            "owner": exempted.owner,
            "source": exempted.source,
        },
    }  # fmt: skip


def of_finding_whole(finding: Finding) -> JsonObject:
    """A finding with all that there is to say of it."""
    approval = finding.approval
    return {
        **of_finding(finding),
        "evidence": finding.evidence,
        "changed_by": None if finding.actor is None else str(finding.actor),
        "changed_at": _moment(finding.changed_at),
        "proposal": None if finding.proposal is None else _of_proposal(finding.proposal),
        "outdated": None if finding.outdated is None else _of_proposal(finding.outdated),
        "approval": None if approval is None else {
            "plan": approval.digest, "by": approval.by, "at": approval.at.isoformat(), "reason": approval.reason,
        },
        "history": [
            {"at": step.at.isoformat(), "state": step.state.value, "reason": step.reason}
            for step in finding.history
        ],
    }  # fmt: skip


def of_preview(preview: Preview) -> JsonObject:
    """What ``plan`` tells."""
    return {
        "finding": preview.finding.id,
        "hub": preview.finding.hub.path,
        "rule": preview.finding.rule_id,
        "decision": preview.decision.action.value,
        "reason": preview.decision.reason,
        "proposal": _of_proposal(preview.proposal),
    }


def _of_proposal(proposal: Proposal) -> JsonObject:
    return {
        "plan": proposal.digest,
        "changes": [*proposal.changes],
        "warnings": [*proposal.warnings],
        "made_at": proposal.made_at.isoformat(),
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
