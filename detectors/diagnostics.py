"""diagnostics: the hub's logs must go where the operator wants them.

A list of settings proves nothing: one may log nothing, or to a workspace that was deleted (RECORDINGS §6). What
counts is which categories are enabled, in which settings, towards which destinations.
"""

from __future__ import annotations

import re

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from detectors._sight import ShapeError, unseen
from hubwarden.domain.jsons import Json, JsonObject
from hubwarden.domain.permissions import Permissions
from hubwarden.domain.rule import ManualFix, Rule, RuleSettings
from hubwarden.domain.severity import Severity
from hubwarden.domain.snapshot import Facet, Snapshot
from hubwarden.domain.verdict import Compliant, Drift, Unknown, Verdict


_RESOURCE: Final = r"/subscriptions/[^/\s]+/resourceGroups/[^/\s]+/providers/"
_KINDS: Final[Mapping[str, re.Pattern[str]]] = {
    member: re.compile(f"{_RESOURCE}{kind}", re.IGNORECASE)
    for member, kind in (
        ("workspaceId", r"Microsoft\.OperationalInsights/workspaces/[^/\s]+"),
        ("storageAccountId", r"Microsoft\.Storage/storageAccounts/[^/\s]+"),
        ("eventHubAuthorizationRuleId", r"Microsoft\.EventHub/namespaces/[^/\s]+/authorizationRules/[^/\s]+"),
    )
}
_SINKS: Final = (*_KINDS, "serviceBusRuleId", "marketplacePartnerId")
_EXISTS: Final = "exists"
_GONE: Final = "gone"
_DOUBTFUL: Final = "not known"
NOT_GONE: Final = frozenset({_EXISTS, _DOUBTFUL})


def member_of(destination: str) -> str | None:
    """The member of a diagnostic setting that names a destination of this kind; None for no such resource id."""
    return next((member for member, kind in _KINDS.items() if kind.fullmatch(destination)), None)


def _destination(text: str) -> str:
    if member_of(text) is None:
        kinds = "a workspace, a storage account or an Event Hubs namespace's authorization rule"
        raise ValueError(f"not the resource id of {kinds}: {text!r}")
    return text


type _Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Settings(RuleSettings):
    """Settings of diagnostics."""

    destination: Annotated[str, AfterValidator(_destination)] | None = Field(
        None,
        description="Resource id of the workspace, storage account or Event Hubs authorization rule that must "
        "receive the logs. Without it any existing destination will do, and there is no fix.",
    )
    event_hub_name: _Name | None = Field(
        None, description="The event hub, where the destination is an authorization rule; any of them by default."
    )
    required: list[_Name] = Field(
        default_factory=lambda: ["allLogs"],
        min_length=1,
        description="Log categories and category groups that must go there.",
    )

    @property
    def destinations(self) -> tuple[str, ...]:
        """The one that is set."""
        return () if self.destination is None else (self.destination,)

    @model_validator(mode="after")
    def _event_hub_has_a_rule(self) -> Self:
        sink = None if self.destination is None else member_of(self.destination)
        if self.event_hub_name is not None and sink != "eventHubAuthorizationRuleId":
            raise ValueError("event_hub_name needs a destination that is an Event Hubs authorization rule")
        return self


type Sink = tuple[str, str]
"""A destination: its resource id in lower case, and the event hub's name in lower case or empty."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One diagnostic setting: its enabled log categories, in lower case, go to all of its sinks."""

    name: str
    sinks: frozenset[Sink]
    sends: frozenset[str]
    properties: JsonObject

    def reported(self, names: Mapping[str, str]) -> JsonObject:
        """What was seen, for people."""
        logs: list[Json] = [names.get(category, category) for category in sorted(self.sends)]
        return {"name": self.name, "destinations": [*sorted({id_ for id_, _ in self.sinks})], "logs": logs}


@dataclass(frozen=True, slots=True)
class View:
    """Facet.DIAGNOSTICS, understood. Settings are in the order of their names, whatever it was in the answer.

    ``categories`` and ``groups`` map lower case to the name that the hub reports; ``members`` a group, in lower
    case, to its categories.
    """

    settings: tuple[Setting, ...]
    categories: Mapping[str, str]
    groups: Mapping[str, str]
    members: Mapping[str, frozenset[str]]
    destinations: Mapping[str, Any]

    def expand(self, required: Collection[str]) -> tuple[frozenset[str], tuple[str, ...]]:
        """The categories that these names of categories and groups stand for; and those that stand for none."""
        found = {name: self._stands_for(name.lower()) for name in required}
        return frozenset().union(*found.values()), tuple(
            sorted(name for name, stands in found.items() if not stands)
        )

    def _stands_for(self, name: str) -> frozenset[str]:
        return self.members.get(name, frozenset()) | (frozenset({name}) & self.categories.keys())

    def sent(
        self, wanted: Settings, states: Collection[str], settings: Sequence[Setting] | None = None
    ) -> frozenset[str]:
        """The categories that go to wanted destinations in one of these states, by all settings or these ones."""
        return frozenset().union(
            *(
                setting.sends
                for setting in (self.settings if settings is None else settings)
                for sink in setting.sinks
                if goes_to(sink, wanted) and self.state(sink[0]) in states
            )
        )

    def state(self, destination: str) -> str:
        """Whether a destination exists: ``exists``, ``gone`` or ``not known``."""
        state = self.destinations.get(plain(destination))
        return state if state in {_EXISTS, _GONE} else _DOUBTFUL


