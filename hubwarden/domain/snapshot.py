"""What was read of a hub at one moment. It never holds a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import ABSENT, Json, get_at


class Facet(StrEnum):
    """One kind of evidence about a hub; each is read, and can fail to be read, on its own."""

    HUB = "hub"
    """The hub's body as Azure sent it, keys masked."""
    POLICIES = "policies"
    """``{"policies": [{"keyName": str, "rights": [str, …]}]}``: names and rights, sorted, never a key."""
    DIAGNOSTICS = "diagnostics"
    """``{"settings": [bodies], "categories": {log category: [groups]}, "destinations": {id: "exists" | "gone"}}``.

    Ids of destinations are lower case; one whose existence could not be found out is missing.
    """
    DEFENDER = "defender"
    """``{"solutions": [bodies]}``: every IoT security solution of the hub's subscription, as ARM shows it."""
    DEVICES = "devices"
    """What the last count of the hub's devices came to: Census.facet, with ``"counted_at"`` (ISO 8601, UTC)."""


DEAD_STATES: Final = frozenset({"ActivationFailed", "DeletionFailed", "Deleting"})


@dataclass(frozen=True, slots=True)
class Unread:
    """A facet that could not be read, and why, in words for an operator.

    ``missing_action`` is the ARM action that the identity lacks, where that is the reason. ``passing`` says that
    it is worth asking again soon.
    """

    reason: str
    missing_action: str | None = None
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The facets of one hub: each either data or Unread. ``taken_at`` is UTC, from before the first read.

    ``last_good`` maps a rule's id to the evidence of the last look at which it held, ``last_seen`` to that of
    the last look at all. ``remembered`` are the facets that cost no call, for what is known of them still stands.
    """

    hub: HubId
    taken_at: datetime
    facets: Mapping[Facet, Any]
    last_good: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    remembered: frozenset[Facet] = frozenset()
    last_seen: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)

    def read(self, facet: Facet) -> Any:
        """The facet's data or an Unread; a facet that nobody tried to read is Unread too."""
        return self.facets.get(facet, Unread(f"the {facet} facet was not asked for"))

    @property
    def passing(self) -> str | None:
        """Why some facet could not be read for now, where asking again soon may help."""
        reasons = (facet.reason for facet in self.facets.values() if isinstance(facet, Unread) and facet.passing)
        return next(reasons, None)

    @property
    def etag(self) -> str | None:
        """The etag in the hub's body; ARM sends none in a header (RECORDINGS §2.4)."""
        etag = get_at(self.read(Facet.HUB), ("etag",))
        return etag if isinstance(etag, str) else None

    @property
    def tags(self) -> Mapping[str, Any] | None:
        """The hub's tags; None where the hub was not read, or they are no tags."""
        body = self.read(Facet.HUB)
        tags = get_at(body, ("tags",))
        if tags is ABSENT or tags is None:
            return None if isinstance(body, Unread) else {}
        return tags if isinstance(tags, Mapping) else None

    @property
    def at_rest(self) -> bool:
        """Whether no operation is running on the hub: only then may it be written (RECORDINGS §2.7)."""
        return bool(self._property("provisioningState") == "Succeeded")

    @property
    def dead(self) -> str | None:
        """The state of a hub that serves nobody and cannot be changed; lists show such hubs (RECORDINGS §2.7)."""
        state = self._property("state")
        return state if isinstance(state, str) and state in DEAD_STATES else None

    def _property(self, name: str) -> Any:
        found = get_at(self.read(Facet.HUB), ("properties", name))
        return None if found is ABSENT else found
