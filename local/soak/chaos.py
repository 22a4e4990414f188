"""Everybody but hubwarden: people who change hubs and decide, an Azure that fails, machines that die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from azure.core.exceptions import AzureError

from hubwarden.domain.finding import Finding, State
from hubwarden.web.webhook import sign
from local.scene import RESOURCE_GROUP, ROGUE, add_policy, hub_body, lower_tls, read, remove_diagnostics
from local.stack import HUBWARDEN, SOMEBODY, WEBHOOK_KEY, Stack


_TROUBLE: Final[Sequence[Mapping[str, Any]]] = (
    {"status": 429, "retry_after": 1},
    {"status": 429},
    {"status": 500},
    {"status": 503, "html": True},
    {"kind": "cut"},
    {"kind": "slow", "seconds": 1.5},
    {"method": "PUT", "kind": "cut_after"},
    {"method": "PUT", "status": 409},
    {"method": "PUT", "status": 412},
)
_SHARE: Final = 0.15
"""Of hubwarden's calls that a fault hits while it is in force."""


class Chaos:
    """Does one thing after the other, as the seed says, and counts what was done."""

    def __init__(self, stack: Stack, hubs: Sequence[str], seed: int, *, kills: bool = True) -> None:
        self._stack = stack
        self._hubs = hubs
        self._rng = random.Random(seed)
        self._arm = stack.arm_as(SOMEBODY)
        self._monitor = stack.monitor_as(SOMEBODY)
        self.done: Counter[str] = Counter()
        self._acts: dict[Callable[[], Awaitable[bool]], int] = {
            self._lower_tls: 10,
            self._cut_logs: 5,
            self._add_rogue: 5,
            self._change_tag: 4,
            self._decide: 8,
            self._break_azure: 3,
            self._mend_azure: 3,
            self._lose_events: 2,
            self._sweep: 2,
            self._freeze_storage: 1,
            **({self._kill: 1} if kills else {}),
        }

    async def run(self, seconds: float) -> None:
        """Go on for so long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until:
            [act] = self._rng.choices([*self._acts], [*self._acts.values()])
            # Somebody who is refused, or meets a machine that is down, lets it be.
            with contextlib.suppress(AzureError, OSError, TimeoutError):
                self.done[act.__name__.lstrip("_")] += await act()
            await asyncio.sleep(self._rng.uniform(0, 0.6))

    async def calm_down(self) -> None:
        """Azure is well again, and events arrive."""
        await self._stack.sim.clear_faults()
        await self._stack.sim.event_mode()
        await self._stack.sim.release_events()

    # --- people
    async def _lower_tls(self) -> bool:
        await lower_tls(self._arm, self._hub(), self._rng.choice(["1.0", "1.1"]))
        return True

    async def _cut_logs(self) -> bool:
        name = self._hub()
        present = [setting["name"] for setting in await self._stack.sim.diagnostic_settings(_id(name))]
        for setting in present:
            await remove_diagnostics(self._monitor, name, setting)
        return bool(present)

    async def _add_rogue(self) -> bool:
        name = self._hub()
        stored = await self._stack.sim.hub(_id(name))
        if ROGUE in {policy["keyName"] for policy in stored["policies"]}:
            return False
        await add_policy(self._arm, name)
        return True

    async def _change_tag(self) -> bool:
        """A change that is none of hubwarden's business, and must survive."""
        name = self._hub()
        body: Any = await read(self._arm, name)
        body["tags"]["shift"] = f"{self._rng.random():.6f}"
        poller = await self._arm.iot_hub_resource.begin_create_or_update(
            RESOURCE_GROUP, name, json.dumps(body).encode(), if_match=str(body["etag"])
        )
        await poller.result()
        return True

    async def _decide(self) -> bool:
        found = [finding async for finding in self._stack.findings.everything()]
        waiting = [finding for finding in found if finding.state is State.AWAITING_APPROVAL and finding.proposal]
        if not waiting:
            return False
        finding = self._rng.choice(sorted(waiting, key=lambda finding: finding.id))
        return await self._say(finding, self._rng.choice(["approve", "approve", "approve", "reject"]))

    async def _say(self, finding: Finding, decision: str) -> bool:
        assert finding.proposal is not None
        said = {"decision": decision, "reason": "soak", "approver": "Kim", "plan_digest": finding.proposal.digest}
        body = json.dumps(said).encode()
        headers = {
            "content-type": "application/json",
            "x-functions-key": self._stack.host["function_keys"]["webhook"],
            "x-hubwarden-signature": sign(WEBHOOK_KEY.encode(), body, datetime.now(UTC)),
        }
        url = f"{self._stack.host['url']}/api/approvals/{finding.id}"
        async with self._stack.http.post(url, data=body, headers=headers) as answer:
            return answer.ok

    # --- Azure
    async def _break_azure(self) -> bool:
        trouble = self._rng.choice(_TROUBLE)
        await self._stack.sim.fail(
            principal=HUBWARDEN.client_id,
            probability=_SHARE,
            seed=self._rng.randrange(10**6),
            times=None,
            **trouble,
        )
        return True

    async def _mend_azure(self) -> bool:
        await self._stack.sim.clear_faults()
        return True

    async def _lose_events(self) -> bool:
        how: Mapping[str, Any] = self._rng.choice([{"lose": 3}, {"duplicate": 2}, {"hold": True}, {}])
        await self._stack.sim.event_mode(**how)
        await self._stack.sim.release_events("shuffled", seed=self._rng.randrange(10**6))
        return True

    # --- machines
    async def _sweep(self) -> bool:
        await self._stack.sweep()
        return True

    async def _freeze_storage(self) -> bool:
        os.kill(self._stack.azurite_pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self._rng.uniform(0.5, 4))
        finally:
            os.kill(self._stack.azurite_pid, signal.SIGCONT)
        return True

    async def _kill(self) -> bool:
        """Kill -9 of every instance, wherever it stands."""
        await self._stack.kill_host()
        await asyncio.sleep(self._rng.uniform(0, 2))
        await self._stack.start_host()
        return True

    def _hub(self) -> str:
        return self._rng.choice(self._hubs)


def _id(name: str) -> str:
    return str(hub_body(name)["id"])
