"""The demo: the main job played against a local Azure, told as it happens, and written to .demo/report.json.

``python -m local.demo [--keep | --no-script]``; ends with 0 only if everything happened that should.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hubwarden.domain.finding import Finding, State, Step
from hubwarden.domain.jsons import JsonObject, differences, dotted
from local.scene import HUBS, POLICY, lower_tls, read
from local.stack import AUDITOR, HUBWARDEN, ROOT, SOMEBODY, Options, Stack, StackError


FOLDER: Final = ROOT / ".demo"
_PATIENCE: Final = timedelta(seconds=40)
_CALLS_ALLOWED: Final = 4
# Azure itself changes these with a write, whoever makes it.
_AZURES_OWN: Final = frozenset({("etag",)})
_ENDS: Final = frozenset({State.RESOLVED, State.TICKETED})


class NotAsExpectedError(AssertionError):
    """Something did not happen that should have, or the other way round."""


@dataclass
class Story:
    """What is told on the screen and in the report."""

    console: Console
    steps: list[dict[str, Any]] = field(default_factory=list)
    hubs: dict[str, Any] = field(default_factory=dict)

    def chapter(self, title: str) -> None:
        """A heading."""
        self.console.print(f"\n[bold]{title}[/bold]")
        self._note("chapter", title)

    def tell(self, text: str, mark: str = "•") -> None:
        """One thing that happened."""
        self.console.print(f"  {mark} {text}", highlight=False, soft_wrap=True)
        self._note("step", text)

    def expect(self, holds: bool, text: str) -> None:  # noqa: FBT001 - reads as a sentence
        """Tell that something holds, or end the demo because it does not."""
        if not holds:
            raise NotAsExpectedError(text)
        self.tell(text, "[green]✓[/green]")

    def _note(self, kind: str, text: str) -> None:
        self.steps.append({"at": datetime.now(UTC).isoformat(), kind: text})


async def play(stack: Stack, story: Story) -> None:
    """All four acts.

    Raises:
        NotAsExpectedError, TimeoutError: the demo failed, and at what.
    """
    before = {_name(hub): await _audited(stack, _name(hub)) for hub in HUBS}
    somebody = stack.arm_as(SOMEBODY)

    story.chapter("1. Three hubs, all compliant")
    await stack.sweep()
    last = await stack.records.last_sweep()
    assert last is not None
    story.expect(last.summary == "evaluated 3 of 3 hubs, 0 with drift", f"the first sweep says: {last.summary}")

    story.chapter("2. Somebody lowers the TLS minimum of factory-north, and Event Grid tells")
    await stack.sim.clear_requests()
    await lower_tls(somebody, "factory-north")
    story.tell(f'{SOMEBODY.name} has set minTlsVersion of factory-north to "1.0" with a PUT')
    await _fixed(stack, story, "factory-north", before)
    await _tell_costs(stack, story, "factory-north")

    story.chapter("3. The same on factory-south, but the event gets lost")
    await stack.sim.event_mode(lose=None)
    await lower_tls(somebody, "factory-south")
    await stack.sim.event_mode()
    story.tell(f'{SOMEBODY.name} has set minTlsVersion of factory-south to "1.0"; the event never arrives')
    story.expect(await _finding(stack, "factory-south") is None, "hubwarden knows nothing of it")
    await stack.sweep()
    last = await stack.records.last_sweep()
    assert last is not None
    story.expect(last.drifting == 1, f"the sweep says: {last.summary}")
    await _fixed(stack, story, "factory-south", before)

    story.chapter("4. harbour has a ReadOnly lock: no machine may change it")
    await lower_tls(somebody, "harbour")
    await stack.sim.add_lock(HUBS[2]["id"], "ReadOnly", name="plant-freeze")
    story.tell(f'{SOMEBODY.name} has set minTlsVersion of harbour to "1.0" and put a ReadOnly lock on it')
    await _ticketed(stack, story, "harbour", before)


async def _fixed(stack: Stack, story: Story, name: str, before: dict[str, JsonObject]) -> None:
    finding = await _followed(stack, story, name)
    after = await _audited(stack, name)
    changed = sorted(set(differences(before[name], after)) - _AZURES_OWN)
    story.expect(finding.state is State.RESOLVED, "the finding is resolved")
    story.expect(
        not changed,
        'an independent GET finds minTlsVersion "1.2" and everything else as it was'
        if not changed
        else f"everything else as it was; it differs in {', '.join(map(dotted, changed))}",
    )
    await _report_hub(stack, story, finding, after)


async def _ticketed(stack: Stack, story: Story, name: str, before: dict[str, JsonObject]) -> None:
    finding = await _followed(stack, story, name)
    ticket = await stack.tickets.find_by_key(finding.id)
    after = await _audited(stack, name)
    changed = [dotted(path) for path in differences(before[name], after) if path not in _AZURES_OWN]
    story.expect(finding.state is State.TICKETED, "the finding has ended as a ticket")
    if ticket is None:
        raise NotAsExpectedError("there is no ticket for it")
    story.console.print(_indented(ticket.text), style="dim", highlight=False, soft_wrap=True)
    story.expect(ticket.is_open, f"the ticket is open: {ticket.title}")
    story.expect(changed == ["properties.minTlsVersion"], "hubwarden has changed nothing on the hub")
    await _report_hub(stack, story, finding, after, ticket=ticket.text)


async def _followed(stack: Stack, story: Story, name: str) -> Finding:
    """Tell the finding's steps as they happen, until it has come to an end."""
    told = 0
    try:
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            while True:
                finding = await _finding(stack, name)
                steps = finding.history if finding else ()
                for step in steps[told:]:
                    _tell_step(story, step, finding)
                told = len(steps)
                if (
                    finding is not None
                    and finding.state in _ENDS
                    and finding.ticket_open == _needs_ticket(finding)
                ):
                    return finding
                await asyncio.sleep(0.1)
    except TimeoutError:
        stands = "there is no finding" if told == 0 else f"it stands at step {told}"
        raise NotAsExpectedError(f"{name} did not come to an end within {_PATIENCE}: {stands}") from None


