"""The gate between what policy allows and what is done: kill switch, limits, breakers. Unread is closed."""

from __future__ import annotations

import logging

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from hubwarden.domain.decision import Action, Decision, fixes_alone
from hubwarden.domain.finding import Finding, Hold, Limit, State
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.limits import (
    BREAKER_HOLDS,
    HOUR,
    Asked,
    Gate,
    Kill,
    Ledger,
    Outcome,
    Standing,
    fixes_of,
    uncovered,
)
from hubwarden.domain.where import Tags
from hubwarden.service.errors import StaleWriteError, StorageUnavailableError
from hubwarden.service.ports import Clock, Ports, SafetyStore


log = logging.getLogger(__name__)

_RACES_RUN: Final = 100
_BEGINS_TO_ASK: Final = timedelta(minutes=2)


async def kill_switch(ports: Ports) -> Kill | None:
    """The kill switch where it is on, read now. One that cannot be read is on."""
    return await read_kill(ports.safety, ports.clock, setting=ports.kill_setting)


async def read_kill(safety: SafetyStore, clock: Clock, *, setting: bool) -> Kill | None:
    """See kill_switch; ``setting`` says whether the app setting throws it."""
    now = clock.now()
    if setting:
        return Kill(
            on=True, by="the app setting HUBWARDEN_KILL", at=now, reason="nothing is written while it is set"
        )
    try:
        stored = await safety.kill()
    except StorageUnavailableError as error:
        return Kill(on=True, by="hubwarden", at=now, reason=f"whether it is on cannot be read: {error}")
    return stored.value if stored is not None and stored.value.on else None


async def open_gate(ports: Ports, hub: HubId, findings: Collection[Finding], rules: Collection[str]) -> Gate:
    """What may hold back the automatic fixes of these rules on this hub; see Gate.

    Args:
        ports: the world.
        hub: which.
        findings: all that the hub has, as they are where no limit holds them.
        rules: the rules of which something would be fixed by itself now.
    """
    gate = Gate(ports.policy.limits, ports.clock.now(), kill=await kill_switch(ports), fixes=fixes_of(findings))
    if gate.kill is not None:
        return gate
    try:
        stored = await ports.safety.ledger()
        gate = replace(gate, ledger=stored.value if stored else Ledger())
        for rule in sorted(rules):
            gate = await _with_share(ports, gate, hub, rule, findings)
    except StorageUnavailableError as error:
        log.warning("%s: nothing is fixed by itself, for the limits cannot be read: %s", hub, error)
        return replace(gate, unread=str(error))
    return gate


async def _with_share(ports: Ports, gate: Gate, hub: HubId, rule: str, findings: Collection[Finding]) -> Gate:
    """The gate that knows how many hubs drift of this rule; the first to see too many lays the question down.

    Where nothing of the rule would be fixed here but what people approved, there is nothing to ask.
    """
    drifts = [
        one for one in findings if one.rule_id == rule and one.rollback is None and one.state is State.APPROVED
    ]
    if not any(fixes_alone(rule, hub, ports.policy, gate.now, one.tags) for one in drifts):
        return gate
    began = max(one.seen_at for one in drifts)
    if gate.ledger.begun(hub, rule, began) != gate.ledger:
        gate = replace(gate, ledger=await change(ports, lambda ledger: ledger.begun(hub, rule, began)))
    standing = await standing_of(ports, gate.ledger, rule, hub)
    gate = replace(gate, watched=standing.watched)
    released = gate.ledger.released.get(rule)
    if hub not in uncovered({hub}, released, gate.now):
        return gate
    if not standing.exceeds(gate.limits.share):
        if rule in gate.ledger.asked:
            await change(ports, lambda ledger: without_question(ledger, rule))
        return gate
    asked = Asked(rule, hub, gate.now, len(standing.drifting), standing.watched)
    known = gate.ledger.asked.get(rule)
    gone = None if known is None or await _still_asks(ports, known, gate.now) else known.hub
    if known is None or gone is not None or known.has_grown(asked.drifting):
        known = (await change(ports, lambda ledger: _with_question(ledger, asked, gone))).asked[rule]
        log.log(logging.ERROR if known.at == asked.at else logging.WARNING, "%s", asked)
    return replace(gate, asked={**gate.asked, rule: replace(asked, hub=known.hub)})


