"""Every hub, diagnostic setting and security solution that was recorded of real Azure is judged by every rule.

What is kept of them here is where each comes from, a digest, and the words of the verdicts: no body, no name.
"""

from __future__ import annotations

import collections
import copy
import functools
import hashlib
import json

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

import detectors

from hubwarden.adapters.azure.redaction import redacted, redacted_hub
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.plan import Plan, PlanError
from hubwarden.domain.snapshot import Facet, Snapshot
from hubwarden.domain.verdict import Compliant, Drift, Unknown
from remediators import REMEDIATORS


DATA = Path(__file__).parents[3] / "shared" / "data"
NOW = datetime(2026, 11, 23, tzinfo=UTC)

GROUP = "/subscriptions/s/resourceGroups/g/providers"
HUB = HubId.parse(f"{GROUP}/Microsoft.Devices/IotHubs/contoso-hub")
HUB_BODY = {"id": HUB.path, "etag": "e", "location": "westeurope", "properties": {
    "state": "Active", "provisioningState": "Succeeded", "minTlsVersion": "1.2"}}  # fmt: skip
WORKSPACE = f"{GROUP}/Microsoft.OperationalInsights/workspaces/logs"
DEFAULTS = {"iothubowner": ["DeviceConnect", "RegistryWrite", "ServiceConnect"], "service": ["ServiceConnect"],
            "device": ["DeviceConnect"], "registryRead": ["RegistryRead"],
            "registryReadWrite": ["RegistryWrite"]}  # fmt: skip
CATEGORIES = (
    "Connections", "DeviceTelemetry", "C2DCommands", "DeviceIdentityOperations", "FileUploadOperations", "Routes",
    "D2CTwinOperations", "C2DTwinOperations", "TwinQueries", "JobsOperations", "DirectMethods",
    "DistributedTracing", "Configurations", "DeviceStreams",
)  # fmt: skip
SINKS = ("workspaceId", "storageAccountId", "eventHubAuthorizationRuleId")
DEAD = {"ActivationFailed", "DeletionFailed", "Deleting"}

# Besides the defaults, each body is judged once with these settings.
SETTINGS = {
    "tls-minimum": {"absent": "compliant", "unenforced_regions": ["West US"]},
    "diagnostics": {"required": ["audit"], "destination": WORKSPACE},
    "sas-policies": {"allowed": {"device": ["ServiceConnect"]}},
    "defender-hub": {
        "recommendations": ["IoT_OpenPorts"], "solution": f"{GROUP}/Microsoft.Security/iotSecuritySolutions/mine",
        "workspace": WORKSPACE, "location": "westeurope",
    },
    "defender-devices": {"security_modules": ["agent"], "count_every_hours": 1},
}  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """What every rule says of a snapshot that holds a recorded body: by default, and with ``SETTINGS``."""

    where: str
    body: dict
    hub: HubId
    words: dict[str, str]
    otherwise: dict[str, str]

    @property
    def line(self):
        digest = hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()[:12]
        return f"{self.where} {digest}: {said(self.words)} | {said(self.otherwise)}"


def said(words):
    """What is said by the rules that do not hold."""
    return ", ".join(f"{rule_id} {word}" for rule_id, word in words.items() if word != "compliant") or "compliant"


# --- finding the bodies


def data():
    if not DATA.is_dir():
        pytest.skip("the recordings of real Azure are not part of the project")
    return DATA


def walked(value) -> Iterator[dict]:
    """Every object that Azure answered, in the order of the file; what was sent to it is left out."""
    if isinstance(value, dict):
        yield value
        for name, member in value.items():
            if name != "request_body":
                yield from walked(member)
    elif isinstance(value, list):
        for item in value:
            yield from walked(item)


@functools.cache
def recordings() -> tuple[tuple[str, dict], ...]:
    """Each object in the recordings that has properties, with the name of its file and its number in it."""
    found = []
    for path in sorted((data() / "recordings").rglob("*.json")):
        objects = (
            item for item in walked(json.loads(path.read_text())) if isinstance(item.get("properties"), dict)
        )
        found += [(f"{path.parent.name}/{path.stem}#{n}", item) for n, item in enumerate(objects)]
    return tuple(found)


def distinct(bodies):
    """The first of those that are the same."""
    first = {}
    for where, body in bodies:
        first.setdefault(json.dumps(body, sort_keys=True), (where, body))
    return first.values()


def of_type(kind):
    return [(where, body) for where, body in recordings() if str(body.get("type")).lower() == kind]


