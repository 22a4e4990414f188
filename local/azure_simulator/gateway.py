"""The ARM gateway: tokens, throttling, api-versions, rights and locks, in this order, before any operation."""

import dataclasses
import uuid

from local.azure_simulator.errors import GATEWAY, AzureError, arm_error
from local.azure_simulator.routes import Route, arm_routes
from local.azure_simulator.state import State
from local.azure_simulator.wire import Call, Reply


class Gateway:
    """Answers ARM requests; never raises."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._routes = arm_routes(state)

    def answer(self, call: Call) -> Reply:
        """The answer to an authenticated call, with ARM's own headers."""
        headers = {
            "x-ms-request-id": str(uuid.uuid4()),
            "x-ms-correlation-request-id": call.correlation_id,
            "Cache-Control": "no-cache",
        }
        try:
            headers |= self._charge(call)
            reply = self._operate(call)
        except AzureError as error:
            reply = Reply(error.status, error.body, error.headers)
        return dataclasses.replace(reply, headers={**headers, **reply.headers})

    def _charge(self, call: Call) -> dict[str, str]:
        parts = call.path.split("/")
        subscription = parts[2] if len(parts) > 2 and parts[1].lower() == "subscriptions" else ""  # noqa: PLR2004
        return self._state.throttle.charge(call, subscription, self._state.config)

    def _operate(self, call: Call) -> Reply:
        if not call.query.get("api-version"):
            raise arm_error(
                400,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )
        route, call = self._find(call)
        scope = route.scope.format(**call.params)
        if route.action:
            self._state.access.require(call.caller, route.action, scope)
        if route.lock:
            self._state.locks.check(scope, route.lock)
        reply = route.handler(call)
        if route.event and reply.status in (200, 201):
            self._state.publish(route.event, scope, route.action, call)
        return reply

    def _find(self, call: Call) -> tuple[Route, Call]:
        for route in self._routes:
            params = route.match(call.method, call.path)
            if params is not None:
                return route, dataclasses.replace(call, params=params)
        raise unknown_type(call.path)


def unknown_type(path: str) -> AzureError:
    """The gateway's 404 for what is not simulated; worded as for a type that does not exist."""
    _, _, tail = path.partition("/providers/")
    namespace, _, kind = tail.partition("/")
    return AzureError(
        404,
        {
            "error": {
                "code": "InvalidResourceType",
                "message": f"The resource type '{kind.split('/')[0]}' could not be found in the namespace "
                f"'{namespace}'.",
            },
        },
        GATEWAY,
    )
