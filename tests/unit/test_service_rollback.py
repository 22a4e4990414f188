"""Undoing a fix: what is kept before each write, how it is put back after an approval, and that it stays so."""

from __future__ import annotations

import json

from dataclasses import replace
from datetime import timedelta

import pytest

from detectors import RULES as ALL_RULES
from hubwarden.domain.approval import Approver, Via
from hubwarden.domain.finding import Hold, State
from hubwarden.domain.plan import Change, Target
from hubwarden.domain.policy import check_policy
from hubwarden.domain.remediation import KEPT, Outcome
from hubwarden.domain.rule import RuleSettings
from hubwarden.domain.snapshot import Facet, Unread
from hubwarden.domain.verdict import Compliant, Drift, Unknown
from hubwarden.service import operate
from hubwarden.service.approve import NotAskedError, NotYoursError, approve, reject
from hubwarden.service.errors import (
    ConflictError,
    DeniedError,
    PermanentError,
    TransientError,
)
from hubwarden.service.expire import expire
from hubwarden.service.messages import RemediateMessage
from hubwarden.service.overview import overview
from hubwarden.service.rollback import NoSuchRemediationError, NotRolledBackError, ask_for_rollback
from hubwarden.service.snapshots import forget_old
from remediators import REMEDIATORS
from tests.unit.fakes import HUB, RULES, START, SUB, SUB2, TLS, World, ask, hub_id, policy


ROBIN = Approver("Robin", Via.COMMAND_LINE)
KIM = Approver("Kim", Via.COMMAND_LINE)


async def fixed(world=None, value="1.0"):
    """A world in which a lowered TLS minimum was raised again."""
    world = world or World()
    world.hubs.add()
    await world.drift(value=value)
    await world.run()
    assert world.state() is State.RESOLVED
    return world


def first(world):
    """The fix: what was kept first."""
    return min(world.remediations.all, key=lambda one: one.at)


async def ask_back(world, reason="the old gateways need it", by=KIM):
    return await ask_for_rollback(world.ports, first(world).id, by=by, reason=reason)


async def say_yes(world, by=ROBIN):
    finding = world.rollback()
    return await approve(world.ports, finding.id, plan=finding.proposal.digest, by=by, reason="agreed")


async def rolled_back(world=None):
    world = await fixed(world)
    await ask_back(world)
    await say_yes(world)
    await world.run()
    assert world.rollback().state is State.RESOLVED
    return world


# --- what is kept


async def test_before_a_write_its_places_are_kept_and_afterwards_what_became_of_it():
    world = await fixed()
    [kept] = world.remediations.all
    [change] = kept.changes
    assert (change["path"], change["before"], change["after"]) == ([*TLS], "1.0", "1.2")
    assert kept.findings == (world.finding().id,)
    assert kept.rules == ("tls-minimum",)
    assert kept.decided == ("policy rules.tls-minimum.mode is auto",)
    assert kept.plan == world.finding().attempt.digest
    assert kept.etag == world.hubs.effective[0].etag
    assert kept.outcome is Outcome.PROVEN
    [undo] = kept.undo
    assert (undo["before"], undo["after"]) == ("1.2", "1.0")
    put = world.log.index(("put", HUB.name, kept.etag))
    assert world.log.index(("kept", kept.id, Outcome.BEGUN)) < put
    assert [line["remediation"] for line in world.audit.of("write")] == [kept.id, kept.id]


async def test_nothing_is_written_of_which_nothing_is_kept():
    world = World()
    world.remediations.down = True
    world.hubs.add()
    await world.drift()
    await world.run(until=timedelta(minutes=1))
    assert world.hubs.count("put") == 0
    assert world.state() is State.APPROVED
    assert "could not be kept: table hubwardenremediations does not answer" in world.finding().history[-1].reason
    assert not world.errors
    world.remediations.down = False
    await world.live(hours=1)
    assert world.tls() == "1.2"
    assert len(world.hubs.effective) == 1
    assert not world.violations


ERRORS = [
    (DeniedError("403"), Outcome.NOT_WRITTEN),
    (PermanentError("400"), Outcome.NOT_WRITTEN),
    (TransientError("429", retry_after=timedelta(seconds=9)), Outcome.NOT_WRITTEN),
    (TransientError("504", sent=True), Outcome.UNCERTAIN),
]


