"""tls-minimum: raise the hub's minTlsVersion to the minimum, and never lower it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from detectors.tls_minimum import PATH, RULE, Settings, unenforced_region, version_of
from hubwarden.domain.jsons import ABSENT, get_at
from hubwarden.domain.permissions import Permissions
from hubwarden.domain.plan import Change, PlanError
from hubwarden.domain.rule import Remediator, Safety
from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from hubwarden.domain.verdict import Drift


_UNSET: Final = (ABSENT, None, "")


def plan(_: Drift, snapshot: Snapshot, settings: Settings) -> Iterator[Change]:
    """One change: ``properties.minTlsVersion`` becomes the minimum.

    Raises:
        PlanError: the hub or its properties were not read, the setting has no effect in its region, or its value
            is already as high, or is one that we cannot compare: a fix never lowers.
    """
    body = snapshot.read(Facet.HUB)
    if isinstance(body, Unread):
        raise PlanError(f"{snapshot.hub} was not read: {body.reason}")
    if not isinstance(get_at(body, PATH[:-1]), Mapping):
        raise PlanError(f"{snapshot.hub}: Azure's answer does not hold the hub's properties")
    region = unenforced_region(body, settings)
    if region is not None:
        raise PlanError(f"{snapshot.hub} is in {region}, where TLS enforcement has no effect")
    found, minimum = get_at(body, PATH), version_of(settings.minimum)
    version = version_of(found)
    if version is None and found not in _UNSET:
        raise PlanError(f"{snapshot.hub} has minTlsVersion {found!r}, which cannot be compared")
    if minimum is None or (version is not None and version >= minimum):
        raise PlanError(f"{snapshot.hub} has minTlsVersion {found!r} already; {settings.minimum} is not higher")
    yield Change(PATH, found, settings.minimum, RULE.id)


def warn(_: Drift, __: Snapshot, settings: Settings) -> Iterator[str]:
    """Who may be cut off."""
    yield "Devices that offer only weak cipher suites may be cut off: a minimum of 1.2 also asks for strong ones."
    if version_of(settings.minimum) != (1, 2):
        yield f"Whoever cannot speak TLS {settings.minimum} or higher is cut off."


REMEDIATOR: Final = Remediator(
    rule_id=RULE.id,
    safety=Safety.AUTO,
    why=(
        "IoT Hub itself stopped accepting TLS 1.0 and 1.1 on 31 August 2025, so raising the minimum to 1.2 "
        "cuts off no client that could still connect; devices that offer only weak ciphers may be."
    ),
    permissions=Permissions(actions=("Microsoft.Devices/IotHubs/write",)),
    paths=(PATH,),
    plan=plan,
    warn=warn,
)
