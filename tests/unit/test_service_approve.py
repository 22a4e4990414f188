"""A person's word on one plan: what it holds for, and what it does not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hubwarden.domain.approval import Approver, Via
from hubwarden.domain.finding import State
from hubwarden.domain.plan import Change
from hubwarden.domain.rule import Remediator, Safety
from hubwarden.service.approve import NoSuchFindingError, NotAskedError, NotYoursError, approve, reject
from hubwarden.service.errors import TransientError
from hubwarden.service.messages import RemediateMessage
from remediators import REMEDIATORS
from tests.unit.fakes import HUB, SOMEBODY, SUB2, TLS, World, policy


ROBIN = Approver("Robin", Via.COMMAND_LINE)


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
        world.ports, finding.id, plan=plan or finding.proposal.digest, by=ROBIN, reason="it is planned"
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
    assert world.audit.of("approval")[0]["decision"] == "approved by Robin (command line): it is planned"
    assert world.finding().approval is None, "one yes, one drift"
    assert world.finding().outdated is None
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
    assert finding.outdated.digest == first
    assert "Asked before with another plan, which never ran. What is different:\n  The changes are the same" in (
        ticket.text
    )


async def test_a_change_while_it_waits_asks_about_the_new_plan():
    world = await asked()
    first = world.finding().proposal.digest
    await world.drift(value="1.1")
    await world.run()
    finding = world.finding()
    assert finding.state is State.AWAITING_APPROVAL
    assert finding.proposal.changes[0]["before"] == "1.1"
    assert finding.outdated.digest == first
    difference = "properties.minTlsVersion: was '1.0' → '1.2', is now '1.1' → '1.2'"
    assert finding.history[-1].reason.endswith(f"asked anew with another plan: {difference}")
    assert difference in world.tickets.open_ones[0].text
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
        world.ports, world.finding().id, plan=world.finding().proposal.digest, by=ROBIN, reason="a test hub"
    )
    assert finding.state is State.REJECTED
    await world.live(hours=1)
    assert world.state() is State.REJECTED
    assert world.hubs.effective == []
    assert world.audit.of("approval")[0]["decision"] == "rejected by Robin (command line): a test hub"
    with pytest.raises(NotAskedError, match="does not wait for an approval, it is rejected: rejected by Robin"):
        await say_yes(world, plan="sha256:x")


async def test_a_no_holds_for_what_was_rejected_and_not_for_something_else():
    world = await asked()
    await reject(
        world.ports, world.finding().id, plan=world.finding().proposal.digest, by="Robin", reason="a test hub"
    )
    world.hubs.change(path=("tags", "owner"), value="ops")
    await world.sweep()
    assert world.state() is State.REJECTED, "nothing about the drift has changed"
    await world.drift(value="1.1")
    await world.run()
    finding = world.finding()
    assert finding.state is State.AWAITING_APPROVAL
    assert "what was rejected is not what is there now" in finding.history[-2].reason
    assert finding.proposal.changes[0]["before"] == "1.1"


async def test_a_hub_that_is_not_watched_any_more_takes_no_approval():
    world = await asked()
    world.policy = policy("approve", subscriptions=[SUB2])
    with pytest.raises(
        NotAskedError, match="is in no subscription that the policy file names: nothing was decided"
    ):
        await say_yes(world)


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
        await approve(world.ports, "f-0", plan="p", by=ROBIN, reason="r")
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


def person(name, object_id=None):
    return Approver(name, Via.SIGN_IN, object_id)


def strict(more):
    return f"approvals:\n  {more}\n"


async def asked_under(more, **change):
    world = World("approve", more=strict(more))
    world.hubs.add()
    await world.sweep()
    await world.drift(**change)
    await world.run()
    assert world.state() is State.AWAITING_APPROVAL
    return world


async def yes(world, by):
    finding = world.finding()
    return await approve(world.ports, finding.id, plan=finding.proposal.digest, by=by, reason="r")


@pytest.mark.parametrize(
    ("approver", "same"),
    [
        (person("Jo Doe"), True),
        (person("JO DOE"), True),
        (person("somebody", SOMEBODY), True),
        (person("somebody", SOMEBODY.upper()), True),
        (person("Jo Doe", "99999999-0000-4000-8000-000000000000"), False),
        (person("Kim"), False),
    ],
)
async def test_four_eyes_whoever_made_the_change_does_not_approve_its_fix(approver, same):
    world = await asked_under("four_eyes: [tls-minimum]")
    assert world.finding().actor.name == "Jo Doe"
    if same:
        with pytest.raises(NotYoursError, match="made the change: somebody else must approve it"):
            await yes(world, approver)
        assert world.state() is State.AWAITING_APPROVAL
        assert world.work.of(RemediateMessage) == []
    else:
        assert (await yes(world, approver)).state is State.APPROVED


async def test_without_four_eyes_for_the_rule_anybody_may_approve():
    world = await asked_under("four_eyes: []")
    assert (await yes(world, person("Jo Doe"))).state is State.APPROVED


async def test_whoever_made_the_change_may_say_no_to_its_fix():
    world = await asked_under("four_eyes: [tls-minimum]")
    finding = world.finding()
    done = await reject(
        world.ports, finding.id, plan=finding.proposal.digest, by=person("Jo Doe"), reason="mine, on purpose"
    )
    assert done.state is State.REJECTED


async def test_where_two_must_agree_one_yes_waits_and_the_second_runs_it():
    world = await asked_under("needed: {tls-minimum: 2}")
    assert (await yes(world, person("Kim"))).state is State.AWAITING_APPROVAL
    await world.sweep()
    assert [each.by for each in world.finding().agreed] == ["Kim (signed in)"]
    assert world.hubs.effective == []
    with pytest.raises(NotYoursError, match="has agreed already"):
        await yes(world, person("Kim"))
    finding = await yes(world, person("Robin"))
    assert finding.state is State.APPROVED
    assert finding.ruling.by == "Kim (signed in) and Robin (signed in)"
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.finding().agreed == ()
    assert world.finding().ruling.state is State.APPROVED


async def test_the_same_person_under_two_names_is_one_person():
    world = await asked_under("needed: {tls-minimum: 2}")
    await yes(world, person("Kim", "k"))
    with pytest.raises(NotYoursError, match="has agreed already"):
        await yes(world, person("Kim Example", "K"))


async def test_a_yes_to_another_plan_does_not_count_for_this_one():
    world = await asked_under("needed: {tls-minimum: 2}")
    await yes(world, person("Kim"))
    await world.drift(value="1.1")
    await world.run()
    assert world.finding().agreed == ()
    assert (await yes(world, person("Robin"))).state is State.AWAITING_APPROVAL