def plain(resource_id: str) -> str:
    """A resource id as it compares: ARM's casing differs from answer to answer (AZURE §0.7)."""
    return resource_id.rstrip("/").lower()


def goes_to(sink: Sink, wanted: Settings) -> bool:
    """Whether this is the destination that the settings name; any is where they name none."""
    if wanted.destination is None:
        return True
    id_, event_hub = sink
    name = wanted.event_hub_name
    return id_ == plain(wanted.destination) and (name is None or name.lower() == event_hub)


def view_of(data: Any) -> View:
    """Understand Facet.DIAGNOSTICS.

    Raises:
        ShapeError: something in it that matters is not of the kind that it must be.
    """
    body = _mapping(data, "the answer")
    categories, groups, members = _categories(_mapping(body.get("categories"), "categories"))
    settings = [_setting(item, members) for item in _list(body.get("settings"), "settings")]
    if len({setting.name.lower() for setting in settings}) < len(settings):
        raise ShapeError("Azure's answer holds two diagnostic settings of one name")
    return View(
        settings=tuple(sorted(settings, key=lambda setting: setting.name.lower())),
        categories=categories,
        groups=groups,
        members=members,
        destinations=_mapping(body.get("destinations"), "destinations"),
    )


def _categories(
    reported: Mapping[str, Any],
) -> tuple[dict[str, str], dict[str, str], dict[str, frozenset[str]]]:
    pairs = [
        (category, _name(group, "a category group"))
        for category, groups in sorted(reported.items())
        for group in _list(groups, "a category's groups")
    ]
    members: defaultdict[str, set[str]] = defaultdict(set)
    for category, group in pairs:
        members[group.lower()].add(category.lower())
    categories = {category.lower(): category for category in sorted(reported)}
    groups = {group.lower(): group for _, group in sorted(pairs)}
    return categories, groups, {group: frozenset(found) for group, found in members.items()}


def _setting(item: Any, members: Mapping[str, frozenset[str]]) -> Setting:
    body = _mapping(item, "a diagnostic setting")
    properties = _mapping(body.get("properties"), "a diagnostic setting's properties")
    event_hub = _text(properties, "eventHubName").lower()
    sinks = {
        (plain(id_), event_hub if member == "eventHubAuthorizationRuleId" else "")
        for member in _SINKS
        if (id_ := _text(properties, member))
    }
    logs = _list(properties.get("logs") or [], "a diagnostic setting's logs")
    sends = [_sends(_mapping(entry, "an entry of logs"), members) for entry in logs]
    name = _name(body.get("name"), "a diagnostic setting's name")
    return Setting(name, frozenset(sinks), frozenset().union(*sends), dict(properties))


def _sends(entry: Mapping[str, Any], members: Mapping[str, frozenset[str]]) -> frozenset[str]:
    category, group = _text(entry, "category").lower(), _text(entry, "categoryGroup").lower()
    if entry.get("enabled") is not True:
        return frozenset()
    return members.get(group, frozenset()) | (frozenset({category}) - {""})


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ShapeError(f"Azure's answer about diagnostic settings is not understood: {what} should be an object")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ShapeError(f"Azure's answer about diagnostic settings is not understood: {what} should be a list")
    return value


