"""Metrics, spans and log fields, through OpenTelemetry's own SDK into memory: what each step of the work tells."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from azure.core import AsyncPipelineClient
from azure.core.rest import HttpRequest
from azure.monitor.opentelemetry.exporter.export.metrics._exporter import (
    APPLICATION_INSIGHTS_METRIC_TEMPORALITIES,
)
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hubwarden.adapters.azure.budget import Budget
from hubwarden.adapters.azure.errors import NotSentError
from hubwarden.adapters.azure.pipeline import arm_pipeline
from hubwarden.adapters.storage.queues import QueueWork
from hubwarden.adapters.telemetry import OpenTelemetry, carry_fields, make_telemetry
from hubwarden.bootstrap import Hubwarden
from hubwarden.domain.approval import Approver, Via
from hubwarden.domain.finding import Actor, Hold, State
from hubwarden.domain.limits import BREAKER_HOLDS, Kill, Ledger
from hubwarden.service.approve import approve, reject
from hubwarden.service.correlation import FIELDS, about, fields
from hubwarden.service.errors import (
    ConflictError,
    DeniedError,
    PermanentError,
    StorageUnavailableError,
    TransientError,
)
from hubwarden.service.expire import expire
from hubwarden.service.messages import EvaluateMessage, Queue, RemediateMessage, TurnMessage, parse
from hubwarden.service.telemetry import EVENTS, METRICS, SILENT, SWEEP_DURATION, Kind
from hubwarden.service.totals import Totals
from tests.unit.fakes import HUB, OWN, RULES, SUB, World, arm_event, ask, hub_id, policy
from tests.unit.test_azure_pipeline import HUB as HUB_URL
from tests.unit.test_azure_pipeline import Credential, Transport


ROOT = Path(__file__).parents[2]
GOOD = f"version: 1\nsubscriptions: [{SUB}]\nrules:\n  tls-minimum: {{mode: auto}}\n"
PARENT = f"00-{'a' * 32}-{'b' * 16}-01"
NAMED = Actor(object_id="99999999-0000-0000-0000-000000000001", name="Robin Example", email="robin@example.com")


class Collected(OpenTelemetry):
    """Telemetry into memory."""

    def __init__(self):
        self.spans = InMemorySpanExporter()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.reader = InMemoryMetricReader(preferred_temporality=APPLICATION_INSIGHTS_METRIC_TEMPORALITIES)
        super().__init__(tracers=tracers, meters=MeterProvider([self.reader]))

    def values(self):
        """Metric name → attributes → value, or (count, sum) of a histogram, since the last time."""
        data = self.reader.get_metrics_data()
        found = {}
        for metric in (
            m for r in (data.resource_metrics if data else ()) for s in r.scope_metrics for m in s.metrics
        ):
            known = {one.name: one for one in METRICS}[metric.name]
            for point in metric.data.data_points:
                assert set(point.attributes) == set(known.attributes), metric.name
                assert metric.unit == known.unit
                key = tuple(point.attributes[name] for name in known.attributes)
                value = point.value if hasattr(point, "value") else (point.count, point.sum)
                found.setdefault(metric.name, {})[key] = value
        return found

    def finished(self, name):
        return next(span for span in self.spans.get_finished_spans() if span.name == name)


@pytest.fixture
def told():
    return Collected()


class Watched(World):
    def __init__(self, told, mode="auto", **options):
        super().__init__(mode, **options)
        self.told = told

    @property
    def ports(self):
        return replace(super().ports, telemetry=self.told)


@pytest.fixture
def world(told):
    world = Watched(told)
    world.hubs.add()
    return world


class Own:
    """A credential without a token: we do not know who we are, unless it says so."""

    async def get_token(self, *_scopes, **_options):
        raise ConnectionError("no managed identity here")


@pytest.fixture
def composed(tmp_path, told):
    """The service over a world of fakes, telling ``told``."""

    def make(text):
        path = tmp_path / "policy.yaml"
        path.write_text(text)
        world = World()
        service = Hubwarden(
            {"HUBWARDEN_POLICY": str(path), "AzureWebJobsStorage": "UseDevelopmentStorage=true"},
            credential=Own(), hubs=world.hubs, findings=world.findings, records=world.records, work=world.work,
            audit=world.audit, graveyard=world.graveyard, lists=world.lists, tickets=world.tickets,
            remediations=world.remediations, safety=world.safety, clock=world.clock, rules=RULES, channels={},
            telemetry=told, state=world.schema,
        )  # fmt: skip
        service._events.own = OWN
        return service, world

    return make


async def run(service, world, name="{queue}"):
    """Deliver every message, as the host does."""
    while world.work.letters:
        letter = min(world.work.letters, key=lambda letter: letter.due)
        world.work.letters.remove(letter)
        world.clock.at = max(world.clock.at, letter.due)
        await service.on_message(letter.queue, letter.text, name.format(queue=letter.queue))


async def fixed(world):
    await world.drift()
    await world.run(until=timedelta(minutes=5))
    return world.told.values()


# --- fixes


async def test_a_fix_that_is_proven(world):
    values = await fixed(world)
    assert world.state() is State.RESOLVED
    assert values["hubwarden.fixes"] == {("tls-minimum", "proven"): 1}
    ((count, seconds),) = values["hubwarden.time_to_fix"].values()
    assert (count, 0 < seconds < 300) == (1, True)
    ((count, seconds),) = values["hubwarden.time_to_detect"].values()
    assert (count, 0 <= seconds < 60) == (1, True)


@pytest.mark.parametrize(("error", "outcome"), [
    (DeniedError("no right"), "denied"),
    (PermanentError("wrong"), "refused"),
])  # fmt: skip
async def test_a_fix_that_azure_does_not_take(world, error, outcome):
    world.hubs.faults["put"] = [error]
    values = await fixed(world)
    assert values["hubwarden.fixes"] == {("tls-minimum", outcome): 1}
    assert "hubwarden.time_to_fix" not in values


async def test_a_fix_without_effect(world):
    world.hubs.no_effect = True
    values = await fixed(world)
    assert values["hubwarden.fixes"] == {("tls-minimum", "no_effect"): 1}
    assert "hubwarden.time_to_fix" not in values


async def test_a_fix_that_is_let_go_and_tried_again_has_ended_once(world):
    world.hubs.faults["put"] = [TransientError("busy"), ConflictError("moved on")]
    values = await fixed(world)
    assert values["hubwarden.fixes"] == {("tls-minimum", "proven"): 1}


async def test_a_hub_that_is_gone_proves_no_fix(world):
    await world.drift()
    await world.run(until=timedelta(seconds=6))
    assert world.state() is State.VERIFYING
    world.hubs.hubs[HUB].gone = True
    await world.run(until=timedelta(minutes=10))
    values = world.told.values()
    assert values["hubwarden.fixes"] == {("tls-minimum", "gone"): 1}
    assert "hubwarden.time_to_fix" not in values


async def test_a_drift_that_somebody_puts_right_is_no_fix_of_ours(told):
    world = Watched(told, "report")
    world.hubs.add()
    await world.drift()
    await world.run(until=timedelta(minutes=1))
    world.hubs.change(value="1.2")
    await world.sweep()
    assert world.state() is State.RESOLVED
    assert not {"hubwarden.fixes", "hubwarden.time_to_fix"} & told.values().keys()


async def test_a_drift_that_a_sweep_finds_counts_as_detected_once_its_event_comes(told):
    world = Watched(told, "report")
    world.hubs.add()
    late = world.hubs.change()
    world.clock.turn(minutes=3)
    await world.sweep()
    assert "hubwarden.time_to_detect" not in told.values()
    await world.event(late)
    await world.run(until=timedelta(minutes=1))
    ((count, seconds),) = told.values()["hubwarden.time_to_detect"].values()
    assert (count, 170 < seconds < 190) == (1, True)


async def test_a_drift_that_comes_back_is_detected_and_fixed_anew(world):
    await fixed(world)
    world.clock.turn(hours=2)
    values = await fixed(world)
    assert world.finding().occurrences == 2
    assert values["hubwarden.time_to_detect"]["tls-minimum",][0] == 1
    assert values["hubwarden.time_to_detect"]["tls-minimum",][1] < 60
    assert values["hubwarden.time_to_fix"]["tls-minimum",][0] == 1
    assert values["hubwarden.time_to_fix"]["tls-minimum",][1] < 300


# --- sweeps


async def test_a_sweep_tells_how_it_went(world, told):
    world.hubs.add(hub_id("hub-2"))
    await world.sweep()
    values = told.values()
    assert values["hubwarden.sweeps"] == {("true",): 1}
    assert values["hubwarden.sweep.hubs"] == {("judged",): 2, ("unknown",): 0, ("dead",): 0}
    assert values["hubwarden.sweep.duration"][()][0] == 1
    assert "hubwarden.sweep.hubs" not in told.values(), "a gauge is told once"


async def test_what_cannot_be_listed_makes_a_sweep_incomplete(world, told):
    await world.sweep()
    told.values()
    world.hubs.faults["list"] = [TransientError("busy")]
    await world.sweep()
    values = told.values()
    assert values["hubwarden.sweeps"] == {("false",): 1}
    assert values["hubwarden.sweep.hubs"] == {("judged",): 0, ("unknown",): 1, ("dead",): 0}


async def test_a_sweep_that_breaks_off_counts_too(composed, told):
    service, world = composed(GOOD)
    world.safety.down = True
    world.records.add_sweep = broken
    with pytest.raises(StorageUnavailableError):
        await service.on_sweep()
    values = told.values()
    assert values["hubwarden.sweeps"] == {("false",): 1}
    assert values["hubwarden.failures"] == {("sweep",): 1}


async def broken(*_, **__):
    raise StorageUnavailableError("table hubwardensweeps: HTTP 503")


async def test_a_sweep_without_a_policy_is_not_complete(composed, told):
    service, _ = composed("version: 1\n")
    await service.on_sweep()
    assert told.values()["hubwarden.sweeps"] == {("false",): 1}


# --- totals


AGES = [
    (timedelta(hours=23), "<1d"),
    (timedelta(days=1), "1-7d"),
    (timedelta(days=7), "7-30d"),
    (timedelta(days=30), ">30d"),
]


@pytest.mark.parametrize(("age", "named"), AGES)
async def test_findings_by_rule_severity_state_and_age(told, age, named):
    world = Watched(told, "report")
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    world.clock.at += age
    await report(world)
    assert told.values()["hubwarden.findings"] == {("tls-minimum", "high", "reported", named): 1}


async def report(world):
    totals = Totals(world.ports)
    await expire(world.ports, totals.count)
    await totals.report()


async def test_what_is_resolved_or_off_is_no_longer_told(told):
    world = Watched(told, "report")
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    world.policy = off = policy("off")
    await report(world)
    assert "hubwarden.findings" not in told.values()
    world.policy = policy("report")
    world.hubs.change(value="1.2")
    await world.sweep()
    await report(world)
    assert "hubwarden.findings" not in told.values()
    assert off is not world.policy


async def test_the_totals_cost_one_scan_and_one_read(told, monkeypatch):
    world = Watched(told, "approve")
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    scans, calls = 0, len(world.gates.calls)
    everything = world.findings.everything

    async def counted():
        nonlocal scans
        scans += 1
        async for finding in everything():
            yield finding

    monkeypatch.setattr(world.findings, "everything", counted)
    await report(world)
    assert scans == 1
    assert world.gates.calls[calls:] == ["before FakeSafety.ledger", "after FakeSafety.ledger"]


@pytest.mark.parametrize(("left", "due"), [
    (timedelta(hours=4, seconds=1), "later"),
    (timedelta(hours=3, minutes=59), "soon"),
])  # fmt: skip
async def test_requests_that_wait_by_when_their_time_is_over(told, left, due):
    world = Watched(told, "approve")
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    world.clock.at = world.policy.approvals.expires_at(world.finding().proposal) - left
    await report(world)
    assert told.values()["hubwarden.approvals"] == {("tls-minimum", due): 1}
    world.clock.turn(hours=5)
    await report(world)
    assert "hubwarden.approvals" not in told.values(), "it has expired"


async def test_breakers_that_are_open_and_those_that_are_not(world, told):
    await report(world)
    assert told.values()["hubwarden.breakers"] == {("hubs",): 0, ("errors",): 0}
    await world.safety.save_ledger(Ledger(tripped="11 of the last 20 fixes failed"), None)
    await world.drift()
    await world.run(until=timedelta(minutes=1))
    stored = await world.findings.find(world.finding().id)
    hold = Hold(BREAKER_HOLDS, world.clock.now(), "fixed 3 times")
    held = replace(stored.value, state=State.HELD, hold=hold)
    await world.findings.save(held, stored.etag)
    await report(world)
    assert told.values()["hubwarden.breakers"] == {("hubs",): 1, ("errors",): 1}


async def test_where_the_error_breaker_cannot_be_read_nothing_is_said_of_it(world, told):
    world.safety.down = True
    await report(world)
    assert told.values()["hubwarden.breakers"] == {("hubs",): 0}


# --- calls to Azure


CALLS = [
    ("GET", HUB_URL, 200, "read", "ok"),
    ("GET", HUB_URL, 404, "read", "ok"),
    ("GET", HUB_URL, 403, "read", "refused"),
    ("GET", HUB_URL, 429, "read", "throttled"),
    ("GET", HUB_URL, 503, "read", "failed"),
    ("PUT", HUB_URL, 201, "write", "ok"),
    ("PUT", HUB_URL, 404, "write", "refused"),
    ("PUT", HUB_URL, 412, "write", "refused"),
    ("POST", f"{HUB_URL}/listkeys", 200, "listkeys", "ok"),
    ("POST", f"{HUB_URL}/IotHubKeys/x/listkeys", 429, "listkeys", "throttled"),
]


async def ask_azure(told, transport, method, url):
    policies = arm_pipeline(Credential(), "scope", Budget(lambda: 0.0), decode=False, telemetry=told)
    client = AsyncPipelineClient("https://management.azure.com", policies=policies, transport=transport)
    return await client.send_request(HttpRequest(method, url), stream=True)


@pytest.mark.parametrize(("method", "url", "status", "kind", "outcome"), CALLS)
async def test_each_call_is_told_by_kind_and_outcome(told, method, url, status, kind, outcome):
    await ask_azure(told, Transport(status), method, url)
    assert told.values()["hubwarden.arm_calls"] == {(kind, outcome): 1}


async def test_a_call_without_an_answer_failed(told):
    transport = Transport()
    transport.send = broken
    with pytest.raises(StorageUnavailableError):
        await ask_azure(told, transport, "PUT", HUB_URL)
    assert told.values()["hubwarden.arm_calls"] == {("write", "failed"): 1}


async def test_what_is_not_sent_is_no_call(told):
    policies = arm_pipeline(Credential(TimeoutError()), "scope", Budget(), decode=False, telemetry=told)
    client = AsyncPipelineClient("https://management.azure.com", policies=policies, transport=Transport())
    with pytest.raises(NotSentError):
        await client.send_request(HttpRequest("PUT", HUB_URL), stream=True)
    assert "hubwarden.arm_calls" not in told.values()


async def test_the_lowest_that_azure_told_since_the_last_report(told):
    def left(reads, shared=9):
        name = "x-ms-ratelimit-remaining-subscription"
        return {f"{name}-reads": reads, f"{name}-global-reads": str(shared), f"{name}-writes": "100"}

    for reads in ("120", "80", "95", "soon"):
        await ask_azure(told, Transport(headers=left(reads)), "GET", HUB_URL)
    assert told.values()["hubwarden.arm_budget"] == {("reads",): 80, ("writes",): 100}
    assert "hubwarden.arm_budget" not in told.values()
    await ask_azure(told, Transport(headers=left("110")), "GET", HUB_URL)
    assert told.values()["hubwarden.arm_budget"] == {("reads",): 110, ("writes",): 100}


# --- events, poison, audit, failures


async def test_events_by_what_becomes_of_them(composed, told):
    service, world = composed(GOOD)
    world.hubs.add()
    await service.on_event(world.hubs.change())
    await service.on_event(arm_event(by=OWN.object_id))
    await service.on_event(arm_event() | {"eventType": "Microsoft.Resources.ResourceActionSuccess"})
    await service.on_device_event({"id": "1", "eventType": "Microsoft.Devices.DeviceDeleted"})
    assert told.values()["hubwarden.events"] == {("routed",): 1, ("own",): 1, ("ignored",): 2}


async def test_a_buried_message_counts_for_its_queue(composed, told):
    service, _ = composed(GOOD)
    await service.on_poison(Queue.VERIFY, "{garbage")
    assert told.values()["hubwarden.poison"] == {("hubwarden-verify",): 1}


async def test_an_audit_line_that_cannot_be_written_counts_and_still_stops_the_work(composed, told):
    service, world = composed(GOOD)
    world.audit.fails = lambda _kind, _details: True
    with pytest.raises(StorageUnavailableError):
        await service.on_poison(Queue.VERIFY, "{garbage")
    values = told.values()
    assert values["hubwarden.audit_unwritable"] == {(): 1}
    assert values["hubwarden.failures"] == {("verify_poison",): 1}
    assert "hubwarden.poison" not in values


# --- traces


async def test_the_span_of_a_message_belongs_to_its_trace_and_links_to_the_hosts(composed, told):
    service, _ = composed(GOOD)
    with trace.use_span(trace.NonRecordingSpan(host := context_of("c" * 32))):
        message = RemediateMessage(hub=HUB.path, attempt=3, trace=PARENT)
        await service.on_message(Queue.REMEDIATE, message.model_dump_json(), "invocation-1")
    span = told.finished("remediate")
    assert f"{span.context.trace_id:032x}" == "a" * 32
    assert f"{span.parent.span_id:016x}" == "b" * 16
    assert [link.context for link in span.links] == [host]
    assert span.kind is trace.SpanKind.CONSUMER
    assert dict(span.attributes) == {
        "faas.name": "remediate",
        "faas.invocation_id": "invocation-1",
        "hubwarden.attempt": "3",
        "cloud.resource_id": HUB.path,
    }


def context_of(trace_id):
    return trace.SpanContext(int(trace_id, 16), 7, is_remote=True, trace_flags=trace.TraceFlags(1))


async def test_a_message_without_a_trace_goes_on_in_that_of_the_host(composed, told):
    service, _ = composed(GOOD)
    with trace.use_span(trace.NonRecordingSpan(context_of("c" * 32))):
        await service.on_message(Queue.REMEDIATE, RemediateMessage(hub=HUB.path).model_dump_json())
    span = told.finished("remediate")
    assert (f"{span.context.trace_id:032x}", span.links) == ("c" * 32, ())


async def test_a_failure_leaves_its_class_in_the_span_and_not_its_text(composed, told):
    service, world = composed(GOOD)
    world.findings.of_hub = broken_by_robin
    with pytest.raises(RuntimeError):
        await service.on_message(Queue.REMEDIATE, RemediateMessage(hub=HUB.path).model_dump_json())
    span = told.finished("remediate")
    assert (span.status.status_code, span.status.description) == (trace.StatusCode.ERROR, "RuntimeError")
    assert span.events == ()
    assert "Robin" not in span.to_json()
    assert told.values()["hubwarden.failures"] == {("remediate",): 1}


class Broken(SpanProcessor):
    """Fails at one point; the SDK lets that through."""

    def __init__(self, point):
        self.point = point

    def on_start(self, span, parent_context=None):
        if self.point == "start":
            raise RuntimeError("the processor failed")

    def on_end(self, span):
        if self.point == "end":
            raise RuntimeError("the processor failed")


@pytest.mark.parametrize("point", ["start", "end"])
async def test_a_span_that_cannot_be_told_keeps_no_work_from_being_done_once(composed, point):
    tracers = TracerProvider()
    tracers.add_span_processor(Broken(point))
    telemetry = OpenTelemetry(tracers=tracers, meters=MeterProvider())
    with pytest.raises(KeyError, match="the work's own"), telemetry.span("x", {}):
        raise KeyError("the work's own")
    service, world = composed(GOOD)
    service.telemetry = telemetry
    world.hubs.add(minTlsVersion="1.0")
    await service.on_message(Queue.EVALUATE, ask().model_dump_json())
    assert world.state() is State.APPROVED


def test_a_value_that_cannot_be_told_keeps_no_work_from_being_done(told, mocker):
    for instrument in (*told._counters.values(), *told._histograms.values()):
        mocker.patch.object(instrument, "record" if hasattr(instrument, "record") else "add", side_effect=OSError)
    told.count(EVENTS, outcome="routed")
    told.measure(SWEEP_DURATION, 1.0)


async def broken_by_robin(*_):
    raise RuntimeError("Robin Example broke it")


class Sent:
    """An account whose queues keep what they are sent."""

    def __init__(self):
        self.texts = []

    def queue(self, name):
        return self

    async def create_queue(self):
        pass

    async def send_message(self, text, **_options):
        self.texts.append(text)


async def test_every_message_carries_the_trace_in_which_it_is_sent(told):
    account = Sent()
    work = QueueWork(account, told)
    turn = TurnMessage(turn=ask().asked_at)
    with told.span("evaluate", {}):
        here = told.traceparent
        await work.send(turn)
        await work.send(RemediateMessage(hub=HUB.path, trace=PARENT))
    await work.send(RemediateMessage(hub=HUB.path, trace=PARENT))
    await work.send(turn)
    assert [json.loads(text).get("trace") for text in account.texts] == [here, here, PARENT, None]
    assert "trace" not in account.texts[-1], "without a trace, a message is what it was before there were any"


async def test_without_telemetry_a_trace_that_came_goes_on():
    account = Sent()
    await QueueWork(account, SILENT).send(RemediateMessage(hub=HUB.path, trace=PARENT))
    assert parse(Queue.REMEDIATE, account.texts[0]).trace == PARENT


BEFORE = {
    Queue.EVALUATE: {"v": 1, "hub": HUB.path, "attempt": 0, "asked_at": "2026-11-23T09:00:00Z", "cause": "x",
                     "actor": None, "changed_at": None, "deleted": False},
    Queue.REMEDIATE: {"v": 1, "hub": HUB.path, "attempt": 2},
    Queue.VERIFY: {"v": 1, "hub": HUB.path, "attempt": 0, "digest": "d", "give_up_at": "2026-11-23T09:30:00Z"},
    Queue.NOTIFY: {"v": 1, "channel": "ops", "attempt": 0},
}  # fmt: skip


@pytest.mark.parametrize("queue", BEFORE)
def test_messages_of_the_version_before_are_read(queue):
    message = parse(queue, json.dumps(BEFORE[queue]))
    assert message.trace is None
    assert json.loads(message.model_dump_json()) == BEFORE[queue]


@pytest.mark.parametrize("nonsense", ["", "00-zz", 7, [], {}, f"01-{'a' * 32}-{'b' * 16}-01", PARENT.upper()])
def test_a_trace_that_makes_no_sense_is_none_and_the_work_is_done(nonsense):
    text = json.dumps(BEFORE[Queue.REMEDIATE] | {"trace": nonsense})
    assert parse(Queue.REMEDIATE, text).trace is None


async def test_a_trace_of_zeros_is_none(told):
    with told.span("evaluate", {}, parent=f"00-{'0' * 32}-{'0' * 16}-01", queued=True):
        pass
    assert told.finished("evaluate").parent is None


# --- log records


@pytest.fixture
def records(told):
    """Log records with the fields of their work, as OpenTelemetry's handler would take them."""
    made, before = [], logging.getLogRecordFactory()

    class Kept(logging.Handler):
        def emit(self, record):
            made.append((record, record.getMessage()))

    handler, logger = Kept(), logging.getLogger("hubwarden")
    # the command line, tested here too, makes these two quiet
    quiet = [logging.getLogger(name) for name in ("hubwarden.bootstrap", "hubwarden.entrances")]
    levels = {one: one.level for one in (logger, *quiet)}
    carry_fields(told)
    carry_fields(told)
    logger.addHandler(handler)
    for one in levels:
        one.setLevel(logging.DEBUG)
    yield made
    logger.removeHandler(handler)
    for one, level in levels.items():
        one.setLevel(level)
    logging.setLogRecordFactory(before)


