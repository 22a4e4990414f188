"""Signed links to one request for an approval, and the tokens that tie a form to its page.

A link names the finding, the digest of the plan and the end of its time; nothing in it can be changed or swapped.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode


FORM_LASTS: Final = timedelta(hours=2)
_VERSION: Final = "1"
_ID: Final = re.compile(r"f-[0-9a-f]{16}")
_DIGEST: Final = re.compile(r"[A-Za-z0-9:]{1,100}")
_TIME: Final = re.compile(r"[0-9]{9,11}")
_MAC: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class LinkError(Exception):
    """The link leads nowhere: ``status`` is HTTP's, the text is for the audit trail."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says, proven."""

    finding_id: str
    digest: str
    expires_at: datetime
    query: str
    """The part after the question mark, as it was signed."""


class Links:
    """Makes links with the first key, and takes those of every key, so that keys can be changed one by one."""

    def __init__(self, keys: Sequence[bytes], base_url: str) -> None:
        self._keys = tuple(keys)
        self._base_url = base_url

    def url(self, finding_id: str, digest: str, expires_at: datetime) -> str:
        """The address of the page on which this plan is decided."""
        end = int(expires_at.timestamp())
        mac = _mac(self._keys[0], "link", _VERSION, finding_id, digest, str(end))
        query = urlencode({"v": _VERSION, "p": digest, "e": end, "s": mac}, safe=":")
        return f"{self._base_url}/api/approvals/{finding_id}?{query}"

    def read(self, finding_id: str, query: Mapping[str, str], now: datetime) -> Link:
        """The link that this address holds.

        Raises:
            LinkError: it is incomplete, not of our making, for something else, or too old.
        """
        version, digest, end, mac = (query.get(name, "") for name in ("v", "p", "e", "s"))
        whole = ((_ID, finding_id), (_DIGEST, digest), (_TIME, end), (_MAC, mac))
        if version != _VERSION or not all(shape.fullmatch(text) for shape, text in whole):
            raise LinkError(400, "the link is incomplete or of another version")
        if not self._is_ours(mac, "link", version, finding_id, digest, end):
            raise LinkError(403, "the link's signature is not ours")
        expires_at = datetime.fromtimestamp(int(end), UTC)
        if expires_at <= now:
            raise LinkError(410, "the link has expired")
        kept = urlencode({"v": version, "p": digest, "e": end, "s": mac}, safe=":")
        return Link(finding_id, digest, expires_at, kept)

    def form_token(self, link: Link, who: str, now: datetime) -> str:
        """The token of a form on the link's page, as this person got it now."""
        end = str(int((now + FORM_LASTS).timestamp()))
        return f"{end}.{_mac(self._keys[0], 'form', link.query, who, end)}"

    def is_form_token(self, token: str, link: Link, who: str, now: datetime) -> bool:
        """Whether the token is of this link's page, this person's, and not too old."""
        end, _, mac = token.partition(".")
        if not _TIME.fullmatch(end) or not _MAC.fullmatch(mac):
            return False
        ours = self._is_ours(mac, "form", link.query, who, end)
        return ours and datetime.fromtimestamp(int(end), UTC) > now

    def _is_ours(self, mac: str, *parts: str) -> bool:
        return any(hmac.compare_digest(mac, _mac(key, *parts)) for key in self._keys)


def _mac(key: bytes, *parts: str) -> str:
    """Over all parts, each with its length before it: none can pass for a piece of another."""
    text = "".join(f"{len(part)}:{part}," for part in ("hubwarden", *parts))
    return base64.urlsafe_b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).rstrip(b"=").decode()
