"""Diagnostic settings over real connections: what is read, what is remembered how long, what is written."""

import asyncio
import json

from datetime import timedelta
from uuid import UUID

import pytest

from hubwarden.adapters.azure import calls as calls_module
from hubwarden.adapters.azure import diagnostics as diagnostics_module
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import same
from hubwarden.service.errors import (
    AzureError,
    ConflictError,
    DeniedError,
    HubGoneError,
    PermanentError,
    TransientError,
)
from local.azure_simulator import CANARY, CANARY_BASE64, server
from local.azure_simulator.gateway import Gateway
from local.azure_simulator.wire import Reply
from tests.simulator.listening import all_loggers_at_debug


GROUP = "/subscriptions/logs-subscription/resourceGroups/Logs-(1)_ü"
WORKSPACE = f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/Central"
STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/archive"
RULE = f"{GROUP}/providers/Microsoft.EventHub/namespaces/stream/authorizationRules/send"
PARTNER = f"{GROUP}/providers/Microsoft.Datadog/monitors/dog"
ALL = {"categoryGroup": "allLogs", "enabled": True}
LOGS = [
    "Connections",
    "DeviceTelemetry",
    "C2DCommands",
    "DeviceIdentityOperations",
    "FileUploadOperations",
    "Routes",
    "D2CTwinOperations",
    "C2DTwinOperations",
    "TwinQueries",
    "JobsOperations",
    "DirectMethods",
    "DistributedTracing",
    "Configurations",
    "DeviceStreams",
]
DAY, TEN_MINUTES = 24 * 3600, 600


class Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(autouse=True)
def everything(sim):
    """Every test of this file: all loggers at DEBUG, and neither key nor token in any line of any."""
    with all_loggers_at_debug() as handler:
        yield handler
    text = handler.text
    assert not any(secret in text for secret in (CANARY, CANARY_BASE64, *sim.state.entra._issued))


@pytest.fixture
def press(sim, names):
    for place in (WORKSPACE, STORAGE, RULE):
        sim.add_destination(place, "westeurope")
    return HubId.parse(names.hub)


@pytest.fixture
def asked(sim, press):
    """What ARM was asked since the last look, as "method tail status", sorted."""

    def log():
        entries = [entry for entry in sim.requests() if "/oauth2/" not in entry["path"]]
        sim.clear_requests()
        return sorted(f"{e['method']} {e['path'].rpartition('/')[2]} {e['status']}" for e in entries)

    return log


SETTINGS, CATEGORIES = "GET diagnosticSettings 200", "GET diagnosticSettingsCategories 200"


def calls(*expected):
    return sorted(expected)


async def refused(kind, call):
    with pytest.raises(AzureError) as caught:
        await call
    assert type(caught.value) is kind, caught.value
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)
    return caught.value


# --- reading


async def test_a_hub_without_settings(hubs, press, asked):
    found = await hubs.diagnostics(press)
    assert (found["settings"], found["destinations"]) == ([], {})
    assert list(found["categories"]) == LOGS
    assert all("allLogs" in groups for groups in found["categories"].values())
    assert 0 < sum("audit" in groups for groups in found["categories"].values()) < len(LOGS)
    assert asked() == calls(SETTINGS, CATEGORIES)


async def test_settings_are_what_the_server_sent(hubs, sim, arm, names, press, asked):
    sim.add_diagnostic_setting(names.hub, "One", {"workspaceId": WORKSPACE, "logs": [ALL]})
    newer = {"deeper": [{"null": None}], "big": 2**64 + 1}
    setting = next(iter(sim.state.settings.values()))["one"]
    setting["newer"], setting["properties"]["unknown"] = newer, newer
    found = await hubs.diagnostics(press)
    url = f"{names.hub}/providers/Microsoft.Insights/diagnosticSettings"
    assert same(found["settings"], (await arm("GET", url, version="2021-05-01-preview")).body["value"])
    assert same(found["settings"][0]["properties"]["unknown"], newer)
    assert found["destinations"] == {WORKSPACE.lower(): "exists"}
    (entry,) = [entry for entry in sim.requests() if entry["path"].lower() == WORKSPACE.lower()]
    assert entry["query"] == "api-version=2023-09-01"
    versions = {e["query"] for e in sim.requests() if "insights/diagnostic" in e["path"].lower()}
    assert versions == {"api-version=2021-05-01-preview"}