@pytest.mark.parametrize(("error", "outcome"), ERRORS)
async def test_what_did_not_get_through_is_noted_and_cannot_be_rolled_back(error, outcome):
    world = World()
    world.hubs.add()
    world.hubs.faults["put"] = [error]
    await world.drift()
    await world.run(until=timedelta(seconds=1))
    assert first(world).outcome is outcome
    with pytest.raises(NotRolledBackError, match=f"not proven.*{outcome}"):
        await ask_back(world)


async def test_what_is_kept_is_dropped_after_a_while():
    world = await fixed()
    world.clock.at += KEPT - timedelta(hours=1)
    await forget_old(world.ports)
    assert len(world.remediations.all) == 1
    world.clock.at += timedelta(hours=1)
    await forget_old(world.ports)
    assert world.remediations.all == []


# --- asking


async def test_a_rollback_is_asked_about_as_any_plan_is_and_says_that_it_is_none():
    world = await fixed()
    waiting = await ask_back(world)
    assert waiting == world.rollback()
    assert waiting.state is State.AWAITING_APPROVAL
    assert [change["after"] for change in waiting.proposal.changes] == ["1.0"]
    text = " ".join(waiting.proposal.warnings)
    assert "This is a rollback, not a fix" in text
    assert first(world).id in text
    assert "tls-minimum calls a drift" in text
    assert world.finding().id in text
    [ticket] = world.tickets.open_ones
    assert "Rollback of" in ticket.title
    assert f"approve {waiting.id} --plan {waiting.proposal.digest}" in ticket.text
    assert "Who asks for it: Kim" in ticket.text
    assert "By command line" not in ticket.text, "how to fix the drift is not what is asked"
    assert world.hubs.count("put") == 1
    assert world.finding().hold is None


async def test_what_was_never_kept_is_not_rolled_back():
    world = await fixed()
    with pytest.raises(NoSuchRemediationError, match="r-none"):
        await ask_for_rollback(world.ports, "r-none", by=KIM, reason="why not")


async def test_a_rollback_is_asked_about_once_at_a_time():
    world = await fixed()
    await ask_back(world)
    with pytest.raises(NotRolledBackError, match="asked for already"):
        await ask_back(world)


@pytest.mark.parametrize("value", ["1.0", "1.3"])
async def test_what_somebody_has_changed_since_is_not_undone(value):
    world = await fixed()
    world.hubs.change(value=value)
    with pytest.raises(NotRolledBackError, match=f"minTlsVersion is '{value}' by now, and was left as '1.2'"):
        await ask_back(world)
    assert world.rollback() is None


async def test_while_policy_observes_nothing_is_rolled_back():
    world = await fixed()
    await ask_back(world)
    await say_yes(world)
    world.policy = policy("auto", more="enforcement: observe\n")
    await world.live(hours=1)
    assert world.tls() == "1.2"
    assert world.hubs.count("put") == 1
    assert world.rollback().state is State.RESOLVED
    with pytest.raises(NotRolledBackError, match="enforcement is observe"):
        await ask_back(world)


async def test_what_is_not_watched_any_more_is_left_alone():
    world = await fixed()
    world.policy = policy("auto", subscriptions=(SUB2,))
    with pytest.raises(NotRolledBackError, match="in no subscription"):
        await ask_back(world)


UNREADABLE = [TransientError("503"), DeniedError("403"), ConflictError("409")]


@pytest.mark.parametrize("error", UNREADABLE)
async def test_what_cannot_be_read_is_not_planned(error):
    world = await fixed()
    world.hubs.faults["get"] = [error]
    with pytest.raises(NotRolledBackError, match=str(error)):
        await ask_back(world)


async def test_a_hub_that_is_busy_is_asked_about_later():
    world = await fixed()
    world.hubs.busy_for(seconds=20)
    with pytest.raises(NotRolledBackError, match="operation is running"):
        await ask_back(world)


# --- deciding, and what follows