def hubs():
    lines = (data() / "corpus" / "hubs.jsonl").read_text().splitlines()
    corpus = [(f"hubs.jsonl#{n}", json.loads(line)["body"]) for n, line in enumerate(lines, start=1)]
    return distinct(corpus + of_type("microsoft.devices/iothubs"))


def diagnostic_settings():
    return distinct(
        (where, body) for where, body in recordings() if {"logs", "metrics"} <= body["properties"].keys()
    )


def security_solutions():
    return distinct(of_type("microsoft.security/iotsecuritysolutions"))


# --- judging them


def facets(recorded, hub=HUB):
    """A hub on which every rule holds by default, but for the facets that hold what was recorded."""
    solution = {
        "id": f"{GROUP}/Microsoft.Security/iotSecuritySolutions/one",
        "properties": {"status": "Enabled", "workspace": WORKSPACE, "iotHubs": [hub.path]},
    }
    return {
        Facet.HUB: HUB_BODY,
        Facet.POLICIES: {"policies": [{"keyName": name, "rights": rights} for name, rights in DEFAULTS.items()]},
        Facet.DIAGNOSTICS: diagnostics({
            "name": "all", "properties": {
                "workspaceId": WORKSPACE, "logs": [{"categoryGroup": "allLogs", "enabled": True}]},
        }),
        Facet.DEFENDER: {"solutions": [solution]},
        Facet.DEVICES: {
            "counted_at": NOW.isoformat(), "total": 0, "list": None, "first": {},
            "counts": {"covered": 0, "unregistered": 0, "silent": 0},
        },
    } | recorded  # fmt: skip


def diagnostics(setting, categories=CATEGORIES):
    """As the adapter shows the one setting of a hub that has these categories; what it sends to exists."""
    sinks = [setting["properties"].get(member) for member in SINKS]
    return {
        "settings": redacted([setting]),
        "categories": {name: ["audit", "allLogs"] for name in categories},
        "destinations": {sink.lower(): "exists" for sink in sinks if sink},
    }


def own_categories(setting):
    """What the resource has that the setting was recorded of, as far as the setting tells."""
    return tuple(entry["category"] for entry in setting["properties"]["logs"] or () if entry.get("category"))


def judged(where, body, snapshot):
    """Ask every rule, and the remediator of each drift. Nothing may break, and nothing may be changed by it."""
    before = copy.deepcopy(snapshot.facets)
    by_default = {rule.id: word(rule, snapshot, rule.settings()) for rule in detectors.RULES}
    otherwise = {
        rule.id: word(rule, snapshot, rule.settings.model_validate(SETTINGS[rule.id])) for rule in detectors.RULES
    }
    assert snapshot.facets == before, where
    return Judged(where, body, snapshot.hub, by_default, otherwise)


def word(rule, snapshot, settings):
    verdicts = [*rule.detect(snapshot, settings)]
    assert verdicts
    for verdict in verdicts:
        assert isinstance(verdict, Compliant | Drift | Unknown)
        assert not isinstance(verdict, Unknown) or verdict.reason
        if isinstance(verdict, Drift):
            plan(rule, verdict, snapshot, settings)
    kinds = {type(verdict) for verdict in verdicts}
    return "drift" if Drift in kinds else "compliant" if kinds == {Compliant} else "unknown"


def plan(rule, drift, snapshot, settings):
    """There is a plan that touches what is declared, or a reason why there is none; and what there is to know."""
    remediator = REMEDIATORS.get(rule.id)
    if remediator is None:
        return
    assert all(isinstance(warning, str) for warning in remediator.warn(drift, snapshot, settings))
    try:
        changes = tuple(remediator.plan(drift, snapshot, settings))
    except PlanError:
        return
    assert all(remediator.declares(change) for change in changes)
    Plan(snapshot.hub, "etag", changes)


@functools.cache
def judged_hubs():
    def one(where, body):
        hub = HubId.parse(body["id"])
        return judged(where, body, Snapshot(hub, NOW, facets({Facet.HUB: redacted_hub(body)}, hub)))

    return [one(*found) for found in hubs()]


@functools.cache
def judged_settings():
    """Each as a setting of a hub, and of something that has the categories which it names."""
    return [
        judged(
            f"{where}/{n}", body, Snapshot(HUB, NOW, facets({Facet.DIAGNOSTICS: diagnostics(body, categories)}))
        )
        for where, body in diagnostic_settings()
        for n, categories in enumerate((CATEGORIES, own_categories(body)))
    ]


