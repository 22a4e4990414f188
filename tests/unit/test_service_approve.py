"""A person's word on one plan: what it holds for, and what it does not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hubwarden.domain.approval import Approver, Via
from hubwarden.domain.finding import State
from hubwarden.domain.plan import Change
from hubwarden.domain.rule import Remediator, Safety
from hubwarden.service import operate
from hubwarden.service.approve import NoSuchFindingError, NotAskedError, NotYoursError, approve, reject
from hubwarden.service.errors import DeniedError, TransientError
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
        world.ports, world.finding().id, plan=world.finding().proposal.digest, by=ROBIN, reason="a test hub"
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
    remediator = Remediator("tls-minimum", Safety.AUTO, "w", real.permissions, real.paths, plan)
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


# --- who made it what it is now

EVE = "99999999-0000-0000-0000-00000000000e"


async def say(world, object_id, name="somebody"):
    finding = world.finding()
    by = Approver(name, Via.SIGN_IN, object_id)
    return await approve(world.ports, finding.id, plan=finding.proposal.digest, by=by, reason="fine")


async def four_eyes():
    world = World("approve", more="approvals:\n  four_eyes: [tls-minimum]\n")
    world.hubs.add()
    await world.sweep()
    return world


async def test_four_eyes_hold_for_everybody_who_made_the_drift_what_it_is_and_the_last_is_named():
    world = await four_eyes()
    await world.drift()
    await world.run()
    await world.drift(value="1.1", by=EVE)
    await world.run()
    assert world.finding().actor.object_id == EVE
    for object_id in (EVE, SOMEBODY):
        with pytest.raises(NotYoursError, match="made the change: somebody else must approve it"):
            await say(world, object_id)
    assert (await say(world, "k-1")).state is State.APPROVED


async def test_a_change_of_something_else_makes_nobody_a_maker_of_the_drift():
    world = await four_eyes()
    await world.drift()
    await world.run()
    await world.event(world.hubs.change(path=("tags", "note"), value="x", by=EVE))
    await world.run()
    assert world.finding().actor.object_id == SOMEBODY
    assert (await say(world, EVE)).state is State.APPROVED


@pytest.mark.parametrize("waits", [{}, {"seconds": 40}, {"hours": 5}], ids=["at once", "soon", "as a dead letter"])
async def test_a_maker_whose_event_comes_after_that_of_a_bystander_does_not_approve_either(waits):
    world = await four_eyes()
    hers = world.hubs.change(by=EVE)
    world.clock.turn(seconds=5)
    await world.event(world.hubs.change(path=("tags", "note"), value="x"))
    await world.run(until=timedelta(minutes=1))
    assert world.finding().actor.object_id == SOMEBODY
    world.clock.turn(**waits)
    await world.event(hers)
    await world.run(until=timedelta(minutes=1))
    assert world.finding().actor.object_id == SOMEBODY
    with pytest.raises(NotYoursError, match="made the change: somebody else must approve it"):
        await say(world, EVE)
    assert (await say(world, "k-1")).state is State.APPROVED


async def test_a_maker_whose_event_comes_after_the_sweep_is_known_all_the_same():
    world = await four_eyes()
    event = world.hubs.change(by=EVE)
    await world.sweep()
    await world.run(until=timedelta(minutes=1))
    assert world.finding().actor is None
    digest = world.finding().proposal.digest
    await world.event(event)
    await world.run(until=timedelta(minutes=1))
    finding = world.finding()
    assert (finding.actor.object_id, finding.proposal.digest) == (EVE, digest)
    assert any(warning.startswith("The change was made by") for warning in finding.proposal.warnings)
    assert "not known" not in world.tickets.open_ones[0].text
    with pytest.raises(NotYoursError):
        await say(world, EVE)


async def test_an_event_that_comes_after_a_look_that_is_newer_than_it_still_tells_who():
    """The event asks for a look; one that began later makes it needless, and the maker is entered all the same."""
    world = await four_eyes()
    event = world.hubs.change(by=EVE)
    await world.event(event)
    [letter] = world.work.letters
    await world.sweep()
    assert world.finding().actor is None
    calls = world.hubs.count("get")
    await world.handle(letter.message)
    assert world.hubs.count("get") == calls
    assert world.finding().actor.object_id == EVE
    assert any(warning.startswith("The change was made by") for warning in world.finding().proposal.warnings)
    assert "not known" not in world.tickets.open_ones[0].text


async def test_whoever_made_an_earlier_drift_may_approve_the_fix_of_this_one():
    world = await four_eyes()
    await world.drift(by=EVE)
    await world.run()
    await world.event(world.hubs.change(value="1.2", by=EVE))
    await world.run()
    assert world.state() is State.RESOLVED
    await world.drift()
    await world.run()
    assert (await say(world, EVE)).state is State.APPROVED


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (Approver("kim", Via.BEARER), Approver("Kim", Via.BEARER), True),
        (Approver("kim", Via.BEARER), Approver("Kim", Via.COMMAND_LINE), True),
        (Approver("Kim", Via.SIGN_IN, "k-1"), Approver("Kim", Via.COMMAND_LINE), True),
        (Approver("Kim", Via.SIGN_IN, "k-1"), Approver("Kim K.", Via.SIGN_IN, "K-1"), True),
        (Approver("Kim", Via.SIGN_IN, "k-1"), Approver("Kim", Via.SIGN_IN, "k-2"), False),
        (Approver("Kim", Via.BEARER), Approver("Robin", Via.BEARER), False),
    ],
)
async def test_of_those_who_must_agree_nobody_counts_twice_whatever_way_they_come(first, second, same):
    world = World("approve", more="approvals:\n  needed: {tls-minimum: 2}\n")
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    digest = world.finding().proposal.digest
    await approve(world.ports, world.finding().id, plan=digest, by=first, reason="fine")
    again = approve(world.ports, world.finding().id, plan=digest, by=second, reason="fine")
    if same:
        with pytest.raises(NotYoursError, match="has agreed already"):
            await again
    else:
        assert (await again).state is State.APPROVED


async def test_a_link_does_not_say_who_agrees_and_is_no_yes_where_several_must():
    world = World("approve", more="approvals:\n  needed: {tls-minimum: 2}\n")
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    holder = Approver("holder of the link", Via.LINK)
    with pytest.raises(NotYoursError, match="a link does not say who you are"):
        await approve(world.ports, world.finding().id, plan=world.finding().proposal.digest, by=holder, reason="x")


@pytest.mark.parametrize("mode", ["off", "report", "ticket"])
async def test_a_yes_that_policy_would_not_follow_by_now_is_not_taken(mode):
    world = await asked()
    world.policy = policy(mode)
    with pytest.raises(NotAskedError, match=f"mode is {mode} by now; nothing was decided"):
        await say_yes(world)
    assert world.audit.of("approval") == []


async def test_who_decided_is_kept_by_object_id_in_the_trail_and_with_the_finding():
    world = await asked()
    await say(world, "k-1", "Kim")
    await world.run()
    assert world.audit.of("approval")[0]["by_id"] == "k-1"
    assert world.finding().ruling.by_ids == ("k-1",)


async def test_after_a_no_the_ticket_stays_and_says_who_said_it_and_asks_nobody():
    world = await asked()
    finding = world.finding()
    await reject(world.ports, finding.id, plan=finding.proposal.digest, by=ROBIN, reason="a test hub")
    [ticket] = world.tickets.open_ones
    assert "Why no machine fixed it: rejected by Robin (command line): a test hub" in ticket.text
    assert "To approve" not in ticket.text
    world.hubs.change(value="1.2")
    await world.sweep()
    assert world.tickets.open_ones == []


# --- a yes that has grown old

EXEMPT = f"exemptions: [{{rule: tls-minimum, hub: {HUB.path}, until: 2027-01-10, reason: r, owner: o}}]\n"
OBSERVE = "enforcement: observe\n"
BETWEEN = {
    "report": ("report", "", State.REPORTED),
    "off": ("off", "", State.REPORTED),
    "ticket": ("ticket", "", State.TICKETED),
    "exempt": ("approve", EXEMPT, State.EXEMPT),
    "exempt and observe": ("approve", EXEMPT + OBSERVE, State.EXEMPT),
    "observe": ("approve", OBSERVE, State.TICKETED),
    "held": ("approve", "", State.HELD),
    "held and observe": ("approve", OBSERVE, State.HELD),
}


@pytest.mark.parametrize("needed", [1, 2])
@pytest.mark.parametrize("between", BETWEEN)
async def test_once_policy_or_a_person_wanted_something_else_a_yes_is_asked_for_anew(between, needed):
    mode, more, state = BETWEEN[between]
    agreed = strict(f"needed: {{tls-minimum: {needed}}}")
    world = await asked_under(f"needed: {{tls-minimum: {needed}}}")
    await yes(world, ROBIN)
    if needed == 2:
        await yes(world, person("Kim"))
    first = world.finding().proposal.digest
    world.policy = policy(mode, more=more + agreed)
    if "held" in between:
        await operate.hold(world.ports, world.finding().id, by="Chris", reason="no")
    await world.sweep()
    assert world.state() is state
    await world.run(until=timedelta(minutes=5))
    world.clock.turn(days=40)
    world.policy = policy("approve", more=agreed)
    if "held" in between:
        await operate.release(world.ports, world.finding().id, by="Chris")
    await world.live(hours=1)
    finding = world.finding()
    assert (finding.state, finding.approval, finding.agreed) == (State.AWAITING_APPROVAL, None, ())
    assert finding.proposal.digest == first
    assert world.hubs.effective == []
    assert len(world.tickets.open_ones) == 1
    await yes(world, ROBIN)
    if needed == 2:
        assert world.state() is State.AWAITING_APPROVAL
        await yes(world, person("Kim"))
    await world.run()
    assert world.hubs.compliant()


async def test_one_of_two_who_agreed_before_policy_wanted_something_else_is_asked_anew():
    agreed = strict("needed: {tls-minimum: 2}")
    world = await asked_under("needed: {tls-minimum: 2}")
    await yes(world, ROBIN)
    world.policy = policy("report", more=agreed)
    await world.sweep()
    world.policy = policy("approve", more=agreed)
    await world.sweep()
    await yes(world, person("Kim"))
    assert world.state() is State.AWAITING_APPROVAL


async def test_a_write_that_was_denied_needs_another_yes_when_it_is_tried_again():
    world = await asked()
    await say_yes(world)
    world.hubs.faults["put"] = [DeniedError("403")]
    await world.run()
    assert world.state() is State.TICKETED
    await world.live(hours=25)
    assert world.state() is State.AWAITING_APPROVAL
    assert world.hubs.effective == []


@pytest.mark.parametrize("more", ["enforcement: observe\n", None], ids=["observe", "not watched"])
async def test_a_yes_ends_where_its_fix_finds_that_nothing_may_be_written_though_no_look_comes_between(more):
    world = await asked()
    await say_yes(world)
    world.policy = policy("approve", more=more) if more else policy("approve", subscriptions=[SUB2])
    await world.run()
    assert (world.state(), world.finding().approval) == (State.STALE, None)
    world.policy = policy("approve")
    await world.live(hours=1)
    assert world.state() is State.AWAITING_APPROVAL
    assert world.hubs.effective == []
    await say_yes(world)
    await world.run()
    assert world.hubs.compliant()


@pytest.mark.parametrize("write", ["not tried", "not arrived"])
async def test_where_more_must_agree_by_now_a_yes_is_not_enough(write):
    world = await asked()
    await say_yes(world)
    if write == "not arrived":
        world.hubs.faults["put"] = [TransientError("504", sent=True)]
        await world.run(until=timedelta(seconds=1))
        assert world.state() is State.AMBIGUOUS
    world.policy = policy("approve", more=strict("needed: {tls-minimum: 2}"))
    await world.live(hours=1)
    assert (world.state(), world.finding().agreed) == (State.AWAITING_APPROVAL, ())
    assert world.hubs.effective == []
    await yes(world, ROBIN)
    assert world.state() is State.AWAITING_APPROVAL
    await yes(world, person("Kim"))
    await world.run()
    assert world.hubs.compliant()


async def test_a_drift_that_is_exempt_by_now_takes_no_yes():
    world = await asked()
    world.policy = policy("approve", more=EXEMPT)
    with pytest.raises(NotAskedError, match=r"it is exempt by now: .*exemptions\[0\]"):
        await say_yes(world)
    assert (world.state(), world.audit.of("approval")) == (State.AWAITING_APPROVAL, [])
