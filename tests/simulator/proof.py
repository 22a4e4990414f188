"""What every remediator is proven on: the real adapter, a hub that is right in everything, and ways to drift.

``PROOFS`` has an entry for each rule with a fix; a new one is not tested by hand but put into it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import ssl

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ClientSecretCredential

import detectors

from hubwarden.adapters.azure.cloud import Cloud
from hubwarden.adapters.azure.hubs import ArmHubs
from hubwarden.domain.approval import Approver, Via
from hubwarden.domain.finding import State
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.plan import Target
from hubwarden.domain.policy import Policy, check_policy
from hubwarden.domain.receipt import Receipt
from hubwarden.domain.rule import Remediator
from hubwarden.service.approve import approve
from hubwarden.service.messages import VerifyMessage
from local.azure_simulator import AzureSimulator, SimulatorConfig
from local.azure_simulator.hub import DEFAULT_POLICIES
from local.azure_simulator.keys import derived_key
from local.azure_simulator.security_body import new_properties
from remediators import REMEDIATORS
from tests.unit.fakes import START, World, ask


SUBSCRIPTION = "aaaaaaaa-0000-4000-8000-000000000001"
ELSEWHERE = "aaaaaaaa-0000-4000-8000-000000000002"
TENANT = "bbbbbbbb-0000-4000-8000-000000000001"
WARDEN, PERSON, SECRET = "cccccccc-0000-4000-8000-000000000001", "cccccccc-0000-4000-8000-000000000002", "a secret"

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/Plant/providers"
HUB_PATH = f"{GROUP}/Microsoft.Devices/IotHubs/Press"
NEIGHBOUR = f"{GROUP}/Microsoft.Devices/IotHubs/Lathe"
STRANGER = f"/subscriptions/{ELSEWHERE}/resourceGroups/Plant/providers/Microsoft.Devices/IotHubs/Mill"
HUB = HubId.parse(HUB_PATH)

LOGS = f"{GROUP}/Microsoft.OperationalInsights/workspaces/Logs"
LOST = f"{GROUP}/Microsoft.OperationalInsights/workspaces/Lost"
STORE = f"{GROUP}/Microsoft.Storage/storageAccounts/store"
SOLUTION = f"{GROUP}/Microsoft.Security/iotSecuritySolutions/Plant"
SECOND = f"{GROUP}/Microsoft.Security/iotSecuritySolutions/Second"

OWNER = "RegistryWrite, ServiceConnect, DeviceConnect"
ALL_LOGS = [{"categoryGroup": "allLogs", "enabled": True}]
AUDIT = [{"categoryGroup": "audit", "enabled": True}]

# What only Azure sets, and changes at each write.
_AZURES = ("etag", "systemData")

type Path = tuple[str, ...]


def keys_of(owner: str) -> dict[str, str]:
    """Two recognisable keys, the same ones in each run."""
    return {"primaryKey": derived_key(f"{owner}/1"), "secondaryKey": derived_key(f"{owner}/2")}


def policy(name: str, rights: str, hub: str = HUB_PATH) -> dict[str, str]:
    """A shared access policy with its keys."""
    return {"keyName": name, "rights": rights, **keys_of(f"{hub}/{name}")}


def recommended(**statuses: str) -> list[dict[str, str]]:
    """What of a solution's recommendations is not as it is by default; nobody requires the first."""
    changed = {"IoT_OpenPorts": "Disabled", **statuses}
    return [{"recommendationType": kind, "status": status} for kind, status in changed.items()]


@dataclass
class Site:
    """What there is at the beginning: right in everything until a scene makes it drift."""

    properties: dict[str, Any] = field(default_factory=lambda: {"minTlsVersion": "1.2"})
    policies: dict[str, str] = field(
        default_factory=lambda: {
            **dict(DEFAULT_POLICIES),
            "backend": "RegistryRead, ServiceConnect",
            "telemetry": "ServiceConnect",
        }
    )
    settings: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {
            "to-logs": {"workspaceId": LOGS, "logs": ALL_LOGS},
            "archive": {"storageAccountId": STORE, "logs": AUDIT},
        }
    )
    solutions: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {
            SOLUTION: {
                "displayName": "Plant", "status": "Enabled", "workspace": LOGS, "iotHubs": [NEIGHBOUR, HUB_PATH],
                "recommendationsConfiguration": recommended(), "export": ["RawEvents"],
            },
            SECOND: {"displayName": "Second", "workspace": LOGS, "iotHubs": [NEIGHBOUR]},
        }
    )  # fmt: skip

    def build(self, sim: AzureSimulator) -> None:
        """Put everything in place, beside a hub that is right, and one that is not, but not ours to touch."""
        sim.add_hub(_body(HUB_PATH, self.properties), policies=[policy(*item) for item in self.policies.items()])
        sim.add_hub(_body(NEIGHBOUR, {"minTlsVersion": "1.2"}), policies=_defaults(NEIGHBOUR))
        sim.add_hub(_body(STRANGER, {"minTlsVersion": "1.0"}), policies=[policy("broad", OWNER, STRANGER)])
        for destination in (LOGS, STORE):
            sim.add_destination(destination)
        for name, properties in self.settings.items():
            sim.add_diagnostic_setting(HUB_PATH, name, properties)
        sim.add_diagnostic_setting(NEIGHBOUR, "to-logs", {"workspaceId": LOGS, "logs": ALL_LOGS})
        for id_, properties in self.solutions.items():
            sim.add_security_solution(
                {"id": id_, "tags": {"team": "flow"}, "properties": new_properties(properties)}
            )


