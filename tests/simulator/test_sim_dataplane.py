"""The data plane of hubs: twin queries, identities, refusals."""

import asyncio
import json
import ssl
import time

import aiohttp
import pytest

from azure.identity.aio import ClientSecretCredential
from yarl import URL

from local.azure_simulator import CANARY_BASE64
from local.azure_simulator.twin_query import QueryError, parse


VERSION = "api-version=2021-04-12"
AUDIENCE = "https://iothubs.azure.net"
AGENTS = "SELECT * FROM devices.modules WHERE moduleId IN ['DefenderIotMicroAgent', 'azureiotsecurity']"
DEVICES = "SELECT deviceId, status, connectionState, lastActivityTime FROM devices"


class Hub:
    """A hub's data plane as a client sees it, with a plain HTTP client."""

    def __init__(self, sim, session, token):
        self.base = sim.data_plane.format(hostName="press.azure-devices.net")
        self.session, self.headers = session, {"Authorization": f"Bearer {token}"}

    async def __call__(self, method, path, body=None, **headers):
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        url = f"{self.base}{path}?{VERSION}"
        async with self.session.request(method, URL(url, encoded=True), json=body, headers=sent) as got:
            return got.status, got.headers, json.loads(await got.read() or "null")

    async def page(self, query, continuation=None, *, size=None, **headers):
        if size is not None:
            headers["x_ms_max_item_count"] = str(size)
        if continuation:
            headers["x_ms_continuation"] = continuation
        return await self("POST", "/devices/query", {"query": query}, **headers)

    async def pages(self, query, *, size=None):
        continuation, found = None, []
        while True:
            status, headers, rows = await self.page(query, continuation, size=size)
            assert status == 200, rows
            found.append(rows)
            continuation = headers.get("x-ms-continuation")
            if continuation is None:
                return found

    async def rows(self, query, **options):
        return [row for page in await self.pages(query, **options) for row in page]


@pytest.fixture
def hub(sim, session, names):
    sim.configure(data_plane_throttle=0)
    return Hub(sim, session, sim.issue_token(names.app, audience=AUDIENCE))


@pytest.fixture
def fleet(sim, names):
    """Three devices: with the agent, with an old one, with none."""
    seen = "2026-11-20T08:00:00.1234567Z"
    agent = {"id": "DefenderIotMicroAgent", "connection_state": "Connected", "last_activity": seen}
    sim.add_devices(
        names.hub,
        [
            {"id": "covered", "connection_state": "Connected", "modules": [agent, "other"], "tags": {"site": "a"}},
            {"id": "old", "modules": ["azureiotsecurity"]},
            {"id": "bare", "status": "disabled", "edge": True},
        ],
    )


async def test_a_credential_of_azure_identity_gets_in(sim, session, names, fleet):
    credential = ClientSecretCredential(
        names.tenant,
        names.app,
        names.secret,
        authority=sim.authority,
        disable_instance_discovery=True,
        connection_verify=sim.ca_file,
    )
    async with credential:
        token = await credential.get_token(f"{AUDIENCE}/.default")
    assert len(await Hub(sim, session, token.token).rows(AGENTS)) == 2


