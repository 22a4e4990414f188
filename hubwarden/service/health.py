"""health: is it ready, and is it doing its work?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubwarden import __version__
from hubwarden.service.ports import HubStore, WorkQueue


async def health(
    records: HubStore, work: WorkQueue, *, not_ready: str | None, warnings: list[str]
) -> Mapping[str, Any]:
    """What an operator asks first, as JSON.

    Args:
        records: where sweeps are remembered.
        work: the queues.
        not_ready: why nothing is judged or fixed for now, or None.
        warnings: what is wrong without standing in the way.
    """
    last = await records.last_sweep()
    return {
        "ready": not_ready is None,
        "reason": not_ready,
        "warnings": warnings,
        "version": __version__,
        "last_sweep": None if last is None else {
            "started_at": last.started_at.isoformat(),
            "finished_at": last.finished_at.isoformat(),
            "complete": last.complete,
            "summary": last.summary,
            "unknown": dict(last.unknown),
            "dead": dict(last.dead),
        },
        "queues": dict(await work.depths()),
    }  # fmt: skip
