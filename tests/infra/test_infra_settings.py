"""Bicep, host.json, the settings' sample, the README and the code say the same; a fault in any of them is seen."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from tests.infra import agreement
from tests.infra.agreement import APP, BY_OTHERS, QUESTIONS, ROOT, STORAGE


SAMPLE = "local.settings.sample.json"
FILES = ("host.json", SAMPLE, ".python-version", "README.md", "policy.sample.yaml")
AZURE_EVENTS, DEVICE_EVENTS = "infra/modules/azureEvents.bicep", "infra/modules/deviceEvents.bicep"

# question, file, what stands there, what is put in its place, what is then told
FAULTS = {
    "a setting is forgotten": (
        "app_settings", APP, "  HUBWARDEN_CLAIM_SECONDS: '60'\n", "",
        "HUBWARDEN_CLAIM_SECONDS is read, and app.bicep does not give it",
    ),
    "a setting is misspelt": (
        "app_settings", APP, "HUBWARDEN_POLICY:", "HUBWARDEN_POLICIES:",
        "HUBWARDEN_POLICIES in app.bicep is read by nobody",
    ),
    "a binding's setting is forgotten": (
        "app_settings", APP, "  SWEEP_SCHEDULE: sweepSchedule\n", "", "SWEEP_SCHEDULE is read",
    ),
    "a binding's connection has another name": (
        "app_settings", APP, "AzureWebJobsStorage__queueServiceUri", "Storage__queueServiceUri",
        "AzureWebJobsStorage__queueServiceUri is read",
    ),
    "the settings never get to the site": (
        "app_settings", APP, "union(extraSettings, appSettings, signInSettings)", "signInSettings",
        "HUBWARDEN_POLICY is read",
    ),
    "a connection string comes back": (
        "app_settings", APP, "  AZURE_CLIENT_ID:", "  AzureWebJobsStorage: 'x'\n  AZURE_CLIENT_ID:",
        "app.bicep gives AzureWebJobsStorage, against",
    ),
    "the identity's setting is gone": (
        "app_settings", APP, "  AZURE_CLIENT_ID: identityClientId\n", "", "BY_OTHERS has AZURE_CLIENT_ID",
    ),
    "the sample forgets a setting": (
        "local_settings", SAMPLE, '"HUBWARDEN_KILL": "0",', "",
        "HUBWARDEN_KILL is not in local.settings.sample.json",
    ),
    "the sample invents a setting": (
        "local_settings", SAMPLE, '"HUBWARDEN_KILL"', '"HUBWARDEN_STOP": "", "HUBWARDEN_KILL"',
        "HUBWARDEN_STOP in local.settings.sample.json",
    ),
    "the sample has another default": (
        "local_settings", SAMPLE, '"60"', '"61"', "does not say the defaults",
    ),
    "a poison queue is misspelt": (
        "storage_names", STORAGE, "'hubwarden-census-poison'", "'hubwarden-censuspoison'",
        "queueNames has no hubwarden-census-poison",
    ),
    "a table is forgotten": (
        "storage_names", STORAGE, "  'hubwardenhubs'\n", "", "tableNames has no hubwardenhubs",
    ),
    "a table of nobody": (
        "storage_names", STORAGE, "  'hubwardenhubs'\n", "  'hubwardenhubs'\n  'hubwardenold'\n",
        "tableNames has hubwardenold, which the code does not know",
    ),
    "a container is misspelt": (
        "storage_names", STORAGE, "'hubwarden-lists'", "'hubwarden-list'", "containerNames has no hubwarden-lists",
    ),
    "another Python": ("runtime", ".python-version", "3.13", "3.14", "and .python-version says 3.14"),
    "another Python there": ("runtime", APP, "version: '3.13'", "version: '3.12'", "'version': '3.12'"),
    "another prefix of routes": (
        "host_json", "host.json", '"routePrefix": "api"', '"routePrefix": ""', "authExcludedPaths has /api/health",
    ),
    "a path of nobody is open": (
        "host_json", "infra/main.bicep", "'/api/health'", "'/api/heath'", "authExcludedPaths has /api/heath",
    ),
    "events must sign in": (
        "host_json", "infra/main.bicep", "  '/runtime/webhooks/eventgrid'\n", "", "no event would be delivered",
    ),
    "a sweep may run into the next": (
        "host_json", "host.json", '"00:10:00"', '"00:15:00"', "functionTimeout 0:15:00 is no shorter than",
    ),
    "the schedule catches up with a sweep": (
        "host_json", "infra/main.bicep", "'0 */15 * * * *'", "'0 */5 * * * *'", "time between two sweeps, 0:05:00",
    ),
    "an old bundle": ("host_json", "host.json", "[4.0.0, 5.0.0)", "[3.3.0, 4.0.0)", "has the extension bundle"),
    "messages are encoded": (
        "host_json", "host.json", '"messageEncoding": "none"', '"messageEncoding": "base64"',
        "host.json encodes messages",
    ),
    "a function that is not there is subscribed": (
        "function_names", AZURE_EVENTS, "functions/on_azure_event", "functions/on_event",
        "infra/ names on_event, and there is no such function",
    ),
    "a function that takes no events is subscribed": (
        "function_names", AZURE_EVENTS, "functions/on_azure_event", "functions/evaluate",
        "evaluate is subscribed, and takes no events",
    ),
    "a function that takes events gets none": (
        "function_names", DEVICE_EVENTS, "functions/on_device_event", "functions/on_azure_event",
        "on_device_event is subscribed to nothing",
    ),
    "a function that is not there is kept warm": (
        "function_names", APP, "'function:evaluate'", "'function:evaluates'", "infra/ names evaluates",
    ),
    "the README forgets a setting": ("readme", "README.md", "`HUBWARDEN_KILL`", "`K`", "have no HUBWARDEN_KILL"),
    "the README invents a setting": (
        "readme", "README.md", "| `SWEEP_SCHEDULE`", "| `HUBWARDEN_NONE`, `SWEEP_SCHEDULE`",
        "have HUBWARDEN_NONE, which nobody reads",
    ),
    "a reference leads to no secret": (
        "secrets", APP, "secrets/webhook-keys)", "secrets/webhook-key)", "postprovision.sh makes no such secret",
    ),
    "a reference that the app would take for a key": (
        "secrets", APP, "@Microsoft.KeyVault(SecretUri=${vaultEndpoint}secrets/webhook-keys)", "x",
        "HUBWARDEN_WEBHOOK_KEYS is x, which is no Key Vault reference",
    ),
    "a hook makes another secret": (
        "secrets", "infra/hooks/postprovision.ps1", "approval-keys", "approval-key",
        "postprovision.ps1 makes no such secret",
    ),
    "telemetry of the host and of the worker": (
        "host_json", "host.json", '"telemetryMode": "OpenTelemetry"', '"telemetryMode": "ApplicationInsights"',
        "go only together",
    ),
    "a cloud has another name": ("clouds", APP, "'usgov'", "'gov'", "do not agree on the cloud gov"),
}  # fmt: skip


@pytest.fixture(scope="module")
def code():
    return agreement.code()


@pytest.fixture
def copy(tmp_path):
    """The project's files, to put a fault in."""
    shutil.copytree(ROOT / "infra", tmp_path / "infra")
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.__name__)
def test_there_is_no_disagreement(code, question):
    assert list(question(ROOT, code)) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(code, copy, fault):
    question, file, there, instead, told = FAULTS[fault]
    text = (copy / file).read_text()
    assert there in text
    (copy / file).write_text(text.replace(there, instead, 1))
    lines = list(getattr(agreement, question)(copy, code))
    assert any(told in line for line in lines), lines


