"""Subscriptions as ARM lists them."""

import pytest


VERSION = "2022-12-01"


async def listed(arm, link="/subscriptions"):
    answer = await arm("GET", link, version=VERSION)
    assert answer.status == 200
    return answer.body


async def test_a_subscription_is_there_as_soon_as_something_lies_in_it(arm, sim, names):
    sim.add_hub({"id": names.hub.replace(names.subscription, "Second")})
    sim.add_resource_group("third", "empty")
    body = await listed(arm)
    assert [one["subscriptionId"] for one in body["value"]] == [names.subscription, "second", "third"]
    assert body["count"] == {"type": "Total", "value": 3}
    assert "nextLink" not in body
    (first, *_) = body["value"]
    assert (first["id"], first["state"]) == (f"/subscriptions/{names.subscription}", "Enabled")
    assert (await arm("GET", first["id"], version=VERSION)).body == first


async def test_pages(arm, sim, names):
    sim.configure(page_size=2)
    for number in range(4):
        sim.set_subscription(f"s{number}")
    body, found = await listed(arm), []
    while True:
        found += [one["subscriptionId"] for one in body["value"]]
        if "nextLink" not in body:
            break
        assert len(body["value"]) == 2
        body = await listed(arm, body["nextLink"])
    assert found == [names.subscription, "s0", "s1", "s2", "s3"]
    assert (await arm("GET", f"/subscriptions?api-version={VERSION}&$skiptoken=x", version=None)).code == (
        "InvalidSkipToken"
    )


async def test_what_may_not_be_read_is_left_out(arm, sim, names):
    sim.set_subscription("closed")
    sim.deny("Microsoft.Resources/subscriptions/read", "/subscriptions/closed")
    assert [one["subscriptionId"] for one in (await listed(arm))["value"]] == [names.subscription]
    assert (await arm("GET", "/subscriptions/closed", version=VERSION)).code == "AuthorizationFailed"
    sim.deny("*", "/")
    assert (await listed(arm))["value"] == []


async def test_states(arm, sim):
    for state in ("Warned", "PastDue", "Disabled", "Deleted", "Enabled"):
        sim.set_subscription("Odd", state)
        assert (await arm("GET", "/subscriptions/odd", version=VERSION)).body["state"] == state
    with pytest.raises(ValueError, match="unknown state: 'Asleep'"):
        sim.set_subscription("odd", "Asleep")
    sim.reset()
    assert (await listed(arm))["value"] == []
    assert (await arm("GET", "/subscriptions/odd", version=VERSION)).code == "SubscriptionNotFound"


async def test_the_list_counts_against_the_tenant(arm):
    headers = (await arm("GET", "/subscriptions", version=VERSION)).headers
    assert headers["x-ms-ratelimit-remaining-tenant-reads"] == "249"
    assert not any("subscription-reads" in name.lower() for name in headers)
