"""What holds back what policy allows: kill switch, blast radius, share limit, breakers, holds."""

from __future__ import annotations

import asyncio
import random

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from hubwarden.domain.finding import Finding, Limit, State
from hubwarden.domain.limits import HOUR, Kill
from hubwarden.domain.message import Kind
from hubwarden.domain.policy import check_policy
from hubwarden.domain.severity import Severity
from hubwarden.service import operate
from hubwarden.service.approve import approve
from hubwarden.service.claim import _within_limits
from hubwarden.service.errors import (
    ConflictError,
    DeniedError,
    PermanentError,
    StorageRefusedError,
    StorageUnavailableError,
    TransientError,
)
from hubwarden.service.gate import kill_switch, note_outcome
from hubwarden.service.messages import RemediateMessage, TurnMessage
from hubwarden.service.ports import Stored
from hubwarden.service.turns import take, turns
from tests.unit.fakes import (
    HUB,
    RULES,
    SOMEBODY,
    START,
    SUB,
    SUB2,
    FakeChannel,
    FakeOutbox,
    World,
    ask,
    hub_id,
    policy,
)
from tests.unit.test_service_approve import ROBIN


REMEDIATE = RemediateMessage(hub=HUB.path)
FREE = "limits: {share: {percent: 100}, per_hour: {in_all: 500, per_rule: 500, per_subscription: 500}}\n"
WIDE = "per_sweep: {in_all: 500, per_rule: 500, per_subscription: 500}"
NO_SHARE = "share: {percent: 100}"


def limits(*parts):
    return "limits: {" + ", ".join(parts) + "}\n"


async def killed(world, reason="something is odd"):
    await operate.kill(world.safety, world.audit, world.clock, by="robin", reason=reason)


def fleet(world, count, *, drifting=0, subscription=None):
    """So many hubs that were looked at and compliant; returns the events of so many that drift since."""
    hubs = [world.hubs.add(hub_id(f"hub-{n:03}", *([subscription] if subscription else []))) for n in range(count)]
    return hubs, hubs[:drifting]


async def many(count, drifting, **more):
    """A fleet that a sweep knows, of which some drift now; their events wait."""
    world = World(**more)
    hubs, some = fleet(world, count, drifting=drifting)
    await world.sweep()
    for hub in some:
        await world.event(world.hubs.change(hub))
    return world, hubs, some


def states(world):
    return Counter(finding.state for finding in world.findings.all)


def safe(world):
    assert not world.violations
    assert not world.errors
    assert not world.work.poison


# --- kill switch


async def test_while_the_switch_is_on_nothing_is_written_and_nothing_is_lost():
    world = World()
    world.hubs.add()
    await world.drift()
    await world.handle(world.work.letters.pop(0).message)
    assert world.state() is State.APPROVED
    await killed(world)
    await world.run(until=timedelta(days=2))
    assert world.hubs.count("put") == 0
    assert (world.state(), world.finding().attempts) == (State.APPROVED, 0)
    assert len(world.work.of(RemediateMessage)) == 1, "the queue keeps its work"
    assert await operate.resume(world.ports, by="robin") == 1
    await world.run()
    assert world.state() is State.RESOLVED
    assert len(world.hubs.effective) == 1
    safe(world)


async def test_sweeps_do_not_pile_up_work_while_the_switch_is_on():
    world = World()
    world.hubs.add()
    await world.drift()
    await world.handle(world.work.letters.pop(0).message)
    await killed(world)
    await world.live(hours=3)
    assert len(world.work.of(RemediateMessage)) == 1


async def test_a_new_drift_is_held_and_says_who_threw_the_switch_and_goes_on_after_resume():
    world = World()
    world.hubs.add()
    await killed(world)
    await world.drift()
    await world.run()
    finding = world.finding()
    assert (finding.state, finding.limit) == (State.HELD, Limit.KILL)
    assert (
        finding.history[-1].reason
        == "the kill switch is on since 2026-11-23 09:00 UTC, by robin: something is odd"
    )
    await world.live(hours=3)
    assert world.hubs.count("put") == 0
    await operate.resume(world.ports, by="robin")
    await world.run()
    assert world.state() is State.RESOLVED
    safe(world)


async def test_it_stops_what_people_approved_too():
    world = World("approve")
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    finding = world.finding()
    await killed(world)
    await approve(world.ports, finding.id, plan=finding.proposal.digest, by=ROBIN, reason="yes")
    await world.run(until=timedelta(hours=3))
    assert (world.state(), world.hubs.count("put")) == (State.APPROVED, 0)
    await operate.resume(world.ports, by="robin")
    await world.run()
    assert world.state() is State.RESOLVED


async def test_thrown_between_claim_and_write_it_stops_that_write():
    world = World()
    world.hubs.add()
    world.hubs.change()
    await world.handle(ask(at=world.clock.now()))
    append = world.audit.append

    async def throw(kind, details):
        await append(kind, details)
        if details.get("outcome") == "about to be sent":
            world.safety._write("kill", Kill(on=True, by="robin", at=START, reason="now"), None)

    world.audit.append = throw
    await world.handle(REMEDIATE)
    world.audit.append = append
    assert world.hubs.count("put") == 0
    assert (world.state(), world.finding().attempts) == (State.APPROVED, 0)
    assert world.audit.of("write")[-1]["outcome"].startswith("not sent: the kill switch is on")
    assert world.safety.rows["ledger"].value.slots == ()
    await operate.resume(world.ports, by="robin")
    await world.run()
    assert world.state() is State.RESOLVED
    safe(world)


