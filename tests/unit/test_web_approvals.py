"""The door: what a link and a webhook can do, and every way in which they must not."""

from __future__ import annotations

import asyncio
import base64
import json
import re

from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

import jsonschema
import pytest

from hubwarden.domain.approval import Ask
from hubwarden.domain.finding import State
from hubwarden.service.messages import RemediateMessage
from hubwarden.web.links import Links
from hubwarden.web.openapi import DOCUMENT
from hubwarden.web.requests import Request
from hubwarden.web.routes import Door, answered, openapi
from hubwarden.web.webhook import LONGEST_BODY, sign
from tests.unit.fakes import HUB, SOMEBODY, World


KEY, HOOK = b"k" * 40, b"h" * 40
OID = "http://schemas.microsoft.com/identity/claims/objectidentifier"
FORM = {"content-type": "application/x-www-form-urlencoded"}


class FakeNonces:
    def __init__(self):
        self.used = {}

    async def first_use(self, nonce, until):
        known = nonce in self.used
        self.used.setdefault(nonce, until)
        return not known

    async def forget(self, now):
        self.used = {nonce: until for nonce, until in self.used.items() if until >= now}


class Front:
    """A world in which a plan waits, and the door to it."""

    def __init__(self, world, *, signs_in=False, keys=(KEY,), hook_keys=(HOOK,)):
        self.world = world
        self.links = Links(keys, "https://app.example") if keys else None
        self.door = Door(
            world.ports, links=self.links, hook_keys=hook_keys, nonces=FakeNonces(), signs_in=signs_in
        )
        self.proposal = world.finding().proposal

    @property
    def asks(self):
        return [Ask(self.world.finding().id, self.proposal.digest)]

    @property
    def url(self):
        until = self.world.policy.approvals.expires_at(self.proposal)
        return (self.links or Links((KEY,), "")).url(self.asks, until)

    def request(self, **more):
        query = dict(parse_qsl(urlsplit(self.url).query))
        return replace(Request(self.world.finding().id, query), **more)

    async def show(self, **more):
        return await answered(self.door.show(self.request(**more)))

    async def csrf(self, **more):
        found = re.search(r'name="csrf" value="([^"]+)"', (await self.show(**more)).body)
        return found[1]

    async def post(self, decision="approve", reason="planned", *, csrf=None, **more):
        headers = more.pop("headers", {})
        token = await self.csrf(headers=headers) if csrf is None else csrf
        body = urlencode({"csrf": token, "decision": decision, "reason": reason}).encode()
        request = self.request(**{"headers": FORM | headers, "body": body} | more)
        return await answered(self.door.decide(request))

    def said(self, **more):
        wanted = {
            "decision": "approve",
            "reason": "planned",
            "approver": "Kim",
            "plan_digest": self.proposal.digest,
        }
        return json.dumps(wanted | more).encode()

    async def hook(self, body=None, *, key=HOOK, at=None, headers=None, **more):
        body = self.said() if body is None else body
        signature = sign(key, body, at or self.world.clock.now())
        sent = {"content-type": "application/json", "x-hubwarden-signature": signature} | (headers or {})
        return await answered(self.door.hook(self.request(query={}, headers=sent, body=body, **more)))

    @property
    def refusals(self):
        return self.world.audit.of("approval_refused")

    def untouched(self):
        assert self.world.state() is State.AWAITING_APPROVAL
        assert self.world.work.of(RemediateMessage) == []
        assert self.world.audit.of("approval") == []
        return True


async def asked(more="", **options):
    world = World("approve", more=more)
    world.hubs.add()
    await world.sweep()
    await world.drift()
    await world.run()
    assert world.state() is State.AWAITING_APPROVAL
    return Front(world, **options)


def signed_in(name="Kim", object_id="k-1", roles=()):
    claims = [{"typ": OID, "val": object_id}, {"typ": "name", "val": name}]
    claims += [{"typ": "roles", "val": role} for role in roles]
    text = json.dumps({"auth_typ": "aad", "claims": claims}).encode()
    return {"x-ms-client-principal": base64.b64encode(text).decode()}


