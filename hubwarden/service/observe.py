"""Reading a hub from Azure into a snapshot."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import ABSENT, JsonObject, get_at
from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from hubwarden.service.errors import ConflictError, DeniedError, PermanentError, TransientError
from hubwarden.service.ports import Ports


_OVER: Final = ("Succeeded", "Failed")


async def observe(ports: Ports, hub: HubId) -> Snapshot:
    """Read the hub now. What may not be read is an Unread facet with the reason; one ARM read.

    Raises:
        HubGoneError: there is no such hub.
        TransientError: come back later.
    """
    taken_at = ports.clock.now()
    try:
        return snapshot_of(hub, await ports.hubs.get_hub(hub), taken_at)
    except DeniedError as error:
        unread = Unread(str(error), error.missing_action)
    except PermanentError as error:
        unread = Unread(str(error))
    except ConflictError as error:
        raise TransientError(str(error)) from error
    return Snapshot(hub, taken_at, {Facet.HUB: unread})


def busy(snapshot: Snapshot) -> bool:
    """Whether an operation is running on the hub: what is read meanwhile may be neither before nor after it."""
    state = get_at(snapshot.read(Facet.HUB), ("properties", "provisioningState"))
    return not (state is ABSENT or state in _OVER or snapshot.dead)


def snapshot_of(hub: HubId, body: JsonObject, taken_at: datetime) -> Snapshot:
    """A snapshot of a body that was read already, by a list for one."""
    return Snapshot(hub, taken_at, {Facet.HUB: body})
