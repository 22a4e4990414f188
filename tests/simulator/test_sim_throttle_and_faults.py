"""Token buckets, and each kind of trouble on demand."""

import re
import time

import aiohttp
import pytest

from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError


async def test_reads_run_out_and_come_back(arm, sim, names, until):
    sim.configure(reads=[2, 20.0])
    left = "x-ms-ratelimit-remaining-subscription-reads"
    assert [(await arm("GET", names.hub)).headers[left] for _ in range(2)] == ["1", "0"]
    refused = await arm("GET", names.hub)
    assert (refused.status, refused.code) == (429, "SubscriptionRequestsThrottled")
    assert refused.headers["Retry-After"] == "1"
    assert refused.body["error"]["message"].endswith("Please try again after '1' seconds.")
    deadline = time.monotonic() + 5
    while (await arm("GET", names.hub)).status != 200:
        assert time.monotonic() < deadline


async def test_retry_after_is_the_time_until_the_next_token(arm, sim, names):
    sim.configure(deletes=[1, 0.1])
    await arm("DELETE", f"{names.hub}0")
    refused = await arm("DELETE", f"{names.hub}0")
    assert refused.status == 429
    assert refused.headers["Retry-After"] == "10"


async def test_listkeys_counts_as_a_write(arm, sim, names):
    sim.configure(writes=[2, 0.001])
    answer = await arm("POST", f"{names.hub}/listkeys")
    assert answer.headers["x-ms-ratelimit-remaining-subscription-writes"] == "1"
    assert (await arm.changed(minTlsVersion="1.2")).status == 201
    assert (await arm("POST", f"{names.hub}/listkeys")).status == 429
    assert (await arm("GET", names.hub)).status == 200


async def test_buckets_are_per_principal_and_subscription(arm, sim, names):
    sim.configure(reads=[1, 0.001])
    assert [(await arm("GET", names.hub)).status for _ in range(2)] == [200, 429]
    assert (await arm("GET", names.hub, client=names.person)).status == 200
    assert (await arm("GET", "/subscriptions/other/providers/Microsoft.Devices/IotHubs")).status == 200


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AuthorizationFailed"),
        (404, "ResourceNotFound"),
        (408, "RequestTimeout"),
        (409, 409002),
        (412, 412001),
        (429, "SubscriptionRequestsThrottled"),
        (500, 500019),
        (502, "BadGatewayConnection"),
        (503, "ServerTimeout"),
        (504, "GatewayTimeout"),
        (418, "InternalServerError"),
    ],
)
async def test_status_faults_have_the_shape_of_who_gives_them(arm, sim, names, status, code):
    sim.fail("GET", "/IotHubs/press$", status=status)
    answer = await arm("GET", names.hub)
    assert (answer.status, answer.code) == (status, code)
    assert "Retry-After" not in answer.headers
    assert (await arm("GET", names.hub)).status == 200


async def test_429_with_retry_after(arm, sim, names):
    sim.fail("GET", "iothubs", status=429, retry_after=7)
    assert (await arm("GET", names.hub)).headers["Retry-After"] == "7"


async def test_the_sdk_retries_a_503_html_page(sim, names):
    from azure.identity.aio import ClientSecretCredential
    from azure.mgmt.iothub.aio import IotHubClient

    sim.fail("GET", "iothubs", status=503, html=True, retry_after=0.01, times=2)
    tls = {"connection_verify": sim.ca_file}
    credential = ClientSecretCredential(names.tenant, names.app, names.secret, authority=sim.authority, **tls)
    async with credential, IotHubClient(credential, names.subscription, base_url=sim.url, **tls) as client:
        assert (await client.iot_hub_resource.get("plant", "press")).name == "press"
    assert [e["status"] for e in sim.requests() if "/IotHubs/" in e["path"]] == [503, 503, 200]


async def test_the_html_page_is_html(arm, sim, names):
    sim.fail("GET", "iothubs", status=503, html=True)
    answer = await arm("GET", names.hub)
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.body.startswith("<!DOCTYPE html")


