"""health: is it ready, and is it doing its work?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from hubwarden import __version__
from hubwarden.domain.finding import Finding
from hubwarden.domain.limits import Kill, Ledger
from hubwarden.service.errors import StorageUnavailableError
from hubwarden.service.ports import (
    Clock,
    DeadLetterCount,
    DeadLetters,
    FindingStore,
    HubStore,
    Outbox,
    SafetyStore,
    SweepRecord,
    Waiting,
    WorkQueue,
)


_LATE: Final = timedelta(minutes=15)

type NextSweep = Callable[[datetime], datetime | None]
"""From a moment to when the next sweep is due after it, or None where the schedule does not tell."""


async def health(
    records: HubStore,
    findings: FindingStore,
    work: WorkQueue,
    clock: Clock,
    *,
    next_sweep: NextSweep,
    not_ready: str | None,
    warnings: Sequence[str],
    enforcement: str | None = None,
    outbox: Outbox | None = None,
    safety: SafetyStore | None = None,
    kill: Kill | None = None,
    dead_letters: DeadLetters | None = None,
) -> Mapping[str, Any]:
    """What an operator asks first, as JSON.

    Args:
        records: where sweeps are remembered.
        findings: whose tickets may wait.
        work: the queues.
        clock: the time.
        next_sweep: see there.
        not_ready: why nothing is judged or fixed for now, or None.
        warnings: what is wrong without standing in the way; what is wrong with the sweeps, the queues and the
            tickets and the channels is added.
        enforcement: `observe` where nothing may be changed in Azure; None where there is no policy.
        outbox: where notices may wait; None where nobody is told.
        safety: what holds back fixes; None where that is not asked.
        kill: the kill switch, where it is on.
        dead_letters: where Event Grid leaves what it could not deliver; None where that is not asked.
    """
    last = await records.last_sweep()
    depths = await work.depths()
    waiting = [finding async for finding in findings.waiting()]
    untold = [waiting async for waiting in outbox.troubled()] if outbox else []
    held = [finding async for finding in findings.limited()]
    undelivered = await _undelivered(dead_letters)
    return {
        "ready": not_ready is None,
        "reason": not_ready,
        "enforcement": enforcement,
        "warnings": [
            *warnings,
            *_of_limits(kill, await _ledger(safety), held),
            *_of_sweeps(last, clock.now(), next_sweep),
            *_of_queues(depths),
            *_of_dead_letters(undelivered),
            *_of_tickets(waiting),
            *_of_channels(untold),
        ],
        "version": __version__,
        "kill": None if kill is None else {
            "since": kill.at.isoformat(), "by": kill.by, "reason": kill.reason,
        },
        "held": len(held),
        "last_sweep": None if last is None else {
            "started_at": last.started_at.isoformat(),
            "finished_at": last.finished_at.isoformat(),
            "complete": last.complete,
            "summary": last.summary,
            "listkeys_saved": last.listkeys_saved,
            "unknown": dict(last.unknown),
            "dead": dict(last.dead),
        },
        "queues": dict(depths),
    }  # fmt: skip


async def _undelivered(dead_letters: DeadLetters | None) -> DeadLetterCount | str:
    """How many dead letters there are, or why that cannot be read: whoever asks may have no right on them."""
    try:
        return await dead_letters.count() if dead_letters else DeadLetterCount()
    except StorageUnavailableError as error:
        return str(error)


def misfit_health(why: str, warnings: Sequence[str]) -> Mapping[str, Any]:
    """What health says where nothing that is stored may be read: see state.py."""
    return {"ready": False, "reason": why, "warnings": list(warnings), "version": __version__}


async def _ledger(safety: SafetyStore | None) -> Ledger | str:
    """What was done lately, or why that cannot be read."""
    try:
        stored = await safety.ledger() if safety else None
    except StorageUnavailableError as error:
        return str(error)
    return stored.value if stored else Ledger()


def _of_limits(kill: Kill | None, ledger: Ledger | str, held: Sequence[Finding]) -> Iterator[str]:
    if kill is not None:
        yield f"{kill}: no hub is written"
    if isinstance(ledger, str):
        yield f"nothing is fixed by itself, for the limits cannot be read: {ledger}"
        return
    if ledger.tripped:
        yield f"all automatic fixing has stopped: {ledger.tripped}; find out why, then `breaker reset`"
    yield from map(str, ledger.asked.values())
    if held:
        when = "" if ledger.next_turn is None else f"; the next turn is at {ledger.next_turn:%Y-%m-%d %H:%M} UTC"
        yield f"{len(held)} finding(s) are held by limits, and get their turn in order{when}"


def _of_sweeps(last: SweepRecord | None, now: datetime, next_sweep: NextSweep) -> Iterator[str]:
    if last is None:
        yield "there was no sweep yet: nothing is known of any hub"
        return
    due = next_sweep(last.started_at)
    if due is not None and now > due + _LATE:
        yield (
            f"a sweep is overdue: it was due at {due:%Y-%m-%d %H:%M} UTC, and the last one began at "
            f"{last.started_at:%Y-%m-%d %H:%M} UTC; see whether the timer function runs"
        )
    if not last.complete:
        yield f"the last sweep is incomplete ({last.summary}): `unknown` says what could not be judged, and why"


def _of_queues(depths: Mapping[str, int]) -> Iterator[str]:
    for name, depth in depths.items():
        if name.endswith("-poison") and depth:
            yield f"{depth} message(s) that nobody could use wait in {name}"


def _of_dead_letters(count: DeadLetterCount | str) -> Iterator[str]:
    if isinstance(count, str):
        yield f"whether Event Grid could not deliver events is not known: {count}"
        return
    if count.waiting:
        yield (
            f"{count.waiting} file(s) of events that Event Grid could not deliver wait to be read back, the first "
            f"since {count.since:%Y-%m-%d %H:%M} UTC; see whether the event functions and `dead_letters` run"
        )
    if count.set_aside:
        yield f"{count.set_aside} dead letter(s) cannot be read: the reason is in the metadata of each blob"


def _of_tickets(waiting: Sequence[Finding]) -> Iterator[str]:
    troubles = [finding.ticket_trouble for finding in waiting if finding.ticket_trouble]
    if troubles:
        first = min(troubles, key=lambda trouble: trouble.since)
        yield (
            f"{len(troubles)} ticket(s) wait for the ticket system since {first.since:%Y-%m-%d %H:%M} UTC: "
            f"{first.reason}"
        )


def _of_channels(untold: Sequence[Waiting]) -> Iterator[str]:
    for channel in sorted({waiting.channel for waiting in untold}):
        troubles = [waiting.trouble for waiting in untold if waiting.channel == channel and waiting.trouble]
        first = min(troubles, key=lambda trouble: trouble.since)
        yield (
            f"{len(troubles)} notice(s) wait for the channel {channel} since {first.since:%Y-%m-%d %H:%M} UTC: "
            f"{first.reason}"
        )
