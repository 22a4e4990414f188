"""A process that does hubwarden's sweep twice, first of hubs it never saw and then of the same hubs unchanged."""

from __future__ import annotations

import time

from typing import Any, Self

from azure.core.credentials import AccessToken

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.hubs import TableHubs
from hubwarden.bootstrap import Hubwarden
from hubwarden.service.ports import HubStore
from local.bench.child import BenchError, answer, peak_megabytes
from local.bench.in_flight import InFlight
from local.bench.memory import (
    MemoryAudit,
    MemoryFindings,
    MemoryHubs,
    MemoryRemediations,
    MemorySafety,
    MemorySchema,
    MemoryTickets,
    MemoryWork,
    Meter,
)


class OneToken:
    """A credential with one token, which outlives the process."""

    def __init__(self, token: str) -> None:
        self._token = AccessToken(token, int(time.time()) + 3600)

    async def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        """See AsyncTokenCredential."""
        return self._token

    async def close(self) -> None:
        """See AsyncTokenCredential."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


async def run(job: dict[str, Any]) -> dict[str, Any]:
    """Sweep twice.

    The job has ``arm``, ``token``, ``policy`` (a path), ``hubs``, ``storage`` (a connection string or null) and
    ``count``: whether to count the requests in flight, which costs a little. The result has of each sweep when it
    began and ended, on the machine's monotonic clock, its seconds of CPU, and how often it asked
    the storage in memory; then the peaks of memory and of requests in flight.
    """
    in_flight = InFlight()
    if job["count"]:
        in_flight.watch()
    env = {
        "AzureWebJobsStorage": job["storage"] or "UseDevelopmentStorage=true",
        "HUBWARDEN_POLICY": job["policy"],
        "HUBWARDEN_CLOUD": "custom",
        "HUBWARDEN_ARM_ENDPOINT": job["arm"],
        "HUBWARDEN_ARM_AUDIENCE": job["arm"],
        "HUBWARDEN_AUTHORITY": job["arm"],
    }
    meter = Meter()
    records: HubStore
    if job["storage"]:
        records = TableHubs(StorageAccount(env))
        hubwarden = Hubwarden(env, credential=OneToken(job["token"]), records=records)
    else:
        records = MemoryHubs(meter)
        hubwarden = _in_memory(env, job["token"], records, meter)
    sweeps = [await _sweep(hubwarden, records, meter, job["hubs"]) for _ in range(2)]
    return {"sweeps": sweeps, "peak_megabytes": peak_megabytes(), "at_once": in_flight.peak}


def _in_memory(env: dict[str, str], token: str, records: HubStore, meter: Meter) -> Hubwarden:
    return Hubwarden(
        env,
        credential=OneToken(token),
        records=records,
        findings=MemoryFindings(meter),
        work=MemoryWork(meter),
        audit=MemoryAudit(meter),
        tickets=MemoryTickets(meter),
        safety=MemorySafety(meter),
        state=MemorySchema(meter),
        remediations=MemoryRemediations(meter),
    )


async def _sweep(hubwarden: Hubwarden, records: HubStore, meter: Meter, hubs: int) -> dict[str, float]:
    before, started, cpu = meter.round_trips, time.monotonic(), time.process_time()
    await hubwarden.on_sweep()
    took = {"started": started, "ended": time.monotonic(), "cpu_seconds": time.process_time() - cpu}
    took["round_trips"] = meter.round_trips - before
    record = await records.last_sweep()
    if record is None or not record.complete or record.evaluated != hubs or record.drifting:
        trouble = "nothing is recorded" if record is None else f"{record.summary}; {[*record.unknown.items()][:3]}"
        raise BenchError(f"the sweep did not come to what it should: {trouble}")
    return took


if __name__ == "__main__":
    answer(run)
