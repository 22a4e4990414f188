"""The acts of the demo: what somebody does to the hubs, and what hubwarden makes of it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from rich.markup import escape

from hubwarden.adapters.storage.lists import BlobLists
from hubwarden.domain.finding import Finding, State, Step
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import JsonObject, Path, differences, dotted
from hubwarden.domain.plan import change_text
from hubwarden.service.ports import HubRecord
from local.scene import (
    HUBS,
    ROGUE,
    SETTING,
    add_bare_device,
    add_policy,
    hub_body,
    lower_tls,
    read,
    remove_diagnostics,
)
from local.stack import AUDITOR, HUBWARDEN, ROOT, SOMEBODY, Stack
from local.story import NotAsExpectedError, Story


_PATIENCE: Final = timedelta(seconds=40)
_CALLS_ALLOWED: Final = 7
"""From an event to the PUT: each facet is read once for the judgement, then the hub again, then the write."""
# Azure itself changes these with a write, whoever makes it.
_AZURES_OWN: Final = frozenset({("etag",)})
_FOR_PEOPLE: Final = frozenset({State.TICKETED, State.AWAITING_APPROVAL})
_ENDS: Final = _FOR_PEOPLE | {State.RESOLVED}


async def play(stack: Stack, story: Story) -> None:
    """All acts, in order.

    Raises:
        NotAsExpectedError, TimeoutError: the demo failed, and at what.
    """
    acts = _Acts(stack, story)
    await acts.compliant()
    await acts.lowered()
    await acts.event_lost()
    await acts.logs_cut_off()
    await acts.rogue_policy()
    await acts.bare_device()
    await acts.locked()
    await acts.what_is_left()


class _Acts:
    def __init__(self, stack: Stack, story: Story) -> None:
        self._stack = stack
        self._story = story
        self._somebody = stack.arm_as(SOMEBODY)
        self._auditor = stack.arm_as(AUDITOR)
        self._told: dict[str, int] = {}

    async def compliant(self) -> None:
        """Everything is as it should be, and known to be."""
        self._story.chapter("1. Three hubs, compliant with all five rules")
        await self._stack.sweep()
        self._story.tell(f"the first sweep says: {await self._last_sweep()}; it has begun to count devices")
        await asyncio.gather(*(self._judged(hub) for hub in HUBS))
        await self._stack.sweep()
        said = await self._last_sweep()
        self._story.expect(
            said == "evaluated 15 of 15 facets on 3 of 3 hubs, 0 with drift", f"the second sweep says: {said}"
        )
        await self._cli("findings", ends_with=0)

    async def lowered(self) -> None:
        """A drift that an event tells of."""
        name = "factory-north"
        self._story.chapter(f"2. Somebody lowers the TLS minimum of {name}, and Event Grid tells")
        before = await self._audited(name)
        await self._stack.sim.clear_requests()
        await lower_tls(self._somebody, name)
        self._story.tell(f'{SOMEBODY.name} has set minTlsVersion of {name} to "1.0" with a PUT')
        await self._fixed(name, "tls-minimum")
        await self._as_it_was(name, before, 'minTlsVersion "1.2", and everything else as it was')
        await self._tell_costs(name)
        await self._report(name)

    async def event_lost(self) -> None:
        """A drift that only the sweep finds."""
        name = "factory-south"
        self._story.chapter(f"3. The same on {name}, but the event gets lost")
        before = await self._audited(name)
        await self._stack.sim.event_mode(lose=None)
        await lower_tls(self._somebody, name)
        await self._stack.sim.event_mode()
        self._story.tell(f'{SOMEBODY.name} has set minTlsVersion of {name} to "1.0"; the event never arrives')
        self._story.expect(await self._finding(name, "tls-minimum") is None, "hubwarden knows nothing of it")
        await self._stack.sweep()
        said = await self._last_sweep()
        self._story.expect(said.endswith(" 1 with drift"), f"the sweep says: {said}")
        await self._fixed(name, "tls-minimum")
        await self._as_it_was(name, before, 'minTlsVersion "1.2", and everything else as it was')
        await self._report(name)

    async def logs_cut_off(self) -> None:
        """A drift beside the hub, in a resource of its own."""
        name = "factory-north"
        self._story.chapter(f"4. Somebody deletes the diagnostic setting of {name}: its logs go nowhere")
        before = await self._audited(name)
        await remove_diagnostics(self._stack.monitor_as(SOMEBODY), name)
        self._story.tell(f"{SOMEBODY.name} has deleted {SETTING}")
        await self._fixed(name, "diagnostics")
        settings = {setting["name"] for setting in await self._stack.sim.diagnostic_settings(_id(name))}
        self._story.expect(settings == {"hubwarden"}, "the hub has one diagnostic setting, hubwarden's own")
        await self._as_it_was(name, before, "that nothing has changed on the hub itself")
        await self._report(name)

    async def rogue_policy(self) -> None:
        """A drift that a person has to decide on."""
        name = "factory-south"
        self._story.chapter(f"5. Somebody gives {name} a shared access policy that may do everything")
        keys, before = await self._keys(name), await self._audited(name)
        await add_policy(self._somebody, name)
        self._story.tell(f"{SOMEBODY.name} has added the policy {ROGUE} with listkeys and a PUT")
        finding = await self._followed(name, "sas-policies")
        self._story.expect(finding.state is State.AWAITING_APPROVAL, "it waits for a person; nothing was changed")
        assert finding.proposal is not None
        await self._cli("show", finding.id, ends_with=0)
        decision = ("approve", finding.id, "--plan", finding.proposal.digest, "--reason", "nobody knows it")
        await self._cli(*decision, ends_with=0)
        await self._fixed(name, "sas-policies", after=State.AWAITING_APPROVAL)
        self._story.expect(await self._keys(name) == keys, f"{ROGUE} is gone, and every other key is what it was")
        await self._as_it_was(name, before, "that nothing else has changed on the hub")
        await self._report(name)

    async def bare_device(self) -> None:
        """A drift that no machine should fix."""
        name, device = "harbour", "crane-7"
        self._story.chapter(f"6. A device without a security agent appears on {name}")
        await add_bare_device(self._stack.sim, name, device)
        due = (await self._due(name)).astimezone()
        self._story.tell(f"the hub's event tells of {device}: it has until {due:%H:%M} to register its agent,")
        self._story.tell("then the devices are counted again; the operator does not want to wait for that")
        await self._cli("count", name, ends_with=0)
        finding = await self._ticketed(name, "defender-devices")
        place = str(finding.evidence["list"])
        listed = [json.loads(line) async for line in BlobLists(self._stack.account).lines(place.partition("/")[2])]
        self._story.expect([entry["deviceId"] for entry in listed] == [device], f"the list in {place} names it")
        await self._report(name, devices_not_covered=listed)

    async def locked(self) -> None:
        """A drift that Azure does not let us fix."""
        name = "harbour"
        self._story.chapter(f"7. {name} has a ReadOnly lock: no machine may change it")
        before = await self._audited(name)
        await self._stack.sim.event_mode(hold=True)
        await lower_tls(self._somebody, name)
        await self._stack.sim.add_lock(_id(name), "ReadOnly", name="plant-freeze")
        await self._stack.sim.event_mode()
        await self._stack.sim.release_events()
        self._story.tell(f'{SOMEBODY.name} has set minTlsVersion of {name} to "1.0" and put a ReadOnly lock on it')
        await self._ticketed(name, "tls-minimum")
        changed = [dotted(path) for path in await self._changed(name, before)]
        self._story.expect(changed == ["properties.minTlsVersion"], "hubwarden has changed nothing on the hub")
        await self._report(name)

    async def what_is_left(self) -> None:
        """Drift, and what could not be judged, told apart."""
        self._story.chapter("8. What is left for people, and what the lock keeps from being judged")
        told = await self._cli("findings", ends_with=2)
        self._story.expect("Not judged" in told, "what could not be judged does not pass for compliant")

    # --- waiting
    async def _judged(self, hub: dict[str, Any]) -> None:
        """Until the hub's devices are counted and nothing about it is unknown."""
        await self._remembered(hub["id"], lambda record: record.count is not None and not record.unknown)

    async def _due(self, name: str) -> datetime:
        record = await self._remembered(_id(name), lambda record: record.count_due is not None)
        assert record.count_due is not None
        return record.count_due

    async def _remembered(self, hub: str, holds: Callable[[HubRecord], bool]) -> HubRecord:
        """The hub's record, once this holds of it."""
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            while True:
                stored = await self._stack.records.get(HubId.parse(hub))
                if stored is not None and holds(stored.value):
                    return stored.value
                await asyncio.sleep(0.1)

    async def _followed(self, name: str, rule: str, *, after: State | None = None) -> Finding:
        """Tell the finding's steps as they happen, until it has come to an end other than ``after``."""
        told = 0
        try:
            async with asyncio.timeout(_PATIENCE.total_seconds()):
                while True:
                    finding = await self._finding(name, rule)
                    if finding is not None:
                        told = self._tell_steps(finding)
                    if finding is not None and finding.state is not after and _is_over(finding):
                        return finding
                    await asyncio.sleep(0.1)
        except TimeoutError:
            stands = "there is no finding" if told == 0 else f"it stands at step {told}"
            raise NotAsExpectedError(f"{rule} on {name} did not end within {_PATIENCE}: {stands}") from None

    async def _fixed(self, name: str, rule: str, *, after: State | None = None) -> None:
        finding = await self._followed(name, rule, after=after)
        self._story.expect(finding.state is State.RESOLVED, "the finding is resolved")

    async def _ticketed(self, name: str, rule: str) -> Finding:
        finding = await self._followed(name, rule)
        ticket = await self._stack.tickets.find_by_key(finding.id)
        self._story.expect(finding.state is State.TICKETED, "the finding has ended as a ticket")
        if ticket is None:
            raise NotAsExpectedError("there is no ticket for it")
        self._story.quote(ticket.text)
        self._story.expect(ticket.is_open, f"the ticket is open: {ticket.title}")
        return finding

    # --- telling
    def _tell_steps(self, finding: Finding) -> int:
        told = self._told.get(finding.id, 0)
        for step in finding.history[told:]:
            self._tell_step(step, finding)
        self._told[finding.id] = len(finding.history)
        return len(finding.history)

    def _tell_step(self, step: Step, finding: Finding) -> None:
        at = f"{step.at:%H:%M:%S.%f} [bold]{step.state}[/bold] "
        if step.state is not State.EXECUTING or finding.attempt is None:
            self._story.tell(f"{at} {escape(step.reason)}")
            return
        self._story.tell(f"{at} plan {finding.attempt.digest}")
        self._story.quote("\n".join(change_text(change) for change in finding.attempt.changes))
        self._story.quote("\n".join(f"Note: {warning}" for warning in finding.attempt.warnings))

    async def _tell_costs(self, name: str) -> None:
        """ARM calls and time from the event to the PUT, as the simulator counted them."""
        ours = [r for r in await self._stack.sim.requests() if r["principal"] == HUBWARDEN.name]
        until_put = ours[: next(i for i, r in enumerate(ours) if r["method"] == "PUT") + 1]
        published = next(
            datetime.fromisoformat(e["event"]["eventTime"])
            for e in await self._stack.sim.events()
            if e["event"]["eventType"].endswith("WriteSuccess") and name in e["event"]["subject"].lower()
        )
        seconds = (datetime.fromisoformat(until_put[-1]["time"]) - published).total_seconds()
        calls = ", ".join(r["method"] for r in until_put)
        self._story.expect(
            len(until_put) <= _CALLS_ALLOWED,
            f"{len(until_put)} calls from event to PUT for all five rules ({calls}), {len(ours)} with the proof "
            f"afterwards; {seconds:.1f} s from the event to the PUT",
        )
        self._of(name)["cost"] = {"arm_calls_to_put": len(until_put), "seconds_to_put": seconds}

    async def _as_it_was(self, name: str, before: JsonObject, what: str) -> None:
        changed = await self._changed(name, before)
        self._story.expect(
            not changed,
            f"an independent GET finds {what}"
            if not changed
            else f"everything else as it was; it differs in {', '.join(map(dotted, changed))}",
        )

    async def _cli(self, *arguments: str, ends_with: int) -> str:
        """Run the built-in command line as an operator would, and show what it says."""
        self._story.tell(f"[bold]$ python -m hubwarden.cli {escape(shlex.join(arguments))}[/bold]", " ")
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("AZURE_", "HUBWARDEN_"))
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hubwarden.cli", "--settings", str(self._stack.settings_file), *arguments),
            cwd=ROOT,
            env={**environment, "COLUMNS": str(max(self._story.console.width - 6, 60))},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        told = output.decode()
        self._story.quote(told)
        if process.returncode != ends_with:
            raise NotAsExpectedError(f"{arguments[0]} ended with {process.returncode}, not with {ends_with}")
        return told

    # --- reading
    async def _last_sweep(self) -> str:
        last = await self._stack.records.last_sweep()
        assert last is not None
        return last.summary

    async def _finding(self, name: str, rule: str) -> Finding | None:
        return next(iter([f for f in await self._findings(name) if f.rule_id == rule]), None)

    async def _findings(self, name: str) -> list[Finding]:
        found = [f async for f in self._stack.findings.everything() if f.hub.name == name]
        return sorted(found, key=lambda finding: finding.first_seen)

    async def _keys(self, name: str) -> Any:
        """The hub's shared access policies with their keys, as only the simulator itself may tell them."""
        return (await self._stack.sim.hub(_id(name)))["policies"]

    async def _audited(self, name: str) -> JsonObject:
        """The hub as somebody who has nothing to do with hubwarden reads it."""
        return await read(self._auditor, name)

    async def _changed(self, name: str, before: JsonObject) -> list[Path]:
        return sorted(set(differences(before, await self._audited(name))) - _AZURES_OWN)

    # --- the report
    def _of(self, name: str) -> dict[str, Any]:
        entry: dict[str, Any] = self._story.hubs.setdefault(name, {})
        return entry

    async def _report(self, name: str, **more: Any) -> None:
        self._of(name).update(
            findings={f.rule_id: await self._reported(f) for f in await self._findings(name)},
            timeline=await self._timeline(name),
            hub_read_back=await self._audited(name),
            diagnostic_settings=await self._stack.sim.diagnostic_settings(_id(name)),
            **more,
        )

    async def _reported(self, finding: Finding) -> JsonObject:
        ticket = await self._stack.tickets.find_by_key(finding.id)
        return {
            "id": finding.id,
            "subject": finding.subject,
            "summary": finding.summary,
            "states": [step.state.value for step in finding.history],
            "changed_by": str(finding.actor) if finding.actor else None,
            "plan": [change_text(change) for change in finding.attempt.changes] if finding.attempt else [],
            "warnings": [*finding.attempt.warnings] if finding.attempt else [],
            "ticket": ticket.text if ticket else None,
        }

    async def _timeline(self, name: str) -> Sequence[JsonObject]:
        lines: list[JsonObject] = [
            {
                "at": step.at.isoformat(),
                "who": "hubwarden",
                "what": f"{finding.rule_id} {step.state}: {step.reason}",
            }
            for finding in await self._findings(name)
            for step in finding.history
        ]
        lines += [
            {"at": r["time"], "who": r["principal"], "what": f"{r['method']} {_part(r, name)} → {r['status']}"}
            for r in await self._stack.sim.requests()
            if _part(r, name)
        ]
        lines += [
            {
                "at": e["event"]["eventTime"],
                "who": "Event Grid",
                "what": f"{e['event']['eventType']} ({e['fate']})",
            }
            for e in await self._stack.sim.events()
            if f"/iothubs/{name}" in f"{e['event']['topic']}{e['event']['subject']}".lower()
        ]
        return sorted(lines, key=lambda line: datetime.fromisoformat(str(line["at"])))


def _is_over(finding: Finding) -> bool:
    """Whether it has come to an end, its ticket included: that is settled right after the finding's row."""
    return finding.state in _ENDS and finding.ticket_open == (finding.state in _FOR_PEOPLE)


def _id(name: str) -> str:
    return str(hub_body(name)["id"])


def _part(request: JsonObject, name: str) -> str:
    """What of the hub a request was for: empty where it was for something else."""
    path = str(request["path"])
    for start in (f"/iothubs/{name}", f"/_dataplane/{name}.azure-devices.net"):
        before, found, rest = path.lower().partition(start)
        if found and rest[:1] in {"", "/"}:
            return path[len(before) :].removeprefix("/").partition("/")[2]
    return ""
