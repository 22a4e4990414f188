from __future__ import annotations

import json
import textwrap

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from hypothesis import given
from hypothesis import strategies as st

from detectors import RULES
from hubwarden.domain.permissions import Permissions
from hubwarden.domain.policy import load_policy
from hubwarden.domain.roles import Role, destinations_of, modes_of, on_destination, reader, remediator
from hubwarden.domain.rule import Mode
from hubwarden.rights import rights
from remediators import REMEDIATORS


ROOT = Path(__file__).parents[2]
LISTKEYS = "Microsoft.Devices/IotHubs/listkeys/action"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/logs/providers"
WORKSPACE = f"{GROUP}/Microsoft.OperationalInsights/workspaces/all"
STORAGE = f"{GROUP}/Microsoft.Storage/storageAccounts/all"
EVENT_HUB = f"{GROUP}/Microsoft.EventHub/namespaces/all/authorizationRules/send"

MODES = st.fixed_dictionaries({rule.id: st.sets(st.sampled_from(list(Mode)), max_size=3) for rule in RULES})


def policy(rules: str):
    text = f"version: 1\nsubscriptions: [{SUBSCRIPTION}]\nrules:\n{textwrap.indent(textwrap.dedent(rules), '  ')}"
    return load_policy(text, RULES, today=date(2026, 11, 25))


def is_strong(action):
    return not action.endswith("/read")


def everything(mode):
    return {rule.id: {mode} for rule in RULES}


def test_the_file_that_bicep_reads_is_the_rules_metadata():
    """`make rights` writes it."""
    assert json.loads((ROOT / "infra" / "rights.json").read_text(encoding="utf-8")) == rights()


@pytest.mark.parametrize("mode", [Mode.REPORT, Mode.TICKET])
def test_whoever_only_looks_may_change_nothing(mode):
    role = reader(RULES, everything(mode))
    assert [action for action in (*role.actions, *role.data_actions) if is_strong(action)] == [LISTKEYS]
    assert remediator(RULES, REMEDIATORS, everything(mode)) is None


def test_without_sas_policies_no_key_is_listed():
    modes = everything(Mode.REPORT) | {"sas-policies": {Mode.OFF}}
    assert not any(is_strong(action) for action in reader(RULES, modes).actions)


def test_a_rule_that_is_off_asks_for_nothing():
    """What is left lists hubs."""
    assert reader(RULES, everything(Mode.OFF)) == Role(("Microsoft.Devices/IotHubs/read",))
    assert reader(RULES, {}) == reader(RULES, everything(Mode.OFF))


def test_a_rule_that_is_on_for_some_hubs_asks_for_what_it_needs():
    modes = everything(Mode.OFF) | {"defender-devices": {Mode.OFF, Mode.REPORT}}
    assert reader(RULES, modes).data_actions == ("Microsoft.Devices/IotHubs/twins/read",)


def test_subscriptions_are_listed_only_where_all_are_watched():
    listing = "Microsoft.Resources/subscriptions/read"
    assert listing not in reader(RULES, everything(Mode.AUTO)).actions
    assert listing in reader(RULES, everything(Mode.AUTO), lists_subscriptions=True).actions


@pytest.mark.parametrize("mode", [Mode.APPROVE, Mode.AUTO])
def test_a_fix_asks_for_its_own_writes_only(mode):
    modes = everything(Mode.REPORT) | {"tls-minimum": {Mode.REPORT, mode}}
    assert remediator(RULES, REMEDIATORS, modes) == Role((
        "Microsoft.Authorization/locks/read", "Microsoft.Devices/IotHubs/write",
    ))  # fmt: skip


def test_to_observe_takes_no_write():
    assert remediator(RULES, REMEDIATORS, everything(Mode.AUTO), observes=True) is None
    role = on_destination(WORKSPACE, RULES, REMEDIATORS, everything(Mode.AUTO), observes=True)
    assert role == Role(("Microsoft.OperationalInsights/workspaces/read",))


def test_a_rule_without_a_fix_asks_for_no_write():
    assert remediator(RULES, REMEDIATORS, {"defender-devices": {Mode.AUTO}}) is None


