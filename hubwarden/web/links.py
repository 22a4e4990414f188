"""Signed links to requests for an approval, and the tokens that tie a form to its page.

A link names each finding, the digest of its plan and the end of its time; nothing in it can be changed or swapped.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from hubwarden.domain.approval import Ask


FORM_LASTS: Final = timedelta(hours=2)
SEVERAL: Final = "several"
"""Stands in the address of a link to several requests where else the finding's id does."""

_VERSION: Final = "1"
_ID: Final = re.compile(r"f-[0-9a-f]{16}")
_DIGEST: Final = re.compile(r"[A-Za-z0-9:]{1,100}")
_PACKED: Final = re.compile(r"[A-Za-z0-9_-]{64,4000}")
_TIME: Final = re.compile(r"[0-9]{9,11}")
_MAC: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_SHA: Final = "sha256:"
# Of each of several digests 16 bytes: fifty fit into an address that every front end takes (2,048 characters).
_ID_BYTES: Final = 8
_DIGEST_BYTES: Final = 16


class LinkError(Exception):
    """The link leads nowhere: ``status`` is HTTP's, the text is for the audit trail."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says, proven: ``place`` and ``query`` are how it was signed."""

    asks: tuple[Ask, ...]
    expires_at: datetime
    place: str
    query: str
    """The part after the question mark."""


class Links:
    """Makes links with the first key, and takes those of every key, so that keys can be changed one by one."""

    def __init__(self, keys: Sequence[bytes], base_url: str) -> None:
        self._keys = tuple(keys)
        self._base_url = base_url

    def url(self, asks: Sequence[Ask], expires_at: datetime) -> str:
        """The address of the page on which these plans are decided, one or several."""
        place, named = (asks[0].finding_id, asks[0].digest) if len(asks) == 1 else (SEVERAL, _packed(asks))
        end = int(expires_at.timestamp())
        mac = _mac(self._keys[0], "link", _VERSION, place, named, str(end))
        return f"{self._base_url}/api/approvals/{place}?{_query(_VERSION, named, end, mac)}"

    def read(self, place: str, query: Mapping[str, str], now: datetime) -> Link:
        """The link that this address holds.

        Raises:
            LinkError: it is incomplete, not of our making, for something else, or too old.
        """
        version, named, end, mac = (query.get(name, "") for name in ("v", "p", "e", "s"))
        several = place == SEVERAL
        whole = ((_PACKED if several else _DIGEST, named), (_TIME, end), (_MAC, mac))
        right = (several or _ID.fullmatch(place)) and all(shape.fullmatch(text) for shape, text in whole)
        if version != _VERSION or not right:
            raise LinkError(400, "the link is incomplete or of another version")
        if not self._is_ours(mac, "link", version, place, named, end):
            raise LinkError(403, "the link's signature is not ours")
        expires_at = datetime.fromtimestamp(int(end), UTC)
        if expires_at <= now:
            raise LinkError(410, "the link has expired")
        asks = tuple(_unpacked(named)) if several else (Ask(place, named),)
        return Link(asks, expires_at, place, _query(version, named, end, mac))

    def form_token(self, link: Link, who: str, now: datetime) -> str:
        """The token of a form on the link's page, as this person got it now."""
        end = str(int((now + FORM_LASTS).timestamp()))
        return f"{end}.{_mac(self._keys[0], 'form', link.place, link.query, who, end)}"

    def is_form_token(self, token: str, link: Link, who: str, now: datetime) -> bool:
        """Whether the token is of this link's page, this person's, and not too old."""
        end, _, mac = token.partition(".")
        if not _TIME.fullmatch(end) or not _MAC.fullmatch(mac):
            return False
        ours = self._is_ours(mac, "form", link.place, link.query, who, end)
        return ours and datetime.fromtimestamp(int(end), UTC) > now

    def _is_ours(self, mac: str, *parts: str) -> bool:
        return any(hmac.compare_digest(mac, _mac(key, *parts)) for key in self._keys)


def _query(version: str, named: str, end: int | str, mac: str) -> str:
    return urlencode({"v": version, "p": named, "e": end, "s": mac}, safe=":")


def _packed(asks: Sequence[Ask]) -> str:
    """The asks as bytes in base64: the finding's id, and the beginning of the plan's digest."""
    digests = (ask.digest.removeprefix(_SHA)[: 2 * _DIGEST_BYTES] for ask in asks)
    together = "".join(
        ask.finding_id.removeprefix("f-") + digest for ask, digest in zip(asks, digests, strict=True)
    )
    return base64.urlsafe_b64encode(bytes.fromhex(together)).rstrip(b"=").decode()


def _unpacked(named: str) -> Iterator[Ask]:
    try:
        packed = base64.urlsafe_b64decode(named + "=" * (-len(named) % 4)).hex()
    except binascii.Error:
        raise LinkError(400, "the link is incomplete or of another version") from None
    id_end, each = 2 * _ID_BYTES, 2 * (_ID_BYTES + _DIGEST_BYTES)
    for start in range(0, len(packed), each):
        piece = packed[start : start + each]
        yield Ask(f"f-{piece[:id_end]}", f"{_SHA}{piece[id_end:]}")


def _mac(key: bytes, *parts: str) -> str:
    """Over all parts, each with its length before it: none can pass for a piece of another."""
    text = "".join(f"{len(part)}:{part}," for part in ("hubwarden", *parts))
    return base64.urlsafe_b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).rstrip(b"=").decode()
