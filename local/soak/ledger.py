"""What was written to the hubs, replayed from what Azure was asked: by whom, and whether it was needed."""

from __future__ import annotations

import copy
import json
import re

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final


_HUB: Final = re.compile(r"/providers/microsoft\.devices/iothubs/([^/]+)$", re.IGNORECASE)
_SETTING: Final = re.compile(
    r"/providers/microsoft\.devices/iothubs/([^/]+)/providers/microsoft\.insights/diagnosticsettings/([^/]+)$",
    re.IGNORECASE,
)
_WRITES: Final = frozenset({"PUT", "PATCH", "DELETE"})


@dataclass
class HubState:
    """What of a hub matters here, as it is after a write."""

    tls: str | None
    policies: dict[str, str]
    settings: set[str]
    tags: dict[str, str] = field(default_factory=dict)

    def drifts(self) -> frozenset[str]:
        """The rules that it breaks."""
        broken = {
            "tls-minimum": self.tls not in {"1.2", "1.3"},
            "diagnostics": not self.settings,
            "sas-policies": "rogue" in self.policies,
        }
        return frozenset(rule for rule, is_broken in broken.items() if is_broken)


@dataclass(frozen=True)
class Write:
    """One write that took effect: the hub before and after it."""

    number: int
    at: datetime
    by: str
    hub: str
    before: HubState
    after: HubState

    @property
    def repaired(self) -> frozenset[str]:
        """The rules that hold since."""
        return self.before.drifts() - self.after.drifts()


def hub_writes(requests: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Every request that was to change a hub or what belongs to it, whatever became of it."""
    return [request for request in requests if request["method"] in _WRITES and hub_of(request["path"])]


def hub_of(path: str) -> str | None:
    """The name of the hub that a write on this path is about."""
    found = _HUB.search(path) or _SETTING.search(path)
    return found[1].lower() if found else None


def replay(requests: Sequence[Mapping[str, Any]], start: Mapping[str, HubState]) -> Iterator[Write]:
    """The writes that took effect, in order, from the hubs as they were at the start."""
    states = dict(start)
    for request in hub_writes(requests):
        hub = hub_of(request["path"])
        if hub is None or request["taken"] is None or not 200 <= request["taken"] < 300:  # noqa: PLR2004
            continue
        before = states[hub]
        states[hub] = _after(before, request)
        at = datetime.fromisoformat(request["time"])
        yield Write(request["number"], at, request["principal"], hub, before, states[hub])


def _after(before: HubState, request: Mapping[str, Any]) -> HubState:
    after = copy.deepcopy(before)
    setting = _SETTING.search(request["path"])
    if setting:
        (after.settings.discard if request["method"] == "DELETE" else after.settings.add)(setting[2].lower())
        return after
    body = request["body"] if isinstance(request["body"], dict) else json.loads(request["body"])
    properties = body.get("properties", {})
    after.tls = properties.get("minTlsVersion")
    after.tags = {name: str(value) for name, value in (body.get("tags") or {}).items()}
    if "authorizationPolicies" in properties:
        after.policies = {policy["keyName"]: policy["rights"] for policy in properties["authorizationPolicies"]}
    return after
