"""From the policy file's tickets section to the ticket system that it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from hubwarden.adapters.tickets.azure_devops import AzureDevOpsItems
from hubwarden.adapters.tickets.foreign import ForeignTickets, Store, Tracker
from hubwarden.adapters.tickets.github import GitHubIssues
from hubwarden.adapters.tickets.http import Http, Secret
from hubwarden.adapters.tickets.jira import JiraIssues
from hubwarden.adapters.tickets.pagerduty import PagerDutyAlerts
from hubwarden.adapters.tickets.servicenow import ServiceNowIncidents
from hubwarden.adapters.tickets.webhook import SignedWebhook
from hubwarden.domain.targets import AzureDevOps, GitHub, Jira, PagerDuty, ServiceNow, Target, Tickets, Webhook


if TYPE_CHECKING:
    from aiohttp import BaseConnector

    from hubwarden.service.ports import TicketSystem


def make_tickets(
    settings: Tickets,
    env: Mapping[str, str],
    store: Store,
    *,
    connector: Callable[[], BaseConnector] | None = None,
) -> TicketSystem:
    """The ticket system; the store itself is the built-in one.

    Its secret is read from the setting that the policy file names. One that is missing is told by each call
    (DeniedError), so that it stands in the way of tickets only.
    """
    target = settings.chosen
    if target is None:
        return store
    secret = Secret.read(env, target.token_setting)
    http = Http(target.url, secret, connector=connector)
    return ForeignTickets(store, _tracker(target, http, secret), http)


def _tracker(target: Target, http: Http, secret: Secret) -> Tracker:
    match target:
        case GitHub():
            return GitHubIssues(target, http, secret)
        case Jira():
            return JiraIssues(target, http, secret)
        case ServiceNow():
            return ServiceNowIncidents(target, http, secret)
        case AzureDevOps():
            return AzureDevOpsItems(target, http, secret)
        case PagerDuty():
            return PagerDutyAlerts(target, http, secret)
        case Webhook():
            return SignedWebhook(target, http, secret)
