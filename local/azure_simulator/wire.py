"""What comes in and what goes out, free of any web framework."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local.azure_simulator.errors import arm_error
from local.azure_simulator.principals import Caller


type Json = dict[str, Any]

NO_BODY = object()
"""A `Reply.body` that is not even `null`."""


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated ARM request; `params` are the named parts of the matched path, in the caller's casing."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    caller: Caller
    correlation_id: str
    client_ip: str
    url: str
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def api_version(self) -> str:
        """The api-version of the query; the gateway has refused calls without one."""
        return self.query["api-version"]

    def body_object(self) -> Json:
        """The body as a JSON object, or the gateway's refusal."""
        if isinstance(self.body, dict):
            return self.body
        raise arm_error(
            400,
            "InvalidRequestContent",
            "The request content was invalid and could not be deserialized: 'the body must be a JSON object'.",
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; a `body` of `NO_BODY` sends zero bytes."""

    status: int
    body: Any = NO_BODY
    headers: Mapping[str, str] = field(default_factory=dict)
