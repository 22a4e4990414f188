"""One IoT hub: what the service stores of it, and what it shows of it."""

import base64
import copy
import re
import uuid

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from local.azure_simulator.clock import http_date, seven_digits, utc_now
from local.azure_simulator.keys import KeyMaker, masked, with_keys


type Json = dict[str, Any]

DEFAULT_POLICIES = (
    ("iothubowner", "RegistryWrite, ServiceConnect, DeviceConnect"),
    ("service", "ServiceConnect"),
    ("device", "DeviceConnect"),
    ("registryRead", "RegistryRead"),
    ("registryReadWrite", "RegistryWrite"),
)
"""Name and rights, in the order and spelling of listkeys (RECORDINGS §4)."""

HUB_ID = re.compile(
    r"/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.Devices/IotHubs/([^/]+)/?",
    re.IGNORECASE,
)

DEFAULT_LOCATION = "westeurope"

RIGHTS = ("RegistryRead", "RegistryWrite", "ServiceConnect", "DeviceConnect")


@dataclass(frozen=True, slots=True)
class HubPath:
    """The parts of a hub's resource id, as the caller spelled them."""

    subscription: str
    resource_group: str
    name: str

    @property
    def id(self) -> str:
        """The resource id in Azure's own casing."""
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.Devices/IotHubs/{self.name}"
        )

    @property
    def key(self) -> str:
        """The id for comparisons: resource ids are case-insensitive."""
        return self.id.lower()

    @classmethod
    def of(cls, hub_id: str) -> Self:
        """The path in a resource id of any casing; ValueError if it is not the id of a hub."""
        found = HUB_ID.fullmatch(hub_id)
        if found is None:
            raise ValueError(f"not the id of an IoT hub: {hub_id!r}")
        return cls(*found.groups())


@dataclass(slots=True)
class Hub:
    """A stored hub. `body` holds real secrets and no policies; `shown_state` overrides its two state members."""

    path: HubPath
    body: Json
    policies: list[Json]
    monitoring_keys: Json
    shown_state: tuple[str, str] | None = None

    @property
    def state(self) -> str:
        """The state a GET shows: Active, Transitioning, Deleting, ActivationFailed, ..."""
        return self.shown_state[0] if self.shown_state else str(self.body["properties"].get("state"))

    @property
    def etag(self) -> str:
        """The etag of the last completed write."""
        return str(self.body["etag"])

    @property
    def host(self) -> str:
        """The host name of its data plane, in lower case."""
        return str(self.body["properties"].get("hostName") or f"{self.path.name}.azure-devices.net").lower()

    def view(self) -> Json:
        """The body of GET and LIST: no policies, secrets masked (RECORDINGS §2.1, §2.3).

        Only the properties are a copy: the view is for sending, not for changing.
        """
        shown = self.body | {"properties": masked(self.body["properties"])}
        if self.shown_state:
            shown["properties"]["state"], shown["properties"]["provisioningState"] = self.shown_state
        return shown

    def raw(self) -> Json:
        """Everything stored, secrets included, for tests and the control API."""
        return copy.deepcopy({"body": self.body, "policies": self.policies, "state": self.state})


