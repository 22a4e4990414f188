import asyncio
import base64
import json
import signal
import time

import pytest

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient

from local.azurite import Azurite
from local.functions_host.connections import ConnectionString
from local.functions_host.storage import Storage


APP = """
@app.queue_trigger("msg", "%WORK%", "STORE")
async def work(msg: func.QueueMessage):
    body = msg.get_body().decode()
    saw(work=body, id=msg.id, dequeues=msg.dequeue_count, pop=msg.pop_receipt, at=time.time(),
        inserted=str(msg.insertion_time), expires=str(msg.expiration_time), visible=str(msg.time_next_visible))
    if body.startswith("bad"):
        raise RuntimeError("broken on purpose")

@app.queue_trigger("msg", "relay-in", "AzureWebJobsStorage")
@app.queue_output("out", "relay-out", "")
@app.queue_output("made", "relay-made", "STORE")
def relay(msg: func.QueueMessage, out: func.Out[str], made: func.Out[typing.List[str]]):
    out.set("relayed " + msg.get_body().decode())
    made.set(["x", "y"])

@app.queue_trigger("msg", "relay-out", "STORE")
def relayed(msg: func.QueueMessage):
    saw(relayed=msg.get_body().decode(), at=time.time())

@app.queue_trigger("msg", "many", "STORE")
async def many(msg: func.QueueMessage):
    logging.many = getattr(logging, "many", 0) + 1
    saw(many=logging.many)
    await asyncio.sleep(0.3)
    logging.many -= 1

@app.queue_trigger("msg", "long-work", "STORE")
async def long_work(msg: func.QueueMessage):
    saw(long=msg.get_body().decode(), dequeues=msg.dequeue_count)
    await asyncio.sleep(2.5)
    saw(long_done=msg.get_body().decode(), dequeues=msg.dequeue_count)
"""
OPTIONS = {
    "batchSize": 2,
    "newBatchThreshold": 1,
    "maxDequeueCount": 2,
    "visibilityTimeout": "00:00:01",
    "maxPollingInterval": "00:00:00.300",
}
ODD = 'Größe "ß" <&> \n 🐝'


@pytest.fixture(scope="module")
def host(start_host, azurite):
    settings = {"WORK": "Work-Items", "STORE": azurite.connection_string}
    arguments = ("--message-lease", "1")
    return start_host(APP, *arguments, host_json={"extensions": {"queues": OPTIONS}}, settings=settings)


@pytest.fixture(scope="module")
def work(host, azurite) -> QueueClient:
    """The queue of `work`, made only after the host has been polling for it."""
    assert "cannot be read" not in host.log
    client = QueueClient.from_connection_string(azurite.connection_string, "work-items")
    client.create_queue()
    yield client
    client.close()


def base64_of(text):
    return base64.b64encode(text.encode()).decode()


def is_empty(queue):
    return queue.get_queue_properties().approximate_message_count == 0


def test_a_message_arrives_with_its_metadata_and_is_deleted(host, work, until):
    sent = work.send_message(base64_of(ODD))
    (note,) = host.wait_for(work=ODD)
    assert (note["id"], note["dequeues"]) == (sent.id, 1)
    assert note["inserted"] == str(sent.inserted_on)
    assert note["expires"] == str(sent.expires_on)
    assert note["visible"] > note["inserted"]
    assert note["pop"]
    until(lambda: is_empty(work))


def test_a_message_that_keeps_failing_moves_to_the_poison_queue_as_it_is(host, work, queue, until):
    body = "bad " + ODD
    work.send_message(base64_of(body))
    first, second = host.wait_for(work=body, times=2)
    assert (first["dequeues"], second["dequeues"]) == (1, 2)
    assert second["at"] - first["at"] >= 0.9, "visibilityTimeout delays the retry"
    poison = queue("work-items-poison", create=False)
    message = until(lambda: _first(poison))
    assert message.content == body
    until(lambda: is_empty(work))
    assert len(host.seen(work=body)) == 2
    assert "it failed 2 times" in host.log


def test_what_is_not_base64_moves_to_the_poison_queue_unseen(host, work, azurite, until):
    work.send_message("not base64!")
    with QueueClient.from_connection_string(azurite.connection_string, "work-items-poison") as poison:
        assert until(lambda: _first(poison, content="not base64!"))
    assert not host.seen(work="not base64!")


