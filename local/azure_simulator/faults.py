"""Faults on purpose: which requests go wrong, how, and how often."""

import itertools
import random
import re

from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from local.azure_simulator.errors import AzureError, arm_error, data_plane_error, rp_error


type FaultKind = Literal["status", "cut", "cut_after", "slow"]

HTML_503 = (
    "<!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0 Transitional//EN' "
    "'http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd'><html xmlns='http://www.w3.org/1999/xhtml'><head>"
    "<title>Service unavailable</title></head><body><h2>Our services aren't available right now</h2>"
    "<p>We're working to restore all services as soon as possible. Please check back soon.</p></body></html>"
)
"""Front Door's page in place of an answer (RECORDINGS §5)."""


@dataclass(slots=True)
class Fault:
    """One kind of trouble for the requests that match.

    Attributes:
        method: HTTP method, `*` for all.
        path: Regular expression searched in the path, without regard to casing.
        kind: `status` answers with an error; `cut` closes the connection unanswered; `cut_after` does so after the
            request took effect; `slow` sends half of the answer, and the rest `seconds` later.
        times: How many requests it hits; None for all.
        skip: How many matching requests pass first.
        probability: Chance for each match, drawn from `seed`.
        status: HTTP status of `status`.
        retry_after: Seconds in a `Retry-After` header of `status`; None sends none.
        html: Answer with Front Door's HTML page.
        seconds: Of `slow`.
        principal: Client id of the caller it is for; `*` for all. The token endpoint has no caller.
    """

    method: str = "*"
    path: str = ""
    kind: FaultKind = "status"
    times: int | None = 1
    skip: int = 0
    probability: float = 1.0
    seed: int = 1
    status: int = 500
    retry_after: float | None = None
    html: bool = False
    seconds: float = 1.0
    principal: str = "*"
    id: int = 0
    hits: int = 0
    _chance: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind.__value__):
            raise ValueError(f"unknown kind of fault: {self.kind!r}, allowed: {get_args(FaultKind.__value__)}")
        try:
            re.compile(self.path)
        except re.error as error:
            raise ValueError(f"path is no regular expression: {self.path!r}: {error}") from error
        self._chance = random.Random(self.seed)

    def strikes(self, method: str, path: str, principal: str | None) -> bool:
        """Whether this request is hit; counts it."""
        if not self._matches(method, path, principal) or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self._chance.random() >= self.probability:
            return False
        if self.times is not None:
            self.times -= 1
        self.hits += 1
        return True

    def view(self) -> dict[str, Any]:
        """The fault as the control API shows it."""
        return {name.name: getattr(self, name.name) for name in fields(self) if name.repr}

    def error(self, api_version: str, *, data_plane: bool = False) -> AzureError:
        """The answer of a `status` fault, of ARM or of a hub itself."""
        error = hub_error_of(self.status) if data_plane else error_of(self.status, api_version)
        if self.retry_after is not None:
            error.headers["Retry-After"] = f"{self.retry_after:g}"
        return error

    def _matches(self, method: str, path: str, principal: str | None) -> bool:
        return (
            self.method in ("*", method)
            and (self.principal == "*" or self.principal.lower() == (principal or "").lower())
            and re.search(self.path, path, re.IGNORECASE) is not None
        )


class Faults:
    """The faults in force, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.all: list[Fault] = []

    def add(self, fault: Fault) -> int:
        """Put the fault in force; its number."""
        fault.id = next(self._numbers)
        self.all.append(fault)
        return fault.id

    def strike(self, method: str, path: str, principal: str | None) -> Fault | None:
        """The first fault that hits this request."""
        return next((fault for fault in self.all if fault.strikes(method, path, principal)), None)

    def clear(self, fault_id: int | None = None) -> None:
        """Lift one fault, or all."""
        self.all = [fault for fault in self.all if fault_id is not None and fault.id != fault_id]


NO_ANSWER = "The gateway did not receive a response from 'Microsoft.Devices' within the specified time period."
NO_CONNECTION = "The network connectivity issue encountered for 'Microsoft.Devices'; cannot fulfill the request."
NO_RIGHT = "The client does not have authorization to perform action over scope or the scope is invalid."
NOT_ACTIVE = "The IotHub is not currently in Active state. Try the request again after it is in Active state."

GATEWAY_ANSWERS = {
    403: ("AuthorizationFailed", NO_RIGHT),
    404: ("ResourceNotFound", "The Resource was not found."),
    408: ("RequestTimeout", "The request timed out."),
    429: ("SubscriptionRequestsThrottled", "Number of requests exceeded the backend storage limit."),
    502: ("BadGatewayConnection", NO_CONNECTION),
    503: ("ServerTimeout", "The request timed out."),
    504: ("GatewayTimeout", NO_ANSWER),
}
PROVIDER_ANSWERS = {
    409: (409002, NOT_ACTIVE),
    412: (412001, "Invalid ETag supplied."),
    500: (500019, "Internal Error."),
}


def error_of(status: int, api_version: str) -> AzureError:
    """The answer of whoever gives this status in the recordings: the IoT Hub provider, or the gateway (§5)."""
    if status in PROVIDER_ANSWERS:
        number, text = PROVIDER_ANSWERS[status]
        return rp_error(number, text, api_version)
    code, text = GATEWAY_ANSWERS.get(status, ("InternalServerError", "Encountered internal server error."))
    return arm_error(status, code, text)


HUB_ANSWERS = {
    401: ("IotHubUnauthorizedAccess", "Unauthorized"),
    403: ("IotHubUnauthorizedAccess", "Forbidden"),
    404: ("IotHubNotFound", "NotFound"),
    412: ("PreconditionFailed", "PreconditionFailed"),
    429: ("ThrottlingException", "The request has been throttled. Wait 10 seconds and try again."),
    503: ("ServiceUnavailable", "ServiceUnavailable"),
}


def hub_error_of(status: int) -> AzureError:
    """The answer of a hub's data plane with this status, in the shape of the recorded 412 (§7)."""
    return data_plane_error(status, *HUB_ANSWERS.get(status, ("ServerError", "InternalServerError")))
