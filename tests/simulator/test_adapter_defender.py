"""IoT security solutions over real connections: one reading for many hubs, no write over somebody else's."""

import asyncio
import copy
import json

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from hubwarden.adapters.azure import calls as calls_module
from hubwarden.domain.jsons import same
from hubwarden.service.errors import AzureError, ConflictError, DeniedError, PermanentError, TransientError
from local.azure_simulator import CANARY, CANARY_BASE64, server
from local.azure_simulator.gateway import Gateway
from local.azure_simulator.wire import Reply
from tests.simulator.listening import all_loggers_at_debug


NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LIST, GET, PUT = "GET iotSecuritySolutions 200", "GET one 200", "PUT one 200"


class Now:
    """The moment that it is."""

    at = NOW

    def __call__(self):
        return self.at


@pytest.fixture
def now():
    return Now()


@pytest.fixture(autouse=True)
def everything(sim):
    """Every test of this file: all loggers at DEBUG, and neither key nor token in any line of any."""
    with all_loggers_at_debug() as handler:
        yield handler
    assert not any(secret in handler.text for secret in (CANARY, CANARY_BASE64, *sim.state.entra._issued))


@pytest.fixture
def one(names):
    """The id of a solution that the tests make."""
    return f"{names.group}/providers/Microsoft.Security/iotSecuritySolutions/one"


@pytest.fixture
def made(sim, names, one):
    """A solution with our hub, and a body of it in which another hub is added."""
    sim.add_security_solution(
        {"id": one, "properties": {"iotHubs": [names.hub], "workspace": "/W"}, "tags": {"a": "b"}}
    )
    before = copy.deepcopy(sim.security_solutions()[0])
    sim.add_hub({"id": f"{names.hub}-2"})
    after = copy.deepcopy(before)
    after["properties"]["iotHubs"].append(f"{names.hub}-2")
    return before, after


@pytest.fixture
def asked(sim):
    """What ARM was asked since the last look, as "method tail status"."""

    def log():
        entries = [entry for entry in sim.requests() if "/oauth2/" not in entry["path"]]
        sim.clear_requests()
        return [f"{e['method']} {e['path'].rpartition('/')[2]} {e['status']}" for e in entries]

    return log


async def refused(kind, call):
    with pytest.raises(AzureError) as caught:
        await call
    assert type(caught.value) is kind, caught.value
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)
    return caught.value


def answered_by(monkeypatch, reply, method="GET"):
    """The gateway gives this answer to such requests."""
    real = Gateway.answer
    monkeypatch.setattr(Gateway, "answer", lambda self, call: reply if call.method == method else real(self, call))


# --- reading


async def test_solutions_are_what_the_server_sent(hubs, sim, arm, names, one, made, asked):
    sim.state.solutions[one.lower()]["properties"]["newer"] = {"deeper": [{"null": None}], "big": 2**64 + 1}
    found = await hubs.security_solutions(names.subscription, since=NOW)
    assert asked() == [LIST]
    url = f"/subscriptions/{names.subscription}/providers/Microsoft.Security/iotSecuritySolutions"
    assert same(found["solutions"], (await arm("GET", url, version="2019-08-01")).body["value"])
    assert list(found) == ["solutions"]
    assert sim.requests()[0]["query"] == "api-version=2019-08-01"


async def test_none_is_an_empty_list(hubs, names):
    assert await hubs.security_solutions(names.subscription, since=NOW) == {"solutions": []}


async def test_an_answer_serves_who_wants_nothing_younger(hubs, names, now, asked):
    for moment, since, expected in [
        (NOW, NOW, [LIST]),
        (NOW + SECOND, NOW - SECOND, []),
        (NOW + SECOND, NOW, []),
        (NOW + 2 * SECOND, NOW + SECOND, [LIST]),
        (NOW + 3 * SECOND, NOW + 2 * SECOND, []),
        (NOW + 9 * SECOND, NOW + 9 * SECOND, [LIST]),
    ]:
        now.at = moment
        await hubs.security_solutions(names.subscription, since=since)
        assert asked() == expected, moment


