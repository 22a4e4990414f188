"""No key and no token leaves the adapter: not in bodies, not in errors, not in any log at any level."""

import json
import traceback

import pytest

from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ClientSecretCredential
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubwarden.adapters.azure.cloud import Cloud
from hubwarden.adapters.azure.hubs import ArmHubs
from hubwarden.adapters.azure.identity import own_identity
from hubwarden.adapters.azure.redaction import redacted, safe_text
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import same
from hubwarden.service.errors import AzureError, PermanentError
from local.azure_simulator import CANARY, CANARY_BASE64
from tests.simulator.listening import all_loggers_at_debug


KEY = "HuBwArDeNcAnArY+" + "k/" * 13 + "k="
LONG_KEY = "HuBwArDeNcAnArY+" + "s/" * 35 + "=="
SECRET_NAMES = ("primaryKey", "secondaryKey", "PrimaryKey", "sharedAccessKey", "accountKey", "accessKey")
NO_KEY = settings(
    deadline=None, max_examples=60, database=None, suppress_health_check=[HealthCheck.too_slow]
)  # fmt: skip


@pytest.fixture
def press(names):
    return HubId.parse(names.hub)


@pytest.fixture
def everything():
    """Every logger that exists is at DEBUG, and so is each that comes."""
    with all_loggers_at_debug() as handler:
        yield handler


FOREIGN = {
    "routing": {
        "endpoints": {
            "eventHubs": [
                {
                    "name": "e",
                    "connectionString": f"Endpoint=sb://n.servicebus.windows.net:5671/;SharedAccessKeyName=send;"
                    f"SharedAccessKey={KEY};EntityPath=e",
                    "primaryKey": KEY,
                    "secondaryKey": KEY,
                }
            ],
            "cosmosDBSqlCollections": [{"name": "c", "primaryKey": LONG_KEY, "secondaryKey": None}],
            "storageContainers": [
                {"connectionString": f"DefaultEndpointsProtocol=https;AccountName=n;AccountKey={LONG_KEY}"},
                {"connectionString": f"BlobEndpoint=https://n/;SharedAccessSignature=sv=2020&sig={KEY}"},
            ],
        },
        "routes": [{"condition": "key = 'AccountKey' AND code = 5", "endpointNames": ["e"]}],
    },
    "authorizationPolicies": [{"keyName": "owner", "primaryKey": KEY, "secondaryKey": KEY, "rights": "x"}],
}


@pytest.fixture
def unmasking(sim, monkeypatch):
    """A simulator that masks nothing, as lists of foreign hubs have been seen to do (RECORDINGS §2.2)."""
    from local.azure_simulator import hub as hub_module

    monkeypatch.setattr(hub_module, "masked", lambda value: value)
    return sim


async def test_keys_of_foreign_hubs_in_a_list_come_out_masked(hubs, unmasking, names, everything):
    endpoints = {"routing": FOREIGN["routing"]}
    unmasking.add_hub({"id": f"{names.hub}-2", "properties": {"state": "Active", **endpoints}})
    bodies = {
        body["name"] if "name" in body else body["id"]: body async for body in hubs.list_hubs(names.subscription)
    }
    text = json.dumps(bodies)
    for secret in (KEY, LONG_KEY, CANARY, CANARY_BASE64):
        assert secret not in text
        assert secret not in everything.text
    shown = bodies[f"{names.hub}-2"]["properties"]["routing"]["endpoints"]
    assert shown["eventHubs"][0] == {
        "name": "e",
        "connectionString": "Endpoint=sb://n.servicebus.windows.net:5671/;SharedAccessKeyName=send;"
        "SharedAccessKey=****(kept back);EntityPath=e",
        "primaryKey": "****(kept back)",
        "secondaryKey": "****(kept back)",
    }
    assert shown["cosmosDBSqlCollections"] == [
        {"name": "c", "primaryKey": "****(kept back)", "secondaryKey": None}
    ]
    assert [item["connectionString"] for item in shown["storageContainers"]] == [
        "DefaultEndpointsProtocol=https;AccountName=n;AccountKey=****(kept back)",
        "BlobEndpoint=https://n/;SharedAccessSignature=****(kept back)",
    ]
    assert bodies[f"{names.hub}-2"]["properties"]["routing"]["routes"] == FOREIGN["routing"]["routes"]


async def test_a_get_that_is_not_masked_comes_out_masked(hubs, unmasking, names, press):
    body = await hubs.get_hub(press)
    kept = body["properties"]["storageEndpoints"]["$default"]["connectionString"]
    assert kept.endswith("AccountKey=****(kept back)")
    assert CANARY_BASE64 not in json.dumps(body)