@pytest.mark.parametrize("how", ["down", "damaged"])
async def test_a_switch_that_cannot_be_read_is_on(how):
    world = World()
    world.hubs.add()
    await world.drift()
    await world.handle(world.work.letters.pop(0).message)
    kill = world.safety.kill
    if how == "down":
        world.safety.down = True
    else:

        async def damaged():
            raise StorageRefusedError("row safety / kill cannot be read")

        world.safety.kill = damaged
    await world.run(until=timedelta(hours=1))
    assert (world.state(), world.hubs.count("put")) == (State.APPROVED, 0)
    world.safety.down, world.safety.kill = False, kill
    await world.run()
    assert world.state() is State.RESOLVED
    safe(world)


async def test_a_ledger_that_cannot_be_read_lets_nothing_through():
    world = World()
    world.hubs.add()

    async def damaged():
        raise StorageRefusedError("row safety / ledger cannot be read")

    ledger, world.safety.ledger = world.safety.ledger, damaged
    await world.drift()
    await world.run(until=timedelta(hours=1))
    assert (world.state(), world.hubs.count("put")) == (State.HELD, 0)
    world.safety.ledger = ledger
    await world.live(hours=1)
    assert world.state() is State.RESOLVED


async def test_the_app_setting_throws_it_and_its_absence_lets_the_work_go_on_with_the_next_sweep():
    world = World()
    world.hubs.add()
    world.kill_setting = True
    await world.drift()
    await world.run()
    assert world.state() is State.HELD
    assert "HUBWARDEN_KILL" in world.finding().history[-1].reason
    with pytest.raises(operate.NotHeldError, match="HUBWARDEN_KILL"):
        await operate.resume(world.ports, by="robin")
    world.kill_setting = False
    await world.live(hours=1)
    assert world.state() is State.RESOLVED


async def test_a_ticket_says_that_the_switch_is_on():
    world = World("ticket")
    world.hubs.add()
    await killed(world)
    await world.drift()
    await world.run()
    assert "Note: the kill switch is on since" in world.tickets.open_ones[0].text


async def test_who_threw_it_is_in_the_audit_trail():
    world = World()
    await killed(world)
    await operate.resume(world.ports, by="kim")
    assert world.audit.of("kill") == [
        {"on": True, "by": "robin", "reason": "something is odd"},
        {"on": False, "by": "kim", "reason": "resumed"},
    ]
    assert await kill_switch(world.ports) is None


# --- blast radius


async def test_more_than_the_budget_waits_and_gets_its_turn_when_the_hour_frees():
    world, _hubs, _some = await many(12, 12, more=limits("per_hour: {per_rule: 5}", WIDE, NO_SHARE))
    await world.run(until=timedelta(minutes=30))
    assert states(world) == {State.RESOLVED: 5, State.HELD: 7}
    assert {f.limit for f in world.findings.all if f.state is State.HELD} == {Limit.BUDGET}
    held = next(f for f in world.findings.all if f.state is State.HELD)
    assert "limits.per_hour.per_rule allows 5 automatic fixes" in held.history[-1].reason
    assert "the next turn is at 2026-11-23 10:0" in held.history[-1].reason
    await world.run(until=timedelta(minutes=40))
    assert states(world) == {State.RESOLVED: 10, State.HELD: 2}
    await world.run()
    assert states(world) == {State.RESOLVED: 12}
    assert not world.work.letters
    safe(world)
    assert_rate(world, 5)


def assert_rate(world, most, within=HOUR):
    times = sorted(put.at for put in world.hubs.effective)
    for at in times:
        assert sum(at <= other < at + within - timedelta(minutes=1) for other in times) <= most


@pytest.mark.parametrize(
    ("caps", "fixed"),
    [
        ("per_hour: {in_all: 3}", 3),
        ("per_hour: {per_subscription: 2}", 4),
        ("per_sweep: {in_all: 3}", 3),
        ("per_sweep: {per_rule: 4}", 4),
        ("per_sweep: {per_subscription: 1}", 2),
    ],
)
async def test_each_cap_counts(caps, fixed):
    world = World(more=limits(caps, NO_SHARE))
    for subscription in (None, SUB2):
        fleet(world, 5, subscription=subscription)
    await world.sweep()
    for hub in world.hubs.hubs:
        world.hubs.change(hub)
    await world.sweep()
    await world.run(until=timedelta(minutes=20))
    assert states(world)[State.RESOLVED] == fixed
    assert states(world)[State.HELD] == 10 - fixed


