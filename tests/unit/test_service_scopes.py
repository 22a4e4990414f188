from __future__ import annotations

from dataclasses import replace

import pytest

from detectors import RULES as ALL_RULES
from hubwarden.domain.approval import Approver, Via
from hubwarden.domain.finding import State
from hubwarden.domain.snapshot import Facet
from hubwarden.service.approve import NotAskedError, approve
from hubwarden.service.desk import ticket_text
from hubwarden.service.overview import overview
from tests.unit.fakes import HUB, World, ask, hub_id


BY_TAG = """\
  tls-minimum:
    mode: report
    scopes:
      - where: {tags: {env: prod}}
        mode: %s
        settings: {minimum: "1.3"}
"""
SAS_OFF = """\
  sas-policies:
    mode: report
    scopes:
      - where: {tags: {env: test}}
        mode: "off"
"""


def by_tag(mode, **more):
    return World({}, more=BY_TAG % mode, **more)


def tag(world, hub=HUB, **tags):
    world.hubs.hubs[hub].body["tags"] = tags
    world.hubs._new_etag(hub)


async def test_a_mode_by_tag_fixes_the_hubs_that_have_it_and_no_other():
    world = by_tag("auto")
    prod, test = world.hubs.add(HUB, minTlsVersion="1.0"), world.hubs.add(hub_id("hub-2"), minTlsVersion="1.0")
    tag(world, prod, Env="PROD")
    tag(world, test, env="test")
    await world.sweep()
    await world.run()
    assert world.state(prod) is State.RESOLVED
    assert world.tls(prod) == "1.3"
    assert world.state(test) is State.REPORTED
    assert [put.hub for put in world.hubs.effective] == [prod]
    assert world.violations == []


async def test_a_tag_that_goes_away_takes_the_permission_with_it():
    world = by_tag("auto")
    world.hubs.add(minTlsVersion="1.0")
    tag(world, env="prod")
    await world.handle(ask())
    assert world.state() is State.APPROVED
    tag(world)
    await world.run()
    assert world.state() is State.REPORTED
    assert world.hubs.effective == []


async def test_a_finding_whose_rule_becomes_off_by_a_tag_is_asked_about_no_more():
    world = by_tag('"off"')
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    assert [finding.state for finding in (await overview(world.ports)).findings] == [State.REPORTED]
    tag(world, env="prod")
    await world.sweep()
    assert "tls-minimum" not in world.record().unknown
    assert world.record().tags["env"] == "prod"
    known = await overview(world.ports)
    assert known.not_judged == ()


async def test_a_yes_is_not_taken_while_a_tag_that_policy_asks_about_by_now_is_not_known():
    world = World("approve")
    world.hubs.add(minTlsVersion="1.0")
    tag(world, tier="gold")
    await world.sweep()
    finding = world.finding()
    yes = {"plan": finding.proposal.digest, "by": Approver("Robin", Via.COMMAND_LINE), "reason": "x"}
    spared = "    scopes:\n      - {where: {tags: {tier: %s}}, mode: report}\n"
    world.policy = World({}, more="  tls-minimum:\n    mode: approve\n" + spared % "silver").policy
    with pytest.raises(NotAskedError, match="mode is report by now"):
        await approve(world.ports, finding.id, **yes)
    await world.sweep()
    assert world.finding().proposal.digest == yes["plan"]
    assert (await approve(world.ports, finding.id, **yes)).state is State.APPROVED


async def test_the_ticket_tells_the_settings_of_the_hubs_scope_also_at_the_first_look():
    world = by_tag("ticket")
    world.hubs.add(minTlsVersion="1.0")
    tag(world, env="prod")
    await world.sweep()
    [ticket] = world.tickets.open_ones
    [command] = [line for line in ticket.text.splitlines() if line.startswith("By command line")]
    assert "1.3" in command
    assert command not in ticket_text(world.ports, replace(world.finding(), tags={}))


@pytest.mark.parametrize(("env", "read"), [("test", False), ("prod", True)])
async def test_what_a_scope_switches_off_costs_no_calls_and_counts_for_no_facet(env, read):
    rules = tuple(rule for rule in ALL_RULES if rule.id in {"tls-minimum", "sas-policies"})
    world = World({"tls-minimum": "report"}, rules=rules, more=SAS_OFF)
    world.hubs.add()
    tag(world, env=env)
    record = await world.sweep()
    assert world.hubs.count("policies") == read
    assert (record.facets, record.facets_read) == ((2, 2) if read else (1, 1))
    assert record.complete
    assert world.record().looked_at is not None
    assert ("sas-policies" in world.record().verdicts) is read


async def test_a_hub_that_cannot_be_read_counts_all_facets_that_there_may_be():
    rules = tuple(rule for rule in ALL_RULES if rule.id in {"tls-minimum", "sas-policies"})
    world = World({"tls-minimum": "report"}, rules=rules, more=SAS_OFF)
    world.hubs.add()
    world.hubs.busy_for(minutes=5)
    record = await world.sweep()
    assert (record.facets, record.facets_read) == (2, 0)
    assert Facet.POLICIES in {facet for rule in rules for facet in rule.reads}
