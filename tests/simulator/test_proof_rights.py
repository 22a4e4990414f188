"""The generated roles in front of the real adapters: with them everything goes through, with less it is refused.

Whoever was given a role may do only what it allows, in the simulator as in Azure. A permission that is missing
here is one that hubwarden would miss there, as far as the simulator asks for the same ones.
"""

from __future__ import annotations

import pytest

from detectors import RULES
from hubwarden.domain.finding import State
from hubwarden.domain.roles import Role, destinations_of, modes_of, on_destination, reader, remediator
from hubwarden.domain.snapshot import Facet, Unread
from remediators import REMEDIATORS
from tests.simulator.proof import (
    GROUP,
    HUB_PATH,
    LOGS,
    PROOFS,
    SCENES,
    STORE,
    SUBSCRIPTION,
    WARDEN,
    azure,
    sections,
    warden,
    writes,
)


SCOPE = f"/subscriptions/{SUBSCRIPTION}"
LOCKS = "Microsoft.Authorization/locks/read"
LOG_KEYS = "Microsoft.OperationalInsights/workspaces/sharedKeys/action"
EVENTS = f"{GROUP}/Microsoft.EventHub/namespaces/plant/authorizationRules/send"
EVENTS_KEYS = "Microsoft.EventHub/namespaces/authorizationRules/listkeys/action"
STORE_KEYS = "Microsoft.Storage/storageAccounts/listKeys/action"
DEVICES = {"defender-devices": {"mode": "report"}}

LOOKS = reader(RULES, {rule.id: {"report"} for rule in RULES})
SEEN = {
    "Microsoft.Devices/IotHubs/read": Facet.HUB,
    "Microsoft.Devices/IotHubs/listkeys/action": Facet.POLICIES,
    "Microsoft.Devices/IotHubs/twins/read": Facet.DEVICES,
    "Microsoft.Insights/diagnosticSettings/read": Facet.DIAGNOSTICS,
    "Microsoft.Insights/diagnosticSettingsCategories/read": Facet.DIAGNOSTICS,
    "Microsoft.Security/iotSecuritySolutions/read": Facet.DEFENDER,
}
"""What cannot be seen without it, and says so."""
ON_DESTINATIONS = {
    "Microsoft.EventHub/namespaces/authorizationRules/read",
    "Microsoft.OperationalInsights/workspaces/read",
    "Microsoft.Storage/storageAccounts/read",
}

WRITE = {
    "tls-minimum": "Microsoft.Devices/IotHubs/write",
    "sas-policies": "Microsoft.Devices/IotHubs/write",
    "diagnostics": "Microsoft.Insights/diagnosticSettings/write",
    "defender-hub": "Microsoft.Security/iotSecuritySolutions/write",
}


def give(sim, role, scope=SCOPE, *, but=None):
    """Assign a role to the warden, without one of its permissions."""
    kept = [[action for action in actions if action != but] for actions in (role.actions, role.data_actions)]
    sim.grant(WARDEN, scope, actions=kept[0], data_actions=kept[1])


def give_all(sim, policy, *, but=None):
    """Assign what is generated for this policy file: what infra/ does."""
    modes = modes_of(policy, RULES)
    give(sim, reader(RULES, modes), but=but)
    if fixing := remediator(RULES, REMEDIATORS, modes, observes=policy.observes):
        give(sim, fixing, but=but)
    for destination, wanted in destinations_of(policy, RULES).items():
        role = on_destination(destination, RULES, REMEDIATORS, wanted, observes=policy.observes)
        give(sim, role, destination, but=but)


def add_devices(sim):
    sim.add_devices(HUB_PATH, 2)


def told(world):
    """Everything that people are told of findings."""
    return " ".join(step.reason for finding in world.findings.all for step in finding.history)