async def test_what_counts_per_sweep_counts_anew_with_the_next():
    world = World(more=limits("per_sweep: {in_all: 2}", NO_SHARE))
    fleet(world, 6)
    for hub in world.hubs.hubs:
        world.hubs.change(hub)
    for done in (2, 4, 6):
        await world.sweep()
        await world.run(until=timedelta(minutes=10))
        assert states(world)[State.RESOLVED] == done
    safe(world)


async def test_the_most_severe_and_then_the_oldest_get_their_turn_first():
    world, hubs, _some = await many(6, 0, more=limits("per_hour: {in_all: 1}", WIDE, NO_SHARE))
    for hub in (hubs[3], hubs[1], hubs[4], hubs[0]):
        await world.drift(hub)
        await world.run(until=timedelta(minutes=1))
    done = []
    for _ in range(5):
        done += [put.hub for put in world.hubs.effective[len(done) :]]
        await world.run(until=timedelta(minutes=61))
    assert done == [hubs[3], hubs[1], hubs[4], hubs[0]]
    safe(world)


async def test_nobody_new_gets_in_before_those_who_wait():
    world, hubs, _ = await many(6, 0, more=limits("per_hour: {in_all: 1}", WIDE, NO_SHARE))
    await world.drift(hubs[0])
    await world.run(until=timedelta(minutes=1))
    await world.drift(hubs[1])
    await world.run(until=timedelta(minutes=1))
    assert world.state(hubs[1]) is State.HELD
    world.work.letters.clear()  # the message of its turn is lost
    world.clock.turn(hours=2)
    await world.drift(hubs[2])
    await world.run(until=timedelta(minutes=5))
    assert (world.state(hubs[1]), world.state(hubs[2])) == (State.RESOLVED, State.HELD)


@pytest.mark.parametrize(
    "error", [ConflictError("409"), TransientError("429"), DeniedError("lock"), PermanentError("400")]
)
async def test_a_slot_is_given_back_where_certainly_nothing_was_written(error):
    world = World()
    world.hubs.add()
    await world.drift()
    await world.handle(world.work.letters.pop(0).message)
    world.hubs.faults["put"] = [error]
    await world.handle(REMEDIATE)
    assert world.hubs.count("put") == 1
    assert world.safety.rows["ledger"].value.slots == ()


@pytest.mark.parametrize("applied", [True, False])
async def test_a_slot_is_kept_where_the_write_may_have_arrived(applied):
    world = World()
    world.hubs.add()
    await world.drift()
    await world.handle(world.work.letters.pop(0).message)
    error = TransientError("cut", sent=True)
    error.applied = applied
    world.hubs.faults["put"] = [error]
    await world.handle(REMEDIATE)
    assert len(world.safety.rows["ledger"].value.slots) == 1


async def test_what_a_person_approved_does_not_count():
    world = World("approve", more=limits("per_hour: {in_all: 1}", NO_SHARE))
    hubs, _ = fleet(world, 4)
    for hub in hubs:
        world.hubs.change(hub)
    await world.sweep()
    for hub in hubs:
        finding = world.finding(hub)
        await approve(world.ports, finding.id, plan=finding.proposal.digest, by=ROBIN, reason="yes")
    await world.run()
    assert states(world) == {State.RESOLVED: 4}
    assert world.safety.rows["ledger"].value.slots == ()
    assert not any(finding.fixes for finding in world.findings.all)


async def test_what_a_person_approved_goes_on_where_another_drift_of_the_rule_waits():
    world = World(more=limits("per_hour: {in_all: 1}", NO_SHARE))
    approved, alone = (
        Stored(Finding(HUB, "sas-policies", name, Severity.HIGH, "d", START, START, state=State.APPROVED), None)
        for name in ("approved", "alone")
    )
    await take(world.ports, [replace(alone.value, hub=hub_id("other"))])
    slots, fixable = await _within_limits(world.ports, [approved, alone], {alone.value.id})
    assert (slots, fixable) == ((), [approved])
    assert [finding.subject for finding in world.findings.all if finding.state is State.HELD] == ["alone"]


async def test_fifty_takers_at_once_get_ten_slots():
    world = World(more=limits("per_hour: {in_all: 10}", WIDE))
    world.gates.random = random.Random(7)
    hubs, _ = fleet(world, 50)
    for hub in hubs:
        world.hubs.change(hub)
    await world.sweep()
    world.safety.rows.clear()
    answers = await asyncio.gather(*(take(world.ports, [world.finding(hub)]) for hub in hubs))
    assert sum(len(slots) for slots, _ in answers) == 10
    assert sum(len(refused) for _, refused in answers) == 40
    assert len(world.safety.rows["ledger"].value.slots) == 10


async def test_what_is_fixed_meanwhile_does_not_wait_any_more():
    world, _hubs, _ = await many(3, 3, more=limits("per_hour: {in_all: 1}", WIDE, NO_SHARE))
    await world.run(until=timedelta(minutes=5))
    left = [finding.hub for finding in world.findings.all if finding.state is State.HELD]
    for hub in left:
        await world.event(world.hubs.change(hub, value="1.2"))
    await world.run(until=timedelta(minutes=5))
    assert states(world) == {State.RESOLVED: 3}
    await world.live(hours=2)
    assert len(world.hubs.effective) == 1
    assert world.safety.rows["ledger"].value.next_turn is None


