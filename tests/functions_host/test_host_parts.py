import json
import re

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from local.functions_host.backoff import Backoff
from local.functions_host.connections import ConnectionString, Endpoint
from local.functions_host.errors import StartupError
from local.functions_host.functions import describe, queue_name
from local.functions_host.host_json import read_host_json
from local.functions_host.routes import Route, find
from local.functions_host.runtime import IndexedFunction
from local.functions_host.schedules import is_frequent, parse_schedule
from local.functions_host.settings import Settings
from local.functions_host.timer_status import NEVER, TimerStatus, caught_up
from local.functions_host.timers import TimerListener
from local.functions_host.timespan import parse_timespan


NOON = datetime(2026, 11, 23, 12, 0, 0, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "following"),
    [
        ("0 */5 * * * *", "2026-11-23T12:05:00"),
        ("*/5 * * * *", "2026-11-23T12:05:00"),
        ("*/10 * * * * *", "2026-11-23T12:00:10"),
        ("0 30 9 * * 1-5", "2026-11-24T09:30:00"),
        ("0 30 9 * January Monday", "2027-01-04T09:30:00"),
        ("0 0 0 1 * Mon", "2027-02-01T00:00:00"),
        ("01:30:00", "2026-11-23T13:30:00.500000"),
        ("1.00:00:00", "2026-11-24T12:00:00.500000"),
    ],
)
def test_schedules(text, following):
    assert parse_schedule(text).after(NOON) == datetime.fromisoformat(following).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "* *", "0 61 * * * *", "0 0 0 L * *", "0 0 0 * * 1#2", "0 0 0 30 2 *", "1:x"]
)
def test_what_is_no_schedule(text):
    with pytest.raises(ValueError, match=r"is no|never happens"):
        parse_schedule(text)


def test_what_fires_more_than_once_a_minute_is_frequent():
    assert is_frequent(parse_schedule("*/30 * * * * *"), NOON)
    assert is_frequent(parse_schedule("00:00:59"), NOON)
    assert not is_frequent(parse_schedule("0 * * * * *"), NOON)


def test_timespans():
    assert parse_timespan("2.03:04:05.5") == timedelta(days=2, hours=3, minutes=4, seconds=5.5)
    assert parse_timespan("00:10") == timedelta(minutes=10)


HOURLY = parse_schedule("0 0 * * * *")


def moment(hour, minute=0, day=23):
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def test_a_timer_that_missed_its_time_is_past_due():
    stored = TimerStatus(moment(9), moment(10), moment(9))
    assert caught_up(stored, HOURLY, NOON) == stored


def test_a_timer_that_never_ran_is_past_due_by_the_moment_it_was_first_seen():
    stored = TimerStatus(NEVER, moment(10), moment(9, 30))
    assert caught_up(stored, HOURLY, NOON) == stored


def test_a_changed_schedule_is_not_past_due():
    stored = TimerStatus(moment(9), moment(9, 30), moment(9))
    assert caught_up(stored, HOURLY, NOON).next == moment(13)


def test_a_changed_schedule_whose_time_has_not_come_counts_from_the_last_run():
    stored = TimerStatus(moment(11, 30), moment(11, 45), moment(11, 30))
    assert caught_up(stored, HOURLY, moment(11, 50)) == TimerStatus(NEVER, moment(12), moment(11, 30))


def test_a_status_of_the_real_host_is_understood():
    last, following, updated = "2026-11-23T09:00:00.1234567+00:00", "2026-11-23T10:00:00Z", "0001-01-01T00:00:00"
    status = TimerStatus.from_json(json.dumps({"Last": last, "Next": following, "LastUpdated": updated}))
    assert (status.next, status.last_updated) == (moment(10), NEVER)


def test_backoff_doubles_up_to_its_maximum_and_starts_again():
    backoff = Backoff(timedelta(seconds=0.1), timedelta(seconds=2))
    delays = [backoff.next() for _ in range(12)]
    assert delays[0] == 0.1
    assert delays == sorted(delays)
    assert delays[-1] == 2
    backoff.reset()
    assert backoff.next() == 0.1


