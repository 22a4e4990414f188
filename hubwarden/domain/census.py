"""Counting a hub's devices by their Defender coverage, page by page and without holding a twin. Pure."""

from __future__ import annotations

import json

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from hubwarden.domain.jsons import Json, JsonObject
from hubwarden.domain.rule import RuleSettings


SHOWN: Final = 20
"""How many devices are named in the facet; the list in the blob names all."""

# The characters that IoT Hub takes in module ids (AZURE §4), without the quote: a name stands in a query.
type ModuleId = Annotated[str, Field(pattern=r"^[A-Za-z0-9:.+%_#*?!(),=@;$-]{1,128}$")]


class Coverage(StrEnum):
    """What is said of one device of an onboarded hub."""

    COVERED = "covered"
    """A security module is connected, or was active not long ago."""
    SILENT = "silent"
    """A security module is registered, and nothing was heard of it for too long."""
    UNREGISTERED = "unregistered"
    """The device has no security module."""


class CensusSettings(RuleSettings):
    """What counts as coverage, and how often devices are counted."""

    security_modules: list[ModuleId] = Field(
        default_factory=lambda: ["DefenderIotMicroAgent", "azureiotsecurity"],
        min_length=1,
        max_length=20,
        description="Names of the modules, any one of which covers a device. Other vendors' agents belong here.",
    )
    silent_after_hours: int = Field(
        72,
        ge=1,
        le=8760,
        description="A security module that was not active for so long does not cover its device.",
    )
    count_every_hours: int = Field(
        24,
        ge=1,
        le=720,
        description="How often the devices of a hub are counted; events of new devices come on top.",
    )
    grace_minutes: int = Field(
        15, ge=5, le=1440, description="How long a new device has to register its security module."
    )

    @property
    def modules_query(self) -> str:
        """The query for the security modules."""
        names = ", ".join(f"'{name}'" for name in self.security_modules)
        shown = "deviceId, moduleId, connectionState, lastActivityTime"
        return f"SELECT {shown} FROM devices.modules WHERE moduleId IN [{names}]"  # noqa: S608 - ModuleId has no quote

    @property
    def devices_query(self) -> str:
        """The query for the devices."""
        return "SELECT deviceId, status, connectionState, lastActivityTime FROM devices"

    def active(self, module: Mapping[str, Any], now: datetime) -> bool:
        """Whether a row of ``modules_query`` shows a module that protects its device. ``now`` is UTC."""
        if module.get("connectionState") == "Connected":
            return True
        last = _moment(module.get("lastActivityTime"))
        return last is not None and now - last <= timedelta(hours=self.silent_after_hours)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many devices were seen so far of each coverage, and the first ones that are not covered."""

    counts: Mapping[Coverage, int] = field(default_factory=dict)
    first: Mapping[Coverage, tuple[str, ...]] = field(default_factory=dict)

    def plus(self, judged: Iterable[tuple[Coverage, str]]) -> Tally:
        """The tally with these devices added; each is a coverage and a device id."""
        counts, first = dict(self.counts), dict(self.first)
        for coverage, device in judged:
            counts[coverage] = counts.get(coverage, 0) + 1
            if coverage is not Coverage.COVERED and len(first.get(coverage, ())) < SHOWN:
                first[coverage] = (*first.get(coverage, ()), device)
        return Tally(counts, first)

    def facet(self, counted_at: datetime, list_: str | None) -> JsonObject:
        """Facet.DEVICES: ``{"counted_at", "total", "counts": {coverage: n}, "first": {coverage: [ids]}, "list"}``.

        ``list`` is the blob that names every device that is not covered, or null where there is none.
        """
        counts: dict[str, Json] = {coverage.value: self.counts.get(coverage, 0) for coverage in Coverage}
        first: dict[str, Json] = {coverage.value: [*ids] for coverage, ids in self.first.items()}
        return {
            "counted_at": counted_at.isoformat(),
            "total": sum(self.counts.values()),
            "counts": counts,
            "first": first,
            "list": list_,
        }


class RowError(ValueError):
    """A row of an answer is not what was asked for; nothing may be concluded from the others either."""


def module_states(rows: Iterable[Mapping[str, Any]], settings: CensusSettings, now: datetime) -> dict[str, bool]:
    """Device id → whether a security module of it is active, from rows of ``modules_query``.

    Raises:
        RowError: a row names no device, or says nothing of its module's activity.
    """
    states: dict[str, bool] = {}
    for row in rows:
        if _ACTIVITY.isdisjoint(row):
            raise RowError("a row about a module says neither whether it is connected nor when it was active")
        device = _device(row)
        states[device] = states.get(device, False) or settings.active(row, now)
    return states


def module_line(device: str, *, active: bool) -> str:
    """One entry of ``module_states`` as a line, so that it can be kept; see module_of."""
    return f"{int(active)}{json.dumps(device)}"


def module_of(line: str) -> tuple[str, bool]:
    """The device id and the activity that a line of ``module_line`` tells of."""
    return json.loads(line[1:]), line[0] == "1"


def judged(rows: Iterable[Mapping[str, Any]], states: Mapping[str, bool]) -> Iterator[tuple[Coverage, JsonObject]]:
    """The coverage of each device, from rows of ``devices_query``, and what the list says of it.

    Raises:
        RowError: a row names no device.
    """
    for row in rows:
        device = _device(row)
        active = states.get(device)
        coverage = Coverage.UNREGISTERED if active is None else Coverage.COVERED if active else Coverage.SILENT
        told = {name: row.get(name) for name in ("status", "connectionState", "lastActivityTime")}
        yield coverage, {"deviceId": device, "coverage": coverage.value, **told}


_ACTIVITY: Final = frozenset({"connectionState", "lastActivityTime"})


def _device(row: Mapping[str, Any]) -> str:
    device = row.get("deviceId")
    if not isinstance(device, str) or not device:
        raise RowError("a row of the answer names no device")
    return device


def _moment(text: Any) -> datetime | None:
    """A moment of the registry, which writes UTC with or without a Z; year 1 stands for never."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
