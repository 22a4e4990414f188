"""Apprise: where each of its plugins that may be used sends to, what it says there, and what is never told."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading

from dataclasses import replace
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import pytest
import requests
import urllib3.util.connection

from hubwarden.adapters.notify import apprise
from hubwarden.adapters.notify.apprise import AppriseChannel
from hubwarden.adapters.notify.apprise_targets import OF_ONES_OWN, OF_VENDORS
from hubwarden.adapters.notify.apprise_text import neutral
from hubwarden.adapters.notify.make import make_channels
from hubwarden.adapters.tickets.http import Secret
from hubwarden.domain.channels import Notify
from hubwarden.domain.message import Kind, group
from hubwarden.service.errors import DeniedError, TransientError
from tests.notify.cases import HOSTILE, message_of


SETTING = "HUBWARDEN_APPRISE_URL"
LINK = "https://app.example/decide?t=a_b-c.d"
OURS = "chat.example.com"
A = "a"
VENDORS = {
    "dingtalk": ("dingtalk://12345678abcdef", "oapi.dingtalk.com"),
    "discord": ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV", "discord.com"),
    "feishu": ("feishu://abc123def456", "open.feishu.cn"),
    "gchat": ("gchat://workspace/key/token", "chat.googleapis.com"),
    "jira": (f"jira://{A * 20}", "api.atlassian.com"),
    "lark": ("lark://abc123-def", "open.larksuite.com"),
    "line": ("line://YWJjZA==/Uabc", "api.line.me"),
    "msgbird": (f"msgbird://{A * 25}/15551231234/15551231235", "rest.messagebird.com"),
    "opsgenie": (f"opsgenie://{A * 20}", "api.opsgenie.com"),
    "pagerduty": (f"pagerduty://{A * 32}@{A * 10}", "events.pagerduty.com"),
    "pagertree": (f"pagertree://int_{A * 14}", "api.pagertree.com"),
    "pbul": (f"pbul://{A * 32}", "api.pushbullet.com"),
    "postmark": (f"postmark://{A * 12}:from@example.com/to@example.com", "api.postmarkapp.com"),
    "pover": (f"pover://{'u' * 30}@{A * 30}", "api.pushover.net"),
    "resend": (f"resend://{A * 12}:from@example.com/to@example.com", "api.resend.com"),
    "sendgrid": (f"sendgrid://{A * 12}:from@example.com/to@example.com", "api.sendgrid.com"),
    "signl4": (f"signl4://{A * 8}", "connect.signl4.com"),
    "spike": (f"spike://{A * 32}", "api.spike.sh"),
    "stackfield": ("stackfield://00000000-1111-2222-3333-444444444444", "www.stackfield.com"),
    "tgram": ("tgram://123456789:abcdefg_hijklmnop/12315544/", "api.telegram.org"),
    "threema": (f"threema://*GATEWAY@{A * 12}/15551231234", "msgapi.threema.ch"),
    "twilio": (f"twilio://AC{A * 32}:{'b' * 32}@15551231234/15551231235", "api.twilio.com"),
    "vonage": (f"vonage://{A * 8}:{'b' * 16}@15551231234/15551231235", "rest.nexmo.com"),
    "webex": (f"webex://{A * 80}", "api.ciscospark.com"),
    "wecombot": (f"wecombot://{A * 36}", "qyapi.weixin.qq.com"),
    "wxteams": (f"wxteams://{A * 80}", "api.ciscospark.com"),
    "zoom": (f"zoom://abcdefg/{A * 20}", "inbots.zoom.us"),
}
OWN = {
    "apprises": f"apprises://{OURS}/token123",
    "forms": f"forms://u:p@{OURS}/x",
    "gotifys": f"gotifys://{OURS}/token",
    "jsons": f"jsons://u:p@{OURS}/x",
    "mmosts": f"mmosts://{OURS}/{A * 26}",
    "nctalks": f"nctalks://u:p@{OURS}/room1",
    "ntfys": f"ntfys://{OURS}/topic",
    "rockets": f"rockets://{A * 17}/{'b' * 43}@{OURS}/#ch",
    "signals": f"signals://{OURS}/15551231234/15551231235",
    "synologys": f"synologys://{OURS}/token",
    "xmls": f"xmls://u:p@{OURS}/x",
}
TARGETS = VENDORS | {scheme: (url, OURS) for scheme, url in OWN.items()}
SHORT = {"msgbird", "twilio", "vonage"}
"""A text message of 160 characters has room for the title and a link."""
YES = {"ok": True, "errcode": 0, "code": 0, "StatusCode": 0, "requestId": "r", "messages": [{"status": "0"}]}


def channel_of(url, hosts=(OURS,)):
    notify = Notify.model_validate({"allowed_hosts": list(hosts), "channels": {"else": {"kind": "apprise"}}})
    return make_channels(notify, {SETTING: url}, None)["else"]


@pytest.fixture
def sent(mocker):
    """What requests was to send; each time it was a success."""
    asked = []

    def send(_session, request, **how):
        asked.append((request, how))
        response = requests.Response()
        response.status_code, response._content, response.request = 200, json.dumps(YES).encode(), request
        return response

    mocker.patch.object(requests.Session, "send", send)
    mocker.patch.object(socket.socket, "connect", side_effect=AssertionError("it went round requests"))
    return asked


def said(request):
    """All that a request says, as somebody reads it; SOAP, JSON, forms and queries spell it each in their way."""
    body = request.body or b""
    text = unquote_plus((body.decode() if isinstance(body, bytes) else body) + request.url)
    return re.sub(r"\\u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), text).replace("\\n", "\n")


def test_each_target_that_may_be_used_is_tried_here():
    assert VENDORS.keys() == OF_VENDORS
    assert OWN.keys() == OF_ONES_OWN


@pytest.mark.parametrize("scheme", TARGETS)
async def test_it_goes_to_its_host_over_https_and_nowhere_else(sent, scheme):
    url, host = TARGETS[scheme]
    await channel_of(url).send(message_of(url=LINK))
    assert sent
    for request, how in sent:
        assert urlsplit(request.url)[:2] == ("https", host)
        assert how["allow_redirects"] is False
        assert how["verify"]
        assert how["timeout"] == (10, 10)
    assert LINK in said(sent[0][0])
    assert "apprise-warning" not in said(sent[0][0]), "its pictures lie on a host that nobody chose"


@pytest.mark.parametrize("scheme", OWN)
async def test_a_host_of_ones_own_must_be_allowed(sent, scheme):
    with pytest.raises(DeniedError, match=r"notify\.allowed_hosts"):
        await channel_of(OWN[scheme], hosts=["mail.example.com"]).send(message_of())
    assert not sent


def with_hub(name):
    (one,) = message_of(name).about
    (message,) = group([replace(one, hub=replace(one.hub, name=name))], lambda _: LINK)
    return message


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("scheme", sorted(TARGETS.keys() - SHORT))
async def test_what_came_from_azure_is_text_in_every_target(sent, scheme, text):
    message = with_hub(text)
    await channel_of(TARGETS[scheme][0]).send(message)
    told = said(sent[0][0])
    plain = " ".join(told.replace("&nbsp;", " ").split())
    assert neutral(message.title) in plain
    assert " ".join(neutral(message.items[0].text).split()) in plain
    assert LINK in told
    for evil in (
        "<img",
        "<script",
        "[click]",
        "**bold",
        "@channel",
        "@everyone",
        "<!",
        "https://evil",
        "evil.example",
    ):
        assert evil not in told


@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize("scheme", TARGETS)
async def test_what_is_too_long_is_cut_and_keeps_a_whole_link(sent, scheme, count):
    await channel_of(TARGETS[scheme][0]).send(message_of("no end " * 50, count=count, url=LINK))
    assert len(sent) == 1
    told = said(sent[0][0])
    assert LINK in told
    assert told.count("https://app.example") == told.count(LINK)


@pytest.mark.parametrize("scheme", sorted(SHORT))
async def test_a_text_message_is_one_text_message_whatever_the_hub_is_called(sent, scheme):
    await channel_of(TARGETS[scheme][0]).send(with_hub("@" * 80))
    ((request, _),) = sent
    (text,) = [value for name, value in parse_qsl(request.body) if name.lower() in {"text", "body"}]
    assert len(text) == 160
    assert text.startswith("Approval needed: tls-minimum on (at)(at)")


@pytest.mark.parametrize("kind", Kind)
async def test_nothing_is_told_as_a_success_which_would_close_an_alert(sent, kind):
    await channel_of(OWN["jsons"]).send(message_of(kind=kind))
    assert json.loads(sent[0][0].body)["type"] == {
        Kind.FAILED: "failure",
        **dict.fromkeys([Kind.APPROVED, Kind.REJECTED, Kind.FIXED, Kind.CLEARED, Kind.REPORTED], "info"),
    }.get(kind, "warning")


@pytest.mark.parametrize(
    "url", ["discord://S3CRET", "tgram://S3CRET", f"jsons://{OURS}:S3CRET/", "spike://S3CRET"]
)
async def test_a_url_that_apprise_cannot_use_is_refused_and_unsaid(sent, url):
    with pytest.raises(DeniedError, match=SETTING) as caught:
        await channel_of(url).send(message_of())
    assert "S3CRET" not in str(caught.value)
    assert not sent


@pytest.mark.parametrize(
    "option",
    ["verify=no", "Verify=no", "optional=yes", "redirect=yes", "format=html", "mode=cloud", "template=/etc/x"],
)
async def test_an_option_that_turns_a_check_off_is_refused(sent, option):
    with pytest.raises(DeniedError, match="may not have the option"):
        await channel_of(f"jsons://{OURS}/x?a=b&{option}").send(message_of())
    assert not sent


@pytest.mark.parametrize(
    ("value", "told"), [("", "is empty"), ("@Microsoft.KeyVault(SecretUri=https://v/)", "not resolved")]
)
async def test_a_setting_that_is_not_there_is_told(value, told):
    with pytest.raises(DeniedError, match=told):
        await channel_of(value).send(message_of())


@pytest.fixture
def loud(caplog):
    """Every logger at DEBUG and lower, whoever turned it off before."""
    for name in [*logging.root.manager.loggerDict, *apprise._TELL_SECRETS, "urllib3.connectionpool"]:
        logging.getLogger(name).disabled = False
        logging.getLogger(name).setLevel(1)
    caplog.set_level(1)
    return caplog


@pytest.fixture
def to_loopback(theirs, authority, tmp_path, monkeypatch):
    """Requests find the server on loopback under its name, and trust its certificate."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("NO_PROXY", "*")
    connect = urllib3.util.connection.create_connection
    monkeypatch.setattr(
        urllib3.util.connection,
        "create_connection",
        lambda address, *args, **more: connect(("127.0.0.1", theirs.port), *args, **more),
    )
    return theirs