@pytest.mark.parametrize(
    ("member", "place", "version"),
    [
        ("workspaceId", WORKSPACE, "2023-09-01"),
        ("storageAccountId", STORAGE, "2023-05-01"),
        ("eventHubAuthorizationRuleId", RULE, "2024-01-01"),
    ],
)
async def test_each_kind_of_destination(hubs, sim, names, press, clock, member, place, version):
    sim.add_diagnostic_setting(names.hub, "one", {member: place.upper(), "logs": []})
    assert (await hubs.diagnostics(press))["destinations"] == {place.lower(): "exists"}
    looks = [entry["query"] for entry in sim.requests() if entry["path"].lower() == place.lower()]
    assert looks == [f"api-version={version}"]
    sim.remove_destination(place)
    clock.now += TEN_MINUTES
    assert (await hubs.diagnostics(press))["destinations"] == {place.lower(): "gone"}


async def test_all_destinations_of_all_settings(hubs, sim, names, press, asked):
    sim.remove_destination(STORAGE)
    to = {"workspaceId": WORKSPACE, "storageAccountId": STORAGE}
    sim.add_diagnostic_setting(names.hub, "one", to)
    sim.add_diagnostic_setting(
        names.hub, "two", {"workspaceId": WORKSPACE.upper(), "marketplacePartnerId": PARTNER}
    )
    sim.add_diagnostic_setting(names.hub, "three", {"eventHubAuthorizationRuleId": RULE, "eventHubName": "x"})
    found = await hubs.diagnostics(press)
    assert found["destinations"] == {WORKSPACE.lower(): "exists", STORAGE.lower(): "gone", RULE.lower(): "exists"}
    looks = ["GET central 200", "GET archive 404", "GET archive 404", "GET send 200"]
    assert asked() == calls(SETTINGS, CATEGORIES, *looks)


async def test_one_404_alone_does_not_make_a_destination_gone(hubs, sim, names, press, asked):
    sim.add_diagnostic_setting(names.hub, "one", {"workspaceId": WORKSPACE})
    sim.fail("GET", "/workspaces/", status=404, times=1)
    assert (await hubs.diagnostics(press))["destinations"] == {WORKSPACE.lower(): "exists"}
    assert asked() == calls(SETTINGS, CATEGORIES, "GET central 404", "GET central 200")


@pytest.mark.parametrize(
    "odd",
    [
        5,
        "",
        "not an id",
        f"{WORKSPACE}/tables/x",
        f"{WORKSPACE}?x=",
        f"{WORKSPACE}#",
        f"{WORKSPACE}\n",
        f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/..",
        WORKSPACE.replace("Logs-(1)_ü", ".."),
        WORKSPACE.replace("Logs-(1)_ü", "a%2f"),
        STORAGE,
        f"https://evil.example{WORKSPACE}",
    ],
)
async def test_what_is_no_id_of_a_destination_is_not_asked_for(hubs, sim, names, press, asked, odd):
    sim.add_diagnostic_setting(names.hub, "one", {"workspaceId": odd})
    found = await hubs.diagnostics(press)
    assert found["destinations"] == {}
    assert found["settings"][0]["properties"]["workspaceId"] == odd
    assert asked() == calls(SETTINGS, CATEGORIES)


@pytest.mark.parametrize(
    "fault",
    [
        *({"status": status} for status in (401, 408, 429, 500, 503)),
        {"status": 503, "html": True},
        {"kind": "cut"},
        {"kind": "slow", "seconds": 4},
    ],
)
async def test_a_destination_that_does_not_answer_is_left_out_and_asked_for_again(
    hubs, sim, names, press, asked, monkeypatch, fault
):
    monkeypatch.setattr(diagnostics_module, "_SECONDS_PER_DESTINATION", 2)
    sim.add_diagnostic_setting(names.hub, "one", {"workspaceId": WORKSPACE, "storageAccountId": STORAGE})
    sim.fail("GET", "workspaces", times=None, **fault)
    assert (await hubs.diagnostics(press))["destinations"] == {STORAGE.lower(): "exists"}
    sim.clear_faults()
    asked()
    assert (await hubs.diagnostics(press))["destinations"][WORKSPACE.lower()] == "exists"
    assert asked() == calls(SETTINGS, "GET central 200")


