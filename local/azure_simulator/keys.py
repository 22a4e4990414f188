"""Keys that are recognisable wherever they should not be, and the masks that Azure puts over them."""

import base64
import hashlib
import itertools
import re

from collections.abc import Iterator
from typing import Any


CANARY = "HUBWARDENCANARY"
"""The text in every key that this simulator makes."""

CANARY_BASE64 = base64.b64encode(CANARY.encode()).decode()
"""How each such key begins on the wire (15 bytes encode without a remainder)."""

MASK = "****"
SECRET_PART = re.compile(r"\b(AccountKey|SharedAccessKey)=([^;]*)")


class KeyMaker:
    """Makes distinct keys of 32 bytes (44 characters), the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._numbers: Iterator[int] = itertools.count(1)

    def __call__(self) -> str:
        """A key that was not made before."""
        tail = hashlib.sha256(f"{self._seed}:{next(self._numbers)}".encode()).hexdigest()[: 32 - len(CANARY)]
        return base64.b64encode(f"{CANARY}{tail}".encode()).decode()


def derived_key(text: str) -> str:
    """A recognisable key that depends on the text alone."""
    tail = hashlib.sha256(text.encode()).hexdigest()[: 32 - len(CANARY)]
    return base64.b64encode(f"{CANARY}{tail}".encode()).decode()


def masked(value: Any) -> Any:
    """The value with the key of each connection string replaced by `****` (RECORDINGS §2.3)."""
    return map_strings(value, lambda text: SECRET_PART.sub(rf"\1={MASK}", text) if "Key=" in text else text)


def with_keys(value: Any, make_key: KeyMaker) -> Any:
    """The value with a new key in place of each `****`: what a seeded, masked hub must have had."""
    return map_strings(
        value,
        lambda text: SECRET_PART.sub(lambda m: f"{m[1]}={make_key() if m[2] == MASK else m[2]}", text),
    )


def unmasked(value: Any, known: Any) -> Any:
    """The value with masked connection strings replaced by those of `known` that look the same when masked.

    The service keeps the real key when the mask is sent back (RECORDINGS §3.5).
    """
    originals = {secret_identity(text): text for text in strings(known) if SECRET_PART.search(text)}

    def restore(text: str) -> str:
        return originals.get(secret_identity(text), text) if f"={MASK}" in text else text

    return map_strings(value, restore)


def secret_identity(connection_string: str) -> frozenset[str]:
    """What two renderings of one connection string share: its parts in any order, without the key."""
    return frozenset(part for part in masked(connection_string).split(";") if part)


def map_strings(value: Any, change: Any) -> Any:
    """The JSON value with `change` applied to each string in it (not to member names)."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [map_strings(item, change) for item in value]
    if isinstance(value, dict):
        return {name: map_strings(item, change) for name, item in value.items()}
    return value


def strings(value: Any) -> Iterator[str]:
    """Each string in the JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, dict):
        yield from strings(list(value.values()))
