"""The function app as the real Python worker runtime indexes it, and the files that must agree with it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

from pathlib import Path

import pytest

from hubwarden.service.messages import Queue


ROOT = Path(__file__).parents[2]
INDEX = """
import asyncio, json, sys
from pathlib import Path
from local.functions_host.runtime import load_app
functions = asyncio.run(load_app(Path(sys.argv[1])))
print(json.dumps({
    "functions": {f.name: [dict(b) for b in f.bindings] for f in functions},
    "heavy": sorted(m for m in sys.modules if m in sys.argv[2].split(",")),
}))
"""
HEAVY = (
    "azure.mgmt.iothub",
    "azure.identity",
    "azure.data.tables",
    "azure.storage.queue",
    "azure.storage.blob",
    "jwt",
    "opentelemetry",
)


@pytest.fixture(scope="module")
def indexed():
    command = [sys.executable, "-c", INDEX, str(ROOT), ",".join(HEAVY)]
    env = {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_host_sees_these_functions(indexed, snapshot):
    functions = {
        name: sorted(bindings, key=lambda b: b["direction"]) for name, bindings in indexed["functions"].items()
    }
    assert functions == snapshot


def test_each_work_queue_has_a_function_and_so_has_its_poison_queue(indexed):
    queues = {b["queueName"] for bindings in indexed["functions"].values() for b in bindings if "queueName" in b}
    assert queues == {name for queue in Queue for name in (queue.value, f"{queue}-poison")}


def test_indexing_loads_no_sdk_that_only_work_needs(indexed):
    assert indexed["heavy"] == []


def test_dead_letters_are_read_back_while_no_usual_sweep_begins(indexed):
    [timer] = indexed["functions"]["dead_letters"]
    seconds, minutes, *rest = timer["schedule"].split()
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]["SWEEP_SCHEDULE"]
    assert sample == "0 */15 * * * *"
    assert (seconds, rest) == ("30", ["*"] * 4)
    assert {int(minute) % 15 for minute in minutes.split(",")} == {7}


def test_the_function_app_holds_triggers_only():
    source = (ROOT / "function_app.py").read_text()
    modules = {node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
    assert len(source.splitlines()) < 150
    assert modules <= {
        "__future__",
        "typing",
        "hubwarden.bootstrap",
        "hubwarden.service.messages",
        "hubwarden.web.poison",
        "hubwarden.web.triggers",
    }


def test_host_json_polls_queues_at_two_seconds_at_most():
    queues = json.loads((ROOT / "host.json").read_text())["extensions"]["queues"]
    assert queues["maxPollingInterval"] <= "00:00:02"
    assert queues["maxDequeueCount"] == 5


def test_the_sample_policy_is_valid_and_only_reports():
    from datetime import date

    from detectors import RULES
    from hubwarden.domain.hub_id import HubId
    from hubwarden.domain.policy import load_policy
    from hubwarden.domain.rule import Mode

    policy = load_policy((ROOT / "policy.sample.yaml").read_text(), RULES, today=date(2026, 11, 23))
    assert {policy.mode_of(rule.id, HubId("s", "g", "h"), None) for rule in RULES} == {Mode.REPORT}


def test_the_committed_schema_is_the_one_that_the_code_exports():
    from detectors import RULES
    from hubwarden.domain.policy import policy_schema

    committed = json.loads((ROOT / "docs" / "policy.schema.json").read_text())
    assert committed == json.loads(json.dumps(policy_schema(RULES))), "run `make schema`"


def test_what_is_deployed_needs_nothing_local():
    ignored = (ROOT / ".funcignore").read_text().split()
    assert {"local/", "tests/", "node_modules/", "local.settings.json"} <= set(ignored)
