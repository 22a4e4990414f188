"""Undoing a write: what is there now, what leads back, what stays different all the same, and what cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, cast

from hubwarden.domain.jsons import ABSENT, Json, JsonObject, MaybeJson, get_at, same
from hubwarden.domain.message import visible
from hubwarden.domain.plan import Change, Target, change_text, shown
from hubwarden.domain.remediation import Outcome, Remediation
from hubwarden.domain.snapshot import Facet, Snapshot, Unread


FACET: Final[Mapping[Target, Facet]] = MappingProxyType({
    Target.HUB: Facet.HUB,
    Target.POLICIES: Facet.POLICIES,
    Target.DIAGNOSTICS: Facet.DIAGNOSTICS,
    Target.DEFENDER: Facet.DEFENDER,
})  # fmt: skip
"""Where a snapshot shows what a target holds."""
_LONGEST: Final = 200
_NOT_A_SETTING: Final = frozenset({"id", "name", "type"})


def facets_of(changes: Sequence[Change]) -> frozenset[Facet]:
    """What must be read to know where these changes stand, the hub itself included."""
    return frozenset({Facet.HUB, *(FACET[change.target] for change in changes)})


def unread(snapshot: Snapshot, changes: Sequence[Change]) -> str | None:
    """Why the snapshot does not show the places of these changes, or None."""
    read = (snapshot.read(facet) for facet in sorted(facets_of(changes)))
    return next((facet.reason for facet in read if isinstance(facet, Unread)), None)


def value_at(snapshot: Snapshot, change: Change) -> MaybeJson:
    """What the change's place holds, in the form in which changes of that target tell it; it must be read."""
    data = snapshot.read(FACET[change.target])
    match change.target:
        case Target.HUB:
            return get_at(data, change.path)
        case Target.POLICIES:
            policy = _named(data["policies"], "keyName", change.path[0])
            return ABSENT if policy is None else {"rights": cast("Json", sorted(policy["rights"]))}
        case Target.DIAGNOSTICS:
            setting = _named(data["settings"], "name", change.path[0])
            return ABSENT if setting is None else setting["properties"]
        case Target.DEFENDER:
            solution = _named(data["solutions"], "id", change.path[0])
            if solution is None:
                return ABSENT
            body = {name: value for name, value in solution.items() if name not in _NOT_A_SETTING}
            return get_at(body, change.path[1:])


def undoing(changes: Sequence[Change], snapshot: Snapshot) -> tuple[Change, ...]:
    """The changes that lead from what the snapshot shows back to what there was before these.

    From what is there, and not from what was written: Azure spells some things in its own way.
    """
    return tuple(
        Change(change.path, value_at(snapshot, change), change.before, change.rule_id, change.target)
        for change in changes
    )


def moved(changes: Sequence[Change], snapshot: Snapshot) -> Iterator[str]:
    """The places that no longer hold what they held when the changes were made, and what they hold."""
    for change in changes:
        now = value_at(snapshot, change)
        if not same(now, change.before):
            yield f"{change.where} is {shown(now)} by now, and was left as {shown(change.before)}"


def shared(changes: Sequence[Change], snapshot: Snapshot) -> str | None:
    """Why it concerns other hubs too, whose own next look would undo it, and what a person can do; else None."""
    for change in changes:
        if change.target is not Target.DEFENDER or change.path[-1] == "iotHubs":
            continue
        hubs = value_at(snapshot, replace(change, path=(change.path[0], "properties", "iotHubs")))
        named = {str(hub).rstrip("/").lower() for hub in hubs} if isinstance(hubs, list) else set()
        others = sorted(named - {snapshot.hub.path})
        if others:
            return (
                f"{change.where} holds for other hubs too ({', '.join(others)}), and their next look would undo "
                f"it. First set {change.rule_id} to report for all of them in the policy file; then put it back "
                f"by hand to {visible(shown(change.after), _LONGEST)} (`remediations --output json` has it whole)"
            )
    return None


def not_back(changes: Sequence[Change], snapshot: Snapshot) -> Iterator[str]:
    """The places that do not hold what the changes put there. ARM means the same by null and by absence."""
    for change in changes:
        now = value_at(snapshot, change)
        if not same(_without_nulls(now), _without_nulls(change.after)):
            yield f"{change.where} is {shown(now)}, not {shown(change.after)}"


