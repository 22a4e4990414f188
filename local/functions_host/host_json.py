"""host.json: the part of it that this host honours.

Names and defaults: https://learn.microsoft.com/azure/azure-functions/functions-host-json and, for queues,
QueuesOptions.cs in the WebJobs storage extension.
"""

import json
import logging

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from .errors import StartupError
from .timespan import parse_timespan


_OVERRIDE = "azurefunctionsjobhost__"
_HONOURED = {"version", "functiontimeout", "extensions", "extensions:queues", "extensions:http"}
_IRRELEVANT = {"$schema", "logging", "telemetrymode", "extensionbundle"}
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """`extensions.queues`."""

    batch_size: int
    new_batch_threshold: int
    max_dequeue_count: int
    visibility_timeout: timedelta
    max_polling_interval: timedelta
    encoding: Literal["base64", "none"]


@dataclass(frozen=True, slots=True)
class HostOptions:
    """What host.json, with its overrides from the environment, asks of the host."""

    route_prefix: str
    function_timeout: timedelta | None
    queues: QueueOptions


def read_host_json(file: Path, environment: Mapping[str, str]) -> HostOptions:
    """Read host.json; environment variables `AzureFunctionsJobHost__a__b` override `a.b`, as in Azure."""
    try:
        content = _lowered(json.loads(file.read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        raise StartupError(f"{file.parent} is no function app: it has no host.json") from None
    except ValueError as error:
        raise StartupError(f"{file} is no valid JSON: {error}") from error
    if content.get("version") != "2.0":
        raise StartupError(f'{file} must say "version": "2.0"')
    _override(content, environment)
    for key in _unknown(content):
        _logger.info("host.json: %s is ignored by this host", key)
    try:
        return _options(content)
    except (ValueError, TypeError, AttributeError) as error:
        raise StartupError(f"{file}: {error}") from error


def _options(content: Mapping[str, Any]) -> HostOptions:
    extensions = content.get("extensions", {})
    return HostOptions(
        route_prefix=extensions.get("http", {}).get("routeprefix", "api").strip("/"),
        function_timeout=_timeout(content.get("functiontimeout")),
        queues=_queues(extensions.get("queues", {})),
    )


def _queues(section: Mapping[str, Any]) -> QueueOptions:
    batch_size = int(section.get("batchsize", 16))
    if not 1 <= batch_size <= 32:  # noqa: PLR2004 - QueuesOptions.MaxBatchSize
        raise ValueError("extensions.queues.batchSize must be from 1 to 32")
    encoding = str(section.get("messageencoding", "base64")).lower()
    if encoding not in {"base64", "none"}:
        raise ValueError("extensions.queues.messageEncoding must be base64 or none")
    return QueueOptions(
        batch_size=batch_size,
        new_batch_threshold=int(section.get("newbatchthreshold", batch_size // 2)),
        max_dequeue_count=int(section.get("maxdequeuecount", 5)),
        visibility_timeout=parse_timespan(section.get("visibilitytimeout", "00:00:00")),
        max_polling_interval=_polling_interval(section.get("maxpollinginterval", "00:01:00")),
        encoding="none" if encoding == "none" else "base64",
    )


def _polling_interval(text: str) -> timedelta:
    """In development the default of a minute counts as two seconds (StorageQueuesWebJobsBuilderExtensions.cs)."""
    interval = parse_timespan(text)
    return timedelta(seconds=2) if interval == timedelta(minutes=1) else interval


def _timeout(text: str | None) -> timedelta | None:
    return None if text in {None, "-1"} else parse_timespan(str(text))


def _lowered(value: Any) -> Any:
    """Configuration keys are case-insensitive in .NET."""
    return {key.lower(): _lowered(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _override(content: dict[str, Any], environment: Mapping[str, str]) -> None:
    for name, value in environment.items():
        if not name.lower().startswith(_OVERRIDE):
            continue
        *sections, key = name.lower().removeprefix(_OVERRIDE).split("__")
        place = content
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value


def _unknown(content: Mapping[str, Any]) -> Iterator[str]:
    yield from content.keys() - _HONOURED - _IRRELEVANT
    for name in content.get("extensions", {}):
        if f"extensions:{name}" not in _HONOURED:
            yield f"extensions.{name}"
