"""`python -m local.azure_simulator`: the simulator as a process of its own."""

import argparse
import asyncio
import json
import os
import signal
import sys

from pathlib import Path

from local.azure_simulator.config import SimulatorConfig
from local.azure_simulator.seed import SeedError, load, plant
from local.azure_simulator.simulator import AzureSimulator


PARENT_CHECK_SECONDS = 0.5


def main() -> int:
    """Run until SIGTERM or SIGINT; 0 then, 2 for a seed that cannot be used."""
    options = arguments().parse_args()
    try:
        asyncio.run(serve(options))
    except SeedError as error:
        print(f"seed: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 2
    return 0


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m local.azure_simulator", description=main.__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=Path, help="JSON file with hubs, principals, locks, ...: see README.md")
    parser.add_argument("--ca-dir", help="where to write ca.pem; else a temporary directory")
    parser.add_argument("--transition-seconds", type=float, default=1.0, help="duration of a hub's PUT or DELETE")
    parser.add_argument("--latency-seconds", type=float, default=0.0, help="added to each request")
    parser.add_argument("--page-size", type=int, default=100, help="hubs in one page of a list")
    parser.add_argument("--retry-scale", type=float, default=1.0, help="factor on the delays of event retries")
    parser.add_argument("--no-enforce-if-match", action="store_true", help="accept stale etags")
    parser.add_argument("--parent-pid", type=int, help="exit when this process is gone")
    return parser


async def serve(options: argparse.Namespace) -> None:
    """Start, say so on one line of stdout, and serve until told to stop."""
    seed = load(options.seed) if options.seed else {}
    config = SimulatorConfig(
        host=options.host,
        port=options.port,
        ca_dir=options.ca_dir,
        transition_seconds=options.transition_seconds,
        latency_seconds=options.latency_seconds,
        page_size=options.page_size,
        retry_scale=options.retry_scale,
        enforce_if_match=not options.no_enforce_if_match,
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AzureSimulator(config) as simulator:
        try:
            plant(simulator, seed)
        except SeedError as error:
            raise SeedError(f"{options.seed}: {error}") from error
        print(json.dumps(ready(simulator)), flush=True)
        watch = asyncio.create_task(stop_without(options.parent_pid, stop)) if options.parent_pid else None
        await stop.wait()
        if watch:
            watch.cancel()


def ready(simulator: AzureSimulator) -> dict[str, object]:
    """What a client has to know."""
    return {
        "ready": True,
        "arm": simulator.url,
        "authority": simulator.authority,
        "audience": simulator.audience,
        "data_plane": simulator.data_plane,
        "control": simulator.control_url,
        "ca_file": simulator.ca_file,
        "identity": simulator.identity_environment,
    }


async def stop_without(parent: int, stop: asyncio.Event) -> None:
    """Stop when the process is gone."""
    while is_alive(parent):  # noqa: ASYNC110 (no event tells of the end of a process that is no child)
        await asyncio.sleep(PARENT_CHECK_SECONDS)
    stop.set()


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    sys.exit(main())
