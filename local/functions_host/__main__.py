"""`python -m local.functions_host`: what `func start` does, on the same files."""

import argparse
import asyncio
import json
import os
import signal
import sys

from pathlib import Path
from typing import TextIO

from .errors import StartupError
from .eventgrid import PATH
from .functions import Function
from .host import Arguments, Host
from .waiting import elapsed


_PARENT_CHECK = 1.0
_PARENT = os.getppid()


def main() -> int:
    """Run the host until a signal or its parent's end; return the exit code."""
    options = _parser().parse_args()
    arguments = Arguments(
        app_dir=options.app_dir,
        settings=options.settings,
        port=options.port,
        enable_auth=options.enable_auth,
        message_lease=options.message_lease,
        grace=options.grace,
    )
    # Standard output belongs to the ready line; what the app prints goes where its logs go.
    ready, sys.stdout = sys.stdout, sys.stderr
    try:
        asyncio.run(_run(arguments, options.parent_pid, ready))
    except StartupError as error:
        print(f"The function app cannot start: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(arguments: Arguments, parent_pid: int | None, ready: TextIO) -> None:
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    host = Host(arguments)
    await host.start()
    _show_functions(host)
    print(json.dumps(_ready_line(host)), file=ready, flush=True)
    await _until(ending, parent_pid)
    if not await host.stop():
        print(f"Left unfinished: {', '.join(host.unfinished)}", file=sys.stderr, flush=True)
        # A thread cannot be cancelled, and the interpreter would wait for it.
        os._exit(0)


async def _until(ending: asyncio.Event, parent_pid: int | None) -> None:
    """Return when the event is set or the parent process is gone."""
    if parent_pid is None:
        await ending.wait()
        return
    while _lives(parent_pid) and await elapsed(_PARENT_CHECK, unless=ending):
        pass


def _lives(pid: int) -> bool:
    """Say whether a process runs; one that nobody has waited for yet still counts, unless it was our parent."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return os.getppid() == pid or pid != _PARENT


def _show_functions(host: Host) -> None:
    routes = {route.function.name: route for route in host.routes}
    print("\nFunctions:\n", file=sys.stderr)
    for function in sorted(host.functions, key=lambda function: function.name):
        route = routes.get(function.name)
        if route:
            methods = ",".join(sorted(route.methods)) or "ALL"
            print(f"\t{function.name}: [{methods}] {host.url}/{route.template}\n", file=sys.stderr)
        else:
            print(f"\t{function.name}: {function.trigger.type}{_webhook(host, function)}\n", file=sys.stderr)


def _webhook(host: Host, function: Function) -> str:
    if function.trigger.type != "eventGridTrigger":
        return ""
    return f" {host.url}{PATH}?functionName={function.name}"


def _ready_line(host: Host) -> dict[str, object]:
    return {
        "ready": True,
        "url": host.url,
        "functions": [function.name for function in host.functions],
        "master_key": host.keys.master,
        "host_key": host.keys.host,
        "function_keys": dict(host.keys.functions),
        "eventgrid_key": host.keys.eventgrid,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.functions_host", description=__doc__)
    parser.add_argument("--app-dir", type=Path, default=Path(), help="folder of host.json and function_app.py")
    parser.add_argument("--port", type=int, help="0 takes a free one; default Host.LocalHttpPort, else 7071")
    parser.add_argument("--settings", type=Path, help="default: local.settings.json of the folder")
    parser.add_argument("--enable-auth", action="store_true", help="hold HTTP calls to their auth level")
    parser.add_argument("--message-lease", type=int, default=600, metavar="SECONDS", help="default: %(default)s")
    parser.add_argument(
        "--grace", type=float, default=10, metavar="SECONDS", help="for running invocations at the end"
    )
    parser.add_argument("--parent-pid", type=int, metavar="PID", help="end when this process ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
