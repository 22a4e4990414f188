"""What every remediator must pass: it ends its own drift, touches nothing else, and then rests."""

from __future__ import annotations

import pytest

from hubwarden.domain.finding import State
from hubwarden.domain.plan import PlanError
from hubwarden.domain.verdict import Drift
from remediators import REMEDIATORS
from tests.simulator.proof import (
    HUB,
    HUB_PATH,
    POLICIES,
    PROOFS,
    SCENES,
    azure,
    declared,
    differing,
    everything,
    person,
    sections,
    under,
    warden,
    without_azures,
    writes,
)


def test_every_remediator_has_scenes():
    assert PROOFS.keys() == REMEDIATORS.keys()
    assert all(proof.scenes for proof in PROOFS.values())


@pytest.mark.parametrize(("rule_id", "name"), SCENES)
async def test_a_fix_ends_its_own_drift(rule_id, name):
    """And every other rule still holds, for whoever looks at it without a memory."""
    scene = PROOFS[rule_id].scenes[name]
    rules = sections({rule_id: scene})
    async with azure(scene.drift) as sim:
        async with warden(sim, rules) as world:
            await world.settle()
            assert {finding.rule_id for finding in world.findings.all} == {rule_id}
            assert world.states() == {State.RESOLVED}
            assert world.tickets.open_ones == []
        async with warden(sim, rules) as another:
            look = await another.look()
            assert look.words == dict.fromkeys(PROOFS, "compliant")


@pytest.mark.parametrize(("rule_id", "name"), SCENES)
async def test_a_fix_touches_what_it_declares_and_of_that_only_the_drift(rule_id, name):
    scene = PROOFS[rule_id].scenes[name]
    async with azure(scene.drift) as sim, warden(sim, sections({rule_id: scene})) as world:
        before = everything(sim)
        await world.settle()
        changed = set(differing(before, everything(sim)))
    touched = without_azures(changed)
    assert {path for path in touched if not under(path, *declared(REMEDIATORS[rule_id]))} == set()
    assert {path for path in touched if not under(path, *scene.touches)} == set()
    assert {root for root in scene.touches if not any(under(path, root) for path in touched)} == set()
    assert {path[:2] for path in changed} == {root[:2] for root in scene.touches}, (
        "nor is any other written as it was"
    )
    assert len(writes(sim)) == 1


@pytest.mark.parametrize(("rule_id", "name"), SCENES)
async def test_a_second_run_is_a_no_op(rule_id, name):
    """For one who remembers and is told everything again, for one who does not, and for the remediator itself."""
    scene = PROOFS[rule_id].scenes[name]
    rules = sections({rule_id: scene})
    async with azure(scene.drift) as sim, warden(sim, rules) as world:
        await world.settle()
        after = everything(sim)
        sim.clear_requests()
        for message, _ in list(world.work.sent):
            await world.handle(message)
        await world.settle()
        async with warden(sim, rules) as another:
            await another.settle()
            look = await another.look()
        assert writes(sim) == []
        assert list(differing(after, everything(sim))) == []
    settings = world.policy.settings_of(world.ports.rule(rule_id), HUB)
    for finding in world.findings.all:
        drift = Drift(finding.summary, finding.subject, finding.evidence)
        with pytest.raises(PlanError):
            list(REMEDIATORS[rule_id].plan(drift, look.snapshot, settings))


# --- shared access policies: whoever holds a key must find that it still opens the door


def keys_in(state):
    for name in POLICIES:
        state = state[name]
    return {name: (policy["primaryKey"], policy["secondaryKey"]) for name, policy in state.items()}


@pytest.mark.parametrize("name", PROOFS["sas-policies"].scenes)
async def test_every_policy_that_stays_keeps_its_keys_byte_for_byte(name):
    scene = PROOFS["sas-policies"].scenes[name]
    async with azure(scene.drift) as sim, warden(sim, sections({"sas-policies": scene})) as world:
        before = keys_in(everything(sim))
        await world.settle()
        after = keys_in(everything(sim))
        async with person(sim) as somebody:  # as those who use the keys are shown them
            listed = (await somebody("POST", f"{HUB_PATH}/listkeys", "2023-06-30"))["value"]
    assert {p["keyName"].lower(): (p["primaryKey"], p["secondaryKey"]) for p in listed} == after
    rotated = {"service"} if scene.settings.get("offending") == "rotate" else set()
    removed = {root[-1] for root in scene.touches if root[:-1] == POLICIES}
    assert after.keys() == before.keys() - removed
    for policy in after.keys() - rotated:
        assert after[policy] == before[policy]
    for policy in rotated:
        assert len({*before[policy], *after[policy]}) == 4, "both keys are new"
