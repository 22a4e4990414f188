"""The app starts with exactly the settings that Bicep gives it, and works: by identity, without any key.

The names come from the Bicep file, the values from here: a name that has none here fails the test. The package
is what .funcignore leaves, storage has what storage.bicep makes, and the only way in is a token of the identity.
"""

from __future__ import annotations

import fnmatch
import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import time

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient, QueueServiceClient

from hubwarden.domain.hub_id import HubId
from hubwarden.service.messages import EvaluateMessage, Queue
from local.azurite import why_azurite_cannot_run
from tests.app_service import IDENTITY, ROOT, app_service
from tests.infra.agreement import STORAGE, settings_given
from tests.infra.bicep_values import evaluate


SUBSCRIPTION = "5ab5c71e-0000-4000-8000-000000000001"
HUB = HubId(SUBSCRIPTION, "Plants", "press")
LATE = HubId(SUBSCRIPTION, "Plants", "late")
POLICY = f"""\
version: 1
subscriptions: [{SUBSCRIPTION}]
rules:
  tls-minimum: {{mode: auto}}
"""
PATIENCE = 40


def body(hub):
    return {"id": hub.path, "location": "westeurope", "properties": {"minTlsVersion": "1.0"}}


def local_values(service):
    """A value on this machine for each name that Bicep gives."""
    storage, arm = service.azurite, service.simulator["arm"]
    return {
        "AzureWebJobsStorage__blobServiceUri": storage.blob_url,
        "AzureWebJobsStorage__queueServiceUri": storage.queue_url,
        "AzureWebJobsStorage__tableServiceUri": storage.table_url,
        "AzureWebJobsStorage__credential": "managedidentity",
        "AzureWebJobsStorage__clientId": IDENTITY,
        "AZURE_CLIENT_ID": IDENTITY,
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={IDENTITY};IngestionEndpoint={arm}/",
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": f"ClientId={IDENTITY};Authorization=AAD",
        # There is no Azure Monitor here, and its exporter knows more addresses than the one that it is given.
        "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": "false",
        "OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID": IDENTITY,
        "SWEEP_SCHEDULE": "0 */15 * * * *",
        "HUBWARDEN_POLICY": settings_given(ROOT)["HUBWARDEN_POLICY"],
        "HUBWARDEN_CLOUD": "custom",
        "HUBWARDEN_ARM_ENDPOINT": arm,
        "HUBWARDEN_ARM_AUDIENCE": service.simulator["audience"],
        "HUBWARDEN_AUTHORITY": service.simulator["authority"],
        "HUBWARDEN_DATA_PLANE": "",
        "HUBWARDEN_CLAIM_SECONDS": "60",
        "HUBWARDEN_KILL": "0",
        "HUBWARDEN_PUBLIC_URL": "",
        # As the platform hands them over where it cannot read the vault: Bicep's own text.
        "HUBWARDEN_APPROVAL_KEYS": settings_given(ROOT)["HUBWARDEN_APPROVAL_KEYS"],
        "HUBWARDEN_WEBHOOK_KEYS": "made-up-webhook-key-" + 32 * "0",
    }


def package(folder):
    """What is deployed: the project without what .funcignore names, and the operator's policy file."""
    patterns = (ROOT / ".funcignore").read_text().split()

    def ignored(directory, names):
        place = Path(directory).relative_to(ROOT)
        return {
            name
            for name in names
            for pattern in patterns
            if fnmatch.fnmatch(name, pattern.rstrip("/")) or (place / name).as_posix() == pattern.rstrip("/")
        }

    policy = settings_given(ROOT)["HUBWARDEN_POLICY"]
    assert not ignored(ROOT, [policy]), "the policy file would not be deployed"
    app = folder / "wwwroot"
    shutil.copytree(ROOT, app, ignore=ignored)
    (app / policy).write_text(POLICY)
    # The host is run from where nothing of the project is to be found but itself.
    (folder / "local").symlink_to(ROOT / "local")
    return app


