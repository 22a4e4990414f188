"""The IoT Hub query language, as far as queries on device and module twins need it.

`SELECT * | path [AS name], … | COUNT() [AS name] FROM devices | devices.modules [WHERE …]` with comparisons, `IN`,
`NIN`, `AND`, `OR`, `NOT` and parentheses. The language has no joins; GROUP BY, TOP and functions are left out.
"""

import re

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from local.azure_simulator.devices import Device, Module
from local.azure_simulator.twins import twin


type Row = tuple[Device, Module | None]
type Test = Callable[[Device, Module | None], bool]
type Read = Callable[[Device, Module | None], Any]

TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<word>[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$-]*)*)|(?P<sign><=|>=|!=|<>|[=<>()\[\],*]))"
)

ABSENT = object()
"""The value of a path that a twin does not have: no comparison with it is true."""

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: bool(left == right),
    "!=": lambda left, right: bool(left != right),
    "<>": lambda left, right: bool(left != right),
    "<": lambda left, right: bool(left < right),
    ">": lambda left, right: bool(left > right),
    "<=": lambda left, right: bool(left <= right),
    ">=": lambda left, right: bool(left >= right),
}

READERS: dict[str, Read] = {
    "deviceId": lambda device, _: device.id,
    "moduleId": lambda _, module: module.id if module else ABSENT,
    "status": lambda device, _: device.status,
    "connectionState": lambda device, module: (module or device).connection_state,
    "lastActivityTime": lambda device, module: (module or device).last_activity,
    "authenticationType": lambda device, _: device.authentication,
    "capabilities.iotEdge": lambda device, _: device.edge,
}
"""Paths that are read without making the whole twin."""


class QueryError(ValueError):
    """A query that cannot be understood; the text says where."""


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query.

    Attributes:
        source: What it goes over.
        columns: Name and reader of each; empty for `*`.
        count: Name of the single member of a COUNT(); None for other queries.
        where: What a row must fulfil.
    """

    source: Literal["devices", "devices.modules"]
    columns: tuple[tuple[str, Read], ...]
    count: str | None
    where: Test

    @property
    def item_type(self) -> str:
        """The header `x-ms-item-type` of its answers."""
        return "Raw" if self.columns or self.count else "Twin"

    def shown(self, device: Device, module: Module | None) -> dict[str, Any]:
        """One row of the answer; what a twin does not have is left out."""
        if not self.columns:
            return twin(device, module)
        values = ((name, read(device, module)) for name, read in self.columns)
        return {name: value for name, value in values if value is not ABSENT}


@cache
def parse(text: str) -> Query:
    """The query; QueryError if it is none of this subset."""
    return Parser(tokens(text)).query()


def tokens(text: str) -> list[tuple[str, str]]:
    """Kind and text of each token."""
    found, position, end = [], 0, len(text.rstrip().removesuffix(";").rstrip())
    while position < end:
        token = TOKEN.match(text, position)
        if token is None or token.end() > end:
            raise QueryError(f"unexpected text at {position}: {text[position : position + 20]!r}")
        found.append((str(token.lastgroup), token[str(token.lastgroup)]))
        position = token.end()
    return found


class Parser:
    """Recursive descent over the tokens of one query."""

    def __init__(self, found: list[tuple[str, str]]) -> None:
        self._tokens = found
        self._next = 0

    def query(self) -> Query:
        """The whole query."""
        self._want("SELECT")
        columns, count = self._selection()
        self._want("FROM")
        source = self._take()[1].lower()
        where: Test = self._either() if self._is("WHERE") else lambda *_: True
        if self._next < len(self._tokens):
            raise QueryError(f"unexpected {self._peek()[1]!r}")
        if source == "devices":
            return Query("devices", columns, count, where)
        if source == "devices.modules":
            return Query("devices.modules", columns, count, where)
        raise QueryError(f"cannot query {source!r}")

    def _selection(self) -> tuple[tuple[tuple[str, Read], ...], str | None]:
        if self._is("*"):
            return (), None
        if self._is("COUNT"):
            self._want("(")
            self._want(")")
            return (), self._alias("$1")
        columns = [self._column()]
        while self._is(","):
            columns.append(self._column())
        return tuple(columns), None

    def _column(self) -> tuple[str, Read]:
        path = self._word()
        return self._alias(path.rsplit(".", 1)[-1]), reader(path)

    def _alias(self, default: str) -> str:
        return self._word() if self._is("AS") else default

    def _either(self) -> Test:
        tests = [self._all()]
        while self._is("OR"):
            tests.append(self._all())
        if len(tests) == 1:
            return tests[0]
        return lambda device, module: any(test(device, module) for test in tests)

    def _all(self) -> Test:
        tests = [self._single()]
        while self._is("AND"):
            tests.append(self._single())
        if len(tests) == 1:
            return tests[0]
        return lambda device, module: all(test(device, module) for test in tests)

    def _single(self) -> Test:
        if self._is("NOT"):
            inner = self._single()
            return lambda device, module: not inner(device, module)
        if self._is("("):
            test = self._either()
            self._want(")")
            return test
        return self._comparison()

    def _comparison(self) -> Test:
        read = reader(self._word())
        if self._is("IN"):
            inside = self._values()
            return lambda device, module: read(device, module) in inside
        if self._is("NIN"):
            outside = [*self._values(), ABSENT]
            return lambda device, module: read(device, module) not in outside
        sign = self._take()[1]
        if sign not in COMPARE:
            raise QueryError(f"unexpected {sign!r}")
        compare, wanted = COMPARE[sign], self._value()
        return lambda device, module: compares(compare, read(device, module), wanted)

    def _values(self) -> list[Any]:
        self._want("[")
        values = [self._value()]
        while self._is(","):
            values.append(self._value())
        self._want("]")
        return values

    def _value(self) -> Any:
        kind, text = self._take()
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        if kind == "number":
            return float(text)
        constants = {"true": True, "false": False, "null": None}
        if text.lower() not in constants:
            raise QueryError(f"{text!r} is no value")
        return constants[text.lower()]

    def _word(self) -> str:
        kind, text = self._take()
        if kind != "word":
            raise QueryError(f"unexpected {text!r}")
        return text

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "end of the query")

    def _take(self) -> tuple[str, str]:
        token = self._peek()
        if token[0] == "end":
            raise QueryError("unexpected end of the query")
        self._next += 1
        return token

    def _is(self, wanted: str) -> bool:
        """Whether this is next; takes it if so. Key words are case-insensitive."""
        kind, text = self._peek()
        if kind == "text" or text.upper() != wanted:
            return False
        self._next += 1
        return True

    def _want(self, wanted: str) -> None:
        if not self._is(wanted):
            raise QueryError(f"expected {wanted} instead of {self._peek()[1]!r}")


def compares(compare: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    """The comparison, false where the two cannot be compared."""
    if left is ABSENT:
        return False
    try:
        return compare(left, right)
    except TypeError:
        return False


def reader(path: str) -> Read:
    """What reads a path of a row."""
    return READERS.get(path) or (lambda device, module: walked(twin(device, module), path))


def walked(value: Any, path: str) -> Any:
    """The value at a dotted path."""
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return ABSENT
        value = value[name]
    return value
