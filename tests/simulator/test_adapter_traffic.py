"""The adapter against the simulator with the real SDKs: what is sent, what is read, and nothing beyond that."""

import copy
import json

import pytest

from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ClientSecretCredential

from hubwarden.adapters.azure.cloud import Cloud
from hubwarden.adapters.azure.hubs import ArmHubs
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import differences, same, with_value
from hubwarden.service.errors import ConflictError, HubGoneError, PermanentError, TransientError


TLS = ("properties", "minTlsVersion")
NEW = {
    "rootCertificate": {
        "enableRootCertificateV2": True,
        "deeper": {"list": [{"a": None}, [1, [2.0]]], "null": None},
    },
    "ipVersion": "ipv4ipv6",
    "umlaut": "Größe \u2028 \U0001f512 \u0000",
    "big": 2**64 + 1,
    "negative": -(2**53) - 1,
    "float": 0.1,
    "whole float": 3.0,
    "tiny": 5e-324,
    "true": True,
    "empty": {},
    "empty list": [],
    "": "empty name",
    "comments": "the monkey=7, code = 5, sig=6 and Bearer 7 stay; so does AccountKey=****",
}


class Listening(AioHttpTransport):
    """The transport of bootstrap.py, which notes the headers that the simulator does not log."""

    def __init__(self, **options):
        super().__init__(use_env_settings=False, connection_timeout=10, read_timeout=30, **options)
        self.sent = []

    async def send(self, request, **config):
        self.sent.append((request.method, request.url, dict(request.headers)))
        answer = await super().send(request, **config)
        self.answered = answer.headers
        return answer


@pytest.fixture
def transport(sim):
    return Listening(connection_verify=sim.ca_file)


@pytest.fixture
async def hubs(sim, names, transport):
    cloud = Cloud(sim.url, sim.audience, sim.authority, custom=True)
    credential = ClientSecretCredential(
        names.tenant, names.app, names.secret, authority=cloud.authority, disable_instance_discovery=cloud.custom,
        connection_verify=sim.ca_file, retry_total=0,
    )  # fmt: skip
    arm = ArmHubs(cloud, credential, transport)
    async with credential:
        yield arm
        await arm.close()


@pytest.fixture
def asked(sim):
    """What ARM was asked since the fixture, as (method, path, status)."""
    seen = len(sim.requests())

    def log():
        entries = [entry for entry in sim.requests()[seen:] if "/oauth2/" not in entry["path"]]
        return [(entry["method"], entry["path"], entry["status"]) for entry in entries]

    return log


@pytest.fixture
def press(names):
    return HubId.parse(names.hub)


async def served(arm, path):
    """The bytes of ARM without any SDK, as JSON."""
    answer = await arm("GET", path)
    assert answer.status == 200
    return answer.body


async def put_bodies(sim):
    return [entry["body"] for entry in sim.requests(bodies=True) if entry["method"] == "PUT"]


async def test_get_is_what_the_server_sent_in_one_request(hubs, sim, arm, names, press, asked):
    sim.add_hub({"id": names.hub, "newer": {"than": ["the SDK"]}, "properties": NEW})
    body = await hubs.get_hub(press)
    assert asked() == [("GET", press_path(names), 200)]
    assert same(body, await served(arm, names.hub))
    assert same({name: body["properties"][name] for name in NEW}, NEW)
    assert body["newer"] == {"than": ["the SDK"]}


def press_path(names):
    """HubId is lower case, and Azure answers to any casing."""
    return (
        HubId.parse(names.hub)
        .path.replace("resourcegroups", "resourceGroups")
        .replace("microsoft.devices/iothubs", "Microsoft.Devices/IotHubs")
    )


async def test_a_write_differs_from_what_was_read_in_one_path_and_nothing_is_lost(
    hubs, sim, arm, names, press, asked
):
    sim.add_hub({"id": names.hub, "newer": {"than": ["the SDK"], "with": {"null": None}}, "properties": NEW})
    before = await hubs.get_hub(press)
    body = with_value(before, TLS, "1.2")
    kept = copy.deepcopy(body)
    await hubs.put_hub(press, body, etag=before["etag"])
    assert [(method, status) for method, _, status in asked()] == [("GET", 200), ("PUT", 201)]
    assert same(body, kept)
    (sent,) = await put_bodies(sim)
    assert list(differences(before, sent)) == [TLS]
    assert sent["properties"]["minTlsVersion"] == "1.2"
    sim.finish_transitions()
    after = await hubs.get_hub(press)
    assert set(differences(before, after)) == {TLS, ("etag",)}
    assert same(after, await served(arm, names.hub))


