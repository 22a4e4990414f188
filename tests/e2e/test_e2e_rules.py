"""The other rules on the real parts: diagnostics put right by itself, shared access policies left to people."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import pytest_asyncio

from local.azurite import why_azurite_cannot_run
from local.scene import UNLIMITED
from local.stack import HUBWARDEN, SOMEBODY, SUBSCRIPTION, Options, Stack
from tests.e2e.conftest import Scene


pytestmark = pytest.mark.asyncio(loop_scope="session")

LOGS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/Logs"
WORKSPACE = f"{LOGS}/providers/Microsoft.OperationalInsights/workspaces/w"
POLICY = f"""\
version: 1
subscriptions:
  - {SUBSCRIPTION}
rules:
  tls-minimum:
    mode: auto
  diagnostics:
    mode: auto
    settings:
      destination: {WORKSPACE}
  sas-policies:
    mode: auto
{UNLIMITED}"""
THEIRS = {"workspaceId": WORKSPACE, "logs": [{"category": "Connections", "enabled": True}]}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(tmp_path_factory):
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    async with Stack(tmp_path_factory.mktemp("rules"), POLICY, [], Options(transition=0.5)) as stack:
        await stack.sim.add_destination(WORKSPACE)
        yield Rules(stack)


class Rules(Scene):
    """A scene in which a hub can have several findings."""

    async def finding(self, name, rule="diagnostics"):
        found = [f async for f in self.stack.findings.everything() if (f.hub.name, f.rule_id) == (name, rule)]
        return found[0] if found else None

    async def delete_setting(self, hub: str, name: str) -> None:
        """As somebody else, with an ordinary DELETE."""
        token = await self.sim.issue_token(SOMEBODY.client_id)
        path = f"{hub}/providers/Microsoft.Insights/diagnosticSettings/{name}?api-version=2021-05-01-preview"
        tls = ssl.create_default_context(cafile=self.stack.ca_file)
        headers = {"Authorization": f"Bearer {token}"}
        async with self.stack.http.delete(f"{self.stack.arm}{path}", headers=headers, ssl=tls) as answer:
            assert answer.status == 200


async def test_missing_diagnostics_are_set_and_set_again_when_somebody_removes_them(own):
    hub = await own.new_hub("silent")
    await own.sim.add_diagnostic_setting(hub, "theirs", THEIRS)
    await own.stack.sweep()
    await own.reaches("silent", "resolved")
    settings = {s["name"]: s["properties"] for s in await own.sim.diagnostic_settings(hub)}
    assert set(settings) == {"theirs", "hubwarden"}
    assert [log["category"] for log in settings["theirs"]["logs"]] == ["Connections"]
    assert settings["hubwarden"]["workspaceId"].lower() == WORKSPACE.lower()

    await own.delete_setting(hub, "hubwarden")
    finding = await own.finding("silent")
    async with asyncio.timeout(40):
        while finding.occurrences == 1:
            finding = await own.finding("silent")
            await asyncio.sleep(0.1)
    finding = await own.reaches("silent", "resolved")
    assert finding.occurrences == 2
    assert finding.actor.name == SOMEBODY.name
    assert len(await own.sim.diagnostic_settings(hub)) == 2
    puts = [r for r in await own.sim.requests() if r["method"] == "PUT" and r["principal"] == HUBWARDEN.name]
    assert {r["path"].rsplit("/", 1)[1] for r in puts if "silent" in r["path"].lower()} == {"hubwarden"}


async def test_a_hub_with_five_settings_already_is_left_to_people(own):
    hub = await own.new_hub("full")
    for number in range(5):
        await own.sim.add_diagnostic_setting(
            hub, f"s{number}", {"workspaceId": f"{WORKSPACE}{number}", "logs": []}
        )
    await own.stack.sweep()
    finding = await own.reaches("full", "ticketed")
    assert "five" in finding.history[-1].reason or "5" in finding.history[-1].reason
    assert len(await own.sim.diagnostic_settings(hub)) == 5


async def test_a_missing_right_on_the_destination_is_named_in_the_ticket(own):
    action = "Microsoft.OperationalInsights/workspaces/sharedKeys/action"
    await own.sim.deny(action, WORKSPACE, principal=HUBWARDEN.client_id)
    await own.new_hub("unlinked")
    await own.stack.sweep()
    finding = await own.reaches("unlinked", "ticketed")
    await own.sim.allow()
    ticket = await own.stack.tickets.find_by_key(finding.id)
    assert action.lower() in ticket.text.lower()


async def test_a_broad_policy_waits_for_a_person_and_no_key_is_kept_anywhere(own):
    hub = await own.new_hub("shared")
    stored = await own.sim.hub(hub)
    await own.sim.remove_hub(hub)
    rogue = {"keyName": "rogue", "rights": "RegistryWrite, ServiceConnect"}
    await own.sim.add_hub(stored["body"], policies=[*stored["policies"], rogue])
    await own.sim.clear_requests()
    await own.stack.sweep()
    await own.stack.sweep()

    finding = await own.finding("shared", "sas-policies")
    assert finding.state == "awaiting_approval"
    assert finding.subject == "rogue"
    names = {p["keyName"] for p in (await own.sim.hub(hub))["policies"]}
    assert "rogue" in names, "nothing was removed"
    asked = [r for r in await own.sim.requests() if r["path"].lower().endswith("/iothubs/shared/listkeys")]
    assert len(asked) == 1, "a hub that has not changed is not asked for its keys again"
    ticket = await own.stack.tickets.find_by_key(finding.id)
    keys = [p[kind] for p in (await own.sim.hub(hub))["policies"] for kind in ("primaryKey", "secondaryKey")]
    rest = "".join(path.read_text(errors="replace") for path in own.stack.folder.glob("*.log"))
    rest += str(ticket) + str(finding) + str(await own.stack.records.get(finding.hub))
    assert keys
    assert not [key for key in keys if key in rest]
