"""The demo itself, as the README says it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from local.azure_simulator.client import SimulatorClient
from local.azurite import why_azurite_cannot_run
from local.scene import hub_body
from tests.ui.conftest import CHROMIUM, chromium


ROOT = Path(__file__).parents[2]
REPORT = ROOT / ".demo" / "report.json"

pytestmark = pytest.mark.skipif(why_azurite_cannot_run() is not None, reason=str(why_azurite_cannot_run()))


def demo(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "local.demo", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


FIXED = ["open", "approved", "executing", "verifying", "resolved"]
STATES = {
    "factory-north": {"tls-minimum": FIXED, "diagnostics": FIXED},
    "factory-south": {"tls-minimum": FIXED, "sas-policies": ["open", "awaiting_approval", *FIXED[1:]]},
    "harbour": {
        "defender-devices": ["open", "ticketed"],
        "tls-minimum": ["open", "approved", "ticketed"],
    },
}


def test_the_demo_plays_all_four_drifts_and_writes_its_report():
    REPORT.unlink(missing_ok=True)
    process = demo()
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert "All of it happened" in told
    assert "\x1b[" not in told, "plain where there is no terminal"
    assert "approved by" in told
    assert "Note: Whether anybody used its keys cannot be seen in Azure." in told

    report = json.loads(REPORT.read_text())
    assert report["ok"] is True
    hubs = report["hubs"]
    states = {
        name: {rule: finding["states"] for rule, finding in hub["findings"].items()} for name, hub in hubs.items()
    }
    assert states == STATES
    versions = {name: hub["hub_read_back"]["properties"]["minTlsVersion"] for name, hub in hubs.items()}
    assert versions == {"factory-north": "1.2", "factory-south": "1.2", "harbour": "1.0"}
    assert "a ReadOnly lock on " in hubs["harbour"]["findings"]["tls-minimum"]["ticket"]
    assert [device["deviceId"] for device in hubs["harbour"]["devices_not_covered"]] == ["crane-7"]
    assert [setting["name"] for setting in hubs["factory-north"]["diagnostic_settings"]] == ["hubwarden"]
    assert hubs["factory-north"]["cost"]["arm_calls_to_put"] <= 7
    assert hubs["factory-north"]["cost"]["seconds_to_put"] > 0
    for hub in hubs.values():
        times = [datetime.fromisoformat(line["at"]) for line in hub["timeline"]]
        assert len(times) > 4
        assert times == sorted(times)
    assert processes_of(process.pid) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_it_no_process_is_left_behind(how):
    process = demo("--no-script")
    assert process.stdout is not None
    for line in process.stdout:
        if "Ctrl-C ends it all" in line:
            break
    children = processes_of(process.pid)
    assert len(children) == 3, "Azurite, the simulator and the host"
    process.send_signal(how)
    process.wait(timeout=20)
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and (left := [pid for pid in children if is_alive(pid)]):
        time.sleep(0.1)
    assert left == []


def test_the_commands_that_it_prints_work_and_so_do_the_other_drifts():
    process = demo("--no-script")
    assert process.stdout is not None
    commands = []
    try:
        for line in process.stdout:
            if line.startswith("  curl") or " -m " in line:
                commands.append(line.strip())
            if "Ctrl-C ends it all" in line:
                break
        assert len(commands) == 4
        curl, lower, show, findings = commands
        if shutil.which("curl") is not None:
            assert '"ready": true' in told_by(curl)
        assert "Robin Example has set minTlsVersion" in told_by(lower)
        assert "hub" in told_by(show)
        python = lower.partition(" -m ")[0]
        assert "shared access policy rogue" in told_by(f"{python} -m local.play rogue factory-south")
        assert "deleted the diagnostic setting" in told_by(f"{python} -m local.play unlog harbour")
        count = told_by(f"{python} -m local.play device harbour").splitlines()[-1]
        wanted = {"tls-minimum", "sas-policies", "diagnostics", "defender-devices"}
        assert "sweep has begun" in told_by(f"{python} -m local.play sweep")
        time.sleep(2)
        assert "are counted now" in told_by(count)
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline and (left := wanted - rules_of(findings)):
            time.sleep(1)
        assert left == set()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is missing: apt-get install chromium")
def test_the_link_that_it_prints_opens_in_a_browser_and_approving_there_has_the_hub_fixed():
    process = demo("--keep")
    assert process.stdout is not None
    try:
        told = list(itertools.takewhile(lambda line: "Ctrl-C ends it all" not in line, process.stdout))
        [link] = [line.strip() for line in told if "/api/approvals/" in line]
        policies = policies_of("factory-south")
        assert "rogue" in policies
        with chromium() as browser:
            page = browser.new_page()
            page.goto(link)
            assert "factory-south has drifted" in page.locator("h1").inner_text()
            assert policies_of("factory-south") == policies, "opening a link changes nothing"
            page.get_by_text("Approve…").click()
            page.get_by_label("Reason (optional)").first.fill("nobody knows this policy")
            page.get_by_role("button", name="Approve and fix").click()
            page.get_by_role("heading", name="Approved").wait_for()
            wait_until(lambda: policies_of("factory-south") == policies - {"rogue"})
            wait_until(lambda: page.goto(link) and "Resolved" in page.locator("h1").inner_text())
            assert "bearer: holder of the link" in page.locator("main").inner_text()
            assert "nobody knows this policy" in page.locator("main").inner_text()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)


def wait_until(true, seconds=40):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def policies_of(name):
    """The names of the hub's shared access policies, as the simulator keeps them."""
    stack = json.loads((ROOT / ".demo" / "stack.json").read_text())

    async def read():
        async with SimulatorClient(stack["control"], stack["ca_file"]) as sim:
            return await sim.hub(hub_body(name)["id"])

    with ThreadPoolExecutor() as aside:  # the browser's driver runs a loop of its own in this thread
        hub = aside.submit(asyncio.run, read()).result()
    return {policy["keyName"] for policy in hub["policies"]}


def told_by(command: str) -> str:
    return subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def rules_of(findings: str) -> set[str]:
    command = f"{findings} --all --output json"
    told = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    return {finding["rule"] for finding in json.loads(told.stdout)["findings"]}


def processes_of(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
