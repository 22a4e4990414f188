"""The roles that Bicep makes of a policy file are those that the rules' metadata comes to.

Bicep works them out from the policy file and infra/rights.json, Python from the rules themselves; here both are
asked about the same policy files.
"""

from __future__ import annotations

import json
import shutil

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import RULES
from hubwarden.domain.permissions import Permissions
from hubwarden.domain.policy import load_policy
from hubwarden.domain.roles import destinations_of, modes_of, on_destination, reader, remediator
from hubwarden.domain.rule import Mode
from remediators import REMEDIATORS
from tests.infra.bicep_values import evaluate


INFRA = Path(__file__).parents[2] / "infra"
LISTKEYS = "Microsoft.Devices/IotHubs/listkeys/action"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/Logs/providers"
DESTINATIONS = (
    f"{GROUP}/Microsoft.OperationalInsights/workspaces/Plant",
    f"{GROUP.lower()}/microsoft.operationalinsights/workspaces/plant",
    f"{GROUP}/Microsoft.Storage/storageAccounts/plant",
    f"{GROUP}/Microsoft.EventHub/namespaces/plant/authorizationRules/Send",
)
LOCKS = "Microsoft.Authorization/locks/read"


# --- both sides


def policy_of(rules, *, observe=False, subscriptions=(SUBSCRIPTION,)):
    text = {"version": 1, "subscriptions": [*subscriptions], "rules": rules}
    return load_policy(
        json.dumps(text | ({"enforcement": "observe"} if observe else {})), RULES, today=date(2026, 11, 25)
    )


def by_python(rules, *, observe=False, all_rules=RULES, lists_subscriptions=False):
    """What the roles come to: reader, its data actions, remediator, and whether that is assigned."""
    modes = modes_of(policy_of(rules, observe=observe), RULES)
    looks = reader(all_rules, modes, lists_subscriptions=lists_subscriptions)
    fixes = remediator(all_rules, REMEDIATORS, modes, observes=observe)
    return looks.actions, looks.data_actions, fixes.actions if fixes else (LOCKS,), fixes is not None


def in_order(actions):
    """As Python has them; nothing may be there twice."""
    assert len({action.lower() for action in actions}) == len(actions)
    return tuple(sorted(actions, key=str.lower))


def permissions(role):
    [found] = role["properties"]["permissions"]
    assert (found["notActions"], found["notDataActions"]) == ([], [])
    return in_order(found["actions"]), in_order(found["dataActions"])


def by_bicep(rules, *, observe=False, infra=INFRA):
    given = {"principalId": "p", "appName": "a", "rules": rules, "observe": observe}

    def value(name):
        return evaluate(infra / "modules" / "watch.bicep", name, given)

    looks, data = permissions(value("reader"))
    fixes, none = permissions(value("remediator"))
    assert none == ()
    assert value("readerAssignment") is not None
    return looks, data, fixes, value("remediatorAssignment") is not None


def destinations_by_python(rules, *, observe=False):
    named = destinations_of(policy_of(rules, observe=observe), RULES)
    return {
        destination: on_destination(destination, RULES, REMEDIATORS, modes, observes=observe).actions
        for destination, modes in named.items()
    }


def destinations_by_bicep(rules, *, observe=False, infra=INFRA):
    given = {"principalId": "p", "appName": "a", "rules": rules, "observe": observe}
    modules = evaluate(infra / "modules" / "destinations.bicep", "destination", given)
    roles = [
        (each["params"], evaluate(infra / "modules" / "destination.bicep", "role", each["params"]))
        for each in modules
    ]
    assert len({params["destination"] for params, _ in roles}) == len(roles)
    return {params["destination"]: permissions(role)[0] for params, role in roles}


# --- policy files