async def test_what_counts_is_when_it_was_asked_for_not_when_the_answer_came(hubs, sim, names, now, asked):
    sim.fail("GET", "iotSecuritySolutions", kind="slow", seconds=0.2)
    first = asyncio.create_task(hubs.security_solutions(names.subscription, since=NOW))
    await asyncio.sleep(0.05)
    now.at += 5 * SECOND
    await first
    await hubs.security_solutions(names.subscription, since=NOW + SECOND)
    assert asked() == [LIST, LIST]


async def test_fifty_hubs_at_once_share_one_request(hubs, names, asked):
    found = await asyncio.gather(*(hubs.security_solutions(names.subscription, since=NOW) for _ in range(50)))
    assert asked() == [LIST]
    assert all(answer == {"solutions": []} for answer in found)


async def test_nobody_waits_for_an_answer_that_is_too_old_for_him(hubs, sim, names, now, asked):
    sim.fail("GET", "iotSecuritySolutions", kind="slow", seconds=3)
    first = asyncio.create_task(hubs.security_solutions(names.subscription, since=NOW))
    await asyncio.sleep(0.05)
    now.at += SECOND
    await hubs.security_solutions(names.subscription, since=now.at)
    assert not first.done()
    await first
    await hubs.security_solutions(names.subscription, since=now.at)
    assert asked() == [LIST, LIST]


async def test_a_failure_is_shared_by_who_waits_and_by_nobody_else(hubs, sim, names, asked):
    sim.fail("GET", "iotSecuritySolutions", status=500)
    calls = (hubs.security_solutions(names.subscription, since=NOW) for _ in range(10))
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in found} == {TransientError}
    assert asked() == ["GET iotSecuritySolutions 500"]
    await hubs.security_solutions(names.subscription, since=NOW)
    assert asked() == [LIST]


async def test_one_that_goes_away_takes_the_answer_from_nobody(hubs, sim, names, asked):
    sim.fail("GET", "iotSecuritySolutions", kind="slow", seconds=0.2)
    tasks = [asyncio.create_task(hubs.security_solutions(names.subscription, since=NOW)) for _ in range(3)]
    await asyncio.sleep(0.05)
    tasks[0].cancel()
    assert await asyncio.gather(*tasks[1:]) == [{"solutions": []}] * 2
    assert asked() == [LIST]


async def test_what_was_given_out_cannot_spoil_what_is_remembered(hubs, names, made):
    first = await hubs.security_solutions(names.subscription, since=NOW)
    first["solutions"][0]["properties"]["iotHubs"].clear()
    second = await hubs.security_solutions(names.subscription, since=NOW)
    assert second["solutions"][0]["properties"]["iotHubs"] == [names.hub]


async def test_each_subscription_has_an_answer_of_its_own(hubs, names, asked):
    for subscription in (names.subscription, "another-subscription", names.subscription.upper()):
        await hubs.security_solutions(subscription, since=NOW)
    assert asked() == [LIST, LIST]


FAULTS = [
    ({"status": 401}, TransientError),
    ({"status": 403}, DeniedError),
    ({"status": 404}, PermanentError),
    ({"status": 408}, TransientError),
    ({"status": 429, "retry_after": 7}, TransientError),
    ({"status": 500}, TransientError),
    ({"status": 503, "html": True, "retry_after": 7}, TransientError),
    ({"kind": "cut"}, TransientError),
    ({"kind": "cut_after"}, TransientError),
]


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
async def test_solutions_that_cannot_be_read(hubs, sim, names, asked, fault, kind):
    sim.fail("GET", "iotSecuritySolutions$", times=None, **fault)
    error = await refused(kind, hubs.security_solutions(names.subscription, since=NOW))
    assert str(error).startswith(f"listing the security solutions of subscription {names.subscription}: ")
    if "retry_after" in fault:
        assert error.retry_after == timedelta(seconds=7)
    if "status" in fault:
        assert len(asked()) == 1