def _defaults(hub: str) -> list[dict[str, str]]:
    return [policy(name, rights, hub) for name, rights in DEFAULT_POLICIES]


def _body(hub: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """A hub with keys in two places, and with what no SDK knows."""
    storage = f"DefaultEndpointsProtocol=https;AccountName=uploads;AccountKey={derived_key(f'{hub}/storage')}"
    queue = (
        f"Endpoint=sb://q.servicebus.windows.net:5671/;SharedAccessKeyName=send;SharedAccessKey={derived_key(hub)}"
    )
    events = [{"id": "e1", "name": "e", "connectionString": f"{queue};EntityPath=e", "resourceGroup": "Plant"}]
    empty: dict[str, Any] = {"serviceBusQueues": [], "serviceBusTopics": [], "storageContainers": []}
    fallback = {"name": "$fallback", "source": "DeviceMessages", "condition": "true", "endpointNames": ["events"]}
    return {
        "id": hub,
        "tags": {"team": "flow"},
        "somethingNew": {"nobody": ["knows", {"it": None}, 9007199254740993]},
        "properties": {
            "storageEndpoints": {
                "$default": {"sasTtlAsIso8601": "PT1H", "connectionString": storage, "containerName": "c"}
            },
            "routing": {
                "endpoints": {**empty, "eventHubs": events},
                "routes": [],
                "fallbackRoute": {**fallback, "isEnabled": True},
            },
            "unheardOf": {"deep": {"1": 1.0}},
            **properties,
        },
    }


# --- what is looked at


def everything(sim: AzureSimulator) -> dict[str, Any]:
    """All that there is, keys in clear. What Azure keeps in lists without an order is by name here."""
    hubs = {id_.lower(): sim.hub(id_) for id_ in sim.hub_ids()}
    return {
        "hubs": {id_: {**hub, "policies": _by(hub["policies"], "keyName")} for id_, hub in hubs.items()},
        "settings": {id_: _by(sim.diagnostic_settings(id_), "name") for id_ in hubs},
        "solutions": {body["id"].lower(): _solution(body) for body in sim.security_solutions()},
        "destinations": _by(sim.destinations(), "id"),
    }


def _by(items: list[Any], name: str) -> dict[str, Any]:
    assert len({item[name].lower() for item in items}) == len(items)
    return {item[name].lower(): item for item in items}


def _solution(body: dict[str, Any]) -> dict[str, Any]:
    properties = body["properties"]
    return {
        **body,
        "properties": {
            **properties,
            "iotHubs": {id_.lower(): id_ for id_ in properties["iotHubs"]},
            "recommendationsConfiguration": _by(properties["recommendationsConfiguration"], "recommendationType"),
        },
    }


def differing(before: Any, after: Any, path: Path = ()) -> Iterator[Path]:
    """Each path below which the two are not the same, as deep as objects go."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before.keys() | after.keys():
            if name not in before or name not in after:
                yield (*path, name)
            else:
                yield from differing(before[name], after[name], (*path, name))
    elif json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True):
        yield path


def under(path: Path, *roots: Path) -> bool:
    """Whether the path lies at or below one of these."""
    return any(path[: len(root)] == root for root in roots)


def without_azures(paths: Iterable[Path]) -> set[Path]:
    """The paths but for what Azure itself sets at a write."""
    return {path for path in paths if not any(name in path[2:4] for name in _AZURES)}


def declared(remediator: Remediator) -> tuple[Path, ...]:
    """Where a remediator says that it may touch something, as paths into ``everything``."""
    roots = {
        Target.HUB: ("hubs", HUB.path, "body"),
        Target.POLICIES: ("hubs", HUB.path, "policies"),
        Target.DIAGNOSTICS: ("settings", HUB.path),
        Target.DEFENDER: ("solutions",),
    }
    own = [(*roots[Target.HUB], *path) for path in remediator.paths]
    return (*own, *((*roots[target], *path) for target, path in remediator.beyond))


# --- who acts


class Meddled(ArmHubs):
    """The real adapter, but for what somebody does right before its first write."""

    meddle: Callable[[], Awaitable[None]] | None = None

    async def _meddle(self) -> None:
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            await meddle()

    async def put_hub(self, *args: Any, **kwargs: Any) -> Receipt:
        await self._meddle()
        return await super().put_hub(*args, **kwargs)

    async def put_diagnostic_setting(self, *args: Any, **kwargs: Any) -> Receipt:
        await self._meddle()
        return await super().put_diagnostic_setting(*args, **kwargs)

    async def put_security_solution(self, *args: Any, **kwargs: Any) -> Receipt:
        await self._meddle()
        return await super().put_security_solution(*args, **kwargs)


@functools.cache
def _policy(text: str) -> Policy:
    made, problems = check_policy(text, detectors.RULES, today=START.date())
    assert made is not None, problems
    return made


class Warden(World):
    """The use cases on the real adapter. What else they need is in memory, and the clock is turned by hand."""

    def __init__(self, sim: AzureSimulator, hubs: Callable[[Warden], Meddled], rules: Mapping[str, Any]) -> None:
        super().__init__(rules=detectors.RULES)
        self.sim = sim
        self.hubs = hubs(self)
        off = {rule.id: {"mode": "off"} for rule in detectors.RULES}
        text = {"version": 1, "subscriptions": [SUBSCRIPTION], "rules": {**off, **rules}}
        self.policy = _policy(json.dumps({**text, "accept_risk": [*REMEDIATORS]}))

    async def handle(self, message: Any) -> Any:
        """Azure is done with a write by the time at which it is looked for again."""
        if isinstance(message, VerifyMessage) and message.attempt:
            self.sim.finish_transitions()
        return await super().handle(message)

    async def look(self) -> Any:
        """Look at the hub, and nothing else."""
        return await self.handle(ask(HUB, at=self.clock.now()))

    async def settle(self) -> None:
        """See the drifts, and do what policy says until nothing is left to do."""
        await self.sweep()
        await self.run()
        assert self.errors == []
        assert self.work.poison == []

    def waiting(self, rule_id: str) -> list[Any]:
        """The rule's findings that wait for an approval."""
        return [f for f in self.findings.all if f.rule_id == rule_id and f.state is State.AWAITING_APPROVAL]

    async def approve(self, rule_id: str) -> None:
        """A person's yes to all that is asked about this rule."""
        assert self.waiting(rule_id)
        for finding in self.waiting(rule_id):
            robin = Approver("Robin", Via.COMMAND_LINE)
            await approve(self.ports, finding.id, plan=finding.proposal.digest, by=robin, reason="it is planned")

    def states(self) -> set[State]:
        """Where the findings stand."""
        return {finding.state for finding in self.findings.all}


class Person:
    """Somebody who uses ARM without any care for us."""

    def __init__(self, sim: AzureSimulator, session: aiohttp.ClientSession) -> None:
        self.sim, self.session = sim, session

    async def __call__(self, method: str, path: str, version: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.sim.issue_token(PERSON)}"}
        url = f"{self.sim.url}{path}?api-version={version}"
        async with self.session.request(method, url, json=body, headers=headers) as answer:
            return await answer.json() if answer.status < 300 else None

    async def change_hub(self, **policies: str) -> None:
        """Change a tag and a property, and add these policies; it is done at once."""
        body = await self("GET", HUB_PATH, "2023-06-30")
        body["tags"]["shift"] = "night"
        body["properties"]["enableFileUploadNotifications"] = True
        if body["properties"].get("minTlsVersion") == "":
            del body["properties"]["minTlsVersion"]  # nobody can write that
        if policies:
            kept = (await self("POST", f"{HUB_PATH}/listkeys", "2023-06-30"))["value"]
            body["properties"]["authorizationPolicies"] = [*kept, *(policy(*item) for item in policies.items())]
        assert await self("PUT", HUB_PATH, "2023-06-30", body)
        self.sim.finish_transitions()

    async def take_a_category(self) -> None:
        """Send one category to where we are about to send everything: Azure refuses a second time (409)."""
        path = f"{HUB_PATH}/providers/microsoft.insights/diagnosticSettings/somebody"
        logs = [{"category": "Routes", "enabled": True}]
        assert await self("PUT", path, "2021-05-01-preview", {"properties": {"workspaceId": LOGS, "logs": logs}})

    async def change_solution(self) -> None:
        """Rename the solution and put a further hub into it, or make it where there is none."""
        new = {"location": "westeurope", "properties": {"iotHubs": [NEIGHBOUR], "workspace": LOGS}}
        body = await self("GET", SOLUTION, "2019-08-01") or new
        body["properties"] |= {"displayName": "Renamed", "iotHubs": [*body["properties"]["iotHubs"], STRANGER]}
        assert await self("PUT", SOLUTION, "2019-08-01", body)


@contextlib.asynccontextmanager
async def azure(*drifts: Callable[[Site], None]) -> AsyncIterator[AzureSimulator]:
    """A simulator with the hub and all around it, after these drifts."""
    site = Site()
    for drift in drifts:
        drift(site)
    plenty = {"reads": (250.0, 1e6), "writes": (200.0, 1e6), "deletes": (200.0, 1e6)}
    async with AzureSimulator(SimulatorConfig(transition_seconds=None, **plenty)) as sim:
        sim.add_principal(WARDEN, SECRET, name="warden")
        sim.add_principal(PERSON, SECRET, name="Eve", upn="eve@example.com")
        site.build(sim)
        yield sim


@contextlib.asynccontextmanager
async def warden(sim: AzureSimulator, rules: Mapping[str, Any]) -> AsyncIterator[Warden]:
    """A warden that remembers nothing, with these sections in its policy file; what they do not name is off."""
    credential = ClientSecretCredential(
        TENANT, WARDEN, SECRET, authority=sim.authority, disable_instance_discovery=True,
        connection_verify=sim.ca_file, retry_total=0,
    )  # fmt: skip
    transport = AioHttpTransport(use_env_settings=False, connection_verify=sim.ca_file)
    cloud = Cloud(sim.url, sim.audience, sim.authority, custom=True, data_plane=sim.data_plane)
    async with credential:
        made = Warden(
            sim,
            lambda w: Meddled(cloud, credential, transport, lambda: w.clock.now().timestamp(), w.clock.now),
            rules,
        )
        try:
            yield made
        finally:
            await made.hubs.close()


@contextlib.asynccontextmanager
async def person(sim: AzureSimulator) -> AsyncIterator[Person]:
    """Somebody else."""
    context = ssl.create_default_context(cafile=sim.ca_file)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield Person(sim, session)


def writes(sim: AzureSimulator) -> list[str]:
    """What the warden has asked Azure to change, as "method tail status"."""
    return [
        f"{entry['method']} {entry['path'].rpartition('/')[2].lower()} {entry['status']}"
        for entry in sim.requests()
        if entry["method"] != "GET" and entry["client_id"] == WARDEN and not entry["path"].endswith("/listkeys")
    ]


# --- the scenes


@dataclass(frozen=True)
class Scene:
    """A way to drift, and where alone the hub, its settings or solutions may differ once it is put right."""

    drift: Callable[[Site], None]
    touches: tuple[Path, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Proof:
    """What one rule's remediator is proven on. The first scene is the one that is combined with other rules'."""

    settings: Mapping[str, Any]
    scenes: Mapping[str, Scene]
    meddle: Callable[[Person], Awaitable[None]]
    """What somebody does in between, so that a plan which was made before no longer fits."""

    def section(self, scene: Scene, mode: str = "auto") -> dict[str, Any]:
        """What the policy file says of the rule."""
        return {"mode": mode, "settings": {**self.settings, **scene.settings}}

    @property
    def first(self) -> Scene:
        """The scene that is combined with other rules'."""
        return next(iter(self.scenes.values()))


TLS: Path = ("hubs", HUB.path, "body", "properties", "minTlsVersion")
POLICIES: Path = ("hubs", HUB.path, "policies")
OURS: Path = ("settings", HUB.path, "hubwarden")
OF_SOLUTION: Path = ("solutions", SOLUTION.lower(), "properties")


def _tls(**properties: Any) -> Scene:
    def drift(site: Site) -> None:
        del site.properties["minTlsVersion"]
        site.properties.update(properties)

    return Scene(drift, (TLS,))


def _logs(*gone: str, **settings: Any) -> Scene:
    """Settings are gone, others are there."""

    def drift(site: Site) -> None:
        for name in gone:
            del site.settings[name]
        site.settings |= {name.replace("_", "-"): properties for name, properties in settings.items()}

    return Scene(drift, (OURS,))


def _rights(*touches: Path, settings: Mapping[str, Any] | None = None, **policies: str) -> Scene:
    def drift(site: Site) -> None:
        site.policies |= policies

    return Scene(drift, tuple((*POLICIES, *path) for path in touches), settings or {})


def _solved(*touches: Path, **properties: Any) -> Scene:
    def drift(site: Site) -> None:
        site.solutions[SOLUTION] |= properties

    return Scene(drift, tuple((*OF_SOLUTION, *path) for path in touches))


def _no_solution(site: Site) -> None:
    del site.solutions[SOLUTION]


_OFF_LOGS = [{"categoryGroup": "allLogs", "enabled": False}]
_ONLY_CONNECTIONS = [{"category": "Connections", "enabled": True}, {"category": "Routes", "enabled": False}]
_OFF = recommended(IoT_SharedCredentials="Disabled")
_RECOMMENDATION: Path = ("recommendationsConfiguration", "iot_sharedcredentials", "status")

PROOFS: Mapping[str, Proof] = {
    "tls-minimum": Proof(
        settings={},
        scenes={
            "lowered": _tls(minTlsVersion="1.0"),
            "never set": _tls(),
            "empty": _tls(minTlsVersion=""),
        },
        meddle=lambda somebody: somebody.change_hub(),
    ),
    "diagnostics": Proof(
        settings={"destination": LOGS},
        scenes={
            "wrong destination": _logs("to-logs"),
            "nothing set": _logs("to-logs", "archive"),
            "category missing": _logs(to_logs={"workspaceId": LOGS, "logs": _ONLY_CONNECTIONS}),
            "disabled": _logs(to_logs={"workspaceId": LOGS, "logs": _OFF_LOGS}),
            "destination gone": _logs(to_logs={"workspaceId": LOST, "logs": ALL_LOGS}),
            "ours changed": _logs("to-logs", hubwarden={"workspaceId": LOGS, "logs": _ONLY_CONNECTIONS}),
            "beside Azure Policy": _logs("to-logs", setByPolicy_x={"workspaceId": LOGS, "logs": AUDIT}),
        },
        meddle=lambda somebody: somebody.take_a_category(),
    ),
    "sas-policies": Proof(
        settings={
            "allowed": {
                "backend": ["RegistryRead", "ServiceConnect"],
                "telemetry": ["ServiceConnect"],
                "newcomer": ["DeviceConnect"],
            }
        },
        scenes={
            "unlisted and broad": _rights(("contractor",), contractor=OWNER),
            "default widened": _rights(("service", "rights"), service="RegistryWrite, ServiceConnect"),
            "allowed widened": _rights(
                ("backend", "rights"), backend="RegistryRead, ServiceConnect, DeviceConnect"
            ),
            "two at once": _rights(
                ("contractor",), ("device", "rights"), contractor=OWNER, device="ServiceConnect, DeviceConnect"
            ),
            "new keys for one": _rights(
                ("service", "rights"), ("service", "primaryKey"), ("service", "secondaryKey"),
                settings={"offending": "rotate"}, service="RegistryWrite, ServiceConnect",
            ),
        },
        meddle=lambda somebody: somebody.change_hub(newcomer="DeviceConnect"),
    ),
    "defender-hub": Proof(
        settings={"solution": SOLUTION, "workspace": LOGS, "location": "westeurope"},
        scenes={
            "not onboarded": _solved(("iotHubs", HUB.path), iotHubs=[NEIGHBOUR]),
            "disabled": _solved(("status",), status="Disabled"),
            "no workspace": _solved(("workspace",), workspace=None),
            "recommendation off": _solved(
                _RECOMMENDATION, recommendationsConfiguration=_OFF
            ),
            "everything at once": _solved(
                ("iotHubs", HUB.path), ("status",), ("workspace",),
                _RECOMMENDATION,
                iotHubs=[NEIGHBOUR], status="Disabled", workspace=None, recommendationsConfiguration=_OFF,
            ),
            "no solution": Scene(_no_solution, (OF_SOLUTION[:2],)),
        },
        meddle=lambda somebody: somebody.change_solution(),
    ),
}  # fmt: skip

SCENES = [(rule_id, name) for rule_id, proof in PROOFS.items() for name in proof.scenes]


def sections(scenes: Mapping[str, Scene], modes: Mapping[str, str] | str = "auto") -> dict[str, Any]:
    """A policy file's sections for all rules with a fix: as in these scenes, or as in a rule's first one."""
    return {
        rule_id: proof.section(
            scenes.get(rule_id, proof.first), modes if isinstance(modes, str) else modes[rule_id]
        )
        for rule_id, proof in PROOFS.items()
    }
