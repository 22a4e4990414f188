"""Faults to seed into Bicep that is right: each is an edit at a place that the parser found, so any file will do.

`faults(file)` of a `Fault` gives the edits that make one fault each; `Edit.into(text)` makes it. `finds` is what a
check must say of it, on the fault's own file or on one that uses it.
"""

import itertools

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.infra import bicep_syntax as bicep
from tests.infra import bicep_types as types
from tests.infra.bicep_assignment import Assigning
from tests.infra.bicep_declarations import OUTSIDE, give_all
from tests.infra.bicep_functions import called
from tests.infra.bicep_inference import Typing, module_file, resources
from tests.infra.bicep_symbols import used
from tests.infra.bicep_syntax import BicepFile, Part, Span


@dataclass(frozen=True)
class Edit:
    """Put `text` in the place of the bytes `[start, end)`."""

    start: int
    end: int
    text: str

    def into(self, source: bytes) -> str:
        return (source[: self.start] + self.text.encode() + source[self.end :]).decode()


@dataclass(frozen=True)
class Fault:
    """One kind of fault. `typed`: only the type data of Azure shows it."""

    name: str
    finds: str
    edits: Callable[[BicepFile], Iterator[Edit]]
    typed: bool = False

    def __str__(self):
        return self.name


@dataclass(frozen=True)
class Typed:
    """Where a checked value stands: a property, what it may be, the object around it and that object's type."""

    property: bicep.Property
    member: types.Member
    holder: bicep.Object
    shape: types.Object


class _Recording(Assigning):
    """Notes the typed places that the checks come by."""

    def __init__(self, typing: Typing):
        super().__init__(typing)
        self.places: dict[int, Typed] = {}
        self.holder: bicep.Object | None = None

    def give_object(self, part, target, local, *, partly):
        above, self.holder = self.holder, part
        super().give_object(part, target, local, partly=partly)
        self.holder = above

    def give_property(self, part, shape, local):
        member, holder = shape.members.get(part.name), self.holder
        if member and shape.other is None and part in holder.properties:
            self.places.setdefault(part.span.start, Typed(part, member, holder, shape))
        super().give_property(part, shape, local)
        self.holder = holder


def typed(file: BicepFile) -> list[Typed]:
    """The properties of which the type is known, in resources and modules."""
    recording = _Recording(Typing(file))
    give_all(recording)
    return list(recording.places.values())


def _replaced(part: Part | Span, text: str) -> Edit:
    span = part if isinstance(part, Span) else part.span
    return Edit(span.start, span.end, text)


def _inserted(at: int, text: str) -> Edit:
    return Edit(at, at, text)


def _appended(file: BicepFile, text: str) -> Edit:
    return _inserted(len(file.source), f"\n{text}\n")


def _parts(file: BicepFile, kind: type) -> Iterator:
    return iter(file.every(kind))


def _in_own_line(file: BicepFile, property_: bicep.Property) -> bool:
    """Whether the property can be cut out, or written beside, without a comma."""
    before = file.source[: property_.span.start].rpartition(b"\n")[2]
    after = file.source[property_.span.end :].partition(b"\n")[0]
    return not before.strip() and not after.strip()


# --- names and syntax --------------------------------------------------------------------------------------


def _undefined(file: BicepFile) -> Iterator[Edit]:
    names = (name for d in file.declarations for name in used(d) if file.declared(name.name))
    yield from (_replaced(name, f"{name.name}Seeded") for name in names)


def _duplicate(file: BicepFile) -> Iterator[Edit]:
    names = [d.name.name for d in file.declarations if not isinstance(d, bicep.Output)]
    yield from (_appended(file, f"var {name} = 1") for name in names)
    yield from (_appended(file, f"output {o.name.name} int = 1") for o in file.of(bicep.Output))


def _function(file: BicepFile) -> Iterator[Edit]:
    for call in _parts(file, bicep.Call):
        if isinstance(call.function, bicep.Name):
            yield _replaced(call.function, f"{call.function.name}Seeded")


def _arguments(file: BicepFile) -> Iterator[Edit]:
    names = ("toLower", "empty", "contains", "map", "items")
    for call in _parts(file, bicep.Call):
        if isinstance(call.function, bicep.Name) and call.function.name in names:
            yield _replaced(call, f"{call.function.name}()")


