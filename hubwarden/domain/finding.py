"""One drift with a life: its states, and the one pure function that says which may follow which."""

from __future__ import annotations

import hashlib

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from hubwarden.domain.exemption import Exempted
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import Json, JsonObject
from hubwarden.domain.severity import Severity


HISTORY_KEPT: Final = 50
DEEDS_KEPT: Final = 10
FIXES_KEPT: Final = 50


class State(StrEnum):
    """Where a finding stands."""

    OPEN = "open"
    REPORTED = "reported"
    TICKETED = "ticketed"
    AWAITING_APPROVAL = "awaiting_approval"
    APPROVED = "approved"
    HELD = "held"
    EXEMPT = "exempt"
    REJECTED = "rejected"
    EXPIRED = "expired"
    STALE = "stale"
    EXECUTING = "executing"
    VERIFYING = "verifying"
    AMBIGUOUS = "ambiguous"
    FAILED = "failed"
    RESOLVED = "resolved"


class Event(StrEnum):
    """What can happen to a finding."""

    SEEN = "seen"
    """A readable snapshot shows the drift."""
    CLEARED = "cleared"
    """A readable snapshot no longer shows the drift."""
    REPORT = "report"
    TICKET = "ticket"
    ASK = "ask"
    FIX = "fix"
    HOLD = "hold"
    EXEMPT = "exempt"
    APPROVE = "approve"
    REJECT = "reject"
    EXPIRE = "expire"
    OUTDATED = "outdated"
    """What was put to a person, approved or rejected, is no longer what is there."""
    CLAIM = "claim"
    """One worker takes the fix; the store's etag lets only one succeed."""
    RELEASE = "release"
    """Certainly nothing was written: somebody may try again."""
    WRITTEN = "written"
    """The hub's PUT was accepted."""
    UNCERTAIN = "uncertain"
    """The PUT was sent, or may have been; whether it arrived is not known."""
    DENIED = "denied"
    """Azure refused: a missing right, a lock, a policy."""
    REFUSED = "refused"
    """Azure says that the change itself is wrong."""
    NO_EFFECT = "no_effect"
    """The write was accepted and the drift is still there."""
    NOT_ARRIVED = "not_arrived"
    """After an uncertain write the drift is still there."""
    OVERTAKEN = "overtaken"
    """Somebody else wrote the hub after our write, and the drift is back."""
    FREE = "free"
    """An operator's hold is over: policy decides anew."""