URL = f"jsons://S3CRET-user:S3CRET-word@{OURS}/S3CRET-path?token=S3CRET-query"


def is_unsaid(loud, capfd, *errors):
    streams = capfd.readouterr()
    formatter = logging.Formatter("%(name)s %(message)s")
    logged = [
        formatter.format(record) for record in loud.records if record.name != "aiohttp.access"
    ]  # the server's
    for told in (*logged, streams.out, streams.err, *map(str, errors)):
        assert "S3CRET" not in told
        assert "U0VDUk" not in told


async def test_a_message_arrives_and_no_log_tells_where(to_loopback, loud, capfd):
    to_loopback.status = 200
    await channel_of(URL).send(message_of())
    request, _ = to_loopback.asked[0]
    assert (request.method, request.path) == ("POST", "/S3CRET-path")
    assert request.headers["User-Agent"] == "hubwarden"
    assert to_loopback.body["title"] == "Approval needed: tls-minimum on hub-00"
    is_unsaid(loud, capfd)


@pytest.mark.parametrize("status", [302, 307, 400, 401, 404, 429, 500, 503])
async def test_a_no_may_have_arrived_and_is_told_without_the_url(to_loopback, loud, capfd, status):
    to_loopback.status = status
    to_loopback.headers = {"Location": "https://chat.example.com/S3CRET-elsewhere"}
    to_loopback.text = "you said S3CRET-path"
    with pytest.raises(TransientError, match=SETTING) as caught:
        await channel_of(URL).send(message_of())
    assert caught.value.sent
    assert len(to_loopback.asked) == 1
    is_unsaid(loud, capfd, caught.value)


