"""Declarations against what they declare: types of parameters and outputs, resources of Azure, modules."""

import functools

from collections.abc import Iterator

from tests.infra import bicep_syntax as bicep
from tests.infra import bicep_types as types
from tests.infra.bicep_assignment import Assigning
from tests.infra.bicep_functions import DECORATES, DECORATOR_TAKES, called
from tests.infra.bicep_inference import Typing, literal_path, module_file, resources, type_and_version
from tests.infra.bicep_symbols import like
from tests.infra.bicep_syntax import BicepFile, Problem
from tests.infra.bicep_types import ANY, Type


SCOPES = {
    "tenant": types.TENANT,
    "managementGroup": types.MANAGEMENT_GROUP,
    "subscription": types.SUBSCRIPTION,
    "resourceGroup": types.RESOURCE_GROUP,
}

_ABOUT = {
    "resourceGroup": ("resourceGroup",),
    "subscription": ("resourceGroup", "subscription"),
    "managementGroup": ("managementGroup",),
}
"""Functions that ask where the deployment goes, and to where it must go for them to answer."""

_LONGEST = {"loadTextContent": 131_072, "loadJsonContent": 1_048_576, "loadYamlContent": 1_048_576}
"""Characters: https://learn.microsoft.com/azure/azure-resource-manager/bicep/bicep-functions-files"""

_RESOURCE = types.Reference("a resource or module", ANY)
_DEPENDS = types.array_of(types.union([_RESOURCE, types.array_of(_RESOURCE)]))
_SCOPE = types.union([_RESOURCE, types.any_object("a scope")])


def values(file: BicepFile) -> Iterator[Problem]:
    """Everything that is given a value: does it fit, and does it read only what is there?"""
    typing = Typing(file)
    give_all(Assigning(typing))
    yield from typing.problems


def give_all(assigning: Assigning) -> None:
    """Give every declaration of the file its value."""
    typing = assigning.typing
    for declaration in typing.file.declarations:
        _give(assigning, declaration)
    for resource, parent in resources(typing.file):
        assigning.give(resource.value, _looped(resource, _resource_body(typing, resource, parent)), {})


OUTSIDE = ("microsoft.eventhub/", "microsoft.network/privatednszones")
"""Beginnings of types that the type data does not hold at all, so nothing is said about them."""


def versions(file: BicepFile) -> Iterator[Problem]:
    """Resources whose type does not exist, or not at that version; without type data, nothing."""
    for resource, parent in resources(file) if types.available() else ():
        name, version = type_and_version(resource, parent)
        if not version:
            yield file.problem(resource.type, f"{name} has no version")
        elif types.resource_type(name, version) is None and not name.lower().startswith(OUTSIDE):
            known = types.versions(name)
            hint = f"; its versions are {', '.join(known)}" if known else _near_type(name, version)
            yield file.problem(resource.type, f"there is no {name}@{version}{hint}")


def files(file: BicepFile) -> Iterator[Problem]:
    """Modules and loaded files that are not there, and files that are too long to be loaded."""
    for module in file.of(bicep.Module):
        path = module.path.literal
        if path is None or path.startswith(("br:", "br/", "ts:", "ts/")):
            continue
        if not (file.path.parent / path).is_file():
            yield file.problem(module.path, f"there is no file {path}")
    for call in file.every(bicep.Call):
        if called(call)[1] in _LONGEST:
            path = literal_path(file, call)
            if path is None:
                yield file.problem(call, "the path must be a plain string")
            elif not path.is_file():
                yield file.problem(call, f"there is no file {path.name} at {path.parent}")
            elif len(path.read_text(encoding="utf-8")) > _LONGEST[called(call)[1]]:
                yield file.problem(call, f"{path.name} is longer than {_LONGEST[called(call)[1]]} characters")


def scopes(file: BicepFile) -> Iterator[Problem]:
    """Modules and resources that cannot be deployed to where they would be, and questions about where that is."""
    if file.target_scope not in SCOPES:
        yield Problem(str(file.path), 1, f"targetScope {file.target_scope!r} is none of {', '.join(SCOPES)}")
    for call in file.every(bicep.Call):
        needed = _ABOUT.get(called(call)[1], SCOPES) if not call.arguments and called(call)[0] != "?" else SCOPES
        if file.target_scope not in needed:
            yield file.problem(call, f"{called(call)[1]}() has no answer in a deployment to a {file.target_scope}")
    for module in file.of(bicep.Module):
        other, body = module_file(file, module), bicep.body_of(module.value)
        if other is None or body is None:
            continue
        there = _module_scope(file, body)
        if there and there != other.target_scope:
            message = f"{module.path.literal} is for a {other.target_scope}, and would be deployed to a {there}"
            yield file.problem(body.get("scope") or module.name, message)
    for resource, parent in resources(file):
        yield from _resource_scope(file, resource, parent)


def parents(file: BicepFile) -> Iterator[Problem]:
    """Children of a resource: the parent's type fits, and a name has as many parts as the type."""
    for resource in file.of(bicep.Resource):
        body = bicep.body_of(resource.value)
        name, _ = type_and_version(resource)
        if body is None:
            continue
        parent = body.get("parent")
        above = _type_of(file, parent.value) if parent else ""
        if above is None:
            continue
        if parent and not name.lower().startswith(f"{above.lower()}/"):
            yield file.problem(parent, f"a {name} is no child of a {above}")
        else:
            yield from _parts(file, body, name, name.count("/") - above.count("/"))


# --- what each declaration may be given ---------------------------------------------------------------------