async def test_an_approved_rollback_puts_the_hub_back_and_no_sweep_undoes_it():
    world = await fixed()
    before = world.hubs.effective[0].before
    await ask_back(world)
    await say_yes(world)
    await world.run()
    assert world.tls() == "1.0"
    after = world.hubs.hubs[HUB].body
    assert json.dumps({**after, "etag": 0}) == json.dumps({**before, "etag": 0}), "byte for byte"
    assert world.rollback().state is State.RESOLVED
    assert not world.tickets.open_ones
    await world.live(hours=3)
    assert world.tls() == "1.0"
    assert world.state() is State.HELD
    assert world.finding().hold.by == "Kim (command line)"
    assert first(world).outcome is Outcome.ROLLED_BACK
    assert len(world.hubs.effective) == 2
    assert not world.violations


async def test_once_it_is_released_policy_decides_again():
    world = await rolled_back()
    await world.live(hours=1)
    stored = world.findings.rows[world.finding().id]
    await world.findings.save(replace(stored.value, hold=None), stored.etag)
    await world.live(hours=1)
    assert world.tls() == "1.2"
    assert world.state() is State.RESOLVED
    assert world.rollback().state is State.RESOLVED


async def test_the_finding_is_held_before_the_write_and_a_hold_that_stands_stays():
    world = await fixed()
    stored = world.findings.rows[world.finding().id]
    standing = Hold("Jo", world.clock.now(), "mine")
    await world.findings.save(replace(stored.value, hold=standing), stored.etag)
    await ask_back(world)
    await say_yes(world)
    await world.run()
    assert world.finding().hold == standing
    other = await rolled_back()
    told = [(kind, details.get("reason") or details.get("outcome")) for kind, details in other.audit.lines]
    why = f"held by Kim (command line): rolled back ({first(other).id}): the old gateways need it"
    held = told.index(("finding", why))
    assert held < max(i for i, line in enumerate(told) if line == ("write", "about to be sent"))
    assert why in [step.reason for step in other.finding().history]


async def test_a_rejected_rollback_changes_nothing_and_is_over_with_the_next_look():
    world = await fixed()
    waiting = await ask_back(world)
    await reject(world.ports, waiting.id, plan=waiting.proposal.digest, by=ROBIN, reason="no")
    await world.live(hours=1)
    assert world.rollback().state is State.RESOLVED
    assert world.tls() == "1.2"
    assert world.finding().hold is None
    assert not world.tickets.open_ones


async def test_nobody_decides_in_time():
    world = await fixed()
    await ask_back(world)
    world.clock.turn(hours=25)
    await expire(world.ports)
    assert world.rollback().state is State.TICKETED
    assert len(world.tickets.open_ones) == 1
    again = await ask_back(world, reason="once more")
    assert again.state is State.AWAITING_APPROVAL
    assert len(world.tickets.open_ones) == 1
    world.clock.turn(hours=25)
    await world.sweep()
    assert world.rollback().state is State.TICKETED
    world.clock.turn(hours=25)
    await world.sweep()
    assert world.rollback().state is State.RESOLVED, "it has come to nothing"
    assert not world.tickets.open_ones
    assert world.hubs.count("put") == 1


async def test_an_elsewhere_changed_hub_voids_the_yes_and_people_are_asked_again():
    world = await fixed()
    waiting = await ask_back(world)
    await say_yes(world)
    world.hubs.change(path=("tags", "shift"), value="night")
    await world.run()
    asked = world.rollback()
    assert asked.state is State.AWAITING_APPROVAL
    assert asked.proposal.digest != waiting.proposal.digest
    assert world.hubs.count("put") == 1
    await say_yes(world)
    await world.run()
    assert world.tls() == "1.0"
    assert world.hubs.hubs[HUB].body["tags"]["shift"] == "night"


@pytest.mark.parametrize("approved", [False, True])
async def test_a_rollback_has_no_object_once_somebody_has_changed_its_place(approved):
    world = await fixed()
    await ask_back(world)
    if approved:
        await say_yes(world)
    world.hubs.change(value="1.3")
    await world.run()
    await world.sweep()
    over = world.rollback()
    assert over.state is State.RESOLVED
    assert "no object any more" in over.history[-1].reason
    assert world.tls() == "1.3"
    assert world.hubs.count("put") == 1
    assert world.finding().hold is None
    assert not world.tickets.open_ones