async def test_a_write_keeps_the_keys_that_only_azure_knows(hubs, sim, names, press):
    stored = sim.hub(names.hub)
    before = await hubs.get_hub(press)
    await hubs.put_hub(press, with_value(before, TLS, "1.2"), etag=before["etag"])
    sim.finish_transitions()
    after = sim.hub(names.hub)
    assert after["policies"] == stored["policies"]
    old, new = (hub["body"]["properties"]["storageEndpoints"] for hub in (stored, after))
    assert old == new
    assert "AccountKey=****" not in json.dumps(new)


async def test_if_match_is_bare_and_the_headers_are_what_they_should_be(hubs, press, transport):
    before = await hubs.get_hub(press)
    await hubs.put_hub(press, before, etag=before["etag"])
    get, put = ({name.lower(): value for name, value in headers.items()} for _, _, headers in transport.sent)
    assert "if-match" not in get
    assert put["if-match"] == before["etag"]
    assert put["content-type"] == "application/json"
    assert put["authorization"].startswith("Bearer eyJ")
    assert put["user-agent"].startswith("hubwarden")
    assert [url.partition("?")[2] for _, url, _ in transport.sent] == ["api-version=2023-06-30"] * 2


async def test_the_receipt_of_a_write_is_what_azure_calls_the_request(hubs, press, transport):
    before = await hubs.get_hub(press)
    receipt = await hubs.put_hub(press, before, etag=before["etag"])
    ids = {name: transport.answered[name] for name in ("x-ms-request-id", "x-ms-correlation-request-id")}
    assert (receipt.request_id, receipt.correlation_id) == tuple(ids.values())
    assert len({*ids.values()}) == 2


async def test_the_etag_of_the_caller_is_the_one_that_counts(hubs, press, asked, transport):
    before = await hubs.get_hub(press)
    with pytest.raises(ConflictError, match="412 412001") as caught:
        await hubs.put_hub(press, before, etag="AAAAAAAAAAA=")
    assert caught.value.receipt.request_id == transport.answered["x-ms-request-id"]
    assert [status for _, _, status in asked()] == [200, 412]


async def test_a_write_spells_the_hub_as_azure_does(hubs, sim, names, asked):
    spelled = (
        f"/subscriptions/{names.subscription}/resourcegroups/PlAnt-2/providers/Microsoft.Devices/IotHubs/DriLL"
    )
    sim.add_hub({"id": spelled})
    drill = HubId.parse(spelled.upper())
    before = await hubs.get_hub(drill)
    await hubs.put_hub(drill, before, etag=before["etag"])
    (_, path, status) = asked()[-1]
    assert (status, path.split("/")[4], path.split("/")[8]) == (201, "PlAnt-2", "DriLL")
    sim.finish_transitions()
    assert (await hubs.get_hub(drill))["id"] == spelled


@pytest.mark.parametrize(
    "other",
    [
        "{hub}2",
        "{hub}/",
        "{hub}/certificates/c",
        "/subscriptions/{sub}/resourceGroups/other/providers/Microsoft.Devices/IotHubs/press",
        "/subscriptions/other/resourceGroups/plant/providers/Microsoft.Devices/IotHubs/press",
        "/subscriptions/{sub}/resourceGroups/plant/providers/Microsoft.Storage/storageAccounts/press",
        "a/b/c/d/e/f/g/h",
        "",
        None,
        5,
        ["{hub}"],
        "{hub}\nWARNING forged",
    ],
)
async def test_the_body_of_another_hub_is_never_sent(hubs, sim, names, press, asked, other):
    body = await hubs.get_hub(press)
    body["id"] = other.format(hub=names.hub, sub=names.subscription) if isinstance(other, str) else other
    if other == "{hub}/":
        await hubs.put_hub(press, body, etag=body["etag"])  # the same hub, after all
        assert asked()[-1][1:] == (names.hub, 201)
        return
    with pytest.raises(PermanentError, match="the body is of another hub") as caught:
        await hubs.put_hub(press, body, etag=body["etag"])
    assert "\n" not in str(caught.value)
    assert [method for method, _, _ in asked()] == ["GET"]


