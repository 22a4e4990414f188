"""Who may be fixed by itself now, and who waits: slots of the blast radius, and turns of those that were held."""

from __future__ import annotations

import logging

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from hubwarden.domain.finding import Event, Finding, Limit
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.limits import Full, Ledger, Slot, uncovered
from hubwarden.domain.severity import Severity
from hubwarden.service.errors import StorageUnavailableError
from hubwarden.service.gate import change, kill_switch, standing_of, without_question
from hubwarden.service.ledger import enter
from hubwarden.service.messages import EvaluateMessage, TurnMessage
from hubwarden.service.ports import Ports, Stored


log = logging.getLogger(__name__)

_RANK: Final = {severity: rank for rank, severity in enumerate(reversed(Severity))}
_SOON: Final = timedelta(seconds=2)
_LONGEST: Final = timedelta(hours=1)

type Key = tuple[HubId, str]


async def take(ports: Ports, findings: Collection[Finding]) -> tuple[tuple[Slot, ...], dict[Key, str]]:
    """Take a slot for each rule of these findings, which are all of one hub.

    Returns:
        The slots, and for each rule that has none the reason: it waits for its turn, and has one sent.

    Raises:
        StorageUnavailableError: the ledger could not be read or written; then nothing may be fixed.
    """
    now = ports.clock.now()
    slots: list[Slot] = []
    refused: dict[Key, str] = {}
    for key in dict.fromkeys((finding.hub, finding.rule_id) for finding in findings):
        answer = await _take(ports, key, now)
        if isinstance(answer, str):
            refused[key] = answer
        else:
            slots.append(answer)
    return tuple(slots), refused


async def _take(ports: Ports, key: Key, now: datetime) -> Slot | str:
    limits, slot = ports.policy.limits, Slot(*key, now)
    full: Full | None = None
    line: datetime | None = None

    def taking(ledger: Ledger) -> Ledger:
        nonlocal full, line
        taken, line = ledger.take(key, limits, now), ledger.next_turn
        if isinstance(taken, Ledger):
            return taken
        full = taken
        return ledger.waits_until(now + _SOON if taken is None else taken.next_look(now), now)

    after = await change(ports, taking)
    if slot in after.slots:
        return slot
    if after.next_turn is not None and after.next_turn != line:
        await _send_turn(ports, after.next_turn)
    return str(full or "others wait for their turn too, and it comes after them")


async def give_back(ports: Ports, slots: Collection[Slot]) -> None:
    """Certainly nothing was written: the slots are free again."""
    if slots:
        await change(ports, lambda ledger: ledger.given_back(slots))


async def hold_back(ports: Ports, stored: Stored[Finding], reason: str) -> None:
    """Let the finding wait for its turn."""
    held = stored.value.after(Event.HOLD, at=ports.clock.now(), reason=reason)
    await enter(ports, stored, replace(held, limit=Limit.BUDGET), reason)


async def begin_sweep(ports: Ports) -> None:
    """A sweep begins: what counts per sweep counts anew. A ledger that cannot be written stops no sweep."""
    now = ports.clock.now()
    try:
        await change(ports, lambda ledger: replace(ledger, sweep_at=now))
    except StorageUnavailableError as error:
        log.warning("that a sweep begins could not be noted: %s", error)


async def turns(ports: Ports) -> None:
    """Give those whom a limit holds their turn: the most severe and then the oldest first.

    Who had a turn and could not use it, for the hub could not be looked at, goes to the back of the queue.
    While the kill switch is on or the error breaker has tripped, nobody has one. Repeating it is harmless.

    Raises:
        StorageUnavailableError: storage does not answer.
    """
    stored = await ports.safety.ledger()
    ledger, now = stored.value if stored else Ledger(), ports.clock.now()
    if await kill_switch(ports) is not None or ledger.tripped:
        return
    limited = [finding async for finding in ports.findings.limited() if ports.policy.watches(finding.hub)]
    waiting = sorted(limited, key=_order)
    stopped = await _stopped(ports, ledger, {finding.rule_id for finding in waiting} | ledger.asked.keys())
    keys = list(dict.fromkeys(
        (finding.hub, finding.rule_id)
        for finding in waiting
        if finding.rule_id not in stopped
        or not uncovered({finding.hub}, ledger.released.get(finding.rule_id), now)
    ))  # fmt: skip
    granted: Sequence[Key] = ()

    def granting(ledger: Ledger) -> Ledger:
        nonlocal granted
        after, granted = ledger.with_turns(keys, ports.policy.limits, now)
        return after

    after = await change(ports, granting)
    for hub in dict.fromkeys(hub for hub, _ in granted):
        await ports.work.send(EvaluateMessage(hub=hub.path, asked_at=ports.clock.now(), cause="its turn"))
    if after.next_turn is not None:
        await _send_turn(ports, after.next_turn)


def _order(finding: Finding) -> tuple[int, datetime, str]:
    return _RANK[finding.severity], finding.first_seen, finding.id


async def _stopped(ports: Ports, ledger: Ledger, rules: Collection[str]) -> frozenset[str]:
    """The rules of which too many hubs drift; a question that has become idle is taken back."""
    stopped: set[str] = set()
    for rule in sorted(rules):
        standing = await standing_of(ports, ledger, rule)
        if standing.exceeds(ports.policy.limits.share):
            stopped.add(rule)
        elif rule in ledger.asked:
            await change(ports, lambda ledger, rule=rule: without_question(ledger, rule))  # type: ignore[misc]
    return frozenset(stopped)


async def _send_turn(ports: Ports, at: datetime) -> None:
    delay = min(max(at - ports.clock.now(), timedelta(0)), _LONGEST)
    await ports.work.send(TurnMessage(turn=at), delay=delay)


async def look_again(ports: Ports, hubs: Collection[HubId], cause: str) -> None:
    """Have these hubs looked at now."""
    for hub in sorted(hubs):
        await ports.work.send(EvaluateMessage(hub=hub.path, asked_at=ports.clock.now(), cause=cause))
