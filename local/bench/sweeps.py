"""Part a: a sweep of many hubs, in turns with a bare client that makes the very same calls."""

from __future__ import annotations

import asyncio
import contextlib
import json

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from local.azure_simulator.client import SimulatorClient
from local.azurite import Azurite
from local.bench.child import result_of, server
from local.bench.figure import Figure, spread
from local.bench.fleet import CLIENT, Fleet, control_plane_rules


LATENCY: Final = 0.05
_RATIO: Final = 2.0
_MEGABYTES: Final = 150
_PER_HUB: Final = 1.05
_PER_SUBSCRIPTION: Final = 5


@dataclass(frozen=True, slots=True)
class Swept:
    """One process' two sweeps: how long each took, of it on the CPU, and the simulator's log of each."""

    seconds: tuple[float, float]
    cpu: tuple[float, float]
    calls: tuple[list[dict[str, Any]], list[dict[str, Any]]]
    round_trips: tuple[int, int]
    megabytes: float
    at_once: int


@dataclass(frozen=True, slots=True)
class Yard:
    """Where the sweeps are measured: the fleet, and a folder for the files of the processes."""

    fleet: Fleet
    folder: Path

    def prepare(self) -> None:
        """Write the seed and the policy file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._seed.write_text(json.dumps(self.fleet.seed()), encoding="utf-8")
        self._policy.write_text(self.fleet.policy(), encoding="utf-8")

    async def ours(self, storage: str | None = None, *, count: bool = False) -> Swept:
        """Our sweeps, on a simulator of their own."""
        async with self._simulator() as (sim, job):
            job |= {"policy": str(self._policy), "hubs": self.fleet.hubs, "storage": storage, "count": count}
            told = await result_of("-m", "local.bench.ours", job=job, env={"SSL_CERT_FILE": job["ca_file"]})
            log = await sim.requests()
        first, steady = told["sweeps"]
        return Swept(
            seconds=(first["ended"] - first["started"], steady["ended"] - steady["started"]),
            cpu=(first["cpu_seconds"], steady["cpu_seconds"]),
            calls=(_during(log, first), _during(log, steady)),
            round_trips=(first["round_trips"], steady["round_trips"]),
            megabytes=told["peak_megabytes"],
            at_once=told["at_once"],
        )

    async def bare(self, recorded: Swept) -> dict[str, Any]:
        """The calls of a first sweep by a bare client, as many at once, on a simulator of its own."""
        calls = [[call["method"], call["path"], call["query"]] for call in recorded.calls[0]]
        async with self._simulator() as (_, job):
            job |= {"calls": calls, "at_once": recorded.at_once}
            told: dict[str, Any] = await result_of("-m", "local.bench.bare", job=job)
            return told

    @contextlib.asynccontextmanager
    async def _simulator(self) -> AsyncIterator[tuple[SimulatorClient, dict[str, Any]]]:
        options = ("--seed", str(self._seed), "--latency-seconds", str(LATENCY), "--ca-dir", str(self.folder))
        async with (
            server("-m", "local.azure_simulator", *options) as ready,
            SimulatorClient(ready["control"], ready["ca_file"]) as sim,
        ):
            token = await sim.issue_token(CLIENT)
            yield sim, {"arm": ready["arm"], "ca_file": ready["ca_file"], "token": token}

    @property
    def _seed(self) -> Path:
        return self.folder / "seed.json"

    @property
    def _policy(self) -> Path:
        return self.folder / "policy.yaml"


async def measure_sweeps(
    yard: Yard, rounds: int, tell: Callable[[str], None]
) -> tuple[list[Figure], dict[str, Any]]:
    """The figures, and every single measurement behind them."""
    yard.prepare()
    tell("a sweep that is not timed: it shows which calls there are, and how many at once")
    recorded = await yard.ours(count=True)
    ours: list[Swept] = []
    bare: list[dict[str, Any]] = []
    for number in range(1, rounds + 1):
        tell(f"round {number} of {rounds}: the bare client, then hubwarden")
        bare.append(await yard.bare(recorded))
        ours.append(await yard.ours())
    tell("the same with Azurite for storage")
    with_azurite = await _with_azurite(yard)
    times, costs = _times(yard.fleet, ours, bare, recorded.at_once), _costs(yard.fleet, ours)
    return [*times, *costs, *_in_azurite(with_azurite)], {
        "subscriptions": yard.fleet.subscriptions,
        "hubs": yard.fleet.hubs,
        "rules": control_plane_rules(),
        "latency_seconds": LATENCY,
        "storage": "in memory",
        "at_once": recorded.at_once,
        "bare": bare,
        "ours": [_told(swept) for swept in ours],
        "ours_in_azurite": _told(with_azurite),
    }


async def _with_azurite(yard: Yard) -> Swept:
    azurite = Azurite()
    await asyncio.to_thread(azurite.start)
    try:
        return await yard.ours(azurite.connection_string)
    finally:
        await asyncio.to_thread(azurite.stop)


def _during(log: list[dict[str, Any]], sweep: dict[str, float]) -> list[dict[str, Any]]:
    """Both clocks are the machine's monotonic one."""
    return [call for call in log if sweep["started"] <= call["monotonic"] <= sweep["ended"]]