async def test_module_twins(hub, fleet):
    status, headers, rows = await hub.page(AGENTS)
    assert (status, headers["x-ms-item-type"], "x-ms-continuation" in headers) == (200, "Twin", False)
    assert [(row["deviceId"], row["moduleId"]) for row in rows] == [
        ("covered", "DefenderIotMicroAgent"),
        ("old", "azureiotsecurity"),
    ]
    assert (rows[0]["connectionState"], rows[0]["lastActivityTime"]) == (
        "Connected",
        "2026-11-20T08:00:00.1234567Z",
    )
    assert (rows[1]["connectionState"], rows[1]["lastActivityTime"]) == ("Disconnected", "0001-01-01T00:00:00Z")
    assert CANARY_BASE64 not in json.dumps(rows)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("SELECT * FROM devices.modules WHERE moduleId = 'azureiotsecurity'", ["old"]),
        (
            "select * from devices.modules where moduleId = 'azureiotsecurity' or moduleId = \"other\";",
            ["covered", "old"],
        ),
        (
            "SELECT * FROM devices.modules WHERE (moduleId='x' OR moduleId='other') AND deviceId = 'covered'",
            ["covered"],
        ),
        ("SELECT * FROM devices.modules WHERE NOT moduleId IN ['other','azureiotsecurity']", ["covered"]),
        ("SELECT * FROM devices.modules WHERE moduleId NIN ['other','DefenderIotMicroAgent']", ["old"]),
        ("SELECT * FROM devices.modules WHERE lastActivityTime > '2026-01-01T00:00:00Z'", ["covered"]),
        ("SELECT * FROM devices.modules WHERE moduleId = 'AZUREIOTSECURITY'", []),
        ("SELECT * FROM devices", ["covered", "old", "bare"]),
        ("SELECT * FROM devices WHERE status = 'enabled' AND connectionState != 'Connected'", ["old"]),
        ("SELECT * FROM devices WHERE tags.site = 'a'", ["covered"]),
        ("SELECT * FROM devices WHERE tags.floor = 1 OR tags.site <> 'a'", []),
        ("SELECT * FROM devices WHERE capabilities.iotEdge = true", ["bare"]),
        ("SELECT * FROM devices WHERE version >= 2 AND version < 3 AND status <= 'disabled'", ["bare"]),
        ("SELECT * FROM devices WHERE version < 'x' OR moduleId NIN ['x']", []),
        ("SELECT * FROM devices WHERE properties.desired IN ['x']", []),
        (r"SELECT * FROM devices WHERE deviceId = 'it\'s'", []),
    ],
)
async def test_queries(hub, fleet, query, found):
    assert [row["deviceId"] for row in await hub.rows(query)] == found


async def test_projections(hub, fleet):
    status, headers, rows = await hub.page(DEVICES)
    assert (status, headers["x-ms-item-type"]) == (200, "Raw")
    assert rows[0] == {
        "deviceId": "covered",
        "status": "enabled",
        "connectionState": "Connected",
        "lastActivityTime": "0001-01-01T00:00:00Z",
    }
    assert await hub.rows(
        "SELECT deviceId, moduleId AS m, connectionState, lastActivityTime FROM devices.modules "
        "WHERE moduleId = 'other'"
    ) == [
        {
            "deviceId": "covered",
            "m": "other",
            "connectionState": "Disconnected",
            "lastActivityTime": "0001-01-01T00:00:00Z",
        }
    ]
    assert await hub.rows("SELECT tags.site, deviceId FROM devices") == [
        {"site": "a", "deviceId": "covered"},
        {"deviceId": "old"},
        {"deviceId": "bare"},
    ]


async def test_counts(hub, fleet):
    status, headers, rows = await hub.page("SELECT COUNT() AS n FROM devices")
    assert (status, headers["x-ms-item-type"], rows) == (200, "Raw", [{"n": 3}])
    assert await hub.rows("SELECT COUNT() FROM devices.modules WHERE moduleId = 'other'") == [{"$1": 1}]


async def test_pages(hub, sim, names):
    sim.add_devices(names.hub, 250, modules=["a", "b"])
    assert [len(page) for page in await hub.pages(DEVICES)] == [100, 100, 50]
    assert [len(page) for page in await hub.pages(DEVICES, size=125)] == [125, 125]
    modules = await hub.rows("SELECT * FROM devices.modules", size=7)
    assert len({(row["deviceId"], row["moduleId"]) for row in modules}) == len(modules) == 500
    sim.configure(query_page_size=60)
    assert [len(page) for page in await hub.pages(DEVICES, size=1000)] == [60, 60, 60, 60, 10]


async def test_pages_can_be_empty_with_a_continuation(hub, sim, names):
    sim.add_devices(names.hub, 3)
    sim.configure(query_empty_pages=2)
    assert [len(page) for page in await hub.pages(DEVICES, size=2)] == [0, 0, 2, 0, 0, 1]


async def test_a_continuation_outlives_changes(hub, sim, names):
    sim.add_devices(names.hub, 6, prefix="d")
    _, headers, first = await hub.page(DEVICES, size=2)
    for device in ("d000001", "d000002", "d000004"):
        assert sim.remove_device(names.hub, device) is True
    assert sim.remove_device(names.hub, "d000004") is False
    sim.add_devices(names.hub, ["last"])
    _, headers, rest = await hub.page(DEVICES, headers["x-ms-continuation"], size=10)
    assert [row["deviceId"] for row in first + rest] == [
        "d000001",
        "d000002",
        "d000003",
        "d000005",
        "d000006",
        "last",
    ]
    assert "x-ms-continuation" not in headers