@pytest.mark.parametrize(
    ("question", "field", "new", "told"),
    [
        ("app_settings", "read", "HUBWARDEN_NEW", "HUBWARDEN_NEW is read, and app.bicep does not give it"),
        ("readme", "read", "HUBWARDEN_NEW", "README's settings have no HUBWARDEN_NEW"),
        ("storage_names", "tables", "hubwardennew", "tableNames has no hubwardennew"),
        ("storage_names", "queues", "hubwarden-new", "queueNames has no hubwarden-new"),
        ("storage_names", "containers", "hubwarden-new", "containerNames has no hubwarden-new"),
    ],
)
def test_what_is_new_in_the_code_is_missed_elsewhere(code, question, field, new, told):
    changed = dataclasses.replace(code, **{field: getattr(code, field) | {new}})
    assert told in list(getattr(agreement, question)(ROOT, changed))


def test_a_new_setting_in_bicep_and_in_the_code_is_missed_in_the_sample(code, copy):
    app = copy / APP
    app.write_text(app.read_text().replace("  HUBWARDEN_KILL:", "  HUBWARDEN_NEW: ''\n  HUBWARDEN_KILL:"))
    changed = dataclasses.replace(code, read=code.read | {"HUBWARDEN_NEW"})
    assert not [line for line in agreement.app_settings(copy, changed) if "HUBWARDEN_NEW" in line]
    assert list(agreement.local_settings(copy, changed)) == ["HUBWARDEN_NEW is not in local.settings.sample.json"]


def test_every_setting_that_the_code_spells_was_seen_to_be_read(code):
    """Else a way that the app can go was not gone here, and what it reads there is held to nothing."""
    assert agreement.settings_spelled() - BY_OTHERS.keys() <= code.read
    assert {"HUBWARDEN_KILL", "HUBWARDEN_DATA_PLANE", "WEBSITE_AUTH_ENABLED"} <= agreement.settings_spelled()


def test_every_table_queue_and_container_that_the_adapters_spell_is_held_to_bicep(code):
    assert agreement.names_spelled() <= code.tables | code.queues | code.containers
    assert agreement.names_spelled() & code.tables
    assert agreement.names_spelled() & code.containers


def test_every_name_that_needs_a_reason_has_one():
    reasons = (agreement.BY_OTHERS, agreement.NOT_IN_BICEP, agreement.LOCAL_ONLY)
    assert all(len(reason) > 15 for some in reasons for reason in some.values())
