"""The deploy workflow hands on every choice: one that it left out would go back to its default unseen."""

from __future__ import annotations

import re

from pathlib import Path
from typing import Final

import yaml


ROOT: Final = Path(__file__).parents[2]
OF_AZD: Final = {"AZURE_PRINCIPAL_ID"}
"""What azd finds out by itself, from who is signed in."""


def choices() -> dict[str, str]:
    """Name and default of each placeholder of main.parameters.json."""
    text = (ROOT / "infra/main.parameters.json").read_text(encoding="utf-8")
    return dict(re.findall(r"\$\{(\w+)=?([^}]*)\}", text))


def handed_on() -> dict[str, str]:
    workflow = yaml.safe_load((ROOT / ".github/workflows/deploy.yml").read_text(encoding="utf-8"))
    return dict(workflow["jobs"]["deploy"]["env"])


def test_each_choice_is_handed_on_with_its_default():
    env = handed_on()
    for name, default in choices().items():
        if name in OF_AZD or name == "AZURE_PRINCIPAL_TYPE":
            continue
        other = f" || '{default}'" if default else ""
        assert env.get(name) == f"${{{{ vars.{name}{other} }}}}", name


def test_each_choice_is_in_the_guide():
    guide = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    missing = {name for name in choices() if not name.startswith("AZURE_") and name not in guide}
    assert missing == set()


def test_the_hooks_choices_are_handed_on():
    assert handed_on().keys() >= {"EVENT_SUBSCRIPTIONS", "DEVICE_EVENT_HUBS"}


def test_the_compiler_sees_each_template():
    ci = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert all(f"infra/{path.name}" in ci for path in (ROOT / "infra").glob("*.bicep"))
