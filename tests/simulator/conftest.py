"""A simulator with one hub, clients for it, and the recordings where they are at hand."""

import asyncio
import contextlib
import json
import ssl
import time

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aiohttp import web
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ClientSecretCredential
from azure.mgmt.iothub.aio import IotHubClient
from yarl import URL

from hubwarden.adapters.azure.cloud import Cloud
from hubwarden.adapters.azure.hubs import ArmHubs
from local.azure_simulator import AzureSimulator, SimulatorConfig


SUBSCRIPTION = "aaaaaaaa-0000-4000-8000-000000000001"
TENANT = "bbbbbbbb-0000-4000-8000-000000000001"
GROUP_ID = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/plant"
HUB_ID = f"{GROUP_ID}/providers/Microsoft.Devices/IotHubs/press"
APP, SECRET = "cccccccc-0000-4000-8000-000000000001", "a secret"
PERSON, PERSON_SECRET = "cccccccc-0000-4000-8000-000000000002", "a password"
STORAGE = "DefaultEndpointsProtocol=https;AccountName=uploads;AccountKey=****"
DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def data():
    if not DATA.is_dir():
        pytest.skip("the recordings of real Azure are not part of the project")
    return DATA


@pytest.fixture
async def sim():
    """One hub in one resource group. Operations are held until `finish_transitions()`."""
    config = SimulatorConfig(transition_seconds=None, retry_scale=0.001)
    async with AzureSimulator(config) as simulator:
        simulator.add_principal(APP, SECRET, name="warden")
        simulator.add_principal(PERSON, PERSON_SECRET, name="Eve", upn="eve@example.com")
        storage = {"$default": {"sasTtlAsIso8601": "PT1H", "connectionString": STORAGE, "containerName": "c"}}
        simulator.add_hub({"id": HUB_ID, "properties": {"storageEndpoints": storage}})
        yield simulator


@dataclass
class Answer:
    status: int
    headers: Any
    body: Any

    @property
    def code(self):
        return self.body["error"]["code"] if "error" in self.body else self.body["code"]


class Arm:
    """ARM without an SDK: what goes over the wire and what comes back."""

    def __init__(self, simulator, session):
        self.simulator, self.session = simulator, session

    async def __call__(
        self,
        method,
        path,
        body=None,
        *,
        client=APP,
        token=None,
        headers=None,
        version="2023-06-30",
    ):
        token = token or self.simulator.issue_token(client)
        query = "" if version is None else f"?api-version={version}"
        url = path if path.startswith("https://") else f"{self.simulator.url}{path}{query}"
        sent = {"Authorization": f"Bearer {token}", **(headers or {})}
        async with self.session.request(method, URL(url, encoded=True), json=body, headers=sent) as got:
            raw = await got.read()
            with contextlib.suppress(ValueError):
                return Answer(got.status, got.headers, json.loads(raw))
            return Answer(got.status, got.headers, raw.decode())

    async def changed(self, hub_id=HUB_ID, **properties):
        """GET the hub, change properties, PUT it back."""
        body = (await self("GET", hub_id)).body
        body["properties"] |= properties
        return await self("PUT", hub_id, body)


@pytest.fixture
async def session(sim):
    """A TLS session that trusts the simulator's CA."""
    context = ssl.create_default_context(cafile=sim.ca_file)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as opened:
        yield opened


@pytest.fixture
def arm(sim, session):
    return Arm(sim, session)


@pytest.fixture
async def sdk(sim):
    """Microsoft's own client, without retries of its own."""
    tls = {"connection_verify": sim.ca_file}
    credential = ClientSecretCredential(
        TENANT,
        APP,
        SECRET,
        authority=sim.authority,
        disable_instance_discovery=True,
        **tls,
    )
    async with (
        credential,
        IotHubClient(
            credential, SUBSCRIPTION, base_url=sim.url, retry_total=0, polling_interval=0.01, **tls
        ) as client,
    ):
        yield client


@pytest.fixture
def until():
    """Wait for a condition with a deadline."""

    async def wait(condition: Callable[[], object], seconds: float = 5.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            await asyncio.sleep(0.002)

    return wait


class Hook:
    """A webhook that takes events and answers as told; each delivery is `(headers, body)`."""

    def __init__(self):
        self.url, self.deliveries, self.handshakes, self.statuses = "", [], [], []
        self.validates = True

    async def take(self, request: web.Request) -> web.Response:
        if request.method == "OPTIONS":
            self.handshakes.append(dict(request.headers))
            allowed = {"WebHook-Allowed-Origin": "eventgrid.azure.net"} if self.validates else {}
            return web.Response(headers=allowed)
        body = json.loads(await request.read())
        if request.headers["aeg-event-type"] == "SubscriptionValidation":
            self.handshakes.append(body)
            code = body[0]["data"]["validationCode"] if self.validates else "wrong"
            return web.json_response({"validationResponse": code})
        self.deliveries.append((dict(request.headers), body))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    @property
    def subjects(self):
        return [body[0]["subject"] for _, body in self.deliveries]


@pytest.fixture
async def hook():
    taker = Hook()
    application = web.Application()
    application.router.add_route("*", "/hook", taker.take)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    taker.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield taker
    await runner.cleanup()


@pytest.fixture
def names():
    """The constants of this file, which test modules cannot import."""

    class Names:
        subscription, tenant, group, hub = SUBSCRIPTION, TENANT, GROUP_ID, HUB_ID
        app, secret, person, person_secret = APP, SECRET, PERSON, PERSON_SECRET
        hubs = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Devices/IotHubs"

    return Names


@pytest.fixture
def clock():
    """Seconds, for the adapter; a file that turns them itself has its own."""
    return time.monotonic


@pytest.fixture
def now():
    """The present moment in UTC, for the adapter; a file that turns it itself has its own."""
    return lambda: datetime.now(UTC)


@pytest.fixture
async def hubs(sim, names, clock, now):
    """Our adapter, signed in as the app."""
    credential = ClientSecretCredential(
        names.tenant, names.app, names.secret, authority=sim.authority, disable_instance_discovery=True,
        connection_verify=sim.ca_file, retry_total=0,
    )  # fmt: skip
    transport = AioHttpTransport(use_env_settings=False, connection_verify=sim.ca_file)
    cloud = Cloud(sim.url, sim.audience, sim.authority, custom=True)
    arm = ArmHubs(cloud, credential, transport, clock, now)
    async with credential:
        yield arm
        await arm.close()