def _decorator(file: BicepFile) -> Iterator[Edit]:
    for declaration in file.declarations:
        for each in declaration.decorators:
            end = each.call.function.span.end
            yield _inserted(end, "Seeded")


def _misplaced(file: BicepFile) -> Iterator[Edit]:
    for each in (*file.of(bicep.Variable), *file.of(bicep.Resource)):
        yield _inserted(each.span.start, "@secure()\n")


def _unused(file: BicepFile) -> Iterator[Edit]:
    yield _appended(file, "param seeded string = ''")
    yield _appended(file, "var seeded = 1")
    yield _appended(file, "resource seeded 'Microsoft.Devices/IotHubs@2023-06-30' existing = {\n  name: 'x'\n}")


def _cycle(file: BicepFile) -> Iterator[Edit]:
    yield _appended(file, "var seeded = seededToo\nvar seededToo = seeded")


def _default(file: BicepFile) -> Iterator[Edit]:
    yield _appended(file, "var seeded = 'x'\nparam seededToo string = seeded\noutput seededOut string = seededToo")


def _brace(file: BicepFile) -> Iterator[Edit]:
    yield from (Edit(o.span.end - 1, o.span.end, "") for o in _parts(file, bicep.Object))


def _quote(file: BicepFile) -> Iterator[Edit]:
    """Of strings within one another, the outer ones: the inner quote may end the other."""
    for text in _parts(file, bicep.Text):
        raw = file.text(text)
        if not raw.startswith("'''") and raw.count("'") == 2:
            yield Edit(text.span.end - 1, text.span.end, "")


def _twice(file: BicepFile) -> Iterator[Edit]:
    for part in _parts(file, bicep.Object):
        for each in part.properties:
            if isinstance(each.key, bicep.Name) and _in_own_line(file, each):
                yield _inserted(each.span.start, f"{each.key.name}: 1\n")


# --- modules and files -------------------------------------------------------------------------------------


def _path(file: BicepFile) -> Iterator[Edit]:
    for module in file.of(bicep.Module):
        yield _replaced(module.path, "'modules/seeded.bicep'")
    for call in _parts(file, bicep.Call):
        if called(call)[1].startswith("load"):
            yield _replaced(call.arguments[0], "'seeded.json'")


def _given(file: BicepFile) -> Iterator[tuple[bicep.Module, bicep.Property, bicep.Object]]:
    for module in file.of(bicep.Module):
        body = bicep.body_of(module.value)
        given = body.get("params") if body else None
        if given and isinstance(given.value, bicep.Object) and module_file(file, module):
            yield module, given, given.value


def _extra(file: BicepFile) -> Iterator[Edit]:
    for _, _, parameters in _given(file):
        for each in parameters.properties[:2]:
            yield _inserted(each.span.start, "seeded: 1\n")


def _ungiven(file: BicepFile) -> Iterator[Edit]:
    for place in typed(file):
        if str(place.shape).startswith("params of module") and place.member.required:
            yield _replaced(place.property, "")


def _output(file: BicepFile) -> Iterator[Edit]:
    for member in _parts(file, bicep.Member):
        if isinstance(member.base, bicep.Member) and member.base.name.name == "outputs":
            yield _inserted(member.name.span.end, "Seeded")


def _scope(file: BicepFile) -> Iterator[Edit]:
    """A module without its scope goes where the file goes."""
    for module, given, _ in _given(file):
        body = bicep.body_of(module.value)
        scope = body.get("scope")
        if scope and given and "resourceGroup" not in file.target_scope and _goes_to_group(file, scope):
            yield _replaced(scope, "")


def _goes_to_group(file: BicepFile, scope: bicep.Property) -> bool:
    match scope.value:
        case bicep.Name(name=name):
            return isinstance(file.declared(name), bicep.Resource)
        case bicep.Call():
            return called(scope.value)[1] == "resourceGroup"
        case _:
            return False


# --- values ------------------------------------------------------------------------------------------------


def _yes(file: BicepFile) -> Iterator[Edit]:
    for parameter in file.of(bicep.Parameter):
        if isinstance(parameter.type, bicep.TypeName) and parameter.type.name in ("bool", "int"):
            end = parameter.default.span.end if parameter.default else parameter.type.span.end
            yield Edit(parameter.type.span.end, end, " = 'yes'")


