"""What programs can call, as OpenAPI 3.1."""

from __future__ import annotations

from typing import Any, Final

from hubwarden.web.webhook import LONGEST_BODY, Said


_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            "additionalProperties": False,
        },
        "decided": {"$ref": "#/components/schemas/Decided"},
    },
    "additionalProperties": False,
}
_DECIDED: Final[dict[str, Any]] = {
    "type": "object",
    "description": "How the last plan that was put to people was decided.",
    "required": ["as", "by", "at", "plan_digest"],
    "properties": {
        "as": {"enum": ["approved", "rejected", "expired"]},
        "by": {"type": "string"},
        "at": {"type": "string", "format": "date-time"},
        "plan_digest": {"type": "string"},
    },
    "additionalProperties": False,
}
_TAKEN: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["finding", "state", "agreed", "needed"],
    "properties": {
        "finding": {"type": "string"},
        "state": {"enum": ["approved", "rejected", "awaiting_approval"]},
        "agreed": {"type": "integer", "minimum": 0, "description": "How many have said yes to this plan."},
        "needed": {"type": "integer", "minimum": 1},
        "decided": {"$ref": "#/components/schemas/Decided"},
    },
    "additionalProperties": False,
}


def _answer(text: str, schema: str) -> dict[str, Any]:
    return {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


_REFUSED: Final = {
    "400": "The body is not what it must be.",
    "401": "The signature is missing, does not fit, or is more than 5 minutes old.",
    "403": "This approver may not decide it.",
    "404": "There is no such finding, or no webhook.",
    "409": "It is not asked any more, another plan is asked about by now, or this very request was sent before.",
    "413": f"The body is longer than {LONGEST_BODY} bytes.",
    "415": "The content type is not application/json.",
}

DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {"title": "hubwarden", "version": "1", "description": "Decisions on fixes of Azure IoT Hubs."},
    "paths": {
        "/api/approvals/{id}": {
            "post": {
                "operationId": "decide",
                "summary": "Approve or reject one plan for one finding.",
                "parameters": [
                    {
                        "name": "id",
                        "in": "path",
                        "required": True,
                        "description": "The finding's id, as the ticket names it.",
                        "schema": {"type": "string", "pattern": "^f-[0-9a-f]{16}$"},
                    },
                    {
                        "name": "X-Hubwarden-Signature",
                        "in": "header",
                        "required": True,
                        "description": "t=<Unix time>,v1=<hex HMAC-SHA-256 of the time, a full stop and the body>",
                        "schema": {"type": "string"},
                    },
                ],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Decision"}}},
                },
                "responses": {
                    "200": _answer("It was taken.", "Taken"),
                    **{status: _answer(text, "Error") for status, text in _REFUSED.items()},
                    "503": _answer("Nothing can be decided for now, or whether it was is not known.", "Error"),
                },
                "security": [{"functionKey": []}],
            }
        }
    },
    "components": {
        "schemas": {
            "Decision": Said.model_json_schema(),
            "Decided": _DECIDED,
            "Taken": _TAKEN,
            "Error": _ERROR,
        },
        "securitySchemes": {"functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key"}},
    },
}