@pytest.mark.parametrize("size", ["0", "1001", "many", "-1", "1.5"])
async def test_a_page_size_that_is_none(hub, size):
    status, headers, _ = await hub.page(DEVICES, x_ms_max_item_count=size)
    assert (status, headers["iothub-errorcode"]) == (400, "ArgumentInvalid")


async def test_a_continuation_that_is_none(hub, sim, names):
    sim.add_devices(names.hub, 3)
    assert (await hub.page(DEVICES, "nonsense"))[0] == 400
    assert (await hub.page(DEVICES, "e30="))[0] == 400
    _, headers, _ = await hub.page(DEVICES, size=1)
    status, _, body = await hub.page(f"{DEVICES} WHERE deviceId = 'x'", headers["x-ms-continuation"])
    assert (status, "of another query" in body["Message"]) == (400, True)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "SELECT",
        "SELECT * FROM",
        "SELECT * FROM jobs",
        "SELECT * FROM devices WHERE",
        "SELECT * FROM devices WHERE deviceId",
        "SELECT * FROM devices WHERE deviceId LIKE 'x'",
        "SELECT * FROM devices WHERE deviceId IN ('x')",
        "SELECT * FROM devices WHERE deviceId IN ['x'",
        "SELECT * FROM devices WHERE deviceId = x",
        "SELECT * FROM devices WHERE 'x' = deviceId",
        "SELECT * FROM devices WHERE (deviceId = 'x'",
        "SELECT * FROM devices extra",
        "SELECT 'x' FROM devices",
        "SELECT COUNT( FROM devices",
        "SELECT * FROM devices WHERE deviceId = 'x",
        "DELETE * FROM devices",
    ],
)
async def test_queries_that_are_none(hub, query):
    with pytest.raises(QueryError):
        parse(query)
    status, headers, body = await hub.page(query)
    assert (status, headers["iothub-errorcode"]) == (400, "ArgumentInvalid")
    assert body["Message"].startswith("ErrorCode:ArgumentInvalid;")


@pytest.mark.parametrize("body", [None, {}, {"query": 1}, ["query"]])
async def test_a_body_without_a_query(hub, body):
    status, _, answer = await hub("POST", "/devices/query", body)
    assert (status, answer["Message"]) == (400, "ErrorCode:ArgumentNull;BadRequest")


async def test_a_body_that_is_no_json(hub):
    url = f"{hub.base}/devices/query?{VERSION}"
    async with hub.session.post(url, data=b"{", headers=hub.headers) as got:
        assert (got.status, got.headers["iothub-errorcode"]) == (400, "DeserializationError")


async def test_identities(hub, fleet, sim, names):
    status, headers, device = await hub("GET", "/devices/covered")
    assert (status, headers["ETag"]) == (200, f'"{device["etag"]}"')
    assert device["authentication"]["symmetricKey"]["primaryKey"].startswith(CANARY_BASE64)
    _, _, again = await hub("GET", "/devices/covered")
    assert again == device
    _, _, module = await hub("GET", "/devices/covered/modules/other")
    assert (module["moduleId"], module["deviceId"], "status" in module) == ("other", "covered", False)
    assert module["authentication"] != device["authentication"]
    _, _, modules = await hub("GET", "/devices/covered/modules")
    assert [entry["moduleId"] for entry in modules] == ["DefenderIotMicroAgent", "other"]
    sim.add_devices(names.hub, [{"id": "a#1?b%2F", "authentication": "selfSigned"}])
    status, _, odd = await hub("GET", "/devices/a%231%3Fb%252F")
    assert (status, odd["authentication"]["symmetricKey"]["primaryKey"]) == (200, None)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/devices/none", "DeviceNotFound"),
        ("/devices/COVERED", "DeviceNotFound"),
        ("/devices/none/modules", "DeviceNotFound"),
        ("/devices/none/modules/other", "DeviceNotFound"),
        ("/devices/bare/modules/other", "ModuleNotFound"),
        ("/jobs/v2/1", "InvalidOperation"),
    ],
)
async def test_what_does_not_exist(hub, fleet, path, code):
    status, headers, body = await hub("GET", path)
    assert (status, headers["iothub-errorcode"]) == (404, code)
    assert body["Message"].startswith(f"ErrorCode:{code};")
    assert body["ExceptionMessage"].startswith("Tracking ID:")


async def test_statistics(hub, fleet):
    assert (await hub("GET", "/statistics/devices"))[2] == {
        "totalDeviceCount": 3,
        "enabledDeviceCount": 2,
        "disabledDeviceCount": 1,
    }