async def test_a_rollback_that_is_denied_is_for_people_and_the_hold_stays():
    world = await fixed()
    await ask_back(world)
    await say_yes(world)
    world.hubs.faults["put"] = [DeniedError("ScopeLocked")]
    await world.run()
    assert world.rollback().state is State.TICKETED
    assert world.finding().hold is not None
    assert world.tls() == "1.2"
    await ask_back(world, reason="the lock is gone")
    await say_yes(world)
    await world.run()
    assert world.tls() == "1.0"
    assert not world.tickets.open_ones


@pytest.mark.parametrize("applied", [True, False])
async def test_a_rollback_of_which_it_is_not_known_whether_it_arrived_is_looked_after(applied):
    world = await fixed()
    await ask_back(world)
    await say_yes(world)
    error = TransientError("504", sent=True)
    error.applied = applied
    world.hubs.faults["put"] = [error]
    await world.live(hours=1)
    assert world.tls() == "1.0"
    assert world.rollback().state is State.RESOLVED
    assert len(world.hubs.effective) == 2
    outcomes = [one.outcome for one in world.remediations.all if one.rolls_back]
    assert outcomes == ([Outcome.PROVEN] if applied else [Outcome.PROVEN, Outcome.NOT_WRITTEN])
    assert not world.violations


async def test_a_rollback_without_effect_is_for_people():
    world = await fixed()
    await ask_back(world)
    await say_yes(world)
    world.hubs.no_effect = True
    await world.run()
    over = world.rollback()
    assert over.state is State.TICKETED
    assert "the hub is not as it was before the fix: properties.minTlsVersion is '1.2', not '1.0'" in (
        over.history[-1].reason
    )
    assert max(world.remediations.all, key=lambda one: one.at).outcome is Outcome.NOT_PROVEN
    assert first(world).outcome is Outcome.PROVEN


async def test_whoever_asks_for_it_is_not_the_one_who_approves_it_where_four_eyes_are_wanted():
    world = World(more="approvals: {four_eyes: [tls-minimum]}\n")
    await fixed(world)
    await ask_back(world)
    with pytest.raises(NotYoursError):
        await say_yes(world, by=KIM)
    assert (await say_yes(world)).state is State.APPROVED


async def test_a_rollback_cannot_be_rolled_back_nor_twice():
    world = await rolled_back()
    with pytest.raises(NotRolledBackError, match="rolled back already"):
        await ask_back(world)
    second = max(world.remediations.all, key=lambda one: one.at)
    assert second.rolls_back == first(world).id
    with pytest.raises(NotRolledBackError, match=f"release .*{world.finding().id}"):
        await ask_for_rollback(world.ports, second.id, by=KIM, reason="again")


async def test_a_rollback_goes_on_although_its_rule_is_off_or_only_reports():
    for mode in ("off", "report"):
        world = await fixed()
        await ask_back(world)
        world.policy = policy(mode)
        await say_yes(world)
        await world.live(hours=1)
        assert world.tls() == "1.0", mode
        assert world.rollback().state is State.RESOLVED


async def test_what_is_missing_to_be_held_keeps_the_rollback_from_being_written():
    world = await fixed()
    await ask_back(world)
    await say_yes(world)
    del world.findings.rows[world.finding().id]
    await world.run()
    assert world.hubs.count("put") == 1
    assert world.rollback().state is State.TICKETED
    assert "not there to be put on hold" in world.rollback().history[-1].reason


async def test_a_message_that_comes_again_finds_nothing_to_do():
    world = await rolled_back()
    puts = world.hubs.count("put")
    for message, _ in list(world.work.sent):
        await world.handle(message)
    await world.handle(RemediateMessage(hub=HUB.path))
    await world.handle(ask(at=world.clock.now()))
    assert world.hubs.count("put") == puts
    assert world.tls() == "1.0"


# --- crashes


async def flow(world, kill_at=None):
    """From the wish to the proof; a worker that dies is followed by sweeps, as in life."""
    await fixed(world)
    await ask_back(world)
    await say_yes(world)
    start = world.gates.passed
    if kill_at is not None:
        world.gates.kill_at = start + kill_at
    await world.run()
    return world.gates.passed - start


