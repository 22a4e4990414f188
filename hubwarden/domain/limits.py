"""What holds back a fix that policy allows: the operator's limits, and the pure sums over what was done lately."""

from __future__ import annotations

import hashlib

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from hubwarden.domain.finding import Deed, Finding, Limit, State
from hubwarden.domain.hub_id import HubId


HOUR: Final = timedelta(hours=1)
_SOON: Final = timedelta(seconds=2)
_LONGEST_WAIT: Final = timedelta(minutes=15)
_TOLD: Final = 5
BREAKER_HOLDS: Final = "the breaker"
"""Who holds what was fixed and changed back too often."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Caps(_Section):
    """How many automatic fixes there may be; one fix is one rule on one hub."""

    in_all: int = Field(20, ge=1, le=500, strict=True, description="Of all rules on all hubs.")
    per_rule: int = Field(10, ge=1, le=500, strict=True, description="Of one rule.")
    per_subscription: int = Field(20, ge=1, le=500, strict=True, description="On the hubs of one subscription.")


class Share(_Section):
    """When so many hubs drift of one rule that it is no drift: a migration, or a broken rule."""

    percent: int = Field(
        20,
        ge=1,
        le=100,
        strict=True,
        description="More than so much of the watched hubs that a rule is fixed on by itself; 100: off.",
    )
    at_least: int = Field(5, ge=2, le=1000, strict=True, description="And at least so many hubs.")
    settle_seconds: int = Field(
        5,
        ge=0,
        le=300,
        strict=True,
        description="How long an automatic fix waits to see whether other hubs drift too; with fewer than "
        "at_least hubs nothing waits.",
    )
    release_hours: int = Field(
        24, ge=1, le=720, strict=True, description="How long the word of an operator holds who releases a rule."
    )


class Breaker(_Section):
    """When a fix of ours is undone again and again."""

    fixes: int = Field(3, ge=1, le=50, strict=True, description="So many automatic fixes of one rule on one hub.")
    hours: int = Field(24, ge=1, le=168, strict=True, description="Within so many hours.")


class Errors(_Section):
    """When fixes do not work at all."""

    last: int = Field(20, ge=2, le=100, strict=True, description="Of so many fixes that ended last,")
    percent: int = Field(50, ge=1, le=99, strict=True, description="more than so many percent failed.")


class Limits(_Section):
    """What the policy file says of how much may be fixed without a person."""

    per_hour: Caps = Field(default_factory=Caps, description="Automatic fixes within an hour.")
    per_sweep: Caps = Field(
        default_factory=Caps, description="Automatic fixes from the beginning of a sweep to that of the next."
    )
    share: Share = Field(default_factory=Share, description="Many hubs drift of one rule at once.")
    breaker: Breaker = Field(default_factory=Breaker, description="One hub drifts again and again.")
    errors: Errors = Field(default_factory=Errors, description="Fixes fail.")


@dataclass(frozen=True, slots=True)
class Kill:
    """The kill switch as it was thrown last: on, or off again. ``at`` is UTC."""

    on: bool
    by: str
    at: datetime
    reason: str

    def __str__(self) -> str:
        return f"the kill switch is on since {_minute(self.at)}, by {self.by}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Slot:
    """One automatic fix: taken before the write, given back when certainly nothing was written.

    ``granted`` says that it waits for its fix: somebody who was held got their turn.
    """

    hub: HubId
    rule_id: str
    at: datetime
    granted: bool = False

    @property
    def key(self) -> tuple[HubId, str]:
        """What it is for."""
        return self.hub, self.rule_id


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a fix ended: ``fix`` is the digest of its plan. ``error`` says why it failed, empty where it did not."""

    fix: str
    at: datetime
    error: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """That too many hubs drift of a rule: asked of people once, on ``hub``."""

    rule_id: str
    hub: HubId
    at: datetime
    drifting: int
    watched: int

    def has_grown(self, drifting: int) -> bool:
        """Whether so many more drift by now that it is worth writing down."""
        return drifting * 4 >= self.drifting * 5

    def __str__(self) -> str:
        return (
            f"at least {self.drifting} of {self.watched} hubs drift of {self.rule_id}: "
            "a migration, or a broken rule? "
            f"Nothing is fixed by itself until `release --rule {self.rule_id}`"
        )


