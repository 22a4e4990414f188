"""Looking for keys, tokens and secrets in all that hubwarden leaves behind."""

from __future__ import annotations

import base64
import binascii
import json
import re

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from local.azure_simulator.keys import CANARY, CANARY_BASE64
from local.stack import AUDITOR, HUBWARDEN, SOMEBODY, Stack


NEEDLES: Final[Mapping[str, re.Pattern[bytes]]] = {
    "a key": re.compile(f"{CANARY}|{CANARY_BASE64}".encode()),
    "a token": re.compile(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}"),
    "a client's secret": re.compile(
        "|".join(re.escape(p.secret) for p in (HUBWARDEN, SOMEBODY, AUDITOR)).encode()
    ),
}
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{20,}")
_DEEP: Final = 3
INPUTS: Final = frozenset({"seed.json", "local.settings.json", "simulator.log", "ca.pem"})
"""Files of a stack that are no part of what hubwarden says: what it was given, and Azure's own side."""


def found_in(data: bytes) -> set[str]:
    """Which of the needles are in there: as they are, URL-encoded, escaped, in base64, or base64 of that."""
    return {name for form in _forms(data, _DEEP) for name, needle in NEEDLES.items() if needle.search(form)}


def _forms(data: bytes, deep: int) -> Iterator[bytes]:
    yield data
    if deep == 0:
        return
    if b"%" in data and (plain := unquote_to_bytes(data)) != data:
        yield from _forms(plain, deep - 1)
    if b"\\u00" in data:
        yield re.sub(rb"\\u00([0-9a-fA-F]{2})", lambda match: bytes.fromhex(match[1].decode()), data)
    decoded = b"\n".join(text for run in set(_BASE64.findall(data)) for text in _decoded(run))
    if decoded:
        yield from _forms(decoded, deep - 1)


def _decoded(run: bytes) -> Iterator[bytes]:
    """What the run is base64 of, wherever in it that begins."""
    plain = run.translate(bytes.maketrans(b"-_", b"+/"))
    for start in range(4):
        part = plain[start : len(plain) - (len(plain) - start) % 4]
        try:
            yield base64.b64decode(part)
        except binascii.Error:
            continue


async def everything(stack: Stack, told: Mapping[str, str]) -> dict[str, bytes]:
    """All places and what is in them: files, tables, queues, blobs, and what people were ``told``."""
    places = {f"told {name}": text.encode() for name, text in told.items()}
    places |= dict(_files(stack.folder))
    connection = stack.connection_string
    async with TableServiceClient.from_connection_string(connection) as tables:
        places |= {place: data async for place, data in _tables(tables)}
    async with QueueServiceClient.from_connection_string(connection) as queues:
        places |= {place: data async for place, data in _queues(queues)}
    async with BlobServiceClient.from_connection_string(connection) as blobs:
        places |= {place: data async for place, data in _blobs(blobs)}
    return places


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Logs and the like, and storage's own files, which also hold messages that nobody can see just now."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in INPUTS:
            yield f"file {path.relative_to(folder)}", path.read_bytes()


async def _tables(service: TableServiceClient) -> AsyncIterator[tuple[str, bytes]]:
    async for table in service.list_tables():
        async for row in service.get_table_client(table.name).list_entities():
            yield f"table {table.name} {row['PartitionKey']} {row['RowKey']}", _row(row)


def _row(row: Mapping[str, Any]) -> bytes:
    """Each property by itself, and all of them in one piece, for a text can go on in the next property."""
    texts = [str(row[name]) for name in sorted(row, key=_numbers_by_size)]
    return "\n".join([*texts, "".join(texts)]).encode()


def _numbers_by_size(name: str) -> list[tuple[str, int]]:
    return [(word, int(number or 0)) for word, number in re.findall(r"([^0-9]+)([0-9]*)", name)]


async def _queues(service: QueueServiceClient) -> AsyncIterator[tuple[str, bytes]]:
    async for queue in service.list_queues():
        for message in await service.get_queue_client(queue.name).peek_messages(max_messages=32):
            yield f"queue {queue.name} {message.id}", str(message.content).encode()


async def _blobs(service: BlobServiceClient) -> AsyncIterator[tuple[str, bytes]]:
    async for container in service.list_containers():
        client = service.get_container_client(container.name)
        async for blob in client.list_blobs(include=["metadata"]):
            about = json.dumps([blob.name, blob.metadata]).encode()
            yield f"blob {container.name}/{blob.name}", about + b"\n" + await _content(client, blob.name)


async def _content(client: Any, name: str) -> bytes:
    return bytes(await (await client.download_blob(name)).readall())