@pytest.mark.parametrize(
    "code", ["ResourceNotFound", "ResourceGroupNotFound", "SubscriptionNotFound", "404002", 404002]
)
@pytest.mark.parametrize("shape", ["wrapped", "flat"])
async def test_no_404_makes_a_hub_gone(hubs, names, one, made, monkeypatch, code, shape):
    body = {"code": code, "message": "no"}
    answered_by(monkeypatch, Reply(404, {"error": body} if shape == "wrapped" else body))
    await refused(PermanentError, hubs.security_solutions(names.subscription, since=NOW))
    kind = ConflictError if code == "ResourceNotFound" else PermanentError
    await refused(kind, hubs.put_security_solution(one, *made))


async def test_a_right_that_is_missing_is_named(hubs, sim, names):
    sim.deny("Microsoft.Security/iotSecuritySolutions/read", f"/subscriptions/{names.subscription}")
    error = await refused(DeniedError, hubs.security_solutions(names.subscription, since=NOW))
    assert error.missing_action == "Microsoft.Security/iotSecuritySolutions/read"


async def test_reading_that_never_ends_is_a_timeout(hubs, sim, names, monkeypatch):
    monkeypatch.setattr(calls_module, "_SECONDS", 0.1)
    sim.fail("GET", "iotSecuritySolutions$", kind="slow", seconds=1)
    error = await refused(TransientError, hubs.security_solutions(names.subscription, since=NOW))
    assert "TimeoutError" in str(error)


@pytest.mark.parametrize("body", [[], {}, {"value": None}, {"value": [5]}, "x"])
async def test_an_answer_without_sense(hubs, names, one, made, monkeypatch, body):
    answered_by(monkeypatch, Reply(200, body))
    await refused(PermanentError, hubs.security_solutions(names.subscription, since=NOW))
    await refused(PermanentError, hubs.put_security_solution(one, *made))


# --- writing


async def test_a_solution_is_read_and_replaced_and_its_answer_forgotten(hubs, sim, names, one, made, asked):
    before, after = made
    await hubs.security_solutions(names.subscription, since=NOW)
    asked()
    receipt = await hubs.put_security_solution(one, before, after)
    assert UUID(receipt.request_id) != UUID(receipt.correlation_id)
    assert [entry["query"] for entry in sim.requests()] == ["api-version=2019-08-01"] * 2
    (body,) = [entry["body"] for entry in sim.requests(bodies=True) if entry["method"] == "PUT"]
    assert asked() == [GET, PUT]
    assert set(body) == {"location", "properties", "tags"}
    assert body["tags"] == {"a": "b"}
    assert "autoDiscoveredResources" not in body["properties"]
    assert all(
        set(entry) == {"recommendationType", "status"}
        for entry in body["properties"]["recommendationsConfiguration"]
    )
    (found,) = (await hubs.security_solutions(names.subscription, since=NOW))["solutions"]
    assert asked() == [LIST]
    assert {**found, "systemData": None} == {**after, "systemData": None}


async def test_a_solution_is_made(hubs, sim, names, one, asked):
    after = {
        "location": "westeurope",
        "properties": {"displayName": "One", "iotHubs": [names.hub], "workspace": "/W"},
    }
    await hubs.put_security_solution(one, None, after)
    assert asked() == ["GET one 404", PUT]
    assert [body["properties"]["iotHubs"] for body in sim.security_solutions()] == [[names.hub]]


async def test_what_azure_does_not_know_yet_survives(hubs, sim, one, made):
    before, after = made
    for body in (before, after, sim.state.solutions[one.lower()]):
        body["properties"]["newer"], body["kind"] = {"deep": [None, 2**64 + 1]}, "odd"
    await hubs.put_security_solution(one, before, after)
    (body,) = [entry["body"] for entry in sim.requests(bodies=True) if entry["method"] == "PUT"]
    assert same(body["properties"]["newer"], {"deep": [None, 2**64 + 1]})
    assert body["kind"] == "odd"