@pytest.mark.parametrize("code", ["SubscriptionNotFound", "InvalidResourceType", "", None])
async def test_not_every_404_means_that_it_is_gone(hubs, sim, names, press, monkeypatch, code):
    real = Gateway.answer

    def other(self, call):
        if "workspaces" in call.path.lower():
            return Reply(404, None if code is None else {"error": {"code": code, "message": "no"}})
        return real(self, call)

    monkeypatch.setattr(Gateway, "answer", other)
    sim.add_diagnostic_setting(names.hub, "one", {"workspaceId": WORKSPACE})
    assert (await hubs.diagnostics(press))["destinations"] == {}


@pytest.mark.parametrize("code", ["ResourceNotFound", "ResourceGroupNotFound"])
async def test_both_404_that_mean_that_it_is_gone(hubs, sim, names, press, monkeypatch, code):
    real = Gateway.answer

    def other(self, call):
        if "workspaces" in call.path.lower():
            return Reply(404, {"error": {"code": code, "message": "no"}})
        return real(self, call)

    monkeypatch.setattr(Gateway, "answer", other)
    sim.add_diagnostic_setting(names.hub, "one", {"workspaceId": WORKSPACE})
    assert (await hubs.diagnostics(press))["destinations"] == {WORKSPACE.lower(): "gone"}


async def test_that_we_may_not_know_is_remembered_like_an_answer(hubs, sim, names, press, asked, clock):
    sim.add_diagnostic_setting(names.hub, "one", {"workspaceId": WORKSPACE})
    sim.deny("Microsoft.OperationalInsights/workspaces/read", GROUP)
    for _ in range(3):
        assert (await hubs.diagnostics(press))["destinations"] == {}
    assert asked() == calls(SETTINGS, SETTINGS, SETTINGS, CATEGORIES, "GET central 403")
    sim.allow()
    clock.now += TEN_MINUTES
    assert (await hubs.diagnostics(press))["destinations"] == {WORKSPACE.lower(): "exists"}


# --- how often


@pytest.fixture
def fifty(sim, names, press):
    sim.configure(reads=(10_000, 1000))
    found = []
    for number in range(50):
        hub = f"{names.hub}-{number}"
        sim.add_hub({"id": hub})
        sim.add_diagnostic_setting(hub, "one", {"workspaceId": WORKSPACE})
        if number % 2:
            sim.add_diagnostic_setting(hub, "two", {"storageAccountId": STORAGE})
        found.append(HubId.parse(hub))
    return found


@pytest.mark.parametrize("together", [True, False])
async def test_fifty_hubs_are_fifty_calls_and_one_for_what_they_share(hubs, fifty, asked, together):
    if together:
        found = await asyncio.gather(*(hubs.diagnostics(hub) for hub in fifty))
    else:
        found = [await hubs.diagnostics(hub) for hub in fifty]
    assert asked() == calls(*[SETTINGS] * 50, CATEGORIES, "GET central 200", "GET archive 200")
    assert all(list(facet["categories"]) == LOGS for facet in found)
    assert all(facet["destinations"][WORKSPACE.lower()] == "exists" for facet in found)
    await asyncio.gather(*(hubs.diagnostics(hub) for hub in fifty))
    assert asked() == [SETTINGS] * 50


async def test_what_is_remembered_expires(hubs, sim, names, press, asked, clock):
    sim.add_diagnostic_setting(names.hub, "one", {"workspaceId": WORKSPACE})
    await hubs.diagnostics(press)
    for passes, extra in [
        (TEN_MINUTES - 1, []),
        (1, ["GET central 200"]),
        (TEN_MINUTES - 1, []),
        (DAY - 2 * TEN_MINUTES, ["GET central 200"]),
        (1, [CATEGORIES]),
    ]:
        asked()
        clock.now += passes
        await hubs.diagnostics(press)
        assert asked() == calls(SETTINGS, *extra), passes


async def test_categories_are_asked_for_once_in_each_subscription(hubs, sim, names, press, asked):
    other = names.hub.replace(names.subscription, "another-subscription")
    sim.add_hub({"id": other})
    for _ in range(2):
        await hubs.diagnostics(press)
        await hubs.diagnostics(HubId.parse(other))
    assert asked() == calls(*[SETTINGS] * 4, CATEGORIES, CATEGORIES)


async def test_what_was_given_out_cannot_spoil_what_is_remembered(hubs, press):
    first = await hubs.diagnostics(press)
    first["categories"].clear()
    second = await hubs.diagnostics(press)
    second["categories"]["Connections"].append("x")
    assert "x" not in (await hubs.diagnostics(press))["categories"]["Connections"]


