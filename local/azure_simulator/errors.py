"""The error shapes of Azure that a client of this simulator can meet (RECORDINGS §5).

* the ARM gateway: `{"error": {"code", "message"}}` with header `x-ms-failure-cause: gateway`
* the IoT Hub resource provider: flat, with an INTEGER code
* Azure Monitor: flat, with a code of letters
* Defender for Cloud: like the gateway, without its header
* the data plane of a hub: `{"Message": "ErrorCode:…;…", "ExceptionMessage": "Tracking ID:…"}`
* Entra ID: OAuth 2 error members plus AADSTS details
"""

import uuid

from collections.abc import Mapping
from typing import Any

from local.azure_simulator.clock import plain, utc_now


GATEWAY = {"x-ms-failure-cause": "gateway"}

STATUS_NAMES = {
    400: "BadRequest",
    404: "NotFound",
    409: "Conflict",
    412: "PreconditionFailed",
    500: "InternalServerError",
}

LEGACY_NAMES = {404001: "KeyNameNotFound", 404002: "IotHubNotFound"}
"""Codes as api-versions up to 2017-07-01 write them; others of that time are not known."""

LAST_LEGACY_VERSION = "2017-07-01"
NUMERIC_STATUS_VERSION = "2023-06-30-preview"


class AzureError(Exception):
    """An answer that is not a success. Raised by handlers, sent as it stands by the server."""

    def __init__(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = dict(headers or {})


def arm_error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> AzureError:
    """An error of the ARM gateway."""
    return AzureError(status, {"error": {"code": code, "message": message}}, GATEWAY | dict(headers or {}))


def rp_error(code: int, message: str, api_version: str) -> AzureError:
    """An error of the IoT Hub provider; the first three digits of `code` are the HTTP status.

    `httpStatusCode` is a name, but a number under 2023-06-30-preview, and all members are capitalised with a
    symbolic code up to 2017-07-01 (RECORDINGS §5).
    """
    status = code // 1000
    text = (
        f"{message} If you contact a support representative please include this correlation identifier: "
        f"{uuid.uuid4()}, timestamp: {plain(utc_now())}, errorcode: IH{code}."
    )
    name = STATUS_NAMES[status]
    if api_version <= LAST_LEGACY_VERSION and code in LEGACY_NAMES:
        return AzureError(status, {"Code": LEGACY_NAMES[code], "HttpStatusCode": name, "Message": text})
    shown = status if api_version == NUMERIC_STATUS_VERSION else name
    return AzureError(status, {"code": code, "httpStatusCode": shown, "message": text})


def monitor_error(status: int, code: str, message: str) -> AzureError:
    """An error of Azure Monitor."""
    return AzureError(status, {"code": code, "message": message})


def security_error(status: int, code: str, message: str) -> AzureError:
    """An error of Defender for Cloud."""
    return AzureError(status, {"error": {"code": code, "message": message}})


def data_plane_error(status: int, code: str, message: str) -> AzureError:
    """An error of a hub's own endpoint: the code is in a header, and again in the text (RECORDINGS §7)."""
    tracking = f"Tracking ID:{uuid.uuid4().hex}-G:0-TimeStamp:{utc_now():%m/%d/%Y %H:%M:%S}"
    body = {"Message": f"ErrorCode:{code};{message}", "ExceptionMessage": tracking}
    return AzureError(status, body, {"iothub-errorcode": code})


def entra_error(status: int, error: str, number: int, message: str) -> AzureError:
    """An error of the token endpoint."""
    trace, correlation, moment = str(uuid.uuid4()), str(uuid.uuid4()), plain(utc_now())
    description = f"AADSTS{number}: {message} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {moment}"
    return AzureError(
        status,
        {
            "error": error,
            "error_description": description,
            "error_codes": [number],
            "timestamp": moment,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://login.microsoftonline.com/error?code={number}",
        },
    )


def resource_not_found(
    name: str,
    resource_group: str,
    resource_type: str = "Microsoft.Devices/IotHubs",
) -> AzureError:
    """The gateway's 404 for a resource that ARM does not know."""
    return arm_error(
        404,
        "ResourceNotFound",
        f"The Resource '{resource_type}/{name}' under resource group '{resource_group}' was not found. "
        "For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )


def resource_group_not_found(resource_group: str) -> AzureError:
    """The gateway's 404 for a resource group that does not exist."""
    return arm_error(404, "ResourceGroupNotFound", f"Resource group '{resource_group}' could not be found.")