class IllegalTransitionError(Exception):
    """The event cannot happen in this state; whoever sent it worked from an old view."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"a finding that is {state} cannot take {event}")
        self.state = state
        self.event = event


_DECISIONS: Final = {
    Event.REPORT: State.REPORTED,
    Event.TICKET: State.TICKETED,
    Event.ASK: State.AWAITING_APPROVAL,
    Event.FIX: State.APPROVED,
    Event.HOLD: State.HELD,
    Event.EXEMPT: State.EXEMPT,
}

_END_A_YES: Final = frozenset({Event.REPORT, Event.TICKET, Event.HOLD, Event.EXEMPT, Event.DENIED})
"""After these nothing is done for now; a yes that was said before them is old by the time that something is."""

# Read a row as: in this state, these events lead there. CLEARED and SEEN are the two that every row shares.
_TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]] = MappingProxyType({
    State.OPEN: _DECISIONS,
    State.REPORTED: _DECISIONS,
    State.TICKETED: _DECISIONS,
    State.HELD: _DECISIONS | {Event.FREE: State.OPEN},
    State.EXEMPT: _DECISIONS,
    State.AWAITING_APPROVAL: _DECISIONS | {
        Event.APPROVE: State.APPROVED,
        Event.REJECT: State.REJECTED,
        Event.EXPIRE: State.EXPIRED,
        Event.OUTDATED: State.STALE,
    },
    State.APPROVED: _DECISIONS | {Event.CLAIM: State.EXECUTING, Event.OUTDATED: State.STALE},
    State.REJECTED: {Event.OUTDATED: State.STALE},
    State.EXPIRED: {Event.TICKET: State.TICKETED},
    State.STALE: _DECISIONS,
    State.EXECUTING: {
        Event.RELEASE: State.APPROVED,
        Event.WRITTEN: State.VERIFYING,
        Event.UNCERTAIN: State.AMBIGUOUS,
        Event.DENIED: State.TICKETED,
        Event.REFUSED: State.FAILED,
    },
    State.VERIFYING: {Event.NO_EFFECT: State.FAILED, Event.OVERTAKEN: State.OPEN},
    State.AMBIGUOUS: {Event.NOT_ARRIVED: State.OPEN, Event.NO_EFFECT: State.FAILED},
    State.FAILED: {Event.TICKET: State.TICKETED},
    State.RESOLVED: {},
})  # fmt: skip

IN_FLIGHT: Final = frozenset({State.EXECUTING, State.VERIFYING, State.AMBIGUOUS})
"""A write is under way or may have happened; only the one who looks at the hub again may move it on."""


def transition(state: State, event: Event) -> State:
    """The state that follows, or IllegalTransitionError; the whole life of a finding is in here.

    A drift that is seen again changes nothing, but for one that was resolved: that opens again.
    """
    if event is Event.CLEARED:
        return State.RESOLVED
    if event is Event.SEEN:
        return State.OPEN if state is State.RESOLVED else state
    following = _TRANSITIONS[state].get(event)
    if following is None:
        raise IllegalTransitionError(state, event)
    return following


@dataclass(frozen=True, slots=True)
class Actor:
    """Who wrote the hub last, as an Event Grid event told it: object id and name, nothing more personal.

    ``email`` is kept only where the policy file says so.
    """

    object_id: str | None = None
    app_id: str | None = None
    name: str | None = None
    email: str | None = None

    def __str__(self) -> str:
        known = [known for known in (self.name, self.email) if known]
        return " ".join(known) or self.object_id or self.app_id or "somebody unknown"


class Limit(StrEnum):
    """What holds back a fix that policy allows; the gravest first (domain/limits.py)."""

    KILL = "kill"
    ERRORS = "errors"
    SHARE = "share"
    BREAKER = "breaker"
    BUDGET = "budget"


_CLIENTS: Final[Mapping[str, str]] = MappingProxyType({
    "04b07795-8ddb-461a-bbee-02f9e1bf7b46": "Azure CLI",
    "1950a258-227b-4e31-a9cf-717495945fc2": "Azure PowerShell",
    "c44b4083-3bb0-49c1-b47d-974e53cbdf3c": "Azure portal",
})  # fmt: skip
"""Application ids of Microsoft's own clients, by which a token says what it was made for."""


@dataclass(frozen=True, slots=True)
class Deed:
    """A change that made the hub drift, at the moment that its event said (UTC)."""

    actor: Actor
    at: datetime

    @property
    def who(self) -> str:
        """The principal and the client, for people."""
        known = (self.actor.object_id, _CLIENTS.get(self.actor.app_id or "", self.actor.app_id))
        more = [text for text in known if text and text != str(self.actor)]
        return f"{self.actor} ({', '.join(more)})" if more else str(self.actor)


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of a finding's history."""

    at: datetime
    event: Event
    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """The fix that is or was under way, on the hub as it was at ``read_at``.

    ``etag`` is the hub's where the fix writes the hub itself, and empty where it writes something beside it.

    ``deadline`` is when another worker may conclude that this one is gone. ``fingerprint`` maps what the hub
    must look like afterwards (path → digest), so that a change which slipped in between is seen.
    """

    digest: str
    etag: str
    changes: tuple[JsonObject, ...]
    read_at: datetime
    started_at: datetime
    deadline: datetime
    fingerprint: dict[str, str] = field(default_factory=dict)
    written_at: datetime | None = None
    warnings: tuple[str, ...] = ()
    remediation: str = ""
    """What is kept of the write."""
    automatic: bool = False
    """Whether no person approved it."""

    def overwrote(self, changed_at: datetime) -> bool:
        """Whether a change of that moment lay between our reading and our write, and so may be lost."""
        return bool(self.etag) and self.written_at is not None and self.read_at < changed_at <= self.written_at


