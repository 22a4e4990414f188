"""The exact changes that would end some findings of one hub, bound to the hub as it was read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import cast

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


@dataclass(frozen=True, slots=True)
class Change:
    """One JSON path of the hub body, before and after; ABSENT where there is no value."""

    path: Path
    before: MaybeJson
    after: MaybeJson
    rule_id: str

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {_shown(self.before)} → {_shown(self.after)}"

    def as_json(self) -> JsonObject:
        """Canonical content; an absent side is an absent key, so it differs from null."""
        sides = {"before": self.before, "after": self.after}
        present = cast("JsonObject", {name: value for name, value in sides.items() if value is not ABSENT})
        return {"path": list(self.path), "rule": self.rule_id, **present}


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes to one hub at one etag.

    Raises:
        PlanError: it is empty, or two changes overlap.
    """

    hub: HubId
    etag: str
    changes: tuple[Change, ...]

    def __post_init__(self) -> None:
        if not self.changes:
            raise PlanError(f"a plan for {self.hub} without a change")
        paths = sorted(change.path for change in self.changes)
        if not paths[0]:
            raise PlanError(f"a plan for {self.hub} that changes everything: a change without a path")
        for one, next_ in pairwise(paths):
            if next_[: len(one)] == one:
                raise PlanError(f"two changes overlap on {self.hub}: {dotted(one)} and {dotted(next_)}")

    @property
    def digest(self) -> str:
        """Names this plan and no other: hub, etag and every change enter it, their order does not."""
        changes = sorted((change.as_json() for change in self.changes), key=digest)
        return digest({"hub": self.hub.path, "etag": self.etag, "changes": list(changes)})

    def apply(self, body: JsonObject) -> JsonObject:
        """The hub body with the changes made and nothing else touched.

        Raises:
            PlanError: the body is not the one that the plan was made for.
        """
        if body.get("etag") != self.etag:
            raise PlanError(f"{self.hub} is at etag {body.get('etag')!r}, the plan was made at {self.etag!r}")
        for change in self.changes:
            found = get_at(body, change.path)
            if not same(found, change.before):
                raise PlanError(f"{self.hub}: {dotted(change.path)} is no longer {_shown(change.before)}")
        try:
            return reduce(lambda made, change: with_value(made, change.path, change.after), self.changes, body)
        except NotAnObjectError as error:
            raise PlanError(f"{self.hub}: {error}") from None


def _shown(value: MaybeJson) -> str:
    return "(absent)" if value is ABSENT else repr(value)
