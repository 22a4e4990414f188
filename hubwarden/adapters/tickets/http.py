"""One way to talk to every ticket system: JSON, no redirects, no retries, errors as the port has them."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies

from hubwarden.adapters.azure.errors import is_outage, retry_after
from hubwarden.adapters.azure.redaction import MASK, safe_text
from hubwarden.adapters.references import unresolved
from hubwarden.domain.jsons import Json
from hubwarden.service.errors import DeniedError, PermanentError, TransientError


if TYPE_CHECKING:
    from aiohttp import BaseConnector, ClientSession


_TIMEOUT: Final = 10
_MOST: Final = 2_000_000
_SUCCESS: Final = range(200, 300)
# What a secret URL has in common with everybody's: hiding these would only make an error unreadable.
_NO_SECRET: Final = re.compile(r"[a-z-]{0,15}|.{0,5}")


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret by the name of its setting. It is never shown."""

    setting: str
    _value: str = field(repr=False)
    _missing: str = ""

    @classmethod
    def read(cls, env: Mapping[str, str], setting: str) -> Self:
        """The secret as the environment has it, which may be not at all."""
        value = env.get(setting, "").strip()
        why = unresolved(setting, value)
        return cls(setting, value) if why is None else cls(setting, "", why)

    @property
    def value(self) -> str:
        """The secret.

        Raises:
            DeniedError: the setting is not there or empty, or a reference that is not resolved; it says which.
        """
        if not self._value:
            raise DeniedError(self._missing or f"the app setting {self.setting} is empty")
        return self._value

    def bearer(self) -> dict[str, str]:
        """A header that shows it as a token."""
        return {"Authorization": f"Bearer {self.value}"}

    def basic(self, user: str) -> dict[str, str]:
        """A header that shows it as a user's password."""
        both = base64.b64encode(f"{user}:{self.value}".encode()).decode()
        return {"Authorization": f"Basic {both}"}

    def kept_out_of(self, text: str) -> str:
        """The text without the secret, whoever may have written it there, and in whichever form."""
        return _without(text, _parts(self._value))


