"""Access keys and who may pass with which."""

import hmac
import secrets

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one run of the host; new ones at each start."""

    master: str
    host: str
    eventgrid: str
    functions: Mapping[str, str]


def new_keys(functions: Iterable[str]) -> Keys:
    """Draw a key for the host's owner, for all functions, for Event Grid, and for each function."""
    return Keys(_draw(), _draw(), _draw(), {name: _draw() for name in functions})


class Gate:
    """Checks keys of requests when auth is on; lets everything pass when it is off, as `func start` does."""

    def __init__(self, keys: Keys, *, enforced: bool) -> None:
        self._keys = keys
        self._enforced = enforced

    def check_function(self, request: web.Request, name: str, level: str) -> None:
        """Hold a call of a function to its authLevel."""
        if level == "FUNCTION":
            self._check(request, self._keys.functions[name], self._keys.host, self._keys.master)
        elif level != "ANONYMOUS":
            self.check_admin(request)

    def check_admin(self, request: web.Request) -> None:
        """Let only the master key pass."""
        self._check(request, self._keys.master)

    def check_eventgrid(self, request: web.Request) -> None:
        """Let the Event Grid extension's system key pass, or the master key."""
        self._check(request, self._keys.eventgrid, self._keys.master)

    def _check(self, request: web.Request, *accepted: str) -> None:
        given = request.headers.get("x-functions-key") or request.query.get("code", "")
        if self._enforced and not any(_same(given, key) for key in accepted):
            raise web.HTTPUnauthorized


def _draw() -> str:
    return secrets.token_urlsafe(40)


def _same(given: str, key: str) -> bool:
    return hmac.compare_digest(given.encode(), key.encode())