def change_only_what_azure_sets(body):
    body["systemData"]["lastModifiedAt"] = "later"
    body["properties"]["autoDiscoveredResources"] = ["/x"]
    body["properties"]["recommendationsConfiguration"][0]["name"] = "renamed"
    body["id"], body["name"], body["type"] = body["id"].upper(), "ONE", "microsoft.security/IOT"
    body["properties"]["iotHubs"] = [hub.upper() for hub in body["properties"]["iotHubs"]]
    body["properties"]["workspace"] = body["properties"]["workspace"].lower()


async def test_what_only_azure_sets_may_be_otherwise_and_so_may_the_casing_of_ids(hubs, sim, one, made, asked):
    before, after = made
    before["systemData"] = {}
    stored = sim.state.solutions[one.lower()]
    stored["systemData"] = {}
    change_only_what_azure_sets(stored)
    await hubs.put_security_solution(one, before, after)
    assert asked() == [GET, PUT]


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["properties"]["iotHubs"].append("/another"),
        lambda body: body["properties"]["iotHubs"].clear(),
        lambda body: body["properties"].update(status="Disabled"),
        lambda body: body["properties"].update(status="enabled"),
        lambda body: body["properties"].update(workspace=None),
        lambda body: body["properties"].update(newer=1),
        lambda body: body["properties"].pop("workspace"),
        lambda body: body["properties"]["recommendationsConfiguration"][0].update(status="Disabled"),
        lambda body: body["properties"]["recommendationsConfiguration"].pop(),
        lambda body: body["tags"].update(a="B"),
        lambda body: body.update(location="elsewhere"),
        lambda body: body.update(kind="x"),
    ],
)
@pytest.mark.parametrize("whose", ["before", "stored"])
async def test_what_somebody_changed_meanwhile_is_not_written_over(hubs, sim, one, made, asked, change, whose):
    before, after = made
    change(before if whose == "before" else sim.state.solutions[one.lower()])
    error = await refused(ConflictError, hubs.put_security_solution(one, before, after))
    assert "it is not as it was" in str(error)
    assert asked() == [GET]


async def test_a_number_is_not_a_truth(hubs, sim, one, made, asked):
    before, after = made
    before["properties"]["newer"], sim.state.solutions[one.lower()]["properties"]["newer"] = 1, True
    await refused(ConflictError, hubs.put_security_solution(one, before, after))
    assert asked() == [GET]


async def test_the_body_before_is_of_this_solution(hubs, one, made, asked):
    before, after = made
    before["id"] += "-2"
    await refused(ConflictError, hubs.put_security_solution(one, before, after))
    assert asked() == [GET]


async def test_one_that_is_there_already_is_not_made(hubs, one, made, asked):
    error = await refused(ConflictError, hubs.put_security_solution(one, None, made[1]))
    assert "it exists already" in str(error)
    assert asked() == [GET]


async def test_one_that_is_gone_is_not_made_again(hubs, sim, one, made, asked):
    sim.remove_security_solution(one)
    error = await refused(ConflictError, hubs.put_security_solution(one, *made))
    assert "it is gone" in str(error)
    assert asked() == ["GET one 404"]


async def test_a_conflict_makes_the_next_look_ask_again(hubs, sim, names, one, made, asked):
    await hubs.security_solutions(names.subscription, since=NOW)
    sim.state.solutions[one.lower()]["properties"]["status"] = "Disabled"
    await refused(ConflictError, hubs.put_security_solution(one, *made))
    (found,) = (await hubs.security_solutions(names.subscription, since=NOW))["solutions"]
    assert found["properties"]["status"] == "Disabled"


async def test_a_resource_group_that_is_missing_is_no_missing_hub(hubs, one, names, asked):
    elsewhere = one.replace("/plant/", "/nowhere/")
    after = {"location": "westeurope", "properties": {"displayName": "One", "iotHubs": [names.hub]}}
    error = await refused(PermanentError, hubs.put_security_solution(elsewhere, None, after))
    assert "404 ResourceGroupNotFound" in str(error)


