"""Queries on the data planes of hubs over real connections: pages, who may ask, and what goes wrong."""

import json

from datetime import timedelta

import pytest

from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ClientSecretCredential

from hubwarden.adapters.azure import calls as calls_module
from hubwarden.adapters.azure.cloud import CLOUDS, Cloud
from hubwarden.adapters.azure.hubs import ArmHubs
from hubwarden.service.errors import AzureError, DeniedError, PermanentError, TransientError
from local.azure_simulator import CANARY, CANARY_BASE64, server
from local.azure_simulator.dataplane import AUDIENCE, DataPlane
from local.azure_simulator.errors import data_plane_error
from local.azure_simulator.wire import Reply
from tests.simulator.listening import all_loggers_at_debug


HOST = "press.azure-devices.net"
QUERY = "SELECT deviceId FROM devices"
TWINS = "Microsoft.Devices/IotHubs/twins/read"


class Given:
    """A credential with one token, which notes what it was asked for."""

    def __init__(self, token):
        self.token, self.scopes = token, []

    async def get_token(self, *scopes, **_options):
        self.scopes += scopes
        return AccessToken(self.token, 2_000_000_000)


class Listening(AioHttpTransport):
    """Notes what is sent."""

    def __init__(self, **options):
        super().__init__(use_env_settings=False, **options)
        self.sent = []

    async def send(self, request, **config):
        self.sent.append((request.method, request.url, dict(request.headers)))
        return await super().send(request, **config)


def cloud_of(sim):
    return Cloud(sim.url, sim.audience, sim.authority, custom=True, data_plane=sim.data_plane)


@pytest.fixture
async def make(sim):
    """Adapters, closed in the end."""
    made = []

    def build(credential, cloud=None):
        transport = Listening(connection_verify=sim.ca_file)
        made.append(ArmHubs(cloud or cloud_of(sim), credential, transport))
        return made[-1]

    yield build
    for arm in made:
        await arm.close()


@pytest.fixture
async def hubs(sim, names, make):
    async with ClientSecretCredential(
        names.tenant, names.app, names.secret, authority=sim.authority, disable_instance_discovery=True,
        connection_verify=sim.ca_file, retry_total=0,
    ) as credential:  # fmt: skip
        yield make(credential)


@pytest.fixture(autouse=True)
def everything(sim):
    """Every test of this file: all loggers at DEBUG, and neither key nor token in any line of any."""
    with all_loggers_at_debug() as handler:
        yield handler
    assert not any(secret in handler.text for secret in (CANARY, CANARY_BASE64, *sim.state.entra._issued))


@pytest.fixture
def asked(sim):
    """What the hub was asked since the last look."""

    def log():
        entries = [entry for entry in sim.requests() if "/oauth2/" not in entry["path"]]
        sim.clear_requests()
        return entries

    return log


async def refused(kind, call):
    with pytest.raises(AzureError) as caught:
        await call
    assert type(caught.value) is kind, caught.value
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return caught.value


def answering(monkeypatch, status, body, **headers):
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    monkeypatch.setattr(DataPlane, "answer", lambda *_: Reply(status, body, shown))


# --- asking


async def test_one_page_is_one_request(hubs, sim, names, asked):
    sim.add_devices(names.hub, ["a", "b"])
    page = await hubs.query_devices(HOST, QUERY)
    assert (page.rows, page.continuation) == ([{"deviceId": "a"}, {"deviceId": "b"}], None)
    (entry,) = asked()
    assert (entry["method"], entry["path"]) == ("POST", f"/_dataplane/{HOST}/devices/query")
    assert (entry["query"], entry["status"]) == ("api-version=2021-04-12", 200)


@pytest.mark.parametrize(("devices", "empty", "pages"), [(0, 0, 1), (2500, 0, 3), (1000, 0, 1), (1500, 2, 6)])
async def test_all_pages_in_turn_empty_ones_too(hubs, sim, names, asked, devices, empty, pages):
    sim.configure(query_empty_pages=empty)
    sim.add_devices(names.hub, devices)
    rows, continuation, first = [], None, True
    while first or continuation:
        first = False
        page = await hubs.query_devices(HOST, QUERY, continuation)
        assert len(page.rows) <= 1000
        rows += page.rows
        continuation = page.continuation
    assert len({row["deviceId"] for row in rows}) == len(rows) == devices
    assert len(asked()) == pages


