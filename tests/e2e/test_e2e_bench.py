"""The benchmark in its small size: every figure is there, and what is counted is right. Never how fast."""

from __future__ import annotations

import json
import subprocess
import sys

from pathlib import Path

import pytest

from local.azurite import why_azurite_cannot_run


ROOT = Path(__file__).parents[2]
HUBS, SUBSCRIPTIONS, DRIFTS = 100, 5, 20

pytestmark = pytest.mark.skipif(why_azurite_cannot_run() is not None, reason=str(why_azurite_cannot_run()))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    output = tmp_path_factory.mktemp("bench") / "bench.json"
    command = [sys.executable, "-m", "local.bench", "--quick", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads(output.read_text())


def figures(report, part):
    return {figure["name"]: figure for figure in report["figures"][part]}


def test_every_figure_is_measured_and_said_to_be_met_or_not(bench):
    told, report = bench
    assert report["figures"].keys() == {"sweep", "latency", "cold_start"}
    for part in report["figures"]:
        for name, figure in figures(report, part).items():
            assert figure["value"] >= 0, name
            assert (figure["met"] is None) == (figure["at_most"] is None), name
    targets = {
        figure["name"] for part in report["figures"].values() for figure in part if figure["at_most"] is not None
    }
    assert targets == {
        "first sweep ÷ bare client",
        "steady sweep, ARM calls",
        "steady sweep, listkeys",
        "peak memory of the sweeping process",
        "drifts without exactly one effective PUT",
    }
    assert "storage is in memory" in " ".join(told.split())
    assert "event → PUT, p99" in told


def test_a_steady_sweep_costs_one_call_a_hub_and_no_listkeys(bench):
    report = bench[1]["sweep"]
    assert (report["hubs"], report["subscriptions"]) == (HUBS, SUBSCRIPTIONS)
    for run in [*report["ours"], report["ours_in_azurite"]]:
        assert HUBS <= run["steady_calls"] <= 1.05 * HUBS + 5 * SUBSCRIPTIONS
        assert run["steady_listkeys"] == 0
        assert run["first_listkeys"] == HUBS, "each hub's policies are read once"
        assert run["first_calls"] == run["steady_calls"] + HUBS + 2 * SUBSCRIPTIONS, "categories and destinations"


def test_the_bare_client_makes_as_many_calls_at_once_and_holds_less(bench):
    report = bench[1]["sweep"]
    assert report["at_once"] > 1
    assert len(report["bare"]) == len(report["ours"]) == 1
    assert report["bare"][0]["peak_megabytes"] < report["ours"][0]["peak_megabytes"]


def test_the_rules_of_the_control_plane_are_measured_and_no_others(bench):
    assert {"tls-minimum", "diagnostics", "sas-policies"} <= set(bench[1]["sweep"]["rules"])
    assert "defender-devices" not in bench[1]["sweep"]["rules"]


def test_each_drift_has_one_write_that_took_effect(bench):
    report = bench[1]["latency"]
    assert report["drifts"] == len(report["seconds"]) == DRIFTS
    assert report["fixes"] == [1] * DRIFTS
    assert all(seconds > 0 for seconds in report["seconds"])


def test_what_it_starts_is_ended(bench):
    left = [
        command
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if (command := _command(path)) and "local.azure_simulator" in command and "/bench/seed.json" in command
    ]
    assert left == []


def _command(path):
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
