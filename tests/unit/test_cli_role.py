"""``role``: what it prints is what `az role definition create` takes, and what the rules' metadata comes to."""

from __future__ import annotations

import json

import pytest

from typer.testing import CliRunner

from detectors import RULES
from hubwarden.cli.app import app
from hubwarden.cli.surroundings import Surroundings
from hubwarden.domain.roles import on_destination, reader, remediator
from hubwarden.domain.rule import Mode
from remediators import REMEDIATORS


SUB = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
SCOPE = f"/subscriptions/{SUB}"
GROUP = "/providers/Microsoft.Management/managementGroups/plants"
WORKSPACE = f"{SCOPE}/resourceGroups/logs/providers/Microsoft.OperationalInsights/workspaces/all"
STORAGE = f"{SCOPE}/resourceGroups/cold/providers/Microsoft.Storage/storageAccounts/cold"
MEMBERS = [
    "Name", "IsCustom", "Description",
    "Actions", "NotActions", "DataActions", "NotDataActions", "AssignableScopes",
]  # fmt: skip
LISTKEYS = "Microsoft.Devices/IotHubs/listkeys/action"


def nothing(*_):
    raise AssertionError("it needs no service")


def role(*arguments):
    """With no settings, no storage, no sign-in."""
    around = Surroundings(env={}, compose=nothing)
    return CliRunner(env={"COLUMNS": "300"}).invoke(app, ["role", *arguments], obj=around)


