"""Keeping keys out: of bodies that are held for a moment, and of texts that are shown to people."""

from __future__ import annotations

import re

from typing import Any, Final

from hubwarden.domain.jsons import Json


MASK: Final = "****"

_KEY_NAMES: Final = frozenset({"primarykey", "secondarykey", "sharedaccesskey", "accountkey", "accesskey"})
_IN_TEXT: Final = re.compile(
    r"(?P<name>(?:SharedAccessKey|AccountKey|SharedAccessSignature|sig|code|Bearer)[=\s:\"]+)"
    r"(?!\*{4})[^\s;,\"'&]+",
    re.IGNORECASE,
)
# Base64 of 32 or 64 bytes, which Azure's keys are, or a JWT; a resource id is long too, but does not end in "=".
_LOOKS_LIKE_A_KEY: Final = re.compile(r"[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==|eyJ[\w-]+\.[\w-]+\.[\w-]*")


def redacted(body: Json) -> Any:
    """A copy in which every key is masked as Azure itself masks it; a mask that is sent back keeps the real key.

    A GET holds no key, but a list can (RECORDINGS §2.2, §3.5).
    """
    if isinstance(body, dict):
        return {name: _masked(name, value) for name, value in body.items()}
    if isinstance(body, list):
        return [redacted(item) for item in body]
    if isinstance(body, str) and "=" in body:
        return _IN_TEXT.sub(rf"\g<name>{MASK}", body) if "key=" in body.lower() else body
    return body


def _masked(name: str, value: Json) -> Any:
    if name.lower() in _KEY_NAMES and isinstance(value, str):
        return MASK
    return redacted(value)


def safe_text(text: str, longest: int = 500) -> str:
    """One line for people: no control characters, nothing that looks like a key or token, not too long."""
    line = " ".join(text.split())
    line = _LOOKS_LIKE_A_KEY.sub(MASK, _IN_TEXT.sub(rf"\g<name>{MASK}", line))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
