"""Somebody is faster: right before our write the hub, its settings or its solution become others than were read.

A hub's etag tells (412); a setting's clash with another tells (409); a solution is read again before its write.
"""

from __future__ import annotations

import pytest

from hubwarden.domain.finding import State
from tests.simulator.proof import (
    PROOFS,
    SCENES,
    azure,
    differing,
    everything,
    person,
    sections,
    under,
    warden,
    without_azures,
    writes,
)


class Meddling:
    """Somebody's change right before the first write, and all that there was before and after it."""

    def __init__(self, sim, somebody, rule_id):
        self.sim, self.somebody, self.meddle = sim, somebody, PROOFS[rule_id].meddle
        self.before, self.after = everything(sim), None

    async def __call__(self):
        await self.meddle(self.somebody)
        self.after = everything(self.sim)

    @property
    def lost(self):
        """What of the change is not there any more."""
        changed = without_azures(differing(self.before, self.after))
        assert changed
        again = without_azures(differing(self.after, everything(self.sim)))
        return {path for path in again if under(path, *changed) and there(self.after, path)}

    @property
    def fixed(self):
        """What we changed after it."""
        return without_azures(differing(self.after, everything(self.sim)))


def there(state, path):
    for name in path:
        if name not in state:
            return False
        state = state[name]
    return True


def outcomes(world):
    return [line["outcome"].split(":")[0] for line in world.audit.of("write")]


def statuses(sim):
    return [int(line.rpartition(" ")[2]) for line in writes(sim)]


REFUSED = {"hubs": [412], "settings": [409], "solutions": []}
"""What Azure says to the write that comes too late; to a solution's none is sent."""
WRITTEN = {"hubs": [201], "settings": [200], "solutions": [200]}


@pytest.mark.parametrize(("rule_id", "name"), SCENES)
async def test_a_stale_plan_is_not_carried_out_but_made_anew(rule_id, name):
    scene = PROOFS[rule_id].scenes[name]
    what = scene.touches[0][0]
    async with (
        azure(scene.drift) as sim,
        person(sim) as somebody,
        warden(sim, sections({rule_id: scene})) as world,
    ):
        world.hubs.meddle = meddling = Meddling(sim, somebody, rule_id)
        await world.settle()
        assert outcomes(world) == ["about to be sent", "ConflictError", "about to be sent", "accepted"]
        assert statuses(sim) == REFUSED[what] + WRITTEN[what]
        assert meddling.lost == set()
        assert all(under(path, *scene.touches) for path in meddling.fixed)
        assert world.states() == {State.RESOLVED}
        assert (await world.look()).words[rule_id] == "compliant"


@pytest.mark.parametrize(("rule_id", "name"), SCENES)
async def test_what_was_approved_is_carried_out_as_it_was_or_asked_about_again(rule_id, name):
    scene = PROOFS[rule_id].scenes[name]
    modes = dict.fromkeys(PROOFS, "auto") | {rule_id: "approve"}
    async with (
        azure(scene.drift) as sim,
        person(sim) as somebody,
        warden(sim, sections({rule_id: scene}, modes)) as world,
    ):
        await world.settle()
        approved = {finding.proposal.digest for finding in world.waiting(rule_id)}
        await world.approve(rule_id)
        world.hubs.meddle = meddling = Meddling(sim, somebody, rule_id)
        await world.settle()
        if waiting := world.waiting(rule_id):
            assert list(differing(meddling.after, everything(sim))) == []
            assert approved.isdisjoint({finding.proposal.digest for finding in waiting})
            await world.approve(rule_id)
            await world.settle()
        else:
            assert scene.touches[0][0] == "solutions", (
                "each change of a hub or its settings makes another plan of it"
            )
            assert {finding.attempt.digest for finding in world.findings.all} == approved
        assert meddling.lost == set()
        assert all(under(path, *scene.touches) for path in meddling.fixed)
        assert world.states() == {State.RESOLVED}
        assert (await world.look()).words[rule_id] == "compliant"
