"""Which operation answers which ARM address, under which right, and past which locks."""

import re

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from local.azure_simulator import iothub
from local.azure_simulator.iothub import IotHubs
from local.azure_simulator.locks import PROVIDER as LOCKS
from local.azure_simulator.state import State
from local.azure_simulator.wire import Call, Reply


SUBSCRIPTION = "/subscriptions/{sub}"
GROUP = f"{SUBSCRIPTION}/resourceGroups/{{rg}}"
HUBS = "/providers/Microsoft.Devices/IotHubs"
HUB = f"{GROUP}{HUBS}/{{hub}}"
KEY = f"{HUB}/IotHubKeys/{{key}}"
OPERATION = f"{SUBSCRIPTION}/providers/Microsoft.Devices/locations/{{loc}}/operationResults/{{operation}}"
LOCK = f"{{scope}}{LOCKS}/{{lock}}"

READ_OPERATION = "Microsoft.Devices/locations/operationResults/read"
LOCK_ACTION = "Microsoft.Authorization/locks"

type EventKind = Literal["Write", "Delete", "Action"]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation.

    Attributes:
        method: HTTP method.
        path: With `{names}`; `{scope}` may span segments, all others are one segment. Any casing matches.
        handler: What answers.
        action: The right that it takes.
        scope: Where it takes it, in terms of the path's names.
        lock: The lock operation that it is, if locks can block it.
        event: The event that it causes at once; operations that take time publish theirs at the end.
    """

    method: str
    path: str
    handler: Callable[[Call], Reply]
    action: str
    scope: str
    lock: str | None = None
    event: EventKind | None = None

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """The named parts of the path, None if it is not for this route."""
        found = compiled(self.path).fullmatch(path) if method == self.method else None
        return found.groupdict() if found else None


@cache
def compiled(path: str) -> re.Pattern[str]:
    """The path as a regular expression."""
    pattern = re.sub(r"\\{(\w+)\\}", named_group, re.escape(path))
    return re.compile(f"{pattern}/?", re.IGNORECASE)


def named_group(found: re.Match[str]) -> str:
    """The expression for one `{name}`."""
    return f"(?P<{found[1]}>{'.*' if found[1] == 'scope' else '[^/]+'})"


def arm_routes(state: State) -> tuple[Route, ...]:
    """All ARM operations."""
    return (*hub_routes(IotHubs(state)), *lock_routes(state))


def hub_routes(hubs: IotHubs) -> tuple[Route, ...]:
    """Operations of Microsoft.Devices."""
    return (
        Route("GET", f"{SUBSCRIPTION}{HUBS}", hubs.list, iothub.READ, SUBSCRIPTION),
        Route("GET", f"{GROUP}{HUBS}", hubs.list, iothub.READ, GROUP),
        Route("GET", HUB, hubs.get, iothub.READ, HUB),
        Route("PUT", HUB, hubs.put, iothub.WRITE, HUB, lock="write"),
        Route("PATCH", HUB, hubs.patch, iothub.WRITE, HUB, lock="write", event="Write"),
        Route("DELETE", HUB, hubs.delete, iothub.DELETE, HUB, lock="delete"),
        Route("POST", f"{HUB}/listkeys", hubs.list_keys, iothub.LIST_KEYS, HUB, lock="write", event="Action"),
        Route("POST", f"{KEY}/listkeys", hubs.get_key, iothub.KEY, KEY, lock="write", event="Action"),
        Route("GET", OPERATION, hubs.operation_result, READ_OPERATION, SUBSCRIPTION),
    )


def lock_routes(state: State) -> tuple[Route, ...]:
    """Operations of Microsoft.Authorization/locks. Locks do not block the work on locks."""
    locks = state.locks
    return (
        Route("GET", f"{{scope}}{LOCKS}", locks.list, f"{LOCK_ACTION}/read", "{scope}"),
        Route("GET", LOCK, locks.get, f"{LOCK_ACTION}/read", LOCK),
        Route("PUT", LOCK, locks.put, f"{LOCK_ACTION}/write", LOCK, event="Write"),
        Route("DELETE", LOCK, locks.delete, f"{LOCK_ACTION}/delete", LOCK, event="Delete"),
    )
