"""`POST /devices/query`: rows in pages, with continuations that outlive changes of the registry."""

import base64
import hashlib
import json
import time

from collections.abc import Iterator, Mapping
from typing import Any

from local.azure_simulator.config import SimulatorConfig
from local.azure_simulator.devices import Device, Module, Registry
from local.azure_simulator.errors import AzureError, data_plane_error
from local.azure_simulator.twin_query import Query, QueryError, parse
from local.azure_simulator.wire import Json, Reply


DEFAULT_PAGE, LARGEST_PAGE = 100, 1000

START = (0, -1)
"""Number of the last device that was looked at, and of its module; the first of a query."""


def query(body: Any, headers: Mapping[str, str], registry: Registry, config: SimulatorConfig) -> Reply:
    """One page of a query; a page can be empty and still have a continuation."""
    text = body.get("query") if isinstance(body, dict) else None
    if not isinstance(text, str):
        raise data_plane_error(400, "ArgumentNull", "BadRequest")
    try:
        asked = parse(text)
    except QueryError as error:
        raise bad_argument(f"The query is not valid: {error}") from error
    size = min(page_size(headers), config.query_page_size)
    position, empty = opened(headers.get("x-ms-continuation"), text, config.query_empty_pages)
    item_type = {"x-ms-item-type": asked.item_type}
    if empty:
        return Reply(200, [], {**item_type, "x-ms-continuation": sealed(position, empty - 1, text)})
    matching = rows(asked, registry, position, time.monotonic() - config.query_lag_seconds)
    if asked.count is not None:
        return Reply(200, [{asked.count: sum(1 for _ in matching)}], item_type)
    page: list[Json] = []
    for device, module, here in matching:
        if len(page) == size:
            following = sealed(position, config.query_empty_pages, text)
            return Reply(200, page, {**item_type, "x-ms-continuation": following})
        page.append(asked.shown(device, module))
        position = here
    return Reply(200, page, item_type)


def rows(
    asked: Query,
    registry: Registry,
    after: tuple[int, int],
    settled: float,
) -> Iterator[tuple[Device, Module | None, tuple[int, int]]]:
    """What fulfils the query after a position and was made before `settled`, each with its own position."""
    where, number = asked.where, after[0]
    if asked.source == "devices":
        for device in registry.after(number):
            if device.created <= settled and where(device, None):
                yield device, None, (device.number, -1)
        return
    for device in registry.after(number - 1):
        for index, module in enumerate(device.modules):
            if (device.number, index) > after and module.created <= settled and where(device, module):
                yield device, module, (device.number, index)


def page_size(headers: Mapping[str, str]) -> int:
    """What the client wants at most."""
    text = headers.get("x-ms-max-item-count", str(DEFAULT_PAGE))
    if not text.isdecimal() or not 0 < int(text) <= LARGEST_PAGE:
        raise bad_argument(f"x-ms-max-item-count must be a number from 1 to {LARGEST_PAGE}")
    return int(text)


def sealed(position: tuple[int, int], empty: int, text: str) -> str:
    """A continuation: opaque to clients, and of this query only."""
    content = json.dumps({"after": position, "empty": empty, "query": fingerprint(text)})
    return base64.b64encode(content.encode()).decode()


def opened(token: str | None, text: str, empty_pages: int) -> tuple[tuple[int, int], int]:
    """Where a continuation stands, and how many empty pages come before the next rows."""
    if not token:
        return START, empty_pages
    try:
        content = json.loads(base64.b64decode(token, validate=True))
        number, index = content["after"]
        position, empty = (int(number), int(index)), int(content["empty"])
        if content["query"] != fingerprint(text):
            raise bad_argument("the continuation is of another query")
    except (ValueError, KeyError, TypeError):
        raise bad_argument("the continuation is not valid") from None
    return position, empty


def fingerprint(text: str) -> str:
    """What a query is known by."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def bad_argument(reason: str) -> AzureError:
    """The data plane's 400."""
    return data_plane_error(400, "ArgumentInvalid", f"BadRequest. {reason}")
