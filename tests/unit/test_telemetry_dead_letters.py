"""Telemetry of events that were read back: each is counted for what became of it, and as a dead letter besides."""

from __future__ import annotations

from hubwarden.bootstrap import Hubwarden
from tests.unit.fakes import OWN, World, arm_event
from tests.unit.test_service_bootstrap import GOOD, FakeCredential
from tests.unit.test_telemetry import Collected


async def test_each_event_that_was_read_back_is_counted(tmp_path):
    told, world, path = Collected(), World(), tmp_path / "policy.yaml"
    path.write_text(GOOD)
    service = Hubwarden(
        {"HUBWARDEN_POLICY": str(path), "AzureWebJobsStorage": "UseDevelopmentStorage=true"},
        credential=FakeCredential(), records=world.records, work=world.work, audit=world.audit,
        dead_letters=world.dead_letters, clock=world.clock, telemetry=told,
    )  # fmt: skip
    world.dead_letters.leave([arm_event(), arm_event(by=OWN.object_id), {"type": "Some.Other"}])
    await service.on_dead_letters("an-invocation")
    assert told.values()["hubwarden.events"] == {("routed",): 1, ("own",): 1, ("ignored",): 1, ("dead_letter",): 3}
    run = told.finished("dead_letters")
    assert run.attributes["faas.invocation_id"] == "an-invocation"
    assert told.finished("route_event").parent.span_id == run.context.span_id