BAD_IDS = [
    "",
    "one",
    "{one}/",
    "{one}/x",
    "{one}?x=",
    "{one}#",
    "{one}\n",
    "{one}%2e",
    "https://evil.example{one}",
    "//evil.example{one}",
    "{group}/providers/Microsoft.Security/iotSecuritySolutions/..",
    "{group}/providers/Microsoft.Security/iotSecuritySolutions/.",
    "{group}/providers/Microsoft.Security/iotSecuritySolutions/",
    "{group}/../providers/Microsoft.Security/iotSecuritySolutions/one",
    "/subscriptions/s/resourceGroups/../providers/Microsoft.Security/iotSecuritySolutions/one",
    "/subscriptions/../resourceGroups/g/providers/Microsoft.Security/iotSecuritySolutions/one",
    "{group}/providers/Microsoft.Security/assessments/one",
    "{group}/providers/Microsoft.Devices/IotHubs/press",
]


@pytest.mark.parametrize("bad", BAD_IDS)
async def test_what_is_no_id_of_one_is_not_asked_for(hubs, one, names, made, asked, bad):
    before, after = made
    solution = bad.format(one=one, group=names.group)
    for body in (before, after):
        body["id"] = solution
    await refused(PermanentError, hubs.put_security_solution(solution, before, after))
    assert asked() == []


@pytest.mark.parametrize(
    "after", [{}, {"properties": None}, {"properties": []}, {"properties": {"x": float("nan")}}]
)
async def test_a_body_that_is_none_is_not_sent(hubs, one, asked, after):
    await refused(PermanentError, hubs.put_security_solution(one, None, after))
    assert asked() == []


async def test_the_body_of_another_one_is_not_sent(hubs, one, made, asked):
    before, after = made
    after["id"] += "-2"
    await refused(PermanentError, hubs.put_security_solution(one, before, after))
    assert asked() == []


async def test_a_key_does_not_come_out_and_is_not_written_back(hubs, sim, names, one, made, asked):
    sim.state.solutions[one.lower()]["properties"]["displayName"] = f"SharedAccessKey={CANARY_BASE64}"
    found = await hubs.security_solutions(names.subscription, since=NOW)
    assert CANARY_BASE64 not in json.dumps(found)
    asked()
    (body,) = found["solutions"]
    await refused(PermanentError, hubs.put_security_solution(one, body, body))
    assert asked() == []


WRITING = [
    ({"status": 401}, TransientError, False),
    ({"status": 403}, DeniedError, None),
    ({"status": 404}, PermanentError, None),
    ({"status": 408}, TransientError, True),
    ({"status": 409}, ConflictError, None),
    ({"status": 429, "retry_after": 7}, TransientError, False),
    ({"status": 500}, TransientError, True),
    ({"status": 503, "html": True}, TransientError, True),
    ({"kind": "cut"}, TransientError, True),
    ({"kind": "cut_after"}, TransientError, True),
]


@pytest.mark.parametrize(("fault", "kind", "sent"), WRITING)
@pytest.mark.parametrize("times", [1, None])
async def test_each_failure_of_a_write_is_one_request(hubs, sim, one, made, asked, fault, kind, sent, times):
    sim.fail("PUT", times=times, **fault)
    error = await refused(kind, hubs.put_security_solution(one, *made))
    assert str(error).startswith(f"writing the security solution {one}: ")
    assert getattr(error, "sent", None) is sent
    if "retry_after" in fault:
        assert error.retry_after == timedelta(seconds=7)
    assert [line.split()[0] for line in asked()] == ["GET", "PUT"]
    (stored,) = sim.security_solutions()
    assert len(stored["properties"]["iotHubs"]) == (2 if fault.get("kind") == "cut_after" else 1)


