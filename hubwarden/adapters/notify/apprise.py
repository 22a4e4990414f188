"""Whatever else there is, by a URL of apprise's.

Apprise is imported with the first message: it is large, and most apps never need it.
"""

from __future__ import annotations

import asyncio
import logging

from typing import TYPE_CHECKING, Any, Final

from hubwarden.adapters.notify.apprise_targets import OF_ONES_OWN, check_host, check_options, scheme_of
from hubwarden.adapters.notify.apprise_text import body, neutral
from hubwarden.adapters.tickets.http import Secret
from hubwarden.domain.channels import Notify
from hubwarden.domain.message import Kind, Message
from hubwarden.service.errors import DeniedError, TransientError


if TYPE_CHECKING:
    from apprise import NotifyBase, NotifyType


_REQUEST: Final = 10.0
_LONGEST: Final = 60
"""Seconds: one URL can stand for several requests, and apprise waits between them."""
_TITLE: Final = 40
"""Characters that a target may put around the title, where it goes into the body."""

_TELL_SECRETS: Final = ("apprise", "urllib3", "requests", "requests_oauthlib", "oauthlib")
"""Loggers that tell whole URLs and their answers."""

_FOR_PEOPLE: Final = frozenset({
    Kind.ASKED, Kind.REMINDER, Kind.EXPIRED, Kind.TICKETED, Kind.CAME_BACK, Kind.HELD, Kind.EXEMPTION_ENDS
})  # fmt: skip


class AppriseChannel:
    """Channel. Apprise says yes or no and not why, so a no may have arrived all the same."""

    def __init__(self, secret: Secret, notify: Notify) -> None:
        self._secret = secret
        self._notify = notify

    async def send(self, message: Message) -> None:
        """See Channel."""
        try:
            async with asyncio.timeout(_LONGEST):
                trouble = await asyncio.to_thread(self._tell, message)
        except TimeoutError:
            trouble = f"no answer in {_LONGEST} s"
        if trouble is not None:
            raise TransientError(f"apprise, by the app setting {self._secret.setting}: {trouble}", sent=True)

    async def close(self) -> None:
        """See Channel."""

    def _tell(self, message: Message) -> str | None:
        """What went wrong, or None."""
        scheme = scheme_of(self._secret.value, self._secret.setting)
        plugin = self._plugin(scheme)
        try:
            taken = _sent(plugin, message)
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises, its text may hold the URL
            return f"{scheme} broke off with {type(error).__name__}"
        return None if taken else f"{scheme} did not take it, or its answer was lost"

    def _plugin(self, scheme: str) -> NotifyBase:
        """What sends to the URL; none of apprise's own settings is left to it.

        Raises:
            DeniedError: the URL is incomplete, or leads where it must not.
        """
        setting = self._secret.setting
        parts = _parsed(self._secret.value)
        check_options(frozenset(str(name).lower() for name in parts.get("qsd", {})), setting)
        plugin = _made(parts) if parts.get("schema") == scheme else None
        if plugin is None:
            raise DeniedError(f"the URL in the app setting {setting} is none that apprise can use as {scheme}://")
        check_host(scheme, str(plugin.host or ""), self._notify, setting)
        if scheme in OF_ONES_OWN and not plugin.secure:
            raise DeniedError(f"the URL in the app setting {setting} does not lead to https")
        return plugin


def _parsed(url: str) -> dict[str, Any]:
    """What the URL says, or nothing where apprise cannot read it. Nothing is logged."""
    from apprise.plugins import url_to_dict  # noqa: PLC0415 - cold start

    _silence()
    try:
        return url_to_dict(url) or {}  # type: ignore[no-untyped-call]
    except Exception:  # noqa: BLE001 - whatever a plugin raises, its text may hold the URL
        return {}


def _made(parts: dict[str, Any]) -> NotifyBase | None:
    """What sends; it follows no redirect and keeps nothing on a disk."""
    from apprise import Apprise, AppriseAsset, OverflowMode, PersistentStoreMode  # noqa: PLC0415 - cold start

    asset = AppriseAsset(
        app_id="hubwarden",
        app_desc="hubwarden",
        app_url="",
        image_url_mask="",
        http_redirects=False,
        interpret_emojis=False,
        storage_mode=PersistentStoreMode.MEMORY,
    )
    plugin = Apprise.instantiate(parts, asset=asset)
    if plugin is not None:
        plugin.overflow_mode = OverflowMode.TRUNCATE
        plugin.socket_connect_timeout = plugin.socket_read_timeout = _REQUEST
    return plugin


def _silence() -> None:
    """Turn off the loggers that tell secrets, at whatever level they are."""
    known = list(logging.root.manager.loggerDict)
    for name in {*known, *_TELL_SECRETS}:
        if name.split(".")[0] in _TELL_SECRETS:
            logging.getLogger(name).disabled = True


def _sent(plugin: NotifyBase, message: Message) -> bool:
    """Whether the plugin says that it was taken.

    Apprise escapes text for HTML. For Markdown it would escape our links too, so it is told that it is Markdown.
    """
    from apprise import NotifyFormat  # noqa: PLC0415 - cold start
    from apprise.conversion import convert_between  # noqa: PLC0415 - cold start

    target = plugin.resolve_format(NotifyFormat.TEXT)
    source = NotifyFormat.TEXT if target is NotifyFormat.HTML else target
    title = neutral(message.title)
    room = plugin.body_maxlen - len(title) - _TITLE

    def fits(tried: str) -> bool:
        return len(convert_between(source, target, tried)) <= room  # type: ignore[no-untyped-call]

    text = body(message, fits)
    return plugin.notify(body=text, title=title, notify_type=_type(message.kind), body_format=source)


def _type(kind: Kind) -> NotifyType:
    """How urgent it looks. Never a success: to some targets that closes an alert, which they do not know."""
    from apprise import NotifyType  # noqa: PLC0415 - cold start

    if kind is Kind.FAILED:
        return NotifyType.FAILURE
    return NotifyType.WARNING if kind in _FOR_PEOPLE else NotifyType.INFO