def _limits(file: BicepFile) -> Iterator[Edit]:
    """Defaults beyond what the parameter's own decorators allow."""
    beyond = {"minValue": "-1", "maxValue": "999999999", "minLength": "''", "allowed": "'Seeded'"}
    for parameter in file.of(bicep.Parameter):
        for name in beyond.keys() & {d.name for d in parameter.decorators}:
            end = parameter.default.span.end if parameter.default else parameter.type.span.end
            yield Edit(parameter.type.span.end, end, f" = {beyond[name]}")


def _wrong_output(file: BicepFile) -> Iterator[Edit]:
    for output in file.of(bicep.Output):
        if isinstance(output.type, bicep.TypeName) and output.type.name != "any":
            yield _replaced(output.value, "{}" if output.type.name != "object" else "'x'")


def _misread(file: BicepFile) -> Iterator[Edit]:
    yield _appended(file, "var seeded = { one: 1 }\noutput seededOut int = seeded.two")
    yield _appended(file, "output seeded string = environment().suffixes.storages")


def _written(file: BicepFile) -> Iterator[Typed]:
    """Typed places in resources that the file deploys."""
    for place in typed(file):
        if not str(place.shape).startswith(("module ", "params of ")):
            yield place


def _misspelled(file: BicepFile) -> Iterator[Edit]:
    for place in _written(file):
        if isinstance(place.property.key, bicep.Name):
            yield _inserted(place.property.key.span.end, "Seeded")


def _required(file: BicepFile) -> Iterator[Edit]:
    for place in _written(file):
        if place.member.required and _in_own_line(file, place.property):
            yield _replaced(place.property, "")


def _kind(file: BicepFile) -> Iterator[Edit]:
    wrong: Mapping[type, str] = {
        types.Bool: "'yes'",
        types.Int: "'many'",
        types.String: "{}",
        types.Array: "'text'",
        types.Object: "'text'",
    }
    for place in _written(file):
        target = place.member.type()
        if type(target) in wrong:
            yield _replaced(place.property.value, wrong[type(target)])


def _literal(file: BicepFile) -> Iterator[Edit]:
    for place in _written(file):
        target, value = place.member.type(), place.property.value
        if getattr(target, "literals", None) and isinstance(value, bicep.Text) and value.literal:
            yield _inserted(value.span.end - 1, "Seeded")


def _read_only(file: BicepFile) -> Iterator[Edit]:
    seen: set[int] = set()
    for place in _written(file):
        fixed = [n for n, m in place.shape.members.items() if m.read_only and not m.required]
        missing = [n for n in fixed if not place.holder.get(n)]
        if missing and place.holder.span.start not in seen and _in_own_line(file, place.property):
            seen.add(place.holder.span.start)
            yield _inserted(place.property.span.start, f"{missing[0]}: 'x'\n")


def _discriminator(file: BicepFile) -> Iterator[Edit]:
    """`name` of Microsoft.Web/sites/config and its like decides what the properties are."""
    for resource, parent in resources(file):
        found = getattr(Typing(file).of_resource(resource, parent), "body", None)
        body = bicep.body_of(resource.value)
        if isinstance(found, types.OneOf) and body and not resource.existing:
            given = body.get(found.key)
            if given and isinstance(given.value, bicep.Text):
                yield _inserted(given.value.span.end - 1, "Seeded")


def _versions(file: BicepFile) -> Iterator[Edit]:
    for resource, _ in resources(file):
        name, at, _ = (resource.type.literal or "").partition("@")
        if at and not name.lower().startswith(OUTSIDE):
            yield _replaced(resource.type, f"'{name}@2001-01-01'")


def _child(file: BicepFile) -> Iterator[Edit]:
    for resource, parent in resources(file):
        name, at, version = (resource.type.literal or "").partition("@")
        if (parent or name.count("/") > 1) and not name.lower().startswith(OUTSIDE):
            yield _replaced(resource.type, f"'{name}Seeded{at}{version}'")