def known(record):
    return {name: vars(record)[name] for name in FIELDS if name in vars(record)}


async def test_every_record_says_what_it_is_about(composed, told, records):
    service, world = composed(GOOD)
    world.hubs.add()
    event = world.hubs.change()
    await service.on_event(event, "first")
    await run(service, world, "for {queue}")
    assert world.state() is State.RESOLVED
    for record, text in records:
        assert {"invocation_id", "trace_id"} <= known(record).keys(), text
    moved = next(record for record, text in records if "verifying → resolved" in text)
    assert known(moved) == {
        "invocation_id": "for hubwarden-verify",
        "trace_id": moved.trace_id,
        "resource_id": HUB.path,
        "rule_id": "tls-minimum",
        "finding_id": world.finding().id,
        "attempt": moved.attempt,
    }
    spans = {f"{span.context.trace_id:032x}": span.name for span in told.spans.get_finished_spans()}
    assert spans[moved.trace_id] == "verify"
    first = records[0][0]
    assert (first.invocation_id, first.actor, first.resource_id) == (
        "first", "99999999-0000-0000-0000-000000000001", HUB.path,
    )  # fmt: skip


def test_what_is_known_inside_ends_with_it():
    with about(invocation="1", hub=HUB, attempt=0):
        with about(actor=NAMED):
            assert fields()["actor"] == NAMED.object_id
            assert fields()["attempt"] == "0"
        assert "actor" not in fields()
    assert dict(fields()) == {}