@pytest.mark.parametrize(("fault", "kind", "_"), WRITING)
async def test_a_failure_of_the_reading_before_it_is_never_a_write(hubs, sim, one, made, asked, fault, kind, _):
    if fault == {"status": 404}:
        kind = ConflictError  # there was one before
    sim.fail("GET", times=None, **fault)
    error = await refused(kind, hubs.put_security_solution(one, *made))
    assert str(error).startswith(f"reading the security solution {one}: ")
    assert not getattr(error, "sent", False)
    assert not any(line.startswith("PUT") for line in asked())


async def test_a_write_that_never_ends_may_have_been_done(hubs, sim, one, made, monkeypatch):
    await hubs.subscriptions()  # which brings the token
    monkeypatch.setattr(calls_module, "_SECONDS", 0.3)
    sim.fail("PUT", kind="slow", seconds=1)
    assert (await refused(TransientError, hubs.put_security_solution(one, *made))).sent


async def test_a_reading_that_never_ends_is_no_write(hubs, sim, one, made, monkeypatch, asked):
    await hubs.subscriptions()
    monkeypatch.setattr(calls_module, "_SECONDS", 0.1)
    sim.fail("GET", "iotSecuritySolutions", kind="slow", seconds=1)
    assert not (await refused(TransientError, hubs.put_security_solution(one, *made))).sent
    assert not any(line.startswith("PUT") for line in asked())


async def test_locks_and_rights(hubs, sim, names, one, made):
    sim.add_lock(names.group, "ReadOnly")
    error = await refused(DeniedError, hubs.put_security_solution(one, *made))
    assert "409 ScopeLocked" in str(error)
    sim.remove_lock(names.group)
    sim.deny("Microsoft.Security/iotSecuritySolutions/write", names.group)
    error = await refused(DeniedError, hubs.put_security_solution(one, *made))
    assert error.missing_action == "Microsoft.Security/iotSecuritySolutions/write"


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("body", [None, [], "x", {"properties": "no"}, {"error": {"code": "Odd"}}])
async def test_the_answer_of_a_write_is_not_looked_at(hubs, one, made, monkeypatch, status, body):
    answered_by(monkeypatch, Reply(status, body), "PUT")
    await hubs.put_security_solution(one, *made)


@pytest.mark.parametrize("status", [202, 204, 301])
async def test_any_other_answer_is_no_success(hubs, one, made, monkeypatch, status):
    answered_by(monkeypatch, Reply(status), "PUT")
    await refused(PermanentError, hubs.put_security_solution(one, *made))


@pytest.mark.parametrize("raw", [b"{", b"<html>no</html>", b"\xff\xfe"])
async def test_a_reading_that_is_no_json_is_no_solution(hubs, one, made, monkeypatch, asked, raw):
    await hubs.subscriptions()
    asked()
    monkeypatch.setattr(server, "encoded", lambda *_: raw)
    await refused(PermanentError, hubs.put_security_solution(one, *made))
    assert asked() == [GET]


async def test_recorded_solutions_of_real_azure_are_read_and_can_be_written_back(
    hubs, sim, names, one, data, asked
):
    bodies = list(recorded(data))
    assert bodies
    for body in bodies:
        sim.state.solutions[one.lower()] = {**body, "id": one}
        monitored = (await hubs.security_solutions(names.subscription, since=NOW + SECOND))["solutions"]
        assert same(monitored, [{**body, "id": one}])
        for hub in body["properties"]["iotHubs"]:
            sim.add_hub({"id": hub})
        asked()
        await hubs.put_security_solution(one, monitored[0], monitored[0])
        assert asked() == [GET, PUT]


def recorded(data):
    for path in sorted((data / "recordings" / "iotSecuritySolutions").glob("*.json")):
        body = json.loads(path.read_text(encoding="utf-8")).get("response_body")
        for item in body.get("value", [body]) if isinstance(body, dict) else []:
            if isinstance(item.get("properties"), dict) and "iotHubs" in item["properties"]:
                yield item