class Deployed:
    """The app as it runs in Azure, in a process with the platform's environment and the settings, and no other."""

    def __init__(self, folder, service):
        self.service = service
        given = settings_given(ROOT).keys()
        values = local_values(service)
        assert given == values.keys(), "the names in app.bicep are not those that have a local value"
        self.environment = {"PATH": os.environ["PATH"], **service.environment, **values}
        self.process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "local.functions_host",
                    "--app-dir",
                    folder,
                    "--port",
                    "0",
                    "--enable-auth",
                ),
                *("--parent-pid", str(os.getpid())),
            ],
            cwd=folder.parent,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        self.reader = threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True)
        self.reader.start()
        line = self.process.stdout.readline()
        assert line, self.log
        self.ready = json.loads(line)

    @property
    def log(self):
        return "".join(self.said)

    def call(self, method, path, content=None, *, key):
        connection = http.client.HTTPConnection(urlsplit(self.ready["url"]).netloc, timeout=PATIENCE)
        try:
            headers = {"x-functions-key": key, "Content-Type": "application/json"}
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def health(self):
        status, content = self.call("GET", "/api/health", key=self.ready["function_keys"]["health"])
        assert status == 200, content
        return json.loads(content)

    def until(self, look):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.1)
        return pytest.fail(self.log[-8000:])

    def minimum(self, hub):
        found = json.loads(self.service.control("GET", f"hub?id={hub.path}"))
        return found["body"]["properties"]["minTlsVersion"]

    def end(self):
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        self.process.stdout.close()
        self.process.stderr.close()
        return code


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    with app_service(tmp_path_factory.mktemp("service"), hubs=[body(HUB)]) as service:
        provision(service)
        yield service


def provision(service):
    """Make what storage.bicep makes. The names are all it takes: the app is to find each of them."""
    by_token = {"credential": service, "connection_verify": str(service.bundle)}
    with TableServiceClient(service.azurite.table_url, **by_token) as tables:
        for name in evaluate(ROOT / STORAGE, "tableNames"):
            tables.create_table(name)
    with QueueServiceClient(service.azurite.queue_url, **by_token) as queues:
        for name in evaluate(ROOT / STORAGE, "queueNames"):
            queues.create_queue(name)
    with BlobServiceClient(service.azurite.blob_url, **by_token) as blobs:
        for name in evaluate(ROOT / STORAGE, "containerNames"):
            blobs.create_container(name)


@pytest.fixture(scope="module")
def app(service, tmp_path_factory):
    app = Deployed(package(tmp_path_factory.mktemp("package")), service)
    yield app
    if app.process.poll() is None:
        app.end()


def test_there_is_no_key_of_the_account_in_its_environment(app):
    told = json.dumps(app.environment).lower()
    assert not [word for word in ("accountkey", "sharedaccess", "usedevelopmentstorage") if word in told]
    assert "AzureWebJobsStorage" not in app.environment


def test_it_is_healthy_and_says_which_secret_azure_could_not_read(app):
    said = app.health()
    assert said["ready"]
    assert any("HUBWARDEN_APPROVAL_KEYS is a reference that is not resolved" in line for line in said["warnings"])
    assert not any("HUBWARDEN_WEBHOOK_KEYS" in line for line in said["warnings"])


def test_a_sweep_that_is_asked_for_is_complete_and_what_it_found_is_fixed(app):
    status, _ = app.call("POST", "/admin/functions/sweep", '{"input": ""}', key=app.ready["master_key"])
    assert status == 202
    last = app.until(lambda: app.health()["last_sweep"])
    assert last["complete"], last
    assert last["summary"].endswith("on 1 of 1 hubs, 1 with drift")
    assert app.until(lambda: app.minimum(HUB) == "1.2")


def test_a_message_in_a_queue_is_taken_and_done(app):
    content = json.dumps({"body": body(LATE)}).encode()
    app.service.control("POST", "hubs", content)
    credential = {"credential": app.service, "connection_verify": str(app.service.bundle)}
    with QueueClient(app.service.azurite.queue_url, Queue.EVALUATE.value, **credential) as queue:
        message = EvaluateMessage(hub=LATE.path, asked_at=datetime.now(UTC), cause="test")
        queue.send_message(message.model_dump_json())
        assert app.until(lambda: app.minimum(LATE) == "1.2")
        app.until(lambda: queue.get_queue_properties().approximate_message_count == 0)
    assert app.health()["queues"][f"{Queue.EVALUATE}-poison"] == 0


def test_it_ran_all_the_time_without_an_error_and_ends_when_it_is_told(app):
    assert app.end() == 0
    lines = app.log.splitlines()
    assert not [line for line in lines if "ERROR" in line or "(Failed" in line or "cannot be read" in line]
    assert [line for line in lines if "Executed 'Functions.remediate' (Succeeded" in line]


def test_a_name_in_bicep_without_a_local_value_is_an_error(service, monkeypatch, tmp_path):
    given = {**settings_given(ROOT), "HUBWARDEN_NEW": ""}
    monkeypatch.setattr(sys.modules[__name__], "settings_given", lambda _: given)
    with pytest.raises(AssertionError, match="are not those that have a local value"):
        Deployed(tmp_path, service)