async def test_a_body_of_which_a_key_was_kept_back_is_never_written(hubs, unmasking, names, press):
    body = await hubs.get_hub(press)
    unmasking.clear_requests()
    with pytest.raises(PermanentError, match="showed a key of it in clear"):
        await hubs.put_hub(press, body, etag=body["etag"])
    assert unmasking.requests() == []


async def test_nothing_secret_is_logged_by_anyone_at_any_level(hubs, sim, names, press, everything):
    """List, get, put and all failures; the 201 of a PUT is full of keys, and its operation URL is one."""
    before = await hubs.get_hub(press)
    assert [body async for body in hubs.list_hubs(names.subscription)]
    await hubs.put_hub(press, before, etag=before["etag"])
    sim.finish_transitions()
    await own_identity(hubs._arm._credential, hubs._arm._cloud)
    told = []
    faults = [
        *({"status": status} for status in (403, 404, 408, 409, 412, 429, 500, 503)),
        {"status": 503, "html": True},
        {"kind": "cut"},
        {"kind": "cut_after"},
    ]
    for fault in faults:
        sim.clear_faults()
        sim.fail("PUT", times=None, **fault)
        sim.fail("GET", times=None, **fault)
        told += [await failure(hubs, press, before, what) for what in ("get", "put", "list")]
    shown = everything.text + "\n".join(told)
    tokens = list(sim.state.entra._issued)
    assert tokens
    for secret in (
        CANARY,
        CANARY_BASE64,
        names.secret,
        *tokens,
        *(part for token in tokens for part in token.split(".")),
    ):
        assert secret not in shown
    assert "Bearer eyJ" not in shown
    assert "operationResults" not in shown
    assert everything.lines


async def failure(hubs, hub, body, what):
    async def do():
        if what == "put":
            await hubs.put_hub(hub, body, etag=body["etag"])
        elif what == "get":
            await hubs.get_hub(hub)
        else:
            _ = [body async for body in hubs.list_hubs(hub.subscription)]

    with pytest.raises(AzureError) as caught:
        await do()
    return "".join(traceback.format_exception(caught.value))


async def test_a_hub_that_the_sdk_cannot_read_is_not_quoted(hubs, unmasking, names, everything):
    odd = {"state": "Active", "routing": FOREIGN["routing"], "cloudToDevice": {"maxDeliveryCount": f"no {KEY}"}}
    unmasking.add_hub({"id": f"{names.hub}-2", "properties": odd, "sku": {"capacity": f"AccountKey={KEY}"}})
    told = await failure(hubs, HubId.parse(f"{names.hub}-2"), {}, "get")
    listed = [body async for body in hubs.list_hubs(names.subscription)]
    assert len(listed) == 2, "lists are read without the SDK's models"
    assert f"AccountKey={KEY}" not in json.dumps(listed)
    assert KEY not in told
    assert KEY not in everything.text


async def test_a_wrong_secret_is_not_shown(sim, names, press, everything):
    async with ClientSecretCredential(
        names.tenant, names.app, "the-wrong-secret", authority=sim.authority, disable_instance_discovery=True,
        connection_verify=sim.ca_file, retry_total=0,
    ) as credential:  # fmt: skip
        cloud = Cloud(sim.url, sim.audience, sim.authority, custom=True)
        arm = ArmHubs(cloud, credential, AioHttpTransport(connection_verify=sim.ca_file))
        told = await failure(arm, press, {}, "get")
        await own_identity(credential, cloud)
        await arm.close()
    assert "AADSTS7000215" in told
    assert "the-wrong-secret" not in told + everything.text


# --- the masking itself, for any JSON

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
harmless = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)
keys = st.sampled_from([KEY, LONG_KEY, "c2hvcnQ=", "HuBwArDeN/+x"])
connection = st.builds(
    "{}{}{}={}{}".format,
    st.sampled_from(["", "Endpoint=sb://n/;SharedAccessKeyName=p;", "AccountName=n;"]),
    st.sampled_from(["", " "]),
    st.sampled_from(["SharedAccessKey", "AccountKey", "sharedaccesskey", "ACCOUNTKEY"]),
    keys,
    st.sampled_from(["", ";EntityPath=e", ";", ";AccountKey=****"]),
)


@st.composite
def with_key(draw):
    """A JSON document with one key somewhere in it, and the key."""
    key = draw(keys)
    spot = {draw(st.sampled_from(SECRET_NAMES)): key}
    if draw(st.booleans()):
        spot = {"connectionString": draw(connection).replace("HuBwArDeN/+x", key)}
    for _ in range(draw(st.integers(0, 4))):
        around = draw(st.lists(harmless, max_size=2))
        spot = (
            [*around, spot] if draw(st.booleans()) else {**{f"n{i}": v for i, v in enumerate(around)}, "x": spot}
        )
    return spot