async def test_a_worker_that_dies_at_any_port_call_of_a_rollback_leaves_no_gap():
    """Whatever dies when: it is rolled back once, and no sweep in between or afterwards fixes it again."""
    passed = await flow(World())
    assert passed > 40
    for k in range(1, passed + 1):
        world = World()
        await flow(world, k)
        assert world.killed, k
        await world.live(hours=2)
        assert world.tls() == "1.0", (k, world.log)
        assert world.rollback().state is State.RESOLVED, (k, world.log)
        assert world.finding().hold is not None, k
        assert world.state() is State.HELD, k
        assert len(world.hubs.effective) == 2, (k, world.log)
        assert not world.violations, k
        assert not world.in_flight()
        assert not world.tickets.open_ones
        assert not world.work.poison


@pytest.mark.parametrize("kind", ["refused", "no effect"])
async def test_a_worker_that_dies_at_any_port_call_of_a_rollback_that_fails_leaves_the_hub_looked_at(kind):
    k = 0
    while True:
        k += 1
        world = await fixed()
        await ask_back(world)
        await say_yes(world)
        if kind == "refused":
            world.hubs.faults["put"] = [PermanentError("400")] * 9
        else:
            world.hubs.no_effect = True
        world.gates.kill_at = world.gates.passed + k
        await world.run()
        if not world.killed:
            break
        await world.live(hours=2)
        # Where it is not known whether the write arrived, people are asked once more.
        told = {State.TICKETED, State.RESOLVED, State.AWAITING_APPROVAL}
        assert world.rollback().state in told, (k, world.log)
        assert not world.in_flight(), k
        assert not world.violations, k
        assert not world.work.poison, k
        assert (await world.sweep()).unknown == {}, k
    assert k > 40


# --- targets beside the hub's body, and several rules


def logs_are_right(snapshot, settings):
    data = snapshot.read(Facet.DIAGNOSTICS)
    if isinstance(data, Unread):
        yield Unknown(data.reason)
    elif ours(data) == RIGHT:
        yield Compliant()
    else:
        yield Drift("the logs are not sent")


def ours(data):
    return next(setting["properties"] for setting in data["settings"] if setting["name"] == "hubwarden")


RIGHT, WRONG = {"logs": [1]}, {"logs": [], "x": None}
LOGS = replace(
    RULES[0], id="logs", reads=(Facet.HUB, Facet.DIAGNOSTICS), settings=RuleSettings, detect=logs_are_right
)
PUT_LOGS = replace(
    REMEDIATORS["tls-minimum"],
    rule_id="logs",
    paths=(),
    beyond=((Target.DIAGNOSTICS, ("hubwarden",)),),
    plan=lambda drift, snapshot, settings: iter(
        [Change(("hubwarden",), ours(snapshot.read(Facet.DIAGNOSTICS)), RIGHT, "logs", Target.DIAGNOSTICS)]
    ),
    warn=lambda *_: iter(()),
)


async def logs_fixed(more=""):
    world = World(rules=(*RULES, LOGS), remediators={**REMEDIATORS, "logs": PUT_LOGS}, more=more)
    world.hubs.facets["diagnostics"]["settings"].append({"name": "hubwarden", "properties": WRONG})
    world.hubs.add()
    await world.sweep()
    await world.run()
    assert ours(world.hubs.facets["diagnostics"]) == RIGHT
    return world


@pytest.mark.parametrize("mode", ["auto", "off"])
async def test_a_setting_is_put_back_also_where_its_rule_is_off_by_now(mode):
    world = await logs_fixed()
    world.policy = policy(mode, rules=world.rules)
    await ask_back(world)
    await say_yes(world)
    await world.live(hours=1)
    assert ours(world.hubs.facets["diagnostics"]) == WRONG
    assert world.rollback().state is State.RESOLVED
    assert world.hubs.count("put_diagnostics") == 2


async def test_of_several_rules_the_strictest_says_who_must_agree_and_what_is_read_is_what_is_changed():
    world = await logs_fixed(more="approvals: {four_eyes: [tls-minimum]}\n")
    kept = first(world)
    world.remediations.kept[kept.id] = replace(kept, rules=("logs", "tls-minimum"))
    assert (await ask_back(world)).rule_id == "tls-minimum"
    await say_yes(world)
    await world.live(hours=1)
    assert ours(world.hubs.facets["diagnostics"]) == WRONG


