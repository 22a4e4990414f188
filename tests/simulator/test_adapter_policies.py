"""Shared access policies over real connections: no key is lost, none gets out, and nothing is sent on a guess."""

import asyncio
import copy
import json
import traceback

from datetime import timedelta
from uuid import UUID

import pytest

from hubwarden.adapters.azure import calls as calls_module
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import differences, same, with_value
from hubwarden.service.errors import (
    AzureError,
    ConflictError,
    DeniedError,
    HubGoneError,
    PermanentError,
    TransientError,
)
from hubwarden.service.ports import PolicyEdit
from local.azure_simulator import CANARY, CANARY_BASE64
from local.azure_simulator.gateway import Gateway
from local.azure_simulator.wire import Reply
from tests.simulator.listening import all_loggers_at_debug


LIST_KEYS = "Microsoft.Devices/IotHubs/listkeys/action"
OWNER = frozenset({"RegistryWrite", "ServiceConnect", "DeviceConnect"})
ALL = frozenset({"RegistryRead", "RegistryWrite", "ServiceConnect", "DeviceConnect"})
DEFAULTS = [("iothubowner", OWNER), ("service", {"ServiceConnect"}), ("device", {"DeviceConnect"}),
            ("registryRead", {"RegistryRead"}), ("registryReadWrite", {"RegistryWrite"})]  # fmt: skip
CUSTOM = {"keyName": "contractor", "rights": "RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect"}

OTHERS = [
    {"keyName": name, "primaryKey": CANARY_BASE64, "secondaryKey": CANARY_BASE64, "rights": "ServiceConnect"}
    for name in ("one", "two")
]


@pytest.fixture(autouse=True)
def everything():
    """Every test of this file: all loggers at DEBUG, and no key in any line of any."""
    with all_loggers_at_debug() as handler:
        yield handler
    text = handler.text
    assert CANARY not in text
    assert CANARY_BASE64 not in text


@pytest.fixture
def press(sim, names):
    """The hub of these tests, which has a policy too many, and properties that no SDK knows."""
    defaults = [{"keyName": name, "rights": ", ".join(sorted(rights))} for name, rights in DEFAULTS]
    newer = {"rootCertificate": {"enableRootCertificateV2": True, "deeper": [{"null": None}]}, "ipVersion": "ipv6"}
    sim.add_hub(
        {"id": names.hub, "newer": {"than": ["the SDK"]}, "properties": newer}, policies=[*defaults, CUSTOM]
    )
    return HubId.parse(names.hub)


@pytest.fixture
def asked(sim, press):
    """What ARM was asked since the fixture, as "method tail status"."""
    seen = len(sim.requests())

    def log():
        entries = [entry for entry in sim.requests()[seen:] if "/oauth2/" not in entry["path"]]
        return [f"{e['method']} {e['path'].rpartition('/')[2].lower()} {e['status']}" for e in entries]

    return log


def stored(sim, names):
    return {policy["keyName"]: policy for policy in sim.hub(names.hub)["policies"]}


def remove(name, rights):
    return PolicyEdit(name, frozenset(rights), None)


async def put(hubs, hub, *edits, change=lambda body: body):
    before = await hubs.get_hub(hub)
    return await hubs.put_hub(hub, change(before), etag=before["etag"], policies=edits)


async def refused(kind, call):
    """The error, of which no part leads to a key: neither its text, nor a frame, nor what came before."""
    with pytest.raises(AzureError) as caught:
        await call
    error = caught.value
    assert type(error) is kind, error
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "\n" not in str(error)
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    texts = [
        json.dumps(frame.f_locals, default=repr) for frame in frames if "/adapters/" in frame.f_code.co_filename
    ]
    assert texts
    assert not any(CANARY_BASE64 in text or CANARY in text for text in texts)
    return error


# --- reading


