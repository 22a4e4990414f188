"""A thousand hubs for 64 parallel clients: the simulator must not be what they wait for."""

import asyncio
import ssl
import time

import aiohttp
import pytest

from local.azure_simulator import AzureSimulator, SimulatorConfig


SUBSCRIPTIONS = [f"aaaaaaaa-0000-4000-8000-{number:012}" for number in range(20)]
HUBS = [
    f"/subscriptions/{SUBSCRIPTIONS[number % 20]}/resourceGroups/g/providers/Microsoft.Devices/IotHubs/hub{number}"
    for number in range(1000)
]
CLIENTS, LATENCY = 64, 0.05


@pytest.fixture
async def big(names):
    """A simulator with a thousand hubs in twenty subscriptions, fifty milliseconds away."""
    config = SimulatorConfig(latency_seconds=LATENCY, reads=(10_000, 10_000))
    async with AzureSimulator(config) as simulator:
        simulator.add_principal(names.app, names.secret)
        for hub in HUBS:
            simulator.add_hub({"id": hub})
            simulator.add_diagnostic_setting(hub, "one", {"workspaceId": "/w"})
            simulator.add_devices(hub, 10, modules=["DefenderIotMicroAgent"])
        yield simulator


@pytest.fixture
async def ask(big, names):
    """Send requests from 64 clients; how long it took, and the processor time of both sides for each."""
    context = ssl.create_default_context(cafile=big.ca_file)
    connector = aiohttp.TCPConnector(ssl=context, limit=CLIENTS)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def client(calls, audience):
            headers = {"Authorization": f"Bearer {big.issue_token(names.app, audience=audience)}"}
            for method, url, body in calls:
                async with session.request(method, big.url + url, json=body, headers=headers) as got:
                    assert got.status == 200, await got.text()
                    await got.read()

        async def send(calls, *, audience=None):
            wall, processor = time.monotonic(), time.process_time()
            waiting = iter(calls)
            await asyncio.gather(*(client(waiting, audience) for _ in range(CLIENTS)))
            return time.monotonic() - wall, (time.process_time() - processor) / len(calls)

        yield send


async def test_a_thousand_hubs(ask):
    """With both sides on one core, a request takes less than 5 ms of it; alone, the simulator takes 0.5 ms."""
    hubs = [("GET", f"{hub}?api-version=2023-06-30", None) for hub in HUBS]
    settings = [
        ("GET", f"{hub}/providers/Microsoft.Insights/diagnosticSettings?api-version=2021-05-01-preview", None)
        for hub in HUBS
    ]
    lists = [
        ("GET", f"/subscriptions/{one}/providers/Microsoft.Devices/IotHubs?api-version=2023-06-30", None)
        for one in SUBSCRIPTIONS
    ]
    for calls in (hubs, settings):
        wall, processor = await ask(calls)
        assert processor < 0.005
        assert wall < 10 * LATENCY * len(calls) / CLIENTS
    _, processor = await ask(lists)
    assert processor < 0.05


async def test_a_thousand_queries(ask):
    query = {"query": "SELECT * FROM devices.modules WHERE moduleId IN ['DefenderIotMicroAgent']"}
    url = "/_dataplane/hub{}.azure-devices.net/devices/query?api-version=2021-04-12"
    calls = [("POST", url.format(number), query) for number in range(1000)]
    _, processor = await ask(calls, audience="https://iothubs.azure.net")
    assert processor < 0.005
