"""From drifts of a hub to one plan, and to bodies that differ from what was read in that plan alone."""

from __future__ import annotations

import logging

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from hubwarden.domain.finding import Finding, Proposal
from hubwarden.domain.jsons import ABSENT, JsonObject, differences, dotted
from hubwarden.domain.plan import Change, Plan, PlanError, Target, applied
from hubwarden.domain.snapshot import Facet, Snapshot
from hubwarden.domain.verdict import Drift
from hubwarden.service.ports import PolicyEdit, Ports


log = logging.getLogger(__name__)

type Drifting = tuple[Finding, Drift]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan that can be carried out. ``body`` is the hub's, as it is to be sent where the plan writes the hub.

    ``warnings`` say, one sentence each, what may break and who may undo it.
    """

    plan: Plan
    body: JsonObject
    warnings: tuple[str, ...]


def prepared(ports: Ports, snapshot: Snapshot, drifts: Sequence[Drifting]) -> Prepared:
    """One plan for several drifts of one hub.

    Raises:
        PlanError: a remediator touches what it did not declare, two of them touch the same, they need several
            requests, or the remediator itself failed.
    """
    if snapshot.etag is None:
        raise PlanError(f"{snapshot.hub} was read without an etag")
    changes = tuple(change for finding, drift in drifts for change in _changes(ports, snapshot, finding, drift))
    plan = Plan(snapshot.hub, snapshot.etag, changes)
    warnings = (warning for finding, drift in drifts for warning in _warnings(ports, snapshot, finding, drift))
    return Prepared(plan, checked_body(plan, snapshot), tuple(dict.fromkeys(warnings)))


def proposed(ports: Ports, snapshot: Snapshot, finding: Finding, drift: Drift) -> Proposal:
    """What to put to a person who decides on this finding alone.

    Raises:
        PlanError: see ``prepared``.
    """
    made = prepared(ports, snapshot, [(finding, drift)])
    changes = tuple(change.as_json() for change in made.plan.changes)
    return Proposal(made.plan.digest, made.plan.etag, changes, made.warnings, ports.clock.now())


def _changes(ports: Ports, snapshot: Snapshot, finding: Finding, drift: Drift) -> Iterator[Change]:
    remediator = ports.remediators[finding.rule_id]
    changes: list[Change] = _asked(remediator.plan, ports, snapshot, finding, drift)
    for change in changes:
        if not remediator.declares(change):
            raise PlanError(f"{finding.rule_id} wants to change {dotted(change.path)}, which it does not declare")
        yield change


def _warnings(ports: Ports, snapshot: Snapshot, finding: Finding, drift: Drift) -> Iterator[str]:
    yield from _asked(ports.remediators[finding.rule_id].warn, ports, snapshot, finding, drift)
    marker = ports.policy.iac_marker(snapshot.tags or {})
    if marker is not None:
        yield f"The hub's tag {marker} says that code manages it: the code must change too, or it undoes this fix."
    if finding.actor is None:
        yield "Who made the change is not known: no event told."
    else:
        yield f"The change was made by {finding.actor}{_when(finding.changed_at)}."


def _when(changed_at: datetime | None) -> str:
    return "" if changed_at is None else f" at {changed_at:%Y-%m-%d %H:%M:%S} UTC"


def _asked[T](ask: Any, ports: Ports, snapshot: Snapshot, finding: Finding, drift: Drift) -> list[T]:
    """What a remediator says; one that breaks makes no plan, and holds up no other."""
    rule = ports.rule(finding.rule_id)
    try:
        return list(ask(drift, snapshot, ports.policy.settings_of(rule, snapshot.hub, snapshot.tags)))
    except PlanError:
        raise
    except Exception as error:
        log.exception("the remediator of %s broke on %s", finding.rule_id, snapshot.hub)
        why = f"the remediator itself failed ({type(error).__name__}); this is a bug in hubwarden"
        raise PlanError(why) from None


def _check_one_request(plan: Plan) -> None:
    one_each = {Target.DIAGNOSTICS: "diagnostic setting", Target.DEFENDER: "security solution"}
    what = one_each.get(plan.target)
    if what is not None and len({change.path[0] for change in plan.changes}) > 1:
        raise PlanError(f"{plan.hub}: only one {what} is written at a time")


def checked_body(plan: Plan, snapshot: Snapshot) -> JsonObject:
    """The body to send, compared once more with what was read: it differs in the plan's paths and nowhere else.

    Raises:
        PlanError: it does not, or the plan needs several requests.
    """
    _check_one_request(plan)
    before = snapshot.read(Facet.HUB)
    body = plan.apply(before)
    differing = set(differences(before, body))
    if differing != {change.path for change in plan.on(Target.HUB)}:
        raise PlanError(f"the body for {plan.hub} differs in {sorted(map(dotted, differing))}, not as planned")
    return body


def solution_edit(plan: Plan, snapshot: Snapshot) -> tuple[str, JsonObject | None, JsonObject]:
    """The security solution that the plan writes: its id, its body as it was read (None: a new one), and after.

    The id is as Azure spells it, so that the write does not change how.

    Raises:
        PlanError: the snapshot does not hold it as the plan says.
    """
    changes = plan.on(Target.DEFENDER)
    solution = changes[0].path[0]
    solutions = cast("Sequence[JsonObject]", snapshot.read(Facet.DEFENDER)["solutions"])
    before = next((body for body in solutions if str(body.get("id")).lower() == solution), None)
    held: JsonObject = {} if before is None else {solution: before}
    after = cast("JsonObject", applied(changes, held, solution)[solution])
    return solution if before is None else str(before["id"]), before, after


def policy_edits(plan: Plan, *, restores: bool = False) -> tuple[PolicyEdit, ...]:
    """What the plan makes of the hub's shared access policies; only one that ``restores`` may give rights."""
    return tuple(_edit(change, restores=restores) for change in plan.on(Target.POLICIES))


def _edit(change: Change, *, restores: bool) -> PolicyEdit:
    before, after = cast("Any", change.before), cast("Any", change.after)
    expected = None if before is ABSENT else frozenset(before["rights"])
    removed = PolicyEdit(change.path[0], expected, None, restores=restores)
    if after is ABSENT:
        return removed
    return replace(removed, rights=frozenset(after["rights"]), new_keys=bool(after.get("newKeys")))
