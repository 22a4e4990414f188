"""Totals: how many findings there are of what kind, which requests wait, and which breakers are open."""

from __future__ import annotations

import logging

from collections import Counter
from datetime import timedelta
from typing import Final

from hubwarden.domain.finding import Finding, State
from hubwarden.domain.limits import BREAKER_HOLDS
from hubwarden.service.errors import StorageUnavailableError
from hubwarden.service.expire import is_expired
from hubwarden.service.overview import stands
from hubwarden.service.ports import Ports
from hubwarden.service.telemetry import APPROVALS, BREAKERS, FINDINGS


log = logging.getLogger(__name__)

_AGES: Final = ((timedelta(days=1), "<1d"), (timedelta(days=7), "1-7d"), (timedelta(days=30), "7-30d"))
_OLDER: Final = ">30d"
_SOON: Final = timedelta(hours=4)


class Totals:
    """Counts findings as they are shown, one by one, and reports once all were."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._now = ports.clock.now()
        self._findings: Counter[tuple[str, ...]] = Counter()
        self._approvals: Counter[tuple[str, ...]] = Counter()
        self._broken: set[tuple[str, str]] = set()

    def count(self, finding: Finding) -> None:
        """Enter one finding, if it stands."""
        if not stands(self._ports, finding):
            return
        rule = finding.rule_id
        age = _age(self._now - finding.seen_at)
        self._findings[rule, finding.severity.value, finding.state.value, age] += 1
        if finding.hold is not None and finding.hold.by == BREAKER_HOLDS:
            self._broken.add((finding.hub.path, rule))
        if finding.state is not State.AWAITING_APPROVAL or finding.proposal is None:
            return
        if not is_expired(self._ports, finding):
            left = self._ports.policy.approvals.expires_at(finding.proposal) - self._now
            self._approvals[rule, "soon" if left < _SOON else "later"] += 1

    async def report(self) -> None:
        """Tell all of them at once. Whether the error breaker is open is not told where it cannot be read.

        The breakers come first: they always have a value, so that queries take their time for that of the sweep,
        and whatever is of the same sweep must not have been sent before.
        """
        breakers: dict[tuple[str, ...], float] = {("hubs",): len(self._broken)}
        try:
            ledger = await self._ports.safety.ledger()
            breakers["errors",] = int(ledger is not None and bool(ledger.value.tripped))
        except StorageUnavailableError as error:
            log.warning("whether the error breaker is open cannot be read: %s", error)
        telemetry = self._ports.telemetry
        telemetry.report(BREAKERS, breakers)
        telemetry.report(FINDINGS, self._findings)
        telemetry.report(APPROVALS, self._approvals)


def _age(age: timedelta) -> str:
    return next((name for limit, name in _AGES if age < limit), _OLDER)