ONE_AN_HOUR = "per_hour: {in_all: 1, per_rule: 1, per_subscription: 1}"


async def waiting_behind_a(world, a):
    """Hub ``a`` is the oldest of four that wait for their turn; one was fixed."""
    others = [world.hubs.add(hub_id(f"b{n}")) for n in range(4)]
    await world.sweep()
    for hub in (others[0], a, *others[1:]):
        await world.event(world.hubs.change(hub))
        await world.run(until=timedelta(minutes=2))
    assert states(world) == {State.RESOLVED: 1, State.HELD: 4}
    return others


async def test_who_waits_on_a_hub_that_is_not_watched_any_more_holds_up_nobody():
    world = World(more=limits(ONE_AN_HOUR, WIDE, NO_SHARE))
    others = await waiting_behind_a(world, world.hubs.add(hub_id("a", SUB2)))
    world.policy = policy("auto", subscriptions=(SUB,), more=limits(ONE_AN_HOUR, WIDE, NO_SHARE))
    await world.live(hours=6)
    assert {world.state(hub) for hub in others} == {State.RESOLVED}


async def test_who_cannot_be_looked_at_goes_to_the_back_of_the_queue():
    world = World(more=limits(ONE_AN_HOUR, WIDE, NO_SHARE))
    a = world.hubs.add(hub_id("a"))
    others = await waiting_behind_a(world, a)
    real, listed = world.hubs.get_hub, world.hubs.list_hubs

    async def get_hub(hub):
        if hub == a:
            raise DeniedError("403")
        return await real(hub)

    async def list_hubs(subscription):
        async for body in listed(subscription):
            if not body["id"].lower().endswith("/a"):
                yield body

    world.hubs.get_hub, world.hubs.list_hubs = get_hub, list_hubs
    await world.live(hours=10)
    assert {world.state(hub) for hub in others} == {State.RESOLVED}
    assert world.state(a) is State.HELD
    world.hubs.get_hub, world.hubs.list_hubs = real, listed
    await world.live(hours=3)
    assert world.state(a) is State.RESOLVED
    assert not world.safety.rows["ledger"].value.passed


# --- share limit


async def test_forty_of_fifty_hubs_drift_at_once_one_question_no_fix_then_the_configured_rate():
    world, _hubs, _some = await many(50, 40)
    await world.run()
    assert world.hubs.count("put") == 0
    assert states(world) == {State.HELD: 40}
    assert {finding.limit for finding in world.findings.all} == {Limit.SHARE}
    assert len(world.tickets.open_ones) == 1
    assert "of 50 hubs drift of tls-minimum: a migration, or a broken rule?" in world.tickets.open_ones[0].text
    await world.live(hours=5)
    assert world.hubs.count("put") == 0
    assert len(world.tickets.tickets) == 1
    assert 32 < world.safety.rows["ledger"].value.asked["tls-minimum"].drifting <= 40
    released = await operate.release_rule(world.ports, "tls-minimum", by="robin")
    assert len(released.hubs) == 40
    await world.live(hours=1)
    assert len(world.hubs.effective) <= world.policy.limits.per_hour.per_rule * 2
    await world.live(hours=6)
    assert states(world) == {State.RESOLVED: 40}
    assert len(world.hubs.effective) == 40
    assert_rate(world, world.policy.limits.per_hour.per_rule)
    assert not world.tickets.open_ones
    safe(world)


async def test_a_sweep_alone_sees_it_too():
    world = World()
    _hubs, some = fleet(world, 50, drifting=40)
    await world.sweep()
    for hub in some:
        world.hubs.change(hub)
    await world.sweep()
    await world.run(until=timedelta(minutes=5))
    assert world.hubs.count("put") == 0
    assert states(world) == {State.HELD: 40}


async def test_even_of_hubs_never_seen_before():
    world = World()
    for hub in fleet(world, 50, drifting=40)[1]:
        world.hubs.change(hub)
    await world.sweep()
    await world.run(until=timedelta(minutes=5))
    assert world.hubs.count("put") == 0


async def test_one_after_another_within_the_hour_counts_as_at_once():
    world, hubs, _ = await many(20, 0)
    for hub in hubs[:12]:
        await world.drift(hub)
        await world.run(until=timedelta(minutes=1))
    assert len(world.hubs.effective) == 4, "the fifth is more than 20 % of 20, and at least five"
    assert states(world)[State.HELD] == 8
    assert len(world.tickets.tickets) == 1


async def test_few_hubs_and_small_shares_are_drift():
    world, _hubs, _ = await many(50, 10)
    await world.run(until=timedelta(minutes=10))
    assert states(world) == {State.RESOLVED: 10}
    world, _hubs, _ = await many(4, 4)
    await world.run(until=timedelta(minutes=10))
    assert states(world) == {State.RESOLVED: 4}


