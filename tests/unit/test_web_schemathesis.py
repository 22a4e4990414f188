"""The webhook against its own document: whatever is sent, the answer is one that the document knows."""

from __future__ import annotations

import asyncio
import json

import jsonschema
import pytest

from hypothesis import HealthCheck, settings

from hubwarden.web.openapi import DOCUMENT
from hubwarden.web.requests import Request
from hubwarden.web.webhook import sign
from tests.unit.test_web_approvals import HOOK, asked


schemathesis = pytest.importorskip("schemathesis")
NotSet = type(schemathesis.core.NOT_SET)
schema = schemathesis.openapi.from_dict(DOCUMENT)


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_answers_are_those_of_the_document(case):
    asyncio.run(_check(case))


def _sent(body):
    """As it goes over the wire; schemathesis also leaves the body out."""
    if isinstance(body, bytes):
        return body
    return b"" if isinstance(body, NotSet) else json.dumps(body).encode()


async def _check(case):
    front = await asked()
    body = _sent(case.body)
    headers = {
        "content-type": case.media_type or "application/json",
        "x-hubwarden-signature": sign(HOOK, body, front.world.clock.now()),
    }
    answer = await front.door.hook(Request(str(case.path_parameters.get("id", "")), {}, headers, body))
    documented = DOCUMENT["paths"]["/api/approvals/{id}"]["post"]["responses"]
    assert str(answer.status) in documented
    assert answer.status < 500
    name = documented[str(answer.status)]["content"]["application/json"]["schema"]
    jsonschema.validate(json.loads(answer.body), {**name, "components": DOCUMENT["components"]})
    assert front.world.state() == "awaiting_approval" or answer.status == 200
