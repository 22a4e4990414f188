"""The notify section of the policy file: what it takes, and what it refuses."""

from __future__ import annotations

import re

import pytest

from hubwarden.domain.channels import Notify
from hubwarden.domain.message import Kind
from hubwarden.domain.severity import Severity
from tests.unit.fakes import hub_id


TEAMS = {"kind": "teams"}
MAIL = {"kind": "smtp", "host": "mail.example.com", "sender": "a@example.com", "to": ["b@example.com"]}
ACS = {
    "kind": "acs",
    "endpoint": "https://x.europe.communication.azure.com",
    "sender": "a@example.com",
    "to": ["b@example.com"],
}
HOOK = {"kind": "webhook", "url": "https://chat.example.com/hook"}


@pytest.mark.parametrize(
    ("channel", "told"),
    [
        (MAIL, "notify.allowed_hosts"),
        (HOOK, "notify.allowed_hosts"),
        (ACS | {"endpoint": "https://evilcommunication.azure.com"}, "notify.allowed_hosts"),
        (HOOK | {"url": "http://chat.example.com"}, "https://"),
        (HOOK | {"url": "https://10.0.0.1/"}, "host"),
        (HOOK | {"url": "https://chat.example.com/?key=secret"}, "secret"),
        (TEAMS | {"url_setting": "https://x.logic.azure.com/?sig=1"}, "HUBWARDEN_"),
        (TEAMS | {"url_setting": "AzureWebJobsStorage"}, "HUBWARDEN_"),
        (TEAMS | {"url": "https://x.logic.azure.com"}, "Extra inputs"),
        (MAIL | {"to": []}, "at least 1"),
        (MAIL | {"sender": "a@example.com\nBcc: all@evil.example"}, "pattern"),
        ({"kind": "pigeon"}, "pigeon"),
    ],
)
def test_a_channel_that_is_not_safe_is_refused_with_what_is_wrong(channel, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        Notify.model_validate({"channels": {"x": channel}})


def test_hosts_of_ones_own_are_named():
    hosts = ["mail.example.com", "chat.example.com"]
    Notify.model_validate({"allowed_hosts": hosts, "channels": {"a": MAIL, "b": HOOK, "c": ACS}})


def test_a_route_to_a_channel_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="names the channel 'nobody'"):
        Notify.model_validate({"channels": {"x": TEAMS}, "routes": [{"channels": ["nobody"]}]})


ROUTES = Notify.model_validate(
    {
        "channels": {"a": TEAMS, "b": TEAMS},
        "routes": [
            {"channels": ["a"], "min_severity": "high", "events": ["asked"]},
            {"channels": ["b", "a"], "where": {"resource_group": "RG-PROD"}, "events": ["failed"]},
        ],
    }
)


@pytest.mark.parametrize(
    ("severity", "kinds", "told"),
    [
        (Severity.HIGH, {Kind.ASKED}, ["a"]),
        (Severity.CRITICAL, {Kind.ASKED}, ["a"]),
        (Severity.MEDIUM, {Kind.ASKED}, []),
        (Severity.LOW, {Kind.FAILED}, ["b", "a"]),
        (Severity.HIGH, {Kind.FAILED, Kind.ASKED}, ["a", "b"]),
        (Severity.HIGH, {Kind.REPORTED}, []),
    ],
)
def test_all_routes_that_match_count_and_a_channel_is_named_once(severity, kinds, told):
    assert ROUTES.channels_for(hub_id(), severity, kinds) == told


def test_by_default_nobody_is_told():
    assert Notify().channels_for(hub_id(), Severity.CRITICAL, list(Kind)) == []
