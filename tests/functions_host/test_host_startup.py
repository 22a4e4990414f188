import concurrent.futures
import json
import signal
import subprocess
import sys
import threading
import time

import pytest


NOTHING = """
@app.route("ping", auth_level=func.AuthLevel.ANONYMOUS)
def ping(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(os.environ.get("GREETING", "") + os.environ["WEBSITE_HOSTNAME"])
"""
ENDING = """
@app.route("short", auth_level=func.AuthLevel.ANONYMOUS)
async def short(req: func.HttpRequest) -> func.HttpResponse:
    saw(began="short")
    await asyncio.sleep(0.5)
    saw(ended="short")
    return func.HttpResponse("done")

@app.queue_trigger("msg", "ending", "AzureWebJobsStorage")
def ending(msg: func.QueueMessage):
    saw(began="queue")
    time.sleep(2.5)
    saw(ended="queue")

@app.route("forever", auth_level=func.AuthLevel.ANONYMOUS)
def forever(req: func.HttpRequest) -> func.HttpResponse:
    saw(began="forever")
    time.sleep(60)
"""
QUEUED = """
@app.queue_trigger("msg", "{queue}", "{connection}")
def queued(msg: func.QueueMessage): ...
"""


def failure(start_host, source, *arguments, **options):
    """Start a host that must not become ready, and return what it said."""
    host = start_host(source, *arguments, fails=True, **options)
    assert host.exit_code() == 1
    assert host.ready is None
    return host.log


def test_the_real_environment_wins_over_local_settings(start_host):
    host = start_host(NOTHING, settings={"GREETING": "file "})
    assert host.call("GET", "/api/ping").body.decode() == "file " + host.ready["url"].removeprefix("http://")
    host = start_host(NOTHING, settings={"GREETING": "file "}, GREETING="environment ")
    assert host.call("GET", "/api/ping").body.startswith(b"environment ")


def test_settings_may_lie_elsewhere(start_host, tmp_path):
    file = tmp_path / "other.json"
    file.write_text(json.dumps({"Values": {"GREETING": "other "}}))
    host = start_host(NOTHING, "--settings", str(file))
    assert host.call("GET", "/api/ping").body.startswith(b"other ")
    assert "no settings file" in failure(start_host, NOTHING, "--settings", str(tmp_path / "none.json"))


def test_a_missing_setting_names_itself_its_function_and_the_file(start_host):
    log = failure(start_host, QUEUED.format(queue="%QUEUE_NAME%", connection="AzureWebJobsStorage"))
    assert "Function queued, binding msg, queueName needs the setting QUEUE_NAME" in log
    assert "local.settings.json" in log
    assert "Traceback" not in log


def test_a_missing_connection_names_itself_and_its_function(start_host):
    assert "Function queued needs the setting NOWHERE" in failure(
        start_host, QUEUED.format(queue="some-queue", connection="NOWHERE")
    )


def test_monitored_timers_need_storage(start_host):
    source = '@app.timer_trigger("timer", "0 0 * * * *")\ndef hourly(timer: func.TimerRequest): ...'
    log = failure(start_host, source, settings={"AzureWebJobsStorage": None})
    assert "Function hourly (useMonitor) needs the setting AzureWebJobsStorage" in log


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import a_module_that_is_missing", "No module named 'a_module_that_is_missing'"),
        ("app = ", "SyntaxError"),
        ("del app", "Could not find top level function app instances"),
        (
            "@app.route('x')\n@app.table_output('t', 'T', 'X')\ndef f(req: func.HttpRequest, t: func.Out[str]): 0",
            "Function f: the output binding t is of type table",
        ),
    ],
)
def test_an_app_that_cannot_be_hosted_says_why(start_host, source, reason):
    assert reason in failure(start_host, source)


def test_a_taken_port_says_so(start_host):
    taken = start_host(NOTHING).ready["url"].rpartition(":")[2]
    assert "The port cannot be had" in failure(start_host, NOTHING, "--port", taken)


def test_sigterm_lets_running_invocations_end(start_host, queue, until):
    host = start_host(ENDING)
    queue("ending").send_message("last")
    host.wait_for(began="queue")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(host.call, "GET", "/api/short")
        host.wait_for(began="short")
        assert host.end() == 0
        assert answer.result().body == b"done"
    assert host.seen(ended="short")
    assert host.seen(ended="queue")
    assert queue("ending", create=False).get_queue_properties().approximate_message_count == 0


def test_sigint_ends_the_host_too(start_host):
    assert start_host(NOTHING).end(signal.SIGINT) == 0


def test_an_invocation_that_does_not_end_is_left_when_its_grace_is_over(start_host):
    host = start_host(ENDING, "--grace", "1")
    threading.Thread(target=lambda: _try(host), daemon=True).start()
    host.wait_for(began="forever")
    started = time.monotonic()
    assert host.end() == 0
    assert 0.9 < time.monotonic() - started < 10
    assert "Left unfinished: forever" in host.log


def _try(host):
    try:
        host.call("GET", "/api/forever")
    except OSError:
        return


def test_the_host_ends_with_its_parent(start_host):
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    host = start_host(NOTHING, "--parent-pid", str(parent.pid))
    assert host.call("GET", "/api/ping").status == 200
    parent.communicate(b"\n")
    assert host.exit_code() == 0
