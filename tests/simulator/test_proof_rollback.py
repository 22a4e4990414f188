"""What every rollback must pass, on the real adapter: what the fix changed is back, nothing else, and it stays."""

from __future__ import annotations

import pytest

from hubwarden.domain.approval import Approver, Via
from hubwarden.domain.finding import State
from hubwarden.domain.remediation import Outcome
from hubwarden.service.approve import approve
from hubwarden.service.rollback import NotRolledBackError, ask_for_rollback
from tests.simulator.proof import (
    POLICIES,
    PROOFS,
    SCENES,
    azure,
    differing,
    everything,
    person,
    sections,
    warden,
    without_azures,
    writes,
)


ROBIN, KIM = Approver("Robin", Via.COMMAND_LINE), Approver("Kim", Via.COMMAND_LINE)

BY_HAND = (
    {
        ("diagnostics", name): "diagnostic-settings delete --name hubwarden"
        for name in PROOFS["diagnostics"].scenes
        if name != "ours changed"
    }
    | {("defender-hub", "no solution"): "iot-solution delete", ("tls-minimum", "empty"): "empty text"}
    | {
        ("defender-hub", name): "holds for other hubs too"
        for name in ("disabled", "no workspace", "recommendation off", "everything at once")
    }
)
"""What a machine cannot put back, and what it says beforehand."""
WHOLE = [scene for scene in SCENES if scene not in BY_HAND]
NEW_KEYS = {"unlisted and broad": {"contractor"}, "two at once": {"contractor"}, "new keys for one": {"service"}}
"""What stays different all the same, for a key that is gone cannot be had back."""


async def rolled_back(world):
    """Undo the only fix there was; its remediation as it was kept, and what people were told beforehand."""
    [kept] = world.remediations.all
    waiting = await ask_for_rollback(world.ports, kept.id, by=KIM, reason="it broke something")
    await approve(world.ports, waiting.id, plan=waiting.proposal.digest, by=ROBIN, reason="agreed")
    await world.run()
    assert world.errors == []
    assert world.findings.rows[waiting.id].value.state is State.RESOLVED, world.findings.rows[
        waiting.id
    ].value.history[-1]
    return kept, " ".join(waiting.proposal.warnings)


def keys_in(state):
    for name in POLICIES:
        state = state[name]
    return {name: (policy["primaryKey"], policy["secondaryKey"]) for name, policy in state.items()}


@pytest.mark.parametrize(("rule_id", "name"), WHOLE)
async def test_a_rollback_puts_back_what_the_fix_changed_and_no_sweep_undoes_it(rule_id, name):
    scene = PROOFS[rule_id].scenes[name]
    async with azure(scene.drift) as sim, warden(sim, sections({rule_id: scene})) as world:
        before = everything(sim)
        await world.settle()
        kept, told = await rolled_back(world)
        after = everything(sim)
        moved = without_azures(set(differing(before, after)))
        new_keys = NEW_KEYS.get(name, set()) if rule_id == "sas-policies" else set()
        assert {path[:4] for path in moved} == {(*POLICIES, policy) for policy in new_keys}
        assert {path[4:] for path in moved} <= {("primaryKey",), ("secondaryKey",)}
        assert bool(new_keys) is ("This is not whole" in told)
        assert len(writes(sim)) == 2
        for _ in range(3):
            await world.settle()
            await world.look()
        assert len(writes(sim)) == 2, "the finding is held"
        assert {f.state for f in world.findings.all if f.rollback is None} == {State.HELD}
        assert {f.id for f in world.findings.all if f.hold} == {*kept.findings}
        assert list(differing(after, everything(sim))) == []
        assert world.violations == []
        assert world.remediations.kept[kept.id].outcome is Outcome.ROLLED_BACK
        every_key = [key for pair in (*keys_in(before).values(), *keys_in(after).values()) for key in pair]
        at_rest = repr((world.remediations.kept, world.findings.rows, world.audit.lines, world.work.sent))
        assert not [key for key in every_key if key in at_rest]


@pytest.mark.parametrize(("rule_id", "name"), BY_HAND)
async def test_what_no_machine_can_put_back_is_said_before_anything_is_asked(rule_id, name):
    scene = PROOFS[rule_id].scenes[name]
    async with azure(scene.drift) as sim, warden(sim, sections({rule_id: scene})) as world:
        await world.settle()
        after = everything(sim)
        [kept] = world.remediations.all
        with pytest.raises(NotRolledBackError, match=BY_HAND[rule_id, name]):
            await ask_for_rollback(world.ports, kept.id, by=KIM, reason="why not")
        assert not [f for f in world.findings.all if f.rollback]
        assert len(writes(sim)) == 1
        assert list(differing(after, everything(sim))) == []


async def test_a_policy_that_somebody_made_anew_meanwhile_is_not_touched():
    """Right before the write: the name is taken, by a policy with keys of its own."""
    scene = PROOFS["sas-policies"].scenes["unlisted and broad"]
    async with azure(scene.drift) as sim, warden(sim, sections({"sas-policies": scene})) as world:
        await world.settle()
        [kept] = world.remediations.all
        waiting = await ask_for_rollback(world.ports, kept.id, by=KIM, reason="it broke something")
        await approve(world.ports, waiting.id, plan=waiting.proposal.digest, by=ROBIN, reason="agreed")

        async def meddle():
            async with person(sim) as somebody:
                await somebody.change_hub(contractor="DeviceConnect")

        world.hubs.meddle = meddle
        await world.run()
        policies = everything(sim)
        for name in POLICIES:
            policies = policies[name]
        assert policies["contractor"]["rights"] == "DeviceConnect"
        over = world.findings.rows[waiting.id].value
        assert over.state is State.RESOLVED
        assert "no object any more" in over.history[-1].reason


async def test_two_rules_fixed_with_one_write_are_rolled_back_with_one():
    scenes = {"tls-minimum": PROOFS["tls-minimum"].scenes["lowered"],
              "sas-policies": PROOFS["sas-policies"].scenes["default widened"]}  # fmt: skip
    drifts = [scene.drift for scene in scenes.values()]
    async with azure(*drifts) as sim, warden(sim, sections(scenes)) as world:
        before = everything(sim)
        await world.settle()
        assert len(writes(sim)) == 1
        kept, _ = await rolled_back(world)
        assert kept.rules == ("sas-policies", "tls-minimum")
        assert without_azures(set(differing(before, everything(sim)))) == set()
        await world.settle()
        assert len(writes(sim)) == 2
        assert {f.state for f in world.findings.all if f.rollback is None} == {State.HELD}


async def test_a_solution_into_which_somebody_put_another_hub_since_is_not_put_back():
    scene = PROOFS["defender-hub"].scenes["not onboarded"]
    async with azure(scene.drift) as sim, warden(sim, sections({"defender-hub": scene})) as world:
        await world.settle()
        async with person(sim) as somebody:
            await somebody.change_solution()
        after = everything(sim)
        [kept] = world.remediations.all
        with pytest.raises(NotRolledBackError, match=r"iotHubs is .* by now, and was left as"):
            await ask_for_rollback(world.ports, kept.id, by=KIM, reason="why not")
        assert list(differing(after, everything(sim))) == []