async def test_policies_are_read_without_their_keys_in_one_call(hubs, press, asked):
    found = await hubs.sas_policies(press)
    assert found == {
        "policies": [
            {"keyName": "contractor", "rights": ["DeviceConnect", "RegistryWrite", "ServiceConnect"]},
            {"keyName": "device", "rights": ["DeviceConnect"]},
            {"keyName": "iothubowner", "rights": ["DeviceConnect", "RegistryWrite", "ServiceConnect"]},
            {"keyName": "registryRead", "rights": ["RegistryRead"]},
            {"keyName": "registryReadWrite", "rights": ["RegistryWrite"]},
            {"keyName": "service", "rights": ["ServiceConnect"]},
        ]
    }
    assert CANARY_BASE64 not in repr(found)
    assert asked() == ["POST listkeys 200"]


async def test_a_right_to_the_keys_that_is_missing_is_named(hubs, sim, names, press):
    sim.deny(LIST_KEYS, names.hub)
    error = await refused(DeniedError, hubs.sas_policies(press))
    assert error.missing_action == LIST_KEYS
    assert str(error).startswith(f"reading the shared access policies of {press}: 403 AuthorizationFailed")
    error = await refused(DeniedError, put(hubs, press, remove("contractor", ALL)))
    assert error.missing_action == LIST_KEYS


async def test_a_read_only_lock_makes_blind_and_is_named(hubs, sim, names, press):
    sim.add_lock(names.group, "ReadOnly")
    error = await refused(DeniedError, hubs.sas_policies(press))
    assert error.missing_action is None
    assert "409 ScopeLocked" in str(error)
    assert f"locked: '{names.group}'" in str(error)


async def test_a_hub_that_is_gone(hubs, sim, names, press):
    sim.remove_hub(names.hub)
    await refused(HubGoneError, hubs.sas_policies(press))


FAULTS = [
    ({"status": 403}, DeniedError, False),
    ({"status": 404}, HubGoneError, False),
    ({"status": 408}, TransientError, True),
    ({"status": 409}, ConflictError, False),
    ({"status": 429, "retry_after": 7}, TransientError, False),
    ({"status": 500}, TransientError, True),
    ({"status": 503, "html": True, "retry_after": 7}, TransientError, True),
    ({"kind": "cut"}, TransientError, True),
    ({"kind": "cut_after"}, TransientError, True),
]


@pytest.mark.parametrize(("fault", "kind", "sent"), FAULTS)
async def test_listing_fails_once_and_a_write_is_not_begun(hubs, sim, names, press, asked, fault, kind, sent):
    sim.fail("POST", "listkeys", times=None, **fault)
    error = await refused(kind, hubs.sas_policies(press))
    assert str(error).startswith(f"reading the shared access policies of {press}: ")
    assert len(asked()) == 1
    error = await refused(kind, put(hubs, press, remove("contractor", ALL)))
    assert str(error).startswith(f"reading the shared access policies of {press}: ")
    assert [line.split()[0] for line in asked()] == ["POST", "GET", "POST"]
    if kind is TransientError:
        assert not error.sent
        assert error.retry_after == (timedelta(seconds=7) if "retry_after" in fault else None)


async def test_listing_that_never_ends_is_bounded_and_the_write_is_not_begun(hubs, sim, press, monkeypatch, asked):
    body = await hubs.get_hub(press)
    monkeypatch.setattr(calls_module, "_SECONDS", 0.1)
    sim.fail("POST", "listkeys", kind="slow", seconds=1, times=None)
    error = await refused(TransientError, hubs.sas_policies(press))
    assert "TimeoutError" in str(error)
    error = await refused(
        TransientError, hubs.put_hub(press, body, etag=body["etag"], policies=[remove("contractor", ALL)])
    )
    assert not error.sent
    assert not any(line.startswith("PUT") for line in asked())


async def test_a_write_that_never_ends_may_have_been_done(hubs, sim, press, monkeypatch):
    body = await hubs.get_hub(press)
    monkeypatch.setattr(calls_module, "_SECONDS", 0.3)
    sim.fail("PUT", kind="slow", seconds=1, times=None)
    error = await refused(
        TransientError, hubs.put_hub(press, body, etag=body["etag"], policies=[remove("contractor", ALL)])
    )
    assert error.sent
    assert str(error).startswith(f"writing {press}: ")


