"""From the policy file's notify section to the channels that it names."""

from __future__ import annotations

import ssl

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from hubwarden.adapters.notify.acs import AcsChannel
from hubwarden.adapters.notify.apprise import AppriseChannel
from hubwarden.adapters.notify.hook import SecretHook
from hubwarden.adapters.notify.slack import SlackChannel
from hubwarden.adapters.notify.smtp import SmtpChannel
from hubwarden.adapters.notify.teams import TeamsChannel
from hubwarden.adapters.notify.webhook import WebhookChannel
from hubwarden.adapters.tickets.http import Http, Secret
from hubwarden.domain import channels as settings


if TYPE_CHECKING:
    from aiohttp import BaseConnector

    from hubwarden.service.ports import Channel


def make_channels(
    notify: settings.Notify,
    env: Mapping[str, str],
    token: Callable[[str], Awaitable[str]],
    *,
    connector: Callable[[], BaseConnector] | None = None,
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
) -> Mapping[str, Channel]:
    """The channels by their names.

    A secret that is missing is told by each call (DeniedError), so that it stands in the way of that channel
    only. ``token`` gives the app's own token for a scope.
    """

    def made(channel: settings.ChannelSettings) -> Channel:
        match channel:
            case settings.Teams():
                secret = Secret.read(env, channel.url_setting)
                return TeamsChannel(SecretHook(channel.kind, secret, notify, connector=connector))
            case settings.Slack():
                secret = Secret.read(env, channel.url_setting)
                return SlackChannel(SecretHook(channel.kind, secret, notify, connector=connector))
            case settings.Smtp():
                return SmtpChannel(channel, Secret.read(env, channel.password_setting), tls=tls)
            case settings.Acs():
                http = Http(channel.endpoint, Secret("", ""), connector=connector)
                return AcsChannel(channel, http, token)
            case settings.WebhookChannel():
                secret = Secret.read(env, channel.secret_setting)
                return WebhookChannel(Http(channel.url, secret, connector=connector), secret)
            case settings.Apprise():
                return AppriseChannel(Secret.read(env, channel.url_setting), notify)

    return {name: made(channel) for name, channel in notify.channels.items()}