async def test_nobodys_name_or_address_is_in_logs_spans_or_metrics(composed, told, records):
    service, world = composed(GOOD + "keep_emails: true\n")
    world.hubs.add()
    event = arm_event(by=NAMED.object_id)
    claims = event["data"]["claims"]
    claims |= {"name": NAMED.name, "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": NAMED.email}
    world.hubs.change()
    await service.on_event(event, "first")
    await run(service, world)
    world.hubs.change()
    await service.on_sweep("second")
    await run(service, world)
    await service.on_event(event | {"id": "late"}, "third")
    await run(service, world)
    lost = EvaluateMessage(hub=HUB.path, asked_at=world.clock.now(), cause="c", actor=NAMED, attempt=12)
    await service.on_poison(Queue.EVALUATE, lost.model_dump_json())
    assert any("Robin" in str(finding.deeds) for finding in world.findings.all), "it is kept where it belongs"
    said = [text for _, text in records] + [str(vars(record)) for record, _ in records if not record.args]
    said += [str(known(record)) for record, _ in records]
    said += [span.to_json() for span in told.spans.get_finished_spans()] + [str(told.values())]
    assert len(said) > 30
    assert not [text for text in said if re.search(r"robin|jo doe|example\.com", text, re.IGNORECASE)]


@pytest.mark.parametrize("decide", ["approve", "reject"])
async def test_who_decided_and_why_is_in_no_log(told, records, decide):
    world = Watched(told, "approve")
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    finding, by = world.finding(), Approver("Robin Example", Via.COMMAND_LINE)
    words = {"approve": approve, "reject": reject}
    await words[decide](world.ports, finding.id, plan=finding.proposal.digest, by=by, reason="Robin wants it")
    await world.run(until=timedelta(minutes=5))
    assert "Robin" in str(world.finding().history)
    assert records
    assert not [text for _, text in records if "Robin" in text]


