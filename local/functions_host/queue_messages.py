"""Storage queue messages as the worker takes and gives them."""

import base64
import binascii
import json

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from azure.functions.meta import Datum
from azure.storage.queue import QueueMessage


type Encoding = Literal["base64", "none"]


def decode(content: str, encoding: Encoding) -> str:
    """Return a message's text; a ValueError when it is not in the encoding that host.json names."""
    if encoding == "none":
        return content
    try:
        return base64.b64decode(content, validate=True).decode()
    except binascii.Error as error:
        raise ValueError(f"the message is not base64: {error}") from error


def encode(text: str, encoding: Encoding) -> str:
    """Return what goes over the wire for a text."""
    return text if encoding == "none" else base64.b64encode(text.encode()).decode()


def trigger_metadata(message: QueueMessage) -> dict[str, Datum]:
    """Return the metadata that `func.QueueMessage` is built from (azure/functions/queue.py)."""
    return {
        "Id": Datum(message.id, "string"),
        "DequeueCount": Datum(str(message.dequeue_count), "string"),
        "InsertionTime": _moment(message.inserted_on),
        "ExpirationTime": _moment(message.expires_on),
        "NextVisibleTime": _moment(message.next_visible_on),
        "PopReceipt": Datum(message.pop_receipt, "string"),
    }


def output_texts(value: Datum) -> list[str]:
    """Return the messages that a function put into a queue output: one, or each of a list."""
    if value.type == "json":
        content = json.loads(value.value)
        return [_text(item) for item in content] if isinstance(content, list) else [_text(content)]
    return [value.value.decode() if isinstance(value.value, bytes) else str(value.value)]


def _moment(moment: datetime | None) -> Datum:
    return Datum(json.dumps(moment.isoformat() if moment else None), "json")


def _text(item: str | Mapping[str, Any]) -> str:
    return item if isinstance(item, str) else json.dumps(item)
