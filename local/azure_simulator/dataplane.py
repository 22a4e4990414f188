"""The data plane of IoT hubs: twin queries, identities and statistics, api-version 2021-04-12 (AZURE §4).

Recorded are identities, module twins, their late appearance and the shape of errors; the rest is documentation:
codes and texts of 401, 403 and 429 are those that Microsoft's own SDKs and public reports name.
"""

import ipaddress

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local.azure_simulator.dataplane_query import query
from local.azure_simulator.devices import Device, Registry
from local.azure_simulator.errors import AzureError, data_plane_error
from local.azure_simulator.hub import Hub
from local.azure_simulator.principals import Caller
from local.azure_simulator.state import State
from local.azure_simulator.throttle import Bucket
from local.azure_simulator.twins import device_identity, module_identity
from local.azure_simulator.wire import Json, Reply


PREFIX = "/_dataplane/"
SUFFIX = ".azure-devices.net"
"""How the simulator knows a request for a data plane: by its path, or by its Host header."""

AUDIENCE = "https://iothubs.azure.net"

READ_DEVICES = "Microsoft.Devices/IotHubs/devices/read"
READ_TWINS = "Microsoft.Devices/IotHubs/twins/read"

LIMITS: Mapping[str, tuple[float, float]] = {"query": (20, 1000), "registry": (100, 5000)}
"""Requests per minute and unit: in all tiers but the third, and in the third (AZURE §4)."""

UNAUTHORIZED = "IotHubUnauthorizedAccess"


@dataclass(frozen=True, slots=True)
class HubCall:
    """One request to a hub's host name."""

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    caller: Caller | None
    client_ip: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: the right that it takes, the limit that it counts against, whether Basic hubs have it."""

    answer: Callable[[HubCall, Hub, Registry], Reply]
    action: str
    limit: str
    basic: bool = True


class DataPlane:
    """Answers requests to hubs; never raises."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._buckets: dict[tuple[str, str], tuple[tuple[float, float], Bucket]] = {}

    def answer(self, call: HubCall) -> Reply:
        """The answer to a call, refusals included."""
        try:
            return self._operate(call)
        except AzureError as error:
            return Reply(error.status, error.body, error.headers)

    def _operate(self, call: HubCall) -> Reply:
        hub = self._state.hub_at(call.host)
        if hub is None:
            raise data_plane_error(404, "IotHubNotFound", f"IotHub {call.host} not found")
        self._check_network(call, hub)
        self._check_token(call)
        operation = self._operation(call)
        self._check_right(call, hub, operation.action)
        if not call.query.get("api-version"):
            raise data_plane_error(400, "InvalidProtocolVersion", "BadRequest")
        if not operation.basic and is_basic(hub):
            text = "The operation is not available in the current tier."
            raise data_plane_error(403, "OperationNotAvailableInCurrentTier", text)
        self._charge(hub, operation.limit)
        return operation.answer(call, hub, self._state.registries.get(hub.path.key) or Registry())

    def _operation(self, call: HubCall) -> Operation:
        match [call.method, *call.path.strip("/").split("/")]:
            case ["POST", "devices", "query"]:
                return Operation(self._query, READ_TWINS, "query", basic=False)
            case ["GET", "devices", _]:
                return Operation(get_device, READ_DEVICES, "registry")
            case ["GET", "devices", _, "modules"]:
                return Operation(list_modules, READ_DEVICES, "registry", basic=False)
            case ["GET", "devices", _, "modules", _]:
                return Operation(get_module, READ_DEVICES, "registry", basic=False)
            case ["GET", "statistics", "devices"]:
                return Operation(statistics, READ_DEVICES, "registry")
        raise data_plane_error(404, "InvalidOperation", "Not Found")

    def _query(self, call: HubCall, _hub: Hub, registry: Registry) -> Reply:
        return query(call.body, call.headers, registry, self._state.config)

    def _check_network(self, call: HubCall, hub: Hub) -> None:
        """A closed hub says no more than "unauthorized" (documentation of IP filters)."""
        if not is_open(hub.body["properties"], call.client_ip):
            status = self._state.config.closed_hub_status
            raise data_plane_error(status, UNAUTHORIZED, "Unauthorized" if status == 401 else "Forbidden")  # noqa: PLR2004

    def _check_token(self, call: HubCall) -> None:
        caller = call.caller
        if caller is None or not caller.is_valid() or caller.audience != AUDIENCE:
            raise data_plane_error(401, UNAUTHORIZED, "Unauthorized")

    def _check_right(self, call: HubCall, hub: Hub, action: str) -> None:
        """A missing role is a 401 too, and the text names the caller (issues of Azure SDKs)."""
        if call.caller is not None and not self._state.access.allows(call.caller, action, hub.path.id, data=True):
            who = call.caller.principal.upn or call.caller.principal.oid
            text = f"Principal {who} is not authorized for {call.method} on {call.path} due to no assigned"
            raise data_plane_error(401, "IotHubUnauthorized", f"{text} permissions")

    def _charge(self, hub: Hub, limit: str) -> None:
        rate = per_minute(hub, limit) * self._state.config.data_plane_throttle
        if not rate:
            return
        key, shape = (hub.path.key, limit), (rate, rate / 60)
        if key not in self._buckets or self._buckets[key][0] != shape:
            self._buckets[key] = (shape, Bucket(*shape))
        if self._buckets[key][1].take():
            text = "The request has been throttled. Wait 10 seconds and try again. Operation type: "
            raise data_plane_error(429, "ThrottlingException", text + ("Query" if limit == "query" else "CRUD"))