# --- the page
async def test_a_page_shows_the_plan_and_changes_nothing_however_often_it_is_opened():
    front = await asked()
    before = front.world.finding()
    for _ in range(3):
        answer = await front.show()
        assert answer.status == 200
        assert "minTlsVersion" in answer.body
        assert HUB.name in answer.body
    assert front.world.finding() == before
    assert front.untouched()


async def test_a_form_approves_and_the_hub_is_fixed():
    front = await asked()
    answer = await front.post(reason="it is planned")
    assert (answer.status, front.world.state()) == (200, State.APPROVED)
    assert "holder of the link" in answer.body
    await front.world.run()
    assert (front.world.state(), front.world.tls()) == (State.RESOLVED, "1.2")
    ruling = front.world.finding().ruling
    assert (ruling.by, ruling.reason) == ("bearer: holder of the link", "it is planned")


async def test_a_form_rejects():
    front = await asked()
    assert (await front.post("reject", "a test hub")).status == 200
    assert front.world.state() is State.REJECTED


async def test_a_second_post_shows_the_standing_decision_and_who_made_it():
    front = await asked()
    csrf = await front.csrf()
    await front.post("reject", "never <b>here</b>")
    answer = await front.post(csrf=csrf)
    assert answer.status == 409
    assert "bearer: holder of the link" in answer.body
    assert "never &lt;b&gt;here&lt;/b&gt;" in answer.body
    assert front.world.state() is State.REJECTED
    assert [line["status"] for line in front.refusals] == [409]


async def test_the_decision_can_be_read_once_the_drift_has_gone():
    front = await asked()
    url = front.request()
    await front.post()
    await front.world.run()
    answer = await front.door.show(url)
    assert answer.status == 200
    assert "bearer: holder of the link" in answer.body
    assert "<form" not in answer.body


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"query": {}}, 400),
        ({"place": "f-0123456789abcdef"}, 403),
        ({"place": "../../x"}, 400),
        ({"place": "<script>"}, 400),
    ],
)
async def test_a_wrong_link_is_refused_alike_whether_or_not_there_is_such_a_finding(change, status):
    front = await asked()
    for answer in (await front.show(**change), await front.post(csrf="x", **change)):
        assert answer.status == status
        assert HUB.name not in answer.body
        assert "minTls" not in answer.body
    assert [line["status"] for line in front.refusals] == [status, status]
    assert front.untouched()


@pytest.mark.parametrize("name", ["v", "p", "e", "s"])
async def test_a_tampered_link_tells_nothing_and_decides_nothing(name):
    front = await asked()
    query = dict(front.request().query)
    query[name] = query[name][:-1] + ("1" if query[name][-1] != "1" else "2")
    answer = await front.post(csrf=await front.csrf(), query=query)
    assert answer.status in {400, 403}
    assert HUB.name not in answer.body
    assert len(front.refusals) == 1
    assert front.untouched()


async def test_an_expired_link_is_gone():
    front = await asked()
    csrf = await front.csrf()
    front.world.clock.turn(hours=25)
    for answer in (await front.show(), await front.post(csrf=csrf)):
        assert answer.status == 410
        assert HUB.name not in answer.body
    assert front.world.hubs.effective == []


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"csrf": ""}, 403),
        ({"csrf": "1795000000." + "A" * 43}, 403),
        ({"decision": "maybe"}, 422),
        ({"decision": "reject", "reason": "  "}, 422),
        ({"reason": "x" * 1001}, 422),
        ({"headers": {"content-type": "application/json"}}, 415),
        ({"headers": {"content-type": "multipart/form-data; boundary=x"}}, 415),
        ({"body": b"csrf=" + b"x" * LONGEST_BODY}, 413),
        ({"body": b"decision=approve"}, 400),
        ({"body": b"csrf=a&csrf=b&decision=approve"}, 400),
        ({"body": b"csrf=a&decision=approve&reason=r&x=y"}, 400),
        ({"body": b"\xff\xfe"}, 400),
    ],
)
async def test_a_form_that_is_not_right_decides_nothing_and_is_audited(change, status):
    front = await asked()
    answer = await front.post(**change)
    assert answer.status == status
    assert [line["status"] for line in front.refusals] == [status]
    assert front.untouched()


