"""Runs functions, one invocation at a time: the log lines, the time limit, the outputs."""

import asyncio
import contextlib
import logging
import time
import uuid

from collections.abc import Iterator, Mapping
from datetime import timedelta

from azure.core.exceptions import AzureError
from azure.functions.meta import Datum

from . import runtime
from .functions import Function
from .outputs import Outputs
from .runtime import Outcome
from .tracing import traceparent


_logger = logging.getLogger(__name__)


class Invoker:
    """Every trigger runs its function through here."""

    def __init__(self, outputs: Outputs, time_limit: timedelta | None) -> None:
        self._outputs = outputs
        self._time_limit = time_limit.total_seconds() if time_limit else None
        self._running: dict[str, Function] = {}

    @property
    def running(self) -> list[str]:
        """The names of the functions that run now."""
        return [function.name for function in self._running.values()]

    def function_of(self, invocation_id: str) -> str | None:
        """Return the name of the function that a running invocation belongs to."""
        function = self._running.get(invocation_id)
        return function.name if function else None

    async def invoke(
        self,
        function: Function,
        value: Datum,
        metadata: Mapping[str, Datum] | None = None,
        *,
        reason: str,
        retry: tuple[int, int] = (0, 0),
        caller: str | None = None,
    ) -> Outcome:
        """Run the function once; what goes wrong is in the outcome, never raised. `caller` is its traceparent."""
        invocation_id = str(uuid.uuid4())
        name = f"Functions.{function.name}"
        _logger.info("Executing '%s' (Reason='%s', Id=%s)", name, reason, invocation_id)
        started = time.monotonic()
        with self._counted(function, invocation_id):
            trace = traceparent(caller)
            outcome = await self._within_limit(
                function, invocation_id, value, metadata or {}, retry=retry, trace=trace
            )
        took = round((time.monotonic() - started) * 1000)
        if outcome.error is None:
            _logger.info("Executed '%s' (Succeeded, Id=%s, Duration=%dms)", name, invocation_id, took)
        else:
            _logger.error(
                "Executed '%s' (Failed, Id=%s, Duration=%dms): %s", name, invocation_id, took, outcome.error
            )
        return outcome

    @contextlib.contextmanager
    def _counted(self, function: Function, invocation_id: str) -> Iterator[None]:
        self._running[invocation_id] = function
        try:
            yield
        finally:
            del self._running[invocation_id]

    async def _within_limit(
        self,
        function: Function,
        invocation_id: str,
        value: Datum,
        metadata: Mapping[str, Datum],
        *,
        retry: tuple[int, int],
        trace: str,
    ) -> Outcome:
        """Cancel an async function at the time limit; a sync one ends unheard in its thread."""
        parameter = (function.trigger.name, value)
        try:
            async with asyncio.timeout(self._time_limit):
                outcome = await runtime.invoke(
                    function.id, invocation_id, parameter, metadata, retry=retry, traceparent=trace
                )
                if outcome.error is None:
                    await self._outputs.send(function, outcome)
        except TimeoutError:
            return Outcome(error=f"Timeout value of {self._time_limit} s exceeded by function {function.name}")
        except (AzureError, ValueError) as error:
            return Outcome(error=f"Output binding failed: {error!r}")
        return outcome