async def test_the_request_is_what_it_should_be(sim, names, make):
    credential = Given(sim.issue_token(names.app, audience=AUDIENCE))
    hubs = make(credential)
    sim.add_devices(names.hub, 1001)
    page = await hubs.query_devices(HOST, QUERY)
    await hubs.query_devices(HOST, QUERY, page.continuation)
    first, second = ({n.lower(): v for n, v in headers.items()} for _, _, headers in hubs._transport.sent)
    assert (first["x-ms-max-item-count"], first["content-type"]) == ("1000", "application/json")
    assert "x-ms-continuation" not in first
    assert second["x-ms-continuation"] == page.continuation
    assert first["user-agent"].startswith("hubwarden")
    assert credential.scopes == ["https://iothubs.azure.net/.default"]


@pytest.mark.parametrize(
    ("name", "host", "scope"),
    [
        ("public", "h.azure-devices.net", "https://iothubs.azure.net/.default"),
        ("usgov", "h.azure-devices.us", "https://iothubs.azure.us/.default"),
        ("china", "h.azure-devices.cn", "https://iothubs.azure.net/.default"),
    ],
)
async def test_each_cloud_is_asked_at_its_own_hosts_for_its_own_token(make, name, host, scope):
    credential = Given("t")
    hubs = make(credential, CLOUDS[name])
    hubs._transport.send = refuses(urls := [])
    await refused(TransientError, hubs.query_devices(host, QUERY))
    assert urls == [f"https://{host}/devices/query?api-version=2021-04-12"]
    assert credential.scopes == [scope]
    for other in CLOUDS.values():
        if other.hub_suffix not in host:
            await refused(PermanentError, hubs.query_devices(f"h{other.hub_suffix}", QUERY))
    assert len(urls) == 1


def refuses(urls):
    async def send(request, **_config):
        from azure.core.exceptions import ServiceRequestError

        urls.append(request.url)
        raise ServiceRequestError("no")

    return send


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".azure-devices.net",
        "azure-devices.net",
        "press.azure-devices.net.",
        "press.azure-devices.net.evil.example",
        "press.azure-devices.us",
        "evil.example/.azure-devices.net",
        "evil.example?.azure-devices.net",
        "evil.example#.azure-devices.net",
        "evil.example:443/x.azure-devices.net",
        "a@press.azure-devices.net",
        "press.azure-devices.net:8443",
        "https://press.azure-devices.net",
        "press..azure-devices.net",
        "-press.azure-devices.net",
        "press-.azure-devices.net",
        "pre ss.azure-devices.net",
        "press\n.azure-devices.net",
        "press.azure-devices.net\n",
        "pr%65ss.azure-devices.net",
        "{hostName}.azure-devices.net",
        "\N{KELVIN SIGN}.azure-devices.net",
        "prüss.azure-devices.net",
        "127.0.0.1",
        "evilazure-devices.net",
        f"{'x' * 64}.azure-devices.net",
    ],
)
async def test_no_token_goes_to_what_is_no_hub(sim, make, host):
    credential = Given("t")
    hubs = make(credential)
    await refused(PermanentError, hubs.query_devices(host, QUERY))
    assert (credential.scopes, hubs._transport.sent, sim.requests()) == ([], [], [])


async def test_the_casing_of_a_host_does_not_matter(hubs, sim, names):
    sim.add_devices(names.hub, ["a"])
    assert len((await hubs.query_devices("PRESS.Azure-Devices.NET", QUERY)).rows) == 1


async def test_a_continuation_cannot_bring_headers_of_its_own(hubs, asked):
    error = await refused(PermanentError, hubs.query_devices(HOST, QUERY, "a\r\nx-evil: 1"))
    assert "evil" not in str(error)
    assert asked() == []


# --- what comes back


@pytest.mark.parametrize("body", [None, {}, {"value": []}, "x", 5, [5], [[]], ["x"], [{"a": 1}, None]])
async def test_rows_that_are_none(hubs, monkeypatch, body):
    answering(monkeypatch, 200, body)
    error = await refused(PermanentError, hubs.query_devices(HOST, QUERY))
    assert str(error) == f"querying the devices of {HOST}: the answer is no list of JSON objects"


