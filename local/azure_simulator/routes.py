"""Which operation answers which ARM address, under which right, and past which locks."""

import re

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from local.azure_simulator import diagnostics, iothub, security
from local.azure_simulator.destinations import EVENT_HUB_RULE, STORAGE, WORKSPACE, Destinations
from local.azure_simulator.diagnostics import DiagnosticSettings
from local.azure_simulator.iothub import IotHubs
from local.azure_simulator.locks import PROVIDER as LOCKS
from local.azure_simulator.security import SecuritySolutions
from local.azure_simulator.state import State
from local.azure_simulator.subscriptions import READ as READ_SUBSCRIPTION
from local.azure_simulator.subscriptions import Subscriptions
from local.azure_simulator.wire import Call, Reply


SUBSCRIPTION = "/subscriptions/{sub}"
GROUP = f"{SUBSCRIPTION}/resourceGroups/{{rg}}"
HUBS = "/providers/Microsoft.Devices/IotHubs"
HUB = f"{GROUP}{HUBS}/{{hub}}"
KEY = f"{HUB}/IotHubKeys/{{key}}"
OPERATION = f"{SUBSCRIPTION}/providers/Microsoft.Devices/locations/{{loc}}/operationResults/{{operation}}"
SETTINGS = f"{HUB}/providers/microsoft.insights/diagnosticSettings"
SETTING = f"{SETTINGS}/{{setting}}"
CATEGORIES = f"{SETTINGS}Categories"
SOLUTIONS = f"/providers/{security.TYPE}"
SOLUTION = f"{GROUP}{SOLUTIONS}/{{solution}}"
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
        action: The right that it takes; empty: none, the handler leaves out what may not be read.
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
    return (
        *subscription_routes(Subscriptions(state)),
        *hub_routes(IotHubs(state)),
        *diagnostics_routes(DiagnosticSettings(state)),
        *security_routes(SecuritySolutions(state)),
        *destination_routes(Destinations(state.destinations)),
        *lock_routes(state),
    )


def subscription_routes(subscriptions: Subscriptions) -> tuple[Route, ...]:
    """Reading of Microsoft.Resources."""
    return (
        Route("GET", "/subscriptions", subscriptions.list, "", "/"),
        Route("GET", SUBSCRIPTION, subscriptions.get, READ_SUBSCRIPTION, SUBSCRIPTION),
    )


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


def diagnostics_routes(settings: DiagnosticSettings) -> tuple[Route, ...]:
    """Operations of Microsoft.Insights on hubs; their events have its name in lower case (AZURE §5)."""
    read, write, delete = (f"{diagnostics.ACTION}/{verb}" for verb in ("read", "write", "delete"))
    read_category = f"{diagnostics.CATEGORY_ACTION}/read"
    return (
        Route("GET", SETTINGS, settings.list, read, HUB),
        Route("GET", SETTING, settings.get, read, SETTING),
        Route("PUT", SETTING, settings.put, write, SETTING, lock="write", event="Write"),
        Route("DELETE", SETTING, settings.delete, delete, SETTING, lock="delete", event="Delete"),
        Route("GET", CATEGORIES, settings.list_categories, read_category, HUB),
        Route("GET", f"{CATEGORIES}/{{category}}", settings.get_category, read_category, HUB),
    )


def security_routes(solutions: SecuritySolutions) -> tuple[Route, ...]:
    """Operations of Microsoft.Security."""
    read, write, delete = security.READ, security.WRITE, security.DELETE
    return (
        Route("GET", f"{SUBSCRIPTION}{SOLUTIONS}", solutions.list, read, SUBSCRIPTION),
        Route("GET", f"{GROUP}{SOLUTIONS}", solutions.list, read, GROUP),
        Route("GET", SOLUTION, solutions.get, read, SOLUTION),
        Route("PUT", SOLUTION, solutions.put, write, SOLUTION, lock="write", event="Write"),
        Route("PATCH", SOLUTION, solutions.patch, write, SOLUTION, lock="write", event="Write"),
        Route("DELETE", SOLUTION, solutions.delete, delete, SOLUTION, lock="delete", event="Delete"),
    )


def destination_routes(destinations: Destinations) -> tuple[Route, ...]:
    """GET of what diagnostic settings send to."""
    namespace, _, rule = EVENT_HUB_RULE.rpartition("/")
    paths = {
        WORKSPACE: f"{GROUP}/providers/{WORKSPACE}/{{name}}",
        STORAGE: f"{GROUP}/providers/{STORAGE}/{{name}}",
        EVENT_HUB_RULE: f"{GROUP}/providers/{namespace}/{{namespace}}/{rule}/{{name}}",
    }
    return tuple(Route("GET", path, destinations.get, f"{kind}/read", path) for kind, path in paths.items())


def lock_routes(state: State) -> tuple[Route, ...]:
    """Operations of Microsoft.Authorization/locks. Locks do not block the work on locks."""
    locks = state.locks
    return (
        Route("GET", f"{{scope}}{LOCKS}", locks.list, f"{LOCK_ACTION}/read", "{scope}"),
        Route("GET", LOCK, locks.get, f"{LOCK_ACTION}/read", LOCK),
        Route("PUT", LOCK, locks.put, f"{LOCK_ACTION}/write", LOCK, event="Write"),
        Route("DELETE", LOCK, locks.delete, f"{LOCK_ACTION}/delete", LOCK, event="Delete"),
    )
