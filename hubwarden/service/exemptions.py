"""Telling people in time that an exemption ends: from the first look after its last day on, the drift counts."""

from __future__ import annotations

import logging

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, timedelta

from hubwarden.domain.finding import Finding, State
from hubwarden.domain.message import Kind, notice
from hubwarden.service.errors import StaleWriteError
from hubwarden.service.notify import tell
from hubwarden.service.ports import Ports


log = logging.getLogger(__name__)


async def tell_ends(ports: Ports) -> None:
    """Lay down a notice for each exempt finding whose exemption ends within the days that policy names, once."""
    if ports.outbox is None:
        return
    due = [finding.id async for finding in ports.findings.everything() if _is_due(ports, finding)]
    for finding_id in due:
        stored = await ports.findings.find(finding_id)
        if stored is None or stored.value.exempted is None or not _is_due(ports, stored.value):
            continue
        exempted, now = stored.value.exempted, ports.clock.now()
        told = replace(stored.value, end_told_at=now)
        reason = f"{exempted}; after that day the drift counts again"
        await tell(ports, notice(told, Kind.EXEMPTION_ENDS, at=now, reason=reason))
        with suppress(StaleWriteError):  # whoever wrote it has just looked at it; the next sweep tells
            await ports.findings.save(told, stored.etag)
            log.info("%s on %s: that its exemption ends on %s is told", finding_id, told.hub, exempted.until)


def _is_due(ports: Ports, finding: Finding) -> bool:
    if finding.state is not State.EXEMPT or finding.exempted is None or finding.end_told_at is not None:
        return False
    left = finding.exempted.until - ports.clock.now().astimezone(UTC).date()
    return timedelta(0) <= left <= timedelta(days=ports.policy.exemption_notice_days)
