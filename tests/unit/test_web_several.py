"""Several requests decided on one page: what belongs together, and every way in which it must not."""

from __future__ import annotations

import asyncio
import re

from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from hubwarden.domain.approval import Approver, Ask, Via
from hubwarden.domain.finding import State
from hubwarden.domain.message import Kind
from hubwarden.domain.severity import Severity
from hubwarden.service.approve import approve, reject
from hubwarden.service.messages import RemediateMessage
from hubwarden.web.links import SEVERAL, Links
from hubwarden.web.requests import Request
from hubwarden.web.routes import Door, answered
from tests.unit.fakes import FakeChannel, FakeOutbox, World, hub_id
from tests.unit.test_service_remediate import two_rules
from tests.unit.test_web_approvals import FORM, KEY, FakeNonces, signed_in


KIM = Approver("Kim", Via.COMMAND_LINE)


class Front:
    """A world in which several plans wait, and the door to them."""

    def __init__(self, world, *, signs_in=False):
        self.world = world
        self.links = Links((KEY,), "https://app.example")
        self.door = Door(world.ports, links=self.links, hook_keys=(), nonces=FakeNonces(), signs_in=signs_in)
        self.asked = sorted(world.findings.all, key=lambda finding: finding.hub.name)

    @property
    def ids(self):
        return [finding.id for finding in self.asked]

    def request(self, findings=None, **more):
        asks = [Ask(finding.id, finding.proposal.digest) for finding in findings or self.asked]
        url = urlsplit(self.links.url(asks, self.world.clock.now() + timedelta(hours=1)))
        return replace(Request(url.path.rpartition("/")[2], dict(parse_qsl(url.query))), **more)

    async def show(self, **more):
        return await answered(self.door.show(self.request(**more)))

    async def csrf(self, **more):
        return re.search(r'name="csrf" value="([^"]+)"', (await self.show(**more)).body)[1]

    async def post(self, decision="approve", reason="planned", *, ticked=None, csrf=None, **more):
        headers = more.pop("headers", {})
        token = await self.csrf(headers=headers) if csrf is None else csrf
        fields = [("csrf", token), ("decision", decision), ("reason", reason)]
        fields += [("request", name) for name in (self.ids if ticked is None else ticked)]
        body = urlencode(fields).encode()
        return await answered(self.door.decide(self.request(**{"headers": FORM | headers, "body": body} | more)))

    @property
    def states(self):
        return {finding.hub.name: finding.state for finding in self.world.findings.all}

    @property
    def refusals(self):
        return self.world.audit.of("approval_refused")

    def untouched(self):
        assert set(self.states.values()) == {State.AWAITING_APPROVAL}
        assert self.world.work.of(RemediateMessage) == []
        assert self.world.audit.of("approval") == []
        return True


async def asked(hubs=3, more="", **options):
    world = World("approve", more=more)
    for number in range(1, hubs + 1):
        world.hubs.add(hub_id(f"hub-{number}"), minTlsVersion=f"1.{number % 2}")
    await world.sweep()
    await world.run()
    return Front(world, **options)


async def asked_twice_of_one_hub():
    world = World("approve", **two_rules())
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    await world.run()
    assert len(world.findings.all) == 2
    return Front(world)


async def test_a_page_shows_every_plan_and_changes_nothing_however_often_it_is_opened():
    front = await asked()
    for _ in range(3):
        answer = await front.show()
        assert answer.status == 200
        for finding in front.asked:
            assert finding.hub.name in answer.body
            assert f'value="{finding.id}" checked' in answer.body
        assert answer.body.count("properties.minTlsVersion") == 3
    assert front.untouched()


async def test_one_form_approves_all_and_every_hub_is_fixed():
    front = await asked()
    answer = await front.post(reason="the new gateway")
    assert answer.status == 200
    assert "Your decision is taken" in answer.body
    assert set(front.states.values()) == {State.APPROVED}
    await front.world.run()
    assert set(front.states.values()) == {State.RESOLVED}
    assert len(front.world.hubs.effective) == 3
    assert len(front.world.audit.of("approval")) == 3
    assert front.world.violations == []


async def test_what_is_approved_of_one_hub_is_written_with_one_request():
    """One by one, the first write would void the plan of the second."""
    front = await asked_twice_of_one_hub()
    assert (await front.post()).status == 200
    assert len(front.world.work.of(RemediateMessage)) == 1
    await front.world.run()
    assert len(front.world.hubs.effective) == 1
    assert {finding.state for finding in front.world.findings.all} == {State.RESOLVED}


