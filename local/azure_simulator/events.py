"""Event Grid: the events that ARM's system topic publishes about writes, deletions and actions (AZURE §5)."""

import json
import uuid

from typing import Any, Literal

from local.azure_simulator.clock import seven_digits, utc_now
from local.azure_simulator.wire import Call, Json


type Schema = Literal["EventGridSchema", "CloudEventSchemaV1_0"]

type Topic = Literal["arm", "hub"]
"""Whose events: those of ARM, about resources, or those of the hubs themselves, about devices."""

TOPICS = ("arm", "hub")
SCHEMAS = ("EventGridSchema", "CloudEventSchemaV1_0")
CLAIMS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
MS_CLAIMS = "http://schemas.microsoft.com/identity/claims"
STRUCTURED = ("authorization", "claims", "httpRequest")


def resource_event(kind: str, scope: str, action: str, call: Call) -> Json:
    """The event in EventGridSchema; `kind` is Write, Delete or Action."""
    subscription = scope.split("/")[2]
    return {
        "subject": scope,
        "eventType": f"Microsoft.Resources.Resource{kind}Success",
        "eventTime": seven_digits(utc_now()),
        "id": str(uuid.uuid4()),
        "data": {
            "authorization": authorization(scope, action, call),
            "claims": claims(call),
            "correlationId": call.correlation_id,
            "httpRequest": {
                "clientRequestId": call.headers.get("x-ms-client-request-id", ""),
                "clientIpAddress": call.client_ip,
                "method": call.method,
                "url": call.url,
            },
            "resourceProvider": action.split("/", 1)[0],
            "resourceUri": scope,
            "operationName": action,
            "status": "Succeeded",
            "subscriptionId": subscription,
            "tenantId": call.caller.tenant,
        },
        "dataVersion": "2",
        "metadataVersion": "1",
        "topic": f"/subscriptions/{subscription}",
    }


def authorization(scope: str, action: str, call: Call) -> Json:
    """Under which role the caller did it."""
    person = call.caller.principal.upn is not None
    return {
        "scope": scope,
        "action": action,
        "evidence": {
            "role": "Contributor",
            "roleAssignmentScope": "/".join(scope.split("/")[:3]),
            "roleAssignmentId": uuid.uuid5(uuid.NAMESPACE_URL, call.caller.principal.oid).hex,
            "roleDefinitionId": "b24988ac618042a0ab8820f7382dd24c",
            "principalId": call.caller.principal.oid.replace("-", ""),
            "principalType": "User" if person else "ServicePrincipal",
        },
    }


def claims(call: Call) -> Json:
    """The caller's token as ARM spells it out; all values are strings."""
    token = {name: str(value) for name, value in call.caller.claims.items()}
    renamed = {
        f"{MS_CLAIMS}/objectidentifier": token["oid"],
        f"{MS_CLAIMS}/tenantid": token["tid"],
        f"{CLAIMS}/nameidentifier": token["sub"],
        "ipaddr": call.client_ip,
    }
    if "upn" in token:
        renamed |= {
            f"{CLAIMS}/upn": token["upn"],
            f"{CLAIMS}/name": token["upn"],
            f"{MS_CLAIMS}/scope": "user_impersonation",
        }
    kept = ("aud", "iss", "iat", "nbf", "exp", "appid", "appidacr", "name", "uti", "ver")
    return {name: token[name] for name in kept} | renamed


def topic_of(event: Json) -> Topic:
    """Which topic publishes such events."""
    return "hub" if str(event["eventType"]).startswith("Microsoft.Devices.") else "arm"


def as_strings(event: Json) -> Json:
    """The event as older ones came: its structured members as JSON text (RECORDINGS §8)."""
    data = {name: json.dumps(value) if name in STRUCTURED else value for name, value in event["data"].items()}
    return event | {"data": data}


def as_cloud_event(event: Json) -> Json:
    """The event in CloudEvents 1.0."""
    return {
        "source": event["topic"],
        "subject": event["subject"],
        "type": event["eventType"],
        "time": event["eventTime"],
        "id": event["id"],
        "data": event["data"],
        "specversion": "1.0",
    }


def validation_event(topic: str, code: str) -> list[Json]:
    """The handshake that Event Grid sends to a new webhook in EventGridSchema."""
    data: dict[str, Any] = {"validationCode": code}
    return [
        {
            "id": str(uuid.uuid4()),
            "topic": topic,
            "subject": "",
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": seven_digits(utc_now()),
            "data": data,
            "dataVersion": "2",
            "metadataVersion": "1",
        },
    ]