async def test_a_release_covers_the_hubs_that_drifted_then_and_no_other():
    world, hubs, _some = await many(50, 40)
    await world.run()
    await operate.release_rule(world.ports, "tls-minimum", by="robin")
    for hub in hubs[40:50]:
        world.hubs.change(hub)
        await world.event(world.hubs.change(hub))
    await world.run(until=timedelta(minutes=5))
    assert not any(put.hub in hubs[40:] for put in world.hubs.effective)


async def test_the_question_is_taken_back_once_the_hubs_are_as_they_were():
    world, _hubs, some = await many(50, 40)
    await world.run()
    for hub in some:
        await world.event(world.hubs.change(hub, value="1.2"))
    await world.run()
    await world.sweep()
    assert not world.safety.rows["ledger"].value.asked
    assert not world.tickets.open_ones
    with pytest.raises(operate.NotHeldError):
        await operate.release_rule(world.ports, "tls-minimum", by="robin")


async def test_the_first_fix_of_a_large_fleet_waits_for_others_to_show():
    world, hubs, _ = await many(20, 1)
    await world.run(until=timedelta(seconds=4))
    assert (world.state(hubs[0]), world.hubs.count("put")) == (State.APPROVED, 0)
    await world.run()
    assert world.state(hubs[0]) is State.RESOLVED


async def test_the_same_question_is_asked_by_one_hub_alone_however_many_look_at_once():
    world, _hubs, _some = await many(50, 40)
    await world.run(workers=16)
    assert len(world.tickets.tickets) == 1
    assert world.hubs.count("put") == 0


def two_modes(mode, *, where="{hub: 'lab-*'}", more=""):
    text = f"version: 1\nsubscriptions: [{SUB}]\nrules:\n  tls-minimum:\n    mode: {mode}\n"
    text += f"    scopes:\n      - where: {where}\n        mode: auto\n{more}"
    made, problems = check_policy(text, RULES, today=START.date())
    assert made is not None, problems
    return made


def pilot(world):
    """Thirty hubs that drift and are left to people, and twenty that are to be fixed by itself."""
    for n in range(30):
        world.hubs.add(hub_id(f"prod-{n:02}"), minTlsVersion="1.0")
    lab = [world.hubs.add(hub_id(f"lab-{n:02}")) for n in range(20)]
    for hub in lab:
        world.hubs.hubs[hub].body["tags"] = {"env": "lab"}
    return lab


@pytest.mark.parametrize("mode", ["report", "ticket", "approve", "'off'"])
@pytest.mark.parametrize("where", ["{hub: 'lab-*'}", "{tags: {env: lab}}"])
async def test_what_is_not_fixed_by_itself_stops_no_pilot(mode, where):
    world = World()
    world.policy = two_modes("report", where=where)
    lab = pilot(world)
    await world.sweep()
    world.policy = two_modes(mode, where=where)
    await world.sweep()
    await world.event(world.hubs.change(lab[1]))
    await world.run(until=timedelta(minutes=5))
    assert world.state(lab[1]) is State.RESOLVED
    safe(world)


async def test_the_share_of_a_pilot_is_counted_of_the_pilot():
    world = World()
    world.policy = two_modes("report")
    lab = pilot(world)
    await world.sweep()
    for hub in lab[:8]:
        await world.event(world.hubs.change(hub))
    await world.run(until=timedelta(minutes=5))
    assert world.hubs.count("put") == 0
    assert "of 20 hubs drift" in world.finding(lab[0]).history[-1].reason


async def test_what_is_exempt_counts_neither():
    exempt = [hub_id(f"hub-{n:03}") for n in range(20)]
    told = "".join(f"  - {{rule: tls-minimum, hub: {hub.path}, until: 2027-01-10, reason: r, owner: o}}\n"
                   for hub in exempt)  # fmt: skip
    world = World(more="exemptions:\n" + told)
    fleet(world, 50)
    for hub in exempt:
        world.hubs.change(hub)
    await world.sweep()
    await world.drift(hub_id("hub-040"))
    await world.run(until=timedelta(minutes=5))
    assert states(world) == {State.EXEMPT: 20, State.RESOLVED: 1}


async def test_what_code_manages_counts_neither():
    world = World()
    hubs, managed = fleet(world, 50, drifting=20)
    for hub in managed:
        world.hubs.hubs[hub].body["tags"] = {"Terraform": "yes"}
        world.hubs.change(hub)
    await world.sweep()
    await world.drift(hubs[40])
    await world.run(until=timedelta(minutes=5))
    assert states(world) == {State.AWAITING_APPROVAL: 20, State.RESOLVED: 1}


async def test_a_rule_that_is_turned_off_asks_nothing():
    world, _hubs, _some = await many(50, 40)
    await world.run(until=timedelta(minutes=3))
    assert world.safety.rows["ledger"].value.asked
    world.policy = policy({"tls-minimum": "'off'"})
    await world.live(hours=1)
    assert not world.safety.rows["ledger"].value.asked


ALL_AT_ONCE = limits("per_hour: {in_all: 500, per_rule: 500, per_subscription: 500}", WIDE)