def obstacle(remediation: Remediation) -> str | None:
    """Why no machine rolls it back, and what a person can do instead; None where it can be planned."""
    if remediation.rolls_back is not None:
        return (
            f"it is the rollback of {remediation.rolls_back} itself: release what it holds "
            f"({', '.join(remediation.findings)}), and policy decides about the drift again"
        )
    if remediation.outcome is Outcome.ROLLED_BACK:
        return "it is rolled back already"
    if remediation.outcome is not Outcome.PROVEN or not remediation.undo:
        return f"that it took effect is not proven (it is {remediation.outcome}): look at the hub itself"
    reasons = (_by_hand(remediation, Change.of(change)) for change in remediation.undo)
    return next((reason for reason in reasons if reason is not None), None)


def _by_hand(remediation: Remediation, undo: Change) -> str | None:
    """Nothing that was created is deleted: hubwarden has no right to delete anything, and wants none."""
    first = (
        f"First put {' and '.join(remediation.findings)} on hold, or the next sweep makes it again: "
        f"python -m hubwarden.cli hold {remediation.findings[0]} --reason TEXT. Then:"
    )
    if undo.target is Target.DIAGNOSTICS and undo.after is ABSENT:
        return (
            f"the fix created the diagnostic setting {undo.path[0]}, and hubwarden has no right to delete one. "
            f"{first} az monitor diagnostic-settings delete --name {undo.path[0]} "
            f"--resource {remediation.hub.path}"
        )
    if undo.target is Target.DEFENDER and len(undo.path) == 1:
        return (
            "the fix created the IoT security solution, and hubwarden has no right to delete one; other hubs may "
            f"have been put into it since. {first} az security iot-solution delete "
            f"--solution-name {undo.path[0].rsplit('/', 1)[1]} --resource-group {undo.path[0].split('/')[4]}"
        )
    if undo.target is Target.HUB and undo.after == "":
        return f"{undo.where} held an empty text, which Azure shows but does not take"
    return None


def shortfalls(fix: Sequence[Change], undo: Sequence[Change]) -> Iterator[str]:
    """What is not as it was after the rollback, or is so for others too: one sentence each."""
    for done, back in zip(fix, undo, strict=True):
        match back.target:
            case Target.POLICIES:
                yield from _of_policy(done, back)
            case Target.DIAGNOSTICS:
                yield f"The setting {back.path[0]} is put back whole: what it sends now, it sends no longer."
            case Target.DEFENDER:
                yield from _of_solution(back)
            case Target.HUB:
                pass


def _of_policy(done: Change, back: Change) -> Iterator[str]:
    name = back.path[0]
    if back.before is ABSENT:
        yield (
            f"This is not whole: {name} comes back with new keys. Whoever used the old ones stays cut off "
            "until they are given the new ones."
        )
        return
    yield f"{name} has its wider rights back, for whoever holds its keys."
    if isinstance(done.after, dict) and done.after.get("newKeys"):
        yield f"This is not whole: {name} keeps the keys that it has now. The ones from before stay invalid."


def _of_solution(back: Change) -> Iterator[str]:
    member = back.path[-1]
    if member == "iotHubs":
        yield "The hub leaves the security solution: Defender for IoT no longer watches it."
    else:
        yield f"{member} is put back for every hub in the security solution."
    yield "Solutions have no etag: what somebody else changes in it at the same moment may be overwritten."


def undo_text(undo: Sequence[JsonObject]) -> str:
    """The changes as people read them, on one line."""
    return "; ".join(change_text(change) for change in undo)


def _named(items: Sequence[Mapping[str, Any]], member: str, name: str) -> Mapping[str, Any] | None:
    """The item of this name; Azure compares names without case."""
    return next((item for item in items if str(item.get(member)).lower() == name.lower()), None)


def _without_nulls(value: MaybeJson) -> MaybeJson:
    if value is None:
        return ABSENT
    if isinstance(value, dict):
        return {name: cast("Json", _without_nulls(inner)) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [item if item is None else cast("Json", _without_nulls(item)) for item in value]
    return value