async def test_a_hub_without_devices(hub):
    assert await hub.rows(DEVICES) == []
    assert await hub.rows("SELECT COUNT() AS n FROM devices") == [{"n": 0}]


async def test_what_is_new_is_missing_in_queries_for_a_while(hub, sim, names, fleet):
    sim.configure(query_lag_seconds=0.15)
    sim.add_module(names.hub, "bare", "DefenderIotMicroAgent", created_now=True)
    sim.add_devices(names.hub, ["young"], created_now=True)
    assert "bare" not in [row["deviceId"] for row in await hub.rows(AGENTS)]
    assert "young" not in [row["deviceId"] for row in await hub.rows(DEVICES)]
    assert (await hub("GET", "/devices/bare/modules/DefenderIotMicroAgent"))[0] == 200
    await asyncio.sleep(0.2)
    assert "bare" in [row["deviceId"] for row in await hub.rows(AGENTS)]
    assert "young" in [row["deviceId"] for row in await hub.rows(DEVICES)]


async def test_changes_show(hub, sim, names, fleet):
    sim.change_device(names.hub, "bare", status="enabled", modules=["azureiotsecurity"])
    assert sim.remove_module(names.hub, "old", "azureiotsecurity") is True
    assert sim.remove_module(names.hub, "old", "azureiotsecurity") is False
    assert [row["deviceId"] for row in await hub.rows(AGENTS)] == ["covered", "bare"]


async def test_tokens(hub, sim, names):
    async def answered(token):
        hub.headers = {"Authorization": token} if token else {}
        return await hub.page(DEVICES)

    good = sim.issue_token(names.app, audience=f"{AUDIENCE}/")
    assert (await answered(f"Bearer {good}"))[0] == 200
    for token in (
        None,
        "Bearer nonsense",
        f"SharedAccessSignature {good}",
        f"Bearer {sim.issue_token(names.app)}",
        f"Bearer {sim.issue_token(names.app, audience='https://management.azure.com')}",
        f"Bearer {sim.issue_token(names.app, audience=AUDIENCE, expires_in=-1)}",
    ):
        status, headers, body = await answered(token)
        assert (status, headers["iothub-errorcode"]) == (401, "IotHubUnauthorizedAccess")
        assert body["Message"] == "ErrorCode:IotHubUnauthorizedAccess;Unauthorized"


async def test_a_token_of_the_data_plane_is_none_for_arm(arm, sim, names):
    token = sim.issue_token(names.app, audience=AUDIENCE)
    assert (await arm("GET", names.hub, token=token)).code == "InvalidAuthenticationTokenAudience"


@pytest.mark.parametrize(
    ("action", "method", "path", "body"),
    [
        ("Microsoft.Devices/IotHubs/twins/read", "POST", "/devices/query", {"query": DEVICES}),
        ("microsoft.devices/iothubs/devices/read", "GET", "/devices/covered", None),
    ],
)
async def test_rights(hub, sim, names, action, method, path, body):
    sim.deny(action, names.group, principal=names.app)
    status, headers, answer = await hub(method, path, body)
    oid = sim.state.entra.principals[names.app].oid
    assert (status, headers["iothub-errorcode"]) == (401, "IotHubUnauthorized")
    assert answer["Message"] == (
        f"ErrorCode:IotHubUnauthorized;Principal {oid} is not authorized for {method} on {path} due to no "
        "assigned permissions"
    )


async def test_locks_do_not_reach_the_data_plane(hub, sim, names):
    sim.add_lock(names.group, "ReadOnly")
    assert (await hub.page(DEVICES))[0] == 200


@pytest.mark.parametrize(
    ("properties", "is_open"),
    [
        ({"publicNetworkAccess": "Enabled"}, True),
        ({"publicNetworkAccess": "Disabled"}, False),
        ({"networkRuleSets": {"defaultAction": "Allow", "ipRules": []}}, True),
        ({"networkRuleSets": {"defaultAction": "Deny", "ipRules": []}}, False),
        ({"networkRuleSets": {"defaultAction": "Deny", "ipRules": [{"ipMask": "10.0.0.0/8"}]}}, False),
        ({"networkRuleSets": {"defaultAction": "Deny", "ipRules": [{"ipMask": "127.0.0.0/8"}]}}, True),
        ({"ipFilterRules": [{"action": "Reject", "ipMask": "0.0.0.0/0"}]}, False),
        (
            {
                "ipFilterRules": [
                    {"action": "Accept", "ipMask": "127.0.0.1"},
                    {"action": "Reject", "ipMask": "0.0.0.0/0"},
                ]
            },
            True,
        ),
        ({"ipFilterRules": [{"action": "Reject", "ipMask": "nonsense"}]}, True),
    ],
)
async def test_network_rules(hub, sim, names, properties, is_open):
    sim.add_hub({"id": names.hub, "properties": properties})
    status, _, body = await hub.page(DEVICES)
    assert status == (200 if is_open else 401)
    if not is_open:
        assert body["Message"] == "ErrorCode:IotHubUnauthorizedAccess;Unauthorized"
        sim.configure(closed_hub_status=403)
        assert (await hub.page(DEVICES))[0] == 403


