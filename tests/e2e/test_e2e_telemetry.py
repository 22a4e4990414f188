"""What is sent to Application Insights, by the real worker runtime, distribution and exporter: caught and read.

One event leads to a fix and its proof; a second hub waits for an approval; a third event is our own.
"""

from __future__ import annotations

import asyncio
import re

from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from hubwarden.service.correlation import FIELDS
from hubwarden.service.telemetry import METRICS
from local.azurite import why_azurite_cannot_run
from local.scene import UNLIMITED, lower_tls
from local.stack import SOMEBODY, SUBSCRIPTION, Options, Stack
from tests.e2e.conftest import Scene, hub_path
from tests.e2e.ingestion import Ingestion
from tests.e2e.leaks import found_in


pytestmark = pytest.mark.asyncio(loop_scope="session")

POLICY = f"""\
version: 1
subscriptions: [{SUBSCRIPTION}]
rules:
  tls-minimum:
    mode: auto
    scopes:
      - where: {{hub: asking}}
        mode: approve
  sas-policies: {{mode: report}}
  diagnostics: {{mode: "off"}}
  defender-hub: {{mode: "off"}}
  defender-devices: {{mode: "off"}}
{UNLIMITED}"""
PERSONAL = re.compile(rb"robin|example\.com|ann smith|because i say so", re.IGNORECASE)
AT_ONCE = {
    "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    "OTEL_BSP_SCHEDULE_DELAY": "300",
    "OTEL_BLRP_SCHEDULE_DELAY": "300",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
}
"""Nothing but our own is sent, and soon."""


class Watched(Stack):
    """A stack whose app sends its telemetry to us, as the settings in Azure say."""

    def __init__(self, folder: Path, ingestion: Ingestion) -> None:
        super().__init__(folder, POLICY, [], Options(transition=0.3, message_lease=5, claim=45))
        self._ingestion = ingestion

    def _local_settings(self) -> dict[str, Any]:
        settings = super()._local_settings()
        settings["Values"] |= {
            "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": "true",
            "APPLICATIONINSIGHTS_CONNECTION_STRING": self._ingestion.connection_string,
            "TMPDIR": str(self.folder),
            **AT_ONCE,
        }
        return settings


class Story(Scene):
    """What happened, and what was sent of it."""

    def __init__(self, stack: Stack, ingestion: Ingestion) -> None:
        super().__init__(stack)
        self.ingestion = ingestion

    async def tell(self) -> None:
        """Let it all happen, and end the host: what it has not sent yet goes out then."""
        await self.new_hub("watched")
        await self.new_hub("asking", minimum="1.0")
        await lower_tls(self.somebody, "watched")
        await self.reaches("watched", "resolved", within=60)
        await self.stack.sweep()
        await self.reaches("asking", "awaiting_approval", within=60)
        await self.stack.sweep()
        await asyncio.sleep(2.5)
        await self.stack.end_hosts()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def story(tmp_path_factory):
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    with Ingestion() as ingestion:
        async with Watched(tmp_path_factory.mktemp("watched"), ingestion) as stack:
            told = Story(stack, ingestion)
            await told.tell()
            yield told


def led_to(span, spans):
    """The names of the spans from the first to this one; work that came back stands there once."""
    by_id, names = {one.id: one for one in spans}, [span.name]
    while span.parent in by_id:
        span = by_id[span.parent]
        names += [span.name] if names[-1] != span.name else []
    return names[::-1]


async def test_one_trace_leads_from_the_event_to_the_proof(story):
    hub = hub_path("watched").lower()
    spans = [span for span in story.ingestion.spans if span.hub == hub]
    (routed,) = [span for span in spans if span.name == "route_event"]
    assert {span.operation for span in spans} == {routed.operation}
    verified = [span for span in spans if span.name == "verify"]
    assert {tuple(led_to(span, spans)) for span in verified} == {
        ("route_event", "evaluate", "remediate", "verify"),
    }, spans
    assert {span.kind for span in spans} - {routed.kind} == {"RequestData"}
    assert routed.kind == "RemoteDependencyData"
    for span in spans:
        assert span.properties["faas.invocation_id"]
        assert ("_MS.links" in span.properties) == (span is not routed), "the host's own span is linked"
    told = {
        span.name: span.properties["hubwarden.rules"] for span in spans if "hubwarden.rules" in span.properties
    }
    assert told == {"remediate": "tls-minimum", "verify": "tls-minimum"}