def is_basic(hub: Hub) -> bool:
    """Whether the hub is of a Basic tier, which has no twins, modules and queries."""
    return str(hub.body.get("sku", {}).get("name", "")).upper().startswith("B")


def per_minute(hub: Hub, limit: str) -> float:
    """How many requests a minute the hub takes."""
    sku = hub.body.get("sku", {})
    usual, third = LIMITS[limit]
    return (third if str(sku.get("name", "")).endswith("3") else usual) * int(sku.get("capacity") or 1)


def is_open(properties: Json, client_ip: str) -> bool:
    """Whether the hub's network rules let the address in."""
    if properties.get("publicNetworkAccess") == "Disabled":
        return False
    rules = properties.get("networkRuleSets") or {}
    if rules.get("defaultAction") == "Deny":
        return any(covers(rule, client_ip) for rule in rules.get("ipRules") or ())
    first = next((rule for rule in properties.get("ipFilterRules") or () if covers(rule, client_ip)), None)
    return first is None or first.get("action") != "Reject"


def covers(rule: Json, client_ip: str) -> bool:
    """Whether the rule is about the address."""
    try:
        return ipaddress.ip_address(client_ip) in ipaddress.ip_network(str(rule.get("ipMask")), strict=False)
    except ValueError:
        return False


def segment(call: HubCall, number: int) -> str:
    """One part of the path."""
    return call.path.strip("/").split("/")[number]


def existing(call: HubCall, registry: Registry) -> Device:
    """The device that the call is about."""
    device = registry.find(segment(call, 1))
    if device is None:
        raise data_plane_error(404, "DeviceNotFound", f"Device {segment(call, 1)} not registered")
    return device


def get_device(call: HubCall, hub: Hub, registry: Registry) -> Reply:
    """GET one device identity, at once after it was made."""
    body = device_identity(hub, existing(call, registry))
    return Reply(200, body, {"ETag": f'"{body["etag"]}"'})


def list_modules(call: HubCall, hub: Hub, registry: Registry) -> Reply:
    """GET all modules of a device: a plain array."""
    device = existing(call, registry)
    return Reply(200, [module_identity(hub, device, module) for module in device.modules])


def get_module(call: HubCall, hub: Hub, registry: Registry) -> Reply:
    """GET one module identity, at once after it was made."""
    device = existing(call, registry)
    module = device.module(segment(call, 3))
    if module is None:
        raise data_plane_error(404, "ModuleNotFound", f"Module {device.id}/{segment(call, 3)} not registered")
    body = module_identity(hub, device, module)
    return Reply(200, body, {"ETag": f'"{body["etag"]}"'})


def statistics(_call: HubCall, _hub: Hub, registry: Registry) -> Reply:
    """GET the counts of devices."""
    disabled = registry.disabled()
    total = len(registry)
    counts = {"totalDeviceCount": total, "enabledDeviceCount": total - disabled, "disabledDeviceCount": disabled}
    return Reply(200, counts)