async def test_a_release_does_not_cover_a_drift_of_the_same_hubs_that_begins_later():
    world, _hubs, some = await many(50, 40, more=ALL_AT_ONCE)
    await world.run(until=timedelta(minutes=3))
    await operate.release_rule(world.ports, "tls-minimum", by="robin")
    await world.run(until=timedelta(minutes=10))
    assert states(world) == {State.RESOLVED: 40}
    world.clock.turn(hours=20)
    await world.sweep()
    for hub in some:
        await world.event(world.hubs.change(hub))
    await world.run(until=timedelta(minutes=10))
    assert len(world.hubs.effective) == 40
    assert states(world) == {State.HELD: 40}
    assert world.safety.rows["ledger"].value.asked
    safe(world)


async def test_releasing_again_keeps_those_whom_the_first_word_covers():
    world, hubs, _some = await many(50, 20)
    await world.run(until=timedelta(minutes=3))
    first = await operate.release_rule(world.ports, "tls-minimum", by="robin")
    for hub in hubs[20:45]:
        await world.event(world.hubs.change(hub))
    await world.run(until=timedelta(minutes=3))
    assert world.safety.rows["ledger"].value.asked
    second = await operate.release_rule(world.ports, "tls-minimum", by="robin")
    assert set(first.hubs) < set(second.hubs)
    await world.live(hours=7)
    assert states(world) == {State.RESOLVED: 45}
    assert_rate(world, world.policy.limits.per_hour.per_rule)
    safe(world)


@pytest.mark.parametrize("how", ["fixed by its owner", "deleted", "held"])
async def test_the_question_moves_to_another_hub_where_its_own_waits_no_more(how):
    world, _hubs, _some = await many(50, 40)
    await world.run(until=timedelta(minutes=3))
    asked = world.safety.rows["ledger"].value.asked["tls-minimum"].hub
    world.clock.turn(minutes=10)
    if how == "fixed by its owner":
        world.hubs.change(asked, value="1.2")
    elif how == "deleted":
        world.hubs.hubs.pop(asked)
    else:
        await operate.hold(world.ports, world.finding(asked).id, by="robin", reason="mine")
    await world.live(hours=3)
    (ticket,) = (ticket for ticket in world.tickets.open_ones if ticket.hub != asked)
    assert world.safety.rows["ledger"].value.asked["tls-minimum"].hub == ticket.hub
    assert world.hubs.count("put") == 0


async def test_what_a_person_approved_lays_no_question_down():
    world = World()
    closed = "maintenance:\n  - windows: [{from: '12:00', to: '20:00'}]\n"
    text = f"version: 1\nsubscriptions: [{SUB}]\nrules:\n  tls-minimum:\n    mode: auto\n"
    text += f"    scopes:\n      - where: {{hub: hub-000}}\n        mode: approve\n{closed}"
    world.policy, problems = check_policy(text, RULES, today=START.date())
    assert not problems
    hubs, _ = fleet(world, 50)
    await world.sweep()
    for hub in hubs[:40]:
        await world.event(world.hubs.change(hub))
    await world.run(until=timedelta(minutes=5))
    assert states(world) == {State.AWAITING_APPROVAL: 1, State.HELD: 39}
    finding = world.finding(hubs[0])
    await approve(world.ports, finding.id, plan=finding.proposal.digest, by=ROBIN, reason="yes")
    await world.run(until=timedelta(minutes=5))
    assert world.state(hubs[0]) is State.RESOLVED
    assert not world.safety.rows["ledger"].value.asked
    await world.live(hours=5)
    assert states(world) == {State.RESOLVED: 1, State.HELD: 39}
    assert len(world.tickets.open_ones) == 1
    assert world.tickets.open_ones[0].hub != hubs[0]


# --- breaker per hub and rule


async def flapping(world, hub=HUB):
    for _ in range(5):
        await world.drift(hub)
        await world.run(until=timedelta(minutes=20))


async def test_what_is_always_changed_back_is_held_and_the_ticket_names_who_does_it():
    world = World()
    world.hubs.add()
    await flapping(world)
    finding = world.finding()
    assert len(world.hubs.effective) == 3
    assert (finding.state, finding.hold.by, finding.limit) == (State.HELD, "the breaker", None)
    [ticket] = world.tickets.open_ones
    assert "fixed 3 times within 24 hours" in ticket.text
    assert ticket.text.count(f"Jo Doe ({SOMEBODY}, 04b07795-0000-0000-0000-000000000046) at 2026-11-23 ") == 4
    assert f"release {finding.id}" in ticket.text
    await world.live(hours=30)
    assert len(world.hubs.effective) == 3
    safe(world)


async def test_what_the_breaker_holds_has_a_ticket_each_time_that_it_is_there():
    world = World()
    world.hubs.add()
    await flapping(world)
    await world.drift(value="1.2")
    await world.run()
    assert (world.state(), world.tickets.open_ones) == (State.RESOLVED, [])
    await world.drift(value="1.0")
    await world.run()
    assert (world.state(), len(world.tickets.open_ones)) == (State.HELD, 1)
    assert "changed back each time by Jo Doe" in world.tickets.open_ones[0].text


async def test_a_release_gives_the_breaker_a_fresh_start():
    world = World()
    world.hubs.add()
    await flapping(world)
    await operate.release(world.ports, world.finding().id, by="robin")
    await world.run()
    assert world.state() is State.RESOLVED
    assert len(world.hubs.effective) == 4
    assert not world.tickets.open_ones


