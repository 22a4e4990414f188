"""IoT security solutions, understood: what both rules about Defender ask before they judge."""

from __future__ import annotations

import re

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from detectors._sight import ShapeError
from hubwarden.domain.hub_id import HubId, NotAHubError
from hubwarden.domain.jsons import JsonObject


_GROUP: Final = r"/subscriptions/[^/\s]+/resourceGroups/[^/\s]+/providers/"
SOLUTION: Final = re.compile(rf"{_GROUP}Microsoft\.Security/iotSecuritySolutions/[^/\s]+", re.IGNORECASE)
WORKSPACE: Final = re.compile(rf"{_GROUP}Microsoft\.OperationalInsights/workspaces/[^/\s]+", re.IGNORECASE)

STANDARD: Final = frozenset({
    "IoT_ACRAuthentication",
    "IoT_AgentSendsUnutilizedMessages",
    "IoT_AuditdNotReceived",
    "IoT_Baseline",
    "IoT_EOL_OSversion",
    "IoT_EdgeHubMemOptimize",
    "IoT_EdgeLoggingOptions",
    "IoT_IPFilter_DenyAll",
    "IoT_IPFilter_PermissiveRule",
    "IoT_InconsistentModuleSettings",
    "IoT_InstallAgent",
    "IoT_OpenPorts",
    "IoT_PermissiveFirewallPolicy",
    "IoT_PermissiveInputFirewallRules",
    "IoT_PermissiveOutputFirewallRules",
    "IoT_PrivilegedDockerOptions",
    "IoT_RecommendedIpRulesByBaseLine",
    "IoT_SharedCredentials",
    "IoT_VulnerableTLSCipherSuite",
})  # fmt: skip
"""The types of recommendations that Azure gives every solution, switched on (RECORDINGS §7)."""
_STANDARD: Final = frozenset(kind.lower() for kind in STANDARD)


@dataclass(frozen=True, slots=True)
class Solution:
    """One IoT security solution, and the hubs that it is for. ``id`` is as Azure spells it.

    ``recommendations`` maps their types, in lower case, to whether they are on.
    """

    id: str
    hubs: frozenset[HubId]
    status: str
    workspace: str | None
    recommendations: Mapping[str, bool]
    body: JsonObject

    @property
    def key(self) -> str:
        """The id as it compares: ARM's casing differs from answer to answer (AZURE §0.7)."""
        return self.id.lower()

    @property
    def enabled(self) -> bool:
        """Whether it is switched on; anything but Enabled is off."""
        return self.status.lower() == "enabled"

    def off(self, types: Collection[str]) -> list[str]:
        """Which of these types of recommendations are switched off. One that is not listed is not."""
        return sorted(kind for kind in types if not self.recommendations.get(kind.lower(), True))

    def strange(self, types: Collection[str]) -> list[str]:
        """Which of these types it does not list, though Azure does not give them to every solution either."""
        return [kind for kind in strange(types) if kind.lower() not in self.recommendations]


def strange(types: Collection[str]) -> list[str]:
    """Which of these types of recommendations a new solution does not have for certain."""
    return sorted(kind for kind in types if kind.lower() not in _STANDARD)


def solutions_of(data: Any) -> tuple[Solution, ...]:
    """Understand Facet.DEFENDER, in the order of the ids.

    Raises:
        ShapeError: something in it that matters is not of the kind that it must be.
    """
    listed = _list(_mapping(data, "the answer").get("solutions"), "solutions")
    solutions = sorted(map(_solution, listed), key=lambda solution: solution.key)
    if len({solution.key for solution in solutions}) < len(solutions):
        raise ShapeError("Azure's answer holds an IoT security solution twice")
    return tuple(solutions)


def _solution(item: Any) -> Solution:
    body = _mapping(item, "a solution")
    id_ = _text(body, "id", "a solution's id")
    if SOLUTION.fullmatch(id_) is None:
        raise _odd("a solution's id", "the resource id of one")
    properties = _mapping(body.get("properties"), "a solution's properties")
    hubs = (_hub(text) for text in _list(properties.get("iotHubs") or [], "iotHubs"))
    return Solution(
        id=id_,
        hubs=frozenset(hub for hub in hubs if hub is not None),
        status=_text(properties, "status", "a solution's status"),
        workspace=_workspace(properties),
        recommendations=_recommendations(properties),
        body=dict(body),
    )


def _hub(text: Any) -> HubId | None:
    """The hub that an entry names; None for one that names something else."""
    if not isinstance(text, str):
        raise _odd("an entry of iotHubs", "a resource id")
    try:
        hub = HubId.parse(text.rstrip("/"))
    except NotAHubError:
        return None
    return hub if text.rstrip("/").count("/") == hub.path.count("/") else None


def _workspace(properties: Mapping[str, Any]) -> str | None:
    if properties.get("workspace") in (None, ""):
        return None
    workspace = _text(properties, "workspace", "a solution's workspace")
    if WORKSPACE.fullmatch(workspace) is None:
        raise _odd("a solution's workspace", "the resource id of one")
    return workspace


def _recommendations(properties: Mapping[str, Any]) -> dict[str, bool]:
    """A type that is listed twice is on where both are."""
    found: dict[str, bool] = {}
    for item in _list(properties.get("recommendationsConfiguration") or [], "recommendationsConfiguration"):
        entry = _mapping(item, "a recommendation")
        kind = _text(entry, "recommendationType", "a recommendation's type").lower()
        status = _text(entry, "status", "a recommendation's status").lower()
        found[kind] = found.get(kind, True) and status == "enabled"
    return found


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _odd(what, "an object")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise _odd(what, "a list")
    return value


def _text(body: Mapping[str, Any], member: str, what: str) -> str:
    value = body.get(member)
    if not isinstance(value, str) or not value:
        raise _odd(what, "a text")
    return value


def _odd(what: str, should: str) -> ShapeError:
    return ShapeError(f"Azure's answer about IoT security solutions is not understood: {what} should be {should}")