@dataclass(frozen=True, slots=True)
class Released:
    """An operator's word that the hubs that drifted of the rule at ``at`` are to be fixed; UTC.

    ``hubs`` are their marks; see ``mark``.
    """

    rule_id: str
    by: str
    at: datetime
    until: datetime
    hubs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was done lately, as far as limits go; one row, whose etag lets one writer through. Times are UTC.

    ``sweep_at`` is when the last sweep began. ``next_turn`` is set while findings wait for their turn, and says
    when they are looked at. ``tripped`` says why all automatic fixing has stopped. ``passed`` are those who wait,
    had their turn and did not use it, the last one at the end.
    """

    slots: tuple[Slot, ...] = ()
    sweep_at: datetime | None = None
    next_turn: datetime | None = None
    outcomes: tuple[Outcome, ...] = ()
    tripped: str = ""
    tripped_at: datetime | None = None
    tripped_told: bool = False
    """Whether the audit trail says so."""
    asked: Mapping[str, Asked] = field(default_factory=dict)
    released: Mapping[str, Released] = field(default_factory=dict)
    passed: tuple[Slot, ...] = ()

    def lately(self, now: datetime) -> Ledger:
        """The ledger with what still counts for some limit; a turn that was not used is soon free again."""
        unused = [slot for slot in self.slots if slot.granted and slot.at <= now - _LONGEST_WAIT]
        counting = (slot for slot in self.slots if slot.at > now - HOUR or self._of_sweep(slot))
        keys = {slot.key for slot in unused}
        passed = (*(slot for slot in self.passed if slot.key not in keys), *unused)
        return replace(self, slots=tuple(slot for slot in counting if slot not in unused), passed=passed)

    def _of_sweep(self, slot: Slot) -> bool:
        return self.sweep_at is not None and slot.at >= self.sweep_at

    def granted(self, hub: HubId, rule_id: str) -> Slot | None:
        """The slot that waits for this fix, if any."""
        return next((slot for slot in self.slots if slot.granted and slot.key == (hub, rule_id)), None)

    def full(self, hub: HubId, rule_id: str, limits: Limits, now: datetime) -> Full | None:
        """The limit that one more fix would break, if any: the one that frees last."""
        found = [
            Full(f"limits.{period}.{name}", cap, _frees(slots, cap) if period == "per_hour" else None)
            for period, caps, of_period in (
                ("per_hour", limits.per_hour, [slot for slot in self.slots if slot.at > now - HOUR]),
                ("per_sweep", limits.per_sweep, [slot for slot in self.slots if self._of_sweep(slot)]),
            )
            for name, cap, slots in (
                ("in_all", caps.in_all, of_period),
                ("per_rule", caps.per_rule, [slot for slot in of_period if slot.rule_id == rule_id]),
                (
                    "per_subscription",
                    caps.per_subscription,
                    [slot for slot in of_period if slot.hub.subscription == hub.subscription],
                ),
            )
            if len(slots) >= cap
        ]
        return max(found, key=lambda full: full.frees_at or datetime.max.replace(tzinfo=now.tzinfo), default=None)

    def take(self, key: tuple[HubId, str], limits: Limits, now: datetime) -> Ledger | Full | None:
        """The ledger with a slot for this fix, or the limit that is in the way, or None where others wait.

        Who was granted a slot uses that; nobody else gets in before those who wait. Taking it again at the same
        moment takes nothing more.
        """
        if Slot(*key, now) in self.slots:
            return self
        waits = self.granted(*key)
        if waits is not None:
            others = tuple(slot for slot in self.slots if slot is not waits)
            return replace(self, slots=(*others, Slot(*key, now)))
        full = self.full(*key, limits, now)
        if full is not None:
            return full
        if self.next_turn is not None:
            return None
        lately = self.lately(now)
        return replace(lately, slots=(*lately.slots, Slot(*key, now)))

    def given_back(self, slots: Collection[Slot]) -> Ledger:
        """The ledger without these slots."""
        return replace(self, slots=tuple(slot for slot in self.slots if slot not in slots))

    def with_turns(
        self, waiting: Sequence[tuple[HubId, str]], limits: Limits, now: datetime
    ) -> tuple[Ledger, tuple[tuple[HubId, str], ...]]:
        """Grant slots to those who wait, in their order, as far as the limits go; who had a turn comes last.

        Returns:
            The ledger, and who has a slot now. ``next_turn`` is set where some go on waiting.
        """
        ledger = self.lately(now)
        passed = [slot for slot in ledger.passed if slot.key in waiting]
        ledger = replace(ledger, passed=tuple(passed), next_turn=None)
        left: list[Full] = []
        had = [slot.key for slot in passed]
        for key in (*(key for key in waiting if key not in had), *had):
            if ledger.granted(*key) is not None:
                continue
            full = ledger.full(*key, limits, now)
            if full is None:
                ledger = replace(ledger, slots=(*ledger.slots, Slot(*key, now, granted=True)))
            else:
                left.append(full)
        if left:
            ledger = replace(ledger, next_turn=min(full.next_look(now) for full in left))
        return ledger, tuple(dict.fromkeys(key for key in waiting if ledger.granted(*key)))

    def begun(self, hub: HubId, rule_id: str, at: datetime) -> Ledger:
        """The ledger once a drift of the rule began there at that moment: no word of before covers the hub."""
        word = self.released.get(rule_id)
        if word is None or word.at >= at or mark(hub) not in word.hubs:
            return self
        others = tuple(name for name in word.hubs if name != mark(hub))
        return replace(self, released={**self.released, rule_id: replace(word, hubs=others)})

    def waits_until(self, at: datetime, now: datetime) -> Ledger:
        """The ledger in which somebody waits for a turn at that moment, or sooner; one that is past was lost."""
        known = self.next_turn if self.next_turn is not None and self.next_turn > now else at
        return replace(self, next_turn=min(at, known))

    def with_outcome(self, outcome: Outcome, errors: Errors) -> Ledger:
        """The ledger with how a fix ended; the same fix counts once, and a failure of a part is its failure.

        Where more than the share of the last fixes failed, it is ``tripped``; only a reset ends that.
        """
        known = next((one for one in self.outcomes if one.fix == outcome.fix), None)
        if known is not None and (known.error or not outcome.error):
            return self
        others = tuple(one for one in self.outcomes if one is not known)
        outcomes = (*others, outcome)[-errors.last :]
        ledger = replace(self, outcomes=outcomes)
        failed = [one for one in outcomes if one.error]
        if self.tripped or len(failed) * 100 <= errors.percent * errors.last:
            return ledger
        why = f"{len(failed)} of the last {errors.last} fixes failed; the last one: {failed[-1].error}"
        return replace(ledger, tripped=why, tripped_at=outcome.at, tripped_told=False)

    def reset(self) -> Ledger:
        """The ledger after an operator's reset of the error breaker."""
        return replace(self, outcomes=(), tripped="", tripped_at=None, tripped_told=False)


