"""The Event Grid webhook, after HttpRequestProcessor.cs and EventGridExtensionConfigProvider.cs.

The CloudEvents abuse protection (OPTIONS) and CloudEvents without an `aeg-event-type` header are those of
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md.
"""

import asyncio
import json

from collections.abc import Iterable
from typing import Any

from aiohttp import web
from azure.functions.meta import Datum

from .functions import Function, with_trigger
from .invoker import Invoker
from .keys import Gate


PATH = "/runtime/webhooks/eventgrid"
_CLOUD_EVENTS = {"application/cloudevents+json", "application/cloudevents-batch+json"}


class EventGridWebhook:
    """Takes deliveries of Event Grid to the functions that are triggered by it."""

    def __init__(self, functions: Iterable[Function], invoker: Invoker, gate: Gate) -> None:
        self._functions = {function.name: function for function in with_trigger(functions, "eventGridTrigger")}
        self._invoker = invoker
        self._gate = gate

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request of Event Grid."""
        self._gate.check_eventgrid(request)
        name = request.query.get("functionName", "")
        function = self._functions.get(name)
        if function is None:
            return web.Response(status=404, text=f"cannot find function: '{name}'")
        if request.method == "OPTIONS":
            return _allow(request)
        if request.method != "POST":
            return web.Response(status=405)
        return await self._delivery(request, function)

    async def _delivery(self, request: web.Request, function: Function) -> web.Response:
        kind = request.headers.get("aeg-event-type", "").lower()
        if kind == "unsubscribe":
            return web.Response(status=202)
        if kind not in {"subscriptionvalidation", "notification"} and not _is_cloud_event(request):
            return web.Response(status=400, text="aeg-event-type must be SubscriptionValidation or Notification")
        try:
            events = _events(await request.text())
            if kind == "subscriptionvalidation":
                return web.json_response({"validationResponse": _validation_code(events[0])})
        except (ValueError, LookupError, TypeError) as error:
            return web.Response(status=400, text=f"The body is not what Event Grid sends: {error}")
        return await self._notify(function, events)

    async def _notify(self, function: Function, events: list[dict[str, Any]]) -> web.Response:
        """Run the function for each event, or once for all; any failure has Event Grid send all of them again."""
        many = str(function.trigger.fields.get("cardinality", "one")).lower() == "many"
        values = [events] if many else events
        outcomes = await asyncio.gather(
            *(
                self._invoker.invoke(
                    function, Datum(json.dumps(value), "json"), reason=f"EventGrid trigger fired for {PATH}"
                )
                for value in values
            )
        )
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        return web.Response(status=500, text=errors[0]) if errors else web.Response(status=202)


def _allow(request: web.Request) -> web.Response:
    origin = request.headers.get("WebHook-Request-Origin")
    if origin is None:
        return web.Response(status=400, text="WebHook-Request-Origin is missing")
    return web.Response(headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*", "Allow": "POST"})


def _is_cloud_event(request: web.Request) -> bool:
    return request.content_type in _CLOUD_EVENTS


def _events(body: str) -> list[dict[str, Any]]:
    content = json.loads(body)
    events = content if isinstance(content, list) else [content]
    if not all(isinstance(event, dict) for event in events):
        raise ValueError("an event must be a JSON object")
    return events


def _validation_code(event: dict[str, Any]) -> str:
    """In a CloudEvents subscription `data` is JSON within JSON."""
    data = event["data"]
    return str((json.loads(data) if isinstance(data, str) else data)["validationCode"])
