import contextlib
import json

from datetime import UTC, datetime, timedelta

import pytest

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient


APP = """
@app.timer_trigger("timer", "%OFTEN%")
async def often(timer: func.TimerRequest):
    saw(often=True, past_due=timer.past_due, status=timer.schedule_status)

@app.timer_trigger("timer", "0 0 0 1 1 *")
def yearly(timer: func.TimerRequest, context: func.Context):
    saw(yearly=True, past_due=timer.past_due, status=timer.schedule_status, schedule=timer.schedule)

@app.timer_trigger("timer", "0 0 0 1 1 *", use_monitor=False, run_on_startup=True)
@app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:01")
async def stubborn(timer: func.TimerRequest, context: func.Context):
    saw(stubborn=context.retry_context.retry_count, most=context.retry_context.max_retry_count, at=time.time())
    raise RuntimeError("broken on purpose")

@app.timer_trigger("timer", "00:00:01")
async def slow(timer: func.TimerRequest):
    logging.slow = getattr(logging, "slow", 0) + 1
    saw(slow=logging.slow)
    await asyncio.sleep(1.5)
    logging.slow -= 1
"""
HOST_ID = "timers-test"


@pytest.fixture(scope="module")
def container(azurite):
    with BlobServiceClient.from_connection_string(azurite.connection_string) as blobs:
        container = blobs.get_container_client("azure-webjobs-hosts")
        with contextlib.suppress(ResourceExistsError):
            container.create_container()
        yield container


@pytest.fixture(scope="module")
def host(start_host, container):
    return start_host(APP, settings={"OFTEN": "*/1 * * * * *"}, AzureFunctionsWebHost__hostid=HOST_ID)


def status_path(host_id, function):
    return f"timers/{host_id}/Host.Functions.{function}/status"


def test_a_timer_fires_on_its_schedule(host):
    notes = host.wait_for(often=True, times=2)
    assert notes[0]["past_due"] is False
    assert notes[0]["status"] == {}, "timers that fire more than once a minute are not monitored"


def test_a_timer_never_runs_twice_at_once(host):
    host.wait_for(slow=1, times=2)
    host.call("POST", "/admin/functions/slow", '{"input": ""}')
    host.wait_for(slow=1, times=3)
    assert not host.seen(slow=2)


def test_a_timer_runs_by_hand(host):
    assert host.call("POST", "/admin/functions/yearly", '{"input": ""}').status == 202
    (note,) = host.wait_for(yearly=True)
    assert note["past_due"] is False
    assert note["schedule"] == {"AdjustForDST": True}
    assert note["status"]["Next"] == f"{datetime.now(UTC).year + 1}-01-01T00:00:00+00:00"


def test_the_status_of_a_new_timer_is_stored(host, container):
    stored = json.loads(container.download_blob(status_path(HOST_ID, "yearly")).readall())
    assert stored.keys() == {"Last", "Next", "LastUpdated"}
    assert stored["Next"] == f"{datetime.now(UTC).year + 1}-01-01T00:00:00+00:00"


def test_run_on_startup_and_retries(host):
    notes = host.wait_for(most=2, stubborn=2) and [note for note in host.seen() if "stubborn" in note]
    # The runtime is told the most retries only from the first retry on, as by the real host.
    assert [note["stubborn"] for note in notes] == [0, 1, 2]
    assert notes[1]["at"] - notes[0]["at"] >= 0.9


def test_a_missed_run_is_past_due(start_host, container):
    now = datetime.now(UTC)
    missed = datetime(now.year, 1, 1, tzinfo=UTC)
    last = missed - timedelta(days=365)
    status = {"Last": last.isoformat(), "Next": missed.isoformat(), "LastUpdated": last.isoformat()}
    container.upload_blob(status_path("missed", "yearly"), json.dumps(status), overwrite=True)
    source = APP.split("@app.timer_trigger")
    host = start_host(
        source[0] + "@app.timer_trigger" + source[2],
        settings={"AzureFunctionsWebHost__hostid": "missed"},
    )
    (note,) = host.wait_for(yearly=True)
    assert note["past_due"] is True
    assert note["status"]["Next"] == missed.isoformat()
    host.wait_for_log("Executed 'Functions.yearly'")
    assert host.end() == 0
    stored = json.loads(container.download_blob(status_path("missed", "yearly")).readall())
    assert stored["Next"] == f"{now.year + 1}-01-01T00:00:00+00:00"
    assert datetime.fromisoformat(stored["Last"]) >= now
