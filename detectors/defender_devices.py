"""defender-devices: every device of a hub must have a security module that is alive.

The devices were counted elsewhere, page by page (hubwarden/domain/census.py); this judges the count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from detectors._sight import ShapeError, unseen
from detectors._solutions import solutions_of
from hubwarden.domain.census import SHOWN, CensusSettings, Coverage
from hubwarden.domain.jsons import Json
from hubwarden.domain.permissions import Permissions
from hubwarden.domain.rule import ManualFix, Rule
from hubwarden.domain.severity import Severity
from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from hubwarden.domain.verdict import Compliant, Drift, Unknown, Verdict


_WORDS: Final = {Coverage.UNREGISTERED: "unregistered", Coverage.SILENT: "registered but silent"}
_OVERDUE: Final = timedelta(days=2)


class Settings(CensusSettings):
    """Settings of defender-devices."""


@dataclass(frozen=True, slots=True)
class Count:
    """Facet.DEVICES, understood. ``list_`` is the blob that names every device that is not covered."""

    counted_at: datetime
    counts: Mapping[Coverage, int]
    first: Mapping[Coverage, tuple[str, ...]]
    list_: str | None

    @property
    def total(self) -> int:
        """How many devices there are."""
        return sum(self.counts.values())

    @property
    def evidence(self) -> dict[str, Json]:
        """What was counted, for people."""
        counts: dict[str, Json] = {coverage.value: n for coverage, n in self.counts.items()}
        first: dict[str, Json] = {coverage.value: [*ids] for coverage, ids in self.first.items()}
        return {
            "devices": self.total,
            "counts": counts,
            "first": first,
            "list": self.list_,
            "counted_at": self.counted_at.isoformat(),
        }


def count_of(data: Any) -> Count:
    """Understand Facet.DEVICES.

    Raises:
        ShapeError: it is no count whose numbers agree with each other.
    """
    if not isinstance(data, Mapping):
        raise _odd("it is no object")
    counts = {coverage: _number(_member(data, "counts"), coverage) for coverage in Coverage}
    first = {coverage: _ids(_member(data, "first"), coverage, counts[coverage]) for coverage in _WORDS}
    count = Count(_moment(data.get("counted_at")), counts, first, _blob(data.get("list")))
    if len(_member(data, "counts")) != len(Coverage) or not _is(data.get("total"), count.total):
        raise _odd("its numbers do not add up")
    return count


def _member(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    member = data.get(name)
    if not isinstance(member, Mapping):
        raise _odd(f"{name} is no object")
    return member


def _number(counts: Mapping[str, Any], coverage: Coverage) -> int:
    number = counts.get(coverage.value)
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise _odd(f"{coverage} is no number of devices")
    return number


def _is(value: Any, number: int) -> bool:
    return type(value) is int and value == number


def _ids(first: Mapping[str, Any], coverage: Coverage, number: int) -> tuple[str, ...]:
    ids = first.get(coverage.value, [])
    if not isinstance(ids, list) or not all(isinstance(id_, str) for id_ in ids) or len(ids) > number:
        raise _odd(f"{coverage} is no list of so many device ids")
    return tuple(ids[:SHOWN])


def _blob(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _odd("list is no name of a blob")
    return value


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise _odd("counted_at is no moment") from None
    if moment.tzinfo is None:
        raise _odd("counted_at has no time zone")
    return moment


def _odd(why: str) -> ShapeError:
    return ShapeError(f"the count of the hub's devices is not understood: {why}")


def detect(snapshot: Snapshot, settings: Settings) -> Iterator[Verdict]:
    """Judge the last count; one verdict a hub. Devices of a hub that is not onboarded are not covered at all.

    A count that is long overdue proves nothing any more.
    """
    blind = unseen(snapshot, Facet.DEFENDER)
    if blind:
        yield blind
        return
    try:
        yield _judge(snapshot, settings)
    except ShapeError as error:
        yield Unknown(str(error))


def _judge(snapshot: Snapshot, settings: Settings) -> Verdict:
    solutions = solutions_of(snapshot.read(Facet.DEFENDER))
    data = snapshot.read(Facet.DEVICES)
    if not any(snapshot.hub in solution.hubs and solution.enabled for solution in solutions):
        return _not_onboarded(data)
    if isinstance(data, Unread):
        return Unknown(data.reason, data.missing_action)
    count = count_of(data)
    if count.counts[Coverage.COVERED] < count.total:
        return _not_covered(count)
    if snapshot.taken_at - count.counted_at > timedelta(hours=settings.count_every_hours) + _OVERDUE:
        return Unknown(f"the hub's devices were last counted on {count.counted_at:%Y-%m-%d}: that is too long ago")
    return Compliant(count.evidence)


def _not_onboarded(data: Any) -> Drift:
    try:
        count = None if isinstance(data, Unread) else count_of(data)
    except ShapeError:
        count = None
    known: dict[str, Json] = {"devices": None} if count is None else count.evidence
    devices = "how many devices it has is not known" if count is None else f"it has {_devices(count.total)}"
    return Drift(
        "hub not onboarded: it is in no enabled IoT security solution among those that hubwarden may read; "
        f"{devices}",
        evidence={"cause": "not-onboarded", **known},
    )


def _not_covered(count: Count) -> Drift:
    said = ", ".join(
        f"{count.counts[coverage]} {word}" for coverage, word in _WORDS.items() if count.counts[coverage]
    )
    return Drift(
        f"not every device has a security module that is alive; of {_devices(count.total)}: {said}",
        evidence={"cause": "not-covered", **count.evidence},
    )


def _devices(number: int) -> str:
    return "1 device" if number == 1 else f"{number} devices"


RULE: Final = Rule(
    id="defender-devices",
    title="Devices have a security module that is alive",
    severity=Severity.MEDIUM,
    risk="Nobody sees what happens on the devices themselves.",
    recommendation="Monitor devices for threats: a security agent on every device",
    reads=(Facet.HUB, Facet.DEFENDER, Facet.DEVICES),
    permissions=Permissions(
        actions=("Microsoft.Devices/IotHubs/read", "Microsoft.Security/iotSecuritySolutions/read"),
        data_actions=("Microsoft.Devices/IotHubs/twins/read",),
    ),
    settings=Settings,
    detect=detect,
    benchmarks=("MCSB LT-1",),
    reference="https://learn.microsoft.com/azure/defender-for-iot/device-builders/concept-security-module",
    manual_fix=ManualFix(
        cli=(
            "az iot hub query --subscription {subscription} -g {resource_group} --hub-name {name} "
            '--query-command "SELECT deviceId, moduleId, connectionState, lastActivityTime FROM devices.modules '
            'WHERE moduleId IN {security_modules}"'
        ),
        bicep="Devices are no resources in Bicep: put a security agent into their image or their next update.",
        portal=(
            "IoT Hub > Devices > the device > Module identities. A module identity alone protects nothing: an "
            "agent on the device must use it. Microsoft announced to retire its own on 1 August 2025; name the "
            "module of yours under security_modules, or switch the rule off."
        ),
    ),
)
