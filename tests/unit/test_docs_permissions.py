"""What the documents say of permissions is what the rules say of themselves."""

from __future__ import annotations

import re

from pathlib import Path

import pytest

from detectors import RULES
from hubwarden.domain.permissions import Permissions
from hubwarden.domain.roles import BEFORE_A_FIX, LIST_SUBSCRIPTIONS, LOOK
from hubwarden.rights import WHY, table
from remediators import REMEDIATORS


DOCS = Path(__file__).parents[2] / "docs"
ALL = Permissions.merged([
    LOOK, LIST_SUBSCRIPTIONS, BEFORE_A_FIX,
    *(rule.permissions for rule in RULES), *(each.permissions for each in REMEDIATORS.values()),
])  # fmt: skip


def named(permissions):
    return {*permissions.actions, *permissions.data_actions, *permissions.on_destination}


def said_of(rule_id):
    """What the rule's page lists: to look, to fix."""
    text = (DOCS / "rules" / f"{rule_id}.md").read_text(encoding="utf-8")
    found = {True: set(), False: set()}
    for row in re.findall(r"^\| .*$", text.partition("\n## Permissions\n")[2].partition("\n## ")[0], re.MULTILINE):
        found[row.startswith("| fix")].update(re.findall(r"`(Microsoft\.[\w./]+)`", row))
    return found[False], found[True]


def test_the_table_is_the_rules_metadata():
    """`python -m hubwarden.rights --table` prints it."""
    assert f"\n\n{table()}\n\n" in (DOCS / "permissions.md").read_text(encoding="utf-8")


def test_each_permission_has_its_reason_and_its_row():
    assert WHY.keys() == named(ALL)
    rows = table().splitlines()[2:]
    assert {row.split("`")[1] for row in rows} == named(ALL)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rules_page_lists_what_it_needs(rule):
    looks, fixes = said_of(rule.id)
    fix = REMEDIATORS.get(rule.id)
    assert looks == named(rule.permissions)
    assert fixes == (named(fix.permissions) if fix else set())


def test_what_can_be_turned_off_has_its_row():
    """The page says how to do without each right that is none to read."""
    strong = {action for action in named(ALL) if not action.endswith("/read")}
    assert len(strong) == 7
    text = (DOCS / "permissions.md").read_text(encoding="utf-8")
    assert all(action in text for action in strong)
    for rule in RULES:
        assert f"(rules/{rule.id}.md)" in text