async def test_only_what_is_ticked_is_decided():
    front = await asked()
    answer = await front.post("reject", "a test hub", ticked=front.ids[:1])
    assert answer.status == 200
    assert list(front.states.values()).count(State.REJECTED) == 1
    assert front.states["hub-1"] is State.REJECTED
    assert "Still waiting: 2 of 3" in answer.body
    assert front.world.work.of(RemediateMessage) == []


async def test_what_cannot_be_decided_any_more_holds_up_no_other_and_is_told_and_audited():
    front = await asked()
    csrf, request = await front.csrf(), front.request()
    first, second, _ = front.asked
    await reject(front.world.ports, first.id, plan=first.proposal.digest, by=KIM, reason="not here")
    await front.world.drift(second.hub, value="1.0" if second.evidence.get("found") != "1.0" else "1.1")
    await front.world.run()
    body = urlencode(
        [("csrf", csrf), ("decision", "approve"), ("reason", ""), *(("request", i) for i in front.ids)]
    )
    answer = await answered(front.door.decide(replace(request, headers=FORM, body=body.encode())))
    assert answer.status == 200
    assert "Not all of it was taken" in answer.body
    assert "it is rejected: rejected by Kim" in answer.body
    assert "asks about plan" in answer.body
    assert front.states == {
        "hub-1": State.REJECTED, "hub-2": State.AWAITING_APPROVAL, "hub-3": State.APPROVED
    }  # fmt: skip
    assert [line["finding"] for line in front.refusals] == front.ids[:2]


async def test_once_all_is_decided_the_page_says_how_and_takes_nothing():
    front = await asked()
    csrf, request = await front.csrf(), front.request()
    await front.post("reject", "never <b>here</b>")
    answer = await front.post(csrf=csrf)
    assert answer.status == 409
    assert answer.body.count("never &lt;b&gt;here&lt;/b&gt;") == 3
    assert "<form" not in answer.body
    shown = await front.door.show(request)
    assert (shown.status, "All of this is decided" in shown.body) == (200, True)
    assert set(front.states.values()) == {State.REJECTED}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"query": {}}, 400),
        ({"place": "f-0123456789abcdef"}, 400),
        ({"place": "../../x"}, 400),
        ({"csrf": ""}, 403),
        ({"ticked": []}, 422),
        ({"decision": "maybe"}, 422),
        ({"decision": "reject", "reason": " "}, 422),
        ({"reason": "x" * 1001}, 422),
        ({"ticked": ["f-0123456789abcdef"]}, 400),
        ({"body": b"csrf=a&decision=approve&request=f-1&request=f-1"}, 400),
        ({"body": b"csrf=a&decision=approve&decision=reject"}, 400),
        ({"body": b"csrf=a&decision=approve" + b"&request=f" * 100}, 400),
        ({"headers": {"content-type": "application/json"}}, 415),
    ],
)
async def test_a_form_that_is_not_right_decides_nothing_and_is_audited(change, status):
    front = await asked()
    if change.keys() & {"query", "place"}:
        change |= {"csrf": "x"}
    answer = await front.post(**change)
    assert answer.status == status
    assert [line["status"] for line in front.refusals] == [status]
    assert front.untouched()


async def test_what_was_ticked_and_written_is_not_lost_with_a_mistake():
    front = await asked()
    answer = await front.post("reject", " ", ticked=front.ids[1:])
    assert f'value="{front.ids[0]}">' in answer.body
    assert f'value="{front.ids[1]}" checked>' in answer.body
    assert "Give a reason" in answer.body


@pytest.mark.parametrize("name", ["v", "p", "e", "s"])
async def test_a_tampered_link_tells_nothing_and_decides_nothing(name):
    front = await asked()
    query = dict(front.request().query)
    query[name] = query[name][:-1] + ("1" if query[name][-1] != "1" else "2")
    answer = await front.post(csrf=await front.csrf(), query=query)
    assert answer.status in {400, 403}
    assert "hub-1" not in answer.body
    assert front.untouched()


async def test_the_form_of_another_links_page_does_not_count():
    front = await asked()
    request = front.request(front.asked[:2])
    csrf = re.search(r'name="csrf" value="([^"]+)"', (await front.door.show(request)).body)[1]
    assert (await front.post(csrf=csrf)).status == 403
    assert front.untouched()


async def test_of_fifty_at_once_each_hub_is_decided_once_and_written_once():
    front = await asked()
    csrf = await front.csrf()
    answers = await asyncio.gather(*(front.post(reason=str(i), csrf=csrf) for i in range(50)))
    assert {answer.status for answer in answers} == {200, 409}
    assert len(front.world.work.of(RemediateMessage)) == 3
    await front.world.run()
    assert set(front.states.values()) == {State.RESOLVED}
    assert len(front.world.hubs.effective) == 3
    assert front.world.violations == []