@dataclass(frozen=True, slots=True)
class Proposal:
    """The plan that is put to a person, as it was made at ``made_at``: what runs is this plan or none.

    ``warnings`` say, one sentence each, what may break and who may undo it.
    """

    digest: str
    etag: str
    changes: tuple[JsonObject, ...]
    warnings: tuple[str, ...]
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's yes to the plan with this digest."""

    digest: str
    by: str
    at: datetime
    reason: str
    object_id: str | None = None
    name: str = ""
    """``by`` without how we know who it was."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """How the last plan that was put to people was decided: ``state`` is approved, rejected or expired.

    ``by_ids`` are the object ids, in Entra, of those of whom they are known.
    """

    digest: str
    state: State
    by: str
    at: datetime
    reason: str
    by_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """Somebody's word that no machine touches this drift, until somebody releases it."""

    by: str
    at: datetime
    reason: str
    calls_people: bool = False
    """Somebody must act: there is to be a ticket, each time that the drift is there."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """Somebody's wish that a fix be undone: ``changes`` lead from what it left back to what there was before.

    ``findings`` are those that the fix was for: they are held from right before the rollback is written.
    """

    remediation: str
    findings: tuple[str, ...]
    changes: tuple[JsonObject, ...]
    warnings: tuple[str, ...]
    by: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a machine does not try again for now.

    It does once ``retry_at`` has come, or once somebody has changed the hub after ``since``. A ``final`` one
    lasts until the drift has gone.
    """

    reason: str
    since: datetime
    retry_at: datetime | None = None
    final: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a ticket could not be settled, and since when."""

    since: datetime
    reason: str


ASIDE: Final = frozenset({State.REPORTED, State.HELD, State.EXEMPT, State.REJECTED})
"""The drift is there and nobody is asked for now: a ticket that is open stays so, and says why."""
FOR_PEOPLE: Final = frozenset({State.TICKETED, State.AWAITING_APPROVAL})
"""Somebody must act: there is to be a ticket."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Hub × rule × subject, from the first sight of the drift on. All times are UTC."""

    hub: HubId
    rule_id: str
    subject: str
    severity: Severity
    summary: str
    first_seen: datetime
    last_seen: datetime
    evidence: dict[str, Json] = field(default_factory=dict)
    report_only: bool = False
    """Whatever the mode, it is told and nothing more is done about it."""
    state: State = State.OPEN
    occurrences: int = 1
    actor: Actor | None = None
    changed_at: datetime | None = None
    """When the actor's change happened, as its event said."""
    proposal: Proposal | None = None
    outdated: Proposal | None = None
    """What was put to people before the proposal, of the same drift: the hub was changed, and it never ran."""
    agreed: tuple[Approval, ...] = ()
    """Who said yes to the proposal so far, where several must."""
    approval: Approval | None = None
    ruling: Ruling | None = None
    """Kept when the drift has gone: who asks later is told what was decided."""
    attempt: Attempt | None = None
    attempts: int = 0
    obstacle: Obstacle | None = None
    hold: Hold | None = None
    rollback: Rollback | None = None
    """Set where this is no drift, but the wish to undo a fix; it lives as a finding does, in a row of its own."""
    limit: Limit | None = None
    """Set while a limit holds it: it gets its turn without a person, in order."""
    calls_people: bool = False
    """While a limit holds it: somebody must act, so there is to be a ticket."""
    fixes: tuple[datetime, ...] = ()
    """When it was fixed automatically, the last few times."""
    deeds: tuple[Deed, ...] = ()
    """Who made it drift, the last few times of which an event told."""
    ticket_open: bool = False
    """Whether its ticket is open as far as we know; a ticket system that was down is caught up with later."""
    ticket_system: str | None = None
    """In whose hands the open ticket is; where tickets go elsewhere by now, there is to be one there."""
    ticket_trouble: Trouble | None = None
    """Set while the ticket system did not take what it was told last."""
    exempted: Exempted | None = None
    """By what it is exempt, as far as it was at the last look."""
    end_told_at: datetime | None = None
    """When people were told that this exemption ends soon."""
    observed: bool = False
    """Whether it was looked at last while nothing may be changed in Azure."""
    tags: Mapping[str, str] | None = None
    """The hub's tags that the policy file asks about, as they were when the drift was last seen."""
    history: tuple[Step, ...] = ()

    @property
    def ticket_due(self) -> bool:
        """Whether the ticket system does not know yet where the finding stands.

        A ticket that could not be opened may be there all the same, where only the answer was lost.
        """
        if self.for_people:
            return not self.ticket_open or self.ticket_trouble is not None
        if self.state in ASIDE:
            return self.ticket_open and self.ticket_trouble is not None
        return self.state is State.RESOLVED and (self.ticket_open or self.ticket_trouble is not None)

    @property
    def seen_at(self) -> datetime:
        """When the drift was first seen, or since it was last gone."""
        return max((step.at for step in self.history if step.event is Event.SEEN), default=self.first_seen)

    @property
    def gone_at(self) -> datetime | None:
        """When the drift was last gone, as far as the history that is kept tells."""
        return max((step.at for step in self.history if step.event is Event.CLEARED), default=None)

    @property
    def changers(self) -> tuple[Actor, ...]:
        """Everybody who is known to have made the drift what it is, since it was last gone."""
        made = [deed.actor for deed in self.deeds if self.gone_at is None or deed.at > self.gone_at]
        return tuple(dict.fromkeys([*made, *([self.actor] if self.actor else [])]))

    @property
    def for_people(self) -> bool:
        """Whether somebody must act: there is to be a ticket."""
        called = self.calls_people or (self.hold is not None and self.hold.calls_people)
        return self.state in FOR_PEOPLE or (self.state is State.HELD and called)

    @property
    def id(self) -> str:
        """Stable over the finding's whole life, and the dedupe key of its ticket."""
        if self.rollback is not None:
            return rollback_finding_id(self.rollback.remediation)
        return finding_id(self.hub, self.rule_id, self.subject)

    @property
    def judged_at(self) -> datetime:
        """When the newest snapshot was taken that showed the drift, or its absence; an older one has no say."""
        cleared = (step.at for step in self.history if step.event is Event.CLEARED)
        return max((self.last_seen, *cleared))

    def after(self, event: Event, *, at: datetime, reason: str) -> Finding:
        """The finding once the event has happened.

        Raises:
            IllegalTransitionError: it cannot happen now.
        """
        state = transition(self.state, event)
        if state is self.state and event is Event.SEEN:
            return replace(self, last_seen=at)
        changed = self.noting(event, at=at, reason=reason, state=state)
        if state is not State.HELD:
            changed = replace(changed, limit=None, calls_people=False)
        if event is Event.SEEN:
            fresh = replace(changed, attempt=None, attempts=0, obstacle=None, actor=None, changed_at=None)
            return replace(fresh, last_seen=at, occurrences=self.occurrences + 1)
        if event is Event.CLEARED:
            return replace(changed, obstacle=None, proposal=None, outdated=None, agreed=(), approval=None)
        if event is Event.OUTDATED or event in _END_A_YES:
            return replace(changed, agreed=(), approval=None)
        return changed

    def noting(self, event: Event, *, at: datetime, reason: str, state: State | None = None) -> Finding:
        """The finding with this step in its history; by default it stays in its state."""
        step = Step(at, event, state or self.state, reason)
        return replace(self, state=step.state, history=(*self.history, step)[-HISTORY_KEPT:])

    def blaming(self, actor: Actor, at: datetime) -> Finding:
        """The finding with who made it drift at that moment; told again it counts once."""
        deed = Deed(actor, at)
        return self if deed in self.deeds else replace(self, deeds=(*self.deeds, deed)[-DEEDS_KEPT:])

    def began_after(self, at: datetime) -> bool:
        """Whether a change at that moment may have made it: before it was seen, and since it was last gone."""
        return at <= self.seen_at and (self.gone_at is None or at > self.gone_at)

    def suspecting(self, actor: Actor, at: datetime) -> Finding:
        """The finding with one more who may have made it drift, where somebody else is named already.

        Events come in any order: who is named first need not be who did it.
        """
        return self.blaming(actor, at) if self.began_after(at) and actor not in self.changers else self

    def fixed_at(self, at: datetime) -> Finding:
        """The finding with an automatic fix that began at that moment; told again it counts once."""
        return self if at in self.fixes else replace(self, fixes=(*self.fixes, at)[-FIXES_KEPT:])


def finding_id(hub: HubId, rule_id: str, subject: str) -> str:
    """A short name for hub × rule × subject; subjects are compared without case, as Azure does."""
    text = f"{hub.path}\n{rule_id}\n{subject.casefold()}"
    return f"f-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:16]}"


def rollback_finding_id(remediation: str) -> str:
    """A short name for the rollback of this remediation; no drift has it, for a hub's path begins otherwise."""
    return f"f-{hashlib.sha256(f'rollback\n{remediation}'.encode()).hexdigest()[:16]}"