async def test_a_failure_about_one_hub_is_not_taken_for_another(hubs, sim, names, press, asked):
    """The first is deleted between its two calls; who waits for the categories asks by itself."""
    sim.add_hub({"id": f"{names.hub}-2"})
    sim.fail("GET", "press/providers/microsoft.insights/diagnosticSettingsCategories", status=404, times=None)
    sim.fail("GET", "press/.*Categories", kind="slow", seconds=0.1)
    found = await asyncio.gather(
        hubs.diagnostics(press), hubs.diagnostics(HubId.parse(f"{names.hub}-2")), return_exceptions=True
    )
    assert type(found[0]) is HubGoneError
    assert list(found[1]["categories"]) == LOGS


# --- reading that fails

FAULTS = [
    ({"status": 403}, DeniedError),
    ({"status": 404}, HubGoneError),
    ({"status": 408}, TransientError),
    ({"status": 429, "retry_after": 7}, TransientError),
    ({"status": 500}, TransientError),
    ({"status": 503, "html": True, "retry_after": 7}, TransientError),
    ({"kind": "cut"}, TransientError),
]


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
async def test_settings_that_cannot_be_read(hubs, sim, press, asked, fault, kind):
    sim.fail("GET", "diagnosticSettings$", times=None, **fault)
    error = await refused(kind, hubs.diagnostics(press))
    assert str(error).startswith(f"reading the diagnostic settings of {press}: ")
    if "retry_after" in fault:
        assert error.retry_after == timedelta(seconds=7)
    if fault != {"kind": "cut"}:  # aiohttp asks once more where nothing can come of it
        assert len(asked()) == 1


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
async def test_categories_that_cannot_be_read_are_the_failure_of_all(hubs, sim, press, asked, fault, kind):
    sim.fail("GET", "diagnosticSettingsCategories$", times=None, **fault)
    error = await refused(kind, hubs.diagnostics(press))
    assert str(error).startswith(f"reading the log categories of {press}: ")
    if fault != {"kind": "cut"}:
        assert len(asked()) == 2
    sim.clear_faults()
    assert list((await hubs.diagnostics(press))["categories"]) == LOGS


async def test_a_right_that_is_missing_is_named(hubs, sim, names, press):
    sim.deny("Microsoft.Insights/diagnosticSettings/read", names.hub)
    error = await refused(DeniedError, hubs.diagnostics(press))
    assert error.missing_action.lower() == "microsoft.insights/diagnosticsettings/read"


async def test_a_hub_that_is_gone(hubs, sim, names, press, asked):
    sim.remove_hub(names.hub)
    await refused(HubGoneError, hubs.diagnostics(press))
    await refused(HubGoneError, hubs.put_diagnostic_setting(press, "one", {"workspaceId": WORKSPACE}))


async def test_reading_that_never_ends_is_a_timeout(hubs, sim, press, monkeypatch):
    monkeypatch.setattr(calls_module, "_SECONDS", 0.1)
    sim.fail("GET", "diagnosticSettings$", kind="slow", seconds=1, times=None)
    assert "TimeoutError" in str(await refused(TransientError, hubs.diagnostics(press)))


@pytest.mark.parametrize("tail", ["diagnosticSettings", "diagnosticSettingsCategories"])
@pytest.mark.parametrize("answer", [[], {}, {"value": None}, {"value": [5]}, {"value": [{"properties": 5}]}, "x"])
async def test_an_answer_without_sense(hubs, press, monkeypatch, tail, answer):
    real = Gateway.answer

    def odd(self, call):
        return Reply(200, answer) if call.path.endswith(tail) else real(self, call)

    monkeypatch.setattr(Gateway, "answer", odd)
    try:
        found = await hubs.diagnostics(press)
    except AzureError as error:
        assert type(error) is PermanentError  # noqa: PT017 - either is fine
    else:
        assert (tail, found["settings"]) == ("diagnosticSettings", answer["value"])


async def test_a_key_in_a_setting_does_not_come_out_and_is_not_written_back(hubs, sim, names, press, asked):
    key = f"SharedAccessKey={CANARY_BASE64}"
    sim.add_diagnostic_setting(names.hub, "one", {"workspaceId": WORKSPACE, "eventHubName": key})
    found = await hubs.diagnostics(press)
    assert CANARY_BASE64 not in json.dumps(found)
    asked()
    await refused(PermanentError, hubs.put_diagnostic_setting(press, "one", found["settings"][0]["properties"]))
    assert asked() == []


