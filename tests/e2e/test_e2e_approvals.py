"""Approving over HTTP: the real runtime, real storage, the simulated Azure; pages, webhook, races and replays."""

from __future__ import annotations

import asyncio
import json
import re

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from azure.storage.blob.aio import BlobServiceClient

from hubwarden.domain.approval import Ask
from hubwarden.web.links import Links
from hubwarden.web.webhook import sign
from local.azurite import why_azurite_cannot_run
from local.scene import lower_tls
from local.stack import APPROVAL_KEY, WEBHOOK_KEY, Options, Stack
from tests.e2e.conftest import ONLY_TLS, Scene


pytestmark = pytest.mark.asyncio(loop_scope="session")
LINK = re.compile(r"^To decide: (\S+)$", re.MULTILINE)
POLICY = ONLY_TLS.replace("mode: auto", "mode: approve")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(tmp_path_factory):
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("approvals")
    async with Stack(folder, POLICY, [], Options(transition=0.2)) as stack:
        yield Scene(stack)


async def waiting(own, name):
    """A hub that has drifted, its finding, and the link from its ticket."""
    await own.new_hub(name)
    await lower_tls(own.somebody, name, "1.0")
    finding = await own.reaches(name, "awaiting_approval")
    ticket = await own.stack.tickets.find_by_key(finding.id)
    return finding, LINK.search(ticket.text)[1]


async def page(own, link):
    async with own.stack.http.get(link) as answer:
        return answer.status, await answer.text(), answer.headers


async def post(own, link, fields=(), **form):
    address, _, query = link.partition("?")
    url = f"{address}/decision?{query}"
    async with own.stack.http.post(url, data=[*fields, *form.items()]) as answer:
        return answer.status, await answer.text()


def csrf(text):
    return re.search(r'name="csrf" value="([^"]+)"', text)[1]


async def hook(own, finding, *, reason="planned", code=None, body=None, signature=None, digest=None):
    wanted = {"decision": "approve", "reason": reason, "approver": "bot for Kim",
              "plan_digest": digest or finding.proposal.digest}  # fmt: skip
    body = json.dumps(wanted).encode() if body is None else body
    headers = {
        "content-type": "application/json",
        "x-functions-key": own.stack.host["function_keys"]["webhook"] if code is None else code,
        "x-hubwarden-signature": signature or sign(WEBHOOK_KEY.encode(), body, datetime.now(UTC)),
    }
    url = f"{own.stack.host['url']}/api/approvals/{finding.id}"
    async with own.stack.http.post(url, data=body, headers=headers) as answer:
        return answer.status, await answer.text()


async def audited(own, kind):
    async with BlobServiceClient.from_connection_string(own.stack.connection_string) as blobs:
        container = blobs.get_container_client("hubwarden-audit")
        texts = [
            await (await container.download_blob(name)).readall() async for name in container.list_blob_names()
        ]
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    return [line for line in lines if line["kind"] == kind]


async def test_the_link_in_the_ticket_shows_the_plan_and_its_form_has_the_hub_fixed(own):
    finding, link = await waiting(own, "by-link")
    assert link.startswith(own.stack.host["url"])
    for _ in range(3):
        status, text, headers = await page(own, link)
        assert status == 200
    assert "by-link" in text
    assert "minTlsVersion" in text
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert (await own.finding("by-link")).state == "awaiting_approval"
    status, text = await post(own, link, csrf=csrf(text), decision="approve", reason="agreed")
    assert status == 200
    assert "Approved" in text
    done = await own.reaches("by-link", "resolved")
    assert done.ruling.by == "bearer: holder of the link"
    assert await own.effective_puts("by-link") == 1
    status, text, _ = await page(own, link)
    assert "holder of the link" in text
    assert finding.proposal.digest in {line["plan"] for line in await audited(own, "approval")}


async def test_of_fifty_yeses_at_once_one_counts_and_the_others_are_told_and_audited(own):
    finding, link = await waiting(own, "by-many")
    _, text, _ = await page(own, link)
    token = csrf(text)
    answers = await asyncio.gather(
        *(post(own, link, csrf=token, decision="approve", reason=f"page {i}") for i in range(25)),
        *(hook(own, finding, reason=f"hook {i}") for i in range(25)),
    )
    assert Counter(status for status, _ in answers) == {200: 1, 409: 49}
    await own.reaches("by-many", "resolved")
    assert await own.effective_puts("by-many") == 1
    refused = [line for line in await audited(own, "approval_refused") if line["finding"] == finding.id]
    assert len(refused) == 49


async def test_a_webhook_needs_the_functions_key_and_a_fresh_signature_of_its_own(own):
    finding, _ = await waiting(own, "by-hook")
    assert (await hook(own, finding, code="wrong"))[0] == 401
    assert (await hook(own, finding, signature="t=1,v1=" + "0" * 64))[0] == 401
    body = json.dumps({"decision": "approve", "reason": "r", "approver": "a", "plan_digest": "sha256:x"}).encode()
    signature = sign(WEBHOOK_KEY.encode(), body, datetime.now(UTC))
    assert "asks about plan" in (await hook(own, finding, body=body, signature=signature))[1]
    assert "replayed" in (await hook(own, finding, body=body, signature=signature))[1]
    assert (await own.finding("by-hook")).state == "awaiting_approval"
    assert (await hook(own, finding))[0] == 200
    await own.reaches("by-hook", "resolved")


async def test_a_link_of_another_request_tells_nothing(own):
    _, link = await waiting(own, "one-link")
    other, _ = await waiting(own, "other-link")
    _, _, query = link.partition("?")
    swapped = f"{own.stack.host['url']}/api/approvals/{other.id}?{query}"
    unknown = f"{own.stack.host['url']}/api/approvals/f-0123456789abcdef?{query}"
    there, not_there = await page(own, swapped), await page(own, unknown)
    assert there[:2] == not_there[:2]
    assert there[0] == 403
    assert "other-link" not in there[1]


async def test_several_requests_are_decided_on_one_page(own):
    names = ["together-1", "together-2", "together-3"]
    findings = [(await waiting(own, name))[0] for name in names]
    links = Links([APPROVAL_KEY.encode()], own.stack.host["url"])
    until = datetime.now(UTC) + timedelta(hours=1)
    link = links.url([Ask(finding.id, finding.proposal.digest) for finding in findings], until)
    status, text, _ = await page(own, link)
    assert status == 200
    assert all(name in text for name in names)
    ticked = [finding.id for finding in findings[:2]]
    fields = [("csrf", csrf(text)), ("decision", "approve"), ("reason", ""), *(("request", one) for one in ticked)]
    status, text = await post(own, link, fields)
    assert (status, "Still waiting: 1 of 3" in text) == (200, True)
    for name in names[:2]:
        await own.reaches(name, "resolved")
        assert await own.effective_puts(name) == 1
    assert (await own.finding(names[2])).state == "awaiting_approval"


async def test_the_document_is_served_to_anybody(own):
    async with own.stack.http.get(f"{own.stack.host['url']}/api/openapi.json") as answer:
        assert answer.status == 200
        document = await answer.json()
    assert document["openapi"] == "3.1.0"
    assert list(document["paths"]) == ["/api/approvals/{id}"]
