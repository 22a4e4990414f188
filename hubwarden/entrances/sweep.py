"""The timer's entrance: a sweep, and what is tidied up after it."""

from __future__ import annotations

import logging

from contextlib import suppress
from dataclasses import dataclass

from hubwarden.domain.policy import ALL
from hubwarden.entrances.policy import PolicyInUse
from hubwarden.service.errors import StorageUnavailableError
from hubwarden.service.exemptions import tell_ends
from hubwarden.service.expire import expire
from hubwarden.service.invocation import invoked
from hubwarden.service.messages import SweepMessage
from hubwarden.service.notify import wake
from hubwarden.service.ports import Clock, HubStore, Nonces, SweepRecord, WorkQueue
from hubwarden.service.snapshots import forget_old
from hubwarden.service.state import StateGate
from hubwarden.service.sweep import sweep
from hubwarden.service.telemetry import SWEEPS, Telemetry
from hubwarden.service.totals import Totals


log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Sweeps:
    """Sweeps when it is time. ``nonces`` None: there is no webhook whose nonces are to be forgotten."""

    in_use: PolicyInUse
    state: StateGate
    records: HubStore
    work: WorkQueue
    nonces: Nonces | None
    clock: Clock
    telemetry: Telemetry

    async def on_sweep(self, invocation: str = "") -> None:
        """It is time for a sweep."""
        with invoked(self.telemetry, "sweep", invocation):
            await self._sweep()

    async def _sweep(self) -> None:
        await self.in_use.refresh()
        if self.in_use.not_ready is not None:
            log.error("no sweep, the policy file cannot be used:\n%s", self.in_use.told)
            if not await self.state.misfit():
                await self._no_sweep("policy", self.in_use.not_ready)
            return
        if misfit := await self.state.misfit(migrate=True):
            log.error("no sweep: %s", misfit)
            self.telemetry.count(SWEEPS, complete="false")
            if misfit.passes:
                await self.work.send(SweepMessage(subscription=ALL), delay=misfit.wait)
            return
        try:
            await sweep(self.in_use.ports)
        except Exception as error:
            await self._no_sweep("sweep", f"it broke off: {type(error).__name__}: {error}")
            raise
        await self._tidy_up()

    async def _tidy_up(self) -> None:
        ports = self.in_use.ports
        totals = Totals(ports)
        await expire(ports, totals.count)
        await totals.report()
        await tell_ends(ports)
        await wake(ports)
        await forget_old(ports)
        if self.nonces is not None:
            await self.nonces.forget(self.clock.now())

    async def _no_sweep(self, what: str, why: str) -> None:
        """Let health say so, as far as storage lets us."""
        now = self.clock.now()
        self.telemetry.count(SWEEPS, complete="false")
        with suppress(StorageUnavailableError):
            await self.records.add_sweep(SweepRecord((), now, now, 0, 0, 0, {what: why}))