async def test_four_eyes_and_two_who_must_agree_hold_for_each():
    front = await asked(more="approvals:\n  needed: {tls-minimum: 2}\n", signs_in=True)
    first = await front.post(headers=signed_in())
    assert first.status == 200
    assert first.body.count("1 of 2 have agreed so far: Kim (signed in)") == 3
    assert set(front.states.values()) == {State.AWAITING_APPROVAL}
    again = await front.post(headers=signed_in())
    assert again.status == 409
    assert again.body.count("Kim (signed in) has agreed already") == 3
    assert (await front.post(headers=signed_in("Robin", "r-1"))).status == 200
    assert set(front.states.values()) == {State.APPROVED}


async def test_a_finding_that_is_not_known_any_more_is_left_out():
    front = await asked()
    request = front.request()
    del front.world.findings.rows[front.ids[0]]
    shown = await front.door.show(request)
    assert (shown.status, "hub-1" in shown.body, "hub-2" in shown.body) == (200, False, True)
    front.world.findings.rows.clear()
    assert (await front.door.show(request)).status == 404


# --- how one comes to such a page
async def test_whoever_proves_a_role_finds_the_way_to_more_and_whoever_holds_a_link_does_not():
    front = await asked(more="approvals:\n  required_roles: [ops]\n", signs_in=True)
    one = front.request(front.asked[:1])
    shown = await front.door.show(replace(one, headers=signed_in(roles=["ops"])))
    [url] = re.findall(r'href="(https://app\.example/api/approvals/several[^"]+)"', shown.body)
    assert "Decide on the 3 requests of tls-minimum on all hubs" in shown.body
    query = dict(parse_qsl(urlsplit(url.replace("&amp;", "&")).query))
    wider = await front.door.show(Request(SEVERAL, query, signed_in(roles=["ops"])))
    assert (wider.status, "hub-3" in wider.body) == (200, True)
    bearer = await asked()
    shown = await bearer.door.show(bearer.request(bearer.asked[:1]))
    assert f"/{SEVERAL}" not in shown.body
    assert "hub-2" not in shown.body


NOTIFY = """
notify:
  channels: {ops: {kind: teams}, secure: {kind: slack}}
  routes:
    - {channels: [ops], min_severity: %s}
    - {channels: [secure], min_severity: critical}
"""


def listening(severity="low", **options):
    world = World("approve", more=NOTIFY % severity, **options)
    world.outbox = FakeOutbox(world.gates, world.log)
    world.channels = {"ops": FakeChannel(), "secure": FakeChannel()}
    world.links = Links((KEY,), "https://app.example")
    return world


async def told(world):
    await world.sweep()
    await world.run(until=timedelta(minutes=2))
    assert not world.channels["secure"].sent
    return [message for message in world.channels["ops"].sent if message.kind is Kind.ASKED]


def read(url, world):
    parts = urlsplit(url)
    return world.links.read(parts.path.rpartition("/")[2], dict(parse_qsl(parts.query)), world.clock.now()).asks


async def test_a_message_of_several_hubs_has_one_page_for_all_and_one_for_each():
    world = listening()
    for number in range(1, 4):
        world.hubs.add(hub_id(f"hub-{number}"), minTlsVersion="1.0")
    (message,) = await told(world)
    ((label, url),) = message.together
    assert label == "Decide on all 3"
    assert {ask.finding_id for ask in read(url, world)} == {finding.id for finding in world.findings.all}
    assert [len(read(item.url, world)) for item in message.items] == [1, 1, 1]


async def test_the_page_of_one_hub_holds_all_that_waits_there_and_was_told_to_the_same_channel():
    world = listening(**two_rules())
    world.hubs.add(minTlsVersion="1.0")
    messages = await told(world)
    assert len(messages) == 2
    for message in messages:
        assert len(read(message.items[0].url, world)) == 2


async def test_what_a_channel_is_not_told_it_cannot_decide():
    made = two_rules()
    low, high = made["rules"]
    made["rules"] = (replace(low, severity=Severity.LOW), replace(high, severity=Severity.HIGH))
    world = listening("high", **made)
    world.hubs.add(minTlsVersion="1.0")
    (message,) = await told(world)
    (ask,) = read(message.items[0].url, world)
    assert ask.finding_id == message.about[0].finding


async def test_a_request_that_was_decided_meanwhile_has_no_link():
    world = listening()
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    finding = world.finding()
    await approve(world.ports, finding.id, plan=finding.proposal.digest, by=KIM, reason="fine")
    await world.run(until=timedelta(minutes=2))
    (message,) = [message for message in world.channels["ops"].sent if message.kind is Kind.ASKED]
    assert message.items[0].url is None
