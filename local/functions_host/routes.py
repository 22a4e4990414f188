"""Route templates of HTTP triggers, matched as ASP.NET Core does (case-insensitively, most specific first)."""

import re

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from .errors import StartupError
from .functions import Function


_PARAMETER = re.compile(
    r"\{(?P<catch_all>\*{0,2})(?P<name>[^:?=}]+)(?P<constraints>(?::[^:?=}]+)*)(?P<optional>\??)\}"
)
_CONSTRAINTS = {
    "": "[^/]+",
    "int": r"-?\d+",
    "long": r"-?\d+",
    "bool": "true|false",
    "alpha": "[A-Za-z]+",
    "guid": "[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}",
}


@dataclass(frozen=True, slots=True)
class Route:
    """Where one HTTP function answers."""

    function: Function
    template: str
    methods: frozenset[str]
    level: str
    _pattern: re.Pattern[str]
    _parameters: tuple[str, ...]
    _rank: tuple[int, ...]

    @classmethod
    def of(cls, function: Function, prefix: str) -> Self:
        """Compile the route of an HTTP function; without one it is the function's name."""
        fields = function.trigger.fields
        own = (fields.get("route") or function.name).strip("/")
        template = "/".join(part for part in (prefix, own) if part)
        pattern, parameters, rank = _compile(template, function.name)
        methods = frozenset(method.upper() for method in fields.get("methods") or ())
        level = str(fields.get("authLevel", "FUNCTION")).upper()
        return cls(function, template, methods, level, pattern, parameters, rank)

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Return the route parameters if this route answers the request."""
        found = self._pattern.fullmatch(path)
        if found is None or (self.methods and method not in self.methods):
            return None
        values = zip(self._parameters, found.groups(), strict=True)
        return {name: value for name, value in values if value is not None}

    @staticmethod
    def most_specific_first(routes: Iterable["Route"]) -> list["Route"]:
        """Order routes as ASP.NET does: literals before constrained before free parameters before catch-alls."""
        return sorted(routes, key=lambda route: route._rank)  # noqa: SLF001 - its own


def find(routes: Iterable[Route], method: str, raw_path: str) -> tuple[Route, Mapping[str, str]] | None:
    """Return the first route that answers, with its parameters. An escaped slash stays escaped."""
    path = "%2F".join(unquote(part) for part in re.split("%2F", raw_path.strip("/"), flags=re.IGNORECASE))
    for route in routes:
        parameters = route.match(method, path)
        if parameters is not None:
            return route, parameters
    return None


def _compile(template: str, function: str) -> tuple[re.Pattern[str], tuple[str, ...], tuple[int, ...]]:
    pattern, names, rank = "", [], []
    for segment in template.split("/"):
        parameters = list(_PARAMETER.finditer(segment))
        optional = bool(parameters) and bool(parameters[-1]["optional"] or parameters[-1]["catch_all"])
        separator = "/" if pattern else ""
        body = _segment(segment, function)
        pattern += f"(?:{separator}{body})?" if optional else separator + body
        names += [parameter["name"] for parameter in parameters]
        rank.append(_rank(parameters))
    return re.compile(pattern, re.IGNORECASE), tuple(names), tuple(rank)


def _segment(segment: str, function: str) -> str:
    pattern, position = "", 0
    for parameter in _PARAMETER.finditer(segment):
        pattern += re.escape(segment[position : parameter.start()]) + f"({_value(parameter, function)})"
        position = parameter.end()
    rest = segment[position:]
    if "{" in rest:
        raise StartupError(f"Function {function}: this host does not understand the route segment {segment}")
    return pattern + re.escape(rest)


def _value(parameter: re.Match[str], function: str) -> str:
    if parameter["catch_all"]:
        return ".*"
    *others, constraint = parameter["constraints"].split(":")
    if constraint not in _CONSTRAINTS or any(others):
        raise StartupError(f"Function {function}: this host has no route constraint {parameter['constraints']}")
    return _CONSTRAINTS[constraint]


def _rank(parameters: list[re.Match[str]]) -> int:
    if not parameters:
        return 1
    if parameters[0]["catch_all"]:
        return 4
    return 2 if parameters[0]["constraints"] else 3