def section(rule_id):
    wanted = st.sampled_from([mode.value for mode in Mode])
    some = st.fixed_dictionaries({}, optional={"destination": st.sampled_from(DESTINATIONS)})
    said = {"settings": some} if rule_id == "diagnostics" else {}
    where = st.just({"tags": {"env": "test"}})
    scope = st.fixed_dictionaries({"where": where}, optional={"mode": wanted, **said})
    return st.fixed_dictionaries({}, optional={"mode": wanted, "scopes": st.lists(scope, max_size=3), **said})


RULES_SECTIONS = st.fixed_dictionaries({}, optional={rule.id: section(rule.id) for rule in RULES})


@settings(max_examples=300, deadline=None)
@given(RULES_SECTIONS, st.booleans())
def test_the_roles_of_a_watched_subscription(rules, observe):
    assert by_bicep(rules, observe=observe) == by_python(rules, observe=observe)


@settings(max_examples=300, deadline=None)
@given(RULES_SECTIONS, st.booleans())
def test_the_roles_on_destinations(rules, observe):
    assert destinations_by_bicep(rules, observe=observe) == destinations_by_python(rules, observe=observe)


@settings(max_examples=100, deadline=None)
@given(RULES_SECTIONS, st.booleans())
def test_the_roles_of_a_management_group(rules, observe):
    """Without data actions: those come from a built-in role, where a rule needs one."""
    file = {"rules": rules, "enforcement": "observe"} if observe else {"rules": rules}
    given = {"principalId": "p", "appName": "a"}

    def value(name):
        return evaluate(INFRA / "management-group.bicep", name, given, files={"policy.yaml": file})

    looks, none = permissions(value("reader"))
    fixes, nor_here = permissions(value("remediator"))
    wanted = by_python(rules, observe=observe, lists_subscriptions=True)
    assert (none, nor_here) == ((), ())
    assert (looks, fixes, value("remediatorAssignment") is not None) == (wanted[0], wanted[2], wanted[3])
    assert (value("dataAssignment") is not None) == bool(wanted[1])


def test_a_policy_file_without_rules_is_only_reported():
    looks, _, fixes, assigned = by_bicep({})
    assert looks == by_python({rule.id: {"mode": "report"} for rule in RULES})[0]
    assert (fixes, assigned) == ((LOCKS,), False)


@pytest.mark.parametrize("mode", ["report", "ticket"])
def test_whoever_only_looks_gets_no_right_to_change_anything(mode):
    rules = {rule.id: {"mode": mode} for rule in RULES}
    looks, data, fixes, assigned = by_bicep(rules)
    assert {action for action in (*looks, *data, *fixes) if not action.endswith("/read")} == {LISTKEYS}
    assert not assigned
    looks, data, fixes, _ = by_bicep(rules | {"sas-policies": {"mode": "off"}})
    assert all(action.endswith("/read") for action in (*looks, *data, *fixes))


@pytest.mark.parametrize("empty", [{}, {"tls-minimum": None}, {"no-such-rule": {"mode": "auto"}}])
def test_what_says_nothing_asks_for_nothing_more(empty):
    assert by_bicep(empty) == by_python({})


@pytest.mark.parametrize("off", [False, "off", "Off"])
def test_off_is_off_however_the_reader_of_yaml_takes_it(off):
    rules = {rule.id: {"mode": off} for rule in RULES}
    assert by_bicep(rules) == by_python({rule.id: {"mode": "off"} for rule in RULES})
    assert (
        destinations_by_bicep({"diagnostics": {"mode": off, "settings": {"destination": DESTINATIONS[0]}}}) == {}
    )


def test_a_role_is_assigned_to_the_app_and_nobody_else():
    given = {
        "principalId": "the app",
        "appName": "a",
        "rules": {"tls-minimum": {"mode": "auto"}},
        "observe": False,
    }
    for name in ("readerAssignment", "remediatorAssignment"):
        body = evaluate(INFRA / "modules" / "watch.bicep", name, given)
        assert body["properties"]["principalId"] == "the app"
        assert body["properties"]["principalType"] == "ServicePrincipal"


