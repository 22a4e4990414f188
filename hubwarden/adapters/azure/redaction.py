"""Keeping keys out: of bodies that are held for a moment, and of texts that are shown to people."""

from __future__ import annotations

import re

from typing import Any, Final

from hubwarden.domain.jsons import Json, JsonObject


MASK: Final = "****"
KEPT_BACK: Final = "****(kept back)"
"""Stands for a key that Azure showed in clear. A body with it must never be written: the key would be lost."""

_KEY_NAMES: Final = frozenset({"primarykey", "secondarykey", "sharedaccesskey", "accountkey", "accesskey"})
# What Azure masks by itself in a GET. No more than that: whatever else is changed here, a write would change too.
_IN_BODY: Final = re.compile(
    r"(?P<name>\b(?:SharedAccessKey|AccountKey|SharedAccessSignature)\s*=\s*)(?!\*{4})[^\s;,\"']+", re.IGNORECASE
)
_NAMED: Final = (
    r"\b(?:SharedAccessKey|AccountKey|SharedAccessSignature|PrimaryKey|SecondaryKey|AccessKey)\W{0,3}[=:\s]"
)
_IN_TEXT: Final = re.compile(
    rf"(?P<name>{_NAMED}\s*[\"']?(?!{_NAMED})|"  # the next name is no value: its own value comes after it
    r"\b(?:sig|code|client_secret)=|\bBearer\s+(?=[\w.~+/-]{16})"
    r"|(?:[?&;]|%3F|%26|\\u0026)[sp](?:=|%3D))"  # an approval link's signature and what it is for
    r"(?!\*{4})[^\s;,\"'&]+",
    re.IGNORECASE,
)
# Base64 of 32 or 64 bytes, which Azure's keys are, or a JWT; a resource id is long too, but does not end in "=".
_LOOKS_LIKE_A_KEY: Final = re.compile(r"[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==|eyJ[\w-]+\.[\w-]+\.[\w-]*")


# Azure's refusals name people by their sign-in, and machines by their address.
_EMAIL: Final = re.compile(r"[\w.+#-]+@[\w-]+(?:\.[\w-]+)+")
_IP: Final = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\w|\.\w)")


def redacted_hub(body: JsonObject) -> Any:
    """The hub's body without keys; its tags stay as they are, for a write must send them back."""
    return {name: value if name == "tags" else _masked(name, value) for name, value in body.items()}


def redacted(body: Json) -> Any:
    """A copy in which keys that Azure showed in clear are kept back; what Azure has masked itself stays as it is.

    Azure takes its own masks back and keeps the real key. A GET shows none, a list can (RECORDINGS §2.2, §3.5).
    """
    if isinstance(body, dict):
        return {name: _masked(name, value) for name, value in body.items()}
    if isinstance(body, list):
        return [redacted(item) for item in body]
    if isinstance(body, str) and "=" in body:
        return _IN_BODY.sub(rf"\g<name>{KEPT_BACK}", body)
    return body


def _masked(name: str, value: Json) -> Any:
    if name.lower() in _KEY_NAMES and isinstance(value, str) and value != MASK:
        return KEPT_BACK
    return redacted(value)


def safe_text(text: str, longest: int = 500) -> str:
    """One line for people, not too long: no control characters, key, token, e-mail or IP address."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = _LOOKS_LIKE_A_KEY.sub(MASK, _IN_TEXT.sub(rf"\g<name>{MASK}", line))
    line = _IP.sub("(an IP address)", _EMAIL.sub("(an e-mail address)", line))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