@functools.cache
def judged_solutions():
    """Each for every hub that it names, and for one that it does not."""
    found = []
    for where, body in security_solutions():
        named = [HubId.parse(text) for text in body["properties"]["iotHubs"]]
        for n, hub in enumerate([*named, HUB]):
            facet = {"solutions": [redacted(body)]}
            found.append(judged(f"{where}/{n}", body, Snapshot(hub, NOW, facets({Facet.DEFENDER: facet}, hub))))
    return found


# --- the oracles: what must come out, said without the code that is tested

ALL_HOLD = {rule.id: "compliant" for rule in detectors.RULES}


def expected_of_hub(body):
    properties = body["properties"]
    if properties.get("state") in DEAD:
        return dict.fromkeys(ALL_HOLD, "unknown"), dict.fromkeys(ALL_HOLD, "unknown")
    tls = properties.get("minTlsVersion")
    fine = tls in {"1.2", "1.3"}
    without_effect = body["location"].replace(" ", "").lower() == "westus"
    otherwise = "compliant" if fine or tls is None else "unknown" if without_effect else "drift"
    return (
        ALL_HOLD | {"tls-minimum": "compliant" if fine else "drift"},
        ALL_HOLD | {"tls-minimum": otherwise, "sas-policies": "drift"},
    )


def expected_of_setting(body, categories):
    properties = body["properties"]
    on = [entry for entry in properties["logs"] or [] if entry["enabled"]]
    sent = {(entry.get("category") or "").lower() for entry in on}
    group = any((entry.get("categoryGroup") or "").lower() == "alllogs" for entry in on)
    everything = group or {name.lower() for name in categories} <= sent
    known = any(properties.get(member) for member in SINKS)
    other = any(properties.get(member) for member in ("serviceBusRuleId", "marketplacePartnerId"))
    if not categories:
        by_default = otherwise = "unknown"
    else:
        by_default = "drift" if not everything else "compliant" if known else "unknown" if other else "drift"
        otherwise = "drift"  # none goes to our own workspace
    return ALL_HOLD | {"diagnostics": by_default}, ALL_HOLD | {"diagnostics": otherwise, "sas-policies": "drift"}


def expected_of_solution(body, hub):
    properties = body["properties"]
    named = hub.path in {text.lower() for text in properties["iotHubs"]}
    on = {e["recommendationType"]: e["status"] == "Enabled" for e in properties["recommendationsConfiguration"]}
    watched = named and properties["status"] == "Enabled"

    def covered(*required):
        fine = watched and bool(properties.get("workspace")) and all(on[kind] for kind in required)
        return "compliant" if fine else "drift"

    devices = "compliant" if watched else "drift"
    return (
        ALL_HOLD
        | {
            "defender-hub": covered("IoT_SharedCredentials", "IoT_PrivilegedDockerOptions"),
            "defender-devices": devices,
        },
        ALL_HOLD
        | {"sas-policies": "drift", "defender-hub": covered("IoT_OpenPorts"), "defender-devices": devices},
    )


def wrong(found, expected):
    return [one.where for one in found if (one.words, one.otherwise) != expected(one)]


def test_every_recorded_hub_is_judged_as_it_must_be():
    found = judged_hubs()
    assert len(found) >= 1190
    assert wrong(found, lambda one: expected_of_hub(one.body)) == []


def test_every_recorded_diagnostic_setting_is_judged_as_it_must_be():
    found = judged_settings()
    assert len(found) >= 20

    def expected(one):
        return expected_of_setting(one.body, CATEGORIES if one.where.endswith("/0") else own_categories(one.body))

    assert wrong(found, expected) == []
    assert {one.words["diagnostics"] for one in found} == {"compliant", "drift", "unknown"}


def test_every_recorded_security_solution_is_judged_as_it_must_be():
    found = judged_solutions()
    assert len(found) >= 30
    assert wrong(found, lambda one: expected_of_solution(one.body, one.hub)) == []


def test_their_verdicts(snapshot):
    """A line each: where it comes from, its digest, and what does not hold, by default | with ``SETTINGS``."""
    groups = {"hubs": judged_hubs(), "settings": judged_settings(), "solutions": judged_solutions()}
    counts = [
        f"{kind}: {rule.id}: {count} {word}"
        for kind, found in groups.items()
        for rule in detectors.RULES
        for word, count in sorted(collections.Counter(one.words[rule.id] for one in found).items())
    ]
    lines = [one.line for found in groups.values() for one in found]
    assert "\n".join([*counts, *lines]) == snapshot
