"""Part c: how long a new instance takes until the host knows its functions."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any, Final

from local.bench.child import result_of
from local.bench.figure import Figure, spread


_BARE: Final = """
import time
started = time.perf_counter()
import azure.functions
print(time.perf_counter() - started)
"""
_OURS: Final = """
import time
started = time.perf_counter()
import asyncio
from pathlib import Path
from local.functions_host.runtime import load_app
asyncio.run(load_app(Path.cwd()))
print(time.perf_counter() - started)
"""
_SETTINGS: Final = {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}


async def measure_cold_start(runs: int, tell: Callable[[str], None]) -> tuple[list[Figure], dict[str, Any]]:
    """The figures, and every single measurement behind them. The first run of each is not counted: it compiles."""
    tell(f"{runs} new processes each: `import azure.functions`, and function_app until it is indexed")
    bare: list[float] = []
    ours: list[float] = []
    for _ in range(runs + 1):
        bare.append(await result_of("-c", _BARE))
        ours.append(await result_of("-c", _OURS, env=_SETTINGS))
    del bare[0], ours[0]
    figures = [
        Figure("import azure.functions", median(bare), "s", note=spread(bare, 3)),
        Figure("function_app, until it is indexed", median(ours), "s", note=spread(ours, 3)),
        Figure("indexed ÷ import", median(ours) / median(bare), "×", note="the worker runtime is in it too"),
    ]
    return figures, {"import_azure_functions": bare, "import_to_indexed": ours}
