"""A person's word on one plan: what it holds for, and what it does not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hubwarden.domain.finding import State
from hubwarden.domain.plan import Change
from hubwarden.domain.rule import Remediator, Safety
from hubwarden.service.approve import NoSuchFindingError, NotAskedError, approve, reject
from hubwarden.service.errors import TransientError
from hubwarden.service.messages import RemediateMessage
from remediators import REMEDIATORS
from tests.unit.fakes import HUB, TLS, World


async def asked(**change):
    """A world in which a lowered TLS minimum waits for an approval."""
    world = World("approve")
    world.hubs.add()
    await world.sweep()
    await world.drift(**change)
    await world.run()
    assert world.state() is State.AWAITING_APPROVAL
    return world


async def say_yes(world, plan=None, finding=None):
    finding = finding or world.finding()
    return await approve(
        world.ports, finding.id, plan=plan or finding.proposal.digest, by="Robin", reason="it is planned"
    )


async def test_the_finding_holds_the_plan_that_is_asked_about():
    world = await asked()
    proposal = world.finding().proposal
    assert [change["path"] for change in proposal.changes] == [list(TLS)]
    assert proposal.etag == world.hubs.hubs[HUB].body["etag"]
    assert any("Jo Doe at 2026-11-23 09:00" in warning for warning in proposal.warnings)
    [ticket] = world.tickets.open_ones
    assert f"approve {world.finding().id} --plan {proposal.digest}" in ticket.text
    for warning in proposal.warnings:
        assert warning in ticket.text
    assert world.hubs.effective == []


async def test_an_approved_plan_is_carried_out_and_proven():
    world = await asked()
    finding = await say_yes(world)
    assert finding.state is State.APPROVED
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.tls() == "1.2"
    assert len(world.hubs.effective) == 1
    assert world.audit.of("approval")[0]["decision"] == "approved by Robin: it is planned"
    assert world.finding().approval is None, "one yes, one drift"
    assert world.violations == []


async def test_looks_in_between_do_not_drop_the_yes():
    world = await asked()
    await say_yes(world)
    letters, world.work.letters = world.work.letters, []
    await world.sweep()
    assert world.state() is State.APPROVED
    world.work.letters = letters
    await world.run()
    assert world.state() is State.RESOLVED


async def test_a_hub_that_changed_since_makes_the_yes_stale_and_asks_anew():
    world = await asked()
    first = world.finding().proposal.digest
    await say_yes(world)
    world.hubs.change(path=("tags", "owner"), value="ops")
    await world.run()
    finding = world.finding()
    assert finding.state is State.AWAITING_APPROVAL
    assert finding.proposal.digest != first
    assert finding.approval is None
    assert [step.state for step in finding.history][-3:] == [
        State.APPROVED, State.STALE, State.AWAITING_APPROVAL,
    ]  # fmt: skip
    assert world.hubs.effective == []
    [ticket] = world.tickets.open_ones
    assert finding.proposal.digest in ticket.text
    assert first not in ticket.text


async def test_a_change_while_it_waits_asks_about_the_new_plan():
    world = await asked()
    first = world.finding().proposal.digest
    await world.drift(value="1.1")
    await world.run()
    finding = world.finding()
    assert finding.state is State.AWAITING_APPROVAL
    assert finding.proposal.changes[0]["before"] == "1.1"
    by_now = finding.proposal.digest
    with pytest.raises(NotAskedError, match=f"asks about plan {by_now} by now, not about {first}"):
        await say_yes(world, plan=first)
    assert world.state() is State.AWAITING_APPROVAL


async def test_nothing_new_asks_nothing_new():
    world = await asked()
    before = world.finding()
    await world.sweep()
    assert world.finding().proposal == before.proposal
    assert world.finding().history == before.history


async def test_a_yes_outlives_a_write_that_did_not_go_out():
    world = await asked()
    world.hubs.faults["put"] = [TransientError("429", retry_after=timedelta(minutes=2))]
    await say_yes(world)
    await world.run()
    assert world.state() is State.RESOLVED
    assert len(world.hubs.effective) == 1


async def test_a_drift_that_comes_back_needs_a_yes_of_its_own():
    world = await asked()
    await say_yes(world)
    await world.run()
    await world.drift()
    await world.run()
    assert world.state() is State.AWAITING_APPROVAL
    assert len(world.hubs.effective) == 1


async def test_a_no_is_a_no_until_the_drift_has_gone():
    world = await asked()
    finding = await reject(
        world.ports, world.finding().id, plan=world.finding().proposal.digest, by="Robin", reason="a test hub"
    )
    assert finding.state is State.REJECTED
    await world.live(hours=1)
    assert world.state() is State.REJECTED
    assert world.hubs.effective == []
    assert world.audit.of("approval")[0]["decision"] == "rejected by Robin: a test hub"
    with pytest.raises(NotAskedError, match="does not wait for an approval, it is rejected: rejected by Robin"):
        await say_yes(world, plan="sha256:x")


async def test_policy_that_has_become_stricter_goes_before_a_yes():
    world = await asked()
    await say_yes(world)
    world.policy = World("ticket").policy
    await world.run()
    assert world.state() is State.TICKETED
    assert world.hubs.effective == []


async def test_a_finding_that_does_not_exist():
    world = await asked()
    with pytest.raises(NoSuchFindingError, match="there is no finding f-0; nothing was decided and nothing was"):
        await approve(world.ports, "f-0", plan="p", by="b", reason="r")
    assert world.work.of(RemediateMessage) == []


async def test_a_hub_that_is_just_changing_is_not_asked_about_yet():
    world = World("approve")
    world.hubs.add(minTlsVersion="1.0")
    world.hubs.busy_for(minutes=5)
    await world.drift(value="1.1")
    await world.run(until=timedelta(minutes=2))
    assert world.state() is State.OPEN
    assert world.finding().proposal is None
    await world.run()
    assert world.state() is State.AWAITING_APPROVAL


@pytest.mark.parametrize("broken", [ZeroDivisionError("x"), None])
async def test_where_no_plan_can_be_made_it_is_a_ticket(broken):
    def plan(*_):
        if broken:
            raise broken
        yield Change(("not", "declared"), 1, 2, "tls-minimum")

    real = REMEDIATORS["tls-minimum"]
    remediator = Remediator("tls-minimum", Safety.AUTO, "w", real.write_actions, real.paths, plan)
    world = World("approve", remediators={"tls-minimum": remediator})
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    assert world.state() is State.TICKETED
    assert "no plan could be made" in world.finding().history[-1].reason
    await world.sweep()
    assert len(world.finding().history) == 2
