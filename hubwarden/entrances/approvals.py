"""The entrances through which people and programs decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hubwarden.entrances.policy import PolicyInUse
from hubwarden.service.invocation import invoked
from hubwarden.service.ports import Nonces
from hubwarden.service.state import StateGate
from hubwarden.service.telemetry import Telemetry
from hubwarden.web.hook import hook_unavailable
from hubwarden.web.links import Links
from hubwarden.web.requests import Answer, Request
from hubwarden.web.routes import Door, answered, decided, decided_by_program, unavailable


@dataclass(kw_only=True, eq=False)
class Approvals:
    """Lets decisions in while they can be taken; see Door."""

    in_use: PolicyInUse
    state: StateGate
    links: Links | None
    hook_keys: Sequence[bytes]
    nonces: Nonces
    signs_in: bool
    telemetry: Telemetry

    async def on_page(self, request: Request, invocation: str = "") -> Answer:
        """Somebody, or a mail scanner, opens the page of a link."""
        with invoked(self.telemetry, "approval", invocation):
            if why := await self._undecidable():
                return unavailable(why)
            return await answered(self._door.show(request))

    async def on_decision(self, request: Request, invocation: str = "") -> Answer:
        """Somebody decides on the page of a link."""
        with invoked(self.telemetry, "decision", invocation):
            if why := await self._undecidable():
                return unavailable(why)
            return await decided(self._door.decide(request))

    async def on_webhook(self, request: Request, invocation: str = "") -> Answer:
        """A program sends somebody's decision."""
        with invoked(self.telemetry, "webhook", invocation):
            if why := await self._undecidable():
                return hook_unavailable(why)
            return await decided_by_program(self._door.hook(request))

    async def _undecidable(self) -> str | None:
        """Why nobody can decide anything for now, or None."""
        await self.in_use.refresh()
        if self.in_use.not_ready:
            return "no policy"
        misfit = await self.state.misfit()
        return str(misfit) if misfit else None

    @property
    def _door(self) -> Door:
        return Door(
            self.in_use.ports,
            links=self.links,
            hook_keys=self.hook_keys,
            nonces=self.nonces,
            signs_in=self.signs_in,
        )
