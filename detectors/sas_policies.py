"""sas-policies: no shared access policy may grant more than the operator allows.

Names and rights come from listkeys alone; a GET of the hub never shows them (AZURE §0.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints

from detectors._sight import ShapeError, unseen
from hubwarden.domain.jsons import Json
from hubwarden.domain.permissions import Permissions
from hubwarden.domain.rule import ManualFix, Rule, RuleSettings
from hubwarden.domain.severity import Severity
from hubwarden.domain.snapshot import Facet, Snapshot
from hubwarden.domain.verdict import Compliant, Drift, Unknown, Verdict


type Right = Literal["RegistryRead", "RegistryWrite", "ServiceConnect", "DeviceConnect"]
type Rights = frozenset[str]

_READ: Final = "RegistryRead"
_WRITE: Final = "RegistryWrite"
_KNOWN: Final = frozenset({_READ, _WRITE, "ServiceConnect", "DeviceConnect"})
_RIGHTS: Final = {right.lower(): right for right in _KNOWN}
_DEFAULTS: Final[Mapping[str, tuple[str, ...]]] = {
    "iothubowner": (_WRITE, "ServiceConnect", "DeviceConnect"),
    "service": ("ServiceConnect",),
    "device": ("DeviceConnect",),
    "registryread": (_READ,),
    "registryreadwrite": (_WRITE,),
}
"""Lower-case name → rights of the policies that every hub is made with (RECORDINGS §4)."""


def _named_once[T](allowed: dict[str, T]) -> dict[str, T]:
    if len({name.lower() for name in allowed}) < len(allowed):
        raise ValueError("names one policy twice: Azure compares names without case")
    return allowed


type _Name = Annotated[str, StringConstraints(min_length=1)]
type _Allowed = Annotated[list[Right], Field(min_length=1)]


class Settings(RuleSettings):
    """Settings of sas-policies."""

    allowed: Annotated[dict[_Name, _Allowed], AfterValidator(_named_once)] = Field(
        default_factory=dict,
        description="Policy name → the most rights that it may have. Azure's five defaults need no mention; "
        "naming one replaces what it may have.",
    )
    offending: Literal["remove", "rotate"] = Field(
        "remove",
        description="remove: an unlisted broad policy is removed. rotate: it is left to people, and a listed "
        "policy gets new keys when its rights are narrowed back.",
    )

    def limit(self, name: str) -> Rights | None:
        """The most that a policy of this name may have, what is implied included; None for one not listed."""
        named = {allowed.lower(): rights for allowed, rights in self.allowed.items()}
        rights = named.get(name.lower(), _DEFAULTS.get(name.lower()))
        return None if rights is None else implied(rights)


def implied(rights: Iterable[str]) -> Rights:
    """The rights as a set. RegistryWrite includes RegistryRead; Azure shows only the former (RECORDINGS §4)."""
    known = frozenset(_RIGHTS.get(right.lower(), right) for right in rights)
    return known | {_READ} if _WRITE in known else known


def written(rights: Rights) -> list[str]:
    """The rights in order, without what is implied: as Azure shows them once they are written."""
    return sorted(rights - {_READ} if _WRITE in rights else rights)


@dataclass(frozen=True, slots=True)
class SasPolicy:
    """A shared access policy: its name, its rights as they were read, and all that these amount to."""

    name: str
    shown: tuple[str, ...]
    rights: Rights

    @property
    def broad(self) -> bool:
        """Whether it may write the registry, or reaches into two areas of the hub."""
        return _WRITE in self.rights or len(self.rights & _KNOWN) > 1

    @property
    def strange(self) -> list[str]:
        """Its rights that we do not know."""
        return sorted(self.rights - _KNOWN)

    def offends(self, settings: Settings) -> bool:
        """Whether it has more than it may have: what its listing allows, or less than broad where it has none."""
        limit = settings.limit(self.name)
        return self.broad if limit is None else not self.rights <= limit


def policies_of(data: Any) -> tuple[SasPolicy, ...]:
    """Understand Facet.POLICIES, in the order of the names.

    Raises:
        ShapeError: it is no list of names with rights, or holds a name twice.
    """
    listed = data.get("policies") if isinstance(data, Mapping) else None
    if not isinstance(listed, list):
        raise ShapeError("Azure's list of shared access policies is not understood: it is no list")
    policies = sorted(map(_policy, listed), key=lambda policy: policy.name.lower())
    if len({policy.name.lower() for policy in policies}) < len(policies):
        raise ShapeError("Azure's list of shared access policies holds a name twice")
    return tuple(policies)


def _policy(item: Any) -> SasPolicy:
    name = item.get("keyName") if isinstance(item, Mapping) else None
    if not isinstance(name, str) or not name:
        raise ShapeError("Azure's list of shared access policies is not understood: an entry has no name")
    shown = _parts(item.get("rights"))
    if not shown:
        raise ShapeError(f"the rights of the shared access policy {name!r} are not understood")
    return SasPolicy(name, tuple(sorted(shown)), implied(shown))


def _parts(rights: Any) -> set[str]:
    """The names of the rights, listed or in one text with commas; none where it is neither."""
    parts = rights.split(",") if isinstance(rights, str) else rights
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        return set()
    return {part.strip() for part in parts} - {""}


def detect(snapshot: Snapshot, settings: Settings) -> Iterator[Verdict]:
    """One drift for each policy that grants too much, and one that is only told for each new and narrow one."""
    blind = unseen(snapshot, Facet.POLICIES)
    if blind:
        yield blind
        return
    try:
        policies = policies_of(snapshot.read(Facet.POLICIES))
    except ShapeError as error:
        yield Unknown(str(error))
        return
    yield from _judge(policies, settings)


def _judge(policies: tuple[SasPolicy, ...], settings: Settings) -> Iterator[Verdict]:
    verdicts = [verdict for policy in policies if (verdict := _verdict(policy, settings)) is not None]
    yield from verdicts or [Compliant({"policies": [policy.name for policy in policies]})]


def _verdict(policy: SasPolicy, settings: Settings) -> Verdict | None:
    """What there is to say of one policy, if anything."""
    limit, has = settings.limit(policy.name), ", ".join(policy.shown)
    name = f"the shared access policy {policy.name}"
    if policy.offends(settings):
        if limit is None:
            summary = f"{name} is new and broad: it has {has}, and nothing allows it"
            return _drift("unlisted", policy, None, summary)
        may = ", ".join(written(limit))
        return _drift("widened", policy, limit, f"{name} was widened: it has {has}, and may have {may}")
    if limit is not None:
        return None
    if policy.strange:
        strange = ", ".join(policy.strange)
        return Unknown(f"{name} has rights that are not known here: {strange}", subject=policy.name)
    return _drift("narrow", policy, None, f"{name} is new and narrow: it has {has}, and nothing names it")


def _drift(kind: str, policy: SasPolicy, limit: Rights | None, summary: str) -> Drift:
    evidence: dict[str, Json] = {
        "kind": kind,
        "policy": policy.name,
        "rights": [*policy.shown],
        "allowed": None if limit is None else [*written(limit)],
    }
    if kind == "narrow":
        return Drift(summary, policy.name, evidence, severity=Severity.LOW, report_only=True)
    return Drift(summary, policy.name, evidence)


RULE: Final = Rule(
    id="sas-policies",
    title="Shared access policies grant no more than is allowed",
    severity=Severity.HIGH,
    risk="Whoever holds the keys of a broad policy can read, change and impersonate every device of the hub.",
    recommendation="Access control for the hub: shared access policies with the least rights",
    reads=(Facet.HUB, Facet.POLICIES),
    permissions=Permissions(
        actions=("Microsoft.Devices/IotHubs/read", "Microsoft.Devices/IotHubs/listkeys/action")
    ),
    settings=Settings,
    detect=detect,
    benchmarks=("MCSB IM-1", "MCSB PA-7"),
    reference="https://learn.microsoft.com/azure/iot-hub/authenticate-authorize-sas",
    manual_fix=ManualFix(
        cli=(
            "az iot hub policy delete --subscription {subscription} -g {resource_group} --hub-name {name} "
            "--name <policy>"
        ),
        bicep="Leave the policy out of properties.authorizationPolicies, and name every other one with its keys.",
        portal="IoT Hub > Security settings > Shared access policies.",
    ),
)
