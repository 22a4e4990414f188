"""Lists in pages: where one begins, and the link to the next."""

import base64
import json

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from local.azure_simulator.errors import arm_error
from local.azure_simulator.wire import Call, Json


def page(call: Call, items: Sequence[Any], size: int, base_url: str) -> Json:
    """The page that the call asks for."""
    start = skipped(call)
    answer: Json = {"value": list(items[start : start + size])}
    if start + size < len(items):
        token = base64.urlsafe_b64encode(json.dumps({"next": start + size}).encode()).decode()
        answer["nextLink"] = (
            f"{base_url}{quote(call.path)}?api-version={call.api_version}&%24skiptoken={quote(token)}"
        )
    return answer


def skipped(call: Call) -> int:
    """Where the page starts that the call asks for."""
    token = call.query.get("$skiptoken")
    if not token:
        return 0
    try:
        return int(json.loads(base64.urlsafe_b64decode(token))["next"])
    except (ValueError, KeyError, TypeError):
        raise arm_error(400, "InvalidSkipToken", "The provided skip token is invalid.") from None