async def test_what_cannot_be_read_for_now_is_waited_for():
    world = await logs_fixed()
    await ask_back(world)
    await say_yes(world)
    world.hubs.faults["diagnostics"] = [TransientError("503")]
    await world.run()
    assert ours(world.hubs.facets["diagnostics"]) == WRONG
    assert world.rollback().state is State.RESOLVED
    assert "tried" not in " ".join(step.reason for step in world.rollback().history)


async def test_what_may_not_be_read_any_more_is_for_people():
    world = await logs_fixed()
    await ask_back(world)
    await say_yes(world)
    world.hubs.faults["diagnostics"] = [DeniedError("403 no right")]
    await world.run()
    assert world.rollback().state is State.TICKETED
    assert "could not be read: 403 no right" in world.rollback().history[-1].reason
    assert world.hubs.count("put_diagnostics") == 1


async def test_what_the_fix_does_not_declare_is_not_written_back():
    world = await fixed()
    narrower = replace(REMEDIATORS["tls-minimum"], paths=())
    for remediators in ({"tls-minimum": narrower}, {}):
        world.remediators = remediators
        with pytest.raises(NotRolledBackError, match="does not declare"):
            await ask_back(world)


async def test_whoever_approves_is_told_that_code_manages_the_hub():
    world = await fixed()
    world.policy = policy("auto", more="iac_markers: [terraform]\n")
    world.hubs.change(path=("tags", "terraform"), value="yes")
    waiting = await ask_back(world)
    assert any("terraform" in warning and "undo this rollback" in warning for warning in waiting.proposal.warnings)


# --- what has changed since the yes


@pytest.mark.parametrize("approved", [True, False], ids=["approved", "waiting"])
async def test_a_rollback_that_is_held_is_not_written_and_is_asked_about_anew_once_it_is_released(approved):
    world = await fixed()
    await ask_back(world)
    if approved:
        await say_yes(world)
    held = await operate.hold(world.ports, world.rollback().id, by="Chris", reason="not now")
    await world.live(hours=1)
    assert (world.tls(), world.rollback().state) == ("1.2", State.HELD)
    with pytest.raises(NotAskedError):
        await say_yes(world)
    await operate.release(world.ports, held.id, by="Chris")
    await world.live(hours=1)
    assert (world.tls(), world.rollback().state) == ("1.2", State.AWAITING_APPROVAL)
    await say_yes(world)
    await world.run()
    assert world.tls() == "1.0"


async def test_a_hold_that_came_during_a_write_that_did_not_go_out_stops_the_next_try():
    world = await fixed()
    await ask_back(world)
    await say_yes(world)
    world.hubs.faults["put"] = [TransientError("429", retry_after=timedelta(seconds=60))]
    await world.run(until=timedelta(seconds=5))
    stored = await world.findings.find(world.rollback().id)
    await world.findings.save(replace(stored.value, hold=Hold("Chris", world.clock.now(), "stop")), stored.etag)
    await world.live(hours=1)
    assert (world.tls(), world.rollback().state) == ("1.2", State.HELD)


async def test_what_waits_while_a_hold_is_on_it_takes_no_yes():
    world = await fixed()
    await ask_back(world)
    stored = await world.findings.find(world.rollback().id)
    await world.findings.save(replace(stored.value, hold=Hold("Chris", world.clock.now(), "stop")), stored.etag)
    with pytest.raises(NotAskedError, match="is held by Chris: stop"):
        await say_yes(world)


async def test_a_rollback_that_is_over_and_held_is_not_asked_for_again():
    world = await fixed()
    await ask_back(world)
    await operate.hold(world.ports, world.rollback().id, by="Chris", reason="never")
    world.hubs.change(value="1.1")
    await world.sweep()
    assert world.rollback().state is State.RESOLVED
    with pytest.raises(NotRolledBackError, match="is held by Chris: never"):
        await ask_back(world)


async def test_a_yes_to_a_rollback_ends_while_policy_observes_though_no_look_comes_between():
    world = await fixed()
    await ask_back(world)
    await say_yes(world)
    world.policy = policy("auto", more="enforcement: observe\n")
    await world.run()
    assert world.rollback().state is State.RESOLVED
    world.policy = policy("auto")
    await world.live(hours=1)
    assert world.tls() == "1.2"