def _needs_ticket(finding: Finding) -> bool:
    return finding.state is State.TICKETED


def _tell_step(story: Story, step: Step, finding: Finding | None) -> None:
    story.tell(f"{step.at:%H:%M:%S.%f} [bold]{step.state}[/bold]  {escape(step.reason)}")
    if step.state is not State.EXECUTING or finding is None or finding.attempt is None:
        return
    table = Table("path", "before", "after", title="the plan", title_justify="left")
    for change in finding.attempt.changes:
        path = cast("list[str]", change["path"])
        table.add_row(dotted(tuple(path)), *(str(change.get(side, "(absent)")) for side in ("before", "after")))
    story.console.print(table)


async def _tell_costs(stack: Stack, story: Story, name: str) -> None:
    """ARM calls and time from the event to the PUT, as the simulator counted them."""
    ours = [r for r in await stack.sim.requests() if r["principal"] == HUBWARDEN.name and "/IotHubs" in r["path"]]
    until_put = ours[: next(i for i, r in enumerate(ours) if r["method"] == "PUT") + 1]
    events = [e["event"] for e in await stack.sim.events() if name in e["event"]["subject"].lower()]
    published = datetime.fromisoformat(events[0]["eventTime"])
    seconds = (datetime.fromisoformat(until_put[-1]["time"]) - published).total_seconds()
    calls = ", ".join(r["method"] for r in until_put)
    story.expect(
        len(until_put) <= _CALLS_ALLOWED,
        f"{len(until_put)} ARM calls from event to PUT ({calls}), {len(ours)} with the proof afterwards; "
        f"{seconds:.1f} s from the event to the PUT",
    )
    story.hubs.setdefault(name, {})["cost"] = {"arm_calls_to_put": len(until_put), "seconds_to_put": seconds}


async def _report_hub(
    stack: Stack, story: Story, finding: Finding, after: JsonObject, *, ticket: str | None = None
) -> None:
    name = finding.hub.name
    story.hubs[name] = {
        **story.hubs.get(name, {}),
        "finding": finding.id,
        "states": [step.state for step in finding.history],
        "timeline": await _timeline(stack, finding),
        "ticket": ticket,
        "hub_read_back": after,
    }


async def _timeline(stack: Stack, finding: Finding) -> Sequence[JsonObject]:
    name = finding.hub.name
    lines: list[JsonObject] = [
        {"at": step.at.isoformat(), "who": "hubwarden", "what": f"{step.state}: {step.reason}"}
        for step in finding.history
    ]
    lines += [
        {"at": r["time"], "who": r["principal"], "what": f"{r['method']} → {r['status']}"}
        for r in await stack.sim.requests()
        if r["path"].lower().endswith(f"/iothubs/{name}")
    ]
    lines += [
        {"at": e["event"]["eventTime"], "who": "Event Grid", "what": f"{e['event']['eventType']} ({e['fate']})"}
        for e in await stack.sim.events()
        if e["event"]["subject"].lower().endswith(f"/iothubs/{name}")
    ]
    return sorted(lines, key=lambda line: datetime.fromisoformat(str(line["at"])))


async def _finding(stack: Stack, name: str) -> Finding | None:
    return next(iter([f async for f in stack.findings.everything() if f.hub.name == name]), None)


async def _audited(stack: Stack, name: str) -> JsonObject:
    """The hub as somebody who has nothing to do with hubwarden reads it."""
    return await read(stack.arm_as(AUDITOR), name)


def _name(hub: dict[str, Any]) -> str:
    return str(hub["id"]).rsplit("/", 1)[1]


def _indented(text: str) -> str:
    return "\n".join(f"      {line}" for line in text.splitlines())


def _show_addresses(stack: Stack, console: Console) -> None:
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
    }
    (FOLDER / "stack.json").write_text(json.dumps(addresses, indent=2), encoding="utf-8")
    console.print("\n[bold]Everything is running.[/bold]")
    console.print(f"  Azure (simulated)   {stack.arm}   control {stack.control_url}", highlight=False)
    console.print(f"  Function App        {stack.host['url']}", highlight=False)
    console.print(f"  logs                {FOLDER}/host.log, {FOLDER}/simulator.log", highlight=False)
    console.print("\nTry:", highlight=False)
    for command in (
        f"curl -s '{stack.health_url}'",
        f"{python} -m local.play lower factory-north   # be somebody else",
        f"{python} -m local.play show                  # findings and tickets",
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
        async with Stack(FOLDER, POLICY, HUBS, Options()) as stack:
            console.print(f"Azurite, the Azure simulator and the Function App are up ({_seconds(started)} s)")
            if script:
                failure = await _played(stack, story)
                _write_report(story, failure, started)
            if keep and failure is None:
                _show_addresses(stack, console)
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
        story.console.print(f"\n[bold red]This did not happen:[/bold red] {error}", highlight=False)
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
