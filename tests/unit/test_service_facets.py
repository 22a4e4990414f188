"""More facets than the hub's body, more targets than the hub: what is read, remembered, and written where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detectors import RULES
from hubwarden.domain.finding import State
from hubwarden.domain.jsons import ABSENT
from hubwarden.domain.permissions import Permissions
from hubwarden.domain.plan import Change, Plan, PlanError, Target
from hubwarden.domain.rule import Remediator, RuleSettings, Safety
from hubwarden.domain.severity import Severity
from hubwarden.domain.snapshot import Facet, Unread
from hubwarden.domain.verdict import Compliant, Drift, Unknown
from hubwarden.service.errors import DeniedError, HubGoneError, TransientError
from hubwarden.service.planning import policy_edits
from hubwarden.service.ports import PolicyEdit
from tests.unit.fakes import HUB, World, ask, policy


TLS = next(rule for rule in RULES if rule.id == "tls-minimum")


def says(facet, holds):
    """A detector that asks one facet one question."""

    def detect(snapshot, settings):
        data = snapshot.read(facet)
        if isinstance(data, Unread):
            yield Unknown(data.reason, data.missing_action)
        else:
            yield Compliant() if holds(data) else Drift("it is not as it should be")

    return detect


LOGS = replace(
    TLS,
    id="logs",
    reads=(Facet.HUB, Facet.DIAGNOSTICS),
    settings=RuleSettings,
    detect=says(Facet.DIAGNOSTICS, lambda data: any(s["name"] == "hubwarden" for s in data["settings"])),
)
KEYS = replace(
    TLS,
    id="keys",
    reads=(Facet.HUB, Facet.POLICIES),
    settings=RuleSettings,
    detect=says(Facet.POLICIES, lambda data: not data["policies"]),
)
PUT_LOGS = Remediator(
    rule_id="logs",
    safety=Safety.AUTO,
    why="it only adds",
    permissions=Permissions(actions=("Microsoft.Insights/diagnosticSettings/write",)),
    paths=(),
    beyond=((Target.DIAGNOSTICS, ("hubwarden",)),),
    plan=lambda drift, snapshot, settings: iter(
        [Change(("hubwarden",), ABSENT, {"logs": []}, "logs", Target.DIAGNOSTICS)]
    ),
)


def world_with(*rules, mode="auto", **remediators):
    world = World(mode, rules=rules, remediators=remediators)
    world.hubs.add()
    return world


async def look(world):
    await world.handle(ask(at=world.clock.now()))


async def test_a_rule_that_is_off_costs_no_call():
    world = world_with(LOGS, KEYS, mode={"logs": "off", "keys": "report"})
    await look(world)
    assert [kind for kind, _ in world.hubs.calls] == ["get", "policies"]


async def test_policies_are_read_again_only_when_the_hub_has_changed_or_after_a_day():
    world = world_with(KEYS, mode="report")
    for _ in range(3):
        await world.sweep()
        await look(world)
    assert world.hubs.count("policies") == 1
    world.hubs.change(path=("tags", "a"), value="b")
    await world.sweep()
    assert world.hubs.count("policies") == 2
    await world.sweep()
    world.clock.turn(hours=25)
    await world.sweep()
    assert world.hubs.count("policies") == 3


async def test_policies_that_could_not_be_read_are_not_remembered():
    world = world_with(KEYS, mode="report")
    world.hubs.faults["policies"] = [DeniedError("403")]
    await look(world)
    assert world.record().unknown == {"keys": "403"}
    await look(world)
    assert world.record().verdicts == {"keys": "compliant"}


@pytest.mark.parametrize("error", [DeniedError("403 logs"), TransientError("503 logs"), HubGoneError("404 logs")])
async def test_trouble_with_one_facet_hides_no_other_rule(error):
    world = world_with(TLS, LOGS, mode="report")
    world.hubs.change()
    world.hubs.faults["diagnostics"] = [error]
    await look(world)
    assert world.record().verdicts == {"tls-minimum": "drift", "logs": "unknown"}
    assert world.finding().state is State.REPORTED
    assert bool(world.work.letters) is not isinstance(error, DeniedError), "what passes is asked for again"


async def test_a_setting_is_written_and_proven_without_a_new_etag_of_the_hub():
    world = world_with(LOGS, logs=PUT_LOGS)
    await look(world)
    await world.run()
    finding = world.finding(rule="logs")
    assert [step.state for step in finding.history] == ["open", "approved", "executing", "verifying", "resolved"]
    assert world.hubs.count("put_diagnostics") == 1
    assert world.hubs.count("put") == 0
    assert not world.audit.of("slipped")


async def test_two_targets_are_written_one_after_the_other():
    world = world_with(TLS, LOGS, logs=PUT_LOGS, **{"tls-minimum": World().remediators["tls-minimum"]})
    world.hubs.change()
    await look(world)
    await world.run()
    assert {f.state for f in world.findings.all} == {State.RESOLVED}
    assert (world.hubs.count("put"), world.hubs.count("put_diagnostics")) == (1, 1)
    assert not world.violations


async def test_a_fix_reads_only_what_its_rules_need():
    world = world_with(TLS, LOGS, mode={"tls-minimum": "auto", "logs": "report"}, **World().remediators)
    world.hubs.change()
    await look(world)
    world.hubs.calls.clear()
    [message] = [letter.message for letter in world.work.letters]
    await world.handle(message)
    assert [kind for kind, _ in world.hubs.calls] == ["get", "locks", "put"]
    assert set(world.record().verdicts) == {"tls-minimum", "logs"}, "what was not asked for is still remembered"


async def test_a_remediator_that_goes_beyond_what_it_declares_writes_nothing():
    greedy = replace(PUT_LOGS, beyond=((Target.DIAGNOSTICS, ("ours",)),))
    world = world_with(LOGS, logs=greedy)
    await look(world)
    await world.run()
    assert world.finding(rule="logs").state is State.TICKETED
    assert world.hubs.count("put_diagnostics") == 0


async def test_a_hub_that_code_manages_asks_for_an_approval_first():
    world = world_with(TLS, **World().remediators)
    world.hubs.change(path=("tags", "Managed-By"), value="terraform")
    world.hubs.change()
    await look(world)
    await world.run()
    finding = world.finding()
    assert finding.state is State.AWAITING_APPROVAL
    assert "Managed-By=terraform" in finding.history[-1].reason
    assert world.hubs.count("put") == 0


def test_a_plan_says_what_becomes_of_each_policy():
    rights = {"rights": ["DeviceConnect", "ServiceConnect"]}
    changes = [
        Change(("rogue",), rights, ABSENT, "r", Target.POLICIES),
        Change(("wide",), rights, {"rights": ["DeviceConnect"]}, "r", Target.POLICIES),
        Change(("leaked",), rights, {**rights, "newKeys": True}, "r", Target.POLICIES),
        Change(("properties", "minTlsVersion"), "1.0", "1.2", "r"),
    ]
    both = frozenset({"DeviceConnect", "ServiceConnect"})
    plan = Plan(HUB, "e", tuple(changes))
    assert plan.target is Target.HUB
    assert policy_edits(plan) == (
        PolicyEdit("rogue", both, None),
        PolicyEdit("wide", both, frozenset({"DeviceConnect"})),
        PolicyEdit("leaked", both, both, new_keys=True),
    )


def test_what_needs_two_requests_is_no_plan():
    one = Change(("properties", "minTlsVersion"), "1.0", "1.2", "r")
    other = Change(("hubwarden",), ABSENT, {}, "r", Target.DIAGNOSTICS)
    with pytest.raises(PlanError, match="several requests"):
        Plan(HUB, "e", (one, other))


def test_the_same_name_on_two_targets_does_not_overlap():
    Plan(HUB, "e", (Change(("a",), 1, 2, "r"), Change(("a",), {"rights": []}, ABSENT, "r", Target.POLICIES)))


async def test_what_was_lowered_is_told_apart_from_what_was_never_set():
    world = world_with(TLS, mode="report")
    await look(world)
    for _ in range(2):
        world.hubs.change()
        await look(world)
        assert world.finding().summary == (
            "the minimum TLS version was '1.2' and has been changed to '1.0'; it must be 1.2 or higher"
        )
        assert world.finding().severity is Severity.HIGH
    world.hubs.change(value=ABSENT)
    await look(world)
    assert "has been removed" in world.finding().summary

    fresh = world_with(TLS, mode="report")
    fresh.hubs.change(value=ABSENT)
    await look(fresh)
    assert fresh.finding().summary == "no minimum TLS version was ever set; it must be 1.2 or higher"
    assert fresh.finding().severity is Severity.MEDIUM


async def test_a_minimum_that_the_operator_raised_was_not_lowered_by_anybody():
    world = world_with(TLS, mode="report")
    await look(world)
    world.policy = policy("report", rules=world.rules, more="")
    strict = world.policy.rules.tls_minimum.model_copy(update={"settings": TLS.settings(minimum="1.3")})
    raised = world.policy.rules.model_copy(update={"tls_minimum": strict})
    world.policy = world.policy.model_copy(update={"rules": raised})
    await look(world)
    assert world.finding().summary == "the minimum TLS version is '1.2'; it must be 1.3 or higher"


async def test_a_look_at_a_part_does_not_stand_for_the_whole():
    """Somebody removes the logs while the hub's TLS is being fixed: the fix has not looked at the logs."""
    world = world_with(TLS, LOGS, mode={"tls-minimum": "auto", "logs": "ticket"}, **World().remediators)
    world.hubs.facets["diagnostics"]["settings"] = [{"name": "hubwarden", "properties": {}}]
    world.hubs.change()
    await look(world)
    [remediate] = [letter.message for letter in world.work.letters]
    world.work.letters.clear()
    world.hubs.facets["diagnostics"]["settings"] = []
    asked = ask(at=world.clock.now())
    await world.handle(remediate)
    world.work.letters.clear()
    await world.handle(asked)
    assert world.finding(rule="logs").state is State.TICKETED