async def test_fixes_of_long_ago_do_not_count():
    world = World()
    world.hubs.add()
    for _ in range(6):
        await world.drift()
        await world.run(until=timedelta(hours=9))
    assert len(world.hubs.effective) == 6
    assert world.state() is State.RESOLVED


# --- breaker of errors


async def failing(world, count, error=None, start=0):
    for number in range(start, start + count):
        hub = hub_id(f"bad-{number:03}")
        world.hubs.add(hub)
        await world.drift(hub)
        world.hubs.faults["put"] = [error or PermanentError("400: no such value")]
        await world.run(until=timedelta(seconds=30))
        world.hubs.faults["put"] = []


async def test_more_than_half_of_the_last_fixes_failed_and_nothing_is_fixed_until_a_reset():
    world = World(more=FREE)
    await failing(world, 10)
    assert not world.safety.rows["ledger"].value.tripped
    await failing(world, 1, start=10)
    ledger = world.safety.rows["ledger"].value
    assert ledger.tripped.startswith("11 of the last 20 fixes failed; the last one: bad-010: nothing was changed")
    assert "until `breaker reset`" in world.finding(hub_id("bad-010")).history[-1].reason
    assert world.audit.of("breaker")[0]["state"] == "tripped"
    world.hubs.add()
    await world.drift()
    await world.live(hours=3)
    assert (world.state(), world.finding().limit) == (State.HELD, Limit.ERRORS)
    await operate.reset_breaker(world.ports, by="robin")
    await world.run()
    assert world.state() is State.RESOLVED
    with pytest.raises(operate.NotHeldError):
        await operate.reset_breaker(world.ports, by="robin")
    safe(world)


async def test_a_fix_without_effect_is_an_error_and_one_that_is_proven_is_none():
    world = World()
    world.hubs.add()
    await world.drift()
    await world.run()
    world.hubs.no_effect = True
    await world.drift(value="1.1")
    await world.run(until=timedelta(hours=1))
    errors = [outcome.error for outcome in world.safety.rows["ledger"].value.outcomes]
    assert errors[0] == ""
    assert "the drift is still there" in errors[1]
    assert len(errors) == 2


@pytest.mark.parametrize("error", [ConflictError("409"), TransientError("429"), DeniedError("403")])
async def test_conflicts_throttling_and_missing_rights_are_no_errors_of_a_fix(error):
    world = World(more=FREE)
    await failing(world, 12, error)
    assert not [one for one in world.safety.rows["ledger"].value.outcomes if one.error]


# --- hold and release


async def test_a_held_finding_is_left_alone_and_seen_until_it_is_released():
    world = World()
    world.hubs.add()
    world.hubs.change()
    await world.handle(ask(at=world.clock.now()))
    await operate.hold(world.ports, world.finding().id, by="robin", reason="we test something")
    await world.live(hours=2)
    finding = world.finding()
    assert (finding.state, world.hubs.count("put")) == (State.HELD, 0)
    assert finding.last_seen > START + timedelta(hours=1)
    assert "held by robin: we test something" in [step.reason for step in finding.history]
    assert any(line["reason"] == "held by robin: we test something" for line in world.audit.of("finding"))
    await operate.release(world.ports, finding.id, by="kim")
    await world.run()
    assert world.state() is State.RESOLVED
    assert "free" in world.events()


async def test_a_held_finding_resolves_when_the_drift_goes_and_stays_held_for_the_next():
    world = World()
    world.hubs.add()
    world.hubs.change()
    await world.handle(ask(at=world.clock.now()))
    await operate.hold(world.ports, world.finding().id, by="robin", reason="no")
    world.hubs.change(value="1.2")
    await world.live(hours=1)
    assert world.state() is State.RESOLVED
    await world.drift()
    await world.live(hours=1)
    assert (world.state(), world.hubs.count("put")) == (State.HELD, 0)


async def test_a_hold_during_a_fix_counts_from_then_on():
    world = World()
    world.hubs.add()
    await world.drift()
    await world.run(until=timedelta(seconds=5))
    assert world.state() is State.VERIFYING
    await operate.hold(world.ports, world.finding().id, by="robin", reason="no")
    assert world.state() is State.VERIFYING
    await world.run()
    assert world.state() is State.RESOLVED
    await world.drift()
    await world.run()
    assert (world.state(), len(world.hubs.effective)) == (State.HELD, 1)


async def test_what_is_not_held_is_not_released():
    world = World()
    world.hubs.add()
    await world.drift()
    await world.run()
    with pytest.raises(operate.NotHeldError, match="held by nobody"):
        await operate.release(world.ports, world.finding().id, by="robin")


async def test_turns_are_harmless_to_repeat():
    world, _hubs, _ = await many(8, 8, more=limits("per_hour: {in_all: 2}", WIDE, NO_SHARE))
    await world.run(until=timedelta(minutes=10))
    for _ in range(5):
        await turns(world.ports)
    await world.run(until=timedelta(minutes=10))
    assert len(world.hubs.effective) == 2
    assert len(world.work.of(TurnMessage)) >= 1


