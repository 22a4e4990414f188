"""What must hold at the end, told as sentences about what does not; none is good."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from hubwarden.domain.finding import IN_FLIGHT, Finding, State
from local.soak.ledger import HubState, Write, hub_of, hub_writes


_EXPLAINED: Final = frozenset(State) - IN_FLIGHT - {State.RESOLVED, State.APPROVED, State.OPEN, State.STALE}
"""States in which a finding says why the hub still drifts, and who or what it waits for."""

type Line = Mapping[str, Any]
type Asked = Mapping[str, Any]


def lost(states: Mapping[str, HubState], findings: Sequence[Finding]) -> Iterator[str]:
    """Drifts that no finding explains, and findings of drifts that are not there."""
    stands = {
        (finding.hub.name, finding.rule_id): finding for finding in findings if finding.state is not State.RESOLVED
    }
    drifts = {(hub, rule) for hub, state in states.items() for rule in state.drifts()}
    for hub, rule in sorted(drifts):
        finding = stands.get((hub, rule))
        if finding is None:
            yield f"{hub} drifts from {rule}, and no finding says so"
        elif finding.state not in _EXPLAINED or not finding.history[-1].reason:
            yield f"{hub} drifts from {rule}, and its finding is {finding.state} without an end"
    for hub, rule in sorted(stands.keys() - drifts):
        yield f"{hub} holds {rule}, and its finding is still {stands[hub, rule].state}"


def unaudited(requests: Sequence[Asked], audit: Sequence[Line], principal: str) -> Iterator[str]:
    """Requests to write without an audit line of their own before them, and lines of writes that never were."""
    announced: dict[str, list[datetime]] = defaultdict(list)
    for line in audit:
        if line["kind"] == "write" and line["outcome"] == "about to be sent":
            announced[_name(line)].append(datetime.fromisoformat(line["at"]))
    accepted = Counter(_name(line) for line in audit if line["kind"] == "write" and line["outcome"] == "accepted")
    sent: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for request in hub_writes(requests):
        hub = hub_of(request["path"])
        if request["principal"] != principal or hub is None:
            continue
        at = datetime.fromisoformat(request["time"])
        sent[hub] += 1
        taken[hub] += request["taken"] is not None and request["taken"] < 300  # noqa: PLR2004
        if sum(when <= at for when in announced[hub]) < sent[hub]:
            yield f"request {request['number']} wrote {hub} without an audit line before it"
    for hub, count in accepted.items():
        if count > taken[hub]:
            yield f"the audit trail tells of {count} accepted writes of {hub}; Azure took {taken[hub]}"


def unpermitted(audit: Sequence[Line], asking: frozenset[str]) -> Iterator[str]:
    """Writes without a decision that allowed them: of the policy, or (``asking`` rules) of a person."""
    seen = _Permissions(asking)
    for line in audit:
        match line["kind"]:
            case "finding":
                seen.moved(line)
            case "approval" if line["decision"].startswith("approved"):
                seen.said_yes.add(line["finding"])
            case "write" if line["outcome"] == "about to be sent":
                yield from seen.missing(line)


class _Permissions:
    """What is permitted, as the audit trail tells it up to some line."""

    def __init__(self, asking: frozenset[str]) -> None:
        self._asking = asking
        self._rules: dict[str, str] = {}
        self._approved: set[str] = set()
        self.said_yes: set[str] = set()

    def moved(self, line: Line) -> None:
        finding = line["finding"]
        self._rules[finding] = line["rule"]
        # A line tells what is about to be stored: one that says "resolved" may have come too late for that.
        if line["from"] in {None, State.RESOLVED}:
            self._approved.discard(finding)
            self.said_yes.discard(finding)
        if line["to"] == State.APPROVED:
            self._approved.add(finding)
        elif line["to"] == State.AWAITING_APPROVAL:
            self.said_yes.discard(finding)

    def missing(self, line: Line) -> Iterator[str]:
        for finding in line["findings"]:
            if finding not in self._approved:
                yield f"a write of {_name(line)} for {finding}, which was not approved"
            elif self._rules[finding] in self._asking and finding not in self.said_yes:
                yield f"a write of {_name(line)} for {finding}, which nobody said yes to"


def needless(writes: Sequence[Write], principal: str) -> Iterator[str]:
    """Effective writes that repaired nothing, as a second fix of one drift does, and those that undid anything."""
    for write in writes:
        if write.by != principal:
            continue
        if not write.repaired:
            yield f"request {write.number} wrote {write.hub}, which had no drift that it repaired"
        if broken := write.after.drifts() - write.before.drifts():
            yield f"request {write.number} broke {sorted(broken)} of {write.hub}"
        if write.after.tags != write.before.tags:
            yield f"request {write.number} changed the tags of {write.hub}"
        gone = write.before.policies.keys() - write.after.policies.keys() - {"rogue"}
        if gone:
            yield f"request {write.number} removed {sorted(gone)} from {write.hub}"


def _name(line: Line) -> str:
    return str(line["hub"]).rpartition("/")[2]
