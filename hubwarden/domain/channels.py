"""Who is told what: the part of the policy file that names channels. Secrets are named here, never held."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from hubwarden.domain.hub_id import HubId
from hubwarden.domain.message import Kind
from hubwarden.domain.severity import Severity
from hubwarden.domain.targets import HostName, SettingName, Url
from hubwarden.domain.where import Where


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


type _Address = Annotated[str, StringConstraints(pattern=r"^[^\s@<>,;:\"]{1,64}@[A-Za-z0-9.-]{1,255}$")]
type _Addresses = Annotated[list[_Address], Field(min_length=1, max_length=50)]
type _ChannelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]

_HINT: Final = "Name of the app setting that holds it (a Key Vault reference, at best)."


class Teams(_Section):
    """A Teams channel, by the URL of its Workflows webhook."""

    kind: Literal["teams"]
    url_setting: SettingName = Field("HUBWARDEN_TEAMS_URL", description=f"The URL, which is a secret. {_HINT}")


class Slack(_Section):
    """A Slack channel, by the URL of its incoming webhook."""

    kind: Literal["slack"]
    url_setting: SettingName = Field("HUBWARDEN_SLACK_URL", description=f"The URL, which is a secret. {_HINT}")


class Smtp(_Section):
    """E-mail by a mail server, over TLS only."""

    kind: Literal["smtp"]
    host: HostName = Field(description="The mail server; it must be in allowed_hosts.")
    port: int = Field(587, ge=1, le=65535, description="465 begins with TLS, any other turns to it (STARTTLS).")
    sender: _Address = Field(description="The sender's address.")
    to: _Addresses = Field(description="The receivers' addresses.")
    user: str | None = Field(None, description="Name to sign in with; leave it out where none is needed.")
    password_setting: SettingName = Field("HUBWARDEN_SMTP_PASSWORD", description=f"The password. {_HINT}")


class Acs(_Section):
    """E-mail by Azure Communication Services, signed in as the app's identity."""

    kind: Literal["acs"]
    endpoint: Url = Field(description="The resource's endpoint, https://NAME.REGION.communication.azure.com.")
    sender: _Address = Field(description="The sender's address, of a domain that is connected to the resource.")
    to: _Addresses = Field(description="The receivers' addresses.")


class WebhookChannel(_Section):
    """A service of one's own, told by signed CloudEvents."""

    kind: Literal["webhook"]
    url: Url = Field(description="Where the requests go; its host must be in allowed_hosts.")
    secret_setting: SettingName = Field(
        "HUBWARDEN_NOTIFY_WEBHOOK_SECRET", description=f"The key of the signature. {_HINT}"
    )


class Apprise(_Section):
    """Anything else that apprise can send to, by one of its URLs."""

    kind: Literal["apprise"]
    url_setting: SettingName = Field(
        "HUBWARDEN_APPRISE_URL", description=f"One apprise URL, which is a secret. {_HINT}"
    )


type ChannelSettings = Annotated[
    Teams | Slack | Smtp | Acs | WebhookChannel | Apprise, Field(discriminator="kind")
]

OWN_HOSTS: Final[dict[str, tuple[str, ...]]] = {
    "teams": (".logic.azure.com", ".api.powerplatform.com"),
    "slack": ("hooks.slack.com",),
    "acs": (".communication.azure.com",),
}
"""The vendors' own hosts; one that begins with a dot stands for every host of that domain."""


_TOLD: Final = (
    Kind.ASKED,
    Kind.REMINDER,
    Kind.FAILED,
    Kind.TICKETED,
    Kind.CAME_BACK,
    Kind.HELD,
    Kind.EXEMPTION_ENDS,
)


class Route(_Section):
    """Who is told of what."""

    where: Where = Field(default_factory=Where, description="Which hubs this is about.")
    min_severity: Severity = Field(Severity.LOW, description="What is less severe is not told here.")
    events: list[Kind] = Field(
        default_factory=lambda: [*_TOLD],
        min_length=1,
        description="What is told. How it ends follows by itself where its beginning was told.",
    )
    channels: list[_ChannelName] = Field(min_length=1, description="Names of channels.")

    def takes(self, hub: HubId, severity: Severity, kinds: Collection[Kind]) -> bool:
        """Whether one of these kinds of notices is told here."""
        order = list(Severity)
        severe = order.index(severity) >= order.index(self.min_severity)
        return severe and self.where.matches(hub) and any(kind in self.events for kind in kinds)


class Notify(_Section):
    """Who is told what, and how; nobody by default."""

    allowed_hosts: list[HostName] = Field(
        default_factory=list, description="Hosts that messages may be sent to, besides the vendors' own."
    )
    channels: dict[_ChannelName, ChannelSettings] = Field(
        default_factory=dict, description="Channels by names of your choice."
    )
    routes: list[Route] = Field(default_factory=list, description="All that match count.")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for route in self.routes:
            for name in route.channels:
                if name not in self.channels:
                    raise ValueError(f"a route names the channel {name!r}, which channels does not have")
        for name, channel in self.channels.items():
            host = host_of(channel)
            if host is not None and not self.allows(channel.kind, host):
                raise ValueError(
                    f"channel {name} goes to {host}; if that is right, add it to notify.allowed_hosts"
                )
        return self

    def allows(self, kind: str, host: str) -> bool:
        """Whether a channel of this kind may send to this host."""
        own = OWN_HOSTS.get(kind, ())
        return host in self.allowed_hosts or any(
            host.endswith(known) if known.startswith(".") else host == known for known in own
        )

    def channels_for(self, hub: HubId, severity: Severity, kinds: Collection[Kind]) -> list[str]:
        """The channels that one of these kinds of notices goes to, each once."""
        found = [name for route in self.routes if route.takes(hub, severity, kinds) for name in route.channels]
        return list(dict.fromkeys(found))


def host_of(channel: Teams | Slack | Smtp | Acs | WebhookChannel | Apprise) -> str | None:
    """The host that the policy file says; None where a secret says it."""
    match channel:
        case Smtp():
            return channel.host
        case Acs():
            return urlsplit(channel.endpoint).hostname
        case WebhookChannel():
            return urlsplit(channel.url).hostname
        case _:
            return None
