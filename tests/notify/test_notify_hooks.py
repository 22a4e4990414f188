"""Teams, Slack, e-mail by Azure and the signed webhook, each against a server that looks at what it gets."""

from __future__ import annotations

import hashlib
import hmac
import json

from datetime import timedelta

import pytest

from hubwarden.service.errors import DeniedError, PermanentError, TransientError
from tests.notify.cases import message_of
from tests.notify.conftest import SECRETS


ALL = ["teams", "slack", "acs", "hook"]


async def test_teams_gets_a_card_in_the_envelope_of_a_workflow(channels_of, theirs):
    await channels_of()["teams"].send(message_of())
    request, _ = theirs.asked[0]
    assert (request.method, request.path, request.query["sig"]) == (
        "POST",
        "/workflows/w/triggers/manual",
        "S3CRET",
    )
    (attachment,) = theirs.body["attachments"]
    assert theirs.body["type"] == "message"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["content"]["actions"] == [
        {"type": "Action.OpenUrl", "title": "Decide on hub-00", "url": "https://app.example/decide?t=1"}
    ]


async def test_slack_gets_blocks(channels_of, theirs):
    theirs.status, theirs.text = 200, "ok"
    await channels_of()["slack"].send(message_of())
    assert theirs.asked[0][0].path == "/services/T0/B0/S3CRET"
    assert [block["type"] for block in theirs.body["blocks"]] == ["rich_text", "actions"]
    assert theirs.body["blocks"][1]["elements"][0]["url"] == "https://app.example/decide?t=1"


async def test_azure_communication_services_gets_a_letter_and_our_token(channels_of, theirs):
    await channels_of()["acs"].send(message_of())
    request, _ = theirs.asked[0]
    assert (request.path, request.query["api-version"]) == ("/emails:send", "2023-03-31")
    assert request.headers["Authorization"] == "Bearer token for https://communication.azure.com/.default"
    assert theirs.body["senderAddress"] == "a@example.com"
    assert theirs.body["recipients"] == {"to": [{"address": "b@example.com"}]}
    assert theirs.body["content"]["subject"] == "[hubwarden] Approval needed: tls-minimum on hub-00"
    assert "https://app.example/decide?t=1" in theirs.body["content"]["plainText"]


async def test_the_webhook_gets_a_signed_cloud_event_that_names_every_finding(channels_of, theirs):
    await channels_of()["hook"].send(message_of(count=15))
    request, body = theirs.asked[0]
    assert request.headers["Content-Type"] == "application/cloudevents+json"
    t, v1 = (part.split("=", 1)[1] for part in request.headers["X-Hubwarden-Signature"].split(","))
    assert v1 == hmac.new(b"S3CRET", f"{t}.".encode() + body, hashlib.sha256).hexdigest()
    assert (theirs.body["specversion"], theirs.body["type"]) == ("1.0", "hubwarden.asked")
    assert [one["id"] for one in theirs.body["data"]["findings"]] == [f"f-{number}" for number in range(15)]
    assert theirs.body["data"]["findings"][0]["plan_digest"] == "sha256:0"


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, TransientError),
        (500, TransientError),
        (503, TransientError),
        (401, DeniedError),
        (403, DeniedError),
        (400, PermanentError),
        (404, PermanentError),
        (302, PermanentError),
    ],
)
async def test_an_answer_becomes_the_error_that_it_is_and_tells_no_secret(
    channels_of, theirs, name, status, error
):
    theirs.status = status
    theirs.headers = {"Location": "https://evil.example/"} | ({"Retry-After": "7"} if status == 429 else {})
    secret = SECRETS.get(
        {"hook": "HUBWARDEN_NOTIFY_WEBHOOK_SECRET"}.get(name, f"HUBWARDEN_{name.upper()}_URL"), ""
    )
    theirs.text = json.dumps({"message": f"you said {secret}"})
    with pytest.raises(error) as caught:
        await channels_of()[name].send(message_of())
    assert len(theirs.asked) == 1
    assert str(status) in str(caught.value)
    assert "S3CRET" not in str(caught.value)
    if status == 429:
        assert caught.value.retry_after == timedelta(seconds=7)


TOLD = {
    "path": ("slack", "/services/T0/B0/S3CRET"),
    "path's end": ("slack", "T0/B0/S3CRET"),
    "its last part": ("slack", "no token S3CRET"),
    "encoded": ("slack", "%2Fservices%2FT0%2FB0%2FS3CRET"),
    "query": ("teams", "sig=S3CRET"),
    "its value": ("teams", "signature S3CRET is wrong"),
    "path and query": ("teams", "/workflows/w/triggers/manual?sig=S3CRET"),
    "cut": ("slack", "x" * 251 + "/services/T0/B0/S3CRET"),
}


@pytest.mark.parametrize(("name", "part"), TOLD.values(), ids=TOLD)
async def test_no_part_of_a_secret_url_is_told(channels_of, theirs, name, part):
    theirs.status, theirs.text = 400, json.dumps({"message": f"the services say: nothing at {part}"})
    with pytest.raises(PermanentError, match="the services say: nothing at ") as caught:
        await channels_of()[name].send(message_of())
    assert "S3C" not in str(caught.value)
    assert "/services" not in str(caught.value)


@pytest.mark.parametrize("name", ["teams", "slack"])
@pytest.mark.parametrize(
    "url",
    [
        "", "@Microsoft.KeyVault(SecretUri=https://v/)", "http://hooks.slack.com/services/x", "https://evil.example/x",
        "https://hooks.slack.com.evil.example/", "https://hooks.slack.com@evil.example/", "https://[", "nothing",
        "https://evillogic.azure.com/",
    ],
)  # fmt: skip
async def test_a_secret_url_that_leads_elsewhere_is_refused_unsent_and_unsaid(channels_of, theirs, name, url):
    setting = f"HUBWARDEN_{name.upper()}_URL"
    with pytest.raises(DeniedError) as caught:
        await channels_of(**{setting: url})[name].send(message_of())
    assert setting in str(caught.value)
    assert "evil" not in str(caught.value)
    assert not theirs.asked


async def test_a_host_that_the_policy_file_allows_is_sent_to(channels_of, theirs):
    url = f"https://chat.example.com/teams/{'x' * 20}"
    await channels_of(HUBWARDEN_TEAMS_URL=url)["teams"].send(message_of())
    assert theirs.asked[0][0].path.startswith("/teams/")
