"""The name of a hub: its ARM resource id, compared without case and stored in lower case."""

from __future__ import annotations

import re

from dataclasses import dataclass
from functools import lru_cache
from typing import Final


# ARM writes one id in many casings, and IoT Hub's own events shout it (AZURE.md §0.7). Names: Azure naming rules.
# ASCII but for the resource group: else IGNORECASE lets the Kelvin sign pass for a "k".
_HUB: Final = re.compile(
    r"/subscriptions/(?P<subscription>[0-9a-z-]{1,64})"
    r"/resourcegroups/(?P<resource_group>(?u:[\w.()-]{1,90}))"
    r"/providers/microsoft\.devices/iothubs/(?P<name>[0-9a-z-]{1,100})"
    r"(?P<rest>/[^\x00-\x1f\x7f]*)?",
    re.ASCII | re.IGNORECASE,
)


class NotAHubError(ValueError):
    """The text names no IoT Hub, nor anything that belongs to one."""


@dataclass(frozen=True, order=True, slots=True)
class HubId:
    """One hub. All parts are lower case, so equal hubs are equal values."""

    subscription: str
    resource_group: str
    name: str

    def __post_init__(self) -> None:
        for field in ("subscription", "resource_group", "name"):
            object.__setattr__(self, field, _lower(getattr(self, field)))

    @staticmethod
    def parse(resource_id: str) -> HubId:
        """Find the hub in its own id, a child's id or an extension resource's id, in any casing.

        Raises:
            NotAHubError: the id is of another resource type, malformed, or no id at all.
        """
        return _parsed(resource_id)

    @property
    def path(self) -> str:
        """The ARM resource id in lower case, with its leading slash."""
        return (
            f"/subscriptions/{self.subscription}/resourcegroups/{self.resource_group}"
            f"/providers/microsoft.devices/iothubs/{self.name}"
        )

    def __str__(self) -> str:
        return self.path


@lru_cache(maxsize=10_000)
def _parsed(resource_id: str) -> HubId:
    """Hundreds of hubs of one subscription are each held against one list of them."""
    match = _HUB.fullmatch(resource_id)
    if match is None or match["resource_group"].endswith(".") or _climbs(match["rest"] or ""):
        shown = resource_id if len(resource_id) <= 200 else f"{resource_id[:200]}…"  # noqa: PLR2004
        raise NotAHubError(f"not an IoT Hub or a part of one: {shown!r}")
    return HubId(match["subscription"], match["resource_group"], match["name"])


def _lower(text: str) -> str:
    """Letter by letter as Azure compares: no letter becomes two, none turns into an ASCII one."""
    if text.isascii():
        return text.lower()
    return "".join(low if len(low := c.lower()) == 1 and low.isascii() == c.isascii() else c for c in text)


def _climbs(rest: str) -> bool:
    return not {".", ".."}.isdisjoint(rest.split("/"))