async def test_the_reader_role_is_enough_to_judge_every_rule():
    rules = sections({}, "report") | DEVICES
    async with azure() as sim, warden(sim, rules) as free, warden(sim, rules) as bound:
        add_devices(sim)
        await free.settle()
        give_all(sim, bound.policy)
        assert await bound.sweep()
        await bound.run()
        assert bound.errors == []
        look = await bound.look()
        assert look.unknown == {}
        assert look.words.keys() == {rule.id for rule in RULES}
        assert look.words == (await free.look()).words
        refused = [entry for entry in sim.requests() if entry["status"] in {401, 403}]
    assert refused == []


async def test_what_is_gone_can_be_seen_to_be_gone():
    """With a right on the destination alone it would be a 403: the right goes with it."""

    def drift(site):
        site.settings = {"to-logs": {"workspaceId": LOGS, "logs": [{"categoryGroup": "allLogs", "enabled": True}]}}

    rules = sections({}, "report")
    del rules["diagnostics"]["settings"]["destination"]
    async with azure(drift) as sim, warden(sim, rules) as world:
        sim.remove_destination(LOGS)
        give_all(sim, world.policy)
        look = await world.look()
    assert look.words["diagnostics"] == "drift"


@pytest.mark.parametrize("missing", SEEN)
async def test_a_permission_that_is_missing_to_look_is_named(missing):
    rules = sections({}, "report") | DEVICES
    async with azure() as sim, warden(sim, rules) as world:
        add_devices(sim)
        give_all(sim, world.policy, but=missing)
        await world.sweep()
        await world.run()
        look = await world.look()
        facet = look.snapshot.read(SEEN[missing])
    assert isinstance(facet, Unread)
    assert missing.lower() in f"{facet.missing_action} {facet.reason}".lower()
    blind = [rule.id for rule in RULES if missing in (*rule.permissions.actions, *rule.permissions.data_actions)]
    assert blind
    assert {rule: look.words[rule] for rule in blind} == dict.fromkeys(blind, "unknown")
    assert all(missing.lower() in look.unknown[rule].lower() for rule in blind)


async def test_a_destination_that_may_not_be_seen_is_unknown():
    async with azure() as sim, warden(sim, sections({}, "report")) as world:
        give_all(sim, world.policy, but="Microsoft.OperationalInsights/workspaces/read")
        look = await world.look()
    assert look.words["diagnostics"] == "unknown"


def test_every_permission_to_look_is_asked_for_above():
    assert {*LOOKS.actions, *LOOKS.data_actions} == {*SEEN, *ON_DESTINATIONS}


@pytest.mark.parametrize(("rule_id", "name"), SCENES)
async def test_with_the_roles_of_its_policy_file_a_fix_goes_through(rule_id, name):
    scene = PROOFS[rule_id].scenes[name]
    modes = dict.fromkeys(PROOFS, "report") | {rule_id: "auto"}
    async with azure(scene.drift) as sim, warden(sim, sections({rule_id: scene}, modes)) as world:
        give_all(sim, world.policy)
        await world.settle()
        assert world.states() == {State.RESOLVED}
        assert len(writes(sim)) == 1
        assert [entry for entry in sim.requests() if entry["status"] in {401, 403}] == []


@pytest.mark.parametrize("rule_id", PROOFS)
async def test_a_write_that_is_missing_is_named(rule_id):
    scene = PROOFS[rule_id].first
    modes = dict.fromkeys(PROOFS, "off") | {rule_id: "auto"}
    async with azure(scene.drift) as sim, warden(sim, sections({rule_id: scene}, modes)) as world:
        give_all(sim, world.policy, but=WRITE[rule_id])
        await world.settle()
        assert world.states() == {State.TICKETED}
        assert WRITE[rule_id].lower() in told(world).lower()
        assert all(line.endswith(" 403") for line in writes(sim))


def test_every_write_is_asked_for_above():
    assert {rule: (WRITE[rule],) for rule in REMEDIATORS} == {
        rule: each.permissions.actions for rule, each in REMEDIATORS.items()
    }


