from __future__ import annotations

import re

from pathlib import Path

import pytest

from detectors import RULES
from hubwarden.domain.rule import Mode, Safety
from hubwarden.service.desk import _filled
from remediators import REMEDIATORS


ROOT = Path(__file__).parents[2]
PERMISSION = re.compile(r"[A-Z]\w+(\.[A-Z]\w+)+(/\w+)+/(read|write|delete|\w+/action)")


def stems(folder):
    return {path.stem.replace("_", "-") for path in (ROOT / folder).glob("*.py") if not path.stem.startswith("_")}


def named(permissions):
    return [*permissions.actions, *permissions.data_actions, *permissions.on_destination]


def module_stem(function):
    return function.__module__.rpartition(".")[2].replace("_", "-")


def test_every_detector_is_listed():
    assert {rule.id for rule in RULES} == stems("detectors")


def test_every_remediator_is_listed():
    assert set(REMEDIATORS) == stems("remediators")


def test_ids_are_unique():
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert len({rule.id.replace("-", "_") for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_rule(rule):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.id)
    assert module_stem(rule.detect) == rule.id
    assert rule.reads
    assert all(PERMISSION.fullmatch(action) for action in named(rule.permissions))
    assert rule.permissions.actions
    assert rule.default_mode not in {Mode.AUTO, Mode.APPROVE}
    assert rule.settings() == rule.settings()
    assert rule.reference.startswith("https://")
    assert rule.benchmarks
    for text in (rule.title, rule.risk, rule.recommendation):
        assert text.strip() == text != ""
    for text in (rule.manual_fix.cli, rule.manual_fix.bicep, rule.manual_fix.portal):
        assert text
    values = {**rule.settings().model_dump(mode="json"), "name": "n", "resource_group": "g", "subscription": "s"}
    command = _filled(rule.manual_fix.cli, values)
    assert "{{" not in command
    assert not re.search(r"\{[a-z_]+\}", command), "every place is filled"


@pytest.mark.parametrize("rule_id", REMEDIATORS)
def test_remediator(rule_id):
    remediator = REMEDIATORS[rule_id]
    assert remediator.rule_id == rule_id
    assert rule_id in {rule.id for rule in RULES}
    assert module_stem(remediator.plan) == rule_id
    assert remediator.safety in Safety
    assert remediator.why
    assert module_stem(remediator.warn) == rule_id
    assert remediator.paths or remediator.beyond
    assert all(path and all(isinstance(key, str) for key in path) for path in remediator.paths)
    assert all(PERMISSION.fullmatch(action) for action in named(remediator.permissions))
    assert any(action.endswith("/write") for action in remediator.permissions.actions)
    rule = next(rule for rule in RULES if rule.id == rule_id)
    assert not set(named(remediator.permissions)) & set(named(rule.permissions)), "the rule's own has it already"


def test_a_permission_is_spelled_in_one_way():
    """Bicep joins what rules need by the letter."""
    holders = [*RULES, *REMEDIATORS.values()]
    spelled = {action for each in holders for action in named(each.permissions)}
    assert len({action.lower() for action in spelled}) == len(spelled)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_to_look_takes_no_right_to_change(rule):
    """But for listkeys: Azure shows policies in no other way."""
    strong = {action for action in named(rule.permissions) if not action.endswith("/read")}
    assert strong <= {"Microsoft.Devices/IotHubs/listkeys/action"}
    assert not strong or rule.id == "sas-policies"


def test_the_registry_cannot_be_changed():
    with pytest.raises(TypeError):
        REMEDIATORS["x"] = None


@pytest.mark.parametrize(
    "action", ["Microsoft.Devices/IotHubs/listkeys/action", "Microsoft.Insights/diagnosticSettings/read"]
)
def test_a_permission_is_spelled_so(action):
    assert PERMISSION.fullmatch(action)


@pytest.mark.parametrize(
    "action",
    [
        "Microsoft.Devices/IotHubs",
        "Microsoft.Devices/IotHubs/*",
        "Microsoft.Devices/read",
        "iothubs/read",
        "*",
        "",
    ],
)
def test_a_permission_is_not_spelled_so(action):
    assert not PERMISSION.fullmatch(action)
