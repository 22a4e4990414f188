"""test.http, as an editor would send it: each call is one that the app knows."""

from __future__ import annotations

import hmac
import re
import uuid

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from local.stack import ROOT, SUBSCRIPTION, WEBHOOK_KEY


pytestmark = pytest.mark.asyncio(loop_scope="session")

FILE = (ROOT / "test.http").read_text(encoding="utf-8")
EXPECTED = {
    "Is it well?": {200, 503},
    "Event Grid: somebody wrote the hub": {202},
    "Event Grid: the same as a CloudEvent": {202},
    "Event Grid: a hub has a new device": {202},
    "The handshake": {200},
    "The timer: look at every hub now": {202},
    "The timer: read back": {202},
    "What programs can call": {200},
    "Approve by webhook": {404},
    "The page of a link": {400},
}
"""What becomes of each, by the beginning of its title; of the last two, as no such finding is asked about."""


@dataclass(frozen=True, slots=True)
class Call:
    title: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: str


def filled(text: str, given: Mapping[str, str], now: datetime) -> str:
    values = dict(re.findall(r"^@(\w+) *= *(.*)$", text, flags=re.MULTILINE)) | given
    values |= {"$datetime iso8601": now.isoformat(), "$timestamp": str(int(now.timestamp()))}
    while re.search(r"\{\{(?!\$guid)", text):
        text = re.sub(r"\{\{(?!\$guid)([^}]+)\}\}", lambda match: values[match[1]], text)
    return re.sub(r"\{\{\$guid\}\}", lambda _: str(uuid.uuid4()), text)


def calls(text: str) -> Iterator[Call]:
    for block in re.split(r"^### ", text, flags=re.MULTILINE):
        title, _, rest = block.partition("\n")
        if begin := re.search(r"^(GET|POST) (\S+)$", rest, flags=re.MULTILINE):
            head, _, body = rest[begin.end() :].lstrip("\n").partition("\n\n")
            headers = dict(line.split(": ", 1) for line in head.splitlines())
            yield Call(title, begin[1], begin[2], headers, body.strip())


def expected(title: str) -> set[int]:
    [statuses] = [statuses for beginning, statuses in EXPECTED.items() if title.startswith(beginning)]
    return statuses


def signed(call: Call, now: datetime) -> dict[str, str]:
    """The headers, with the signature that docs/approvals.md describes in place of the file's zeros."""
    name = "X-Hubwarden-Signature"
    if name not in call.headers:
        return dict(call.headers)
    time = str(int(now.timestamp()))
    mac = hmac.digest(WEBHOOK_KEY.encode(), f"{time}.".encode() + call.body.encode(), "sha256").hex()
    assert call.headers[name].startswith(f"t={time},v1=0")
    return {**call.headers, name: f"t={time},v1={mac}"}


async def test_each_call_of_the_file_is_answered_as_it_says(scene):
    elsewhere = "00000000-0000-4000-8000-00000000abcd"
    host, code = scene.stack.host["url"], scene.stack.host["master_key"]
    now = datetime.now(UTC)
    sent = list(calls(filled(FILE, {"host": host, "code": code, "subscription": elsewhere}, now)))
    assert len(sent) == len(EXPECTED)
    for call in sent:
        body = call.body.encode() or None
        async with scene.stack.http.request(call.method, call.url, headers=signed(call, now), data=body) as answer:
            assert answer.status in expected(call.title), (call.title, answer.status, await answer.text())


async def test_the_file_names_the_hub_of_the_local_stack():
    assert re.search(rf"^@subscription = {SUBSCRIPTION}$", FILE, flags=re.MULTILINE)