async def test_no_span_is_of_storage_or_of_a_request(story):
    assert {span.name for span in story.ingestion.spans} <= {
        *("route_event", "sweep", "evaluate", "remediate", "verify", "turns", "notify", "settle", "health"),
    }


async def test_every_metric_has_the_attributes_of_the_table_and_no_others(story):
    known = {metric.name: metric for metric in METRICS}
    sent = {name: values for name, values in story.ingestion.metrics.items() if name.startswith("hubwarden.")}
    assert sent.keys() <= known.keys()
    for name, values in sent.items():
        for _, attributes in values:
            assert set(attributes) == set(known[name].attributes), name


async def test_what_happened_is_in_the_metrics(story):
    metrics = story.ingestion.metrics
    assert sum(value for value, a in metrics["hubwarden.fixes"] if a["outcome"] == "proven") == 1
    assert (1, {"outcome": "routed"}) in metrics["hubwarden.events"]
    assert any(a == {"outcome": "own"} for _, a in metrics["hubwarden.events"])
    ((took, attributes),) = metrics["hubwarden.time_to_fix"]
    assert (attributes, 0 < took < 60) == ({"rule": "tls-minimum"}, True)
    assert {a["rule"] for _, a in metrics["hubwarden.time_to_detect"]} == {"tls-minimum"}
    kinds = {(a["kind"], a["outcome"]) for _, a in metrics["hubwarden.arm_calls"]}
    assert {("read", "ok"), ("write", "ok"), ("listkeys", "ok")} <= kinds
    assert {a["kind"] for _, a in metrics["hubwarden.arm_budget"]} == {"reads", "writes"}
    assert sum(value for value, a in metrics["hubwarden.sweeps"] if a == {"complete": "true"}) == 2
    assert (2, {"outcome": "judged"}) in metrics["hubwarden.sweep.hubs"]
    assert (0, {"outcome": "dead"}) in metrics["hubwarden.sweep.hubs"]
    assert len(metrics["hubwarden.sweep.duration"]) >= 1
    waits = {"rule": "tls-minimum", "severity": "high", "state": "awaiting_approval", "age": "<1d"}
    assert (1, waits) in metrics["hubwarden.findings"]
    assert (1, {"rule": "tls-minimum", "due": "later"}) in metrics["hubwarden.approvals"]
    assert {(value, a["kind"]) for value, a in metrics["hubwarden.breakers"]} == {(0, "errors"), (0, "hubs")}
    assert "hubwarden.failures" not in metrics
    assert "hubwarden.poison" not in metrics


async def test_a_gauge_is_sent_once_a_sweep_and_not_for_ever(story):
    judged = [value for value, a in story.ingestion.metrics["hubwarden.sweep.hubs"] if a == {"outcome": "judged"}]
    assert len(judged) <= 2, "there were two sweeps, and many more collections"


async def test_log_records_carry_the_fields_of_their_work(story):
    hub = hub_path("watched").lower()
    finding = await story.finding("watched")
    moved = [fields for text, fields in story.ingestion.logs if "→ resolved" in text and fields.get("rule_id")]
    assert any(
        fields["finding_id"] == finding.id
        and fields["rule_id"] == "tls-minimum"
        and fields["resource_id"] == hub
        and fields["invocation_id"]
        and fields["attempt"].isdigit()
        for fields in moved
    ), moved
    routed = next(f for text, f in story.ingestion.logs if "will look at" in text and f["resource_id"] == hub)
    assert routed["actor"] == SOMEBODY.client_id or re.fullmatch(r"[0-9a-f-]{36}", routed["actor"])
    operations = {span.operation for span in story.ingestion.spans if span.hub == hub}
    assert routed["trace_id"] in operations
    ours = [
        fields
        for _, fields in story.ingestion.logs
        if fields.get("logger_name", "").startswith("hubwarden.service")
    ]
    assert ours
    assert all(fields.get("invocation_id") for fields in ours)
    of_the_local_host = "invocation"
    assert {name for fields in ours for name in fields} <= {*FIELDS, "logger_name", of_the_local_host}


async def test_no_key_and_nothing_of_a_person_is_sent(story):
    for post in story.ingestion.posts:
        assert not found_in(post)
        assert not PERSONAL.search(post), PERSONAL.search(post)


async def test_the_finding_itself_knows_who_it_was(story):
    finding = await story.finding("watched")
    assert "Robin" in str(finding.deeds), "else the test before this one shows nothing"
