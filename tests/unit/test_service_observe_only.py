"""enforcement: observe: everything is done but a change in Azure, and it says so."""

from __future__ import annotations

import inspect

from datetime import timedelta

import pytest

from detectors import RULES as ALL_RULES
from hubwarden.adapters.azure.read_only import ReadOnlyHubs
from hubwarden.domain.approval import Approver, Via
from hubwarden.domain.finding import State
from hubwarden.service.approve import NotAskedError, approve
from hubwarden.service.errors import DeniedError
from hubwarden.service.messages import RemediateMessage, VerifyMessage
from hubwarden.service.ports import HubPort
from tests.unit.fakes import HUB, World, ask, policy


OBSERVE = "enforcement: observe\n"
NOTHING = "changes nothing in Azure"
ROBIN = Approver("robin", Via.COMMAND_LINE)
SETTINGS = f"""\
  diagnostics: {{mode: auto, settings: {{destination: /subscriptions/{HUB.subscription}/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/w}}}}
accept_risk: [tls-minimum, diagnostics, sas-policies, defender-hub]
"""  # noqa: E501


def writes(world):
    return [name for name, _ in world.hubs.calls if name.startswith("put")]


@pytest.mark.parametrize(
    ("mode", "would"),
    [("auto", "it would be fixed now"), ("approve", "an approval would be asked for now")],
)
async def test_what_would_be_fixed_is_a_marked_ticket_with_the_plan_and_nothing_is_written(mode, would):
    world = World(mode, more=OBSERVE)
    world.hubs.add(minTlsVersion="1.0")
    await world.live(hours=2)
    assert writes(world) == []
    assert world.work.of(RemediateMessage) == world.work.of(VerifyMessage) == []
    assert (world.state(), world.tls()) == (State.TICKETED, "1.0")
    [ticket] = world.tickets.open_ones
    assert ticket.title.startswith("[observe] hub-1: ")
    first, change, *_ = ticket.text.splitlines()
    assert NOTHING in first
    assert first.endswith("This plan is what it would have come to:")
    assert change == "  properties.minTlsVersion: '1.0' → '1.2'"
    assert f"Otherwise {would} (policy rules.tls-minimum.mode is {mode})" in ticket.text
    assert "approve" not in ticket.text.replace("mode is approve", "")


async def test_a_ticket_without_a_plan_says_that_nothing_would_have_been_changed():
    world = World("ticket", more=OBSERVE)
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    [ticket] = world.tickets.open_ones
    assert ticket.title.startswith("[observe] ")
    assert ticket.text.splitlines()[0].endswith("It would have changed nothing here either.")


@pytest.mark.parametrize("mode", ["auto", "approve"])
async def test_what_was_on_its_way_before_is_not_done_after(mode):
    world = World(mode)
    world.hubs.add(minTlsVersion="1.0")
    await world.handle(ask())
    finding = world.finding()
    world.policy = policy(mode, more=OBSERVE)
    if mode == "approve":
        with pytest.raises(NotAskedError, match="enforcement is observe"):
            await approve(world.ports, finding.id, plan=finding.proposal.digest, by=ROBIN, reason="r")
    await world.run()
    assert writes(world) == []
    await world.sweep()
    await world.run()
    assert (world.state(), writes(world)) == (State.TICKETED, [])


async def test_a_yes_from_before_does_not_outlive_observing():
    world = World("approve")
    world.hubs.add(minTlsVersion="1.0")
    await world.handle(ask())
    finding = world.finding()
    await approve(world.ports, finding.id, plan=finding.proposal.digest, by=ROBIN, reason="r")
    assert world.state() is State.APPROVED
    world.policy = policy("approve", more=OBSERVE)
    await world.run()
    await world.sweep()
    world.policy = policy("approve")
    await world.sweep()
    await world.run()
    assert (world.state(), writes(world)) == (State.AWAITING_APPROVAL, [])


