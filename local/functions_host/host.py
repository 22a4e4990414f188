"""The host: one app, its listeners, and its HTTP server on loopback."""

import asyncio
import hashlib
import os
import platform
import re
import socket

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from .admin import Admin
from .connections import Connection
from .errors import StartupError
from .eventgrid import PATH, EventGridWebhook
from .functions import Function, describe, with_trigger
from .host_json import HostOptions, read_host_json
from .http_front import HttpFront
from .invoker import Invoker
from .keys import Gate, Keys, new_keys
from .logs import log_to_stderr
from .outputs import Outputs
from .queues import QueueListener
from .routes import Route
from .runtime import load_app
from .settings import Settings
from .storage import Storage
from .timer_status import TimerStatusStore
from .timers import TimerListener


_DEFAULT_PORT = 7071
_MAX_BODY = (
    210 * 1024**2
)  # https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the command line says."""

    app_dir: Path
    settings: Path | None
    port: int | None
    enable_auth: bool
    message_lease: int
    grace: float


class Host:
    """Hosts the function app of one folder; `start` once, then `stop`."""

    def __init__(self, arguments: Arguments) -> None:
        app_dir = arguments.app_dir.resolve()
        self._app_dir = app_dir
        log_to_stderr(self._function_of)
        self._arguments = arguments
        file = arguments.settings or app_dir / "local.settings.json"
        self._settings = Settings(file.resolve(), required=arguments.settings is not None)
        self._options: HostOptions = read_host_json(app_dir / "host.json", os.environ)
        self._storage = Storage()
        self._outputs = Outputs(self._storage, self._settings, self._options.queues.encoding)
        self._invoker = Invoker(self._outputs, self._options.function_timeout)

    async def start(self) -> None:
        """Load the app, begin to listen; a StartupError says why it cannot be."""
        listening = self._bind()
        host_id = self._settings.get("AzureFunctionsWebHost__hostid") or _host_id(self._app_dir)
        self.functions = [describe(indexed, self._settings) for indexed in await load_app(self._app_dir)]
        self.keys: Keys = new_keys(function.name for function in self.functions)
        for function in self.functions:
            self._outputs.check(function)
        self._queues = [
            self._queue_listener(function) for function in with_trigger(self.functions, "queueTrigger")
        ]
        timers = with_trigger(self.functions, "timerTrigger")
        self._timers = {function.name: TimerListener(function, self._invoker) for function in timers}
        monitored = {name for name, timer in self._timers.items() if timer.is_monitored}
        accounts = {name: self._timer_account(name) for name in monitored}
        await self._serve(listening, host_id)
        for queue in self._queues:
            await queue.start()
        for name, timer in self._timers.items():
            blobs = await self._storage.blobs(accounts[name]) if name in monitored else None
            await timer.start(TimerStatusStore(blobs, host_id, name) if blobs else None)

    async def stop(self) -> bool:
        """Take no new work and give what runs its grace; return whether all of it ended."""
        stops = [self._runner.cleanup(), self._admin.stop()]
        stops += [queue.stop() for queue in self._queues]
        stops += [timer.stop() for timer in self._timers.values()]
        try:
            async with asyncio.timeout(self._arguments.grace):
                await asyncio.gather(*stops)
        except TimeoutError:
            return False
        await self._storage.close()
        return not self._invoker.running

    @property
    def unfinished(self) -> Sequence[str]:
        """The names of the functions that still run."""
        return self._invoker.running

    @property
    def routes(self) -> Sequence[Route]:
        """The routes of the HTTP functions."""
        return self._front.routes

    def _function_of(self, invocation_id: str) -> str | None:
        return self._invoker.function_of(invocation_id)

    def _bind(self) -> socket.socket:
        """Take the port before the app is loaded: apps build links from WEBSITE_HOSTNAME."""
        port = self._arguments.port
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", self._settings.port or _DEFAULT_PORT if port is None else port))
        except OSError as error:
            raise StartupError(f"The port cannot be had: {error}") from error
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        os.environ.setdefault("AZURE_FUNCTIONS_ENVIRONMENT", "Development")
        os.environ.setdefault("WEBSITE_HOSTNAME", self.url.removeprefix("http://"))
        return listening

    def _queue_listener(self, function: Function) -> QueueListener:
        connection = self._settings.connection(
            function.trigger.fields.get("connection"), "queue", used_by=f"Function {function.name}"
        )
        return QueueListener(
            function,
            connection,
            storage=self._storage,
            invoker=self._invoker,
            options=self._options.queues,
            lease=self._arguments.message_lease,
        )

    def _timer_account(self, function: str) -> Connection:
        return self._settings.connection(None, "blob", used_by=f"Function {function} (useMonitor)")

    async def _serve(self, listening: socket.socket, host_id: str) -> None:
        gate = Gate(self.keys, enforced=self._arguments.enable_auth)
        self._front = HttpFront(self.functions, self._options.route_prefix, self._invoker, gate)
        webhook = EventGridWebhook(self.functions, self._invoker, gate)
        self._admin = Admin(self.functions, timers=self._timers, invoker=self._invoker, gate=gate, host_id=host_id)
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_get("/admin/host/status", self._admin.status)
        app.router.add_get("/admin/functions", self._admin.list_functions)
        app.router.add_post("/admin/functions/{name}", self._admin.run)
        app.router.add_route("*", PATH, webhook.handle)
        app.router.add_route("*", "/{anything:.*}", self._front.handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=self._arguments.grace)
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()


def _host_id(app_dir: Path) -> str:
    """Derive a stable id from machine and folder, as the real host does locally (ScriptHostIdProvider.cs)."""
    machine = re.sub(r"[^a-z0-9]", "", platform.node().lower())[:20]
    return f"{machine}-{hashlib.sha256(str(app_dir).encode()).hexdigest()[:10]}"
