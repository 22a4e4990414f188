"""One running stack for the whole session: Azurite, the simulator and the function app in the real runtime."""

from __future__ import annotations

import asyncio

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from detectors import RULES
from hubwarden.domain.finding import Finding
from local.azurite import why_azurite_cannot_run
from local.scene import RESOURCE_GROUP, UNLIMITED, hub_body
from local.stack import AUDITOR, HUBWARDEN, SOMEBODY, SUBSCRIPTION, Options, Stack


def _mode(rule_id: str) -> str:
    return "auto" if rule_id == "tls-minimum" else '"off"'


ONLY_TLS = "\n".join([
    "version: 1",
    "subscriptions:",
    f"  - {SUBSCRIPTION}",
    "rules:",
    *(f"  {rule.id}:\n    mode: {_mode(rule.id)}" for rule in RULES),
    UNLIMITED,
])  # fmt: skip
"""The policy file of tests that are about what happens to a finding, and for which one rule will do."""


class Scene:
    """What the tests say and ask; each test works on hubs of its own."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.sim = stack.sim
        self.somebody = stack.arm_as(SOMEBODY)
        self.auditor = stack.arm_as(AUDITOR)

    async def new_hub(self, name: str, minimum: str = "1.2", **properties: Any) -> str:
        body = hub_body(name, minimum)
        body["properties"].update(properties)
        return await self.sim.add_hub(body)

    async def finding(self, name: str) -> Finding | None:
        found = [f async for f in self.stack.findings.everything() if f.hub.name == name]
        assert len(found) <= 1, f"more than one finding for {name}"
        return found[0] if found else None

    async def reaches(self, name: str, *states: str, within: float = 40) -> Finding:
        finding = None
        try:
            async with asyncio.timeout(within):
                while True:
                    finding = await self.finding(name)
                    if finding is not None and finding.state in states and _ticket_is_settled(finding):
                        return finding
                    await asyncio.sleep(0.1)
        except TimeoutError:
            history = [(step.state, step.reason) for step in finding.history] if finding else None
            raise AssertionError(f"{name} never was {states}: {history}") from None

    async def requests(
        self, name: str, method: str | None = None, *, bodies: bool = False
    ) -> list[dict[str, Any]]:
        return [
            request
            for request in await self.sim.requests(bodies=bodies)
            if request["principal"] == HUBWARDEN.name
            and request["path"].lower().endswith(f"/iothubs/{name}")
            and method in {None, request["method"]}
        ]

    async def effective_puts(self, name: str) -> int:
        hub = await self.sim.hub(hub_path(name))
        assert hub["body"]["properties"]["minTlsVersion"] == "1.2"
        return len(
            [r for r in await self.requests(name, "PUT") if r["status"] == 201 or r["fault"] == "cut_after"]
        )


def _ticket_is_settled(finding: Finding) -> bool:
    """The finding's row is saved first, its ticket opened or closed right after, and then the row says so."""
    return finding.ticket_open == (finding.state in {"ticketed", "awaiting_approval"})


def hub_path(name: str) -> str:
    return (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}/providers/Microsoft.Devices/IotHubs/{name}"
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scene(tmp_path_factory) -> AsyncIterator[Scene]:
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    options = Options(transition=0.5, message_lease=5, claim=45)
    async with Stack(tmp_path_factory.mktemp("stack"), ONLY_TLS, [], options) as stack:
        yield Scene(stack)