def _name(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise ShapeError(f"Azure's answer about diagnostic settings is not understood: {what} should be a name")
    return value


def _text(body: Mapping[str, Any], member: str) -> str:
    """A text that may be null or not there, which Azure writes alike."""
    value = body.get(member)
    return "" if value is None or value == "" else _name(value, member)


def detect(snapshot: Snapshot, settings: Settings) -> Iterator[Verdict]:
    """Compare what is required with what all settings together send to the destination; one verdict a hub.

    A destination that is gone receives nothing. One of which it is not known whether it exists makes the verdict
    unknown where the logs count on it: never compliant.
    """
    blind = unseen(snapshot, Facet.DIAGNOSTICS)
    if blind:
        yield blind
        return
    try:
        yield _judge(view_of(snapshot.read(Facet.DIAGNOSTICS)), settings)
    except ShapeError as error:
        yield Unknown(str(error))


def _judge(view: View, settings: Settings) -> Verdict:
    wanted, unreported = view.expand(settings.required)
    missing = wanted - view.sent(settings, NOT_GONE)
    if missing:
        return _drift(view, settings, missing)
    if unreported:
        return Unknown(f"the hub reports no log category or group named {', '.join(unreported)}")
    if not wanted <= view.sent(settings, {_EXISTS}):
        doubtful = ", ".join(sorted(_destinations(view, settings, _DOUBTFUL)))
        return Unknown(f"whether the destination exists could not be found out: {doubtful}")
    serving = [s for s in view.settings if s.sends & wanted and any(goes_to(sink, settings) for sink in s.sinks)]
    return Compliant({
        "required": [*settings.required],
        "settings": [setting.reported(view.categories) for setting in serving],
    })  # fmt: skip


def _destinations(view: View, settings: Settings, state: str) -> set[str]:
    sinks = (sink for setting in view.settings if setting.sends for sink in setting.sinks)
    return {sink[0] for sink in sinks if goes_to(sink, settings) and view.state(sink[0]) == state}


def _drift(view: View, settings: Settings, missing: frozenset[str]) -> Drift:
    names = [view.categories[category] for category in sorted(missing)]
    gone = sorted(_destinations(view, settings, _GONE))
    cause, summary = _cause(view, settings, gone, ", ".join(names))
    evidence: dict[str, Json] = {
        "cause": cause,
        "missing": [*names],
        "required": [*settings.required],
        "destination": settings.destination,
        "gone": [*gone],
        "settings": [setting.reported(view.categories) for setting in view.settings],
    }
    return Drift(summary, evidence=evidence)


def _cause(view: View, settings: Settings, gone: list[str], names: str) -> tuple[str, str]:
    sending = [setting for setting in view.settings if setting.sends and setting.sinks]
    if not view.settings:
        return "nothing-set", "the hub has no diagnostic setting: its logs go nowhere"
    if not sending:
        return "nothing-set", "the hub has diagnostic settings, but none of them sends a log anywhere"
    if gone:
        where = ", ".join(gone)
        return "destination-gone", f"logs are sent to what no longer exists ({where}); nothing receives {names}"
    if not any(goes_to(sink, settings) for setting in sending for sink in setting.sinks):
        found = ", ".join(sorted({id_ for setting in sending for id_, _ in setting.sinks}))
        return "wrong-destination", f"logs go to {found}, and none to {_wanted(settings)}"
    return "missing", f"not every required log goes to {_wanted(settings)}; missing: {names}"


def _wanted(settings: Settings) -> str:
    if settings.destination is None:
        return "a destination"
    name = settings.event_hub_name
    return settings.destination if name is None else f"{settings.destination}, event hub {name}"


RULE: Final = Rule(
    id="diagnostics",
    title="The logs of hubs go where they are needed",
    severity=Severity.MEDIUM,
    risk="Without the hub's logs nobody sees who connects, who changes devices, and what fails.",
    recommendation="Set up diagnostics: resource logs of IoT Hub in a diagnostic setting",
    reads=(Facet.HUB, Facet.DIAGNOSTICS),
    permissions=Permissions(
        actions=(
            "Microsoft.Devices/IotHubs/read",
            "Microsoft.Insights/diagnosticSettings/read",
            "Microsoft.Insights/diagnosticSettingsCategories/read",
        ),
        on_destination=(
            "Microsoft.OperationalInsights/workspaces/read",
            "Microsoft.Storage/storageAccounts/read",
            "Microsoft.EventHub/namespaces/authorizationRules/read",
        ),
    ),
    settings=Settings,
    detect=detect,
    benchmarks=(
        "MCSB LT-3",
        "Azure Policy 383856f8-de7f-44a2-81fc-e5135b5c2aa4",
        "Defender for Cloud 77785808-ce86-4e40-b45f-19110a547397",
    ),
    reference="https://learn.microsoft.com/azure/iot-hub/monitor-iot-hub",
    manual_fix=ManualFix(
        cli=(
            "az monitor diagnostic-settings create --name hubwarden --resource /subscriptions/{subscription}"
            "/resourceGroups/{resource_group}/providers/Microsoft.Devices/IotHubs/{name} "
            "--workspace {destination} "
            """--logs '[{"categoryGroup":"allLogs","enabled":true}]'"""
        ),
        bicep=(
            "resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = { name: 'hubwarden', "
            "scope: hub, properties: { workspaceId: workspaceId, "
            "logs: [{ categoryGroup: 'allLogs', enabled: true }] } }"
        ),
        portal="IoT Hub > Monitoring > Diagnostic settings > Add diagnostic setting.",
    ),
)
