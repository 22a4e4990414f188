"""The part of the host's admin API that people use on a workstation.

https://learn.microsoft.com/azure/azure-functions/functions-manually-run-non-http
"""

import asyncio
import logging
import time

from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web
from azure.functions.meta import Datum

from .functions import Function
from .invoker import Invoker
from .keys import Gate
from .timers import TimerListener


_REASON = "This function was programmatically called via the host APIs."
_logger = logging.getLogger(__name__)


class Admin:
    """Runs functions by hand and tells about the host."""

    def __init__(
        self,
        functions: Iterable[Function],
        *,
        timers: Mapping[str, TimerListener],
        invoker: Invoker,
        gate: Gate,
        host_id: str,
    ) -> None:
        self._functions = {function.name: function for function in functions}
        self._timers = timers
        self._invoker = invoker
        self._gate = gate
        self._host_id = host_id
        self._started = time.monotonic()
        self._runs: set[asyncio.Task[None]] = set()

    async def status(self, request: web.Request) -> web.Response:
        """GET /admin/host/status."""
        self._gate.check_admin(request)
        uptime = round((time.monotonic() - self._started) * 1000)
        return web.json_response({"id": self._host_id, "state": "Running", "processUptime": uptime})

    async def list_functions(self, request: web.Request) -> web.Response:
        """GET /admin/functions."""
        self._gate.check_admin(request)
        return web.json_response([_description(function) for function in self._functions.values()])

    async def run(self, request: web.Request) -> web.Response:
        """POST /admin/functions/NAME with `{"input": "..."}`: start the function and do not wait for it."""
        self._gate.check_admin(request)
        function = self._functions.get(request.match_info["name"])
        if function is None:
            return web.Response(status=404)
        if function.trigger.type == "httpTrigger":
            return web.Response(status=400, text="Call an HTTP function by its own route")
        try:
            content = await request.json()
            given = str(content["input"] or "")
        except (ValueError, LookupError, TypeError):
            return web.Response(status=400, text='The body must be {"input": "..."}')
        run = asyncio.create_task(self._run(function, given))
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)
        return web.Response(status=202)

    async def stop(self) -> None:
        """Wait for the functions that were started by hand."""
        if self._runs:
            await asyncio.wait(self._runs)

    async def _run(self, function: Function, given: str) -> None:
        if function.name in self._timers:
            await self._timers[function.name].run_by_hand()
        elif function.trigger.type == "queueTrigger":
            await self._invoker.invoke(function, Datum(given, "string"), {}, reason=_REASON)
        else:
            await self._invoker.invoke(function, Datum(given, "json"), reason=_REASON)


def _description(function: Function) -> dict[str, Any]:
    bindings = [binding.fields for binding in (function.trigger, *function.outputs)]
    return {"name": function.name, "language": "python", "config": {"bindings": bindings}}