def route(template, **fields):
    trigger = SimpleNamespace(fields={"route": template, **fields})
    return Route.of(SimpleNamespace(name=template, trigger=trigger), "api")


@pytest.mark.parametrize(
    ("path", "name", "parameters"),
    [
        ("/api/a/b", "a/b", {}),
        ("/api/A/B/", "a/b", {}),
        ("/api/a/7", "a/{n:int}", {"n": "7"}),
        ("/api/a/c", "a/{s}", {"s": "c"}),
        ("/api/a/c/d", "a/{*rest}", {"rest": "c/d"}),
        ("/api/v1-x.json", "v{n}-{s}.json", {"n": "1", "s": "x"}),
    ],
)
def test_routes_are_tried_from_the_most_specific_on(path, name, parameters):
    templates = ["a/{*rest}", "a/{s}", "a/{n:int}", "a/b", "v{n}-{s}.json"]
    routes = Route.most_specific_first(route(template) for template in templates)
    found, values = find(routes, "GET", path)
    assert (found.function.name, values) == (name, parameters)


def test_an_optional_segment_and_its_slash_may_be_missing():
    routes = [route("x/{y?}")]
    assert find(routes, "GET", "/api/x")[1] == {}
    assert find(routes, "GET", "/api/x/z")[1] == {"y": "z"}
    assert find(routes, "GET", "/api/xz") is None


@pytest.mark.parametrize("template", ["{a:odd}", "{a:int:min(1)}", "{a=1}", "{a"])
def test_a_template_that_is_not_understood_is_refused(template):
    with pytest.raises(StartupError, match=r"\{a"):
        route(template)


def test_connections_are_looked_up_as_the_webjobs_sdk_does(tmp_path):
    environment = {"AzureWebJobsX": "a=b", "Y": "c=d", "AzureWebJobsStorage": "UseDevelopmentStorage=true"}
    settings = Settings(tmp_path / "none.json", environment=environment)
    assert settings.connection("X", "queue", used_by="F") == ConnectionString("a=b")
    assert settings.connection("Y", "queue", used_by="F") == ConnectionString("c=d")
    for name in (None, "", "Storage"):
        found = settings.connection(name, "blob", used_by="F")
        assert "QueueEndpoint=http://127.0.0.1:10001/" in found.text


URIS = {"S__queueServiceUri": "https://q.example", "S__blobServiceUri": "https://b.example"}
MINE = {"S__credential": "managedIdentity", "S__clientId": "me"}


@pytest.mark.parametrize(
    ("environment", "service", "found"),
    [
        (URIS, "queue", Endpoint("https://q.example", managed_identity=False, client_id=None)),
        (URIS | MINE, "blob", Endpoint("https://b.example", managed_identity=True, client_id="me")),
        (URIS | {"S__clientId": "me"}, "queue",
         Endpoint("https://q.example", managed_identity=False, client_id="me")),
        ({"S__accountName": "acc", "S__credential": "managedidentity"}, "queue",
         Endpoint("https://acc.queue.core.windows.net", managed_identity=True, client_id=None)),
        (URIS | {"S": "a=b"}, "queue", ConnectionString("a=b")),
        (URIS | {"S": ""}, "queue", Endpoint("https://q.example", managed_identity=False, client_id=None)),
        ({"AzureWebJobsS__accountName": "acc", "S": "a=b"}, "blob",
         Endpoint("https://acc.blob.core.windows.net", managed_identity=False, client_id=None)),
    ],
)  # fmt: skip
def test_a_connection_may_name_an_account_and_an_identity(tmp_path, environment, service, found):
    settings = Settings(tmp_path / "none.json", environment=dict(environment))
    assert settings.connection("S", service, used_by="F") == found


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, "F needs the setting S, or S__accountName or S__queueServiceUri"),
        ({"S__blobServiceUri": "https://b.example"}, "F needs the setting S, or S__accountName"),
        ({"S": "nonsense"}, "F: the setting S is no storage connection string"),
        ({"S": "@Microsoft.KeyVault(SecretUri=https://v)"}, "F: the setting S is no storage connection string"),
        (URIS | {"S__credential": "workloadidentity"}, "F: S__credential is 'workloadidentity'; this host knows"),
        (URIS | {"S__tenantId": "t", "S__clientSecret": "s"}, "does not know S__tenantId, S__clientSecret"),
    ],
)
def test_a_connection_that_cannot_be_followed_says_why(tmp_path, environment, reason):
    settings = Settings(tmp_path / "none.json", environment=dict(environment))
    with pytest.raises(StartupError, match=re.escape(reason)):
        settings.connection("S", "queue", used_by="F")