async def test_who_decided_is_in_the_fields_by_an_id(told, records):
    world = Watched(told, "approve")
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    finding, by = world.finding(), Approver("Robin Example", Via.SIGN_IN, NAMED.object_id)
    await approve(world.ports, finding.id, plan=finding.proposal.digest, by=by, reason="yes")
    (moved,) = [record for record, text in records if "→ approved" in text]
    assert moved.actor == NAMED.object_id


async def test_an_address_in_a_broken_policy_file_is_in_no_log(composed, records):
    service, _ = composed(GOOD + "keep_emails: robin@example.com\n")
    await service.on_sweep()
    assert any("the policy file" in text for _, text in records)
    assert not [text for _, text in records if "robin" in text]
    assert "robin@example.com" in service.not_ready, "who asks for it is told"


async def test_who_threw_the_kill_switch_is_in_no_log(told, records):
    world = Watched(told)
    world.hubs.add()
    await world.drift()
    await world.deliver(world.work.letters.pop())
    assert world.state() is State.APPROVED
    await world.safety.save_kill(Kill(on=True, by="Robin Example", at=world.clock.now(), reason="Robin"), None)
    await world.run(until=timedelta(minutes=1))
    assert any("the kill switch is on" in text for _, text in records)
    assert not [text for _, text in records if "Robin" in text]


