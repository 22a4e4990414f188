"""Part b: how long it takes from an event to the write that ends the drift, on the whole stack."""

from __future__ import annotations

import asyncio

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

from azure.mgmt.iothub.aio import IotHubClient

from detectors import RULES
from hubwarden.domain.finding import State
from hubwarden.domain.hub_id import HubId
from local.bench.child import BenchError
from local.bench.figure import Figure
from local.scene import UNLIMITED, hub_body, lower_tls
from local.stack import HUBWARDEN, SOMEBODY, SUBSCRIPTION, Options, Stack


AT_ONCE: Final = 4
_HUBS: Final = 20
_PATIENCE: Final = 60
_RULE: Final = "tls-minimum"


@dataclass(frozen=True, slots=True)
class Drift:
    """One drift: when its event was published, and the seconds until each write by hubwarden that took effect."""

    hub: str
    at: datetime
    fixes: tuple[float, ...]


async def measure_latencies(
    folder: Path, drifts: int, tell: Callable[[str], None]
) -> tuple[list[Figure], dict[str, Any]]:
    """The figures, and every single measurement behind them."""
    hubs = [hub_body(f"plant-{number:02d}") for number in range(min(_HUBS, drifts))]
    async with Stack(folder, _policy(), hubs, Options(transition=0.2)) as stack:
        tell(f"{drifts} drifts on {len(hubs)} hubs, {AT_ONCE} at a time, through the whole stack")
        await _play(stack, [str(hub["id"]) for hub in hubs], drifts)
        events, requests = await stack.sim.events(), await stack.sim.requests()
    seen = list(drifts_of(events, requests))
    seconds = [drift.fixes[0] for drift in seen if drift.fixes]
    return _figures(drifts, seen, seconds), {
        "drifts": len(seen),
        "hubs": len(hubs),
        "at_once": AT_ONCE,
        "seconds": seconds,
        "fixes": [len(drift.fixes) for drift in seen],
    }


def drifts_of(events: Sequence[dict[str, Any]], requests: Sequence[dict[str, Any]]) -> Iterator[Drift]:
    """Each change by somebody else with the writes by hubwarden until that hub's next one."""
    changed: dict[str, list[datetime]] = {}
    written: dict[str, list[datetime]] = {}
    for event in (published["event"] for published in events):
        if event["data"]["claims"].get("appid") == SOMEBODY.client_id:
            changed.setdefault(event["subject"].lower(), []).append(datetime.fromisoformat(event["eventTime"]))
    for request in requests:
        if request["principal"] == HUBWARDEN.name and request["method"] == "PUT" and request["status"] == 201:  # noqa: PLR2004
            written.setdefault(request["path"].lower(), []).append(datetime.fromisoformat(request["time"]))
    for hub, moments in changed.items():
        last = datetime.max.replace(tzinfo=moments[0].tzinfo)
        for moment, following in pairwise([*sorted(moments), last]):
            fixes = [(at - moment).total_seconds() for at in written.get(hub, []) if moment <= at < following]
            yield Drift(hub, moment, tuple(fixes))


async def _play(stack: Stack, hubs: Sequence[str], drifts: int) -> None:
    free: asyncio.Queue[str] = asyncio.Queue()
    for hub in hubs:
        free.put_nowait(hub)
    left = iter(range(drifts))
    somebody = stack.arm_as(SOMEBODY)
    await asyncio.gather(*(_drift_and_wait(stack, somebody, free, left) for _ in range(AT_ONCE)))


async def _drift_and_wait(stack: Stack, arm: IotHubClient, free: asyncio.Queue[str], left: Iterator[int]) -> None:
    for _ in left:
        hub = await free.get()
        before = await _occurrences(stack, hub)
        await lower_tls(arm, hub.rsplit("/", 1)[1])
        await _resolved(stack, hub, before + 1)
        free.put_nowait(hub)


async def _resolved(stack: Stack, hub: str, occurrences: int) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            while await _occurrences(stack, hub, State.RESOLVED) < occurrences:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.25)
    except TimeoutError:
        raise BenchError(f"{hub} was not put right within {_PATIENCE} s; see the logs in {stack.folder}") from None


async def _occurrences(stack: Stack, hub: str, state: State | None = None) -> int:
    """How often the hub has drifted; 0 where its finding is not in this state."""
    found = await stack.findings.of_hub(HubId.parse(hub))
    return next((f.value.occurrences for f in found if state in {None, f.value.state}), 0)


def _figures(drifts: int, seen: Sequence[Drift], seconds: list[float]) -> list[Figure]:
    if not seconds:
        raise BenchError("no drift was followed by a write of ours")
    cuts = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
    odd = drifts - sum(len(drift.fixes) == 1 for drift in seen)
    return [
        Figure("event → PUT, p50", median(seconds), "s", note=f"{drifts} drifts, {AT_ONCE} at a time; Azurite"),
        Figure("event → PUT, p99", cuts[98], "s", note=f"{min(seconds):.2f} to {max(seconds):.2f}"),
        Figure("drifts without exactly one effective PUT", odd, "drifts", 0),
    ]


def _policy() -> str:
    modes = "".join(f'  {rule.id}: {{mode: "{"auto" if rule.id == _RULE else "off"}"}}\n' for rule in RULES)
    return f"version: 1\nsubscriptions:\n  - {SUBSCRIPTION}\nrules:\n{modes}{UNLIMITED}"