@pytest.mark.parametrize("raw", [b"{", b"<html>no</html>", b"\xff\xfe", b""])
async def test_an_answer_that_is_no_json(hubs, sim, names, monkeypatch, raw):
    await hubs.query_devices(HOST, QUERY)  # which brings the token, too
    monkeypatch.setattr(server, "encoded", lambda *_: raw)
    await refused(PermanentError, hubs.query_devices(HOST, QUERY))


@pytest.mark.parametrize(("token", "continuation"), [("", None), ("x y=", "x y=")])
async def test_an_empty_page_may_go_on(hubs, monkeypatch, token, continuation):
    answering(monkeypatch, 200, [], x_ms_continuation=token)
    page = await hubs.query_devices(HOST, QUERY)
    assert (list(page.rows), page.continuation) == ([], continuation)


async def test_an_answer_that_leads_elsewhere_is_not_followed(hubs, sim, monkeypatch, asked):
    answering(monkeypatch, 307, None, Location=f"{sim.url}/elsewhere")
    await refused(PermanentError, hubs.query_devices(HOST, QUERY))
    assert len(asked()) == 1


async def test_a_missing_role_is_named(hubs, sim, names, asked):
    sim.deny(TWINS, names.hub)
    error = await refused(DeniedError, hubs.query_devices(HOST, QUERY))
    assert error.missing_action == TWINS
    text = str(error)
    assert text.startswith(f"querying the devices of {HOST}: 401 IotHubUnauthorized: Principal ")
    assert "not authorized for POST on /devices/query" in text
    for hint in ("IoT Hub Data Reader", TWINS, "network rules"):
        assert hint in text
    assert len(asked()) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_network_rules_that_keep_us_out(hubs, sim, names, asked, status):
    sim.configure(closed_hub_status=status)
    sim.hub(names.hub)
    sim.state.hubs[names.hub.lower()].body["properties"]["publicNetworkAccess"] = "Disabled"
    error = await refused(DeniedError, hubs.query_devices(HOST, QUERY))
    assert error.missing_action is None
    assert f"{status} IotHubUnauthorizedAccess" in str(error)
    assert "network rules" in str(error)
    assert len(asked()) == 1


async def test_a_basic_hub_has_no_queries(hubs, sim, names):
    sim.add_hub({"id": names.hub, "sku": {"name": "B1", "capacity": 1}})
    error = await refused(PermanentError, hubs.query_devices(HOST, QUERY))
    assert "403 OperationNotAvailableInCurrentTier" in str(error)
    assert "Basic" in str(error)


async def test_a_hub_that_is_not_there_is_not_gone_for_that(hubs):
    error = await refused(PermanentError, hubs.query_devices("nobody.azure-devices.net", QUERY))
    assert "404 IotHubNotFound" in str(error)


async def test_a_query_that_is_not_understood(hubs):
    assert "400 ArgumentInvalid" in str(await refused(PermanentError, hubs.query_devices(HOST, "DROP TABLE")))
    assert "400 ArgumentInvalid" in str(await refused(PermanentError, hubs.query_devices(HOST, QUERY, "stale")))


async def test_throttled_for_the_seconds_that_the_text_says(hubs, sim, asked):
    sim.configure(data_plane_throttle=0.05)
    await hubs.query_devices(HOST, QUERY)
    error = await refused(TransientError, hubs.query_devices(HOST, QUERY))
    assert error.retry_after == timedelta(seconds=10)
    assert not error.sent
    assert [entry["status"] for entry in asked()] == [200, 429]