def _undeployable(file: BicepFile) -> Iterator[Edit]:
    other = "Microsoft.Storage/storageAccounts@2025-06-01"
    if file.target_scope == "resourceGroup":
        other = "Microsoft.Resources/resourceGroups@2024-03-01"
    yield _appended(file, f"resource seeded '{other}' = {{\n  name: 'x'\n}}")


def _parent(file: BicepFile) -> Iterator[Edit]:
    names = [d for d in file.of(bicep.Resource) if not isinstance(d.value, bicep.For)]
    for resource in file.of(bicep.Resource):
        body = bicep.body_of(resource.value)
        parent = body.get("parent") if body else None
        kind = (resource.type.literal or "").partition("@")[0]
        for other in names if parent else ():
            if not kind.startswith(f"{(other.type.literal or '').partition('@')[0]}/") and other is not resource:
                yield _replaced(parent.value, other.name.name)


def _name_parts(file: BicepFile) -> Iterator[Edit]:
    for resource in file.of(bicep.Resource):
        body = bicep.body_of(resource.value)
        name = body.get("name") if body else None
        if name and isinstance(name.value, bicep.Text) and (not body.get("parent") or _named(body)):
            yield _inserted(name.value.span.end - 1, "/x")


def _named(body: bicep.Object) -> bool:
    parent = body.get("parent")
    return parent is not None and isinstance(parent.value, bicep.Name)


# --- the course of a deployment, and lints ------------------------------------------------------------------


def _late(file: BicepFile) -> Iterator[Edit]:
    modules = [m for m in file.of(bicep.Module) if not isinstance(m.value, bicep.For)]
    bodies = [(d, bicep.body_of(d.value)) for d in (*file.of(bicep.Resource), *file.of(bicep.Module))]
    for (declaration, body), module in itertools.product(bodies, modules[:1]):
        name = body.get("name") if body else None
        if name and declaration is not module:
            yield _replaced(name.value, f"uniqueString({module.name.name}.outputs.seeded)")


def _late_condition(file: BicepFile) -> Iterator[Edit]:
    for each in file.of(bicep.Resource):
        if isinstance(each.value, bicep.Object) and not each.existing:
            others = [o for o in file.of(bicep.Resource) if o is not each and isinstance(o.value, bicep.Object)]
            for other in others[:1]:
                yield _inserted(each.value.span.start, f"if (empty({other.name.name}.properties)) ")


def _host(file: BicepFile) -> Iterator[Edit]:
    for each in file.of(bicep.Variable):
        yield _replaced(each.value, "'https://x.vault.azure.net/'")
    yield _appended(file, "output seeded string = 'https://x.blob.core.windows.net/'")


def _secret_default(file: BicepFile) -> Iterator[Edit]:
    for each in file.of(bicep.Parameter):
        if isinstance(each.type, bicep.TypeName) and each.type.name == "string" and not each.decorated("secure"):
            end = each.default.span.end if each.default else each.type.span.end
            yield Edit(each.span.start, end, f"@secure()\nparam {each.name.name} string = 'hunter2'")


def _secret_name(file: BicepFile) -> Iterator[Edit]:
    yield _appended(file, "param seededPassword string\noutput seeded int = length(seededPassword)")


def _secret_output(file: BicepFile) -> Iterator[Edit]:
    yield _appended(file, "output seeded string = listKeys('x', '2023-06-30').value[0].primaryKey")
    for each in file.of(bicep.Resource):
        if not isinstance(each.value, bicep.For):
            keys = f"var seededKeys = {each.name.name}.listKeys()"
            yield _appended(file, f"{keys}\noutput seeded string = seededKeys.k")


def _location(file: BicepFile) -> Iterator[Edit]:
    for resource, _ in resources(file):
        body = bicep.body_of(resource.value)
        given = body.get("location") if body else None
        if given:
            yield _replaced(given.value, "'westeurope'")


def _needless(file: BicepFile) -> Iterator[Edit]:
    for each in (*file.of(bicep.Resource), *file.of(bicep.Module)):
        body = bicep.body_of(each.value)
        parent = body.get("parent") or body.get("scope") if body else None
        declared = file.declared(parent.value.name) if parent and isinstance(parent.value, bicep.Name) else None
        if isinstance(declared, bicep.Resource) and not declared.existing and not body.get("dependsOn"):
            yield _inserted(body.span.start + 1, f"\n  dependsOn: [{parent.value.name}]\n")


