"""tls-minimum: the hub must not accept a TLS version below the minimum."""

from __future__ import annotations

import re

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints

from detectors._sight import unseen
from hubwarden.domain.jsons import ABSENT, get_at
from hubwarden.domain.permissions import Permissions
from hubwarden.domain.rule import ManualFix, Rule, RuleSettings
from hubwarden.domain.severity import Severity
from hubwarden.domain.snapshot import Facet, Snapshot
from hubwarden.domain.verdict import Compliant, Drift, Unknown, Verdict


PATH: Final = ("properties", "minTlsVersion")


_LOWEST: Final = (1, 2)


def version_of(text: Any) -> tuple[int, ...] | None:
    """``"1.2"`` as (1, 2), so that 1.10 is above 1.9; None for anything that is no dotted number."""
    if not isinstance(text, str) or re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}", text) is None:
        return None
    parts = [int(part) for part in text.split(".")]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _version(text: str) -> str:
    version = version_of(text)
    if version is None:
        raise ValueError(f"not a version such as 1.2: {text!r}")
    if version < _LOWEST:
        raise ValueError(f"{text} is too low: a fix would weaken hubs; allowed is 1.2 or higher")
    return text


class Settings(RuleSettings):
    """Settings of tls-minimum."""

    minimum: Annotated[str, AfterValidator(_version)] = Field(
        "1.2", description="Lowest TLS version that a hub may accept. Quote it."
    )
    absent: Literal["drift", "compliant"] = Field(
        "drift", description="What a hub is on which no minimum was ever set."
    )
    unenforced_regions: list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]] = Field(
        default_factory=list,
        description="Regions in which Azure does not enforce the setting; case and spaces do not count.",
    )


def detect(snapshot: Snapshot, settings: Settings) -> Iterator[Verdict]:
    """Compare the hub's minTlsVersion with the minimum, as numbers; a value that is no number is drift.

    A drift in a region where the setting has no effect is unknown: nothing that can be set would end it.
    """
    blind = unseen(snapshot)
    if blind:
        yield blind
        return
    body = snapshot.read(Facet.HUB)
    if not isinstance(get_at(body, PATH[:-1]), Mapping):
        yield Unknown("Azure's answer does not hold the hub's properties")
        return
    verdict, region = _judge(get_at(body, PATH), _was(snapshot), settings), unenforced_region(body, settings)
    if region is not None and isinstance(verdict, Drift):
        yield Unknown(f"{verdict.summary}, but TLS enforcement has no effect in region {region}")
        return
    yield verdict


def unenforced_region(body: Mapping[str, Any], settings: Settings) -> str | None:
    """The hub's region, where the settings say that minTlsVersion has no effect there.

    ARM writes a region as ``westus2`` or ``West US 2``: case and spaces do not count.
    """
    region = get_at(body, ("location",))
    if not isinstance(region, str):
        return None
    return region if _plain(region) in map(_plain, settings.unenforced_regions) else None


def _plain(region: str) -> str:
    return "".join(region.split()).casefold()


def _was(snapshot: Snapshot) -> str | None:
    """The minimum at which the rule last held, if it ever did, else the one that was there at the last look."""
    looks = (snapshot.last_good, snapshot.last_seen)
    found = (look.get("tls-minimum", {}).get("minTlsVersion") for look in looks)
    return next((was for was in found if isinstance(was, str)), None)


def _judge(found: Any, was: str | None, settings: Settings) -> Verdict:
    if found is ABSENT or found is None:
        if was is not None:
            return _lowered(None, was, settings)
        return Compliant({"minTlsVersion": None}) if settings.absent == "compliant" else _never_set(settings)
    version, minimum = version_of(found), version_of(settings.minimum)
    assert minimum is not None
    if version is not None and version >= minimum:
        return Compliant({"minTlsVersion": found})
    if was is not None and was != found:
        return _lowered(found, was, settings)
    return Drift(
        f"the minimum TLS version is {found!r}; it must be {settings.minimum} or higher",
        evidence={"minTlsVersion": found},
    )


def _never_set(settings: Settings) -> Drift:
    """Nobody did anything: three quarters of real hubs are like this (RECORDINGS §2.6)."""
    return Drift(
        f"no minimum TLS version was ever set; it must be {settings.minimum} or higher",
        evidence={"minTlsVersion": None},
        severity=Severity.MEDIUM,
    )


def _lowered(found: Any, was: str, settings: Settings) -> Drift:
    """Somebody took it down: that is worse than a hub that was never set up."""
    now = "removed" if found is None else f"changed to {found!r}"
    return Drift(
        f"the minimum TLS version was {was!r} and has been {now}; it must be {settings.minimum} or higher",
        evidence={"minTlsVersion": found, "was": was},
        severity=Severity.HIGH,
    )


RULE: Final = Rule(
    id="tls-minimum",
    title="Hubs accept no TLS version below the minimum",
    severity=Severity.HIGH,
    risk="Devices and services may talk to the hub over TLS versions with known attacks.",
    recommendation="Secure device communication: use TLS 1.2 for connections to IoT Hub",
    reads=(Facet.HUB,),
    permissions=Permissions(actions=("Microsoft.Devices/IotHubs/read",)),
    settings=Settings,
    detect=detect,
    benchmarks=("MCSB DP-3", "PSRule Azure.IoTHub.MinTLS", "AzTS Azure_IoTHub_DP_Use_Secure_TLS_Version"),
    reference="https://learn.microsoft.com/azure/iot-hub/iot-hub-tls-support",
    manual_fix=ManualFix(
        cli=(
            "az iot hub update --subscription {subscription} -g {resource_group} -n {name} "
            "--min-tls-version {minimum}"
        ),
        bicep=(
            "resource hub 'Microsoft.Devices/IotHubs@2023-06-30' = "
            "{ … properties: { minTlsVersion: '{minimum}' } }"
        ),
        portal="IoT Hub > Overview > JSON View shows it; the portal cannot set it, use the command line.",
    ),
)
