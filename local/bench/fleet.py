"""The hubs that are swept: all compliant, spread over subscriptions that are alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from detectors import RULES
from hubwarden.domain.snapshot import Facet
from local.scene import hub_body


CLIENT: Final = "aaaaaaaa-0000-4000-8000-00000000be7c"
_GROUP: Final = "plants"


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many subscriptions with so many hubs each."""

    subscriptions: int
    hubs_each: int

    @property
    def hubs(self) -> int:
        """All hubs."""
        return self.subscriptions * self.hubs_each

    @property
    def ids(self) -> list[str]:
        """The ids of the subscriptions."""
        return [f"5ab5c71e-0000-4000-8000-{number:012d}" for number in range(1, self.subscriptions + 1)]

    def seed(self) -> dict[str, list[dict[str, Any]]]:
        """What the simulator begins with.

        Each hub sends its logs to its subscription's workspace, is in its subscription's Defender solution, and
        has the shared access policies that every hub is made with.
        """
        hubs = {subscription: self._hubs(subscription) for subscription in self.ids}
        every = [hub for of_one in hubs.values() for hub in of_one]
        return {
            "principals": [{"client_id": CLIENT, "secret": "made-up", "name": "bench"}],
            "hubs": every,
            "destinations": [{"id": _workspace(subscription)} for subscription in self.ids],
            "diagnostic_settings": [_setting(hub) for hub in every],
            "security_solutions": [_solution(subscription, hubs[subscription]) for subscription in self.ids],
        }

    def policy(self) -> str:
        """The policy file: report what every rule of the control plane finds."""
        lines = ["version: 1", "subscriptions:", *(f"  - {subscription}" for subscription in self.ids), "rules:"]
        return "\n".join([*lines, *(f'  {rule.id}: {{mode: "{_mode(rule.reads)}"}}' for rule in RULES)])

    def _hubs(self, subscription: str) -> list[dict[str, Any]]:
        names = [f"hub-{number:04d}" for number in range(self.hubs_each)]
        return [{**hub_body(name), "id": _id(subscription, f"Microsoft.Devices/IotHubs/{name}")} for name in names]


def control_plane_rules() -> list[str]:
    """The ids of the rules that are measured: all but those that read the hubs' data planes."""
    return [rule.id for rule in RULES if _mode(rule.reads) != "off"]


def _mode(reads: tuple[Facet, ...]) -> str:
    return "off" if Facet.DEVICES in reads else "report"


def _id(subscription: str, resource: str) -> str:
    return f"/subscriptions/{subscription}/resourceGroups/{_GROUP}/providers/{resource}"


def _workspace(subscription: str) -> str:
    return _id(subscription, "Microsoft.OperationalInsights/workspaces/logs")


def _setting(hub: dict[str, Any]) -> dict[str, Any]:
    subscription = hub["id"].split("/")[2]
    logs = [{"categoryGroup": "allLogs", "enabled": True}]
    properties = {"workspaceId": _workspace(subscription), "logs": logs}
    return {"hub_id": hub["id"], "name": "to-logs", "properties": properties}


def _solution(subscription: str, hubs: list[dict[str, Any]]) -> dict[str, Any]:
    ids = [hub["id"] for hub in hubs]
    properties = {"status": "Enabled", "workspace": _workspace(subscription), "iotHubs": ids}
    return {"id": _id(subscription, "Microsoft.Security/iotSecuritySolutions/plants"), "properties": properties}
