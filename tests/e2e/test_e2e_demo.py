"""The demo itself, as the README says it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

from pathlib import Path

import pytest

from local.azurite import why_azurite_cannot_run


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


def test_the_demo_plays_all_four_acts_and_writes_its_report():
    REPORT.unlink(missing_ok=True)
    process = demo()
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert "All of it happened" in told
    assert "\x1b[" not in told, "plain where there is no terminal"

    report = json.loads(REPORT.read_text())
    assert report["ok"] is True
    states = {name: hub["states"] for name, hub in report["hubs"].items()}
    assert states == {
        "factory-north": ["open", "approved", "executing", "verifying", "resolved"],
        "factory-south": ["open", "approved", "executing", "verifying", "resolved"],
        "harbour": ["open", "approved", "executing", "ticketed"],
    }
    versions = {name: hub["hub_read_back"]["properties"]["minTlsVersion"] for name, hub in report["hubs"].items()}
    assert versions == {"factory-north": "1.2", "factory-south": "1.2", "harbour": "1.0"}
    assert "ScopeLocked" in report["hubs"]["harbour"]["ticket"]
    assert report["hubs"]["factory-north"]["cost"]["arm_calls_to_put"] <= 4
    for hub in report["hubs"].values():
        times = [line["at"][:26] for line in hub["timeline"]]
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


def test_the_commands_that_it_prints_work():
    process = demo("--no-script")
    assert process.stdout is not None
    commands = []
    try:
        for line in process.stdout:
            if line.startswith("  curl") or " -m local.play" in line:
                commands.append(line.strip())
            if "Ctrl-C ends it all" in line:
                break
        assert len(commands) == 3
        if shutil.which("curl") is None:
            commands = commands[1:]
        told = [
            subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout
            for command in commands
        ]
        assert "Robin Example has set minTlsVersion" in told[-2]
        assert "hub" in told[-1]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)


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
