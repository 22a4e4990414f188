"""Who the platform has signed in, as App Service authentication tells the app in a header."""

from __future__ import annotations

import base64
import binascii
import json

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final


_HEADER: Final = "x-ms-client-principal"
_LONGEST: Final = 64 * 1024
_OBJECT_ID: Final = ("http://schemas.microsoft.com/identity/claims/objectidentifier", "oid")
_NAME: Final = ("name", "preferred_username", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name")
_ROLES: Final = ("roles", "groups", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role")


@dataclass(frozen=True, slots=True)
class Principal:
    """An Entra user; ``roles`` are app roles and the object ids of groups."""

    object_id: str
    name: str
    roles: frozenset[str]


def principal_of(headers: Mapping[str, str], *, trusted: bool) -> Principal | None:
    """Whoever is signed in with Entra, or None.

    Args:
        headers: the request's, by their names in lower case.
        trusted: whether the platform says that it authenticates; else anybody can send the header.
    """
    text = headers.get(_HEADER, "")
    if not trusted or not text or len(text) > _LONGEST:
        return None
    try:
        said = json.loads(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.get("auth_typ") != "aad":
        return None
    claims = list(_claims(said.get("claims")))
    object_id = _first(claims, *_OBJECT_ID)
    if not object_id:
        return None
    name = _first(claims, *_NAME) or object_id
    return Principal(object_id, name, frozenset(value for kind, value in claims if kind in _ROLES))


def _claims(claims: Any) -> Iterator[tuple[str, str]]:
    for claim in claims if isinstance(claims, list) else ():
        if isinstance(claim, dict) and isinstance(claim.get("typ"), str) and isinstance(claim.get("val"), str):
            yield claim["typ"], claim["val"]


def _first(claims: list[tuple[str, str]], *kinds: str) -> str | None:
    return next((value for wanted in kinds for kind, value in claims if kind == wanted), None)
