"""Where loops may stand, and what they must make of their variable.

As the compiler's ForSyntaxValidatorVisitor has it, a loop is the whole value of a resource, module, variable or
output, or of a property of a resource or module, and only one of those deep.
"""

from collections.abc import Iterator

from tests.infra import bicep_syntax as bicep
from tests.infra.bicep_inference import resources
from tests.infra.bicep_symbols import used
from tests.infra.bicep_syntax import BicepFile, Part, Problem


def loops(file: BicepFile) -> Iterator[Problem]:
    """Loops at places where the compiler takes none."""
    for declaration in file.declarations:
        value = getattr(declaration, "value", None)
        looped = value.body if isinstance(value, bicep.For) else value
        if looped is None:
            continue
        if isinstance(value, bicep.For):
            yield from _misplaced(file, value.over, depth=None)
        property_loops = isinstance(declaration, bicep.Resource | bicep.Module)
        yield from _misplaced(file, looped, depth=0 if property_loops else None)
        if isinstance(value, bicep.For):
            nested = [r for r in bicep.walk(looped) if isinstance(r, bicep.Resource)]
            yield from (file.problem(r.name, "a resource cannot be nested in a loop") for r in nested)


def unlike(file: BicepFile) -> Iterator[Problem]:
    """Loops that would make several things of one name, and two things of one name."""
    seen: dict[tuple[str, ...], int] = {}
    for each in [r for r, parent in resources(file) if not parent] + file.of(bicep.Module):
        body = bicep.body_of(each.value)
        told = [body.get(key) for key in ("name", "scope", "parent")] if body else []
        if isinstance(each.value, bicep.For) and told and told[0]:
            local = {n.name for n in (each.value.item, each.value.index) if n}
            if not any(name.name in local for p in told if p for name in used(p.value)):
                yield file.problem(told[0], "every round of the loop has this name: its variable is not in it")
        if told and told[0] and not getattr(each, "existing", False):
            kind = each.type.literal or "" if isinstance(each, bicep.Resource) else "module"
            key = (kind, *(file.text(p.value) if p else "" for p in told), _condition(file, each))
            if key in seen:
                yield file.problem(told[0], f"line {seen[key]} makes another of this name")
            seen.setdefault(key, told[0].span.line)


def _condition(file: BicepFile, each: bicep.Resource | bicep.Module) -> str:
    """Two things under two conditions may have one name."""
    value = each.value.body if isinstance(each.value, bicep.For) else each.value
    return file.text(value.condition) if isinstance(value, bicep.If) else ""


def _misplaced(file: BicepFile, part: Part, depth: int | None) -> Iterator[Problem]:
    """`depth`: how many property loops are around this; None: no loop is taken from here on."""
    if isinstance(part, bicep.For):
        yield file.problem(part, "no loop is taken here: make it a variable of its own")
        depth = None
    inner = list(bicep.children(part))
    looped = part.value if isinstance(part, bicep.Property) and part.name is not None else None
    if isinstance(looped, bicep.For) and depth == 0:
        inner, depth = [looped.over, looped.body], 1
    elif not isinstance(part, bicep.Object | bicep.Property | bicep.Array | bicep.If):
        depth = None
    for each in inner:
        nested = isinstance(each, bicep.Resource)
        yield from _misplaced(file, each.value if nested else each, depth=0 if nested else depth)
