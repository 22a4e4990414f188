"""Two remediators on one hub: in any order they come to the same, and neither drags the other along."""

from __future__ import annotations

import itertools

import pytest

from hubwarden.domain.finding import State
from tests.simulator.proof import (
    PROOFS,
    azure,
    differing,
    everything,
    sections,
    under,
    warden,
    without_azures,
    writes,
)


PAIRS = [*itertools.combinations(PROOFS, 2)]


def drifts(*rules):
    return [PROOFS[rule_id].first.drift for rule_id in rules]


def touches(*rules):
    return [root for rule_id in rules for root in PROOFS[rule_id].first.touches]


def requests_for(*rules):
    """How many requests these fixes need when they are made at once: one for each kind of thing written."""
    return len({root[0] for root in touches(*rules)})


def only_fixed(before, after, *rules):
    """Whether what differs is what these rules' fixes touch: all of it, and nothing else."""
    touched, roots = without_azures(differing(before, after)), touches(*rules)
    return all(under(path, *roots) for path in touched) and all(
        any(under(path, root) for path in touched) for root in roots
    )


async def fixed_at_once(one, other):
    async with azure(*drifts(one, other)) as sim, warden(sim, sections({})) as world:
        before = everything(sim)
        await world.settle()
        assert world.states() == {State.RESOLVED}
        assert only_fixed(before, everything(sim), one, other)
        assert len(writes(sim)) == requests_for(one, other)
        return everything(sim)


async def fixed_one_after_the_other(first, then):
    """The first by itself, then the second once a person says yes to it."""
    modes = dict.fromkeys(PROOFS, "auto") | {then: "approve"}
    async with azure(*drifts(first, then)) as sim, warden(sim, sections({}, modes)) as world:
        before = everything(sim)
        await world.settle()
        assert {f.rule_id: f.state for f in world.findings.all} == {
            first: State.RESOLVED,
            then: State.AWAITING_APPROVAL,
        }
        between = everything(sim)
        assert only_fixed(before, between, first), "what nobody approved was dragged along"
        await world.approve(then)
        await world.settle()
        assert world.states() == {State.RESOLVED}
        assert only_fixed(between, everything(sim), then)
        assert len(writes(sim)) == 2
        return everything(sim)


@pytest.mark.parametrize(("one", "other"), PAIRS)
async def test_any_order_of_two_fixes_comes_to_the_same_keys_included(one, other):
    at_once = await fixed_at_once(one, other)
    for order in ((one, other), (other, one)):
        assert without_azures(differing(at_once, await fixed_one_after_the_other(*order))) == set()


@pytest.mark.parametrize(("one", "other"), PAIRS)
async def test_fixes_that_are_approved_together_are_one_request_for_each_thing_that_is_written(one, other):
    """A yes holds for the hub as it was: where our own write made another plan of it, that is asked about."""
    async with azure(*drifts(one, other)) as sim, warden(sim, sections({}, "approve")) as world:
        before = everything(sim)
        await world.settle()
        assert list(differing(before, everything(sim))) == []
        for rule_id in (one, other):
            await world.approve(rule_id)
        await world.settle()
        again = [rule_id for rule_id in (one, other) if world.waiting(rule_id)]
        assert len(writes(sim)) == requests_for(one, other) - len(again)
        assert not again or requests_for(one, other) == 2
        for rule_id in again:
            await world.approve(rule_id)
        await world.settle()
        assert world.states() == {State.RESOLVED}
        assert len(writes(sim)) == requests_for(one, other)
        assert only_fixed(before, everything(sim), one, other)


async def test_all_fixes_at_once():
    async with azure(*drifts(*PROOFS)) as sim, warden(sim, sections({})) as world:
        before = everything(sim)
        await world.settle()
        assert world.states() == {State.RESOLVED}
        assert only_fixed(before, everything(sim), *PROOFS)
        assert len(writes(sim)) == requests_for(*PROOFS)
