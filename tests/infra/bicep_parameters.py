"""Parameter files (`x.parameters.json` beside `x.bicep`) and the other JSON files of infra/.

azd puts values of its environment into a parameters file: `${NAME}` and `${NAME=default}`, then turns the text
into what the parameter is. https://learn.microsoft.com/azure/developer/azure-developer-cli/manage-environment-variables
"""

import json
import re

from collections.abc import Iterator
from pathlib import Path

from tests.infra import bicep_syntax as bicep
from tests.infra import bicep_types as types
from tests.infra.bicep_fit import unfit
from tests.infra.bicep_inference import Typing
from tests.infra.bicep_symbols import like
from tests.infra.bicep_syntax import Problem


_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_WHOLE = re.compile(r"\$\{(?P<name>[^}=]*)(?:=(?P<default>[^}]*))?\}")


def parameters(path: Path) -> Iterator[Problem]:
    """A parameters file against its Bicep file: names, what is missing, how azd will read the values."""
    template = path.with_name(path.name.removesuffix(".parameters.json") + ".bicep")
    text = path.read_text(encoding="utf-8")
    given = _given(text)
    if given is None or not template.is_file():
        yield Problem(str(path), 1, f"no parameters, or no {template.name} beside them")
        return
    file = bicep.parse(template)
    typing = Typing(file)
    declared = {p.name.name: p for p in file.of(bicep.Parameter)}
    for name in given.keys() - declared.keys():
        yield _at(path, text, name, f"{template.name} has no parameter {name!r}{like(name, declared)}")
    for name, parameter in declared.items():
        if name in given:
            target = typing.of_parameter(parameter)
            yield from (_at(path, text, name, f"{name}: {why}") for why in _misread(given[name], target))
        elif parameter.default is None and not isinstance(parameter.type, bicep.TypeNullable):
            yield Problem(str(path), 1, f"{name!r} has no default in {template.name} and is not given")


def readable(path: Path) -> Iterator[Problem]:
    """A JSON file that is none, or says something twice."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys = [key for key, _ in pairs]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise ValueError(f"{', '.join(sorted(twice))} is there twice")
        return dict(pairs)

    try:
        json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except ValueError as error:
        yield Problem(str(path), getattr(error, "lineno", 1), f"no JSON: {error}")


def _given(text: str) -> dict[str, object] | None:
    try:
        found = json.loads(text).get("parameters")
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    return {name: each.get("value") if isinstance(each, dict) else None for name, each in found.items()}


def _misread(value: object, target: types.Type) -> Iterator[str]:
    """Why a value is not what the parameter takes, after azd has put its environment's values in."""
    if not isinstance(value, str) or "$" not in value:
        yield from unfit(types.of_value(value), target)
        return
    rest = _WHOLE.sub("", value)
    if ("$" in rest and not rest.startswith("$(")) or "{" in rest or "}" in rest:
        yield f"{value!r} is not what azd understands: ${{NAME}} or ${{NAME=default}}"
    for found in _WHOLE.finditer(value):
        if not _NAME.fullmatch(found["name"]):
            yield f"{found['name']!r} is no name of an environment value"
        if found["default"] is not None and found.group() == value:
            yield from _misread_default(found["default"], target)


def _misread_default(default: str, target: types.Type) -> Iterator[str]:
    """azd reads `false` for a bool and `7` for an int; for a text, everything is text."""
    texts = all(isinstance(each, types.String) for each in getattr(target, "members", (target,)))
    try:
        value = default if texts else json.loads(default or "null")
    except ValueError:
        value = default
    if value is not None:
        yield from unfit(types.of_value(value), target)


def _at(path: Path, text: str, name: str, message: str) -> Problem:
    line = next((i for i, line in enumerate(text.splitlines(), 1) if f'"{name}"' in line), 1)
    return Problem(str(path), line, message)
