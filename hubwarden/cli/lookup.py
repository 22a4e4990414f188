"""What a command line names, found in what is known."""

from __future__ import annotations

from hubwarden.cli.surroundings import CommandError
from hubwarden.domain.finding import Finding
from hubwarden.domain.hub_id import HubId, NotAHubError
from hubwarden.service.approve import NoSuchFindingError
from hubwarden.service.ports import Ports


async def found(ports: Ports, finding_id: str) -> Finding:
    """The finding of this id.

    Raises:
        NoSuchFindingError: there is none.
    """
    stored = await ports.findings.find(finding_id)
    if stored is None:
        raise NoSuchFindingError(f"there is no finding {finding_id}")
    return stored.value


async def hub_named(ports: Ports, name: str) -> HubId:
    """The hub of this resource id, or the known one of this name; no two hubs in Azure share one.

    Raises:
        CommandError: no hub of this name is known.
    """
    try:
        return HubId.parse(name)
    except NotAHubError:
        pass
    for subscription in await ports.records.subscriptions():
        async for record in ports.records.of_subscription(subscription):
            if record.hub.name == name.lower():
                return record.hub
    raise CommandError(f"no hub named {name} is known: a sweep has to find it first, or give its resource id")
