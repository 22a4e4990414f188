"""Connections by address and managed identity, as in Azure: no key of the account is anywhere."""

import pytest

from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient, TextBase64DecodePolicy, TextBase64EncodePolicy

from local.azurite import why_azurite_cannot_run
from tests.app_service import IDENTITY, app_service


SOURCE = """
@app.queue_trigger("msg", "work", "AzureWebJobsStorage")
@app.queue_output("out", "done", "Other")
def worker(msg: func.QueueMessage, out: func.Out[str]):
    out.set(msg.get_body().decode())

@app.timer_trigger("timer", "0 0 0 1 1 *", run_on_startup=True)
def yearly(timer: func.TimerRequest):
    saw(yearly=True)
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    with app_service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def start(service, start_host):
    """Start a host whose two connections are addresses, and whose identity is this one."""

    def started(client_id=IDENTITY):
        settings = {"AzureWebJobsStorage": None}
        for prefix in ("AzureWebJobsStorage", "Other"):
            settings |= {
                f"{prefix}__queueServiceUri": service.azurite.queue_url,
                f"{prefix}__blobServiceUri": service.azurite.blob_url,
                f"{prefix}__credential": "managedidentity",
                f"{prefix}__clientId": client_id,
            }
        return start_host(SOURCE, settings=settings, **service.environment)

    return started


@pytest.fixture
def queue(service):
    opened = []

    def client(name):
        encoded = {
            "message_encode_policy": TextBase64EncodePolicy(),
            "message_decode_policy": TextBase64DecodePolicy(),
        }
        verify = {"credential": service, "connection_verify": str(service.bundle)}
        opened.append(QueueClient(service.azurite.queue_url, name, **verify, **encoded))
        return opened[-1]

    yield client
    for each in opened:
        each.close()


def test_messages_are_taken_and_put_and_timers_remembered_with_tokens_of_the_identity(
    service, start, queue, until
):
    host = start()
    work, done = queue("work"), queue("done")
    work.create_queue()
    work.send_message("letter")
    host.wait_for_log("Executed 'Functions.worker' (Succeeded")
    assert [message.content for message in done.peek_messages()] == ["letter"]
    assert work.get_queue_properties().approximate_message_count == 0
    host.wait_for(yearly=True)
    with BlobServiceClient(service.azurite.blob_url, service, connection_verify=str(service.bundle)) as blobs:
        container = blobs.get_container_client("azure-webjobs-hosts")
        assert until(lambda: [name for name in container.list_blob_names() if "yearly" in name])
    assert "cannot be" not in host.log
    work.delete_queue()


def test_an_identity_that_is_not_assigned_is_told_and_takes_nothing(start, queue):
    host = start("eeeeeeee-0000-4000-8000-000000000009")
    host.wait_for_log("Queue work cannot be read, trying again quietly")
    host.wait_for_log("No User Assigned or Delegated Managed Identity found")
    work = queue("work")
    work.create_queue()
    work.send_message("letter")
    assert [message.content for message in work.peek_messages()] == ["letter"]
    assert host.end() == 0