def _give(assigning: Assigning, declaration: bicep.Declaration) -> None:
    typing = assigning.typing
    for each in declaration.decorators:
        for argument in each.call.arguments:
            assigning.give(argument, DECORATOR_TAKES.get(each.name, ANY), {})
    match declaration:
        case bicep.Parameter(default=default):
            _decorated(typing, declaration)
            if default is not None:
                assigning.give(default, typing.of_parameter(declaration), {})
        case bicep.Variable(value=value):
            typing.of(value, {})
        case bicep.Output(type=declared, value=value):
            assigning.give(value, typing.written(declared), {})
        case bicep.Module(value=value):
            assigning.give(value, _looped(declaration, _module_body(typing, declaration)), {})
        case bicep.Function(parameters=parameters, body=body):
            local = {p.name.name: typing.written(p.type) for p in parameters}
            assigning.give(body, typing.written(declaration.returns), local)


def _decorated(typing: Typing, parameter: bicep.Parameter) -> None:
    """Limits of numbers at numbers, limits of texts at texts."""
    declared = types.without_null(typing.written(parameter.type))
    for each in parameter.decorators:
        kinds = (*DECORATES.get(each.name, ()), types.AnyType, types.Union)
        if each.name in DECORATES and not isinstance(declared, kinds):
            typing.say(each, f"@{each.name} says nothing of a {declared}")


def _looped(declaration: bicep.Resource | bicep.Module, each: Type) -> Type:
    return types.array_of(each) if isinstance(declaration.value, bicep.For) else each


def _member(type_: Type, *, required: bool = False) -> types.Member:
    return types.Member(functools.partial(lambda it: it, type_), types.REQUIRED if required else 0)


def _resource_body(typing: Typing, resource: bicep.Resource, parent: str) -> Type:
    found = typing.of_resource(resource, parent)
    beside = {"scope": _member(_SCOPE), "parent": _member(_RESOURCE), "dependsOn": _member(_DEPENDS)}
    body = found.body
    if resource.existing:
        return types.Object(found.name, {"name": _member(types.STRING, required=True), **beside})
    if isinstance(body, types.OneOf):
        return types.OneOf(found.name, body.key, {**body.base, **beside}, body.choices)
    assert isinstance(body, types.Object)
    return types.Object(found.name, {**body.members, **beside}, body.other)


def _module_body(typing: Typing, module: bicep.Module) -> Type:
    other = module_file(typing.file, module)
    if other is None:
        return ANY
    inside = Typing(other)
    given = {
        p.name.name: types.Member(
            functools.partial(inside.of_parameter, p),
            0 if p.default is not None or isinstance(p.type, bicep.TypeNullable) else types.REQUIRED,
        )
        for p in other.of(bicep.Parameter)
    }
    title = f"module {module.path.literal}"
    parameters = types.Object(f"params of {title}", given)
    required = any(member.required for member in given.values())
    body = {"name": _member(types.STRING), "scope": _member(_SCOPE), "dependsOn": _member(_DEPENDS)}
    return types.Object(title, {**body, "params": _member(parameters, required=required)})


# --- places ------------------------------------------------------------------------------------------------


def _near_type(name: str, version: str) -> str:
    provider = name.partition("/")[0]
    return like(name, (found.name for found in types.all_of(provider, version)))


def _module_scope(file: BicepFile, body: bicep.Object) -> str | None:
    """Where a module goes; None where it cannot be told."""
    given = body.get("scope")
    if given is None:
        return file.target_scope
    if isinstance(given.value, bicep.Call):
        name = called(given.value)[1]
        return name if name in SCOPES else None
    declared = file.declared(given.value.name) if isinstance(given.value, bicep.Name) else None
    if isinstance(declared, bicep.Resource):
        name = type_and_version(declared)[0].lower()
        return "resourceGroup" if name == "microsoft.resources/resourcegroups" else None
    return None


def _resource_scope(file: BicepFile, resource: bicep.Resource, parent: str) -> Iterator[Problem]:
    name, version = type_and_version(resource, parent)
    found = types.resource_type(name, version) if types.available() else None
    body = bicep.body_of(resource.value)
    if found is None or body is None or resource.existing:
        return
    if not found.scopes:
        yield file.problem(resource.type, f"{name} cannot be deployed, only read")
    scope = body.get("scope")
    if scope is None:
        if not (parent or body.get("parent") or found.scopes & SCOPES.get(file.target_scope, 0)):
            yield file.problem(resource.type, f"{name} cannot be deployed to a {file.target_scope}")
    elif isinstance(scope.value, bicep.Name) and isinstance(file.declared(scope.value.name), bicep.Resource):
        if not found.scopes & types.EXTENSION:
            yield file.problem(scope, f"{name} cannot be deployed on another resource")
    elif isinstance(scope.value, bicep.Call) and called(scope.value)[1] in SCOPES.keys() - {file.target_scope}:
        yield file.problem(scope, "a resource is deployed to the scope of its file; a module goes elsewhere")


def _parts(file: BicepFile, body: bicep.Object, name: str, expected: int) -> Iterator[Problem]:
    given = body.get("name")
    if given is None or not isinstance(given.value, bicep.Text):
        return
    parts = "".join(p for p in given.value.pieces if isinstance(p, str)).count("/") + 1
    if parts != expected:
        yield file.problem(given, f"the name of this {name} has {expected} parts between slashes, not {parts}")


def _type_of(file: BicepFile, part: bicep.Part) -> str | None:
    """The type of the resource that an expression names; None where it names none."""
    base = part.base if isinstance(part, bicep.Index | bicep.NotNull) else part
    declared = file.declared(base.name) if isinstance(base, bicep.Name) else None
    return type_and_version(declared)[0] if isinstance(declared, bicep.Resource) else None