def _first(queue, content=None):
    try:
        messages = list(queue.receive_messages(visibility_timeout=1))
    except ResourceNotFoundError:
        return None
    return next((each for each in messages if content in {None, each.content}), None)


def test_outputs_are_queued_and_wake_the_hosts_own_listener(host, queue, until):
    queue("relay-in").send_message("letter")
    host.wait_for(relayed="relayed letter")
    made = queue("relay-made", create=False)
    messages = until(lambda: found if len(found := list(made.peek_messages(max_messages=5))) == 2 else None)
    assert [message.content for message in messages] == ["x", "y"]


async def test_a_sent_message_creates_its_queue_and_wakes_who_watches_it(azurite):
    storage = Storage()
    queue, wake = await storage.queue(ConnectionString(azurite.connection_string), "wake-me"), asyncio.Event()
    storage.watch(queue, wake)
    await storage.send(queue, "up")
    assert wake.is_set()
    assert [message.content async for message in queue.receive_messages()] == ["up"]
    await storage.close()


def test_batch_size_and_threshold_bound_what_runs_at_once(host, queue):
    many = queue("many")
    for number in range(9):
        many.send_message(str(number))
    notes = _many(host)
    assert 2 <= max(note["many"] for note in notes) <= 3


def _many(host):
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        notes = [note for note in host.seen() if "many" in note]
        if len(notes) == 9:
            return notes
        time.sleep(0.05)
    pytest.fail("not all messages were taken")


def test_the_lease_is_renewed_while_the_function_runs(host, queue, until):
    long_work = queue("long-work")
    long_work.send_message("patience")
    host.wait_for(long_done="patience")
    until(lambda: is_empty(long_work))
    assert len(host.seen(long="patience")) == 1


def test_a_queue_function_runs_by_hand(host):
    answer = host.call("POST", "/admin/functions/work", json.dumps({"input": "by hand"}))
    assert answer.status == 202
    host.wait_for(work="by hand")


@pytest.mark.parametrize("body", ["{", "[]", "{}", ""])
def test_running_by_hand_needs_an_input(host, body):
    assert host.call("POST", "/admin/functions/work", body).status == 400


def test_only_known_functions_run_by_hand(host):
    assert host.call("POST", "/admin/functions/nobody", '{"input": ""}').status == 404


def test_a_killed_host_leaves_its_message_to_the_next_one(start_host, queue, azurite):
    source = """
@app.queue_trigger("msg", "killed", "AzureWebJobsStorage")
async def take(msg: func.QueueMessage):
    saw(dequeues=msg.dequeue_count)
    if msg.dequeue_count == 1:
        await asyncio.sleep(60)
"""
    queue("killed").send_message("once more")
    first = start_host(source, "--message-lease", "1")
    first.wait_for(dequeues=1)
    first.end(signal.SIGKILL)
    second = start_host(source, "--message-lease", "2", app_dir=first.app_dir)
    second.wait_for(dequeues=2)
    assert second.end() == 0


def test_message_encoding_none(start_host, azurite, until):
    source = """
@app.queue_trigger("msg", "plain", "AzureWebJobsStorage")
@app.queue_output("$return", "plain-out", "AzureWebJobsStorage")
def plain(msg: func.QueueMessage) -> str:
    return msg.get_body().decode().upper()
"""
    start_host(source, AzureFunctionsJobHost__extensions__queues__messageEncoding="none")
    connection = azurite.connection_string
    with (
        QueueClient.from_connection_string(connection, "plain") as plain,
        QueueClient.from_connection_string(connection, "plain-out") as out,
    ):
        plain.create_queue()
        plain.send_message("<words>")
        assert until(lambda: _first(out)).content == "<WORDS>"


def test_storage_that_is_down_is_mentioned_once_and_outlived(start_host):
    source = """
@app.queue_trigger("msg", "later", "DOWN")
def later(msg: func.QueueMessage):
    saw(later=msg.get_body().decode())
"""
    with Azurite() as down:
        connection = down.connection_string
        options = {"extensions": {"queues": {"maxPollingInterval": "00:00:00.100"}}}
        host = start_host(source, host_json=options, settings={"DOWN": connection})
        with QueueClient.from_connection_string(connection, "later") as later:
            later.create_queue()
            later.send_message(base64_of("before"))
            host.wait_for(later="before")
    host.wait_for_log("Queue later cannot be read, trying again quietly")
    assert host.log.count("cannot be read") == 1
    assert host.call("GET", "/admin/host/status").status == 200
