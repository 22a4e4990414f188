"""HTTP triggers: requests to the shape that the worker decodes, and what functions return to responses."""

from collections.abc import Iterable, Mapping

from aiohttp import web
from azure.functions.meta import Datum

from .functions import Function, with_trigger
from .invoker import Invoker
from .keys import Gate
from .routes import Route, find


# aiohttp frames the response itself.
_FRAMING = {"content-length", "transfer-encoding", "connection"}


class HttpFront:
    """Answers the routes of the app's HTTP functions."""

    def __init__(self, functions: Iterable[Function], prefix: str, invoker: Invoker, gate: Gate) -> None:
        routes = [Route.of(function, prefix) for function in with_trigger(functions, "httpTrigger")]
        self.routes = Route.most_specific_first(routes)
        self._invoker = invoker
        self._gate = gate

    async def handle(self, request: web.Request) -> web.Response:
        """Run the function whose route this is; 404 when there is none, also for the wrong method."""
        found = find(self.routes, request.method, request.rel_url.raw_path)
        if found is None:
            return web.Response(status=404)
        route, parameters = found
        self._gate.check_function(request, route.function.name, route.level)
        value = await _request_datum(request, parameters)
        outcome = await self._invoker.invoke(
            route.function,
            value,
            reason="This function was programmatically called via the host APIs.",
            caller=request.headers.get("traceparent"),
        )
        if outcome.error is not None:
            return web.Response(status=500)
        return _response(outcome.returned)


async def _request_datum(request: web.Request, parameters: Mapping[str, str]) -> Datum:
    """Return RpcHttp as the real host fills it: lower-case header names, repeated values joined by commas."""
    content = {
        "method": Datum(request.method, "string"),
        "url": Datum(str(request.url), "string"),
        "headers": _strings({name.lower(): ",".join(request.headers.getall(name)) for name in request.headers}),
        "query": _strings({name: ",".join(request.query.getall(name)) for name in request.query}),
        "params": _strings(parameters),
        "body": Datum(await request.read(), "bytes"),
    }
    return Datum(content, "http")


def _strings(values: Mapping[str, str]) -> dict[str, Datum]:
    return {name: Datum(value, "string") for name, value in values.items()}


def _response(returned: Datum | None) -> web.Response:
    if returned is None or returned.type is None:
        return web.Response(status=204)
    if returned.type != "http":
        return web.Response(text=str(returned.value))
    content = returned.value
    response = web.Response(status=int(content["status_code"].value), body=content["body"].value)
    for name, value in content["headers"].items():
        if name.lower() not in _FRAMING:
            response.headers[name] = value.value
    for cookie in content["cookies"] or ():
        for morsel in cookie.values():
            response.headers.add("Set-Cookie", morsel.OutputString())
    return response
