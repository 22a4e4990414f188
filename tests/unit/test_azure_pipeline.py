"""Our own pipelines: where no token is to be had or the budget says no, nothing is sent."""

from __future__ import annotations

import json

from types import SimpleNamespace

import pytest

from azure.core import AsyncPipelineClient
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError
from azure.core.rest import HttpRequest

from hubwarden.adapters.azure.budget import Budget
from hubwarden.adapters.azure.calls import attempt
from hubwarden.adapters.azure.pipeline import arm_pipeline, hub_pipeline
from hubwarden.service.errors import PermanentError, TransientError


ENTRA = "https://login.microsoftonline.com/tenant/oauth2/v2.0/token"
HUB = "https://management.azure.com/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/h"
CLAIMS = 'Bearer error="insufficient_claims", claims="e30="'
KEY = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="


class Credential:
    """Gives tokens until it is told to fail."""

    def __init__(self, error=None, after=0):
        self.error, self.left = error, after

    async def get_token(self, *_scopes, **_options):
        self.left -= 1
        if self.error is not None and self.left < 0:
            raise self.error
        return AccessToken("t", 2_000_000_000)


class Transport:
    """Answers as it is told and counts."""

    def __init__(self, status=200, headers=()):
        self.status, self.headers, self.sent = status, dict(headers), 0

    async def send(self, request, **_options):
        self.sent += 1
        return SimpleNamespace(status_code=self.status, reason="no", headers=self.headers, request=request)


def pipelines(credential):
    return [arm_pipeline(credential, "scope", Budget(), decode=False), hub_pipeline(credential, "scope")]


async def sent_through(policies, transport, url=HUB):
    client = AsyncPipelineClient("https://management.azure.com", policies=policies, transport=transport)
    return await attempt("writing h", client.send_request(HttpRequest("PUT", url), stream=True))


def said_by_entra(status, body, kind):
    text = body if isinstance(body, str) else json.dumps(body)
    response = SimpleNamespace(
        status_code=status, reason="Reason", headers={}, content_type="application/json", text=lambda *_: text,
        body=text.encode, request=SimpleNamespace(url=ENTRA),
    )  # fmt: skip
    return kind(response=response)


ERRORS = [
    *(
        said_by_entra(status, body, kind)
        for status in (400, 401, 403, 404, 429, 500, 503)
        for kind in (ClientAuthenticationError, HttpResponseError)
        for body in ({"error": "invalid_client", "error_description": f"AADSTS7000215: {KEY}"}, "<html>")
    ),
    ClientAuthenticationError("all of the chain failed:\n  one\n  two"),
    ServiceRequestError(f"SharedAccessKey={KEY}"),
    TimeoutError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("which", [0, 1])
async def test_without_a_token_nothing_is_sent_and_it_is_not_said_of_the_hub(error, which):
    transport = Transport()
    with pytest.raises(TransientError, match=r"^writing h: no token could be had: ") as caught:
        await sent_through(pipelines(Credential(error))[which], transport)
    assert (transport.sent, caught.value.sent, caught.value.retry_after) == (0, False, None)
    assert KEY[:20] not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("which", [0, 1])
async def test_without_a_token_for_a_challenge_nothing_took_effect(which):
    transport = Transport(401, {"WWW-Authenticate": CLAIMS})
    credential = Credential(ERRORS[0], after=1)
    with pytest.raises(TransientError, match=r"^writing h: no token could be had: ") as caught:
        await sent_through(pipelines(credential)[which], transport)
    assert (transport.sent, caught.value.sent) == (1, False)


async def test_a_credential_that_breaks_in_its_own_way_is_not_asked_again():
    with pytest.raises(PermanentError, match=r"RuntimeError\)$"):
        await sent_through(pipelines(Credential(RuntimeError("secret")))[0], Transport())


async def test_no_token_goes_over_a_connection_that_is_not_encrypted():
    transport = Transport()
    for policies in pipelines(Credential()):
        with pytest.raises(TransientError, match="not permitted for non-TLS"):
            await sent_through(policies, transport, HUB.replace("https", "http"))
    assert transport.sent == 0


async def test_the_budget_knows_of_every_request_and_answer():
    """With 12 writes left, of which 10 are kept, two more go out."""
    transport = Transport(headers={"x-ms-ratelimit-remaining-subscription-writes": "12"})
    budget, now = Budget(lambda: 0.0), Credential()
    for _ in range(3):
        await sent_through(arm_pipeline(now, "scope", budget, decode=False), transport)
    with pytest.raises(TransientError, match="not sent") as caught:
        await sent_through(arm_pipeline(now, "scope", budget, decode=False), transport)
    assert (transport.sent, caught.value.sent, caught.value.retry_after.total_seconds()) == (3, False, 1)
