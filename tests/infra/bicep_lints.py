"""What compiles and is wrong all the same: after Bicep's own linter, the rules that bicepconfig.json makes errors.

https://learn.microsoft.com/azure/azure-resource-manager/bicep/linter
"""

import re

from collections.abc import Iterator

from tests.infra import bicep_syntax as bicep
from tests.infra.bicep_functions import called
from tests.infra.bicep_inference import resources
from tests.infra.bicep_symbols import used
from tests.infra.bicep_syntax import BicepFile, Part, Problem


_HOSTS = re.compile(
    r"(?<!schema\.)(?:"
    r"management\.(?:core\.windows\.net|azure\.com|usgovcloudapi\.net|chinacloudapi\.cn)"
    r"|core\.(?:windows\.net|usgovcloudapi\.net|chinacloudapi\.cn)"
    r"|vault\.(?:azure\.(?:net|cn)|usgovcloudapi\.net)"
    r"|login\.(?:microsoftonline\.(?:com|us)|chinacloudapi\.cn|partner\.microsoftonline\.cn)"
    r"|graph\.windows\.net|database\.windows\.net|gallery\.azure\.com|azuredatalakestore\.net"
    r")",
    re.IGNORECASE,
)

_SECRET_NAME = re.compile(r"password|secret|accountkey|acctkey|connectionstring", re.IGNORECASE)

_ANSWERS_SECRETS = ("listKeys", "listSecrets", "listConnectionStrings", "getSecret")


def hosts(file: BicepFile) -> Iterator[Problem]:
    """Addresses of one cloud, where `environment()` knows those of all."""
    for part in file.every(bicep.Text):
        found = next((m for p in part.pieces if isinstance(p, str) for m in _HOSTS.finditer(p)), None)
        if found:
            yield file.problem(part, f"{found.group()} is the address of one cloud: use environment()")


def secrets(file: BicepFile) -> Iterator[Problem]:
    """Secrets with a default, secrets by name that are not `@secure()`, outputs that show one."""
    for parameter in file.of(bicep.Parameter):
        secure, default = parameter.decorated("secure"), parameter.default
        empty = isinstance(default, bicep.Text) and default.literal == ""
        fresh = isinstance(default, bicep.Call) and called(default)[1] == "newGuid"
        if secure and default is not None and not empty and not fresh:
            yield file.problem(default, f"{parameter.name.name!r} is secret and has a default")
        texts = isinstance(parameter.type, bicep.TypeName) and parameter.type.name == "string"
        if not secure and texts and _SECRET_NAME.search(parameter.name.name):
            yield file.problem(parameter.name, f"{parameter.name.name!r} sounds secret and is not @secure()")
    for output in file.of(bicep.Output):
        if not output.decorated("secure"):
            for part in _shown(file, output.value, frozenset()):
                yield file.problem(part, f"output {output.name.name!r} shows a secret")


def locations(file: BicepFile) -> Iterator[Problem]:
    """A region that is written down: `location` is a parameter."""
    for resource, _ in resources(file):
        body = bicep.body_of(resource.value)
        given = body.get("location") if body else None
        value = given.value if given else None
        if isinstance(value, bicep.Name):
            declared = file.declared(value.name)
            value = declared.value if isinstance(declared, bicep.Variable) else value
        if isinstance(value, bicep.Text) and value.literal not in (None, "global"):
            yield file.problem(given, f"the location {value.literal!r} is written down: take a parameter")


def regions(file: BicepFile) -> Iterator[Problem]:
    """Where a group or deployment is, asked elsewhere than in a parameter's default: nobody can say otherwise."""
    defaults = {id(part) for p in file.of(bicep.Parameter) if p.default for part in bicep.walk(p.default)}
    for part in file.every(bicep.Member):
        asks = isinstance(part.base, bicep.Call) and called(part.base)[1] in ("resourceGroup", "deployment")
        if asks and part.name.name == "location" and id(part) not in defaults:
            yield file.problem(part, "make the location a parameter, with this as its default")


def keys(file: BicepFile) -> Iterator[Problem]:
    """Quotes around keys that need none."""
    for part in file.every(bicep.Property):
        plain = isinstance(part.key, bicep.Text) and part.name is not None
        if plain and re.fullmatch(r"[A-Za-z_]\w*", part.name):
            yield file.problem(part, f"{part.name} needs no quotes")


def needless(file: BicepFile) -> Iterator[Problem]:
    """`dependsOn` of what is referred to anyway."""
    for each in [r for r, _ in resources(file)] + file.of(bicep.Module):
        body = bicep.body_of(each.value)
        given = body.get("dependsOn") if body else None
        rest = [p.value for p in body.properties if p is not given] if body else []
        named = {name.name for part in rest for name in used(part) if not _existing(file, name.name)}
        for item in given.value.items if given and isinstance(given.value, bicep.Array) else ():
            if isinstance(item, bicep.Name) and item.name in named:
                yield file.problem(item, f"dependsOn {item.name!r} is needless: it is referred to")


def quotes(file: BicepFile) -> Iterator[Problem]:
    """Strings that are nothing but a parameter that is a string; as the key of a property it has to be."""
    keys = {id(p.key) for p in file.every(bicep.Property)}
    for part in file.every(bicep.Text):
        if id(part) not in keys and _only_a_string(file, part):
            yield file.problem(part, "the string is only a string: leave the quotes out")


def _only_a_string(file: BicepFile, text: bicep.Text) -> bool:
    only = text.pieces[0] if len(text.pieces) == 1 else None
    declared = file.declared(only.name) if isinstance(only, bicep.Name) else None
    return isinstance(declared, bicep.Parameter) and getattr(declared.type, "name", "") == "string"


def _existing(file: BicepFile, name: str) -> bool:
    """A reference to what exists already makes nothing wait."""
    declared = file.declared(name)
    return isinstance(declared, bicep.Resource) and declared.existing


def _shown(file: BicepFile, part: Part, seen: frozenset[str]) -> Iterator[Part]:
    """The secrets in an expression, through variables."""
    for each in bicep.walk(part):
        if isinstance(each, bicep.Call):
            namespace, name = called(each)
            if name in _ANSWERS_SECRETS or (name.startswith("list") and namespace == "?"):
                yield each
    for name in used(part):
        declared = file.declared(name.name)
        if isinstance(declared, bicep.Parameter) and declared.decorated("secure"):
            yield name
        elif isinstance(declared, bicep.Variable) and name.name not in seen:
            yield from [name] if any(_shown(file, declared.value, seen | {name.name})) else []
