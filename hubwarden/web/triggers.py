"""The HTTP triggers of approvals: decode, call one method, send what it answers."""

from __future__ import annotations

from typing import Protocol

import azure.functions as func

from hubwarden.web.requests import Answer, Request
from hubwarden.web.routes import openapi


class Approving(Protocol):
    """Who answers."""

    async def on_page(self, request: Request, invocation: str = "") -> Answer:
        """Show what is to be decided."""
        ...

    async def on_decision(self, request: Request, invocation: str = "") -> Answer:
        """Take a form's decision."""
        ...

    async def on_webhook(self, request: Request, invocation: str = "") -> Answer:
        """Take a program's decision."""
        ...


def approvals(service: Approving) -> func.Blueprint:
    """The triggers. Whoever has a link needs no key besides; a program needs the function's key too."""
    triggers = func.Blueprint()  # type: ignore[no-untyped-call]

    @triggers.route(route="approvals/{id}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    async def approval(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        """Show what is to be decided, and do nothing."""
        return _response(await service.on_page(_request(req), context.invocation_id))

    @triggers.route(route="approvals/{id}/decision", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
    async def decision(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        """Take a decision from the page."""
        return _response(await service.on_decision(_request(req), context.invocation_id))

    @triggers.route(route="approvals/{id}", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
    async def webhook(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        """Take a decision from a program."""
        return _response(await service.on_webhook(_request(req), context.invocation_id))

    @triggers.route(route="openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    async def openapi_document(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - the binding wants it
        """Say what programs can call."""
        return _response(openapi())

    return triggers


def _request(req: func.HttpRequest) -> Request:
    headers = {name.lower(): value for name, value in req.headers.items()}
    return Request(req.route_params.get("id", ""), dict(req.params), headers, req.get_body())


def _response(answer: Answer) -> func.HttpResponse:
    return func.HttpResponse(answer.body, status_code=answer.status, headers=dict(answer.headers),
                             mimetype=answer.headers["Content-Type"].partition(";")[0])  # fmt: skip
