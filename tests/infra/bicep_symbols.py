"""Names: each that is used is declared, each that is declared is used, and once only."""

import difflib

from collections.abc import Iterable, Iterator

from tests.infra import bicep_syntax as bicep
from tests.infra.bicep_functions import DECORATOR_TAKES, DECORATORS, FUNCTIONS, NAMESPACES, builtin, called
from tests.infra.bicep_syntax import BicepFile, Part, Problem


_PRIMITIVES = ("any", "array", "bool", "int", "object", "string")

type _Local = frozenset[str]

_NONE: _Local = frozenset()


def undefined(file: BicepFile) -> Iterator[Problem]:
    """Symbols and types that nobody declared."""
    declared = {d.name.name for d in file.declarations if not isinstance(d, bicep.Output)}
    for part in _everything(file):
        for name in used(part):
            if name.name not in declared and name.name not in NAMESPACES:
                yield file.problem(name, f"{name.name!r} is not declared{like(name.name, declared)}")
    for each in file.every(bicep.TypeName):
        if each.name not in declared and each.name not in _PRIMITIVES:
            yield file.problem(each, f"there is no type {each.name!r}{like(each.name, declared)}")


def duplicates(file: BicepFile) -> Iterator[Problem]:
    """Two declarations of one name, two outputs of one name, two properties of one key."""
    for kind in (True, False):
        yield from _twice(
            file, [d.name for d in file.declarations if isinstance(d, bicep.Output) == kind], "declared"
        )
    for each in file.every(bicep.Object):
        keys = [p for p in each.properties if p.name is not None]
        yield from _twice(file, [bicep.Name(p.span, p.name) for p in keys], "given")


def functions(file: BicepFile) -> Iterator[Problem]:
    """Calls of functions that do not exist, or do not take so many arguments, or not in that place."""
    own = {f.name.name: f for f in file.of(bicep.Function)}
    defaults = {id(call) for p in file.of(bicep.Parameter) if p.default for call in bicep.walk(p.default)}
    for call in file.every(bicep.Call):
        namespace, name = called(call)
        if namespace is None and name in own:
            count = len(own[name].parameters)
            yield from _counted(file, call, name, count, count)
        elif namespace != "?":
            yield from _builtin_called(file, call, namespace, name, in_default=id(call) in defaults)


def decorators(file: BicepFile) -> Iterator[Problem]:
    """Decorators that do not exist, or not at such a declaration, or stand there twice."""
    for declaration in file.declarations:
        for each in declaration.decorators:
            places = DECORATORS.get(each.name)
            if places is None:
                yield file.problem(each, f"there is no decorator @{each.name}{like(each.name, DECORATORS)}")
            elif not isinstance(declaration, places):
                kind = type(declaration).__name__.lower()
                yield file.problem(each, f"@{each.name} cannot stand at a {kind}")
            elif len(each.call.arguments) != (each.name in DECORATOR_TAKES):
                yield file.problem(each, f"@{each.name} takes {int(each.name in DECORATOR_TAKES)} arguments")
        yield from _twice(file, [bicep.Name(d.span, d.name) for d in declaration.decorators], "decorated with")


def unused(file: BicepFile) -> Iterator[Problem]:
    """Parameters, variables, functions, imports and existing resources that nothing refers to."""
    seen = {name.name for part in _everything(file) for name in used(part)}
    seen |= {called(each)[1] for each in file.every(bicep.Call)}
    seen |= {each.name for each in file.every(bicep.TypeName)}
    for declaration in file.declarations:
        name = declaration.name.name
        idle = isinstance(declaration, bicep.Parameter | bicep.Variable | bicep.Function | bicep.Imported)
        idle = idle or (isinstance(declaration, bicep.Resource) and declaration.existing)
        if idle and name not in seen and not declaration.decorated("export"):
            yield file.problem(declaration.name, f"{name!r} is never used")


