"""The exact changes that would end some findings of one hub, bound to the hub as it was read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from itertools import pairwise
from typing import Any, cast

from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import (
    ABSENT,
    JsonObject,
    MaybeJson,
    NotAnObjectError,
    Path,
    digest,
    dotted,
    get_at,
    same,
    with_value,
)


class PlanError(ValueError):
    """The changes do not fit together, or not onto this hub: nothing may be written."""


class Target(StrEnum):
    """What a change is made on."""

    HUB = "hub"
    """The hub's body; the path leads into it."""
    POLICIES = "policies"
    """The hub's shared access policies; the path is a policy's name, a value ``{"rights": [str, …]}``.

    ``{"rights": […], "newKeys": true}`` after the change gives the policy new keys.
    """
    DIAGNOSTICS = "diagnostics"
    """The hub's diagnostic settings; the path is a setting's name, a value its ``properties``."""
    DEFENDER = "defender"
    """IoT security solutions; the path is a solution's id in lower case, and on from there into its body.

    The id alone stands for the whole body, without ``id``, ``name`` and ``type``.
    """

    @property
    def written_with(self) -> Target:
        """Targets that are written with one request belong together."""
        return Target.HUB if self is Target.POLICIES else self


@dataclass(frozen=True, slots=True)
class Change:
    """One path of a target, before and after; ABSENT where there is no value."""

    path: Path
    before: MaybeJson
    after: MaybeJson
    rule_id: str
    target: Target = Target.HUB

    def __str__(self) -> str:
        return change_text(self.as_json())

    @property
    def where(self) -> str:
        """Its place, as people read it."""
        return change_parts(self.as_json())[0]

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Change:
        """The change that ``as_json`` made this of."""
        before, after = (content.get(side, ABSENT) for side in ("before", "after"))
        target = Target(content.get("target", Target.HUB))
        return cls(tuple(content["path"]), before, after, content["rule"], target)

    def as_json(self) -> JsonObject:
        """Canonical content; an absent side is an absent key, so it differs from null."""
        sides = {"before": self.before, "after": self.after}
        present = cast("JsonObject", {name: value for name, value in sides.items() if value is not ABSENT})
        target: JsonObject = {} if self.target is Target.HUB else {"target": self.target.value}
        return {"path": list(self.path), "rule": self.rule_id, **target, **present}


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes to one hub at one etag, that one request carries out.

    Raises:
        PlanError: it is empty, two changes overlap, or they need several requests.
    """

    hub: HubId
    etag: str
    changes: tuple[Change, ...]

    def __post_init__(self) -> None:
        if not self.changes:
            raise PlanError(f"a plan for {self.hub} without a change")
        if len({change.target.written_with for change in self.changes}) > 1:
            raise PlanError(f"a plan for {self.hub} that needs several requests")
        paths = sorted((change.target, *change.path) for change in self.changes)
        if any(not change.path for change in self.changes):
            raise PlanError(f"a plan for {self.hub} that changes everything: a change without a path")
        for one, next_ in pairwise(paths):
            if next_[: len(one)] == one:
                raise PlanError(f"two changes overlap on {self.hub}: {dotted(one[1:])} and {dotted(next_[1:])}")

    @property
    def digest(self) -> str:
        """Names this plan and no other: hub, etag and every change enter it, their order does not."""
        changes = sorted((change.as_json() for change in self.changes), key=digest)
        return digest({"hub": self.hub.path, "etag": self.etag, "changes": list(changes)})

    @property
    def target(self) -> Target:
        """What its request writes."""
        return self.changes[0].target.written_with

    def on(self, target: Target) -> tuple[Change, ...]:
        """The changes that are made on this target."""
        return tuple(change for change in self.changes if change.target is target)

    def apply(self, body: JsonObject) -> JsonObject:
        """The hub body with the changes on it made and nothing else touched.

        Raises:
            PlanError: the body is not the one that the plan was made for.
        """
        if body.get("etag") != self.etag:
            raise PlanError(f"{self.hub} is at etag {body.get('etag')!r}, the plan was made at {self.etag!r}")
        return applied(self.on(Target.HUB), body, str(self.hub))


def applied(changes: Sequence[Change], body: JsonObject, what: str) -> JsonObject:
    """The body with these changes made, whatever their target.

    Raises:
        PlanError: a place does not hold what the change says was there; the message begins with ``what``.
    """
    for change in changes:
        if not same(get_at(body, change.path), change.before):
            raise PlanError(f"{what}: {dotted(change.path)} is no longer {shown(change.before)}")
    try:
        return reduce(lambda made, change: with_value(made, change.path, change.after), changes, body)
    except NotAnObjectError as error:
        raise PlanError(f"{what}: {error}") from None


def change_text(change: Mapping[str, Any]) -> str:
    """A change as people read it, from what ``Change.as_json`` made of it."""
    where, before, after = change_parts(change)
    return f"{where}: {before} → {after}"


def change_parts(change: Mapping[str, Any]) -> tuple[str, str, str]:
    """Where, before and after, as people read them."""
    path = dotted(tuple(change["path"]))
    where = f"{change['target']} {path}" if "target" in change else path
    return where, shown(change.get("before", ABSENT)), shown(change.get("after", ABSENT))


def plan_difference(earlier: Sequence[Mapping[str, Any]], later: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What is different in a plan from an earlier one, one line a place; of both, what ``Change.as_json`` made.

    Where nothing is, one line says so: then only the hub's etag is another.
    """
    before, after = _by_place(earlier), _by_place(later)
    lines = [line for place in {**before, **after} for line in _difference(place, before, after)]
    return tuple(lines) or ("The changes are the same; the hub was written in between, by whomever.",)


def _by_place(changes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    parts = (change_parts(change) for change in changes)
    return {where: f"{before} → {after}" for where, before, after in parts}


def _difference(place: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    was, is_now = before.get(place), after.get(place)
    if was is None:
        yield f"{place}: new in this plan: {is_now}"
    elif is_now is None:
        yield f"{place}: no longer in this plan; it was: {was}"
    elif was != is_now:
        yield f"{place}: was {was}, is now {is_now}"


def shown(value: MaybeJson) -> str:
    """A value as people read it."""
    return "(absent)" if value is ABSENT else repr(value)
