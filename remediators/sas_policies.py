"""sas-policies: remove a policy that nothing allows; narrow one back that was widened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from detectors._sight import ShapeError
from detectors.sas_policies import RULE, Rights, SasPolicy, Settings, policies_of, written
from hubwarden.domain.jsons import ABSENT, JsonObject, MaybeJson
from hubwarden.domain.permissions import Permissions
from hubwarden.domain.plan import Change, PlanError, Target
from hubwarden.domain.rule import Remediator, Safety
from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from hubwarden.domain.verdict import Drift


def plan(drift: Drift, snapshot: Snapshot, settings: Settings) -> Iterator[Change]:
    """One change: the policy that the drift names is removed, or has only rights that it may have.

    Raises:
        PlanError: the policies were not read, this one is not there or grants no more than it may; it is not
            listed and the settings say ``rotate``: new keys alone would not end the drift; no policy would be
            left, and what Azure makes of that is not known; or it has none of the rights that it may have.
    """
    policies = _policies(snapshot)
    policy = next((one for one in policies if one.name.lower() == drift.subject.lower()), None)
    if policy is None:
        raise PlanError(f"{snapshot.hub} has no shared access policy {drift.subject!r}")
    if not policy.offends(settings):
        raise PlanError(f"the shared access policy {policy.name} of {snapshot.hub} grants no more than it may")
    limit = settings.limit(policy.name)
    if limit is None:
        _check_removal(policy, policies, settings)
    after = ABSENT if limit is None else _narrowed(policy, limit, settings)
    yield Change((policy.name,), {"rights": [*policy.shown]}, after, RULE.id, Target.POLICIES)


def _policies(snapshot: Snapshot) -> tuple[SasPolicy, ...]:
    data = snapshot.read(Facet.POLICIES)
    if isinstance(data, Unread):
        raise PlanError(f"the shared access policies of {snapshot.hub} were not read: {data.reason}")
    try:
        return policies_of(data)
    except ShapeError as error:
        raise PlanError(f"{snapshot.hub}: {error}") from None


def _check_removal(policy: SasPolicy, policies: tuple[SasPolicy, ...], settings: Settings) -> None:
    if settings.offending == "rotate":
        raise PlanError(
            f"new keys alone would leave {policy.name} as broad as it is: list it under allowed with the rights "
            "that it may keep, or remove it by hand"
        )
    if not any(one for one in policies if settings.limit(one.name) is not None or not one.offends(settings)):
        raise PlanError(f"removing {policy.name} would leave no policy, and what Azure makes of that is not known")


def _narrowed(policy: SasPolicy, limit: Rights, settings: Settings) -> MaybeJson:
    """The rights that it keeps. It cannot have none, and a fix never gives a right."""
    kept = policy.rights & limit
    if not kept:
        may = ", ".join(written(limit))
        raise PlanError(
            f"{policy.name} has none of the rights that it may have ({may}): remove or change it by hand"
        )
    new_keys: JsonObject = {"newKeys": True} if settings.offending == "rotate" else {}
    return {"rights": [*written(kept)], **new_keys}


def warn(drift: Drift, snapshot: Snapshot, settings: Settings) -> Iterator[str]:
    """Who loses what, and that nobody can see in Azure whether anybody uses the keys."""
    try:
        policies = _policies(snapshot)
    except PlanError:
        return
    policy = next((one for one in policies if one.name.lower() == drift.subject.lower()), None)
    if policy is None or not policy.offends(settings):
        return
    limit = settings.limit(policy.name)
    yield from _on_removal(policy) if limit is None else _on_narrowing(policy, limit, settings)
    yield "Whether anybody used its keys cannot be seen in Azure."


def _on_removal(policy: SasPolicy) -> Iterator[str]:
    yield f"Whoever uses the keys of {policy.name} is cut off from the hub."
    yield "The keys cannot be had back: a policy of the same name that is made later gets new ones."


def _on_narrowing(policy: SasPolicy, limit: Rights, settings: Settings) -> Iterator[str]:
    yield f"Whoever uses the keys of {policy.name} loses {', '.join(sorted(policy.rights - limit))}."
    if settings.offending == "rotate":
        yield f"Both keys of {policy.name} are replaced: everybody who uses it needs the new ones."


REMEDIATOR: Final = Remediator(
    rule_id=RULE.id,
    safety=Safety.APPROVAL,
    why=(
        "Whoever uses the policy's keys is cut off by its removal, or loses the rights that are taken from it; "
        "whether anybody uses them cannot be seen in Azure."
    ),
    permissions=Permissions(actions=("Microsoft.Devices/IotHubs/write",)),
    paths=(),
    plan=plan,
    beyond=((Target.POLICIES, ()),),
    warn=warn,
)