async def test_a_form_of_another_persons_page_does_not_count():
    front = await asked(signs_in=True)
    csrf = await front.csrf(headers=signed_in("Mallory", "m-1"))
    assert (await front.post(csrf=csrf, headers=signed_in())).status == 403
    assert front.untouched()


async def test_a_plan_that_is_asked_about_no_more_is_out_of_date():
    front = await asked()
    url = front.request()
    await front.world.drift(value="1.1")
    await front.world.run()
    shown = await front.door.show(url)
    assert "Out of date" in shown.body
    assert "<form" not in shown.body
    assert (await front.post(csrf="x")).status == 409
    assert front.world.state() is State.AWAITING_APPROVAL
    assert front.world.work.of(RemediateMessage) == []


async def test_without_keys_there_are_no_links():
    front = await asked(keys=())
    assert (await front.show()).status == 404


# --- who
async def test_who_is_signed_in_is_recorded_by_name_and_object_id():
    front = await asked(signs_in=True)
    await front.post(headers=signed_in())
    assert front.world.finding().approval.by == "Kim (signed in)"
    assert front.world.finding().approval.object_id == "k-1"


async def test_the_header_of_a_principal_means_nothing_where_the_platform_does_not_authenticate():
    front = await asked(signs_in=False)
    await front.post(headers=signed_in())
    assert front.world.finding().approval.by == "bearer: holder of the link"


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 403), (signed_in(), 403), (signed_in(roles=["x"]), 403), (signed_in(roles=["ops"]), 200)],
)
async def test_policy_may_ask_for_a_role(headers, status):
    front = await asked("approvals:\n  required_roles: [ops]\n", signs_in=True)
    shown = await front.show(headers=headers)
    assert shown.status == status
    assert (HUB.name in shown.body) is (status == 200)
    if status == 200:
        assert (await front.post(headers=headers)).status == 200
    else:
        assert (await front.hook(headers=headers)).status == 403
        assert front.untouched()


async def test_four_eyes_refuses_whoever_made_the_change():
    front = await asked("approvals:\n  four_eyes: [tls-minimum]\n", signs_in=True)
    answer = await front.post(headers=signed_in("X", SOMEBODY))
    assert answer.status == 403
    assert "somebody else must approve it" in answer.body
    assert front.untouched()


async def test_two_who_must_agree():
    front = await asked("approvals:\n  needed: {tls-minimum: 2}\n", signs_in=True)
    first = await front.post(headers=signed_in())
    assert (first.status, front.world.state()) == (200, State.AWAITING_APPROVAL)
    assert "1 of 2" in first.body
    assert (await front.post(headers=signed_in())).status == 403
    assert (await front.post(headers=signed_in("Robin", "r-1"))).status == 200
    assert front.world.state() is State.APPROVED


# --- the webhook
async def test_a_signed_webhook_approves():
    front = await asked()
    answer = await front.hook()
    told = json.loads(answer.body)
    assert (answer.status, told["state"], told["decided"]["by"]) == (200, "approved", "bearer: Kim")
    await front.world.run()
    assert front.world.tls() == "1.2"