@dataclass(slots=True)
class HubFactory:
    """Makes the parts of hubs that the service invents: keys, etags, ids."""

    make_key: KeyMaker
    _etag: int = field(default=0x0C7F48965)

    def next_etag(self) -> str:
        """A new etag: eight bytes counting up, in base64 (RECORDINGS §2.4)."""
        self._etag += 0x24
        return base64.b64encode(self._etag.to_bytes(8)).decode()

    def seeded(self, body: Mapping[str, Any], policies: Iterable[Mapping[str, Any]] | None = None) -> Hub:
        """A hub from a GET body, which has a `state`, as it is; or from less, laid over the defaults.

        Masks get keys, since a hub with `****` in its GET body has keys.
        """
        path = HubPath.of(str(body["id"]))
        stored: Json = copy.deepcopy(dict(body))
        properties = with_keys(dict(stored.get("properties") or {}), self.make_key)
        in_body = properties.pop("authorizationPolicies", None)
        if "state" not in properties:
            envelope = self.envelope(path, str(stored.get("location", DEFAULT_LOCATION)))
            properties = envelope["properties"] | properties
            stored = envelope | stored
        stored["properties"] = properties
        stored["etag"] = stored.get("etag") or self.next_etag()
        given = policies if policies is not None else in_body
        return Hub(path, stored, self.policies(given), self.monitoring_endpoint(path.name))

    def envelope(self, path: HubPath, location: str) -> Json:
        """A live S1 hub with nothing set."""
        return {
            "id": path.id,
            "name": path.name,
            "type": "Microsoft.Devices/IotHubs",
            "location": location,
            "tags": {},
            "subscriptionid": path.subscription,
            "resourcegroup": path.resource_group,
            "etag": None,
            "properties": default_properties(path.name, location),
            "sku": {"name": "S1", "tier": "Standard", "capacity": 1},
            "identity": {"type": "None"},
            "systemData": {"createdAt": seven_digits(utc_now())},
        }

    def policies(self, given: Iterable[Mapping[str, Any]] | None) -> list[Json]:
        """SAS policies as stored: missing keys are made, RegistryRead goes up in RegistryWrite (RECORDINGS §4)."""
        entries = given if given is not None else [{"keyName": n, "rights": r} for n, r in DEFAULT_POLICIES]
        return [
            {
                "keyName": entry["keyName"],
                "primaryKey": entry.get("primaryKey") or self.make_key(),
                "secondaryKey": entry.get("secondaryKey") or self.make_key(),
                "rights": collapsed_rights(str(entry["rights"])),
            }
            for entry in entries
        ]

    def monitoring_endpoint(self, name: str) -> Json:
        """`operationsMonitoringEvents` of a PUT answer, with keys that nobody sent (RECORDINGS §3.4)."""
        moment = http_date(utc_now())

        def policy(key_name: str, *rights: str) -> Json:
            return {
                "ClaimType": "SharedAccessKey",
                "ClaimValue": "None",
                "KeyName": key_name,
                "PrimaryKey": self.make_key(),
                "SecondaryKey": self.make_key(),
                "Rights": list(rights),
                "CreatedTime": moment,
                "ModifiedTime": moment,
            }

        return {
            "retentionTimeInDays": 1,
            "partitionCount": 4,
            "partitionIds": ["0", "1", "2", "3"],
            "path": f"{name}-operationmonitoring",
            "endpoint": built_in_endpoint(name),
            "internalAuthorizationPolicies": [
                policy(f"scaleunitsend-{uuid.uuid4()}-iothub", "Send"),
                policy(f"owner-{uuid.uuid4()}-iothub", "Listen", "Manage", "Send"),
            ],
            "authorizationPolicies": [policy("iothubowner", "Listen"), policy("service", "Listen")],
        }


def default_properties(name: str, location: str) -> Json:
    """What GET shows of a new hub that was created with no properties."""
    return {
        "locations": [{"location": location, "role": "primary"}],
        "state": "Active",
        "provisioningState": "Succeeded",
        "ipFilterRules": [],
        "hostName": f"{name}.azure-devices.net",
        "eventHubEndpoints": {"events": built_in_events(name)},
        "routing": default_routing(fallback=True),
        "storageEndpoints": default_storage(),
        "messagingEndpoints": default_messaging(),
        "enableFileUploadNotifications": False,
        "cloudToDevice": default_cloud_to_device(),
        "features": "RootCertificateV2",
        "allowedFqdnList": [],
    }


def built_in_events(name: str, partitions: int = 4, retention: int = 1) -> Json:
    """The built-in Event Hubs endpoint."""
    return {
        "retentionTimeInDays": retention,
        "partitionCount": partitions,
        "partitionIds": [str(number) for number in range(partitions)],
        "path": name,
        "endpoint": built_in_endpoint(name),
    }


def built_in_endpoint(name: str) -> str:
    """A host name as the service makes it: the first ten letters of the hub, and numbers."""
    digest = uuid.uuid5(uuid.NAMESPACE_DNS, name.lower()).hex
    namespace = f"iothub-ns-{name.lower()[:10].rstrip('-')}-{int(digest[:6], 16)}-{digest[-10:]}"
    return f"sb://{namespace}.servicebus.windows.net/"


def default_routing(*, fallback: bool) -> Json:
    """Routing with nothing but the fallback route."""
    return {
        "endpoints": {"serviceBusQueues": [], "serviceBusTopics": [], "eventHubs": [], "storageContainers": []},
        "routes": [],
        "fallbackRoute": {
            "name": "$fallback",
            "source": "DeviceMessages",
            "condition": "true",
            "endpointNames": ["events"],
            "isEnabled": fallback,
        },
    }


def default_storage() -> Json:
    """No storage account for file uploads."""
    return {"$default": {"sasTtlAsIso8601": "PT1H", "connectionString": "", "containerName": ""}}


def default_messaging() -> Json:
    """Defaults of file upload notifications."""
    return {"fileNotifications": {"lockDurationAsIso8601": "PT1M", "ttlAsIso8601": "PT1H", "maxDeliveryCount": 10}}


def default_cloud_to_device() -> Json:
    """Defaults of cloud-to-device messages."""
    return {
        "maxDeliveryCount": 10,
        "defaultTtlAsIso8601": "PT1H",
        "feedback": {"lockDurationAsIso8601": "PT1M", "ttlAsIso8601": "PT1H", "maxDeliveryCount": 10},
    }


def collapsed_rights(rights: str) -> str:
    """Rights in the service's order; RegistryRead is not shown beside RegistryWrite (RECORDINGS §4)."""
    asked = {right.strip() for right in rights.split(",")}
    if "RegistryWrite" in asked:
        asked.discard("RegistryRead")
    known = [right for right in RIGHTS if right in asked]
    return ", ".join(known + sorted(asked.difference(RIGHTS)))
