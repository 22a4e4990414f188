"""What a message says: notices of what happened to findings, and how many of them become one message."""

from __future__ import annotations

import hashlib
import json

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from hubwarden.domain.finding import IN_FLIGHT, Event, Finding, State, Step
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.severity import Severity


SHOWN: Final = 10
TOGETHER: Final = 50
"""As many requests as one page and one address can hold."""
PAGES: Final = 5
"""As many pages as every channel has room for: a card of Teams has five buttons."""

_LONGEST: Final = 300


class Kind(StrEnum):
    """What a notice tells."""

    REPORTED = "reported"
    ASKED = "asked"
    """A person must decide."""
    REMINDER = "reminder"
    """A person has still to decide."""
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    TICKETED = "ticketed"
    FAILED = "failed"
    FIXED = "fixed"
    """Our fix is verified."""
    CLEARED = "cleared"
    """The drift is gone without a fix of ours."""
    CAME_BACK = "came_back"
    EXEMPTION_ENDS = "exemption_ends"
    """The drift is accepted for a few more days only."""
    HELD = "held"
    """A limit holds it, and somebody must act: told once for all that the limit holds."""


OUTCOMES: Final = frozenset({
    Kind.APPROVED, Kind.REJECTED, Kind.EXPIRED, Kind.FAILED, Kind.FIXED, Kind.CLEARED, Kind.TICKETED
})  # fmt: skip
"""How it went on: whoever was told the beginning is told these too."""

_TITLES: Final[Mapping[Kind, str]] = {
    Kind.REPORTED: "Drift found",
    Kind.ASKED: "Approval needed",
    Kind.REMINDER: "Approval still needed",
    Kind.APPROVED: "Approved",
    Kind.REJECTED: "Rejected",
    Kind.EXPIRED: "Nobody decided in time",
    Kind.TICKETED: "A person must fix this",
    Kind.FAILED: "The fix failed",
    Kind.FIXED: "Fixed and verified",
    Kind.CLEARED: "Gone without a fix of ours",
    Kind.CAME_BACK: "Drift came back",
    Kind.EXEMPTION_ENDS: "An exemption ends soon",
    Kind.HELD: "Held until somebody decides",
}

_OF_ROLLBACKS: Final[Mapping[Kind, str]] = {
    Kind.ASKED: "Approval of a rollback needed",
    Kind.REMINDER: "Approval of a rollback still needed",
    Kind.APPROVED: "Rollback approved",
    Kind.REJECTED: "Rollback rejected",
    Kind.TICKETED: "A rollback was not carried out",
    Kind.FAILED: "The rollback failed",
    Kind.FIXED: "Rolled back and verified",
    Kind.CLEARED: "The rollback is off",
}