@dataclass(frozen=True, slots=True)
class Reply:
    """What a ticket system answered."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Http:
    """The one session of a process, made on first use; it only ever talks to one host."""

    def __init__(self, url: str, secret: Secret, *, connector: Callable[[], BaseConnector] | None = None) -> None:
        self._url = url
        self._host = urlsplit(url).netloc
        self._secret = secret
        self._connector = connector
        self._made: ClientSession | None = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        json_body: Json = None,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
        also: Collection[int] = (),
    ) -> Reply:
        """Send one request; ``also`` are answers, besides success, that the caller has a use for.

        Raises:
            TransientError: 408, 429, 5xx or no connection; ``sent`` says whether it may have arrived.
            DeniedError: 401 or 403.
            PermanentError: anything else, a redirect among it.
        """
        data = body if body is not None else None if json_body is None else json.dumps(json_body).encode()
        reply = await self._exchange(method, path, headers, data, query)
        if reply.status in _SUCCESS or reply.status in also:
            return reply
        raise self._error(f"{method} {self._host}{path}", reply, headers)

    async def close(self) -> None:
        """Close the connections."""
        if self._made is not None:
            await self._made.close()

    async def _exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        data: bytes | None,
        query: Mapping[str, str] | None,
    ) -> Reply:
        from aiohttp import ClientConnectorError, ClientError  # noqa: PLC0415 - cold start

        said = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "hubwarden"}
        try:
            async with self._session().request(
                method,
                self._url + path,
                params=query,
                data=data,
                headers=said | dict(headers),
                allow_redirects=False,
            ) as response:
                text = await response.content.read(_MOST)
                return Reply(response.status, _json(text), response.headers)
        except (ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            what = self._safe(f"{type(error).__name__}: {error}", headers)
            raise TransientError(
                f"{method} {self._host}{path}: {what}", sent=not isinstance(error, ClientConnectorError)
            ) from None

    def _session(self) -> ClientSession:
        from aiohttp import ClientSession, ClientTimeout, DummyCookieJar  # noqa: PLC0415 - cold start

        if self._made is None:
            self._made = ClientSession(
                connector=self._connector() if self._connector else None,
                timeout=ClientTimeout(total=_TIMEOUT),
                trust_env=bool(getproxies()),
                cookie_jar=DummyCookieJar(),
            )
        return self._made

    def _safe(self, text: str, headers: Mapping[str, str]) -> str:
        """A text of theirs without what we proved ourselves with; cut last, or half a secret would stay."""
        shown = headers.get("Authorization", "").partition(" ")[2]
        return safe_text(self._secret.kept_out_of(_without(text, {shown})), 300)

    def _error(
        self, doing: str, reply: Reply, headers: Mapping[str, str]
    ) -> TransientError | DeniedError | PermanentError:
        said = self._safe(_told(reply.body), headers)
        message = f"{doing}: {reply.status} {said}".rstrip()
        wait = retry_after(reply.headers) or _github_wait(reply.headers)
        match reply.status:
            case 429:
                return TransientError(message, retry_after=wait)
            case 403 if wait is not None:  # how GitHub says that it is too much
                return TransientError(message, retry_after=wait)
            case status if is_outage(status):
                return TransientError(message, retry_after=wait, sent=True)
            case 401 | 403:
                return DeniedError(message)
            case _:
                return PermanentError(message)


def _parts(secret: str) -> set[str]:
    """What must not be told of a secret; where it is a URL, each part of it that could be one by itself."""
    if not secret.startswith("https://"):
        return {secret}
    try:
        url = urlsplit(secret)
    except ValueError:
        return {secret}
    pairs = url.query.split("&")
    words = {*url.path.split("/"), *pairs, *(pair.partition("=")[2] for pair in pairs)}
    parts = {f"{url.path}?{url.query}", url.path, url.query, *words}
    return {secret, *(part for part in parts if not _NO_SECRET.fullmatch(part))}


def _without(text: str, parts: Collection[str]) -> str:
    """The text without these, as they are or as others write them, the longest first."""
    forms = {form for part in parts for form in (part, unquote(part), quote(part, safe=""), html.escape(part))}
    for form in sorted(forms - {""}, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def _github_wait(headers: Mapping[str, str]) -> timedelta | None:
    """Until when GitHub's rate limit holds, where there is nothing left of it."""
    reset = headers.get("X-RateLimit-Reset", "")
    if headers.get("X-RateLimit-Remaining") != "0" or not (reset.isdecimal() and len(reset) < 12):  # noqa: PLR2004
        return None
    wait = datetime.fromtimestamp(int(reset), UTC) - datetime.now(UTC)
    return min(max(wait, timedelta(0)), timedelta(days=1))


def _json(text: bytes) -> Any:
    """The body as JSON, or None: an error's body may be anything, and a success without a body is one too."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _told(body: Any) -> str:
    """What an error's body says, in whichever of the vendors' shapes."""
    if not isinstance(body, dict):
        return ""
    inner = body.get("error")
    parts = [inner if isinstance(inner, dict) else body, body]
    said: list[str] = []
    for part in parts:
        said += [str(part[name]) for name in ("message", "detail", "errorMessages", "errors") if part.get(name)]
    return "; ".join(dict.fromkeys(said))


def wanted(body: Any, *path: str | int) -> Any:
    """What lies there in an answer.

    Raises:
        PermanentError: the answer has another shape than the vendor says.
    """
    here = body
    for part in path:
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            raise PermanentError(f"the ticket system's answer makes no sense: no {part!r} in it") from None
    return here


def rows(body: Any, *path: str | int) -> list[Any]:
    """The objects that are listed there in an answer.

    Raises:
        PermanentError: as wanted; and where it is no list of objects.
    """
    found = wanted(body, *path)
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise PermanentError("the ticket system's answer makes no sense: a list is something else")
    return found