@dataclass(frozen=True, slots=True)
class Full:
    """A limit that is reached: its name in the policy file, and when it frees (UTC); None: with the next sweep."""

    name: str
    cap: int
    frees_at: datetime | None

    def __str__(self) -> str:
        when = "with the next sweep" if self.frees_at is None else f"at {_minute(self.frees_at)}"
        return f"{self.name} allows {self.cap} automatic fixes, and they are used; the next turn is {when}"

    def next_look(self, now: datetime) -> datetime:
        """When to see whether it has freed."""
        return min(max(self.frees_at or now + _LONGEST_WAIT, now + _SOON), now + HOUR)


@dataclass(frozen=True, slots=True)
class Standing:
    """How many watched hubs have the rule fixed by itself, and which of them drift as the last looks know."""

    watched: int
    drifting: frozenset[HubId]

    def exceeds(self, share: Share) -> bool:
        """Whether so many drift that a person is to be asked."""
        many = len(self.drifting)
        return many >= share.at_least and many * 100 > share.percent * self.watched


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a fix that policy allows does not go on now. ``calls_people``: there is to be a ticket."""

    limit: Limit
    reason: str
    calls_people: bool = False


@dataclass(frozen=True, slots=True)
class Gate:
    """What may hold back the automatic fixes of one hub now. Pure; see ``stop``.

    ``asked`` maps rules to what is asked of people, where the share limit is exceeded; ``fixes`` maps rules to
    when they were fixed on this hub automatically. ``unread`` says why the state of the limits is not known: then
    nothing goes on. ``watched`` is how many hubs there are.
    """

    limits: Limits
    now: datetime
    kill: Kill | None = None
    ledger: Ledger = field(default_factory=Ledger)
    asked: Mapping[str, Asked] = field(default_factory=dict)
    fixes: Mapping[str, frozenset[datetime]] = field(default_factory=dict)
    watched: int = 0
    unread: str = ""

    def stop(self, finding: Finding) -> Stop | None:
        """What stops an automatic fix, the gravest first: kill switch, errors, share, breaker, budget.

        What is approved already stays approved while the kill switch is on: the write itself asks again.
        """
        if self.unread:
            return Stop(Limit.KILL, f"whether fixes may run cannot be read, so none does: {self.unread}")
        if self.kill is not None:
            return None if finding.state is State.APPROVED else Stop(Limit.KILL, str(self.kill))
        if self.ledger.tripped:
            why = f"{self.ledger.tripped}; nothing is fixed by itself until `breaker reset`"
            return Stop(Limit.ERRORS, why)
        return self._share(finding) or self._breaker(finding) or self._budget(finding)

    @property
    def settle(self) -> timedelta:
        """How long an automatic fix waits to see whether other hubs drift too."""
        share = self.limits.share
        few = self.watched < share.at_least or share.percent == 100  # noqa: PLR2004 - all of them
        return timedelta(seconds=0 if few else share.settle_seconds)

    def _share(self, finding: Finding) -> Stop | None:
        asked = self.asked.get(finding.rule_id)
        if asked is None:
            return None
        return Stop(Limit.SHARE, str(asked), calls_people=asked.hub == finding.hub)

    def _breaker(self, finding: Finding) -> Stop | None:
        breaker = self.limits.breaker
        since = self.now - timedelta(hours=breaker.hours)
        fixes = [at for at in self.fixes.get(finding.rule_id, ()) if at > since]
        if len(fixes) < breaker.fixes:
            return None
        why = (
            f"fixed {len(fixes)} times within {breaker.hours} hours, and changed back each time by "
            f"{told_deeds(finding.deeds)}; find out who needs it so, then `release {finding.id}`"
        )
        return Stop(Limit.BREAKER, why, calls_people=True)

    def _budget(self, finding: Finding) -> Stop | None:
        """Who was held gets a turn; who is new is asked at the claim."""
        held = finding.state is State.HELD and finding.limit is not None
        if not held or self.ledger.granted(finding.hub, finding.rule_id) is not None:
            return None
        full = self.ledger.full(finding.hub, finding.rule_id, self.limits, self.now)
        return Stop(Limit.BUDGET, str(full or "it waits for its turn, which is soon"))


def told_deeds(deeds: Sequence[Deed]) -> str:
    """Who did it, with what, and when, the last few, for people."""
    told = "; ".join(f"{deed.who} at {deed.at:%Y-%m-%d %H:%M:%S} UTC" for deed in deeds[-_TOLD:])
    return told or "somebody of whom no event told"


def mark(hub: HubId) -> str:
    """A short name of a hub, so that a row holds many."""
    return hashlib.sha256(hub.path.encode()).hexdigest()[:10]


def uncovered(hubs: Collection[HubId], released: Released | None, now: datetime) -> frozenset[HubId]:
    """The hubs that an operator's word does not cover, or not any more."""
    covered = frozenset(released.hubs) if released is not None and now < released.until else frozenset()
    return frozenset(hub for hub in hubs if mark(hub) not in covered)


def fixes_of(findings: Collection[Finding]) -> Mapping[str, frozenset[datetime]]:
    """Rule id → when it was fixed automatically on this hub, whatever the subject."""
    rules = {finding.rule_id for finding in findings}
    return {rule: frozenset(_fixes(findings, rule)) for rule in rules}


def _fixes(findings: Collection[Finding], rule_id: str) -> Iterator[datetime]:
    for finding in findings:
        if finding.rule_id == rule_id:
            yield from finding.fixes


def _frees(slots: Sequence[Slot], cap: int) -> datetime:
    """When so many of these slots have aged that there is room for one more."""
    return sorted(slot.at for slot in slots)[len(slots) - cap] + HOUR


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
