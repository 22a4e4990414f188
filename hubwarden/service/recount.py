"""recount: an operator does not want to wait for the next count of a hub's devices."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hubwarden.domain.hub_id import HubId
from hubwarden.domain.rule import Mode
from hubwarden.domain.snapshot import Facet
from hubwarden.domain.where import Tags
from hubwarden.service.errors import StaleWriteError
from hubwarden.service.messages import EvaluateMessage
from hubwarden.service.ports import HubRecord, Ports


_TRIES: Final = 5
_CAUSE: Final = "an operator asked for a count"


class NotCountedError(Exception):
    """The hub's devices are not counted, and why."""


async def recount(ports: Ports, hub: HubId) -> None:
    """Have the hub's devices counted now; new ones whose grace is not over are counted like all others.

    While a count is under way, the next begins once that is over.

    Raises:
        NotCountedError: nobody wants this hub's devices counted.
        StaleWriteError: the hub's record was changed by somebody else each time.
    """
    before = await ports.records.get(hub)
    _check_wanted(ports, hub, before.value.tags if before else None)
    for tries_left in reversed(range(_TRIES)):
        stored = await ports.records.get(hub)
        known = stored.value if stored else HubRecord(hub)
        due = replace(known, count_due=ports.clock.now())
        try:
            await ports.records.save(due, stored.etag if stored else None)
        except StaleWriteError:
            if not tries_left:
                raise
            continue
        break
    await ports.work.send(EvaluateMessage(hub=hub.path, asked_at=ports.clock.now(), cause=_CAUSE))


def _check_wanted(ports: Ports, hub: HubId, tags: Tags | None) -> None:
    if not ports.policy.watches(hub):
        raise NotCountedError(f"{hub} is in no subscription that the policy file names")
    counting = [rule.id for rule in ports.rules if Facet.DEVICES in rule.reads]
    if all(ports.policy.mode_of(rule, hub, tags) is Mode.OFF for rule in counting):
        raise NotCountedError(f"no rule wants devices counted: {', '.join(counting) or 'none that does'} is off")