_OF_EVENTS: Final[Mapping[Event, Kind]] = {
    Event.REPORT: Kind.REPORTED,
    Event.ASK: Kind.ASKED,
    Event.APPROVE: Kind.APPROVED,
    Event.REJECT: Kind.REJECTED,
    Event.EXPIRE: Kind.EXPIRED,
    Event.TICKET: Kind.TICKETED,
    Event.DENIED: Kind.TICKETED,
    Event.REFUSED: Kind.FAILED,
    Event.NO_EFFECT: Kind.FAILED,
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that happened to one finding at ``at`` (UTC), as it is to be told."""

    kind: Kind
    finding: str
    hub: HubId
    rule_id: str
    severity: Severity
    summary: str
    reason: str
    actor: str | None
    at: datetime
    occurrences: int = 1
    rollback: bool = False
    """Whether it is about a fix that is to be undone."""
    verified_after: int | None = None
    """Seconds from our write to the proof, of a fix."""
    digest: str | None = None
    """The plan that is asked about."""


@dataclass(frozen=True, slots=True)
class Item:
    """One hub's line in a message; ``url`` is where a person decides, where there is such a page."""

    hub: str
    text: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent as one: every text in it is one line of visible characters.

    ``about`` is all that it tells, ``items`` the first of it. ``together`` are pages on which several requests of
    it are decided at once, each with what is written on its button.
    """

    id: str
    kind: Kind
    severity: Severity
    rule_id: str
    title: str
    facts: tuple[tuple[str, str], ...]
    items: tuple[Item, ...]
    about: tuple[Notice, ...]
    at: datetime
    together: tuple[tuple[str, str], ...] = ()

    @property
    def count(self) -> int:
        """How many notices it tells."""
        return len(self.about)

    @property
    def more(self) -> str | None:
        """What the items leave out."""
        rest = self.count - len(self.items)
        return f"and {rest} more" if rest else None

    @property
    def lines(self) -> tuple[str, ...]:
        """The message as plain text, line by line."""
        facts = (f"{name}: {value}" for name, value in self.facts)
        items = (f"- {item.text}" + (f"\n  {item.url}" if item.url else "") for item in self.items)
        pages = (f"{label}: {url}" for label, url in self.together)
        return (self.title, "", *facts, "", *items, *filter(None, [self.more]), *pages)


def visible(text: str, longest: int = _LONGEST) -> str:
    """One line, whatever Azure told: nothing in it can begin another, or turn the direction of reading."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def notices(before: Finding | None, after: Finding) -> Iterator[Notice]:
    """What of the finding's new steps is to be told."""
    known: Collection[Step] = before.history if before else ()
    for step, kind in _steps(after):
        if kind is not None and step not in known:
            yield notice(after, kind, at=step.at, reason=step.reason)


def _steps(finding: Finding) -> Iterator[tuple[Step, Kind | None]]:
    """The finding's steps, and what each of them tells."""
    state: State | None = None
    for step in finding.history:
        called = step.event is Event.HOLD and finding.for_people and step is finding.history[-1]
        yield step, Kind.HELD if called else _kind(state, step)
        state = step.state


def _kind(before: State | None, step: Step) -> Kind | None:
    if step.event is Event.SEEN:
        return Kind.CAME_BACK if before is State.RESOLVED else None
    if step.event is Event.CLEARED:
        return Kind.FIXED if before in IN_FLIGHT else Kind.CLEARED
    return _OF_EVENTS.get(step.event)


def notice(finding: Finding, kind: Kind, *, at: datetime, reason: str) -> Notice:
    """A notice of the finding as it is."""
    written = finding.attempt.written_at if kind is Kind.FIXED and finding.attempt else None
    asking = finding.proposal is not None and kind in {Kind.ASKED, Kind.REMINDER}
    return Notice(
        kind=kind,
        finding=finding.id,
        hub=finding.hub,
        rule_id=finding.rule_id,
        severity=finding.severity,
        summary=finding.summary,
        reason=reason,
        actor=str(finding.actor) if finding.actor else None,
        at=at,
        occurrences=finding.occurrences,
        rollback=finding.rollback is not None,
        verified_after=round((at - written).total_seconds()) if written else None,
        digest=finding.proposal.digest if asking and finding.proposal else None,
    )


def still_true(told: Notice, finding: Finding | None) -> bool:
    """Whether it did happen: a notice is written before its finding is, and that may have been refused."""
    if finding is None:
        return False
    if told.kind is Kind.REMINDER:
        asked = finding.proposal.digest if finding.proposal else None
        return finding.state is State.AWAITING_APPROVAL and asked == told.digest
    if told.kind is Kind.EXEMPTION_ENDS:
        return finding.state is State.EXEMPT and finding.end_told_at == told.at
    return any(step.at == told.at for step in finding.history)


def told_before(finding: Finding) -> frozenset[Kind]:
    """What there was to tell of the drift since it was last seen anew."""
    kinds: set[Kind] = set()
    for step, kind in _steps(finding):
        kinds = set() if step.event is Event.SEEN else kinds
        kinds |= {kind} if kind else set()
    return frozenset(kinds)


type LinkTo = Callable[[Sequence[Notice]], str | None]
"""The page on which a person decides what these notices ask, where there is one."""


type Cause = tuple[Kind, str, Severity, str | None, bool]


def cause(one: Notice) -> Cause:
    """What it has in common with what is told together: its kind, the rule, the severity and the person.

    What is undone is told apart from what is fixed.
    """
    return one.kind, one.rule_id, one.severity, one.actor, one.rollback


def group(told: Iterable[Notice], link: LinkTo = lambda _: None) -> list[Message]:
    """The messages: what has one cause is one message, whose items are the first ten.

    Of requests, one message holds no more than it has pages for, so that each can be decided from it.
    """
    causes: dict[Cause, list[Notice]] = {}
    for one in sorted(told, key=lambda one: (one.at, one.hub.path, one.finding)):
        causes.setdefault(cause(one), []).append(one)
    return [_message(some, link) for together in causes.values() for some in _parts(together)]


def _parts(together: Sequence[Notice]) -> Iterator[Sequence[Notice]]:
    asks = any(one.digest is not None for one in together)
    most = TOGETHER * PAGES if asks else len(together)
    return (together[start : start + most] for start in range(0, len(together), most))


def _message(together: Sequence[Notice], link: LinkTo) -> Message:
    first = together[0]
    hubs = len({one.hub for one in together})
    where = visible(first.hub.name, 80) if hubs == 1 else f"{hubs} hubs"
    return Message(
        id=_id(together),
        kind=first.kind,
        severity=first.severity,
        rule_id=first.rule_id,
        title=f"{_title(first)}: {first.rule_id} on {where}",
        facts=(
            ("Rule", first.rule_id),
            ("Severity", first.severity.value),
            (
                "Asked for by" if first.rollback else "Changed by",
                visible(first.actor, 100) if first.actor else "not known; no event told",
            ),
        ),
        items=tuple(_item(one, link([one])) for one in together[:SHOWN]),
        about=tuple(together),
        at=first.at,
        together=tuple(_pages(together, link)) if len(together) > 1 else (),
    )


def _title(one: Notice) -> str:
    return _OF_ROLLBACKS.get(one.kind, _TITLES[one.kind]) if one.rollback else _TITLES[one.kind]


def _pages(together: Sequence[Notice], link: LinkTo) -> Iterator[tuple[str, str]]:
    """The pages on which all of it is decided, with their labels."""
    for start in range(0, len(together), TOGETHER):
        some = together[start : start + TOGETHER]
        url = link(some)
        if url is not None:
            part = "all" if len(some) == len(together) else f"{start + 1} to {start + len(some)} of"
            yield f"Decide on {part} {len(together)}", url


def _id(together: Sequence[Notice]) -> str:
    """The same for the same notices, however often they are sent."""
    told = [[one.kind, one.finding, one.rule_id, one.severity, one.actor, one.at.isoformat()] for one in together]
    return f"m-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:24]}"


def _item(one: Notice, url: str | None) -> Item:
    text = f"{one.hub.name}: {one.summary}"
    if one.kind is Kind.FIXED:
        late = "" if one.verified_after is None else f" {one.verified_after} s later"
        text += f" ({'rolled back' if one.rollback else 'fixed'}, verified{late})"
    elif one.kind is Kind.CAME_BACK:
        text += f" (seen {one.occurrences} times)"
    else:
        text += f" ({one.reason})"
    return Item(visible(one.hub.name, 80), visible(text), url)