@NO_KEY
@given(with_key())
def test_no_key_survives_anywhere_in_a_document(document):
    once = redacted(document)
    shown = json.dumps(once)
    assert not any(key in shown for key in (KEY, LONG_KEY, "c2hvcnQ=", "HuBwArDeN/+x"))
    assert "****" in shown
    assert same(redacted(once), once)


@NO_KEY
@given(harmless)
def test_what_holds_no_key_is_not_touched(document):
    assert same(redacted(document), document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "****",
        "AccountKey=****",
        "DefaultEndpointsProtocol=https;AccountName=n;AccountKey=****;EndpointSuffix=core.windows.net",
        "Endpoint=sb://n/;SharedAccessKeyName=p;SharedAccessKey=****;EntityPath=e",
        "SharedAccessKeyName=p",
        "level = 'x' AND code = 5 AND monkey=7",
        "$body.key=1 AND code = 5",
        "see https://wiki/page?code=7&key=value",
        "Bearer of bad news, key=none",
        "PrimaryKey = id",
    ],
)
def test_masked_and_harmless_texts_of_a_body_stay_to_the_letter(text):
    body = {"properties": {"comments": text, "list": [text, {"deep": text}]}, "tags": {"key": text}}
    assert redacted(body) == body


def test_the_document_that_is_masked_is_a_copy():
    document = {"a": [{"primaryKey": KEY}]}
    assert redacted(document) == {"a": [{"primaryKey": "****(kept back)"}]}
    assert document == {"a": [{"primaryKey": KEY}]}


prose = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), max_size=30).map(
    lambda text: text.replace("*", "").replace("=", "")
)
JWT = "eyJhbGciOiJub25lIn0.eyJvaWQiOiJodWJ3YXJkZW4ifQ.c2lnbmF0dXJl"
SHORT = "c2hvcnRTZWNyZXRLZXk"
PLANTED = [
    KEY,
    LONG_KEY,
    JWT,
    f"Bearer {JWT}",
    f"authorization: bearer {SHORT}",
    f"SharedAccessKey={KEY}",
    f'"primaryKey":"{KEY}"',
    f'{{"primaryKey": "{SHORT}="}}',
    f'{{"secondaryKey": "{SHORT}="}}',
    f"'AccountKey'='{SHORT}='",
    f'AccountKey="{SHORT}="',
    f"accessKey: {SHORT}=",
    f"client_secret={SHORT}=",
    f"sig={SHORT}&se=5",
    f"https://host/api?code={SHORT}",
    f"https://host/api/approvals/f-1?v=1&p=x&e=5&s={SHORT}",
    f"https://host/api/approvals/f-1?s={SHORT}",
    f"https://host/api/approvals/f-1?v=1&amp;s={SHORT}",
    f"https%3A%2F%2Fhost%2Fapi%3Fv%3D1%26s%3D{SHORT}",
    f'"https://host/api/approvals/several?v=1\\u0026p={SHORT}"',
]


@pytest.mark.parametrize("secret", PLANTED)
@settings(NO_KEY, max_examples=15)
@given(before=prose, after=prose, longest=st.integers(80, 700))
def test_no_key_is_left_in_a_text_for_people(secret, before, after, longest):
    shown = safe_text(f"{before} {secret} {after}", longest)
    assert len(shown) <= longest
    assert "****" in shown
    for part in (KEY[:20], LONG_KEY[:20], JWT[5:30], SHORT):
        assert part not in shown


@pytest.mark.parametrize("before", ["SECONDARYKEY", "the AccessKey primaryKey:", "SharedAccessKey 'AccountKey'"])
@pytest.mark.parametrize("secret", PLANTED)
def test_the_name_of_a_key_before_another_hides_no_key(before, secret):
    shown = safe_text(f"{before} {secret} after it")
    for part in (KEY[:20], LONG_KEY[:20], JWT[5:30], SHORT):
        assert part not in shown


@NO_KEY
@given(st.text(max_size=900), st.integers(1, 700))
def test_a_text_for_people_is_one_printable_line(text, longest):
    shown = safe_text(text, longest)
    assert len(shown) <= longest
    assert shown.isprintable()
    assert shown == shown.strip()
    shown.encode()


@pytest.mark.parametrize(
    "text",
    [
        "IotHub 'press' is not Active. errorcode: IH409002.",
        "The status code 404 was unexpected, error code: 17",
        "/subscriptions/aaaaaaaa-0000-4000-8000-000000000001/resourceGroups/plant/providers/Microsoft.Devices/IotHubs/p",
        "a bearer token is required",
        "The access key is missing",
    ],
)
def test_what_people_need_stays_readable(text):
    assert safe_text(text) == text
