"""Each vendor's name leads to a small server on loopback, over TLS; the adapters notice nothing of it."""

from __future__ import annotations

import socket
import ssl

from dataclasses import dataclass

import pytest
import trustme
import yaml

from aiohttp import TCPConnector, web
from aiohttp.abc import AbstractResolver

from hubwarden.adapters.tickets.make import make_tickets
from hubwarden.domain.targets import Tickets
from tests.tickets.vendors import TOKEN, VENDORS, Vendor
from tests.unit.fakes import FakeTickets, Gates


class ToLoopback(AbstractResolver):
    def __init__(self, port):
        self.port = port

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [{
            "hostname": host, "host": "127.0.0.1", "port": self.port, "family": socket.AF_INET, "proto": 0,
            "flags": 0,
        }]  # fmt: skip

    async def close(self):
        pass


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@dataclass
class Desk:
    """The ticket system under test, what we remember of its tickets, and the vendor behind it."""

    vendor: Vendor
    store: FakeTickets
    make: object

    def __post_init__(self):
        self.tickets = self.make()


@pytest.fixture
async def desk_of(authority, monkeypatch):
    running = []
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    async def start(name):
        vendor, store = VENDORS[name](), FakeTickets(Gates(), [])
        settings = Tickets.model_validate(yaml.safe_load(vendor.policy))
        host = settings.chosen.url.split("/")[2]
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", vendor.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(host).configure_cert(theirs)
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=theirs)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        ours = ssl.create_default_context()
        authority.configure_trust(ours)

        def make(secret=TOKEN):
            made = make_tickets(
                settings,
                {settings.chosen.token_setting: secret},
                store,
                connector=lambda: TCPConnector(resolver=ToLoopback(port), ssl=ours),
            )
            running.append((made, None))
            return made

        running.append((None, runner))
        return Desk(vendor, store, make)

    yield start
    for made, runner in reversed(running):
        if made is not None:
            await made.shut_down()
        else:
            await runner.cleanup()