async def test_a_server_that_nobody_vouches_for_gets_nothing(to_loopback, monkeypatch, loud, capfd):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with pytest.raises(TransientError) as caught:
        await channel_of(URL).send(message_of())
    assert not to_loopback.asked
    is_unsaid(loud, capfd, caught.value)


async def test_a_server_that_is_down_is_waited_for(to_loopback, loud, capfd):
    to_loopback.port = 1
    with pytest.raises(TransientError) as caught:
        await channel_of(URL).send(message_of())
    is_unsaid(loud, capfd, caught.value)


async def test_a_url_that_cannot_be_used_is_logged_nowhere(loud, capfd):
    for url in ("discord://S3CRET", "jsons://:S3CRET", "json://x/S3CRET", f"{URL}&verify=no"):
        with pytest.raises(DeniedError) as caught:
            await channel_of(url).send(message_of())
        is_unsaid(loud, capfd, caught.value)


async def test_a_plugin_that_breaks_off_tells_no_more_than_that(mocker, loud, capfd):
    mocker.patch.object(requests.Session, "send", side_effect=RuntimeError(URL))
    with pytest.raises(TransientError, match="RuntimeError") as caught:
        await channel_of(URL).send(message_of())
    logging.getLogger("hubwarden").error("told", exc_info=caught.value)
    assert caught.value.__context__ is None
    is_unsaid(loud, capfd, caught.value)


async def test_what_takes_too_long_is_not_waited_for(mocker, monkeypatch):
    monkeypatch.setattr(apprise, "_LONGEST", 0.05)
    over = threading.Event()
    mocker.patch.object(requests.Session, "send", side_effect=lambda *_, **__: over.wait(20))
    with pytest.raises(TransientError, match="no answer") as caught:
        await AppriseChannel(Secret(SETTING, OWN["jsons"]), Notify(allowed_hosts=[OURS])).send(message_of())
    over.set()
    assert caught.value.sent