async def test_listing_and_writing_have_one_time_limit_together(hubs, sim, press, monkeypatch):
    body = await hubs.get_hub(press)
    monkeypatch.setattr(calls_module, "_SECONDS", 3)
    sim.fail("POST", "listkeys", kind="slow", seconds=1.6, times=None)
    sim.fail("PUT", kind="slow", seconds=2.8, times=None)
    began = asyncio.get_running_loop().time()
    call = hubs.put_hub(press, body, etag=body["etag"], policies=[remove("contractor", ALL)])
    assert (await refused(TransientError, call)).sent
    assert asyncio.get_running_loop().time() - began < 4.2


ODD = [
    {"value": None},
    {"value": [5]},
    {"value": [{"keyName": "x", "primaryKey": CANARY_BASE64, "secondaryKey": CANARY_BASE64}]},
    {"value": [{"rights": "ServiceConnect", "primaryKey": CANARY_BASE64, "secondaryKey": CANARY_BASE64}]},
    [],
]


@pytest.mark.parametrize("answer", ODD)
async def test_an_answer_that_makes_no_sense_is_no_list_of_policies(hubs, press, monkeypatch, asked, answer):
    real = Gateway.answer

    def odd(self, call):
        return Reply(200, answer) if call.path.endswith("/listkeys") else real(self, call)

    monkeypatch.setattr(Gateway, "answer", odd)
    error = await refused(PermanentError, hubs.sas_policies(press))
    assert str(error).startswith(f"reading the shared access policies of {press}: ")
    with pytest.raises(AzureError):
        await put(hubs, press, remove("contractor", ALL))
    assert not any(line.startswith("PUT") for line in asked())


async def test_policies_on_several_pages_are_all_there_or_none(hubs, press, monkeypatch, asked):
    """Azure has never been seen to do that; a half list would take the other half off the hub."""
    real, pages = Gateway.answer, {"POST": (OTHERS[:1], True), "GET": (OTHERS[1:], False)}

    def paged(self, call):
        if not call.path.endswith("/listkeys"):
            return real(self, call)
        if pages[call.method] is None:
            return Reply(500, {})
        items, more = pages[call.method]
        return Reply(200, {"value": items} | ({"nextLink": call.url} if more else {}))

    monkeypatch.setattr(Gateway, "answer", paged)
    assert [entry["keyName"] for entry in (await hubs.sas_policies(press))["policies"]] == ["one", "two"]
    pages["GET"] = None
    await refused(TransientError, put(hubs, press, remove("one", {"ServiceConnect"})))
    assert not any(line.startswith("PUT") for line in asked())


# --- writing


async def test_a_removal_keeps_every_other_key(hubs, sim, names, press, asked):
    before = stored(sim, names)
    await put(hubs, press, remove("Contractor", ALL))
    assert asked() == ["GET press 200", "POST listkeys 200", "PUT press 201"]
    sim.finish_transitions()
    after = stored(sim, names)
    gone = before.pop("contractor")
    assert same(list(after.values()), list(before.values()))
    assert CANARY_BASE64 in gone["primaryKey"]


async def test_a_narrowing_keeps_every_key(hubs, sim, names, press):
    before = stored(sim, names)
    await put(hubs, press, PolicyEdit("contractor", ALL, frozenset({"RegistryRead", "DeviceConnect"})))
    sim.finish_transitions()
    before["contractor"]["rights"] = "RegistryRead, DeviceConnect"
    assert same(list(stored(sim, names).values()), list(before.values()))


async def test_a_rotation_changes_the_keys_of_one_policy(hubs, sim, names, press):
    before = stored(sim, names)
    await put(hubs, press, PolicyEdit("contractor", ALL, ALL, new_keys=True))
    sim.finish_transitions()
    after = stored(sim, names)
    old, new = before.pop("contractor"), after.pop("contractor")
    assert same(after, before)
    assert new["rights"] == old["rights"]
    assert len({old["primaryKey"], old["secondaryKey"], new["primaryKey"], new["secondaryKey"]}) == 4


