"""Reading an Event Grid event: which hubs should be looked at, and who changed what. Pure.

Both event schemas are taken. ``authorization`` and ``claims`` are objects in newer events and strings in older
ones (RECORDINGS §8); the claims hold personal data, of which only object id, application id and name are kept, and
the e-mail address where that is wanted.
"""

from __future__ import annotations

import json
import re

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from hubwarden.domain.finding import Actor
from hubwarden.domain.hub_id import HubId, NotAHubError


OPERATIONS: Final = (
    "Microsoft.Devices/IotHubs/write",
    "Microsoft.Devices/IotHubs/delete",
    "Microsoft.Insights/diagnosticSettings/write",
    "Microsoft.Insights/diagnosticSettings/delete",
    "Microsoft.Security/iotSecuritySolutions/write",
    "Microsoft.Security/iotSecuritySolutions/delete",
    "Microsoft.Authorization/locks/write",
    "Microsoft.Authorization/locks/delete",
)
"""``data.operationName`` of the events that matter to a rule or a fix: what a subscription is to let through.

Event Grid compares them without case, and takes 25 values for all filters of a subscription together.
"""

_DELETED: Final = "Microsoft.Resources.ResourceDeleteSuccess"
_TYPES: Final = frozenset({"Microsoft.Resources.ResourceWriteSuccess", _DELETED})
_UPN: Final = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"
# A lock on a subscription, a group or a solution; or a solution, which may name any hub of its subscription.
_LOCK: Final = r"/providers/microsoft\.authorization/locks/[^/]+"
_NEARBY: Final = re.compile(
    r"/subscriptions/(?P<subscription>[0-9a-z-]{1,64})(?:"
    rf"/resourcegroups/(?P<group>[^/]+)(?:(?P<solution>/providers/microsoft\.security/iotsecuritysolutions/[^/]+)"
    rf"(?:{_LOCK})?|{_LOCK})|{_LOCK})/?",
    re.ASCII | re.IGNORECASE,
)
_OBJECT_ID: Final = "http://schemas.microsoft.com/identity/claims/objectidentifier"


@dataclass(frozen=True, slots=True)
class Sighting:
    """Something was written or deleted on a hub. ``changed_at`` is UTC, as the event says.

    ``deleted`` says that it was the hub itself that was deleted.
    """

    hub: HubId
    operation: str
    actor: Actor
    changed_at: datetime | None
    deleted: bool


@dataclass(frozen=True, slots=True)
class Nearby:
    """Something changed that hubs depend on: a security solution, or a lock above them.

    It may concern any hub of the subscription, or of its ``resource_group`` where that is named; both are in lower
    case. ``changed_at`` is UTC, as the event says.
    """

    subscription: str
    resource_group: str | None
    operation: str
    actor: Actor
    changed_at: datetime | None

    def concerns(self, hub: HubId) -> bool:
        """Whether the hub lies where it may matter."""
        return hub.subscription == self.subscription and self.resource_group in {None, hub.resource_group}


@dataclass(frozen=True, slots=True)
class Ignored:
    """The event asks for nothing, and why."""

    reason: str


def read_event(event: Mapping[str, Any], *, emails: bool = False) -> Sighting | Nearby | Ignored:
    """Say what an event is about. Whatever its shape, the answer is a value and never an exception.

    With ``emails``, the actor's e-mail address is read too.
    """
    kind = _text(event.get("eventType")) or _text(event.get("type"))
    if kind not in _TYPES:
        return Ignored(f"an event of type {(kind or '')[:100]!r} does not tell of a change to a hub")
    data = _object(event.get("data"))
    resource = _text(data.get("resourceUri"), 2000) or _text(event.get("subject"), 2000) or ""
    operation = _text(data.get("operationName")) or kind
    actor = _actor(data, emails=emails)
    changed_at = _time(event.get("eventTime") or event.get("time"))
    try:
        hub = HubId.parse(resource)
    except NotAHubError as error:
        scope = _NEARBY.fullmatch(resource)
        if scope is None:
            return Ignored(str(error))
        group = None if scope["solution"] else scope["group"]
        return Nearby(scope["subscription"].lower(), group and group.lower(), operation, actor, changed_at)
    deleted = kind == _DELETED and resource.rstrip("/").count("/") == hub.path.count("/")
    return Sighting(hub, operation, actor, changed_at, deleted)


def _actor(data: Mapping[str, Any], *, emails: bool) -> Actor:
    claims = _object(data.get("claims"))
    evidence = _object(_object(data.get("authorization")).get("evidence"))
    name = _text(claims.get("name"))
    return Actor(
        object_id=_text(claims.get(_OBJECT_ID) or claims.get("oid") or evidence.get("principalId")),
        app_id=_text(claims.get("appid") or claims.get("azp")),
        name=None if name and "@" in name else name,  # some tokens hold an e-mail address there
        email=_text(claims.get(_UPN) or claims.get("upn")) if emails else None,
    )


def _object(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, Mapping) else {}


def name_of(event: Mapping[str, Any]) -> str:
    """The event's id, as the log can hold it: whoever may post an event chooses it."""
    return _text(event.get("id"), 100) or "without an id"


def _text(value: Any, longest: int = 200) -> str | None:
    """A text as far as it can be shown: on one line, without control characters or half a surrogate pair."""
    if not isinstance(value, str) or not value:
        return None
    return "".join(char if char.isprintable() else " " for char in value[:longest])


def _time(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, AttributeError, OverflowError):
        return None
