"""The deploy workflow hands on every choice: one that it left out would go back to its default unseen."""

from __future__ import annotations

import re

from pathlib import Path
from typing import Final

import yaml


ROOT: Final = Path(__file__).parents[2]
NOT_OF_A_PIPELINE: Final = {"AZURE_PRINCIPAL_ID", "AZURE_PRINCIPAL_TYPE", "RECOVER_VAULT"}
"""What azd or the workflow knows by itself, and what is for one deployment only."""


def choices() -> dict[str, str]:
    """Name and default of each placeholder of main.parameters.json."""
    text = (ROOT / "infra/main.parameters.json").read_text(encoding="utf-8")
    return dict(re.findall(r"\$\{(\w+)=?([^}]*)\}", text))


def handed_on() -> dict[str, str]:
    workflow = yaml.safe_load((ROOT / ".github/workflows/deploy.yml").read_text(encoding="utf-8"))
    return dict(workflow["jobs"]["deploy"]["env"])


def test_each_choice_is_handed_on():
    env = handed_on()
    for name in choices().keys() - NOT_OF_A_PIPELINE:
        assert re.fullmatch(rf"\$\{{\{{ vars\.{name}( \|\| .+)? \}}\}}", env.get(name, "")), name


def test_each_choice_is_in_the_guide():
    guide = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    missing = {name for name in choices() if not name.startswith("AZURE_") and name not in guide}
    assert missing == set()


def test_the_hooks_choices_are_handed_on():
    assert handed_on().keys() >= {"EVENT_SUBSCRIPTIONS", "DEVICE_EVENT_HUBS"}


def test_the_compiler_sees_each_template():
    ci = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert all(f"infra/{path.name}" in ci for path in (ROOT / "infra").glob("*.bicep"))
