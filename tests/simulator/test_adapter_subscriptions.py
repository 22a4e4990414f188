"""The subscriptions that the identity can see, over real connections."""

import json

from datetime import timedelta

import pytest

from hubwarden.adapters.azure import calls as calls_module
from hubwarden.service.errors import AzureError, DeniedError, PermanentError, TransientError
from local.azure_simulator import server
from local.azure_simulator.gateway import Gateway
from local.azure_simulator.wire import Reply
from tests.simulator.listening import all_loggers_at_debug


@pytest.fixture(autouse=True)
def everything(sim):
    """Every test of this file: all loggers at DEBUG, and no token in any line of any."""
    with all_loggers_at_debug() as handler:
        yield handler
    assert not any(token in handler.text for token in sim.state.entra._issued)


@pytest.fixture
def asked(sim):
    def log():
        return [entry for entry in sim.requests() if "/oauth2/" not in entry["path"]]

    return log


async def refused(kind, hubs):
    with pytest.raises(AzureError) as caught:
        await hubs.subscriptions()
    assert type(caught.value) is kind, caught.value
    assert str(caught.value).startswith("listing the subscriptions: ")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


def listing(monkeypatch, *pages):
    """ARM answers with these pages, in turn."""
    left = list(pages)
    monkeypatch.setattr(Gateway, "answer", lambda *_: Reply(200, left.pop(0)))


def item(subscription, state="Enabled"):
    return {"id": f"/subscriptions/{subscription}", "subscriptionId": subscription, "state": state}


@pytest.mark.parametrize("size", [100, 3, 2, 1])
async def test_all_of_them_in_as_many_requests_as_there_are_pages(hubs, sim, names, asked, size):
    sim.configure(page_size=size)
    for number in range(4):
        sim.set_subscription(f"S{number}")
    assert await hubs.subscriptions() == [names.subscription, "s0", "s1", "s2", "s3"]
    assert [entry["path"] for entry in asked()] == ["/subscriptions"] * -(-5 // size)
    assert all("api-version=2022-12-01" in entry["query"] for entry in asked())


@pytest.mark.parametrize(
    ("state", "seen"),
    [("Enabled", 1), ("Warned", 1), ("PastDue", 1), ("Disabled", 0), ("Deleted", 0)],
)
async def test_only_those_in_which_resources_run(hubs, sim, names, state, seen):
    sim.set_subscription("other", state)
    assert await hubs.subscriptions() == [names.subscription, *["other"] * seen]


async def test_those_that_may_not_be_read_are_not_there(hubs, sim):
    sim.deny("Microsoft.Resources/subscriptions/read", "/")
    assert await hubs.subscriptions() == []


async def test_ids_are_lower_case_sorted_and_each_there_once(hubs, monkeypatch):
    page = {"value": [item("B-2"), item("a-1", "ENABLED"), item("b-2", "pastdue"), item("C", None), item("D", 5)]}
    listing(monkeypatch, page)
    assert await hubs.subscriptions() == ["a-1", "b-2"]


@pytest.mark.parametrize("odd", [None, "", "a/b", "..", "a b", 5.5, "x" * 65, "a\n"])
async def test_a_subscription_without_a_usable_id_is_not_passed_over(hubs, monkeypatch, odd):
    listing(monkeypatch, {"value": [item("a"), item(odd)]})
    await refused(PermanentError, hubs)


@pytest.mark.parametrize(
    "body", [None, [], {}, "x", {"value": None}, {"value": {}}, {"value": [5]}, {"error": {"code": "Odd"}}]
)
async def test_an_answer_without_sense(hubs, monkeypatch, body):
    listing(monkeypatch, body)
    await refused(PermanentError, hubs)


@pytest.mark.parametrize("raw", [b"{", b"<html>no</html>", b"\xff\xfe", b""])
async def test_an_answer_that_is_no_json(hubs, sim, names, monkeypatch, raw):
    await hubs.subscriptions()  # which brings the token, too
    monkeypatch.setattr(server, "encoded", lambda *_: raw)
    await refused(PermanentError, hubs)


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/subscriptions?x",
        "http{arm}/subscriptions?x",
        "https{arm}0/subscriptions?x",
        "https{arm}@evil.example/subscriptions",
        "//evil.example/subscriptions",
        "/subscriptions?x",
        "5",
    ],
)
async def test_our_token_goes_to_no_other_place(hubs, sim, monkeypatch, asked, link):
    listing(monkeypatch, {"value": [], "nextLink": link.format(arm=sim.url.removeprefix("https"))})
    await refused(PermanentError, hubs)
    assert len(asked()) == 1


async def test_a_list_that_never_ends_is_a_timeout(hubs, sim, monkeypatch):
    await hubs.subscriptions()
    monkeypatch.setattr(calls_module, "_SECONDS", 0.1)
    again = {"value": [], "nextLink": f"{sim.url}/subscriptions?api-version=2022-12-01"}
    monkeypatch.setattr(Gateway, "answer", lambda *_: Reply(200, again))
    assert "TimeoutError" in str(await refused(TransientError, hubs))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 401}, TransientError),
        ({"status": 403}, DeniedError),
        ({"status": 404}, PermanentError),
        ({"status": 429, "retry_after": 7}, TransientError),
        ({"status": 500}, TransientError),
        ({"status": 503, "html": True, "retry_after": 7}, TransientError),
        ({"kind": "cut"}, TransientError),
        ({"kind": "cut_after"}, TransientError),
    ],
)
@pytest.mark.parametrize("skip", [0, 1])
async def test_any_page_that_fails_is_the_failure_of_all(hubs, sim, asked, fault, kind, skip):
    sim.configure(page_size=1)
    sim.set_subscription("other")
    sim.fail("GET", "/subscriptions", times=None, skip=skip, **fault)
    error = await refused(kind, hubs)
    if "retry_after" in fault:
        assert error.retry_after == timedelta(seconds=7)
    if "status" in fault:
        assert len(asked()) == skip + 1


@pytest.mark.parametrize(
    "fault", [{"status": 400}, {"status": 401}, {"status": 503, "html": True}, {"kind": "cut"}]
)
async def test_without_a_token_it_is_worth_coming_back(hubs, sim, asked, fault):
    sim.fail("POST", "/oauth2/", times=None, **fault)
    error = await refused(TransientError, hubs)
    assert "no token could be had: " in str(error)
    assert not error.sent
    assert asked() == []


async def test_no_key_comes_out_in_an_error(hubs, monkeypatch):
    key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
    body = {"error": {"code": "Odd", "message": f"SharedAccessKey={key}"}}
    monkeypatch.setattr(Gateway, "answer", lambda *_: Reply(400, body))
    assert key not in json.dumps(str(await refused(PermanentError, hubs)))