@pytest.mark.parametrize("sku", ["B1", "B2", "B3"])
async def test_basic_hubs_have_no_queries_and_modules(hub, sim, names, sku):
    sim.add_hub({"id": names.hub, "sku": {"name": sku, "tier": "Basic", "capacity": 1}})
    sim.add_devices(names.hub, ["a"])
    for call in (hub.page(DEVICES), hub("GET", "/devices/a/modules"), hub("GET", "/devices/a/modules/m")):
        status, headers, _ = await call
        assert (status, headers["iothub-errorcode"]) == (403, "OperationNotAvailableInCurrentTier")
    assert (await hub("GET", "/devices/a"))[0] == 200
    assert (await hub("GET", "/statistics/devices"))[0] == 200


@pytest.mark.parametrize(("sku", "units", "allowed"), [("S1", 1, 20), ("S2", 2, 40), ("F1", 1, 20)])
async def test_queries_are_throttled_by_tier_and_unit(hub, sim, names, sku, units, allowed):
    sim.configure(data_plane_throttle=1.0)
    sim.add_hub({"id": names.hub, "sku": {"name": sku, "tier": "Standard", "capacity": units}})
    sim.add_devices(names.hub, ["a"])
    answers = [await hub.page(DEVICES) for _ in range(allowed + 3)]
    statuses = [status for status, _, _ in answers]
    assert statuses[: allowed - 1] == [200] * (allowed - 1)
    assert statuses[-1] == 429
    _, headers, body = answers[-1]
    assert headers["iothub-errorcode"] == "ThrottlingException"
    assert body["Message"] == (
        "ErrorCode:ThrottlingException;The request has been throttled. Wait 10 seconds and try again. "
        "Operation type: Query"
    )
    assert "Retry-After" not in headers
    assert (await hub("GET", "/devices/a"))[0] == 200


async def test_the_third_tier_takes_many_queries(hub, sim, names):
    sim.configure(data_plane_throttle=0.1)
    sim.add_hub({"id": names.hub, "sku": {"name": "S3", "tier": "Standard", "capacity": 1}})
    assert {(await hub.page(DEVICES))[0] for _ in range(50)} == {200}


async def test_faults_have_the_shape_of_the_data_plane(hub, sim, names):
    sim.fail("POST", "/devices/query", status=429, retry_after=3, principal=names.app)
    sim.fail("POST", "/devices/query", status=503, html=True)
    sim.fail("POST", "press.azure-devices.net", status=500)
    status, headers, body = await hub.page(DEVICES)
    assert (status, headers["Retry-After"], headers["iothub-errorcode"]) == (429, "3", "ThrottlingException")
    assert body["Message"].startswith("ErrorCode:ThrottlingException;")
    url = f"{hub.base}/devices/query?{VERSION}"
    async with hub.session.post(url, json={"query": DEVICES}, headers=hub.headers) as got:
        assert (got.status, got.content_type) == (503, "text/html")
    assert (await hub.page(DEVICES))[2]["Message"] == "ErrorCode:ServerError;InternalServerError"
    assert [entry["status"] for entry in sim.requests()] == [429, 503, 500]
    assert {entry["client_id"] for entry in sim.requests()} == {names.app}


async def test_latency_applies(hub, sim):
    sim.configure(latency_seconds=0.1)
    before = time.monotonic()
    await hub.page(DEVICES)
    assert time.monotonic() - before >= 0.1


async def test_no_version_and_no_such_host(hub, sim):
    async with hub.session.get(f"{hub.base}/statistics/devices", headers=hub.headers) as got:
        assert (got.status, got.headers["iothub-errorcode"]) == (400, "InvalidProtocolVersion")
    hub.base = sim.data_plane.format(hostName="none.azure-devices.net")
    status, headers, _ = await hub.page(DEVICES)
    assert (status, headers["iothub-errorcode"]) == (404, "IotHubNotFound")