# --- one message, not forty


def told(world):
    world.outbox, world.channels = FakeOutbox(world.gates, world.log), {"ops": FakeChannel()}
    return world.channels["ops"]


NOTIFY = (
    "notify:\n  allowed_hosts: [hooks.example.com]\n"
    "  channels: {ops: {kind: webhook, url: 'https://hooks.example.com/x'}}\n  routes: [{channels: [ops]}]\n"
)


async def test_forty_of_fifty_hubs_are_one_message():
    world = World(more=NOTIFY)
    channel = told(world)
    _, some = fleet(world, 50, drifting=40)
    await world.sweep()
    for hub in some:
        await world.event(world.hubs.change(hub))
    await world.live(hours=3)
    assert [message.kind for message in channel.sent] == [Kind.HELD]
    [message] = channel.sent
    assert message.title.startswith("Held until somebody decides: tls-minimum on ")
    assert "50 hubs drift of tls-minimum: a migration, or a broken rule?" in "\n".join(message.lines)
    assert world.hubs.count("put") == 0


async def test_what_is_always_changed_back_is_a_message():
    world = World(more=NOTIFY)
    channel = told(world)
    world.hubs.add()
    await flapping(world)
    assert [message.kind for message in channel.sent].count(Kind.HELD) == 1
    assert "changed back each time by Jo Doe" in "\n".join(channel.sent[-1].lines)


async def test_what_only_waits_for_its_turn_is_no_message():
    world = World(more=NOTIFY + limits("per_hour: {in_all: 1}", NO_SHARE))
    channel = told(world)
    _, some = fleet(world, 3, drifting=3)
    await world.sweep()
    for hub in some:
        await world.event(world.hubs.change(hub))
    await world.live(hours=1)
    assert Kind.HELD not in [message.kind for message in channel.sent]


async def test_hubs_that_are_fewer_by_now_get_their_turn_without_a_word():
    world, _, some = await many(50, 40)
    await world.run()
    for hub in some[5:]:
        await world.event(world.hubs.change(hub, value="1.2"))
    await world.live(hours=1)
    assert states(world) == {State.RESOLVED: 40}
    assert len(world.hubs.effective) == 5


async def test_resume_takes_no_effect_without_its_audit_line():
    world = World()
    await killed(world)
    append = world.audit.append

    async def down(kind, details):
        raise StorageUnavailableError("audit")

    world.audit.append = down
    with pytest.raises(StorageUnavailableError):
        await operate.resume(world.ports, by="kim")
    assert await kill_switch(world.ports) is not None
    with pytest.raises(StorageUnavailableError):
        await operate.kill(world.safety, world.audit, world.clock, by="kim", reason="again")
    assert (await kill_switch(world.ports)).reason == "again", "to stop needs no audit line"
    world.audit.append = append
    await operate.resume(world.ports, by="kim")
    assert await kill_switch(world.ports) is None
    assert world.audit.of("kill")[-1]["on"] is False


async def test_that_the_error_breaker_tripped_is_in_the_audit_trail_though_it_was_down_at_that_moment():
    world = World(more=limits("errors: {last: 2, percent: 1}"))
    append = world.audit.append

    async def down(kind, details):
        raise StorageUnavailableError("audit")

    world.audit.append = down
    with pytest.raises(StorageUnavailableError):
        await note_outcome(world.ports, "sha256:1", "bad")
    assert world.safety.rows["ledger"].value.tripped
    world.audit.append = append
    for _ in range(3):
        await note_outcome(world.ports, "sha256:1", "bad")
    assert [line["state"] for line in world.audit.of("breaker")] == ["tripped"]
    await operate.reset_breaker(world.ports, by="robin")
    await note_outcome(world.ports, "sha256:2", "bad")
    assert [line["state"] for line in world.audit.of("breaker")] == ["tripped", "reset", "tripped"]


async def test_resume_changes_nothing_while_the_app_setting_stops_every_write():
    world = World()
    await killed(world)
    world.kill_setting = True
    with pytest.raises(operate.NotHeldError, match="HUBWARDEN_KILL"):
        await operate.resume(world.ports, by="kim")
    world.kill_setting = False
    assert (await kill_switch(world.ports)).by == "robin"
    assert [line["on"] for line in world.audit.of("kill")] == [True]


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (Limit.KILL, "`resume`"),
        (Limit.ERRORS, "`breaker reset`"),
        (Limit.SHARE, "`release --rule tls-minimum`"),
        (Limit.BUDGET, "by itself"),
    ],
)
async def test_release_of_what_a_limit_holds_says_which_and_how_it_goes_on(limit, told):
    world = World()
    finding = Finding(HUB, "tls-minimum", "", Severity.HIGH, "d", START, START, state=State.HELD, limit=limit)
    await world.findings.save(finding, None)
    with pytest.raises(operate.NotHeldError) as caught:
        await operate.release(world.ports, finding.id, by="robin")
    assert f"a limit holds it ({limit})" in str(caught.value)
    assert told in str(caught.value)
