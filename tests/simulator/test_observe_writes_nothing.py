"""enforcement: observe, on the real adapter: no write leaves the process, whatever drifts and whoever asks."""

from __future__ import annotations

import pytest

from hubwarden.adapters.azure.read_only import ReadOnlyHubs
from hubwarden.domain.finding import State
from hubwarden.service.messages import RemediateMessage
from tests.simulator.proof import HUB, PROOFS, azure, everything, sections, warden, writes


EVERY_RULE = [proof.first.drift for proof in PROOFS.values()]


def observing(world):
    world.policy = world.policy.model_copy(update={"enforcement": "observe"})


@pytest.mark.parametrize("mode", ["auto", "approve"])
async def test_with_drifts_of_every_rule_no_write_leaves_the_process(mode):
    async with azure(*EVERY_RULE) as sim, warden(sim, sections({}, mode)) as world:
        observing(world)
        before = everything(sim)
        for _ in range(3):
            await world.settle()
            await world.look()
            await world.handle(RemediateMessage(hub=HUB.path))
            world.clock.turn(hours=25)
        assert writes(sim) == []
        assert everything(sim) == before
        assert {finding.rule_id for finding in world.findings.all} == set(PROOFS)
        assert world.states() == {State.TICKETED}
        assert all(finding.proposal for finding in world.findings.all)


async def test_what_was_allowed_before_is_not_written_after():
    async with azure(*EVERY_RULE) as sim, warden(sim, sections({})) as world:
        await world.look()
        assert world.states() == {State.APPROVED}
        observing(world)
        await world.run()
        assert writes(sim) == []


async def test_the_last_wall_stands_alone_where_all_before_it_are_broken():
    async with azure(*EVERY_RULE) as sim, warden(sim, sections({})) as world:
        arm, before = world.hubs, everything(sim)
        world.hubs = ReadOnlyHubs(arm)
        await world.settle()
        world.hubs = arm
        assert writes(sim) == []
        assert everything(sim) == before
        assert world.states() == {State.TICKETED}


async def test_without_it_all_of_this_is_written():
    async with azure(*EVERY_RULE) as sim, warden(sim, sections({})) as world:
        await world.settle()
        assert len(writes(sim)) >= len({finding.attempt.digest for finding in world.findings.all})
        assert world.states() == {State.RESOLVED}
