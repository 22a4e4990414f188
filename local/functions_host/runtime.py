"""The only door to Microsoft's Python worker runtime (`azure-functions-runtime` 1.3.0).

In Azure a gRPC proxy drives that package with protobuf messages. It takes them duck-typed, from the module
given as `protos`, so plain namespaces do for indexing; invocations go through `native_invocation`, the
protobuf-free entry of the package, which its own docstring reserves for Microsoft's proxy: pin the version.
"""

import json
import os
import sys

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as worker  # type: ignore[import-untyped]

from azure.functions.meta import Datum
from azure_functions_runtime import native_invocation

from .errors import StartupError


class _Protos:
    """Stands for the generated protobuf module: any message is a plain namespace."""

    class StatusResult(SimpleNamespace):
        Failure = 0
        Success = 1

    class BindingInfo(SimpleNamespace):
        out = 1
        inout = 2
        undefined = 0

    def __getattr__(self, name: str) -> type[SimpleNamespace]:
        return SimpleNamespace


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`@app.retry`: a fixed delay when minimum and maximum are equal, else exponential between the two."""

    max_retries: int
    minimum: timedelta
    maximum: timedelta


@dataclass(frozen=True, slots=True)
class IndexedFunction:
    """A function as the worker reports it to the host; each binding as in a function.json."""

    id: str
    name: str
    bindings: Sequence[Mapping[str, Any]]
    retry: RetryPolicy | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one invocation ended; `error` is None when it succeeded."""

    error: str | None = None
    returned: Datum | None = None
    outputs: Mapping[str, Datum] | None = None


async def load_app(app_dir: Path) -> list[IndexedFunction]:
    """Import and index `function_app.py` of the folder, once per process, as the worker does at its start."""
    os.chdir(app_dir)
    sys.path.insert(0, str(app_dir))
    worker.start_threadpool_executor()
    start = SimpleNamespace(capabilities={}, function_app_directory=str(app_dir))
    response = await worker.worker_init_request(_request(worker_init_request=start))
    if response.result.status != _Protos.StatusResult.Success:
        problem = response.result.exception
        raise StartupError(f"{app_dir} could not be indexed: {problem.message}\n{problem.stack_trace}")
    if "HttpUri" in response.capabilities:
        raise StartupError("HTTP streaming (azurefunctions-extensions-http-fastapi) is not supported here")
    metadata = await worker.functions_metadata_request(_request())
    return [_indexed(function) for function in metadata.function_metadata_results or ()]


async def invoke(
    function_id: str,
    invocation_id: str,
    parameter: tuple[str, Datum],
    metadata: Mapping[str, Datum],
    *,
    retry: tuple[int, int] = (0, 0),
    traceparent: str = "",
) -> Outcome:
    """Run the function: an async one on this loop, a sync one in the worker's thread pool.

    `retry` is the number of this retry and the most there can be; `traceparent` is the host's own span.
    """
    # The runtime sets this only around the function itself; its own records should show the invocation too.
    token = worker.invocation_id_cv.set(invocation_id)
    try:
        succeeded, returned, outputs, error, _ = await native_invocation.invocation_request_native(
            invocation_id,
            function_id,
            [parameter],
            dict(metadata),
            trace_parent=traceparent,
            retry_count=retry[0],
            max_retry_count=retry[1],
        )
    finally:
        worker.invocation_id_cv.reset(token)
    return Outcome(None if succeeded else error or "failed", returned, dict(outputs))


def current_invocation_id() -> str | None:
    """Return the id of the invocation that the calling code runs in, on the loop and in the pool alike."""
    invocation_id: str | None = worker.invocation_id_cv.get()
    return invocation_id


def _request(**content: Any) -> SimpleNamespace:
    return SimpleNamespace(
        request=SimpleNamespace(**content), properties={"host": "127.0.0.1", "protos": _Protos()}
    )


def _indexed(metadata: Any) -> IndexedFunction:
    bindings = [json.loads(binding) for binding in metadata.raw_bindings]
    return IndexedFunction(metadata.function_id, metadata.name, bindings, _retry(metadata.retry_options))


def _retry(options: Any) -> RetryPolicy | None:
    if options is None:
        return None
    if options.retry_strategy == "fixed_delay":
        return RetryPolicy(options.max_retry_count, options.delay_interval, options.delay_interval)
    return RetryPolicy(options.max_retry_count, options.minimum_interval, options.maximum_interval)
