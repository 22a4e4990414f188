"""Event Grid's entrances: what it delivers, and what it could not deliver."""

from __future__ import annotations

import logging

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from hubwarden.domain.census import CensusSettings
from hubwarden.domain.finding import Actor
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.rule import Rule
from hubwarden.domain.snapshot import Facet
from hubwarden.entrances.policy import PolicyInUse
from hubwarden.service.dead_letters import read_back
from hubwarden.service.errors import StorageUnavailableError
from hubwarden.service.events import Ignored, name_of
from hubwarden.service.invocation import invoked
from hubwarden.service.ports import AuditTrail, Clock, DeadLetters, HubStore, WorkQueue
from hubwarden.service.route_device_event import OF_HUBS, read_device_event, route_device_event
from hubwarden.service.route_event import route_event
from hubwarden.service.state import StateGate
from hubwarden.service.telemetry import EVENTS, Telemetry


log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Events:
    """Takes events, also while the policy file is broken: they are kept. ``who`` tells our own identity."""

    in_use: PolicyInUse
    state: StateGate
    who: Callable[[], Awaitable[Actor]]
    rules: Sequence[Rule]
    records: HubStore
    work: WorkQueue
    dead_letters: DeadLetters
    audit: AuditTrail
    clock: Clock
    telemetry: Telemetry
    own: Actor | None = field(default=None, init=False)

    async def on_event(self, event: Mapping[str, Any], invocation: str = "") -> None:
        """An Event Grid event arrived.

        ``invocation``, here and elsewhere, is the id that the host gave this invocation of a function.
        """
        with invoked(self.telemetry, "on_azure_event", invocation, span="route_event"):
            await self._route_event(event)

    async def on_device_event(self, event: Mapping[str, Any], invocation: str = "") -> None:
        """A hub's own event arrived: a device was created.

        Raises:
            StorageUnavailableError: it is to be delivered again, for it cannot be noted down now.
        """
        with invoked(self.telemetry, "on_device_event", invocation, span="route_device_event"):
            await self._route_device_event(event)

    async def on_dead_letters(self, invocation: str = "") -> None:
        """It is time to read back what Event Grid could not deliver."""
        with invoked(self.telemetry, "dead_letters", invocation):
            await self.in_use.refresh()
            await read_back(self.dead_letters, route=self._route, audit=self.audit, clock=self.clock)

    async def _route(self, event: Mapping[str, Any]) -> None:
        """An event goes the way of its kind, as the event subscriptions send it."""
        self.telemetry.count(EVENTS, outcome="dead_letter")
        kind = event.get("eventType") or event.get("type")
        if isinstance(kind, str) and kind.startswith(OF_HUBS):
            with self.telemetry.span("route_device_event", {}):
                await self._route_device_event(event)
        else:
            with self.telemetry.span("route_event", {}):
                await self._route_event(event)

    async def _route_event(self, event: Mapping[str, Any]) -> None:
        own = self.own or await self.who()
        if own != Actor():
            self.own = own  # where no token was to be had, the next event asks again
        policy = self.in_use.policy
        await route_event(
            event,
            own=own,
            work=self.work,
            records=self.records,
            clock=self.clock,
            emails=policy is not None and policy.keep_emails,
            telemetry=self.telemetry,
        )

    async def _route_device_event(self, event: Mapping[str, Any]) -> None:
        rule, policy = self._rule_of_devices, self.in_use.policy
        if policy and (rule is None or not policy.is_on(rule.id)):
            log.info("event %s ignored: no rule that is on asks for devices", name_of(event))
            self.telemetry.count(EVENTS, outcome="ignored")
            return
        if misfit := await self.state.misfit():
            raise StorageUnavailableError(str(misfit))
        await route_device_event(
            event,
            records=self.records,
            work=self.work,
            clock=self.clock,
            grace=await self._grace(read_device_event(event)),
            telemetry=self.telemetry,
        )

    @property
    def _rule_of_devices(self) -> Rule | None:
        return next((rule for rule in self.rules if Facet.DEVICES in rule.reads), None)

    async def _grace(self, hub: HubId | Ignored) -> timedelta:
        """How long new devices of the hub have before they are counted; the default while the file is broken."""
        rule, settings = self._rule_of_devices, CensusSettings()
        if self.in_use.policy and rule and not isinstance(hub, Ignored):
            known = await self.records.get(hub)
            found = self.in_use.policy.settings_of(rule, hub, known.value.tags if known else None)
            assert isinstance(found, CensusSettings)
            settings = found
        return timedelta(minutes=settings.grace_minutes)
