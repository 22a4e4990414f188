"""What every rule asks before it judges: was the hub seen, is there anything to judge, and is it understood?"""

from __future__ import annotations

from typing import Final

from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from hubwarden.domain.verdict import Unknown


_DEAD: Final = "the hub is {}: it serves nobody and cannot be changed"


class ShapeError(ValueError):
    """An answer does not have the shape that we know, so that nothing may be concluded from it."""


def unseen(snapshot: Snapshot, *facets: Facet) -> Unknown | None:
    """Why a rule that reads the hub's body and these facets cannot judge, or None where it can."""
    body = snapshot.read(Facet.HUB)
    if not isinstance(body, Unread) and snapshot.dead:
        return Unknown(_DEAD.format(snapshot.dead))
    unread = (data for data in (body, *map(snapshot.read, facets)) if isinstance(data, Unread))
    return next((Unknown(data.reason, data.missing_action) for data in unread), None)
