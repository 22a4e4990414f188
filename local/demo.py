"""The demo: the main job played against a local Azure, told as it happens, and written to .demo/report.json.

``python -m local.demo [--keep | --no-script]``; ends with 0 only if everything happened that should.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import signal
import sys

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape

from local.acts import play
from local.scene import HUBS, POLICY, add_policy, furnish
from local.stack import ROOT, SOMEBODY, Options, Stack, StackError
from local.story import NotAsExpectedError, Story


FOLDER: Final = ROOT / ".demo"


_LINK: Final = re.compile(r"^To decide: (\S+)$", re.MULTILINE)


async def _link(stack: Stack) -> str:
    """Drift once more; the link in the ticket that asks for an approval of the fix."""
    await add_policy(stack.arm_as(SOMEBODY), "factory-south")
    async with asyncio.timeout(30):
        while True:
            async for finding in stack.findings.everything():
                ticket = await stack.tickets.find_by_key(finding.id) if finding.proposal else None
                if ticket and ticket.is_open and (found := _LINK.search(ticket.text)):
                    return found[1]
            await asyncio.sleep(0.2)


def _show_addresses(stack: Stack, console: Console, link: str) -> None:
    python = (
        Path(sys.executable).relative_to(ROOT) if Path(sys.executable).is_relative_to(ROOT) else sys.executable
    )
    addresses = {
        "arm": stack.arm,
        "control": stack.control_url,
        "ca_file": stack.ca_file,
        "host": stack.host["url"],
        "health": stack.health_url,
        "master_key": stack.host["master_key"],
        "storage": stack.connection_string,
        "settings": str(stack.settings_file),
    }
    (FOLDER / "stack.json").write_text(json.dumps(addresses, indent=2), encoding="utf-8")
    console.print("\n[bold]Everything is running.[/bold]")
    console.print(f"  Azure (simulated)   {stack.arm}   control {stack.control_url}", highlight=False)
    console.print(f"  Function App        {stack.host['url']}", highlight=False)
    console.print(f"  logs                {FOLDER}/host.log, {FOLDER}/simulator.log", highlight=False)
    console.print("\nOn factory-south a fix waits for your decision; open this in a browser:", highlight=False)
    console.print(f"  {link}", highlight=False, soft_wrap=True)
    console.print("\nTry:", highlight=False)
    for command in (
        f"curl -s '{stack.health_url}'",
        f"{python} -m local.play lower factory-north   # be somebody else; --help knows more drifts",
        f"{python} -m local.play show                  # findings and tickets",
        f"{python} -m hubwarden.cli --settings {stack.settings_file.relative_to(ROOT)} findings",
    ):
        console.print(f"  {command}", highlight=False, soft_wrap=True)
    console.print("\nCtrl-C ends it all.")


async def run(*, script: bool, keep: bool) -> int:
    """Start, play, clean up; the exit code."""
    console = Console()
    story = Story(console)
    started = datetime.now(UTC)
    failure: str | None = None
    try:
        async with Stack(FOLDER, POLICY, HUBS, Options(transition=0.5)) as stack:
            await furnish(stack.sim)
            console.print(f"Azurite, the Azure simulator and the Function App are up ({_seconds(started)} s)")
            if script:
                failure = await _played(stack, story)
                _write_report(story, failure, started)
            if keep and failure is None:
                _show_addresses(stack, console, await _link(stack))
                await asyncio.Event().wait()
    except StackError as error:
        console.print(f"[red]{error}[/red]", highlight=False)
        return 1
    if script and failure is None:
        console.print(
            f"\n[bold green]All of it happened[/bold green] ({_seconds(started)} s). Report: {FOLDER}/report.json"
        )
    return 0 if failure is None else 1


async def _played(stack: Stack, story: Story) -> str | None:
    try:
        await play(stack, story)
    except (NotAsExpectedError, TimeoutError) as error:
        story.console.print(f"\n[bold red]This did not happen:[/bold red] {escape(str(error))}", highlight=False)
        story.console.print(f"The logs are in {FOLDER}: host.log, simulator.log")
        return str(error)
    return None


def _write_report(story: Story, failure: str | None, started: datetime) -> None:
    report = {
        "ok": failure is None,
        "failure": failure,
        "started_at": started.isoformat(),
        "seconds": _seconds(started),
        "hubs": story.hubs,
        "steps": story.steps,
    }
    (FOLDER / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8")


def _seconds(since: datetime) -> float:
    return round((datetime.now(UTC) - since).total_seconds(), 1)


async def _until_told(work: asyncio.Task[int]) -> int:
    """The work's result; Ctrl-C and SIGTERM end it in good order."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        return await work
    return 130


async def _main(options: argparse.Namespace) -> int:
    work = asyncio.create_task(run(script=not options.no_script, keep=options.keep or options.no_script))
    return await _until_told(work)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running after the script")
    parser.add_argument("--no-script", action="store_true", help="only start the stack, and leave it running")
    sys.exit(asyncio.run(_main(parser.parse_args())))