HOST_JSON_ERRORS = [
    ("{", "no valid JSON"),
    ({"version": "1.0"}, '"version": "2.0"'),
    ({"version": "2.0", "functionTimeout": "soon"}, "'soon' is no duration"),
    ({"version": "2.0", "extensions": {"queues": {"batchSize": 33}}}, "batchSize must be from 1 to 32"),
    ({"version": "2.0", "extensions": {"queues": {"messageEncoding": "rot13"}}}, "must be base64 or none"),
    ({"version": "2.0", "extensions": []}, "host.json"),
]


def host_json(folder, content):
    file = folder / "host.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


@pytest.mark.parametrize(("content", "reason"), HOST_JSON_ERRORS)
def test_a_wrong_host_json_says_why(tmp_path, content, reason):
    with pytest.raises(StartupError, match=reason):
        read_host_json(host_json(tmp_path, content), {})


def test_a_folder_without_host_json_is_no_app(tmp_path):
    with pytest.raises(StartupError, match=r"no host\.json"):
        read_host_json(tmp_path / "host.json", {})


def test_host_json_defaults_are_those_of_the_real_host_in_development(tmp_path):
    options = read_host_json(host_json(tmp_path, {"version": "2.0"}), {})
    queues = options.queues
    assert (options.route_prefix, options.function_timeout) == ("api", None)
    assert (queues.batch_size, queues.new_batch_threshold, queues.max_dequeue_count) == (16, 8, 5)
    assert (queues.visibility_timeout, queues.max_polling_interval) == (timedelta(0), timedelta(seconds=2))
    assert queues.encoding == "base64"


def test_the_environment_overrides_host_json(tmp_path):
    file = host_json(tmp_path, {"version": "2.0", "extensions": {"queues": {"batchSize": 4}}})
    names = ("AzureFunctionsJobHost__extensions__queues__batchSize", "AzureFunctionsJobHost__functionTimeout")
    options = read_host_json(file, dict(zip(names, ("1", "00:01:00"), strict=True)))
    assert (options.queues.batch_size, options.queues.new_batch_threshold) == (1, 0)
    assert options.function_timeout == timedelta(minutes=1)


def described(*bindings):
    raw = [{"direction": "IN", "name": "b", **binding} for binding in bindings]
    return describe(IndexedFunction("id", "f", raw, None), Settings(Path("none.json"), environment={}))


@pytest.mark.parametrize(
    ("bindings", "reason"),
    [
        ([{"type": "blobTrigger"}], "Function f: the trigger b is of type blobTrigger"),
        ([{"type": "httpTrigger"}, {"type": "blob"}], "Function f: the input binding b is of type blob"),
        ([{"type": "httpTrigger"}, {"type": "table", "direction": "OUT"}], "output binding b is of type table"),
        ([{"type": "http", "direction": "OUT"}], "Function f must have one trigger, not 0"),
    ],
)
def test_a_binding_that_is_not_supported_is_refused_by_name(bindings, reason):
    with pytest.raises(StartupError, match=reason):
        described(*bindings)


@pytest.mark.parametrize("name", ["ab", "a_b", "a--b", "-ab", "a" * 64])
def test_what_is_no_queue_name_is_refused(name):
    function = described({"type": "queueTrigger", "queueName": name})
    with pytest.raises(StartupError, match=f"Function f, binding b: '{name}' is no queue name"):
        queue_name(function, function.trigger)


def test_a_wrong_schedule_names_its_function():
    function = described({"type": "timerTrigger", "schedule": "now and then"})
    with pytest.raises(StartupError, match="Function f: 'now and then' is no NCRONTAB expression"):
        TimerListener(function, SimpleNamespace())