def order(file: BicepFile) -> Iterator[Problem]:
    """Declarations that need themselves, and defaults that need more than parameters."""
    needs = {d.name.name: _needs(file, d) for d in file.declarations if not isinstance(d, bicep.Output)}
    for declaration in file.declarations:
        name = declaration.name.name
        if not isinstance(declaration, bicep.Output) and name in _reached(needs, needs[name]):
            yield file.problem(declaration.name, f"{name!r} refers to itself")
        if isinstance(declaration, bicep.Parameter) and declaration.default:
            for each in used(declaration.default):
                if isinstance(file.declared(each.name), bicep.Declaration) and not isinstance(
                    file.declared(each.name), bicep.Parameter
                ):
                    yield file.problem(each, f"a parameter's default cannot refer to {each.name!r}")


def used(part: Part, local: _Local = _NONE) -> Iterator[bicep.Name]:
    """The names in an expression or declaration that stand for something outside of it, at each place."""
    if isinstance(part, bicep.Name):
        if part.name not in local:
            yield part
        return
    for inner, names in _inside(part, local):
        yield from used(inner, names)


def _inside(part: Part, local: _Local) -> Iterator[tuple[Part, _Local]]:
    """What is in a part and may refer to something, each with the names that are local there."""
    inner = list(bicep.children(part))
    match part:
        case bicep.Member(base=base) | bicep.Nested(base=base):
            inner = [base]
        case bicep.Call(function=bicep.Name(), arguments=arguments):
            inner = list(arguments)
        case bicep.Lambda(parameters=parameters, body=body):
            inner, local = [body], local | {p.name for p in parameters}
        case bicep.For(item=item, index=index, over=over, body=body):
            yield over, local
            inner, local = [body], local | {n.name for n in (item, index) if n}
        case bicep.Property(key=bicep.Name(), value=value):
            inner = [value]
        case bicep.Object(resources=resources):
            local |= {r.name.name for r in resources}
        case bicep.Function(parameters=parameters, body=body):
            inner, local = [body], local | {p.name.name for p in parameters}
        case bicep.Declaration(name=name):
            inner.remove(name)
    yield from ((each, local) for each in inner)


def like(name: str, candidates: Iterable[str]) -> str:
    """What may have been meant, for the end of a message."""
    near = difflib.get_close_matches(name, list(candidates), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _everything(file: BicepFile) -> Iterator[Part]:
    for declaration in file.declarations:
        yield declaration
        yield from (argument for each in declaration.decorators for argument in each.call.arguments)


def _twice(file: BicepFile, names: Iterable[bicep.Name], how: str) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for name in names:
        if name.name.lower() in seen:
            line = seen[name.name.lower()]
            yield file.problem(name, f"{name.name!r} is {how} a second time, first on line {line}")
        seen.setdefault(name.name.lower(), name.span.line)


def _builtin_called(
    file: BicepFile, call: bicep.Call, namespace: str | None, name: str, *, in_default: bool
) -> Iterator[Problem]:
    found = builtin(name, namespace)
    if found is None:
        candidates = [key for key in _function_names(file) if builtin(key, namespace) or namespace is None]
        yield file.problem(call, f"there is no function {name!r}{like(name, candidates)}")
    elif found.default_only and not in_default:
        yield file.problem(call, f"{name}() can only be the default of a parameter")
    else:
        yield from _counted(file, call, name, found.least, found.most)


def _function_names(file: BicepFile) -> Iterator[str]:
    yield from FUNCTIONS
    yield from (f.name.name for f in file.of(bicep.Function))


def _counted(file: BicepFile, call: bicep.Call, name: str, least: int, most: int | None) -> Iterator[Problem]:
    count = len(call.arguments)
    if count < least or (most is not None and count > most):
        span = f"{least}" if least == most else f"{least} to {most}" if most is not None else f"{least} or more"
        yield file.problem(call, f"{name}() takes {span} arguments, not {count}")


def _needs(file: BicepFile, declaration: bicep.Declaration) -> set[str]:
    names = {name.name for name in used(declaration)}
    own = {f.name.name for f in file.of(bicep.Function)}
    calls = {called(each)[1] for each in bicep.walk(declaration) if isinstance(each, bicep.Call)}
    return names | (calls & own)


def _reached(needs: dict[str, set[str]], start: set[str]) -> set[str]:
    reached, ahead = set(), list(start)
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += needs.get(name, ())
    return reached
