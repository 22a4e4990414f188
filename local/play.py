"""Being somebody else on a stack that runs: ``python -m local.play lower HUB [VERSION] | sweep | show``."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from typing import Any

import aiohttp

from rich.console import Console
from rich.table import Table

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.findings import TableFindings
from hubwarden.adapters.tickets.builtin import BuiltinTickets
from local.scene import lower_tls
from local.stack import ROOT, SOMEBODY, signed_in


async def lower(stack: dict[str, Any], hub: str, version: str) -> None:
    """Set the hub's minTlsVersion, signed in as somebody who is not hubwarden."""
    credential, arm = signed_in(stack["arm"], stack["ca_file"], SOMEBODY)
    async with credential, arm:
        await lower_tls(arm, hub, version)
    print(f'{SOMEBODY.name} has set minTlsVersion of {hub} to "{version}"')


async def sweep(stack: dict[str, Any]) -> None:
    """Run the timer function by hand, as the real host lets one do."""
    url, headers = f"{stack['host']}/admin/functions/sweep", {"x-functions-key": stack["master_key"]}
    async with aiohttp.ClientSession() as http, http.post(url, json={"input": ""}, headers=headers) as answer:
        answer.raise_for_status()
    print("the sweep has begun")


async def show(stack: dict[str, Any]) -> None:
    """Every finding with its history, and its ticket."""
    account = StorageAccount({"AzureWebJobsStorage": stack["storage"]})
    table = Table("hub", "rule", "state", "seen", "what happened", show_lines=True)
    try:
        tickets = BuiltinTickets(account)
        async for finding in TableFindings(account).everything():
            ticket = await tickets.find_by_key(finding.id)
            steps = [f"{step.at:%H:%M:%S} {step.state}: {step.reason}" for step in finding.history]
            if ticket is not None:
                steps.append(f"ticket {'open' if ticket.is_open else 'closed'}: {ticket.title}")
            table.add_row(
                finding.hub.name, finding.rule_id, finding.state, str(finding.occurrences), "\n".join(steps)
            )
    finally:
        await account.close()
    Console().print(table)


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m local.play", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    lowering = commands.add_parser("lower", help="lower a hub's TLS minimum as somebody else")
    lowering.add_argument("hub")
    lowering.add_argument("version", nargs="?", default="1.0")
    commands.add_parser("sweep", help="run a sweep now")
    commands.add_parser("show", help="show findings and tickets")
    options = parser.parse_args()
    file = ROOT / ".demo" / "stack.json"
    if not file.exists():
        print("no stack is running: start one with `make up`", file=sys.stderr)
        return 1
    stack = json.loads(file.read_text(encoding="utf-8"))
    match options.command:
        case "lower":
            asyncio.run(lower(stack, options.hub, options.version))
        case "sweep":
            asyncio.run(sweep(stack))
        case _:
            asyncio.run(show(stack))
    return 0


if __name__ == "__main__":
    sys.exit(main())
