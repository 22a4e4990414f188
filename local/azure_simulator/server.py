"""The HTTPS server: from aiohttp requests to calls, from replies to bytes, with faults in between."""

import asyncio
import json
import re
import ssl
import uuid

from pathlib import Path
from typing import Any

import trustme

from aiohttp import web

from local.azure_simulator.dataplane import PREFIX, SUFFIX, DataPlane, HubCall
from local.azure_simulator.errors import AzureError, arm_error, data_plane_error
from local.azure_simulator.faults import HTML_503, Fault
from local.azure_simulator.gateway import Gateway
from local.azure_simulator.managed_identity import HEADER, PATH
from local.azure_simulator.principals import Caller
from local.azure_simulator.requestlog import Entry
from local.azure_simulator.state import State
from local.azure_simulator.wire import NO_BODY, Call, Json, Reply


MAX_BODY = 16 * 2**20

LOGGED_BODIES = re.compile("/(iothubs|iotsecuritysolutions)/", re.IGNORECASE)
"""Paths of the PUTs whose bodies the request log keeps."""

LOGGED_QUERY = 200
"""Characters of the query that the request log keeps; addresses of operations have thousands."""


class Front:
    """Everything on the port but the control API."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._gateway = Gateway(state)
        self._data_plane = DataPlane(state)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, or let a fault do so; each one is in the log."""
        entry = self._state.requests.open(request.method, request.path, request.query_string[:LOGGED_QUERY])
        hub = hub_address(request)
        caller = self._state.entra.find(request.headers.get("Authorization"))
        if caller is not None:
            entry.client_id, entry.principal = caller.principal.client_id, caller.principal.name
        await asyncio.sleep(self._state.config.latency_seconds)
        fault = self._state.faults.strike(request.method, request.path, entry.client_id)
        entry.fault = fault.kind if fault else None
        if fault and fault.kind == "cut":
            return cut(request)
        if fault and fault.kind == "status":
            reply = failure(fault, request, data_plane=hub is not None)
        else:
            reply = await self._hub_reply(request, hub, caller) if hub else await self._reply(request, entry)
            entry.taken = reply.status
        if fault and fault.kind == "cut_after":
            return cut(request)
        entry.status = reply.status
        return await send(request, reply, slow=fault.seconds if fault and fault.kind == "slow" else 0.0)

    async def _hub_reply(self, request: web.Request, hub: tuple[str, str], caller: Caller | None) -> Reply:
        try:
            body = await json_body(request)
        except AzureError:
            error = data_plane_error(400, "DeserializationError", "BadRequest")
            return Reply(error.status, error.body, error.headers)
        return self._data_plane.answer(
            HubCall(
                method=request.method,
                host=hub[0],
                path=hub[1],
                query=request.query,
                headers=request.headers,
                body=body,
                caller=caller,
                client_ip=request.remote or "",
            ),
        )

    async def _reply(self, request: web.Request, entry: Entry) -> Reply:
        try:
            entra = await self._entra(request)
            if entra is not None:
                return Reply(200, entra)
            caller = self._state.entra.caller(request.headers.get("Authorization"))
            body = await json_body(request)
        except AzureError as error:
            return Reply(error.status, error.body, error.headers)
        if request.method == "PUT" and LOGGED_BODIES.search(request.path):
            entry.body = body
        return self._gateway.answer(self._call(request, caller, body))

    async def _entra(self, request: web.Request) -> Json | None:
        """The answer of Entra ID, None for an ARM address."""
        tenant, _, rest = request.path.strip("/").partition("/")
        entra = self._state.entra
        if request.method == "POST" and rest == "oauth2/v2.0/token":
            form = {name: str(value) for name, value in (await request.post()).items()}
            return entra.token(tenant, form)
        if request.method == "GET" and request.path == PATH:
            return self._state.identities.token(request.headers.get(HEADER), request.query)
        if rest == "v2.0/.well-known/openid-configuration":
            return entra.openid_configuration(tenant)
        if request.path == "/common/discovery/instance":
            return entra.instance_discovery("common")
        return None

    def _call(self, request: web.Request, caller: Caller, body: Any) -> Call:
        return Call(
            method=request.method,
            path=f"/{request.path.lstrip('/')}",
            query={name.lower(): value for name, value in request.query.items()},
            headers=request.headers,
            body=body,
            caller=caller,
            correlation_id=request.headers.get("x-ms-correlation-request-id") or str(uuid.uuid4()),
            client_ip=request.remote or "",
            url=f"{self._state.base_url}{request.raw_path}",
        )


def hub_address(request: web.Request) -> tuple[str, str] | None:
    """Host name and path of a request to a data plane, None for any other."""
    if request.path.startswith(PREFIX):
        host, _, path = request.path.removeprefix(PREFIX).partition("/")
        return host, f"/{path}"
    host = request.host.partition(":")[0]
    return (host, request.path) if host.lower().endswith(SUFFIX) else None


async def json_body(request: web.Request) -> Any:
    """The body as JSON, None if there is none, or the gateway's 400."""
    raw = await request.read()
    try:
        return json.loads(raw) if raw else None
    except ValueError as error:
        raise arm_error(
            400,
            "InvalidRequestContent",
            f"The request content was invalid and could not be deserialized: '{error}'.",
        ) from error


def failure(fault: Fault, request: web.Request, *, data_plane: bool) -> Reply:
    """The answer that a `status` fault gives."""
    if fault.html:
        retry = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
        headers = {"Content-Type": "text/html", "x-azure-externalerror": "0x80072ee2,OriginTimeout", **retry}
        return Reply(fault.status, HTML_503, headers)
    error = fault.error(request.query.get("api-version", ""), data_plane=data_plane)
    return Reply(error.status, error.body, error.headers)


def cut(request: web.Request) -> web.StreamResponse:
    """Close the connection with nothing more on it."""
    if request.transport:
        request.transport.abort()
    return web.Response()


async def send(request: web.Request, reply: Reply, *, slow: float = 0.0) -> web.StreamResponse:
    """The reply on the wire; a slow one stops half way for that long."""
    body = b"" if reply.body is NO_BODY else encoded(reply)
    headers = {"Content-Type": "application/json; charset=utf-8", **reply.headers} if body else dict(reply.headers)
    if not slow:
        return web.Response(status=reply.status, body=body, headers=headers)
    response = web.StreamResponse(status=reply.status, headers={**headers, "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    await asyncio.sleep(slow)
    await response.write(body[len(body) // 2 :])
    await response.write_eof()
    return response


def encoded(reply: Reply) -> bytes:
    """The body as bytes: HTML as it is, anything else as JSON."""
    if reply.headers.get("Content-Type") == "text/html":
        return str(reply.body).encode()
    return json.dumps(reply.body, ensure_ascii=False).encode()


def loopback_tls(directory: Path, host: str) -> tuple[ssl.SSLContext, Path]:
    """A server context for the host, and where the certificate of its own CA was written."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    authority.issue_cert(host, "localhost", f"*{SUFFIX}").configure_cert(context)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return context, path