async def test_all_at_once(hubs, sim, names, press):
    before = stored(sim, names)
    edits = [
        PolicyEdit("contractor", OWNER, frozenset({"ServiceConnect"}), new_keys=True),
        remove("DEVICE", {"DeviceConnect"}),
        PolicyEdit("iothubowner", ALL, frozenset({"RegistryRead"})),
    ]
    await put(hubs, press, *edits, change=lambda body: with_value(body, ("properties", "minTlsVersion"), "1.2"))
    sim.finish_transitions()
    after = stored(sim, names)
    assert list(after) == ["iothubowner", "service", "registryRead", "registryReadWrite", "contractor"]
    assert after["iothubowner"] == before["iothubowner"] | {"rights": "RegistryRead"}
    assert after["contractor"]["rights"] == "ServiceConnect"
    assert after["contractor"]["primaryKey"] != before["contractor"]["primaryKey"]
    for name in ("service", "registryRead", "registryReadWrite"):
        assert after[name] == before[name]
    assert sim.hub(names.hub)["body"]["properties"]["minTlsVersion"] == "1.2"


async def test_nothing_else_of_the_hub_changes_and_the_body_is_left_alone(hubs, sim, names, press):
    before = await hubs.get_hub(press)
    kept = copy.deepcopy(before)
    storage = sim.hub(names.hub)["body"]["properties"]["storageEndpoints"]
    receipt = await hubs.put_hub(press, before, etag=before["etag"], policies=[remove("contractor", ALL)])
    assert UUID(receipt.request_id) != UUID(receipt.correlation_id)
    assert same(before, kept)
    sim.finish_transitions()
    after = await hubs.get_hub(press)
    assert set(differences(before, after)) == {("etag",)}
    assert after["properties"]["rootCertificate"]["deeper"] == [{"null": None}]
    assert after["newer"] == {"than": ["the SDK"]}
    assert sim.hub(names.hub)["body"]["properties"]["storageEndpoints"] == storage


async def test_without_edits_policies_are_neither_read_nor_sent(hubs, sim, names, press, asked):
    before = stored(sim, names)
    await put(hubs, press)
    assert asked() == ["GET press 200", "PUT press 201"]
    (sent,) = [entry["body"] for entry in sim.requests(bodies=True) if entry["method"] == "PUT"]
    assert "authorizationPolicies" not in sent["properties"]
    sim.finish_transitions()
    assert same(stored(sim, names), before)


@pytest.mark.parametrize("name", ["authorizationPolicies", "AuthorizationPolicies"])
@pytest.mark.parametrize("value", [[], None, [{"keyName": "x"}]])
@pytest.mark.parametrize("edits", [(), (remove("contractor", ALL),)])
async def test_a_body_that_holds_policies_is_refused(hubs, press, asked, name, value, edits):
    error = await refused(
        PermanentError,
        put(hubs, press, *edits, change=lambda body: with_value(body, ("properties", name), value)),
    )
    assert str(error).startswith(f"writing {press}: ")
    assert asked() == ["GET press 200"]


@pytest.mark.parametrize("properties", [None, [], "x"])
async def test_policies_need_properties_to_be_written_into(hubs, press, asked, properties):
    call = put(hubs, press, remove("contractor", ALL), change=lambda body: body | {"properties": properties})
    assert str(await refused(PermanentError, call)).startswith(f"writing {press}: ")
    assert asked() == ["GET press 200"]


MOVED = [
    (remove("contractors", ALL), "no policy contractors any more"),
    (remove("contractor", {"ServiceConnect"}), "contractor has other rights"),
    (remove("service", {"ServiceConnect", "DeviceConnect"}), "service has other rights"),
    (PolicyEdit("registryRead", frozenset({"RegistryWrite"}), None), "registryRead has other rights"),
]


