"""diagnostics: write one setting of our own that sends what is missing, and never touch anybody else's."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from detectors._sight import ShapeError
from detectors.diagnostics import (
    NOT_GONE,
    RULE,
    Settings,
    View,
    member_of,
    view_of,
)
from hubwarden.domain.jsons import ABSENT, Json, JsonObject, MaybeJson
from hubwarden.domain.permissions import Permissions
from hubwarden.domain.plan import Change, PlanError, Target
from hubwarden.domain.rule import Remediator, Safety
from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from hubwarden.domain.verdict import Drift


NAME: Final = "hubwarden"
_MOST: Final = 5
_BY_POLICY: Final = "setbypolicy"


def plan(_: Drift, snapshot: Snapshot, settings: Settings) -> Iterator[Change]:
    """One change: the setting ``hubwarden`` sends what is required and what no other setting sends there.

    Azure refuses to send one category twice to one place (409), and to mix categories and groups in one setting:
    where others already send a part, the rest is named category by category.

    Raises:
        PlanError: the settings name no destination, or one that is gone; nothing is missing, or something that
            the hub does not have is required; the hub has five settings already; or nothing was seen.
    """
    view = _view(snapshot)
    if settings.destination is None:
        raise PlanError("the policy file names no destination for the logs, so there is none to send them to")
    wanted, unreported = view.expand(settings.required)
    if unreported:
        raise PlanError(f"{snapshot.hub} reports no log category or group named {', '.join(unreported)}")
    if wanted <= view.sent(settings, NOT_GONE):
        raise PlanError(f"{snapshot.hub} sends every required log to {settings.destination} already")
    if view.state(settings.destination) not in NOT_GONE:
        raise PlanError(f"the destination that the policy file names no longer exists: {settings.destination}")
    others = [setting for setting in view.settings if setting.name.lower() != NAME]
    if len(others) >= _MOST:
        raise PlanError(f"{snapshot.hub} has {len(others)} diagnostic settings of others; Azure takes {_MOST}")
    theirs = wanted & view.sent(settings, NOT_GONE, others)
    logs = _categories(view, wanted - theirs) if theirs else _entries(view, settings.required, wanted)
    after = {**_where(settings, settings.destination), "logs": logs, "metrics": []}
    yield Change((NAME,), _ours(view), after, RULE.id, Target.DIAGNOSTICS)


def warn(_: Drift, snapshot: Snapshot, __: Settings) -> Iterator[str]:
    """What it costs, what of ours is replaced, and who else writes settings on this hub."""
    yield "The destination charges for the logs that it receives."
    try:
        view = _view(snapshot)
    except PlanError:
        return
    if _ours(view) is not ABSENT:
        yield f"The setting {NAME} is there and is replaced; what others changed in it is gone."
    theirs = ", ".join(s.name for s in view.settings if s.name.lower().startswith(_BY_POLICY))
    if theirs:
        yield f"Azure Policy writes settings on this hub too ({theirs}) and may write again."


def _view(snapshot: Snapshot) -> View:
    data = snapshot.read(Facet.DIAGNOSTICS)
    if isinstance(data, Unread):
        raise PlanError(f"the diagnostic settings of {snapshot.hub} were not read: {data.reason}")
    try:
        return view_of(data)
    except ShapeError as error:
        raise PlanError(f"{snapshot.hub}: {error}") from None


def _ours(view: View) -> MaybeJson:
    found = (setting for setting in view.settings if setting.name.lower() == NAME)
    ours = next(found, None)
    return ABSENT if ours is None else ours.properties


def _where(settings: Settings, destination: str) -> JsonObject:
    member = member_of(destination)
    assert member is not None
    event_hub: JsonObject = {} if settings.event_hub_name is None else {"eventHubName": settings.event_hub_name}
    return {member: destination, **event_hub}


def _entries(view: View, required: Collection[str], wanted: Collection[str]) -> list[Json]:
    """Groups as groups, so that a category that Azure adds to one later is sent too; but not beside categories."""
    names = {name.lower() for name in required}
    return _categories(view, wanted) if names & view.categories.keys() else _groups(view, names)


def _categories(view: View, wanted: Collection[str]) -> list[Json]:
    return [{"category": view.categories[category], "enabled": True} for category in sorted(wanted)]


def _groups(view: View, names: Collection[str]) -> list[Json]:
    """The largest groups first; one that these contain already is left out, for it would send everything twice."""
    chosen: list[Json] = []
    covered: frozenset[str] = frozenset()
    for name in sorted(names, key=lambda name: (-len(view.members[name]), name)):
        if not view.members[name] <= covered:
            chosen.append({"categoryGroup": view.groups[name], "enabled": True})
            covered |= view.members[name]
    return chosen


REMEDIATOR: Final = Remediator(
    rule_id=RULE.id,
    safety=Safety.AUTO,
    why=(
        "A setting of our own is added or replaced; nobody else's is touched and no device notices. "
        "The logs cost what the destination charges for them."
    ),
    permissions=Permissions(
        actions=("Microsoft.Insights/diagnosticSettings/write",),
        on_destination=(
            "Microsoft.OperationalInsights/workspaces/sharedKeys/action",
            "Microsoft.Storage/storageAccounts/listKeys/action",
            "Microsoft.EventHub/namespaces/authorizationRules/listkeys/action",
        ),
    ),
    paths=(),
    plan=plan,
    beyond=((Target.DIAGNOSTICS, (NAME,)),),
    warn=warn,
)