@pytest.mark.parametrize(
    ("text", "headers", "seconds"),
    [
        ("The request has been throttled. Wait 25 seconds and try again.", {}, 25),
        ("no", {}, 10),
        ("Wait 25 seconds", {"Retry-After": "3"}, 3),
        ("no", {"Retry-After": "0"}, 0),
        ("no", {"Retry-After": "soon"}, 10),
    ],
)
async def test_how_long_to_wait(hubs, monkeypatch, text, headers, seconds):
    refusal = data_plane_error(429, "ThrottlingException", text)
    monkeypatch.setattr(DataPlane, "answer", lambda *_: Reply(429, refusal.body, {**refusal.headers, **headers}))
    error = await refused(TransientError, hubs.query_devices(HOST, QUERY))
    assert error.retry_after == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "ArgumentInvalid", PermanentError),
        (401, "IotHubUnauthorizedAccess", DeniedError),
        (403, "IotHubFormatError", DeniedError),
        (403, "IotHubQuotaExceeded", TransientError),
        (404, "IotHubNotFound", PermanentError),
        (404, "ResourceNotFound", PermanentError),
        (404, "404002", PermanentError),
        (408, "RequestTimeout", TransientError),
        (409, "Conflict", PermanentError),
        (412, "PreconditionFailed", PermanentError),
        (429, "ThrottlingException", TransientError),
        (500, "ServerError", TransientError),
        (503, "ServiceUnavailable", TransientError),
    ],
)
@pytest.mark.parametrize("shape", ["usual", "wrapped", "flat", "html", "none"])
async def test_each_answer_is_one_request_and_the_right_error(hubs, monkeypatch, asked, status, code, kind, shape):
    refusal = data_plane_error(status, code, "because").body
    body = {
        "usual": refusal,
        "wrapped": {"error": {"code": code, "message": "because"}},
        "flat": {"code": code, "message": "because"},
        "html": "<html>",
        "none": None,
    }[shape]
    if shape != "usual" and code == "IotHubQuotaExceeded":
        kind = DeniedError  # nobody says what it is
    answering(monkeypatch, status, body)
    error = await refused(kind, hubs.query_devices(HOST, QUERY))
    assert str(error).startswith(f"querying the devices of {HOST}: {status}")
    if shape == "usual":
        assert f"{status} {code}: because" in str(error)
    assert len(asked()) == 1


@pytest.mark.parametrize(
    "fault",
    [
        *({"status": status} for status in (408, 429, 500, 502, 503)),
        {"status": 503, "html": True},
        {"kind": "cut"},
        {"kind": "cut_after"},
    ],
)
async def test_what_passes_is_worth_coming_back_and_never_tried_twice(hubs, sim, asked, fault):
    sim.fail("POST", "/devices/query", times=None, **fault)
    await refused(TransientError, hubs.query_devices(HOST, QUERY))
    assert len(asked()) == 1


async def test_a_query_that_never_ends_is_a_timeout(hubs, sim, monkeypatch):
    await hubs.query_devices(HOST, QUERY)
    monkeypatch.setattr(calls_module, "_SECONDS", 0.1)
    sim.fail("POST", "/devices/query", kind="slow", seconds=1)
    assert "TimeoutError" in str(await refused(TransientError, hubs.query_devices(HOST, QUERY)))


async def test_a_private_hub_that_cannot_be_reached(make):
    hubs = make(Given("t"), Cloud("https://x", "https://x", "https://x", data_plane="https://127.0.0.1:9"))
    error = await refused(TransientError, hubs.query_devices(HOST, QUERY))
    assert "the connection broke" in str(error)


@pytest.mark.parametrize(
    "fault",
    [
        *({"status": status} for status in (400, 401, 403, 404, 500)),
        {"status": 503, "html": True},
        {"kind": "cut"},
    ],
)
async def test_without_a_token_it_is_worth_coming_back(hubs, sim, asked, fault):
    sim.fail("POST", "/oauth2/", times=None, **fault)
    error = await refused(TransientError, hubs.query_devices(HOST, QUERY))
    assert "no token could be had: " in str(error)
    assert asked() == []


async def test_a_token_for_arm_is_none_for_hubs(sim, names, make):
    hubs = make(Given(sim.issue_token(names.app)))
    await refused(DeniedError, hubs.query_devices(HOST, QUERY))


async def test_a_query_takes_nothing_from_the_budget_of_arm(hubs, sim):
    sim.configure(reads=(0, 0.001), writes=(0, 0.001), data_plane_throttle=0)
    for _ in range(30):
        await hubs.query_devices(HOST, QUERY)


async def test_no_key_and_no_token_in_any_error(hubs, sim, names, monkeypatch):
    key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
    token = sim.issue_token(names.app)
    for status in (400, 401, 403, 404, 429, 500):
        for text in (f"SharedAccessKey={key}", f"not authorized, Bearer {token}"):
            answering(monkeypatch, status, data_plane_error(status, "Odd", text).body)
            with pytest.raises(AzureError) as caught:
                await hubs.query_devices(HOST, QUERY)
            told = json.dumps([str(caught.value), getattr(caught.value, "missing_action", None)])
            assert key[:20] not in told
            assert token[:40] not in told
