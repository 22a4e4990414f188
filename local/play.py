"""Being somebody else on a stack that runs: ``python -m local.play --help`` lists what one can do."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import aiohttp

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.findings import TableFindings
from hubwarden.adapters.tickets.builtin import BuiltinTickets
from local.azure_simulator.client import SimulatorClient
from local.scene import ROGUE, SETTING, add_bare_device, add_policy, lower_tls, remove_diagnostics
from local.stack import ROOT, SOMEBODY, signed_in, signed_in_to_monitor


type _Stack = Mapping[str, Any]


async def lower(stack: _Stack, options: argparse.Namespace) -> None:
    """Lower a hub's TLS minimum."""
    credential, arm = signed_in(stack["arm"], stack["ca_file"], SOMEBODY)
    async with credential, arm:
        await lower_tls(arm, options.hub, options.version)
    print(f'{SOMEBODY.name} has set minTlsVersion of {options.hub} to "{options.version}"')


async def rogue(stack: _Stack, options: argparse.Namespace) -> None:
    """Give a hub a shared access policy that may do everything."""
    credential, arm = signed_in(stack["arm"], stack["ca_file"], SOMEBODY)
    async with credential, arm:
        await add_policy(arm, options.hub, options.policy)
    print(f"{SOMEBODY.name} has given {options.hub} the shared access policy {options.policy}")


async def unlog(stack: _Stack, options: argparse.Namespace) -> None:
    """Delete a hub's diagnostic setting, so that its logs go nowhere."""
    credential, monitor = signed_in_to_monitor(stack["arm"], stack["ca_file"], SOMEBODY)
    async with credential, monitor:
        await remove_diagnostics(monitor, options.hub, options.setting)
    print(f"{SOMEBODY.name} has deleted the diagnostic setting {options.setting} of {options.hub}")


async def device(stack: _Stack, options: argparse.Namespace) -> None:
    """Register a device without a security agent; it is counted after 15 minutes, or when you ask for it."""
    async with SimulatorClient(stack["control"], stack["ca_file"]) as sim:
        await add_bare_device(sim, options.hub, options.device)
    print(f"{SOMEBODY.name} has registered {options.device} on {options.hub}; to have the devices counted now:")
    print(f"{sys.executable} -m hubwarden.cli --settings {stack['settings']} count {options.hub}")


async def sweep(stack: _Stack, _: argparse.Namespace) -> None:
    """Run the timer function by hand, as the real host lets one do."""
    url, headers = f"{stack['host']}/admin/functions/sweep", {"x-functions-key": stack["master_key"]}
    async with aiohttp.ClientSession() as http, http.post(url, json={"input": ""}, headers=headers) as answer:
        answer.raise_for_status()
    print("the sweep has begun")


async def show(stack: _Stack, _: argparse.Namespace) -> None:
    """Show every finding with its history, and its ticket."""
    account = StorageAccount({"AzureWebJobsStorage": stack["storage"]})
    table = Table("hub", "rule", "state", "seen", "what happened", show_lines=True)
    try:
        tickets = BuiltinTickets(account)
        async for finding in TableFindings(account).everything():
            ticket = await tickets.find_by_key(finding.id)
            steps = [f"{step.at:%H:%M:%S} {step.state}: {step.reason}" for step in finding.history]
            if ticket is not None:
                steps.append(f"ticket {'open' if ticket.is_open else 'closed'}: {ticket.title}")
            cells = (finding.hub.name, finding.rule_id, finding.state, str(finding.occurrences), "\n".join(steps))
            table.add_row(*map(Text, cells))
    finally:
        await account.close()
    Console().print(table)


_ARGUMENTS: Final[Mapping[Callable[[_Stack, argparse.Namespace], Awaitable[None]], Mapping[str, str | None]]] = {
    lower: {"hub": None, "version": "1.0"},
    rogue: {"hub": None, "policy": ROGUE},
    unlog: {"hub": None, "setting": SETTING},
    device: {"hub": None, "device": "crane-8"},
    sweep: {},
    show: {},
}
"""What one can do, with its arguments and their defaults; None: it must be said."""


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m local.play", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for act, arguments in _ARGUMENTS.items():
        told = str(act.__doc__)
        command = commands.add_parser(act.__name__, help=told, description=told)
        command.set_defaults(act=act)
        for name, default in arguments.items():
            command.add_argument(name, nargs=None if default is None else "?", default=default)
    options = parser.parse_args()
    file = ROOT / ".demo" / "stack.json"
    if not file.exists():
        print("no stack is running: start one with `make up`", file=sys.stderr)
        return 1
    asyncio.run(options.act(json.loads(file.read_text(encoding="utf-8")), options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
