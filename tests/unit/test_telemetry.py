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

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hubwarden.adapters.azure.budget import Budget
from hubwarden.adapters.azure.pipeline import arm_pipeline
from hubwarden.adapters.counted_audit import CountedAudit
from hubwarden.adapters.storage.queues import QueueWork
from hubwarden.adapters.telemetry import OpenTelemetry, carry_fields, make_telemetry
from hubwarden.domain.finding import Actor, Event, Hold, State
from hubwarden.domain.limits import BREAKER_HOLDS, Ledger
from hubwarden.service.correlation import FIELDS, about, fields
from hubwarden.service.errors import DeniedError, PermanentError, StorageUnavailableError, TransientError
from hubwarden.service.expire import expire
from hubwarden.service.messages import (
    EvaluateMessage,
    MalformedMessageError,
    Queue,
    RemediateMessage,
    TurnMessage,
    VerifyMessage,
    parse,
    text_of,
)
from hubwarden.service.telemetry import METRICS, SILENT, Kind
from hubwarden.service.totals import Totals
from tests.unit.fakes import HUB, OWN, SUB, World, arm_event, ask, hub_id
from tests.unit.test_azure_pipeline import HUB as HUB_URL
from tests.unit.test_azure_pipeline import Credential, Transport
from tests.unit.test_service_bootstrap import GOOD, composed, run  # noqa: F401 - composed is a fixture


ROOT = Path(__file__).parents[2]
PARENT = f"00-{'a' * 32}-{'b' * 16}-01"
NAMED = Actor(object_id="99999999-0000-0000-0000-000000000001", name="Robin Example", email="robin@example.com")


class Collected(OpenTelemetry):
    """Telemetry into memory."""

    def __init__(self):
        self.spans = InMemorySpanExporter()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.reader = InMemoryMetricReader()
        super().__init__(tracers=tracers, meters=MeterProvider([self.reader]))

    def values(self):
        """Metric name → attributes → value, or (count, sum) of a histogram, since the last time."""
        data = self.reader.get_metrics_data()
        found = {}
        for metric in (m for r in (data.resource_metrics if data else ()) for s in r.scope_metrics for m in s.metrics):
            known = {one.name: one for one in METRICS}[metric.name]
            for point in metric.data.data_points:
                assert set(point.attributes) == set(known.attributes), metric.name
                assert metric.unit == known.unit
                key = tuple(point.attributes[name] for name in known.attributes)
                value = point.value if hasattr(point, "value") else (point.count, point.sum)
                found.setdefault(metric.name, {})[key] = value
        return found

    def span(self, name):
        return next(span for span in self.spans.get_finished_spans() if span.name == name)


@pytest.fixture
def told():
    return Collected()


class Watched(World):
    def __init__(self, told, mode="auto", **options):
        super().__init__(mode, **options)
        self.told = told
        self.audit = CountedAudit(self.audit, told)

    @property
    def ports(self):
        return replace(super().ports, telemetry=self.told)


@pytest.fixture
def world(told):
    world = Watched(told)
    world.hubs.add()
    return world


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
    world.hubs.put_errors = [error]
    values = await fixed(world)
    assert values["hubwarden.fixes"] == {("tls-minimum", outcome): 1}
    assert "hubwarden.time_to_fix" not in values


async def test_a_fix_without_effect(world):
    world.hubs.no_effect = True
    values = await fixed(world)
    assert values["hubwarden.fixes"] == {("tls-minimum", "no_effect"): 1}


async def test_a_drift_that_somebody_puts_right_is_no_fix_of_ours(told):
    world = Watched(told, "report")
    world.hubs.add()
    await world.drift()
    await world.run(until=timedelta(minutes=1))
    world.hubs.change(HUB, minTlsVersion="1.2")
    await world.sweep()
    assert world.state() is State.RESOLVED
    assert not {"hubwarden.fixes", "hubwarden.time_to_fix"} & told.values().keys()


async def test_a_drift_that_a_sweep_finds_is_detected_in_time_once_its_event_comes_late(told):
    world = Watched(told, "report")
    world.hubs.add()
    late = world.hubs.change(HUB, minTlsVersion="1.0")
    world.clock.turn(minutes=3)
    await world.sweep()
    assert "hubwarden.time_to_detect" not in told.values()
    await world.event(late)
    await world.run(until=timedelta(minutes=1))
    ((count, seconds),) = told.values()["hubwarden.time_to_detect"].values()
    assert (count, 170 < seconds < 190) == (1, True)


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
    world.hubs.list_errors = {SUB: TransientError("busy")} if hasattr(world.hubs, "list_errors") else {}
    world.hubs.unlistable = {SUB}
    await world.sweep()
    values = told.values()
    if ("true",) in values["hubwarden.sweeps"]:
        pytest.skip("no way to fail a list in this world")
    assert values["hubwarden.sweeps"] == {("false",): 1}
