"""remediate: put right what is approved on one hub, in one write.

The order is what makes it safe to stop at any point: fresh read → plan → a verify message for the case that this
worker dies → claim (the row's etag lets one worker through) → what the write changes is kept → audit line → PUT
with If-Match → verify. Before the rollback of a fix, what that was for is put on hold.
"""

from __future__ import annotations

import logging

from collections.abc import Sequence
from datetime import timedelta

from hubwarden.domain.finding import IN_FLIGHT, Event, Finding, State
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.rollback import facets_of
from hubwarden.domain.snapshot import Facet, Snapshot
from hubwarden.service.claim import alone_on_hub, prepare
from hubwarden.service.errors import AzureError, ConflictError, HubGoneError, TransientError
from hubwarden.service.evaluate import not_found, remember
from hubwarden.service.gate import kill_switch
from hubwarden.service.ledger import move
from hubwarden.service.messages import RemediateMessage
from hubwarden.service.observe import busy, observe
from hubwarden.service.people import tell_people
from hubwarden.service.ports import Ports
from hubwarden.service.put_off import TRIES, put_off, wait_for_resume
from hubwarden.service.reconcile import Cause, reconcile
from hubwarden.service.rollback import changes_of
from hubwarden.service.write import let_go, write


log = logging.getLogger(__name__)


async def remediate(ports: Ports, message: RemediateMessage) -> None:
    """Fix the hub's approved findings. Repeating it is harmless: what is claimed or fixed is left alone."""
    hub = message.hub_id
    if not ports.policy.watches(hub):
        log.warning("%s is in no subscription that the policy file names: not touched", hub)
        await _end_every_yes(ports, hub, "it is in no subscription that the policy file names")
        return
    if ports.policy.observes:
        log.warning(
            "%s: nothing is fixed, for policy enforcement is observe; the next look says what would be", hub
        )
        await _end_every_yes(ports, hub, "policy enforcement is observe, so nothing is written")
        return
    findings = [stored.value for stored in await ports.findings.of_hub(hub)]
    approved = [finding for finding in findings if finding.state is State.APPROVED]
    if not approved:
        log.info("nothing on %s is approved for fixing", hub)
        return
    killed = await kill_switch(ports)
    if killed is not None:
        await wait_for_resume(ports, message, killed)
        return
    if any(finding.state in IN_FLIGHT for finding in findings):
        await _come_back(ports, message, ConflictError(f"another fix of {hub} is under way"))
        return
    try:
        record = await ports.records.get(hub)
        snapshot = await observe(ports, hub, record.value if record else None, _facets(ports, approved))
    except TransientError as error:
        await _come_back(ports, message, error, error.retry_after)
    except HubGoneError as error:
        if not await not_found(ports, hub, sure=False):
            await _come_back(ports, message, error)
    else:
        await _fix(ports, message, snapshot)


async def _end_every_yes(ports: Ports, hub: HubId, why: str) -> None:
    """What people approved does not run once policy allows it again, though no look came between."""
    for stored in await ports.findings.of_hub(hub):
        finding = stored.value
        if finding.state is State.APPROVED and finding.approval is not None:
            event = Event.OUTDATED if finding.rollback is None else Event.CLEARED
            await move(ports, stored, event, f"what was approved does not take place: {why}")


def _facets(ports: Ports, approved: Sequence[Finding]) -> set[Facet]:
    """What must be read to make these plans."""
    rules = {finding.rule_id for finding in approved}
    facets = {facet for rule in ports.rules if rule.id in rules for facet in rule.reads}
    return facets.union(*(facets_of(changes_of(finding.rollback)) for finding in approved if finding.rollback))


async def _fix(ports: Ports, message: RemediateMessage, snapshot: Snapshot) -> None:
    hub = snapshot.hub
    look = await reconcile(ports, snapshot, Cause("read before a fix"))
    await remember(ports, look)
    if snapshot.etag is None:
        await tell_people(ports, look.approved(), f"the hub cannot be read: {'; '.join(look.unknown.values())}")
        return
    if busy(snapshot):
        await _come_back(ports, message, ConflictError(f"an operation is running on {hub}"))
        return
    if not snapshot.at_rest:
        state = snapshot.read(Facet.HUB).get("properties", {}).get("provisioningState")
        await tell_people(ports, look.approved(), f"the hub's provisioningState is {state!r}, not 'Succeeded'")
        return
    fix = await prepare(ports, look)
    if fix is None:
        if snapshot.passing:
            await _come_back(ports, message, TransientError(snapshot.passing))
        return
    if await alone_on_hub(ports, fix):
        await write(ports, message, fix)
    else:
        await let_go(ports, message, fix, ConflictError(f"another fix of {hub} is under way"), None)


async def _come_back(
    ports: Ports, message: RemediateMessage, error: AzureError, retry_after: timedelta | None = None
) -> None:
    """Try later; what has been put off too often is for people."""
    if message.attempt < TRIES:
        await put_off(ports, message, error, retry_after=retry_after)
        return
    findings = await ports.findings.of_hub(message.hub_id)
    approved = [stored for stored in findings if stored.value.state is State.APPROVED]
    await tell_people(ports, approved, f"{TRIES} tries did not come to the fix; the last one: {error}")
