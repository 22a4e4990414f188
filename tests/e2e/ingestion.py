"""A stand-in for Application Insights' ingestion: takes what the exporter posts and keeps it as it came."""

from __future__ import annotations

import gzip
import json
import threading

from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit


class Ingestion:
    """``with Ingestion() as ingestion:`` listens on loopback. ``posts`` are the bodies, unpacked."""

    def __init__(self) -> None:
        self.posts: list[bytes] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.posts))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def connection_string(self) -> str:
        """What an app needs to send here; live metrics, too."""
        here = f"http://127.0.0.1:{self._server.server_address[1]}"
        key = "00000000-0000-4000-8000-00000000abcd"
        return f"InstrumentationKey={key};IngestionEndpoint={here}/;LiveEndpoint={here}/"

    @property
    def envelopes(self) -> list[dict[str, Any]]:
        """Everything that was sent."""
        lines = [line for post in list(self.posts) for line in _lines(post)]
        return [envelope for envelope in lines if isinstance(envelope, dict)]

    def of(self, base_type: str) -> list[dict[str, Any]]:
        """The envelopes of one kind."""
        return [envelope for envelope in self.envelopes if envelope["data"]["baseType"] == base_type]

    @property
    def metrics(self) -> dict[str, list[tuple[float, dict[str, str]]]]:
        """Name → its values, as (value, attributes)."""
        found: dict[str, list[tuple[float, dict[str, str]]]] = {}
        for envelope in self.of("MetricData"):
            data = envelope["data"]["baseData"]
            for point in data["metrics"]:
                found.setdefault(point["name"], []).append((point["value"], data.get("properties", {})))
        return found

    @property
    def logs(self) -> list[tuple[str, dict[str, str]]]:
        """The log records: text and fields."""
        data = [envelope["data"]["baseData"] for envelope in self.of("MessageData")]
        return [(one["message"], one.get("properties", {})) for one in data]

    @property
    def spans(self) -> list[Span]:
        """Requests and dependencies."""
        return [Span(envelope) for kind in ("RequestData", "RemoteDependencyData") for envelope in self.of(kind)]


class Span:
    """One span, as Application Insights keeps it."""

    def __init__(self, envelope: dict[str, Any]) -> None:
        data, tags = envelope["data"]["baseData"], envelope["tags"]
        self.kind = envelope["data"]["baseType"]
        self.name, self.id = data["name"], data["id"]
        self.properties: dict[str, str] = data.get("properties", {})
        self.operation = tags["ai.operation.id"]
        self.parent = tags.get("ai.operation.parentId")
        self.hub = self.properties.get("cloud.resource_id", "")

    def __repr__(self) -> str:
        return f"{self.name} {self.id} in {self.operation} under {self.parent}: {self.properties}"


def _lines(post: bytes) -> list[Any]:
    with suppress(ValueError):
        whole = json.loads(post)
        return whole if isinstance(whole, list) else [whole]
    return [json.loads(line) for line in post.splitlines() if line.strip()]


def _handler(posts: list[bytes]) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            taken = 0
            if urlsplit(self.path).path.endswith("/v2.1/track"):
                posts.append(body)
                taken = len(_lines(body))
            answer = json.dumps({"itemsReceived": taken, "itemsAccepted": taken, "errors": []}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("x-ms-qps-subscribed", "false")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