@pytest.mark.parametrize(("edit", "says"), MOVED)
async def test_policies_that_moved_on_are_a_conflict_and_nothing_is_sent(
    hubs, sim, names, press, asked, edit, says
):
    before = sim.hub(names.hub)
    error = await refused(ConflictError, put(hubs, press, remove("device", {"DeviceConnect"}), edit))
    assert says in str(error)
    assert str(press) in str(error)
    assert asked() == ["GET press 200", "POST listkeys 200"]
    assert same(sim.hub(names.hub), before)


@pytest.mark.parametrize(
    "edit",
    [
        PolicyEdit("device", frozenset({"DeviceConnect"}), ALL),
        PolicyEdit("device", frozenset({"DeviceConnect"}), frozenset()),
        PolicyEdit("DEVICE", frozenset({"DeviceConnect"}), frozenset({"DeviceConnect"})),
    ],
)
async def test_edits_that_make_no_sense_are_not_sent(hubs, press, asked, edit):
    await refused(PermanentError, put(hubs, press, remove("device", {"DeviceConnect"}), edit))
    assert not any(line.startswith("PUT") for line in asked())


async def test_a_stale_etag_is_a_conflict_and_nothing_changes(hubs, sim, names, press, asked):
    body, before = await hubs.get_hub(press), sim.hub(names.hub)
    error = await refused(
        ConflictError, hubs.put_hub(press, body, etag="AAAAAAAAAAA=", policies=[remove("contractor", ALL)])
    )
    assert str(error).startswith(f"writing {press}: 412 412001")
    assert asked() == ["GET press 200", "POST listkeys 200", "PUT press 412"]
    assert same(sim.hub(names.hub), before)


async def test_keys_that_somebody_renewed_meanwhile_are_not_put_back(hubs, sim, names, press):
    """Whoever renews keys writes the hub; its etag is another then."""
    body, service = await hubs.get_hub(press), frozenset({"ServiceConnect"})
    await put(hubs, press, PolicyEdit("service", service, service, new_keys=True))
    sim.finish_transitions()
    renewed = stored(sim, names)
    call = hubs.put_hub(press, body, etag=body["etag"], policies=[remove("contractor", ALL)])
    await refused(ConflictError, call)
    assert same(stored(sim, names), renewed)


@pytest.mark.parametrize(("fault", "kind", "sent"), FAULTS)
async def test_each_failure_of_the_write(hubs, sim, press, asked, fault, kind, sent):
    sim.fail("PUT", times=None, **fault)
    error = await refused(kind, put(hubs, press, remove("contractor", ALL)))
    assert str(error).startswith(f"writing {press}: ")
    assert [line.split()[0] for line in asked()] == ["GET", "POST", "PUT"]
    if kind is TransientError:
        assert error.sent is sent


async def test_a_write_that_is_not_allowed(hubs, sim, names, press):
    sim.deny("Microsoft.Devices/IotHubs/write", names.hub)
    error = await refused(DeniedError, put(hubs, press, remove("contractor", ALL)))
    assert error.missing_action == "Microsoft.Devices/IotHubs/write"


async def test_a_key_that_azure_quotes_in_its_refusal_is_masked(hubs, sim, press, monkeypatch):
    from local.azure_simulator import iothub
    from local.azure_simulator.errors import rp_error

    def quoting(body, version, _locations):
        raise rp_error(400013, f"no good: {json.dumps(body['properties']['authorizationPolicies'])}", version)

    monkeypatch.setattr(iothub, "validate", quoting)
    error = await refused(PermanentError, put(hubs, press, remove("contractor", ALL)))
    assert "no good" in str(error)
    assert "****" in str(error)


async def test_a_cancelled_write_is_no_error_of_azure(hubs, sim, press):
    sim.fail("POST", "listkeys", kind="slow", seconds=1)
    task = asyncio.create_task(put(hubs, press, remove("contractor", ALL)))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
