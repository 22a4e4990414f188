"""E-mail by Azure Communication Services, signed in as the app's identity."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from hubwarden.adapters.tickets.http import Http
from hubwarden.domain.channels import Acs
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.message import Message, visible


SCOPE: Final = "https://communication.azure.com/.default"
_PATH: Final = "/emails:send"
_VERSION: Final = "2023-03-31"


class AcsChannel:
    """Channel. The service answers before it delivers: a success says that it has taken the letter."""

    def __init__(self, settings: Acs, http: Http, token: Callable[[str], Awaitable[str]]) -> None:
        self._settings = settings
        self._http = http
        self._token = token

    async def send(self, message: Message) -> None:
        """See Channel."""
        headers = {"Authorization": f"Bearer {await self._token(SCOPE)}"}
        body = letter(self._settings, message)
        await self._http.call("POST", _PATH, headers=headers, json_body=body, query={"api-version": _VERSION})

    async def close(self) -> None:
        """See Channel."""
        await self._http.close()


def letter(settings: Acs, message: Message) -> JsonObject:
    """The request's body: plain text only."""
    return {
        "senderAddress": settings.sender,
        "recipients": {"to": [{"address": address} for address in settings.to]},
        "content": {
            "subject": visible(f"[hubwarden] {message.title}", 200),
            "plainText": "\n".join(message.lines),
        },
    }