async def test_a_lock_forbids_a_rollback_before_anything_is_held_or_written():
    world = await fixed()
    await ask_back(world)
    await say_yes(world)
    world.hubs.read_only = [HUB.path]
    await world.run()
    assert world.rollback().state is State.TICKETED
    assert f"a ReadOnly lock on {HUB.path} forbids it" in world.rollback().history[-1].reason
    assert (world.hubs.count("put"), world.finding().hold) == (1, None)


async def test_a_rollback_of_which_more_must_agree_by_now_is_asked_about_anew():
    world = await fixed()
    await ask_back(world)
    await say_yes(world)
    world.policy = policy("auto", more="approvals: {needed: {tls-minimum: 2}}\n")
    await world.live(hours=1)
    assert (world.tls(), world.rollback().state) == ("1.2", State.AWAITING_APPROVAL)


async def test_a_rollback_of_an_exempt_drift_takes_a_yes():
    world = await fixed()
    await ask_back(world)
    world.policy = policy(
        more=f"exemptions: [{{rule: tls-minimum, hub: {HUB.path}, until: 2027-01-10, reason: r, owner: o}}]\n"
    )
    await say_yes(world)
    await world.run()
    assert world.tls() == "1.0"


async def test_a_rollback_that_waits_is_listed_although_its_rule_is_off():
    world = await fixed()
    await ask_back(world)
    world.policy = policy("off")
    assert [finding.id for finding in (await overview(world.ports)).findings] == [world.rollback().id]


async def test_whoever_approves_is_told_that_automatic_fixes_wait():
    world = await fixed()
    world.policy = policy(more="freeze: [{from: 2026-11-01, until: 2026-12-30, reason: the season}]\n")
    told = (await ask_back(world)).proposal.warnings[-1]
    assert "the season" in told
    assert told.endswith("; an approval does not wait.")
    world.policy = policy()
    await world.sweep()
    assert not any("the season" in warning for warning in world.rollback().proposal.warnings)


async def solution_fixed(hubs):
    """A world in which a security solution that watches these hubs was switched on again."""
    rules = tuple(rule for rule in ALL_RULES if rule.id == "defender-hub")
    base = f"/subscriptions/{SUB}/resourceGroups/sec/providers"
    solution = f"{base}/Microsoft.Security/iotSecuritySolutions/main".lower()
    workspace = f"{base}/Microsoft.OperationalInsights/workspaces/w".lower()
    world = World(rules=rules)
    text = (
        f"version: 1\nsubscriptions: [{SUB}]\naccept_risk: [defender-hub]\nrules:\n"
        "  defender-hub:\n    mode: auto\n"
        f"    settings: {{solution: {solution}, workspace: {workspace}}}\n"
    )
    world.policy, problems = check_policy(text, rules, today=START.date())
    assert world.policy is not None, problems
    world.hubs.add(HUB)
    properties = {
        "displayName": "main",
        "status": "Disabled",
        "workspace": workspace,
        "iotHubs": [hub.path for hub in hubs],
        "recommendationsConfiguration": [],
    }
    world.hubs.solutions[solution] = {
        "id": solution, "name": "main", "location": "we", "tags": {}, "properties": properties,
    }  # fmt: skip
    await world.sweep()
    await world.run()
    assert world.hubs.solutions[solution]["properties"]["status"] == "Enabled"
    return world, solution


async def test_what_other_hubs_share_is_not_put_back_for_them_and_their_looks_would_undo_it():
    world, _ = await solution_fixed([HUB, hub_id("other")])
    with pytest.raises(NotRolledBackError, match=f"holds for other hubs too .{hub_id('other').path}.*by hand"):
        await ask_back(world)
    assert world.rollback() is None


async def test_what_other_hubs_share_by_the_time_of_the_write_is_not_written():
    world, solution = await solution_fixed([HUB])
    await ask_back(world)
    await say_yes(world)
    world.hubs.solutions[solution]["properties"]["iotHubs"].append(hub_id("other").path)
    await world.live(hours=1)
    assert world.hubs.solutions[solution]["properties"]["status"] == "Enabled"
    assert world.rollback().state is State.TICKETED


async def test_a_solution_that_nobody_shares_is_put_back_and_stays_so():
    world, solution = await solution_fixed([HUB])
    await ask_back(world)
    await say_yes(world)
    await world.live(hours=2)
    assert world.hubs.solutions[solution]["properties"]["status"] == "Disabled"
    assert world.rollback().state is State.RESOLVED