def _times(fleet: Fleet, ours: list[Swept], bare: list[dict[str, Any]], at_once: int) -> list[Figure]:
    first, steady = ([swept.seconds[which] for swept in ours] for which in (0, 1))
    plain = [told["seconds"] for told in bare]
    cpu, plain_cpu = median(swept.cpu[0] for swept in ours), median(told["cpu_seconds"] for told in bare)
    rules = len(control_plane_rules())
    return [
        Figure(f"bare client, same calls, {at_once} at once", median(plain), "s", note=spread(plain)),
        Figure(f"first sweep of {fleet.hubs:,} hubs, {rules} rules", median(first), "s", note=spread(first)),
        Figure("first sweep ÷ bare client", median(first) / median(plain), "×", _RATIO, "of the medians"),
        Figure("the same, of CPU time alone", cpu / plain_cpu, "×", note=f"{cpu:.2f} s ÷ {plain_cpu:.2f} s"),
        Figure("first sweep, per rule", median(first) / rules, "s"),
        Figure("steady sweep", median(steady), "s", note=spread(steady)),
    ]


def _costs(fleet: Fleet, ours: list[Swept]) -> list[Figure]:
    first, steady = (max((swept.calls[which] for swept in ours), key=len) for which in (0, 1))
    allowed = _PER_HUB * fleet.hubs + _PER_SUBSCRIPTION * fleet.subscriptions
    peak = max(swept.megabytes for swept in ours)
    return [
        Figure("first sweep, ARM calls", len(first), "calls", note=_split(fleet, first)),
        Figure("steady sweep, ARM calls", len(steady), "calls", allowed, _split(fleet, steady)),
        Figure("steady sweep, listkeys", _listkeys(steady), "calls", 0),
        *_round_trips(fleet, ours[0]),
        Figure("peak memory of the sweeping process", peak, "MB", _MEGABYTES, "the largest of all runs"),
    ]


def _round_trips(fleet: Fleet, swept: Swept) -> list[Figure]:
    """They are the same in each run."""
    note = "what Azure's own tables would be asked"
    return [
        Figure(f"{which} sweep, storage round trips a hub", trips / fleet.hubs, "", note=note)
        for which, trips in zip(("first", "steady"), swept.round_trips, strict=True)
    ]


def _in_azurite(swept: Swept) -> list[Figure]:
    note = "one run; storage is Azurite, not memory"
    return [
        Figure("first sweep, with Azurite", swept.seconds[0], "s", note=note),
        Figure("steady sweep, with Azurite", swept.seconds[1], "s", note=note),
        Figure("peak memory, with Azurite", swept.megabytes, "MB", note=note),
    ]


def _split(fleet: Fleet, calls: list[dict[str, Any]]) -> str:
    of_hubs = sum("/providers/microsoft.devices/iothubs/" in call["path"].lower() for call in calls)
    others = (len(calls) - of_hubs) / fleet.subscriptions
    return f"{of_hubs / fleet.hubs:.2f} per hub + {others:.2f} per subscription; {_listkeys(calls)} listkeys"


def _listkeys(calls: list[dict[str, Any]]) -> int:
    return sum(call["path"].lower().endswith("/listkeys") for call in calls)


def _told(swept: Swept) -> dict[str, Any]:
    return {
        "first_seconds": swept.seconds[0],
        "first_cpu_seconds": swept.cpu[0],
        "steady_seconds": swept.seconds[1],
        "steady_cpu_seconds": swept.cpu[1],
        "first_calls": len(swept.calls[0]),
        "first_listkeys": _listkeys(swept.calls[0]),
        "steady_calls": len(swept.calls[1]),
        "steady_listkeys": _listkeys(swept.calls[1]),
        "round_trips": [*swept.round_trips],
        "peak_megabytes": swept.megabytes,
    }
