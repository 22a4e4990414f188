"""A process that makes given calls with nothing but aiohttp: what no client of Azure can be faster than."""

from __future__ import annotations

import asyncio
import ssl
import time

from collections.abc import Iterator
from typing import Any

import aiohttp

from yarl import URL

from local.bench.child import BenchError, answer, peak_megabytes


async def run(job: dict[str, Any]) -> dict[str, Any]:
    """The job has ``arm``, ``ca_file``, ``token``, ``at_once``, and ``calls``: method, path and query of each.

    The result has the seconds that all calls took together, those of CPU, and the peak of memory.
    """
    arm = URL(job["arm"])
    calls = iter([(method, arm.with_path(path).with_query(query)) for method, path, query in job["calls"]])
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=job["ca_file"]))
    headers = {"Authorization": f"Bearer {job['token']}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as http:
        started, cpu = time.monotonic(), time.process_time()
        await asyncio.gather(*(_work(http, calls) for _ in range(job["at_once"])))
        took = {"seconds": time.monotonic() - started, "cpu_seconds": time.process_time() - cpu}
    return {**took, "peak_megabytes": peak_megabytes()}


async def _work(http: aiohttp.ClientSession, calls: Iterator[tuple[str, URL]]) -> None:
    for method, url in calls:
        async with http.request(method, url) as said:
            await said.read()
            if said.status != 200:  # noqa: PLR2004
                raise BenchError(f"{method} {url}: HTTP {said.status}")


if __name__ == "__main__":
    answer(run)