async def test_the_sdk_sees_a_html_503_as_an_error(sdk, sim):
    sim.fail("GET", "iothubs", status=503, html=True)
    with pytest.raises(HttpResponseError) as caught:
        await sdk.iot_hub_resource.get("plant", "press")
    assert caught.value.status_code == 503


async def test_a_cut_connection_had_no_effect(arm, sdk, sim, names):
    sim.fail("PUT", kind="cut", times=None)
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        await sdk.iot_hub_resource.begin_create_or_update("plant", "press", {"location": "westeurope"})
    assert sim.hub(names.hub)["state"] == "Active"
    entry = next(e for e in sim.requests() if e["method"] == "PUT")
    assert (entry["fault"], entry["status"]) == ("cut", None)


async def test_aiohttp_itself_repeats_an_idempotent_request_on_a_cut_pooled_connection(arm, sim, names):
    await arm("GET", names.hub)
    sim.fail("GET", kind="cut", times=1)
    assert (await arm("GET", names.hub)).status == 200
    assert [entry["fault"] for entry in sim.requests()] == [None, "cut", None]


async def test_a_cut_after_took_effect(arm, sim, names):
    sim.fail("PUT", kind="cut_after", times=None)
    with pytest.raises(aiohttp.ClientError):
        await arm.changed(minTlsVersion="1.2")
    assert sim.hub(names.hub)["state"] == "Transitioning"
    sim.finish_transitions()
    assert (await arm("GET", names.hub)).body["properties"]["minTlsVersion"] == "1.2"


async def test_a_slow_body_comes_whole_in_the_end(arm, sim, names):
    sim.fail("GET", kind="slow", seconds=0.15)
    start = time.monotonic()
    answer = await arm("GET", names.hub)
    assert time.monotonic() - start >= 0.14
    assert answer.body["name"] == "press"


async def test_latency_is_added_to_each_request(arm, sim, names):
    sim.configure(latency_seconds=0.05)
    start = time.monotonic()
    await arm("GET", names.hub)
    assert time.monotonic() - start >= 0.05


async def test_times_skip_and_principal(arm, sim, names):
    sim.fail("GET", "iothubs", times=2, skip=1, principal=names.app)
    statuses = [(await arm("GET", names.hub, client=names.person)).status]
    statuses += [(await arm("GET", names.hub)).status for _ in range(4)]
    assert statuses == [200, 200, 500, 500, 200]
    (fault,) = sim.faults()
    assert (fault["hits"], fault["times"], fault["skip"]) == (2, 0, 0)


async def test_probability_is_drawn_from_the_seed(arm, sim, names):
    async def outcomes():
        sim.clear_faults()
        sim.fail("GET", times=None, probability=0.5, seed=7)
        return [(await arm("GET", names.hub)).status for _ in range(20)]

    first = await outcomes()
    assert set(first) == {200, 500}
    assert await outcomes() == first


async def test_faults_can_be_lifted(arm, sim, names):
    one = sim.fail("GET", status=500, times=None)
    sim.fail("PUT", status=500, times=None)
    sim.clear_faults(one)
    assert (await arm("GET", names.hub)).status == 200
    assert [fault["method"] for fault in sim.faults()] == ["PUT"]


async def test_the_token_endpoint_can_fail_too(sdk, sim):
    sim.fail("POST", "/oauth2/v2.0/token", status=503)
    assert (await sdk.iot_hub_resource.get("plant", "press")).name == "press"
    assert [e["status"] for e in sim.requests() if e["path"].endswith("/token")] == [503, 200]


@pytest.mark.parametrize("wrong", [{"kind": "explode"}, {"path": "("}, {"colour": "red"}])
async def test_faults_that_make_no_sense_are_refused(sim, wrong):
    with pytest.raises((ValueError, TypeError, re.error)):
        sim.fail(**wrong)
