"""Settings, security solutions and twins beside recordings of real Azure (skipped where they are not at hand)."""

import asyncio
import collections
import json
import re

import pytest

from local.azure_simulator import diagnostics_rules
from local.azure_simulator.security_body import RECOMMENDATIONS


AUDIENCE = "https://iothubs.azure.net"

SETTING_DEVIATIONS = {
    "type": ("null until about September 2020", 5),
    "properties.logs.*.categoryGroup": ("not shown until 2021", 7),
    "properties.logAnalyticsDestinationType": ("not shown until 2018", 1),
}
"""Path to reason and number of exchanges: the simulator shows settings as Azure has since 2022."""

SOLUTION_VOLATILE = ("systemData",)


def recorded(data, folder, method, *, status=None):
    for path in sorted((data / "recordings" / folder).glob(f"*_{method}_*.json")):
        exchange = json.loads(path.read_text())
        if status is None or exchange["status"] == status:
            yield exchange


def request_of(exchange):
    """The body that was sent; some recorders kept it as the text of a bytes object."""
    body = exchange.get("request_body")
    if isinstance(body, str):
        return json.loads(body.removeprefix("b'").removesuffix("'"))
    return body


def flat(value, path=""):
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from flat(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, item in enumerate(value):
            yield from flat(item, f"{path}.{number}")
    else:
        yield path, value if not isinstance(value, list) else tuple(value)


def differences(ours, theirs):
    mine, real = dict(flat(ours)), dict(flat(theirs))
    absent = object()
    return sorted(
        re.sub(r"\.\d+\.", ".*.", path)
        for path in mine.keys() | real.keys()
        if mine.get(path, absent) != real.get(path, absent)
    )


def settings_of_resources(data):
    """Recorded PUTs of settings of resources, where the request was kept.

    Those of subscriptions, and of 2015, are another API. One of 2017 is left out: it names no destination, and its
    answer shows three.
    """
    for exchange in recorded(data, "diagnosticSettings", "PUT", status=200):
        uri = exchange["url"].partition("management.azure.com")[2].replace("%2F", "/")
        request = request_of(exchange)
        if request and "/resourcegroups/" in uri.lower() and any(diagnostics_rules.sinks(request["properties"])):
            yield exchange, "/" + uri.lstrip("/")


@pytest.fixture
def of_any_resource(monkeypatch):
    """Let hubs have the categories of the resources that were recorded: none of them is a hub."""
    monkeypatch.setattr(diagnostics_rules, "check_category", lambda *_: None)


async def test_each_recorded_setting_is_shown_as_it_really_was(sim, arm, data, names, of_any_resource):
    found, count = collections.Counter(), 0
    for exchange, uri in settings_of_resources(data):
        count += 1
        resource, _, tail = uri.partition("/providers/Microsoft.Insights/diagnosticSettings")
        if not tail:
            resource, _, tail = uri.partition("/providers/microsoft.insights/diagnosticSettings")
        path = f"{names.hub}/providers/Microsoft.Insights/diagnosticSettings{tail.partition('?')[0]}"
        version = uri.partition("api-version=")[2]
        request, real = request_of(exchange), exchange["response_body"]
        sim.state.settings.clear()
        for _, sink in diagnostics_rules.sinks(request["properties"]):
            sim.add_destination(sink)
        answer = await arm("PUT", path, request, version=version)
        assert answer.status == exchange["status"] == 200, (exchange["source"], answer.body)
        shown = answer.body | {"id": answer.body["id"].replace(names.hub.lower(), resource.lower())}
        assert (await arm("GET", path, version=version)).body == answer.body
        for name in set(differences(shown, real)):
            found[name] += 1
    assert count == 18
    assert found == {path: number for path, (_, number) in SETTING_DEVIATIONS.items()}


async def test_a_listed_setting_has_the_recorded_members(sim, arm, data, names):
    """Members of all recorded lists since 2022, each present in ours in the same order."""
    sim.add_diagnostic_setting(
        names.hub,
        "one",
        {"workspaceId": "/w", "logs": [{"category": "Routes", "enabled": True}]},
    )
    url = f"{names.hub}/providers/Microsoft.Insights/diagnosticSettings"
    ours = (await arm("GET", url, version="2021-05-01-preview")).body
    seen = 0
    for exchange in recorded(data, "diagnosticSettings", "GET", status=200):
        body = exchange["response_body"]
        for real in body.get("value", []):
            logs = real["properties"].get("logs")
            if "identity" in real and logs and "categoryGroup" in logs[0]:
                seen += 1
                assert list(body) == list(ours) == ["value"]
                assert list(real) == list(ours["value"][0])
                assert list(real["properties"]) == list(ours["value"][0]["properties"])
                assert list(logs[0]) == list(ours["value"][0]["properties"]["logs"][0])
    assert seen >= 3


async def test_the_recorded_refusal_of_a_partner(arm, data, names, of_any_resource):
    (exchange,) = (
        json.loads(path.read_text())
        for path in (data / "recordings/errors").glob("400_BadRequest_*networkSec*.json")
    )
    body = exchange["request_body"]
    url = f"{names.hub}/providers/Microsoft.Insights/diagnosticSettings/test01"
    only = {"properties": {name: v for name, v in body["properties"].items() if name != "storageAccountId"}}
    answer = await arm("PUT", url, only, version="2021-05-01-preview")
    assert (answer.status, answer.body) == (exchange["status"], exchange["response_body"])


def path_of(exchange):
    return "/subscriptions" + exchange["url"].partition("/subscriptions")[2].partition("?")[0]


def known_only(body):
    """The body without recommendations that the simulator does not make up, and how many those are."""
    listed = body["properties"]["recommendationsConfiguration"]
    known = [entry for entry in listed if entry["recommendationType"] in RECOMMENDATIONS]
    body["properties"]["recommendationsConfiguration"] = sorted(
        known, key=lambda entry: entry["recommendationType"]
    )
    return body, len(listed) - len(known)


async def test_each_recorded_solution_is_shown_as_it_really_was(sim, arm, data):
    """All PUTs since 2021; the one 201 of 2020 is of the service before."""
    others = []
    for exchange in recorded(data, "iotSecuritySolutions", "PUT", status=200):
        sim.reset()
        path, request = path_of(exchange), exchange["request_body"]
        sim.add_resource_group(path.split("/")[2], path.split("/")[4])
        for hub_id in request["properties"]["iotHubs"]:
            sim.add_hub({"id": hub_id})
        answer = await arm("PUT", path, request, version="2019-08-01")
        assert answer.status == 200
        assert list(answer.body) == list(exchange["response_body"])
        assert list(answer.body["properties"]) == list(exchange["response_body"]["properties"])
        assert list(answer.body["systemData"]) == list(exchange["response_body"]["systemData"])
        real, more = known_only(exchange["response_body"])
        others.append(more)
        ours, _ = known_only(answer.body)
        assert [name for name in differences(ours, real) if not name.startswith(SOLUTION_VOLATILE)] == []
        sent = "x-ms-ratelimit-remaining-subscription-resource-requests"
        assert answer.headers[sent] == exchange["response_headers"][sent] == "249"
    assert sorted(others) == [0, 0, 120]


async def test_each_recorded_patch_of_a_solution_answers_alike(sim, arm, data):
    """All five send nothing to change, on what we seed from their own answers."""
    count = 0
    for exchange in recorded(data, "iotSecuritySolutions", "PATCH", status=200):
        sim.reset()
        real = exchange["response_body"]
        sim.add_security_solution(real)
        answer = await arm("PATCH", path_of(exchange), exchange["request_body"], version="2019-08-01")
        assert answer.status == 200
        found = {name.partition(".")[0] for name in differences(answer.body, real)}
        assert found <= {"systemData"}
        count += 1
    assert count == 5


async def test_recorded_solutions_can_be_seeded_and_read_back(sim, arm, data):
    count = 0
    for exchange in recorded(data, "iotSecuritySolutions", "GET", status=200):
        real = exchange["response_body"]
        if "/analyticsmodels" in exchange["url"].lower():
            continue
        sim.reset()
        parts = path_of(exchange).split("/")
        sim.add_resource_group(parts[2], parts[4])
        for body in real.get("value", [real]):
            sim.add_security_solution(body)
        answer = await arm("GET", path_of(exchange), version="2019-08-01")
        assert (answer.status, differences(answer.body, real)) == (200, [])
        count += 1
    assert count == 13


async def test_the_recorded_query_finds_the_module_late(sim, session, data, names):
    """The recorded conversation: a query right after the module was made has nothing, a later one has its twin."""
    story = json.loads((data / "recordings/dataplane/query_modules_eventual_consistency.json").read_text())
    (device, module), queries = story["interactions"][:2], story["interactions"][2:]
    sim.configure(query_lag_seconds=0.2)
    body = device["response_body"]
    sim.add_devices(names.hub, [body["deviceId"]], created_now=True)
    sim.add_module(names.hub, body["deviceId"], module["response_body"]["moduleId"], created_now=True)
    base = sim.data_plane.format(hostName="press.azure-devices.net")
    headers = {"Authorization": f"Bearer {sim.issue_token(names.app, audience=AUDIENCE)}"}

    async def asked(method, path, body=None):
        url = f"{base}{path}?api-version=2021-04-12"
        async with session.request(method, url, json=body, headers=headers) as got:
            return got.headers, await got.json()

    got, empty = await asked("POST", "/devices/query", queries[0]["request_body"])
    assert (empty, got["x-ms-item-type"]) == (queries[0]["response_body"], "Twin")
    for exchange, path in ((device, ""), (module, f"/modules/{module['response_body']['moduleId']}")):
        _, ours = await asked("GET", f"/devices/{body['deviceId']}{path}")
        assert list(ours) == list(exchange["response_body"])
        volatile = ("authentication.symmetricKey", "generationId", "etag")
        changed = differences(ours, exchange["response_body"])
        assert [name for name in changed if not name.startswith(volatile)] == []
    rows = []
    while not rows:
        await asyncio.sleep(0.05)
        got, rows = await asked("POST", "/devices/query", queries[1]["request_body"])
    real = queries[1]["response_body"]
    assert [list(row) for row in rows] == [list(row) for row in real]
    assert differences(rows[0], real[0]) == ["deviceEtag"]
    assert got["x-ms-item-type"] == queries[1]["response_headers"]["x-ms-item-type"]
