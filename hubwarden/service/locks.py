"""A lock forbids a fix: seen before the write, where locks may be read."""

from __future__ import annotations

import logging

from collections.abc import Collection, Mapping

from hubwarden.domain.plan import Plan, Target
from hubwarden.service.errors import AzureError
from hubwarden.service.ports import Ports


log = logging.getLogger(__name__)


async def locked(ports: Ports, plans: Collection[Plan]) -> Mapping[str, str]:
    """Digest → the scope of the ReadOnly lock that forbids the plan; one ARM read per subscription.

    Where locks cannot be read, none is known: then the write itself is refused.
    """
    scopes = {plan.digest: _written(plan) for plan in plans}
    found: dict[str, str] = {}
    for subscription in sorted({scope.split("/")[2] for scope in scopes.values()}):
        try:
            read_only = await ports.hubs.read_only_scopes(subscription)
        except AzureError as error:
            log.info("locks are not looked at before the write: %s", error)
            continue
        found |= {
            digest: lock
            for digest, scope in scopes.items()
            for lock in read_only
            if scope == lock or scope.startswith(f"{lock}/")
        }
    return found


def _written(plan: Plan) -> str:
    """The id of what the plan writes, in lower case."""
    return plan.changes[0].path[0] if plan.target is Target.DEFENDER else plan.hub.path