async def _still_asks(ports: Ports, known: Asked, now: datetime) -> bool:
    """Whether the hub that asks has a drift that waits for the answer, or has just begun to ask."""
    if now - known.at < _BEGINS_TO_ASK:
        return True
    found = [stored.value for stored in await ports.findings.of_hub(known.hub)]
    return any(one.rule_id == known.rule_id and one.limit is Limit.SHARE for one in found)


async def standing_of(ports: Ports, ledger: Ledger, rule: str, also: HubId | None = None) -> Standing:
    """Of the hubs where the rule is fixed by itself: how many there are, and which drift, or did within the hour.

    A drift that policy leaves to people, or accepts, does not count, nor does what an operator has released.
    ``also`` drifts too, whatever its record still says.
    """
    now = ports.clock.now()

    def counts(hub: HubId, tags: Tags | None) -> bool:
        return ports.policy.watches(hub) and fixes_alone(rule, hub, ports.policy, now, tags)

    known = await ports.records.standing(rule, counts)
    fixed = {slot.hub for slot in ledger.slots if slot.rule_id == rule and slot.at > now - HOUR}
    drifting = known.drifting | fixed | ({also} if also else frozenset())
    return Standing(max(known.watched, len(drifting)), uncovered(drifting, ledger.released.get(rule), now))


def gated(gate: Gate | None, finding: Finding, decision: Decision) -> tuple[Finding, Decision]:
    """What becomes of a decision to fix: a limit may turn it into a hold."""
    stop = gate.stop(finding) if gate is not None and decision.action is Action.FIX else None
    if gate is None or stop is None:
        return replace(finding, limit=None), decision  # where policy itself holds it, it has no turn to wait for
    if stop.limit is Limit.BREAKER:
        hold = Hold(BREAKER_HOLDS, gate.now, stop.reason, calls_people=stop.calls_people)
        held = replace(finding, limit=None, calls_people=False, hold=hold)
    else:
        held = replace(finding, limit=stop.limit, calls_people=stop.calls_people)
    return held, Decision(Action.HOLD, stop.reason)


async def change(ports: Ports, make: Callable[[Ledger], Ledger]) -> Ledger:
    """Change the ledger, whoever else does at the same time; ``make`` may be called several times.

    Raises:
        StorageUnavailableError: it could not be read or written.
    """
    for _ in range(_RACES_RUN):
        stored = await ports.safety.ledger()
        before = stored.value if stored else Ledger()
        after = make(before)
        if after == before:
            return before
        with suppress(StaleWriteError):
            await ports.safety.save_ledger(after, stored.etag if stored else None)
            return after
    raise StorageUnavailableError("table hubwardensafety: its ledger keeps changing under our hands")


async def note_outcome(ports: Ports, fix: str, error: str = "") -> str:
    """Enter how the fix with this digest ended.

    Returns:
        Why all automatic fixing stops now, where this was one failure too many; else nothing. It is told until
        the audit trail has taken it.
    """
    outcome = Outcome(fix, ports.clock.now(), error)
    ledger = await change(ports, lambda ledger: ledger.with_outcome(outcome, ports.policy.limits.errors))
    if not ledger.tripped or ledger.tripped_told:
        return ""
    await ports.audit.append("breaker", {"state": "tripped", "reason": ledger.tripped})
    await change(ports, lambda after: replace(after, tripped_told=after.tripped == ledger.tripped))
    log.error("all automatic fixing has stopped: %s", ledger.tripped)
    return f"with it, {ledger.tripped}: nothing is fixed by itself any more until `breaker reset`"


def without_question(ledger: Ledger, rule: str) -> Ledger:
    """The ledger in which nothing is asked about the rule."""
    return replace(ledger, asked={name: asked for name, asked in ledger.asked.items() if name != rule})


def _with_question(ledger: Ledger, asked: Asked, gone: HubId | None) -> Ledger:
    """The ledger with this question; who asked first stays who asks, and how many drift is brought up to date.

    Where the one who asks is ``gone``, another one does.
    """
    known = ledger.asked.get(asked.rule_id)
    if known is not None and known.hub == gone:
        known = None
    if known is not None and not known.has_grown(asked.drifting):
        return ledger
    question = asked if known is None else replace(known, drifting=asked.drifting, watched=asked.watched)
    return replace(ledger, asked={**ledger.asked, asked.rule_id: question})