# --- switched on and off


@pytest.mark.parametrize("env", [{}, {"PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": "false"}])
def test_it_is_off_unless_an_app_setting_says_so(env):
    assert make_telemetry(env) is SILENT


def test_no_instrumentation_of_the_distribution_is_left_on():
    """As the worker does it: its distribution first, then the app. A webhook's address is a secret."""
    done = subprocess.run(
        [sys.executable, "-c", SWITCHED_ON], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "before": ["RequestsInstrumentor", "URLLib3Instrumentor", "URLLibInstrumentor"],
        "after": [],
        "sdk": False,
    }


SWITCHED_ON = """
import json, os
os.environ["APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL"] = "true"
os.environ["APPLICATIONINSIGHTS_SDKSTATS_DISABLED"] = "true"
os.environ["APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED"] = "true"
os.environ["OTEL_LOGS_EXPORTER"] = os.environ["OTEL_METRICS_EXPORTER"] = "none"
from azure.monitor.opentelemetry import configure_azure_monitor
here = "http://127.0.0.1:9/"
configure_azure_monitor(connection_string="InstrumentationKey=00000000-0000-4000-8000-00000000abcd;"
                        f"IngestionEndpoint={here};LiveEndpoint={here}", disable_offline_storage=True,
                        enable_live_metrics=False)
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from azure.core.settings import settings

def on():
    return sorted(k.__name__ for k in BaseInstrumentor.__subclasses__() if k().is_instrumented_by_opentelemetry)

before = on()
from hubwarden.adapters.telemetry import make_telemetry
make_telemetry({"PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": "true"})
print(json.dumps({"before": before, "after": on(), "sdk": settings.tracing_enabled()}))
os._exit(0 if print(end="", flush=True) is None else 1)
"""


def test_the_table_in_the_docs_is_the_table_in_the_code():
    rows = re.findall(
        r"^\| `(hubwarden[\w.]+)` \| (\w+)[^|]*\| ([^|]*)\|",
        (ROOT / "docs/telemetry.md").read_text(),
        re.MULTILINE,
    )
    told = {name: (kind, tuple(re.findall(r"`(\w+)`:", attributes))) for name, kind, attributes in rows}
    assert told == {metric.name: (metric.kind.value, metric.attributes) for metric in METRICS}


def test_units_are_seconds_where_it_is_a_time():
    assert {metric.unit for metric in METRICS if metric.kind is Kind.HISTOGRAM} == {"s"}
