"""From one request to others: for people of whom it is proven that they may decide on all."""

from __future__ import annotations

from hubwarden.domain.finding import Finding
from hubwarden.domain.message import TOGETHER
from hubwarden.service.asking import page_for, waiting
from hubwarden.service.ports import Ports
from hubwarden.web.links import Links
from hubwarden.web.view import LinkView


async def wider_links(ports: Ports, links: Links, finding: Finding) -> tuple[LinkView, ...]:
    """Pages with everything that waits on this hub, and of this rule on any hub, where that is more than this."""
    of_hub = waiting([stored.value for stored in await ports.findings.of_hub(finding.hub)])
    of_rule = waiting([one async for one in ports.findings.everything() if one.rule_id == finding.rule_id])
    kinds = ((f"on {finding.hub.name}", of_hub), (f"of {finding.rule_id} on all hubs", of_rule))
    return tuple(
        LinkView(f"Decide on the {_first(found)} requests {what}", page_for(links, ports.policy, found[:TOGETHER]))
        for what, found in kinds
        if len(found) > 1
    )


def _first(found: list[Finding]) -> str:
    return str(len(found)) if len(found) <= TOGETHER else f"first {TOGETHER} of {len(found)}"