# --- writing


@pytest.mark.parametrize("name", ["hubwarden", "set By (policy)-1_ü.x", "100 percent = 'all'"])
async def test_a_setting_is_made_and_replaced_in_one_request(hubs, sim, names, press, asked, name):
    properties = {"workspaceId": WORKSPACE, "logs": [ALL], "metrics": [], "logAnalyticsDestinationType": None}
    receipt = await hubs.put_diagnostic_setting(press, name, properties)
    assert UUID(receipt.request_id) != UUID(receipt.correlation_id)
    assert [entry["status"] for entry in sim.requests() if entry["method"] == "PUT"] == [200]
    (body,) = [entry["body"] for entry in sim.requests(bodies=True) if entry["method"] == "PUT"]
    assert same(body, {"properties": properties})
    (entry,) = [entry for entry in sim.requests() if entry["method"] == "PUT"]
    assert entry["query"] == "api-version=2021-05-01-preview"
    assert len(asked()) == 1
    (setting,) = sim.diagnostic_settings(names.hub)
    assert (setting["name"], setting["properties"]["workspaceId"]) == (name, WORKSPACE)
    await hubs.put_diagnostic_setting(press, name, {"storageAccountId": STORAGE})
    (setting,) = (await hubs.diagnostics(press))["settings"]
    assert setting["properties"]["workspaceId"] is None
    assert setting["properties"]["logs"] == []


async def test_what_is_read_can_be_written_back(hubs, sim, names, press):
    sim.add_diagnostic_setting(names.hub, "one", {"workspaceId": WORKSPACE, "logs": [ALL]})
    before = (await hubs.diagnostics(press))["settings"]
    await hubs.put_diagnostic_setting(press, "one", before[0]["properties"])
    assert same((await hubs.diagnostics(press))["settings"], before)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a?b", "a#b", "a\nb", "x" * 261, "a%2e", "a\n"])
async def test_a_name_that_is_none_is_not_sent(hubs, press, asked, name):
    await refused(PermanentError, hubs.put_diagnostic_setting(press, name, {"workspaceId": WORKSPACE}))
    assert asked() == []


@pytest.mark.parametrize(
    ("member", "place", "action"),
    [
        ("workspaceId", WORKSPACE, "Microsoft.OperationalInsights/workspaces/sharedKeys/action"),
        ("storageAccountId", STORAGE, "Microsoft.Storage/storageAccounts/listKeys/action"),
        ("eventHubAuthorizationRuleId", RULE, "Microsoft.EventHub/namespaces/authorizationRules/listkeys/action"),
    ],
)
async def test_the_right_on_the_destination_that_is_missing_is_named(
    hubs, sim, press, asked, member, place, action
):
    sim.deny(action, GROUP)
    error = await refused(DeniedError, hubs.put_diagnostic_setting(press, "one", {member: place}))
    assert error.missing_action == action
    assert str(error).startswith(f"writing the diagnostic setting one of {press}: 403 LinkedAuthorizationFailed")
    assert asked() == ["PUT one 403"]


async def test_the_right_on_the_hub_and_locks(hubs, sim, names, press):
    sim.deny("microsoft.insights/diagnosticSettings/write", names.hub)
    error = await refused(DeniedError, hubs.put_diagnostic_setting(press, "one", {"workspaceId": WORKSPACE}))
    assert error.missing_action.lower() == "microsoft.insights/diagnosticsettings/write"
    sim.allow()
    sim.add_lock(names.hub, "ReadOnly")
    error = await refused(DeniedError, hubs.put_diagnostic_setting(press, "one", {"workspaceId": WORKSPACE}))
    assert "409 ScopeLocked" in str(error)


