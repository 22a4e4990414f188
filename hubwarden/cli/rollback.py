"""``remediations`` and ``rollback``: what hubwarden has written, and asking for it to be undone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from rich.table import Table
from rich.text import Text

from hubwarden.cli import screen
from hubwarden.cli.output import print_json
from hubwarden.cli.refusals import refused
from hubwarden.cli.surroundings import Surroundings
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.plan import change_text
from hubwarden.domain.remediation import Remediation
from hubwarden.domain.rollback import obstacle
from hubwarden.service.ports import Ports
from hubwarden.service.rollback import ask_for_rollback


async def written(ports: Ports, hub: HubId | None) -> list[Remediation]:
    """What is kept of our writes, to one hub or to all, the newest first."""
    kept = [remediation async for remediation in ports.remediations.everything()]
    return sorted((one for one in kept if hub in {None, one.hub}), key=lambda one: one.at, reverse=True)


def show(remediations: Sequence[Remediation]) -> None:
    """Print them for people."""
    if not remediations:
        screen.console().print("Nothing was written that is still kept.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("remediation", "when (UTC)", "hub", "rules", "outcome", "what was changed"):
        table.add_column(name, overflow="fold", no_wrap=name == "remediation")
    for one in remediations:
        when = f"{one.at.astimezone(UTC):%Y-%m-%d %H:%M}"
        changes = "; ".join(change_text(change) for change in one.changes)
        outcome = one.outcome.value if one.rolls_back is None else f"{one.outcome}, rolls back {one.rolls_back}"
        cells = (one.id, when, one.hub.name, ", ".join(one.rules), outcome, changes)
        table.add_row(*(Text(screen.plain(cell)) for cell in cells))
    screen.console().print(table)


def show_json(remediations: Sequence[Remediation]) -> None:
    """Print them for programs."""
    print_json({"remediations": [_shape(one) for one in remediations]})


def _shape(one: Remediation) -> JsonObject:
    return {
        "id": one.id,
        "hub": one.hub.path,
        "rules": [*one.rules],
        "findings": [*one.findings],
        "target": one.target.value,
        "plan": one.plan,
        "etag": one.etag,
        "at": one.at.isoformat(),
        "decided": [*one.decided],
        "outcome": one.outcome.value,
        "changes": [*one.changes],
        "undo": [*one.undo],
        "rolls_back": one.rolls_back,
        "cannot_be_rolled_back": obstacle(one),
    }


async def ask(around: Surroundings, remediation_id: str, reason: str, by: str | None) -> None:
    """Ask for a rollback, and show what waits for an approval now."""
    decider = around.decider(by)
    async with around.writing() as service, refused(service.ports, "rollback", remediation_id, decider):
        finding = await ask_for_rollback(service.ports, remediation_id, by=decider, reason=reason)
    screen.show_finding(finding)