async def test_a_write_that_was_sent_before_is_still_looked_after():
    world = World("auto")
    world.hubs.add(minTlsVersion="1.0")
    await world.handle(ask())
    await world.handle(RemediateMessage(hub=HUB.path))
    assert world.state() is State.VERIFYING
    world.policy = policy("auto", more=OBSERVE)
    await world.run(until=timedelta(minutes=5))
    assert (world.state(), world.tls()) == (State.RESOLVED, "1.2")


async def test_once_azure_may_be_changed_again_the_marks_go_and_the_fix_comes():
    world = World("ticket", more=OBSERVE)
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    world.policy = policy("ticket")
    await world.sweep()
    [ticket] = world.tickets.open_ones
    assert ticket.title.startswith("hub-1: ")
    assert NOTHING not in ticket.text
    world.policy = policy("auto")
    await world.sweep()
    await world.run()
    assert (world.state(), world.tls(), world.tickets.open_ones) == (State.RESOLVED, "1.2", [])
    assert world.violations == []


async def test_a_plan_that_cannot_be_made_is_told_as_such():
    world = World("auto", more=OBSERVE)
    world.hubs.add(minTlsVersion="TLS1.2")
    await world.sweep()
    [ticket] = world.tickets.open_ones
    assert "but no plan could be made" in ticket.text
    assert "It would have changed nothing here either" in ticket.text


async def test_drifts_of_every_rule_come_to_tickets_alone():
    world = every_drift(OBSERVE)
    await world.live(hours=1)
    found = {finding.rule_id: finding.state for finding in world.findings.all}
    assert set(found) >= {"tls-minimum", "diagnostics", "sas-policies", "defender-hub"}
    assert set(found.values()) == {State.TICKETED}
    assert writes(world) == []
    assert all(ticket.title.startswith("[observe] ") for ticket in world.tickets.open_ones)
    assert world.errors == []
    allowed = every_drift("")
    await allowed.live(hours=1)
    assert writes(allowed) != []


def every_drift(more):
    modes = {"tls-minimum": "auto", "sas-policies": "auto", "defender-hub": "auto", "defender-devices": "ticket"}
    world = World(modes, rules=ALL_RULES, more=SETTINGS + more)
    world.hubs.add(minTlsVersion="1.0")
    world.hubs.facets["diagnostics"]["settings"] = []
    world.hubs.facets["policies"] = {
        "policies": [{"keyName": "rogue", "rights": ["RegistryRead", "RegistryWrite"]}]
    }
    world.hubs.pages["devices"] = [[{"deviceId": "bare", "status": "enabled"}]]
    return world


async def test_the_wall_reads_and_sends_no_write_of_any_kind():
    world = World()
    world.hubs.add()
    hubs = ReadOnlyHubs(world.hubs)
    for call in (
        hubs.put_hub(HUB, {}, etag="e"),
        hubs.put_diagnostic_setting(HUB, "n", {}),
        hubs.put_security_solution("/s", None, {}),
    ):
        with pytest.raises(DeniedError, match="not sent, for policy enforcement is observe"):
            await call
    assert world.hubs.calls == []
    assert (await hubs.get_hub(HUB))["name"] == "hub-1"
    assert [body["name"] async for body in hubs.list_hubs(HUB.subscription)] == ["hub-1"]
    assert await hubs.sas_policies(HUB) == {"policies": []}
    assert await hubs.subscriptions() == [HUB.subscription]


def test_the_wall_knows_every_call_that_there_is():
    """A new call to Azure has to be put on one side of the wall."""
    reads = {
        "list_hubs",
        "get_hub",
        "sas_policies",
        "diagnostics",
        "subscriptions",
        "read_only_scopes",
        "security_solutions",
        "query_devices",
    }
    calls = {name for name, _ in inspect.getmembers(HubPort, inspect.isfunction) if not name.startswith("_")}
    assert {name for name in calls if name.startswith("put_")} == calls - reads
    assert calls <= {name for name, _ in inspect.getmembers(ReadOnlyHubs, inspect.isfunction)}