async def test_a_body_without_an_id_is_never_sent(hubs, press, asked):
    with pytest.raises(PermanentError):
        await hubs.put_hub(press, {}, etag="x")
    assert asked() == []


@pytest.mark.parametrize(("page", "pages"), [(100, 1), (7, 1), (3, 3), (1, 7)])
async def test_a_list_is_all_hubs_in_as_many_requests_as_there_are_pages(
    hubs, sim, arm, names, asked, page, pages
):
    sim.configure(page_size=page)
    for number in range(6):
        sim.add_hub({"id": f"{names.hub}-{number}", "properties": {"unknown": {"number": number, "null": None}}})
    sim.add_hub({"id": names.hub.replace(names.subscription, "another-subscription")})
    got = [body async for body in hubs.list_hubs(names.subscription)]
    assert asked() == [("GET", names.hubs, 200)] * pages
    sim.configure(page_size=100)
    assert same(got, (await served(arm, names.hubs))["value"])
    assert len(got) == 7


async def test_an_empty_subscription_is_an_empty_list(hubs, asked):
    assert [body async for body in hubs.list_hubs("nothing-in-here")] == []
    assert len(asked()) == 1


async def test_a_list_that_is_left_early_asks_for_no_further_page(hubs, sim, names, asked):
    sim.configure(page_size=1)
    sim.add_hub({"id": f"{names.hub}-2"})
    listing = hubs.list_hubs(names.subscription)
    async for _ in listing:
        break
    await listing.aclose()
    assert len(asked()) == 1


async def test_a_list_that_breaks_in_the_middle_gives_what_it_had_and_says_so(hubs, sim, names, asked):
    sim.configure(page_size=1)
    sim.add_hub({"id": f"{names.hub}-2"})
    sim.fail("GET", skip=1, status=500, times=None)
    listing = hubs.list_hubs(names.subscription)
    assert (await anext(listing))["name"] == "press"
    with pytest.raises(TransientError, match=r"^listing the hubs of subscription .*: 500 500019: Internal Error"):
        await anext(listing)
    assert [status for _, _, status in asked()] == [200, 500]


async def test_writing_waits_for_nothing(hubs, sim, names, press, until):
    sim.configure(transition_seconds=0.001)
    before = await hubs.get_hub(press)
    await hubs.put_hub(press, before, etag=before["etag"])
    await until(lambda: sim.hub(names.hub)["state"] == "Active")
    assert not [entry for entry in sim.requests() if "operationResults" in entry["path"]]


async def test_one_token_serves_many_requests_and_subscriptions(hubs, sim, names, press):
    for _ in range(3):
        await hubs.get_hub(press)
    tokens = [entry for entry in sim.requests() if "/oauth2/" in entry["path"]]
    assert len(tokens) == 1
    with pytest.raises(HubGoneError):
        await hubs.get_hub(HubId("another-subscription", "g", "h"))


async def test_a_hub_in_a_subscription_of_its_own_is_read_there(hubs, sim, names, press):
    other = names.hub.replace(names.subscription, "another-subscription")
    sim.add_hub({"id": other})
    one, two = await hubs.get_hub(press), await hubs.get_hub(HubId.parse(other))
    assert (one["id"], two["id"]) == (names.hub, other)


async def test_closing_is_final_and_needs_no_use_before(sim, names):
    cloud = Cloud(sim.url, sim.audience, sim.authority, custom=True)
    arm = ArmHubs(cloud, object(), AioHttpTransport())
    await arm.close()
    assert sim.requests() == []


def recorded(data):
    for path in sorted((data / "recordings" / "get_put_get").glob("**/*.json")):
        text = path.read_text(encoding="utf-8")
        for body in hub_bodies(json.loads(text)):
            yield path.name, body


def hub_bodies(value):
    if isinstance(value, dict):
        if isinstance(value.get("properties"), dict) and "hostName" in value["properties"] and "etag" in value:
            yield value
        else:
            for inner in value.values():
                yield from hub_bodies(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from hub_bodies(inner)


async def test_recorded_hubs_of_real_azure_come_through_unchanged(hubs, sim, arm, names, data):
    bodies = list(recorded(data))
    assert bodies
    for number, (_, body) in enumerate(bodies[:60]):
        sim.add_hub({**body, "id": f"{names.hub}-{number}"})
    got = [body async for body in hubs.list_hubs(names.subscription)]
    assert same(got, (await served(arm, names.hubs))["value"])