def printed(*arguments):
    result = role(*arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def refused(*arguments):
    result = role(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    return result.stderr


@pytest.fixture
def policy(tmp_path):
    """Writes a policy file; its name."""

    def write(rules, *, subscriptions=SUB, more=""):
        file = tmp_path / "policy.yaml"
        file.write_text(f"version: 1\nsubscriptions: [{subscriptions}]\nrules: {json.dumps(rules)}\n{more}")
        return str(file)

    return write


def test_what_is_printed_is_what_azure_takes():
    roles = printed("--rules", "tls-minimum,diagnostics", "--mode", "auto", "--scope", SCOPE)
    assert [list(each) for each in roles] == [MEMBERS, MEMBERS]
    assert [each["Name"] for each in roles] == ["hubwarden reader", "hubwarden remediator"]
    assert all(each["IsCustom"] is True and each["AssignableScopes"] == [SCOPE] for each in roles)
    assert all(each["NotActions"] == each["NotDataActions"] == [] for each in roles)


@pytest.mark.parametrize("mode", [*Mode])
def test_it_is_what_the_rules_come_to(mode):
    ids = ["tls-minimum", "defender-devices", "sas-policies"]
    modes = {rule_id: {mode} for rule_id in ids}
    found = printed("--rules", ", ".join(ids), "--mode", mode, "--scope", SUB)
    wanted = [reader(RULES, modes), remediator(RULES, REMEDIATORS, modes)]
    assert [(each["Actions"], each["DataActions"]) for each in found] == [
        ([*each.actions], [*each.data_actions]) for each in wanted if each
    ]


def test_with_every_rule_in_report_nothing_may_be_changed():
    """But for listkeys, and without sas-policies nothing at all."""
    ids = [rule.id for rule in RULES]
    for named, strong in ((ids, {LISTKEYS}), ([each for each in ids if each != "sas-policies"], set())):
        for mode in ("report", "ticket"):
            [only] = printed("--rules", ",".join(named), "--mode", mode, "--scope", SUB)
            actions = (*only["Actions"], *only["DataActions"])
            assert {action for action in actions if not action.endswith("/read")} == strong


def test_report_is_the_mode_where_none_is_said():
    assert printed("--rules", "sas-policies", "--scope", SUB) == printed(
        "--rules", "sas-policies", "--mode", "report", "--scope", SUB
    )


def test_one_alone_can_be_given_to_az():
    looks = printed("--rules", "tls-minimum", "--scope", SUB, "--only", "reader", "--name", "hw")
    assert (looks["Name"], looks["Actions"]) == ("hw reader", ["Microsoft.Devices/IotHubs/read"])
    assert "no remediator role" in refused("--rules", "tls-minimum", "--scope", SUB, "--only", "remediator")


def test_a_policy_file_says_modes_scopes_and_destinations(policy):
    there = {"where": {"tags": {"env": "test"}}}
    file = policy({
        "tls-minimum": {"scopes": [there | {"mode": "auto"}]},
        "sas-policies": {"mode": "off"},
        "diagnostics": {
            "settings": {"destination": WORKSPACE},
            "scopes": [there | {"mode": "approve", "settings": {"destination": STORAGE}}],
        },
    })  # fmt: skip
    looks, fixes, *sent = printed("--policy", file)
    assert LISTKEYS not in looks["Actions"]
    assert fixes["Actions"] == [
        "Microsoft.Authorization/locks/read",
        "Microsoft.Devices/IotHubs/write",
        "Microsoft.Insights/diagnosticSettings/write",
    ]
    assert looks["AssignableScopes"] == fixes["AssignableScopes"] == [SCOPE]
    assert [each["AssignableScopes"] for each in sent] == [
        [f"{SCOPE}/resourcegroups/logs"], [f"{SCOPE}/resourcegroups/cold"],
    ]  # fmt: skip
    wanted = [
        on_destination(WORKSPACE, RULES, REMEDIATORS, {"diagnostics": {Mode.REPORT}}),
        on_destination(STORAGE, RULES, REMEDIATORS, {"diagnostics": {Mode.APPROVE}}),
    ]
    assert [tuple(each["Actions"]) for each in sent] == [each.actions for each in wanted]
    assert len({each["Name"] for each in (looks, fixes, *sent)}) == 4


def test_to_observe_takes_no_write(policy):
    file = policy({"tls-minimum": {"mode": "auto"}}, more="enforcement: observe\n")
    assert [each["Name"] for each in printed("--policy", file)] == ["hubwarden reader"]


def test_whoever_watches_all_subscriptions_lists_them(policy):
    file = policy({}, subscriptions="all")
    assert "--scope" in refused("--policy", file)
    [looks] = printed("--policy", file, "--scope", GROUP)
    assert "Microsoft.Resources/subscriptions/read" in looks["Actions"]


def test_a_management_group_takes_no_data_actions():
    result = role("--rules", "defender-devices", "--scope", GROUP)
    [looks] = json.loads(result.stdout)
    assert (looks["DataActions"], looks["AssignableScopes"]) == ([], [GROUP])
    assert "IoT Hub Data Reader" in result.stderr
    assert "Microsoft.Devices/IotHubs/twins/read" in result.stderr


def test_without_a_scope_it_is_said_what_stands_for_it():
    result = role("--rules", "tls-minimum")
    [looks] = json.loads(result.stdout)
    assert looks["AssignableScopes"][0] in result.stderr


def test_a_destination_has_a_role_of_its_own():
    arguments = ("--rules", "diagnostics", "--mode", "auto", "--scope", SUB)
    assert "--destination" in role(*arguments).stderr
    sent = printed(*arguments, "--destination", WORKSPACE, "--only", "destination")
    assert sent["Actions"] == [
        "Microsoft.OperationalInsights/workspaces/read",
        "Microsoft.OperationalInsights/workspaces/sharedKeys/action",
    ]
    two = (*arguments, "--destination", WORKSPACE, "--destination", STORAGE)
    assert len(printed(*two)) == 4
    assert "2 destination roles" in refused(*two, "--only", "destination")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--rules or --policy"),
        (("--rules", "tls-minimum,no-such"), "no rule no-such"),
        (("--rules", " , "), "no rule is named"),
        (("--rules", "tls-minimum", "--scope", "plants"), "--scope 'plants'"),
        (("--rules", "tls-minimum", "--scope", f"{SCOPE}/resourceGroups/g/providers/x/y/z"), "--scope"),
        (("--rules", "diagnostics", "--destination", SCOPE), "--destination"),
        (("--rules", "tls-minimum", "--destination", WORKSPACE), "--destination"),
        (("--rules", "tls-minimum", "--scope", SUB, "--name", "x" * 125), "128"),
        (("--policy", "no-such.yaml"), "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(arguments, said):
    assert said in refused(*arguments)


@pytest.mark.parametrize("more", [("--mode", "auto"), ("--rules", "tls-minimum"), ("--destination", WORKSPACE)])
def test_a_policy_file_goes_with_no_other_wish(policy, more):
    assert "the policy file says" in refused("--policy", policy({}), *more)


def test_a_policy_file_that_is_wrong_makes_no_role(policy):
    assert "line 3" in refused("--policy", policy({"no-such-rule": {}}))
