"""An operator's word on what runs by itself: kill and resume, hold and release, breaker reset."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final

from hubwarden.domain.finding import Event, Finding, Hold, IllegalTransitionError, Limit, State
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.limits import Kill, Released, mark
from hubwarden.service.approve import NoSuchFindingError
from hubwarden.service.errors import StaleWriteError
from hubwarden.service.gate import change, kill_switch, standing_of, without_question
from hubwarden.service.ledger import enter
from hubwarden.service.messages import EvaluateMessage, RemediateMessage, TurnMessage
from hubwarden.service.ports import AuditTrail, Clock, Ports, SafetyStore, Stored


_RACES_RUN: Final = 10
_GOES_ON: Final = {
    Limit.KILL: "with `resume`",
    Limit.ERRORS: "with `breaker reset`",
    Limit.SHARE: "with `release --rule {rule}`, or by itself once fewer hubs drift",
    Limit.BREAKER: "with `release`",
    Limit.BUDGET: "by itself, in order",
}


class NotHeldError(Exception):
    """There is nothing to release or to reset."""


async def kill(safety: SafetyStore, audit: AuditTrail, clock: Clock, *, by: str, reason: str) -> Kill:
    """Stop every write to Azure, automatic or approved, within one message; nothing that waits is lost.

    It needs no policy file, comes before its audit line, is done where none can be written, and asks nobody what
    was there before.
    """
    thrown = Kill(on=True, by=by, at=clock.now(), reason=reason)
    await safety.stop(thrown)
    await audit.append("kill", _told_of(thrown))
    return thrown


async def resume(ports: Ports, *, by: str) -> int:
    """End what ``kill`` began, and have the work go on.

    Returns:
        How many hubs have work that goes on now.

    Raises:
        NotHeldError: an app setting throws the switch too; only taking that away ends it, and nothing was done.
    """
    if ports.kill_setting:
        raise NotHeldError(
            "the app setting HUBWARDEN_KILL still stops every write: take it away first; nothing was changed"
        )
    await _go_on(ports, Kill(on=False, by=by, at=ports.clock.now(), reason="resumed"))
    hubs = {finding.hub async for finding in ports.findings.everything() if finding.state is State.APPROVED}
    for hub in sorted(hubs):
        await ports.work.send(RemediateMessage(hub=hub.path))
    held = {finding.hub async for finding in ports.findings.limited()}
    await _next_turn(ports)
    return len(hubs | held)


async def reset_breaker(ports: Ports, *, by: str) -> str:
    """Let automatic fixes run again after too many have failed.

    Returns:
        Why they had stopped.

    Raises:
        NotHeldError: they had not.
    """
    stored = await ports.safety.ledger()
    why = stored.value.tripped if stored else ""
    if not why:
        raise NotHeldError("automatic fixing is not stopped by errors: there is nothing to reset")
    await ports.audit.append("breaker", {"state": "reset", "reason": f"reset by {by}; it was: {why}"})
    await change(ports, lambda ledger: ledger.reset())
    await _next_turn(ports)
    return why


async def release_rule(ports: Ports, rule_id: str, *, by: str) -> Released:
    """Say yes to fixing the hubs that drift of the rule now, too many as they are, at the rate that limits allow.

    Drifts that begin later are not covered. What an earlier word still covers stays so.

    Raises:
        NotHeldError: nothing is asked about this rule.
    """
    now, limits = ports.clock.now(), ports.policy.limits
    stored = await ports.safety.ledger()
    if stored is None or rule_id not in stored.value.asked:
        raise NotHeldError(f"no share limit holds {rule_id}: there is nothing to release")
    standing = await standing_of(ports, stored.value, rule_id)
    until = now + timedelta(hours=limits.share.release_hours)
    before = stored.value.released.get(rule_id)
    kept = before.hubs if before is not None and now < before.until else ()
    released = Released(rule_id, by, now, until, tuple(sorted({*kept, *map(mark, standing.drifting)})))
    told = f"{len(released.hubs)} of {standing.watched} hubs may be fixed until {until.isoformat()}"
    await ports.audit.append("release", {"rule": rule_id, "by": by, "decision": told})
    await change(
        ports,
        lambda ledger: without_question(replace(ledger, released={**ledger.released, rule_id: released}), rule_id),
    )
    await _next_turn(ports)
    return released


async def hold(ports: Ports, finding_id: str, *, by: str, reason: str) -> Finding:
    """Let no machine touch this drift until somebody releases it; a write that is out already is not called back.

    Raises:
        NoSuchFindingError: see there.
        StaleWriteError: somebody else keeps writing the finding.
    """

    def held(finding: Finding) -> Finding:
        now, told = ports.clock.now(), f"held by {by}: {reason}"
        try:
            after = finding.after(Event.HOLD, at=now, reason=told)
        except IllegalTransitionError:
            after = finding.noting(Event.HOLD, at=now, reason=told)
        return replace(after, hold=Hold(by, now, reason), limit=None, calls_people=False)

    return await _rewritten(ports, finding_id, held)


async def release(ports: Ports, finding_id: str, *, by: str) -> Finding:
    """End a hold, an operator's or the breaker's, and let policy decide anew.

    Raises:
        NoSuchFindingError, NotHeldError: as they say.
        StaleWriteError: somebody else keeps writing the finding.
    """

    def freed(finding: Finding) -> Finding:
        if finding.hold is None:
            raise NotHeldError(f"{_why_not_held(finding)}; nothing was changed")
        now, told = ports.clock.now(), f"released by {by}; it was held by {finding.hold.by}: {finding.hold.reason}"
        if finding.state is State.HELD:
            after = finding.after(Event.FREE, at=now, reason=told)
        else:
            after = finding.noting(Event.FREE, at=now, reason=told)
        return replace(after, hold=None)

    finding = await _rewritten(ports, finding_id, freed)
    await _forget_fixes(ports, finding.hub, finding.rule_id)
    if finding.state is State.OPEN:
        now = ports.clock.now()
        await ports.work.send(EvaluateMessage(hub=finding.hub.path, asked_at=now, cause="it was released"))
    return finding


def _why_not_held(finding: Finding) -> str:
    if finding.limit is None or finding.state is not State.HELD:
        return f"finding {finding.id} is held by nobody, it is {finding.state}"
    how = _GOES_ON[finding.limit].format(rule=finding.rule_id)
    return f"no person holds finding {finding.id}, a limit holds it ({finding.limit}): it goes on {how}"


async def _forget_fixes(ports: Ports, hub: HubId, rule_id: str) -> None:
    """The breaker counts anew for the whole rule on the hub: all its subjects count together."""
    for stored in await ports.findings.of_hub(hub):
        if stored.value.rule_id == rule_id and stored.value.fixes:
            await ports.findings.save(replace(stored.value, fixes=()), stored.etag)


async def _go_on(ports: Ports, off: Kill) -> None:
    """Only after its audit line, and over no word to stop that was never read."""
    await ports.audit.append("kill", _told_of(off))
    for _ in range(_RACES_RUN):
        stored = await ports.safety.kill()
        with suppress(StaleWriteError):
            await ports.safety.save_kill(off, stored.etag if stored else None)
            return
    raise StaleWriteError("the kill switch keeps changing under our hands")


def _told_of(kill: Kill) -> JsonObject:
    return {"on": kill.on, "by": kill.by, "reason": kill.reason}


async def _next_turn(ports: Ports) -> None:
    if await kill_switch(ports) is None:
        await ports.work.send(TurnMessage(turn=ports.clock.now()))


async def _rewritten(ports: Ports, finding_id: str, make: Callable[[Finding], Finding]) -> Finding:
    for _ in range(_RACES_RUN):
        stored: Stored[Finding] | None = await ports.findings.find(finding_id)
        if stored is None:
            raise NoSuchFindingError(f"there is no finding {finding_id}; nothing was changed")
        after = make(stored.value)
        with suppress(StaleWriteError):
            return (await enter(ports, stored, after, after.history[-1].reason)).value
    raise StaleWriteError(finding_id)
