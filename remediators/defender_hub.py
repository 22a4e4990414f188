"""defender-hub: put the hub into the named solution, mend what that lacks, or create it. No other is touched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from detectors._sight import ShapeError
from detectors._solutions import Solution, solutions_of, strange
from detectors.defender_hub import RULE, Settings, judge
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import ABSENT, Json, MaybeJson, get_at
from hubwarden.domain.permissions import Permissions
from hubwarden.domain.plan import Change, PlanError, Target
from hubwarden.domain.rule import Remediator, Safety
from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from hubwarden.domain.verdict import Compliant, Drift, Unknown


def plan(_: Drift, snapshot: Snapshot, settings: Settings) -> Iterator[Change]:
    """What the named solution lacks, each its own change; or one change that creates it.

    The hub is added by its id in lower case: Azure spells ids differently from answer to answer, and a plan that
    was approved must still be the same plan tomorrow.

    Raises:
        PlanError: the solutions were not read or show no drift; the settings name no solution, or one in another
            subscription; what it needs is not in the settings; or it lists no such recommendation.
    """
    solutions = _seen(snapshot, settings)
    wanted = _wanted(snapshot.hub, settings)
    named = _named(solutions, wanted)
    unknown = strange(settings.recommendations) if named is None else named.strange(settings.recommendations)
    if unknown:
        raise PlanError(f"{wanted} has no recommendation named {', '.join(unknown)}")
    yield from (
        _created(wanted, snapshot.hub, settings) if named is None else _mended(named, snapshot.hub, settings)
    )


def _seen(snapshot: Snapshot, settings: Settings) -> tuple[Solution, ...]:
    """The solutions, if they leave the hub uncovered."""
    data = snapshot.read(Facet.DEFENDER)
    if isinstance(data, Unread):
        raise PlanError(f"the IoT security solutions for {snapshot.hub} were not read: {data.reason}")
    try:
        solutions = solutions_of(data)
    except ShapeError as error:
        raise PlanError(f"{snapshot.hub}: {error}") from None
    match judge(solutions, snapshot.hub, settings):
        case Compliant():
            raise PlanError(f"{snapshot.hub} is covered by an IoT security solution already")
        case Unknown(reason):
            raise PlanError(f"{snapshot.hub}: {reason}")
    return solutions


def _wanted(hub: HubId, settings: Settings) -> str:
    if settings.solution is None:
        raise PlanError("the policy file names no IoT security solution, so there is none to add the hub to")
    if settings.solution.split("/")[2].lower() != hub.subscription:
        raise PlanError(
            f"{settings.solution} lies in another subscription than {hub}, and the solutions there are not read"
        )
    return settings.solution


def _named(solutions: tuple[Solution, ...], wanted: str) -> Solution | None:
    return next((solution for solution in solutions if solution.key == wanted.lower()), None)


def _created(wanted: str, hub: HubId, settings: Settings) -> Iterator[Change]:
    if settings.workspace is None or settings.location is None:
        raise PlanError(
            f"{wanted} is not there, and to create it the policy file must name workspace and location"
        )
    body: Json = {
        "location": settings.location,
        "properties": {
            "displayName": wanted.rsplit("/", 1)[1],
            "status": "Enabled",
            "workspace": settings.workspace,
            "iotHubs": [hub.path],
            "export": [],
            "disabledDataSources": [],
        },
    }
    yield Change((wanted.lower(),), ABSENT, body, RULE.id, Target.DEFENDER)


def _mended(named: Solution, hub: HubId, settings: Settings) -> Iterator[Change]:
    if hub not in named.hubs:
        yield _change(named, "iotHubs", [*_listed(named, "iotHubs"), hub.path])
    if not named.enabled:
        yield _change(named, "status", "Enabled")
    if named.workspace is None:
        if settings.workspace is None:
            raise PlanError(f"{named.id} has no workspace, and the policy file names none")
        yield _change(named, "workspace", settings.workspace)
    off = {kind.lower() for kind in named.off(settings.recommendations)}
    if off:
        entries = [_on(entry, off) for entry in _listed(named, "recommendationsConfiguration")]
        yield _change(named, "recommendationsConfiguration", entries)


def _change(named: Solution, member: str, after: MaybeJson) -> Change:
    before = get_at(named.body, ("properties", member))
    return Change((named.key, "properties", member), before, after, RULE.id, Target.DEFENDER)


def _listed(named: Solution, member: str) -> list[Json]:
    listed = get_at(named.body, ("properties", member))
    return listed if isinstance(listed, list) else []


def _on(entry: Json, off: set[str]) -> Json:
    assert isinstance(entry, dict)
    return {**entry, "status": "Enabled"} if str(entry["recommendationType"]).lower() in off else entry


def warn(drift: Drift, snapshot: Snapshot, settings: Settings) -> Iterator[str]:
    """What follows for other hubs and for the bill, and what the plan does not bring."""
    try:
        changed = [change.path[-1] for change in plan(drift, snapshot, settings)]
        solutions = _seen(snapshot, settings)
        named = _named(solutions, _wanted(snapshot.hub, settings))
    except PlanError:
        return
    if named is None:
        yield "A solution that hubwarden may not read looks as if it were not there: if it is, this is refused."
    else:
        others = len(named.hubs - {snapshot.hub})
        if others and changed != ["iotHubs"]:
            yield f"The solution has other hubs too ({others}), and what is changed in it holds for them as well."
        yield "Solutions have no etag: what somebody else changes in it at the same moment may be overwritten."
    yield "Defender may charge for the devices of the hub, and the workspace for what it stores."
    yield "This has Defender watch the hub; what happens on a device only an agent on it can see."


REMEDIATOR: Final = Remediator(
    rule_id=RULE.id,
    safety=Safety.APPROVAL,
    why="Defender may charge for every device of the hub, and a change to a solution holds for all hubs in it.",
    permissions=Permissions(actions=("Microsoft.Security/iotSecuritySolutions/write",)),
    paths=(),
    plan=plan,
    beyond=((Target.DEFENDER, ()),),
    warn=warn,
)