def _quoted(file: BicepFile) -> Iterator[Edit]:
    for each in _parts(file, bicep.Property):
        declared = file.declared(each.value.name) if isinstance(each.value, bicep.Name) else None
        if isinstance(declared, bicep.Parameter) and getattr(declared.type, "name", "") == "string":
            yield _replaced(each.value, f"'${{{each.value.name}}}'")


def _operands(file: BicepFile) -> Iterator[Edit]:
    wrong = {"&&": "'x'", "||": "1", "+": "true", "-": "'x'"}
    for part in file.every(bicep.Binary):
        if part.operator in wrong:
            yield _replaced(part.left, wrong[part.operator])
    for part in (*file.every(bicep.Ternary), *file.every(bicep.If)):
        if not isinstance(part.condition, bicep.Binary):
            yield _replaced(part.condition, "(1 + 1)")


def _argument(file: BicepFile) -> Iterator[Edit]:
    strict = ("toLower", "uniqueString", "guid", "split", "startsWith", "subscription", "map", "filter", "items")
    for call in file.every(bicep.Call):
        if isinstance(call.function, bicep.Name) and call.function.name in strict and call.arguments:
            yield _replaced(call.arguments[0], "true")


def _no_lambda(file: BicepFile) -> Iterator[Edit]:
    for call in file.every(bicep.Call):
        for argument in call.arguments:
            if isinstance(argument, bicep.Lambda):
                yield _replaced(argument, "'x'")


def _text_for_resource(file: BicepFile) -> Iterator[Edit]:
    for part in file.every(bicep.Property):
        if part.name in ("scope", "parent") and isinstance(part.value, bicep.Name):
            yield _inserted(part.value.span.end, ".name")


def _loop_in_argument(file: BicepFile) -> Iterator[Edit]:
    yield _appended(file, "output seeded array = union([for one in ['x']: one], [])")
    yield _appended(file, "var seeded = { a: [for one in ['x']: one] }\noutput seededOut object = seeded")
    for part in file.every(bicep.For):
        yield _replaced(part.body, f"[for seeded in ['x']: {file.text(part.body)}]")


def _same_name(file: BicepFile) -> Iterator[Edit]:
    for each in (*file.of(bicep.Resource), *file.of(bicep.Module)):
        body = bicep.body_of(each.value)
        name = body.get("name") if body else None
        if name and not getattr(each, "existing", False):
            if isinstance(each.value, bicep.For):
                rest = [body.get(key) for key in ("scope", "parent")]
                if not any(isinstance(p.value, bicep.Call | bicep.Index) for p in rest if p):
                    yield _replaced(name.value, "'seeded'")
            else:
                twin = file.text(each).replace(f" {each.name.name} ", " seeded ", 1)
                yield _appended(file, twin)


def _region(file: BicepFile) -> Iterator[Edit]:
    asks = "resourceGroup" if file.target_scope == "resourceGroup" else "deployment"
    yield _appended(file, f"output seeded string = {asks}().location")


def _key(file: BicepFile) -> Iterator[Edit]:
    for part in file.every(bicep.Property):
        if isinstance(part.key, bicep.Name):
            yield _replaced(part.key, f"'{part.key.name}'")


def _target(file: BicepFile) -> Iterator[Edit]:
    wrong = "resourceGroups" if file.target_scope == "resourceGroup" else f"{file.target_scope}s"
    if file.source.count(b"targetScope = "):
        at = file.source.index(b"targetScope = ")
        end = file.source.index(b"\n", at)
        yield Edit(at, end, f"targetScope = '{wrong}'")


def _question(file: BicepFile) -> Iterator[Edit]:
    if file.target_scope != "resourceGroup":
        yield _appended(file, "output seeded string = resourceGroup().name")


def _decorator_argument(file: BicepFile) -> Iterator[Edit]:
    for declaration in file.declarations:
        for each in declaration.decorators:
            if each.call.arguments:
                yield _replaced(each.call.arguments[0], "true")