@pytest.mark.parametrize(
    ("destination", "assignment"),
    [(DESTINATIONS[0], "onWorkspace"), (DESTINATIONS[2], "onAccount"), (DESTINATIONS[3], "onRule")],
)
def test_the_role_of_a_destination_is_assigned_there_and_nowhere_else(destination, assignment):
    given = {"principalId": "the app", "appName": "a", "destination": destination, "actions": []}
    found = {
        name: evaluate(INFRA / "modules" / "destination.bicep", name, given)
        for name in ("onWorkspace", "onAccount", "onRule")
    }
    assert [name for name, body in found.items() if body] == [assignment]
    assert found[assignment]["scope"] == {
        "onWorkspace": "<workspace>", "onAccount": "<account>", "onRule": "<rule>",
    }[assignment]  # fmt: skip


# --- that these tests can fail

SCOPED = {"tls-minimum": {"scopes": [{"where": {"tags": {"env": "test"}}, "mode": "approve"}]}}
ASKED = {
    "diagnostics": {
        "settings": {"destination": DESTINATIONS[0]},
        "scopes": [{"where": {"tags": {"env": "test"}}, "mode": "auto"}],
    }
}


NOT_ASKED = {"diagnostics": ASKED["diagnostics"] | {"scopes": []}}
TICKETED = {"tls-minimum": {"mode": "ticket"}}


@pytest.mark.parametrize(
    ("file", "what", "instead", "rules", "observe"),
    [
        ("watch", "['approve', 'auto']", "['auto']", SCOPED, False),
        ("watch", "['approve', 'auto']", "['ticket', 'approve', 'auto']", TICKETED, False),
        ("watch", "['off', 'false']", "['false']", {"sas-policies": {"mode": "off"}}, False),
        ("watch", "scope.?mode ??", "", SCOPED, False),
        ("watch", "observe ? [] : reduce", "reduce", {"tls-minimum": {"mode": "auto"}}, True),
        ("watch", ", rule.needs.read.onDestination)", ", [])", {}, False),
        ("watch", "rights.service.read.actions", "[]", {rule.id: {"mode": "off"} for rule in RULES}, False),
        ("watch", "?? 'report'", "?? 'off'", {}, False),
        ("watch", "union(rights.service.fix.actions, fixActions)", "fixActions", {}, False),
        ("watch", "dataActions: readDataActions", "dataActions: []", {}, False),
        ("watch", "if (!empty(fixActions))", "if (true)", {}, False),
        ("destinations", "scope.?mode ??", "", ASKED, False),
        ("destinations", "scope.?settings.?destination ?? named", "scope.?settings.?destination", ASKED, False),
        ("destinations", "observe ? [] : map", "map", ASKED, True),
        ("destinations", "contains(fixed, id) ?", "true ?", NOT_ASKED, False),
        ("destination", "startsWith(toLower(action), '${resourceType}/')", "true", ASKED, False),
    ],
)  # fmt: skip
def test_a_mistake_in_bicep_is_seen(tmp_path, *, file, what, instead, rules, observe):
    infra = shutil.copytree(INFRA, tmp_path / "infra")
    module = infra / "modules" / f"{file}.bicep"
    text = module.read_text(encoding="utf-8")
    assert what in text
    module.write_text(text.replace(what, instead), encoding="utf-8")
    if file == "watch":
        assert by_bicep(rules, observe=observe) == by_python(rules, observe=observe)
        assert by_bicep(rules, observe=observe, infra=infra) != by_python(rules, observe=observe)
    else:
        wanted = destinations_by_python(rules, observe=observe)
        assert destinations_by_bicep(rules, observe=observe) == wanted != {}
        assert destinations_by_bicep(rules, observe=observe, infra=infra) != wanted


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_that_asks_for_something_else_is_seen(rule):
    changed = replace(
        rule, permissions=Permissions((*rule.permissions.actions, "Microsoft.Devices/IotHubs/delete"))
    )
    all_rules = [changed if each is rule else each for each in RULES]
    assert by_bicep({}) == by_python({})
    assert by_bicep({}) != by_python({}, all_rules=all_rules)
