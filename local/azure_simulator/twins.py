"""The bodies of devices and modules: twins, as queries show them, and identities, which hold keys."""

import base64
import uuid

from typing import Any

from local.azure_simulator.clock import seven_digits, utc_now
from local.azure_simulator.devices import NEVER, Device, Module
from local.azure_simulator.hub import Hub
from local.azure_simulator.keys import derived_key
from local.azure_simulator.wire import Json


NO_THUMBPRINT = {"primaryThumbprint": None, "secondaryThumbprint": None}
NEW_PROPERTIES = {
    "desired": {"$metadata": {"$lastUpdated": NEVER}, "$version": 1},
    "reported": {"$metadata": {"$lastUpdated": NEVER}, "$version": 1},
}


def twin(device: Device, module: Module | None) -> Json:
    """The twin of a module, or of the device itself, in a query's answer."""
    identity = device if module is None else module
    shown: Json = {"deviceId": device.id}
    if module is not None:
        shown["moduleId"] = module.id
    shown |= {
        "etag": "AAAAAAAAAAE=",
        "deviceEtag": device_etag(device, module),
        "status": device.status,
        "statusUpdateTime": NEVER,
        "connectionState": identity.connection_state,
        "lastActivityTime": identity.last_activity,
        "cloudToDeviceMessageCount": 0,
        "authenticationType": device.authentication,
        "x509Thumbprint": NO_THUMBPRINT,
        "version": 2,
    }
    if module is None and device.tags is not None:
        shown["tags"] = device.tags
    return shown | {"properties": NEW_PROPERTIES, "capabilities": {"iotEdge": device.edge}}


def device_identity(hub: Hub, device: Device) -> Json:
    """The body of `GET /devices/{id}`, keys included."""
    return {
        "deviceId": device.id,
        "generationId": generation(device),
        "etag": device_etag(device, None),
        "connectionState": device.connection_state,
        "status": device.status,
        "statusReason": None,
        "connectionStateUpdatedTime": NEVER.rstrip("Z"),
        "statusUpdatedTime": NEVER.rstrip("Z"),
        "lastActivityTime": device.last_activity.rstrip("Z"),
        "cloudToDeviceMessageCount": 0,
        "authentication": authentication(hub, device, None),
        "capabilities": {"iotEdge": device.edge},
        "parentScopes": [],
    }


def module_identity(hub: Hub, device: Device, module: Module) -> Json:
    """The body of `GET /devices/{id}/modules/{id}`, keys included."""
    return {
        "moduleId": module.id,
        "managedBy": None,
        "deviceId": device.id,
        "generationId": generation(device),
        "etag": device_etag(device, module),
        "connectionState": module.connection_state,
        "connectionStateUpdatedTime": NEVER.rstrip("Z"),
        "lastActivityTime": module.last_activity.rstrip("Z"),
        "cloudToDeviceMessageCount": 0,
        "authentication": authentication(hub, device, module),
    }


def device_created(hub: Hub, device: Device) -> Json:
    """The event that the hub's own topic publishes; the topic is in upper case (AZURE §5)."""
    shown = twin(device, None)
    version = {"$metadata": {"$lastUpdated": NEVER}, "$version": 1}
    shown = {name: shown[name] for name in shown if name != "capabilities"} | {
        "properties": {"desired": version, "reported": version},
    }
    return {
        "id": str(uuid.uuid4()),
        "topic": hub.path.id.upper(),
        "subject": f"devices/{device.id}",
        "eventType": "Microsoft.Devices.DeviceCreated",
        "eventTime": seven_digits(utc_now()),
        "data": {"twin": shown, "hubName": hub.path.name, "deviceId": device.id},
        "dataVersion": "1",
        "metadataVersion": "1",
    }


def authentication(hub: Hub, device: Device, module: Module | None) -> Json:
    """The credentials of an identity: recognisable keys, the same at each call."""
    of = f"{hub.path.key}/{device.id}/{module.id if module else ''}"
    keyed = device.authentication == "sas"
    keys: dict[str, Any] = {
        "primaryKey": derived_key(f"{of}/1") if keyed else None,
        "secondaryKey": derived_key(f"{of}/2") if keyed else None,
    }
    return {"symmetricKey": keys, "x509Thumbprint": NO_THUMBPRINT, "type": device.authentication}


def device_etag(device: Device, module: Module | None) -> str:
    """Nine digits in base64, as recorded."""
    number = 100_000_000 + device.number * 7 + (0 if module is None else len(module.id))
    return base64.b64encode(str(number).encode()).decode()


def generation(device: Device) -> str:
    """Ticks of the moment at which the identity was made."""
    return str(638_000_000_000_000_000 + device.number)