def moved(front, **by):
    return front.world.clock.now() + timedelta(**by)


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (lambda f: {"key": b"x" * 40}, 401),
        (lambda f: {"at": moved(f, minutes=-5, seconds=-1)}, 401),
        (lambda f: {"at": moved(f, minutes=5, seconds=1)}, 401),
        (lambda f: {"headers": {"x-hubwarden-signature": ""}}, 401),
        (lambda f: {"headers": {"x-hubwarden-signature": "t=1,v1=" + "0" * 64}}, 401),
        (lambda f: {"headers": {"x-hubwarden-signature": sign(HOOK, b"{}", moved(f))}}, 401),
        (
            lambda f: {"headers": {"x-hubwarden-signature": sign(HOOK, f.said(), moved(f)).replace("v1", "v0")}},
            401,
        ),
        (
            lambda f: {"headers": {"x-hubwarden-signature": sign(HOOK, f.said(), moved(f)).replace("v1", "v2")}},
            401,
        ),
        (lambda f: {"headers": {"x-hubwarden-signature": "t=1795000000," + sign(HOOK, f.said(), moved(f))}}, 401),
        (lambda f: {"body": f.said(plan_digest="sha256:other")}, 409),
        (lambda f: {"place": "f-0123456789abcdef"}, 404),
        (lambda f: {"headers": {"content-type": "text/plain"}}, 415),
        (lambda f: {"headers": {"content-type": "application/x-www-form-urlencoded"}}, 415),
        (lambda f: {"body": f.said(reason="x" * LONGEST_BODY)}, 413),
        (lambda f: {"body": f.said(decision="maybe")}, 400),
        (lambda f: {"body": f.said(more="x")}, 400),
        (lambda f: {"body": f.said(approver=" ")}, 400),
        (lambda f: {"body": b"{"}, 400),
        (lambda f: {"body": b"[" * 10_000}, 400),
    ],
)
async def test_a_webhook_that_is_not_right_decides_nothing_and_is_audited(make, status):
    front = await asked()
    answer = await front.hook(**make(front))
    assert answer.status == status, answer.body
    jsonschema.validate(json.loads(answer.body), schema("Error"))
    assert [line["status"] for line in front.refusals] == [status]
    assert front.untouched()


async def test_a_webhook_that_is_sent_twice_is_refused_the_second_time():
    front = await asked()
    at = front.world.clock.now()
    body = front.said(plan_digest="sha256:other")
    assert (await front.hook(body, at=at)).status == 409
    again = await front.hook(body, at=at)
    assert json.loads(again.body)["error"]["code"] == "replayed"


@pytest.mark.parametrize("by", [{"minutes": 5}, {"minutes": -5, "seconds": 1}])
async def test_clocks_may_be_five_minutes_apart(by):
    front = await asked()
    assert (await front.hook(at=moved(front, **by))).status == 200


async def test_an_old_key_of_the_webhook_is_still_taken():
    front = await asked(hook_keys=(b"n" * 40, HOOK))
    assert (await front.hook()).status == 200


async def test_without_keys_there_is_no_webhook():
    front = await asked(hook_keys=())
    assert (await front.hook()).status == 404
    assert front.untouched()


async def test_storage_that_is_down_decides_nothing_and_says_so():
    from hubwarden.service.errors import StorageUnavailableError

    class Down(FakeNonces):
        async def first_use(self, nonce, until):
            raise StorageUnavailableError("table x: down")

    front = await asked()
    front.door._hook._nonces = Down()
    assert (await front.hook()).status == 503
    assert front.untouched()


# --- the race
@pytest.mark.parametrize("way", ["page", "webhook", "both"])
async def test_of_fifty_at_once_one_decides_and_the_hub_is_written_once(way):
    front = await asked()
    csrf = await front.csrf()
    pages = [front.post(reason=str(i), csrf=csrf) for i in range(50)]
    hooks = [front.hook(front.said(reason=str(i))) for i in range(50)]
    chosen, others = {"page": (pages, hooks), "webhook": (hooks, pages), "both": (pages[:25] + hooks[:25], [])}[
        way
    ]
    for left in [*others, *(pages[25:] + hooks[25:] if way == "both" else [])]:
        left.close()
    answers = await asyncio.gather(*chosen)
    assert sorted(answer.status for answer in answers) == [200] + [409] * 49
    assert len(front.refusals) == 49
    assert len(front.world.work.of(RemediateMessage)) == 1
    await front.world.run()
    assert front.world.state() is State.RESOLVED
    assert len(front.world.hubs.effective) == 1
    assert front.world.violations == []


# --- the document
def schema(name):
    return {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}


async def test_the_document_is_served_and_says_what_is_answered():
    assert json.loads(openapi().body) == DOCUMENT
    front = await asked()
    jsonschema.validate(json.loads(front.said()), schema("Decision"))
    jsonschema.validate(json.loads((await front.hook()).body), schema("Taken"))
    answer = await front.hook(front.said(reason="again"))
    jsonschema.validate(json.loads(answer.body), schema("Error"))
    assert "decided" in json.loads(answer.body)
