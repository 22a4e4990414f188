"""The policy file's tickets section: strict, without secrets, and to known hosts only."""

from __future__ import annotations

from datetime import date

import pytest

from detectors import RULES
from hubwarden.adapters.tickets.foreign import ForeignTickets
from hubwarden.adapters.tickets.make import make_tickets
from hubwarden.bootstrap import Hubwarden
from hubwarden.domain.policy import check_policy
from hubwarden.domain.targets import Tickets
from hubwarden.service.errors import DeniedError
from tests.unit.fakes import SUB, World


BEFORE = f"version: 1\nsubscriptions: [{SUB}]\ntickets:\n"
GOOD = {
    "nothing said": ("  {}", None),
    "builtin": ("  target: builtin", None),
    "github": ("  target: github\n  github: {repository: example/ops}", "https://api.github.com"),
    "github server": (
        "  allowed_hosts: [GHE.example.com]\n  target: github\n  github: {repository: e/o, url: 'https://ghe.example.com/v3/'}",
        "https://ghe.example.com/v3",
    ),
    "jira cloud": (
        "  target: jira\n  jira: {url: https://example.atlassian.net, project: OPS, user: bot@example.com}",
        "https://example.atlassian.net",
    ),
    "jira data center": (
        "  target: jira\n  allowed_hosts: [j.example.com]\n  jira: {url: 'https://j.example.com:84', project: O}",
        "https://j.example.com:84",
    ),
    "servicenow": (
        "  target: servicenow\n  servicenow: {url: https://example.service-now.com, user: hubwarden}",
        "https://example.service-now.com",
    ),
    "azure devops": (
        "  target: azure_devops\n  azure_devops: {organization: example, project: Plant Ops}",
        "https://dev.azure.com",
    ),
    "pagerduty": ("  target: pagerduty\n  pagerduty: {}", "https://events.pagerduty.com"),
    "pagerduty eu": (
        "  target: pagerduty\n  pagerduty: {url: https://events.eu.pagerduty.com}",
        "https://events.eu.pagerduty.com",
    ),
    "webhook": (
        "  target: webhook\n  allowed_hosts: [t.example.com]\n  webhook: {url: https://t.example.com/in}",
        "https://t.example.com/in",
    ),
    "prepared, and not yet chosen": ("  github: {repository: example/ops}", None),
}


@pytest.mark.parametrize(("text", "url"), GOOD.values(), ids=GOOD)
def test_what_can_be_said(text, url):
    policy, problems = check_policy(BEFORE + text, RULES, today=date(2026, 11, 24))
    assert not problems
    chosen = policy.tickets.chosen
    assert (chosen and chosen.url) == url


HOOK = "  target: webhook\n  webhook: {{url: '{}'}}\n  allowed_hosts: [t.example.com]"
BAD = {
    "a target that is not there": ("  target: bugzilla", 4, "tickets.target", "found 'bugzilla'"),
    "no section": ("  target: github", 3, "tickets", "a section github must say where that is"),
    "another's section": (
        "  target: jira\n  github: {repository: a/b}", 3, "tickets", "a section jira must say where that is",
    ),
    "an unknown key": ("  github: {repository: a/b, repo: c}", 4, "tickets.github.repo", "is not a key"),
    "a secret in the file": ("  github: {repository: a/b, token: x}", 4, "tickets.github.token", "is not a key"),
    "a secret for a name": (
        "  github: {repository: a/b, token_setting: ghp_abcdef}", 4, "tickets.github.token_setting", "app setting",
    ),
    "the app's own secret": (
        "  github: {repository: a/b, token_setting: AzureWebJobsStorage}", 4, "tickets.github.token_setting",
        "app setting",
    ),
    "no repository": ("  github: {repository: ops}", 4, "tickets.github.repository", "pattern"),
    "a path for a repository": ("  github: {repository: a/b/c}", 4, "tickets.github.repository", "pattern"),
    "a project that is none": (
        "  jira: {url: https://e.atlassian.net, project: 'A\" OR 1'}", 4, "tickets.jira.project", "pattern",
    ),
    "a severity that is none": (
        "  jira: {url: https://e.atlassian.net, project: A, priorities: {huge: x}}", 4, "tickets.jira", "huge",
    ),
    "http": (HOOK.format("http://t.example.com"), 5, "tickets.webhook.url", "must begin with https://"),
    "a user in it": (HOOK.format("https://u:p@t.example.com"), 5, "tickets.webhook.url", "must have no user"),
    "a secret in it": (HOOK.format("https://t.example.com/?sig=x"), 5, "tickets.webhook.url", "must have no user"),
    "an address": (HOOK.format("https://169.254.169.254/"), 5, "tickets.webhook.url", "not a host"),
    "an address of six": (HOOK.format("https://[::1]/"), 5, "tickets.webhook.url", "not a host"),
    "loopback": (HOOK.format("https://localhost/"), 5, "tickets.webhook.url", "not a host"),
    "a number for a host": (HOOK.format("https://2130706433/"), 5, "tickets.webhook.url", "not a host"),
    "no port": (HOOK.format("https://t.example.com:99999/"), 5, "tickets.webhook.url", "ort"),
    "loopback allowed": ("  allowed_hosts: [localhost]", 4, "tickets.allowed_hosts[0]", "not a host"),
    "everything allowed": ("  allowed_hosts: ['*']", 4, "tickets.allowed_hosts[0]", "not a host"),
    "another host": (
        HOOK.format("https://evil.example.com"), 3, "tickets", "goes to evil.example.com; if that",
    ),
    "one that merely ends alike": (
        "  jira: {url: https://evilatlassian.net, project: A}", 3, "tickets", "jira.url goes to evilatlassian.net",
    ),
    "one that merely begins alike": (
        "  github: {repository: a/b, url: https://api.github.com.evil.net}", 3, "tickets", "github.com.evil.net",
    ),
    "another vendor's": (
        "  github: {repository: a/b, url: https://e.atlassian.net}", 3, "tickets", "github.url goes to",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "path", "says"), BAD.values(), ids=BAD)
def test_what_cannot_be_said(text, line, path, says):
    policy, problems = check_policy(BEFORE + text, RULES, today=date(2026, 11, 24))
    assert policy is None
    (problem,) = problems
    assert not any(secret in str(problem) for secret in ("ghp_abcdef", "sig=x", "u:p"))
    assert problem.line == line
    assert problem.path.startswith(path)
    assert says in problem.message


def test_the_builtin_store_is_the_default_and_needs_no_secret():
    store = World().tickets
    assert make_tickets(Tickets(), {}, store) is store


async def test_the_service_sends_tickets_where_the_policy_file_says(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(BEFORE + GOOD["github"][0])
    service = Hubwarden({"HUBWARDEN_POLICY": str(path), "AzureWebJobsStorage": "UseDevelopmentStorage=true"})
    assert service.not_ready is None
    assert isinstance(service.ports.tickets, ForeignTickets)
    with pytest.raises(DeniedError, match="HUBWARDEN_GITHUB_TOKEN"):
        _ = service.ports.tickets._tracker._secret.value
    await service.close()