def _given_wrong(file: BicepFile) -> Iterator[Edit]:
    for place in typed(file):
        if str(place.shape).startswith("params of module"):
            wrong = "[]" if not isinstance(place.member.type(), types.Array) else "'x'"
            yield _replaced(place.property.value, wrong)


_NO_KEY = "needs '(?:name|endpointType)', which is not given"
"""Where a property tells types apart, its misspelling is its absence."""

SEEDED = (
    Fault("undefined symbol", "Seeded' is not declared", _undefined),
    Fault("duplicate symbol", "is declared a second time", _duplicate),
    Fault("unknown function", "there is no function '", _function),
    Fault("unknown decorator", "there is no decorator @", _decorator),
    Fault("unused symbol", "'seeded' is never used", _unused),
    Fault("missing module path", "there is no file ", _path),
    Fault("unknown module parameter", "has no property 'seeded'", _extra),
    Fault("missing module parameter", "^params of module .* needs '", _ungiven),
    Fault("missing brace", "^syntax: ", _brace),
    Fault("missing quote", "^syntax: ", _quote),
    Fault("bool = 'yes'", "'yes' stands where ", _yes),
    Fault("misspelled property", f"has no property '.*Seeded'|{_NO_KEY}", _misspelled, typed=True),
    Fault("wrong api-version", "there is no .*@2001-01-01", _versions, typed=True),
)
"""The kinds of docs' promise: at least 11 of these 13 are found."""

MORE = (
    Fault("unknown output of a module", "has no property '.*Seeded'", _output),
    Fault("read-only property", "is read-only", _read_only, typed=True),
    Fault("missing required property", " needs '", _required, typed=True),
    Fault("wrong type", "stands where ", _kind, typed=True),
    Fault("misspelled child type", "there is no .*Seeded", _child, typed=True),
    Fault("misspelled literal", "Seeded' is (?:not among|no \\w+ of) ", _literal, typed=True),
    Fault("unknown discriminator", "Seeded' is no name of ", _discriminator, typed=True),
    Fault("default beyond its limits", "is less|is more|is shorter|is not among|stands where", _limits),
    Fault("wrong type of a module parameter", "stands where ", _given_wrong),
    Fault("wrong operand", "stands where ", _operands),
    Fault("wrong argument", "stands where ", _argument),
    Fault("no lambda where one belongs", "takes a lambda here", _no_lambda),
    Fault("wrong argument of a decorator", "stands where ", _decorator_argument),
    Fault("text where a resource belongs", "stands where a resource|stands where .* a scope", _text_for_resource),
    Fault("loop where none is taken", "no loop is taken here", _loop_in_argument),
    Fault("two things of one name", "has this name|makes another of this name", _same_name),
    Fault("unknown target scope", "^targetScope ", _target),
    Fault("question without an answer", "has no answer in a deployment", _question),
    Fault("region asked too late", "make the location a parameter", _region),
    Fault("needless quotes around a key", "needs no quotes", _key),
    Fault("wrong type of an output", "stands where ", _wrong_output),
    Fault("reading what is not there", "has no property '", _misread),
    Fault("too few arguments", r"\(\) takes ", _arguments),
    Fault("misplaced decorator", "cannot stand at a ", _misplaced),
    Fault("symbols that need each other", "refers to itself", _cycle),
    Fault("default that needs a variable", "a parameter's default cannot refer to", _default),
    Fault("property given twice", "is given a second time", _twice),
    Fault("module at the wrong scope", "would be deployed to a ", _scope),
    Fault("resource at the wrong scope", "cannot be deployed to a ", _undeployable, typed=True),
    Fault("wrong parent", "is no child of a ", _parent),
    Fault("name with a part too many", "parts between slashes", _name_parts),
    Fault("name that is not known yet", "is not known yet when the name", _late),
    Fault("condition that is not known yet", "is not known yet when a condition", _late_condition),
    Fault("address of one cloud", "is the address of one cloud", _host),
    Fault("secret with a default", "is secret and has a default", _secret_default),
    Fault("secret that is not secure", "sounds secret", _secret_name),
    Fault("secret in an output", "output 'seeded' shows a secret", _secret_output),
    Fault("location written down", "is written down", _location),
    Fault("needless dependsOn", "is needless", _needless),
    Fault("quotes around nothing but a parameter", "leave the quotes out", _quoted),
)
