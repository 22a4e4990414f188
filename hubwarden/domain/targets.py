"""Where tickets go: the part of the policy file that names a ticket system. Secrets are named here, never held."""

from __future__ import annotations

import re

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from hubwarden.domain.severity import Severity


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_HOST: Final = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")


_SETTING: Final = re.compile(r"HUBWARDEN_[A-Z0-9_]{1,100}")


def _host(value: str) -> str:
    host = value.lower()
    if _HOST.fullmatch(host) is None:
        raise ValueError(f"not a host's full name, such as jira.example.com: {value!r}")
    return host


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https":
        raise ValueError("must begin with https://")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must have no user, no ? and no #: a secret is named by a setting, and not written here")
    _host(parts.hostname or "")
    _ = parts.port
    return value.rstrip("/")


def _setting(value: str) -> str:
    if _SETTING.fullmatch(value) is None:
        raise ValueError("must be the name of an app setting that begins with HUBWARDEN_, not the secret itself")
    return value


type HostName = Annotated[str, AfterValidator(_host)]
type Url = Annotated[str, AfterValidator(_url)]
type _Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
# Only settings that are there for hubwarden can be named, so that no other secret of the app is sent anywhere.
type SettingName = Annotated[
    str, AfterValidator(_setting), WithJsonSchema({"type": "string", "pattern": f"^{_SETTING.pattern}$"})
]
type _Part = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]

_SETTING_HINT: Final = "Name of the app setting that holds it (a Key Vault reference, at best)."


class GitHub(_Section):
    """Issues of one repository on github.com, or on a GitHub Enterprise Server."""

    repository: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}$")] = (
        Field(description="owner/name.")
    )
    token_setting: SettingName = Field(
        "HUBWARDEN_GITHUB_TOKEN", description=f"The token, which may read and write issues. {_SETTING_HINT}"
    )
    url: Url = Field(
        "https://api.github.com", description="The API; https://HOST/api/v3 for a server of one's own."
    )


class Jira(_Section):
    """Issues of one Jira project: Cloud where ``user`` is given, else Data Center."""

    url: Url = Field(description="Where Jira is, such as https://example.atlassian.net.")
    project: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,50}$")] = Field(
        description="Key of the project."
    )
    issue_type: _Name = Field("Task", description="Name of the issue type.")
    user: _Name | None = Field(
        None,
        description="E-mail address of the account whose API token it is (Cloud); leave it out for Data Center.",
    )
    token_setting: SettingName = Field(
        "HUBWARDEN_JIRA_TOKEN", description=f"The API or access token. {_SETTING_HINT}"
    )
    priorities: dict[Severity, _Name] = Field(
        default_factory=lambda: {
            Severity.CRITICAL: "Highest",
            Severity.HIGH: "High",
            Severity.MEDIUM: "Medium",
            Severity.LOW: "Low",
        },
        description="Name of the priority for each severity; {} sets none.",
    )


class ServiceNow(_Section):
    """Incidents of one ServiceNow instance."""

    url: Url = Field(description="The instance, such as https://example.service-now.com.")
    user: _Name = Field(description="Name of the integration user.")
    token_setting: SettingName = Field(
        "HUBWARDEN_SERVICENOW_PASSWORD", description=f"Its password. {_SETTING_HINT}"
    )
    close_code: _Name = Field(
        "Solution provided", description="The close code of resolved incidents, as the instance spells it."
    )
    assignment_group: _Name | None = Field(
        None, description="sys_id or name of the group that gets the incidents."
    )


class AzureDevOps(_Section):
    """Work items of one Azure DevOps project."""

    organization: _Part = Field(description="Name of the organization.")
    project: _Name = Field(description="Name of the project.")
    type: _Name = Field(
        "Issue", description="Type of the work items; it needs states to begin with and to end in."
    )
    token_setting: SettingName = Field(
        "HUBWARDEN_AZURE_DEVOPS_TOKEN", description=f"A token that may read and write work items. {_SETTING_HINT}"
    )
    url: Url = Field("https://dev.azure.com", description="Where Azure DevOps is.")


class PagerDuty(_Section):
    """Alerts of one PagerDuty service, by Events API v2."""

    token_setting: SettingName = Field(
        "HUBWARDEN_PAGERDUTY_KEY", description=f"The integration key. {_SETTING_HINT}"
    )
    url: Url = Field(
        "https://events.pagerduty.com", description="The API; https://events.eu.pagerduty.com for the EU."
    )


class Webhook(_Section):
    """A service of one's own, told of each ticket by a signed request."""

    url: Url = Field(description="Where the requests go; its host must be in allowed_hosts.")
    token_setting: SettingName = Field(
        "HUBWARDEN_TICKET_WEBHOOK_SECRET", description=f"The key of the signature. {_SETTING_HINT}"
    )


type Target = GitHub | Jira | ServiceNow | AzureDevOps | PagerDuty | Webhook

_HOSTS: Final[Mapping[str, tuple[str, ...]]] = {
    "github": ("api.github.com",),
    "jira": (".atlassian.net",),
    "servicenow": (".service-now.com",),
    "azure_devops": ("dev.azure.com",),
    "pagerduty": ("events.pagerduty.com", "events.eu.pagerduty.com"),
    "webhook": (),
}
"""The vendors' own hosts; one that begins with a dot stands for every host of that domain."""


class Tickets(_Section):
    """Where tickets go."""

    target: Literal["builtin", "github", "jira", "servicenow", "azure_devops", "pagerduty", "webhook"] = Field(
        "builtin",
        description="builtin: a table in the app's storage account. Any other needs the section of that name.",
    )
    allowed_hosts: list[HostName] = Field(
        default_factory=list, description="Hosts that tickets may be sent to, besides the vendors' own."
    )
    github: GitHub | None = Field(None, description="For target: github.")
    jira: Jira | None = Field(None, description="For target: jira.")
    servicenow: ServiceNow | None = Field(None, description="For target: servicenow.")
    azure_devops: AzureDevOps | None = Field(None, description="For target: azure_devops.")
    pagerduty: PagerDuty | None = Field(None, description="For target: pagerduty.")
    webhook: Webhook | None = Field(None, description="For target: webhook.")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.target != "builtin" and self.chosen is None:
            raise ValueError(f"target is {self.target}, so a section {self.target} must say where that is")
        for name, section in self._sections():
            self._check_host(name, section.url)
        return self

    @property
    def chosen(self) -> Target | None:
        """The section of the target; None for the built-in store."""
        return dict(self._sections()).get(self.target)

    def _sections(self) -> Iterator[tuple[str, Target]]:
        for name in _HOSTS:
            section: Target | None = getattr(self, name)
            if section is not None:
                yield name, section

    def _check_host(self, name: str, url: str) -> None:
        host = urlsplit(url).hostname or ""
        own = any(host.endswith(known) if known[0] == "." else host == known for known in _HOSTS[name])
        if not own and host not in self.allowed_hosts:
            raise ValueError(f"{name}.url goes to {host}; if that is right, add it to tickets.allowed_hosts")