@pytest.mark.parametrize(
    ("destination", "kind", "keys"),
    [
        (WORKSPACE, "Microsoft.OperationalInsights/workspaces", "sharedKeys"),
        (STORAGE.lower(), "Microsoft.Storage/storageAccounts", "listKeys"),
        (EVENT_HUB, "Microsoft.EventHub/namespaces/authorizationRules", "listkeys"),
    ],
)
def test_a_destination_gives_its_own_permissions(destination, kind, keys):
    looks = on_destination(destination, RULES, REMEDIATORS, {"diagnostics": {Mode.REPORT}})
    fixes = on_destination(destination, RULES, REMEDIATORS, {"diagnostics": {Mode.AUTO}})
    assert looks.actions == (f"{kind}/read",)
    assert set(fixes.actions) == {f"{kind}/read", f"{kind}/{keys}/action"}
    assert on_destination(destination, RULES, REMEDIATORS, {"diagnostics": {Mode.OFF}}) == Role(())


@given(MODES)
def test_the_keys_of_a_destination_are_in_no_role_of_a_subscription(modes):
    for role in (reader(RULES, modes), remediator(RULES, REMEDIATORS, modes)):
        keys = [action for action in role.actions if "keys/" in action.lower()] if role else []
        assert set(keys) <= {LISTKEYS}


@given(MODES, st.sampled_from(RULES), st.sampled_from(list(Mode)))
def test_a_role_grows_with_what_is_wished(modes, rule, mode):
    more = modes | {rule.id: modes[rule.id] | {mode}}
    assert set(reader(RULES, modes).actions) <= set(reader(RULES, more).actions)
    before, after = (remediator(RULES, REMEDIATORS, each) for each in (modes, more))
    assert before is None or set(before.actions) <= set(after.actions)


@given(MODES, st.randoms())
def test_a_role_is_sorted_and_the_order_of_rules_does_not_matter(modes, random):
    shuffled = random.sample(RULES, len(RULES))
    role = reader(shuffled, modes)
    assert role == reader(RULES, modes)
    assert list(role.actions) == sorted(set(role.actions), key=str.lower)
    assert remediator(shuffled, REMEDIATORS, modes) == remediator(RULES, REMEDIATORS, modes)


def test_azure_does_not_care_for_case_so_nothing_is_there_twice():
    loud = replace(RULES[1], permissions=Permissions(actions=("MICROSOFT.DEVICES/IOTHUBS/READ",)))
    role = reader((RULES[0], loud), everything(Mode.REPORT))
    assert role.actions == ("Microsoft.Devices/IotHubs/read",)


def test_the_modes_of_a_policy_file_are_those_of_scopes_too():
    modes = modes_of(
        policy("""
            tls-minimum: {mode: report, scopes: [{where: {tags: {env: test}}, mode: auto}]}
            sas-policies: {mode: off, scopes: [{where: {tags: {env: test}}, settings: {offending: rotate}}]}
            defender-hub: {settings: {recommendations: []}}
        """),
        RULES,
    )
    assert modes == {
        "tls-minimum": {Mode.REPORT, Mode.AUTO},
        "diagnostics": {Mode.REPORT},
        "sas-policies": {Mode.OFF},
        "defender-hub": {Mode.REPORT},
        "defender-devices": {Mode.REPORT},
    }


def test_each_destination_that_a_policy_file_names_has_the_modes_of_those_who_send_there():
    found = destinations_of(
        policy(f"""
            diagnostics:
              mode: ticket
              settings: {{destination: {WORKSPACE}}}
              scopes:
                - {{where: {{tags: {{env: a}}}}, settings: {{destination: {STORAGE}}}}}
                - {{where: {{tags: {{env: b}}}}, mode: auto}}
                - {{where: {{tags: {{env: c}}}}, mode: off, settings: {{destination: {EVENT_HUB}}}}}
        """),
        RULES,
    )
    assert found == {
        WORKSPACE.lower(): {"diagnostics": {Mode.TICKET, Mode.AUTO}},
        STORAGE.lower(): {"diagnostics": {Mode.TICKET}},
    }
    assert destinations_of(policy("diagnostics: {mode: auto}"), RULES) == {}
