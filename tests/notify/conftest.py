"""Each channel's name leads to a small server on loopback, over TLS; the channels notice nothing of it."""

from __future__ import annotations

import json
import ssl

from dataclasses import dataclass, field

import pytest
import trustme
import yaml

from aiohttp import TCPConnector, web

from hubwarden.adapters.notify.make import make_channels
from hubwarden.domain.channels import Notify
from tests.tickets.conftest import ToLoopback


POLICY = """
allowed_hosts: [mail.example.com, chat.example.com]
channels:
  teams: {kind: teams}
  slack: {kind: slack}
  acs:
    kind: acs
    endpoint: https://x.europe.communication.azure.com
    sender: a@example.com
    to: [b@example.com]
  hook: {kind: webhook, url: "https://chat.example.com/hook"}
"""
SECRETS = {
    "HUBWARDEN_TEAMS_URL": "https://prod-1.westeurope.logic.azure.com:443/workflows/w/triggers/manual?sig=S3CRET",
    "HUBWARDEN_SLACK_URL": "https://hooks.slack.com/services/T0/B0/S3CRET",
    "HUBWARDEN_NOTIFY_WEBHOOK_SECRET": "S3CRET",
}


@dataclass
class Theirs:
    """The other side: what it was asked, and what it answers."""

    status: int = 202
    headers: dict = field(default_factory=dict)
    text: str = ""
    asked: list = field(default_factory=list)

    async def handle(self, request):
        self.asked.append((request, await request.read()))
        return web.Response(status=self.status, headers=self.headers, text=self.text)

    @property
    def body(self):
        return json.loads(self.asked[-1][1])


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture
def trusting(authority):
    def context():
        ours = ssl.create_default_context()
        authority.configure_trust(ours)
        return ours

    return context


@pytest.fixture
async def theirs(authority):
    server = Theirs()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    names = ("prod-1.westeurope.logic.azure.com", "hooks.slack.com", "chat.example.com")
    authority.issue_cert(*names, "x.europe.communication.azure.com").configure_cert(tls)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    server.port = site._server.sockets[0].getsockname()[1]
    yield server
    await runner.cleanup()


@pytest.fixture
async def channels_of(theirs, trusting, monkeypatch):
    made = []
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    async def token(scope):
        return f"token for {scope}"

    def make(**secrets):
        channels = make_channels(
            Notify.model_validate(yaml.safe_load(POLICY)),
            SECRETS | secrets,
            token,
            connector=lambda: TCPConnector(resolver=ToLoopback(theirs.port), ssl=trusting()),
        )
        made.extend(channels.values())
        return channels

    yield make
    for channel in made:
        await channel.close()
