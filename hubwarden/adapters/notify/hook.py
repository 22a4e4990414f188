"""A webhook whose URL is itself the secret."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hubwarden.adapters.tickets.http import Http, Secret
from hubwarden.domain.channels import Notify
from hubwarden.domain.jsons import JsonObject
from hubwarden.service.errors import DeniedError


if TYPE_CHECKING:
    from aiohttp import BaseConnector


class SecretHook:
    """Posts JSON to the URL in a setting, where it is https and of a host that is allowed."""

    def __init__(
        self,
        kind: str,
        secret: Secret,
        notify: Notify,
        *,
        connector: Callable[[], BaseConnector] | None = None,
    ) -> None:
        self._kind = kind
        self._secret = secret
        self._notify = notify
        self._connector = connector
        self._http: Http | None = None

    async def post(self, body: JsonObject) -> None:
        """Send it.

        Raises:
            DeniedError: the setting is empty or not such a URL; and as Http.call.
        """
        if self._http is None:
            self._http = Http(self._url(), self._secret, connector=self._connector)
        await self._http.call("POST", "", headers={}, json_body=body)

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    def _url(self) -> str:
        setting, url = self._secret.setting, self._secret.value
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            raise DeniedError(f"the app setting {setting} is no URL") from None
        if parts.scheme != "https" or "@" in parts.netloc:
            raise DeniedError(f"the URL in the app setting {setting} must begin with https:// and have no user")
        if not self._notify.allows(self._kind, host):
            raise DeniedError(
                f"the URL in the app setting {setting} goes to a host that notify.allowed_hosts does not name"
            )
        return url
