"""The entrance of who asks how things are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hubwarden.entrances.policy import PolicyInUse
from hubwarden.service.advice import advice
from hubwarden.service.gate import read_kill
from hubwarden.service.health import NextSweep, health, misfit_health
from hubwarden.service.invocation import invoked
from hubwarden.service.ports import Clock, DeadLetters, FindingStore, HubStore, Outbox, SafetyStore, WorkQueue
from hubwarden.service.state import StateGate
from hubwarden.service.telemetry import Telemetry
from hubwarden.settings import Settings


@dataclass(kw_only=True, eq=False)
class Health:
    """Says how things are, also while nothing can be done."""

    in_use: PolicyInUse
    state: StateGate
    settings: Settings
    next_sweep: NextSweep
    records: HubStore
    findings: FindingStore
    work: WorkQueue
    outbox: Outbox
    safety: SafetyStore
    dead_letters: DeadLetters
    clock: Clock
    telemetry: Telemetry

    async def on_health(self, invocation: str = "") -> Mapping[str, Any]:
        """Somebody asks how things are."""
        with invoked(self.telemetry, "health", invocation):
            return await self._health()

    async def _health(self) -> Mapping[str, Any]:
        await self.in_use.refresh()
        warnings = list(self.settings.warnings)
        if self.in_use.policy and self.in_use.problems:
            warnings.append(self.in_use.problems)
        if misfit := await self.state.misfit():
            return misfit_health(str(misfit), warnings)
        policy = self.in_use.policy
        if policy is not None:
            warnings += advice(policy, signs_in=self.settings.signs_in)
        return await health(
            self.records,
            self.findings,
            self.work,
            self.clock,
            next_sweep=self.next_sweep,
            not_ready=self.in_use.not_ready,
            warnings=warnings,
            enforcement=policy.enforcement if policy else None,
            outbox=self.outbox if self.in_use.channels else None,
            safety=self.safety,
            kill=await read_kill(self.safety, self.clock, setting=self.settings.kill),
            dead_letters=self.dead_letters,
        )
