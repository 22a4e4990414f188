"""The control API, its client, the command line and seeds."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys

from pathlib import Path

import pytest

from local.azure_simulator import AzureSimulator, SimulatorClient, SimulatorConfig
from local.azure_simulator.client import ControlError
from local.azure_simulator.control import CONTROL
from local.azure_simulator.seed import SECTIONS


ROOT = Path(__file__).parents[2]


@pytest.fixture
async def control(sim):
    async with SimulatorClient(sim.control_url, sim.ca_file) as client:
        yield client


async def test_hubs_through_the_control_api(control, sim, names):
    other = f"{names.group}/providers/Microsoft.Devices/IotHubs/other"
    policy = {"keyName": "only", "rights": "ServiceConnect", "primaryKey": "a", "secondaryKey": "b"}
    assert await control.add_hub({"id": other, "tags": {"a": "b"}}, policies=[policy]) == other
    assert await control.hub_ids() == [names.hub, other]
    raw = await control.hub(other.upper().replace("/SUBSCRIPTIONS", "/subscriptions"))
    assert (raw["policies"], raw["state"], raw["body"]["tags"]) == ([policy], "Active", {"a": "b"})
    await control.remove_hub(other)
    with pytest.raises(ControlError, match="missing or unknown"):
        await control.hub(other)


async def test_everything_else_through_the_control_api(*, control, arm, sim, names, hook, until):
    assert (await control.configure(page_size=1, tls_refused_locations=["eastus"]))["page_size"] == 1
    await control.add_principal("new", "s", name="New")
    token = await control.issue_token("new")
    await control.add_lock(names.hub, "ReadOnly", notes="n")
    assert (await arm("PATCH", names.hub, {"tags": {}}, token=token)).status == 409
    assert await control.remove_lock(names.hub) is True
    await control.deny("*/write", names.hub, principal="new")
    assert (await arm("PATCH", names.hub, {"tags": {}}, token=token)).status == 403
    await control.allow()
    await control.grant("new", names.hub, actions=["*/write"])
    assert (await arm("GET", names.hub, token=token)).status == 403
    await control.revoke("new")
    assert (await arm("GET", names.hub, token=token)).status == 200
    number = await control.fail("PATCH", "iothubs", status=500, times=None)
    assert (await arm("PATCH", names.hub, {"tags": {}}, token=token)).status == 500
    assert (await control.faults())[0]["hits"] == 1
    await control.clear_faults(number)
    assert await control.faults() == []
    await control.subscribe(hook.url, name="one")
    await control.event_mode(hold=True)
    await arm("PATCH", names.hub, {"tags": {}}, token=token)
    assert [entry["fate"] for entry in await control.events()] == ["held"]
    assert await control.release_events("shuffled", seed=3) == 1
    await until(lambda: hook.deliveries)
    assert await control.dead_letters() == []
    assert (await control.deliveries())[0]["subscriber"] == "one"
    await control.unsubscribe("one")
    await control.subscribe(hook.url, name="devices", topic="hub")
    assert await control.add_devices(names.hub, ["new"], created_now=True) == 1
    assert [entry["event"]["eventType"] for entry in await control.events()][1:] == [
        "Microsoft.Devices.DeviceCreated"
    ]
    await control.unsubscribe("devices")
    await control.set_subscription("other", "Warned")
    assert (await arm("GET", "/subscriptions/other")).body["state"] == "Warned"
    await control.add_resource_group(names.subscription, "empty")
    empty = await arm(
        "GET", f"/subscriptions/{names.subscription}/resourceGroups/empty/providers/Microsoft.Devices/IotHubs"
    )
    assert empty.body == {"value": []}
    await arm.changed(minTlsVersion="1.2")
    await control.finish_transitions()
    assert sim.hub(names.hub)["state"] == "Active"
    await control.reset()
    assert (await control.hub_ids(), await control.requests(), await control.events()) == ([], [], [])


async def test_the_request_log(control, arm, names):
    await arm("GET", names.hub)
    await arm.changed(minTlsVersion="1.2")
    log = await control.requests()
    assert [(entry["method"], entry["status"], entry["client_id"], entry["principal"]) for entry in log] == [
        ("GET", 200, names.app, "warden"),
        ("GET", 200, names.app, "warden"),
        ("PUT", 201, names.app, "warden"),
    ]
    assert [entry["number"] for entry in log] == [1, 2, 3]
    assert log[0]["monotonic"] < log[2]["monotonic"]
    assert log[0]["time"].endswith("Z")
    assert log[2]["path"] == names.hub
    assert all("body" not in entry for entry in log)
    bodies = await control.requests(bodies=True)
    assert bodies[2]["body"]["properties"]["minTlsVersion"] == "1.2"
    assert bodies[0]["body"] is None
    await control.clear_requests()
    assert await control.requests() == []


WORKSPACE = "/subscriptions/s/resourceGroups/logs/providers/Microsoft.OperationalInsights/workspaces/all"


async def test_the_other_providers_through_the_control_api(control, names):
    await control.add_destination(WORKSPACE, "eastus")
    assert await control.destinations() == [{"id": WORKSPACE, "location": "eastus"}]
    assert await control.remove_destination(WORKSPACE.upper().replace("/SUBSCRIPTIONS", "/subscriptions")) is True
    await control.add_diagnostic_setting(names.hub, "one", {"workspaceId": WORKSPACE})
    assert (await control.diagnostic_settings(names.hub))[0]["properties"]["workspaceId"] == WORKSPACE
    assert await control.remove_diagnostic_setting(names.hub, "ONE") is True
    assert await control.diagnostic_settings(names.hub) == []
    solution = f"{names.group}/providers/Microsoft.Security/iotSecuritySolutions/one"
    assert (
        await control.add_security_solution({"id": solution, "properties": {"iotHubs": [names.hub]}}) == solution
    )
    assert [body["id"] for body in await control.security_solutions()] == [solution]
    assert await control.remove_security_solution(solution) is True
    assert await control.add_devices(names.hub, 3, modules=["m"]) == 3
    assert await control.add_devices(names.hub, ["a", {"id": "b", "status": "disabled"}]) == 5
    await control.change_device(names.hub, "a", connection_state="Connected", modules=["m", {"id": "n"}])
    await control.add_module(names.hub, "b", "m")
    assert await control.remove_module(names.hub, "b", "m") is True
    assert await control.remove_device(names.hub, "b") is True
    assert await control.device_count(names.hub) == 4
    for call in (
        control.change_device(names.hub, "b", status="disabled"),
        control.add_devices("/subscriptions/s/resourceGroups/r/providers/Microsoft.Devices/IotHubs/none", 1),
    ):
        with pytest.raises(ControlError, match="missing or unknown"):
            await call
    for changes in ({"status": "odd"}, {"number": 1}, {"colour": "red"}):
        with pytest.raises(ControlError):
            await control.change_device(names.hub, "a", **changes)
    with pytest.raises(ControlError, match="there is a device 'a' already"):
        await control.add_devices(names.hub, ["a"])
    with pytest.raises(ControlError, match="not the id of a resource"):
        await control.add_destination("logs")
    await control.reset()
    assert (await control.security_solutions(), await control.destinations()) == ([], [])


async def test_a_seed_of_everything(control, names):
    solution = f"{names.group}/providers/Microsoft.Security/iotSecuritySolutions/one"
    await control.reset()
    await control.seed(
        {
            "devices": [{"hub_id": names.hub, "devices": 2}, {"hub_id": names.hub, "devices": ["x"]}],
            "diagnostic_settings": [{"hub_id": names.hub, "name": "one", "properties": {}}],
            "security_solutions": [{"id": solution, "properties": {"iotHubs": [names.hub.lower()]}}],
            "destinations": [{"id": WORKSPACE}],
            "hubs": [{"id": names.hub}],
        }
    )
    assert await control.device_count(names.hub) == 3
    assert len(await control.diagnostic_settings(names.hub)) == 1
    assert (await control.security_solutions())[0]["properties"]["iotHubs"] == [names.hub.lower()]
    assert await control.destinations() == [{"id": WORKSPACE, "location": "westeurope"}]


async def test_seeding_through_the_control_api(control, names):
    await control.seed(
        {"hubs": [{"body": {"id": f"{names.hub}9"}}], "locks": [{"scope": names.group, "level": "ReadOnly"}]}
    )
    assert f"{names.hub}9" in await control.hub_ids()
    with pytest.raises(ControlError, match=r"hubs\[0\]: ValueError: not the id of an IoT hub: 'nothing'"):
        await control.seed({"hubs": [{"id": "nothing"}]})


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda control: control.configure(colour="red"), "cannot set"),
        (lambda control: control.configure(port=1), "cannot set"),
        (lambda control: control.fail(kind="explode"), "unknown kind of fault"),
        (lambda control: control.fail(path="("), "path is no regular expression"),
        (lambda control: control.add_hub({}), "missing or unknown: 'id'"),
        (lambda control: control.add_lock("/subscriptions/s", "Hard"), "InvalidLockLevel"),
        (lambda control: control.subscribe("http://127.0.0.1:1/"), "gave no usable answer"),
        (lambda control: control.subscribe("http://127.0.0.1:1/", schema="Mine"), "unknown schema"),
        (lambda control: control.seed({"people": []}), "unknown section 'people'"),
        (lambda control: control._send("GET", "nothing"), "unknown control operation"),
    ],
)
async def test_refusals_name_the_reason(control, call, reason):
    with pytest.raises(ControlError, match=reason):
        await call(control)


async def test_each_control_operation_is_in_the_readme():
    readme = (ROOT / "local/azure_simulator/README.md").read_text()
    missing = [f"{method} /{path}" for method, path in CONTROL if f"`{method} /{path}`" not in readme]
    assert missing == []


async def test_each_setting_of_the_data_plane_and_each_section_of_a_seed_is_in_the_readme():
    readme = (ROOT / "local/azure_simulator/README.md").read_text()
    settings = (
        "query_page_size",
        "query_empty_pages",
        "query_lag_seconds",
        "data_plane_throttle",
        "closed_hub_status",
    )
    assert [name for name in (*SECTIONS, *settings) if f"`{name}`" not in readme] == []


def is_certificate(path):
    return Path(path).exists() and "BEGIN CERTIFICATE" in Path(path).read_text()


async def test_the_ca_is_temporary_or_where_it_is_wanted(tmp_path):
    async with AzureSimulator(SimulatorConfig(ca_dir=str(tmp_path / "ca"))) as sim:
        assert sim.ca_file == str(tmp_path / "ca" / "ca.pem")
        assert is_certificate(sim.ca_file)
    async with AzureSimulator() as sim:
        assert is_certificate(sim.ca_file)
    assert not is_certificate(sim.ca_file)


@contextlib.asynccontextmanager
async def process(*options):
    command = [sys.executable, "-m", "local.azure_simulator", *map(str, options)]
    running = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.kill()
        await running.communicate()


async def test_the_command_line(tmp_path, names):
    seed = tmp_path / "seed.json"
    seed.write_text(
        json.dumps(
            {
                "hubs": [{"id": names.hub}],
                "principals": [{"client_id": names.app, "secret": names.secret}],
            }
        )
    )
    async with process(
        "--seed", seed, "--ca-dir", tmp_path, "--transition-seconds", "0.5", "--page-size", 3
    ) as running:
        line = json.loads(await asyncio.wait_for(running.stdout.readline(), 15))
        assert line["ready"] is True
        assert line["arm"] == line["authority"] == line["audience"]
        assert line["ca_file"] == str(tmp_path / "ca.pem")
        async with SimulatorClient(line["control"], line["ca_file"]) as control:
            assert await control.hub_ids() == [names.hub]
            settings = await control.configure()
        assert (settings["transition_seconds"], settings["page_size"]) == (0.5, 3)
        running.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.wait(), 2) == 0
        assert await running.stdout.read() == b""
        assert await running.stderr.read() == b""


async def test_it_ends_with_its_parent():
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=subprocess.PIPE)
    async with process("--parent-pid", parent.pid) as running:
        await asyncio.wait_for(running.stdout.readline(), 15)
        await parent.communicate(b"\n")
        assert await asyncio.wait_for(running.wait(), 3) == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "is not JSON: Expecting property name"),
        (
            "3",
            f"must be an array of hubs or an object with some of {', '.join(SECTIONS)}",
        ),
        ('{"hub": []}', f"unknown section 'hub', allowed: {', '.join(SECTIONS)}"),
        (
            '{"devices": [{"hub_id": "/x", "devices": 1}]}',
            "devices[0]: ValueError: not the id of an IoT hub: '/x'",
        ),
        ('{"hubs": {}}', "section 'hubs' must be an array of objects"),
        ('[{"name": "x"}]', "hubs[0]: KeyError: 'id'"),
        ('{"locks": [{"scope": "/", "level": "Hard"}]}', "locks[0]: AzureError: 400"),
    ],
)
async def test_a_bad_seed_is_explained(tmp_path, content, reason):
    seed = tmp_path / "seed.json"
    if content is not None:
        seed.write_text(content)
    async with process("--seed", seed) as running:
        _, error = await asyncio.wait_for(running.communicate(), 15)
    assert running.returncode == 2
    assert error.decode().startswith(f"seed: {seed}: {reason}")
    assert error.decode().count("\n") == 1


def test_nothing_names_a_machine():
    words = [str(ROOT), os.uname().nodename] if len(os.uname().nodename) > 5 else [str(ROOT)]
    for file in (ROOT / "local/azure_simulator").glob("*.*"):
        assert not [word for word in words if word in file.read_text()], file