async def test_a_destination_that_is_missing_does_not_make_the_hub_gone(hubs, press):
    """Azure has the same code for both."""
    lost = f"{WORKSPACE}-lost"
    error = await refused(PermanentError, hubs.put_diagnostic_setting(press, "one", {"workspaceId": lost}))
    assert "404 ResourceNotFound" in str(error)
    assert "a destination is missing" in str(error)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (
            "ResourceNotFound",
            "The Resource 'Microsoft.Devices/IotHubs/press' under resource group 'plant' …",
            "hub",
        ),
        ("ResourceGroupNotFound", "Resource group 'plant' could not be found.", "hub"),
        ("ResourceGroupNotFound", "Resource group 'logs' could not be found.", "other"),
        (
            "ResourceNotFound",
            "The Resource 'Microsoft.Storage/storageAccounts/press' under resource group 'plant'",
            "x",
        ),
        (
            "ResourceNotFound",
            "The Resource 'Microsoft.Devices/IotHubs/press2' under resource group 'plant'",
            "other",
        ),
        ("ResourceNotFound", "", "other"),
    ],
)
async def test_who_is_missing(hubs, press, monkeypatch, code, message, kind):
    answer = Reply(404, {"code": code, "message": message})
    monkeypatch.setattr(Gateway, "answer", lambda *_: answer)
    expected = HubGoneError if kind == "hub" else PermanentError
    await refused(expected, hubs.put_diagnostic_setting(press, "one", {"workspaceId": WORKSPACE}))


async def test_two_settings_for_the_same_are_a_conflict(hubs, press):
    await hubs.put_diagnostic_setting(press, "one", {"workspaceId": WORKSPACE, "logs": [ALL]})
    error = await refused(
        ConflictError, hubs.put_diagnostic_setting(press, "two", {"workspaceId": WORKSPACE, "logs": [ALL]})
    )
    assert "already used in diagnostic setting 'one'" in str(error)


async def test_a_setting_that_azure_does_not_take(hubs, press):
    error = await refused(PermanentError, hubs.put_diagnostic_setting(press, "one", {"logs": [ALL]}))
    assert "400 BadRequest: At least one data sink" in str(error)


@pytest.mark.parametrize(
    ("fault", "kind", "sent"),
    [
        ({"status": 403}, DeniedError, None),
        ({"status": 408}, TransientError, True),
        ({"status": 409}, ConflictError, None),
        ({"status": 429, "retry_after": 7}, TransientError, False),
        ({"status": 500}, TransientError, True),
        ({"status": 503, "html": True}, TransientError, True),
        ({"kind": "cut"}, TransientError, True),
        ({"kind": "cut_after"}, TransientError, True),
    ],
)
@pytest.mark.parametrize("warm", [True, False])
async def test_each_failure_is_one_request(hubs, sim, names, press, asked, fault, kind, sent, warm):
    if warm:
        await hubs.diagnostics(press)
    asked()
    sim.fail("PUT", times=None, **fault)
    error = await refused(kind, hubs.put_diagnostic_setting(press, "one", {"workspaceId": WORKSPACE}))
    assert str(error).startswith(f"writing the diagnostic setting one of {press}: ")
    assert getattr(error, "sent", None) is sent
    if "retry_after" in fault:
        assert error.retry_after == timedelta(seconds=7)
    assert len(asked()) == 1
    assert len(sim.diagnostic_settings(names.hub)) == (1 if fault.get("kind") == "cut_after" else 0)


async def test_a_write_that_never_ends_may_have_been_done(hubs, sim, press, monkeypatch):
    monkeypatch.setattr(calls_module, "_SECONDS", 0.1)
    sim.fail("PUT", kind="slow", seconds=1, times=None)
    call = hubs.put_diagnostic_setting(press, "one", {"workspaceId": WORKSPACE})
    assert (await refused(TransientError, call)).sent


@pytest.mark.parametrize("body", [None, [], "x", {"id": 5, "properties": "no"}, {"error": {"code": "Odd"}}])
async def test_the_answer_of_a_write_is_not_looked_at(hubs, press, monkeypatch, body):
    monkeypatch.setattr(Gateway, "answer", lambda *_: Reply(200, body))
    await hubs.put_diagnostic_setting(press, "one", {"workspaceId": WORKSPACE})


@pytest.mark.parametrize("raw", [b"{", b"<html>no</html>", b"\xff\xfe", b""])
async def test_nor_does_the_answer_of_a_write_have_to_be_json(hubs, sim, names, press, monkeypatch, raw):
    await hubs.diagnostics(press)  # which brings the token, too
    monkeypatch.setattr(server, "encoded", lambda *_: raw)
    await hubs.put_diagnostic_setting(press, "one", {"workspaceId": WORKSPACE})
    assert len(sim.diagnostic_settings(names.hub)) == 1