async def test_the_data_plane_goes_and_comes_with_the_hub(hub, arm, sim, names, fleet):
    await arm("DELETE", names.hub)
    assert (await hub.page(DEVICES))[0] == 200
    sim.finish_transitions()
    assert (await hub.page(DEVICES))[0] == 404
    await arm("PUT", names.hub, {"location": "westeurope", "sku": {"name": "S1", "capacity": 1}})
    sim.finish_transitions()
    assert await hub.rows(DEVICES) == []
    sim.remove_hub(names.hub)
    assert (await hub.page(DEVICES))[0] == 404


class Resolver(aiohttp.abc.AbstractResolver):
    """Each name is this machine."""

    async def resolve(self, host, port=0, family=0):
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

    async def close(self):
        pass


async def test_the_hub_answers_at_its_own_name_too(sim, names, fleet):
    context = ssl.create_default_context(cafile=sim.ca_file)
    connector = aiohttp.TCPConnector(ssl=context, resolver=Resolver())
    token = sim.issue_token(names.app, audience=AUDIENCE)
    url = f"https://PRESS.azure-devices.net:{sim.url.rpartition(':')[2]}/devices/query?{VERSION}"
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(url, json={"query": DEVICES}, headers={"Authorization": f"Bearer {token}"}) as got,
    ):
        assert (got.status, len(await got.json())) == (200, 3)


async def test_new_devices_are_published(sim, names, hook, until):
    await sim.subscribe(hook.url, topic="hub", event_types=["Microsoft.Devices.DeviceCreated"])
    sim.add_devices(names.hub, ["quiet"])
    sim.add_devices(names.hub, ["loud"], created_now=True)
    await until(lambda: hook.deliveries)
    (event,) = hook.deliveries[0][1]
    assert event["topic"] == names.hub.upper()
    assert (event["subject"], event["eventType"]) == ("devices/loud", "Microsoft.Devices.DeviceCreated")
    assert (event["data"]["hubName"], event["data"]["deviceId"]) == ("press", "loud")
    assert event["data"]["twin"]["deviceId"] == "loud"
    assert (event["dataVersion"], event["metadataVersion"]) == ("1", "1")
    await sim.subscribe(hook.url, name="cloud", topic="hub", schema="CloudEventSchemaV1_0")
    sim.add_devices(names.hub, ["louder"], created_now=True)
    await until(lambda: len(hook.deliveries) == 3)
    cloud = next(body for _, body in hook.deliveries if isinstance(body, dict))
    assert (cloud["source"], cloud["type"]) == (names.hub.upper(), "Microsoft.Devices.DeviceCreated")


async def test_each_topic_has_events_of_its_own(sim, arm, names, hook, until):
    for topic in ("arm", "hub"):
        await sim.subscribe(hook.url, name=topic, topic=topic)
    sim.add_devices(names.hub, ["new"], created_now=True)
    await arm("PATCH", names.hub, {"tags": {}})
    await until(lambda: len(hook.deliveries) == 2)
    got = {headers["aeg-subscription-name"]: body[0]["eventType"] for headers, body in hook.deliveries}
    assert got == {"ARM": "Microsoft.Resources.ResourceWriteSuccess", "HUB": "Microsoft.Devices.DeviceCreated"}
    with pytest.raises(ValueError, match="unknown topic: 'mine'"):
        await sim.subscribe(hook.url, topic="mine")


async def test_a_hundred_thousand_devices(hub, sim, names):
    """A page of 1000 twins costs the simulator less than 20 ms, or on a busy machine at least not much more."""
    before = time.process_time()
    sim.add_devices(names.hub, 100_000, modules=["DefenderIotMicroAgent"])
    assert time.process_time() - before < 3
    continuation, costs = None, []
    for _ in range(5):
        before = time.process_time()
        _, headers, rows = await hub.page(AGENTS, continuation, size=1000)
        costs.append(time.process_time() - before)
        continuation = headers["x-ms-continuation"]
        assert len(rows) == 1000
    assert min(costs) < 0.1
    assert await hub.rows("SELECT COUNT() AS n FROM devices.modules WHERE moduleId = 'DefenderIotMicroAgent'") == [
        {"n": 100_000}
    ]