@pytest.mark.parametrize(
    ("destination", "missing"),
    [(LOGS, LOG_KEYS), (STORE, STORE_KEYS), (EVENTS, EVENTS_KEYS)],
    ids=["workspace", "storage account", "event hubs"],
)
async def test_the_keys_of_a_destination_are_asked_for_and_named(destination, missing):
    def drift(site):
        site.settings = {}

    sent = sections({}, "off")
    sent["diagnostics"] |= {"mode": "auto", "settings": {"destination": destination}}
    async with azure(drift) as sim, warden(sim, sent) as world:
        sim.add_destination(EVENTS)
        give_all(sim, world.policy)
        await world.settle()
        assert world.states() == {State.RESOLVED}
    async with azure(drift) as sim, warden(sim, sent) as world:
        sim.add_destination(EVENTS)
        give_all(sim, world.policy, but=missing)
        await world.settle()
        assert world.states() == {State.TICKETED}
        assert missing in told(world)


async def test_without_the_right_to_see_locks_a_fix_still_goes_through():
    """But where one forbids it, the write itself is refused: what locks/read spares."""
    scene = PROOFS["tls-minimum"].first
    modes = dict.fromkeys(PROOFS, "off") | {"tls-minimum": "auto"}
    for but, sent in ((LOCKS, ["PUT press 409"]), (None, [])):
        async with azure(scene.drift) as sim, warden(sim, sections({}, modes)) as world:
            sim.add_lock(HUB_PATH, "ReadOnly")
            give_all(sim, world.policy, but=but)
            await world.settle()
            assert world.states() == {State.TICKETED}
            assert writes(sim) == sent


async def test_in_report_mode_azure_itself_would_refuse_a_write():
    """The policy file says auto, but the roles are those of a deployment that said report."""
    scene = PROOFS["tls-minimum"].first
    modes = dict.fromkeys(PROOFS, "off") | {"tls-minimum": "auto"}
    async with azure(scene.drift) as sim, warden(sim, sections({}, modes)) as world:
        give(sim, LOOKS)
        before = sim.hub(HUB_PATH)
        await world.settle()
        assert world.states() == {State.TICKETED}
        assert sim.hub(HUB_PATH) == before


def test_a_role_that_allows_nothing_allows_nothing():
    """Else none of the above would show anything."""
    assert Role(()) == on_destination(LOGS, RULES, REMEDIATORS, {})


async def test_all_subscriptions_are_found_with_the_right_to_list_them():
    modes = {rule.id: {"report"} for rule in RULES}
    async with azure() as sim, warden(sim, {}) as world:
        give(sim, reader(RULES, modes, lists_subscriptions=True))
        assert await world.hubs.subscriptions() == [SUBSCRIPTION]
        sim.revoke(WARDEN)
        give(sim, reader(RULES, modes))
        assert await world.hubs.subscriptions() == []


def refused(sim):
    return [entry["path"] for entry in sim.requests() if entry["status"] in {401, 403}]


async def seen_alone(rule_id, *, but=None):
    """What is refused where this rule alone is on, with its own roles; what it says of the hub."""
    rules = {rule_id: {**sections({}, "report").get(rule_id, {}), "mode": "report"}} if rule_id else {}
    async with azure() as sim, warden(sim, rules) as world:
        sim.add_destination(EVENTS)
        sim.add_diagnostic_setting(HUB_PATH, "to-events", {"eventHubAuthorizationRuleId": EVENTS, "logs": []})
        add_devices(sim)
        give_all(sim, world.policy, but=but)
        await world.sweep()
        await world.run()
        look = await world.look()
        return refused(sim), look.words


@pytest.mark.parametrize("rule", [None, *RULES], ids=lambda rule: rule.id if rule else "none")
async def test_each_rule_asks_for_what_it_needs_whatever_the_others_do(rule):
    """And for nothing else: without any one of its permissions something is refused."""
    needed = reader(RULES, {rule.id: {"report"}} if rule else {})
    denied, words = await seen_alone(rule.id if rule else None)
    assert denied == []
    assert "unknown" not in words.values()
    for action in (*needed.actions, *needed.data_actions):
        denied, _ = await seen_alone(rule.id if rule else None, but=action)
        assert denied, action
