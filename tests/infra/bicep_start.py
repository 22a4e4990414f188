"""What must be known before a deployment starts, and what is known only in its course.

A resource's name and scope, the condition under which it is made and the list that a loop goes over are worked out
before anything is deployed. What a resource or a module answers is not there yet: only `id`, `name`, `type` and
`apiVersion` of a resource are.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.infra import bicep_syntax as bicep
from tests.infra.bicep_functions import called
from tests.infra.bicep_inference import resources
from tests.infra.bicep_symbols import used
from tests.infra.bicep_syntax import BicepFile, Part, Problem


_KNOWN = ("id", "name", "type", "apiVersion")


def start(file: BicepFile) -> Iterator[Problem]:
    """Places that need what is not known yet."""
    for place, part, whole in _places(file):
        for late in _late(file, part, whole=whole):
            yield file.problem(late, f"{file.text(late)} is not known yet when {place} is worked out")


def _places(file: BicepFile) -> Iterator[tuple[str, Part, bool]]:
    """What is worked out at the start; `whole`: a resource may stand there by itself."""
    yield from (("a loop", part.over, False) for part in file.every(bicep.For))
    yield from (("a condition", part.condition, False) for part in file.every(bicep.If))
    bodies = [r.value for r, _ in resources(file)] + [m.value for m in file.of(bicep.Module)]
    for body in filter(None, map(bicep.body_of, bodies)):
        for name in ("name", "scope", "parent"):
            given = body.get(name)
            if given:
                yield f"the {name} of a resource or module", given.value, name != "name"


def _late(file: BicepFile, part: Part, seen: frozenset[str] = frozenset(), *, whole: bool) -> list[Part]:
    """The pieces of an expression that only a running deployment knows."""
    search = _Search(file, frozenset(id(name) for name in used(part)), seen)
    return list(search.within(part, whole=whole))


@dataclass(frozen=True)
class _Search:
    """`free`: the names that stand for declarations. `seen`: the variables on the way, not gone into again."""

    file: BicepFile
    free: frozenset[int]
    seen: frozenset[str]

    def within(self, part: Part, *, whole: bool) -> Iterator[Part]:
        match part:
            case bicep.Member(base=base, name=name) if _answering(self.file, base):
                yield from [part] if name.name not in _KNOWN else []
            case bicep.Index(base=base, index=index) if whole and _answering(self.file, base):
                yield from self.within(index, whole=False)
            case bicep.Name():
                yield from [part] if self.named(part, whole=whole) else []
            case bicep.Call() if called(part)[1].startswith("list") or called(part)[1] == "reference":
                yield part
            case _:
                for each in bicep.children(part):
                    yield from self.within(each, whole=whole and not isinstance(part, bicep.Call))

    def named(self, name: bicep.Name, *, whole: bool) -> bool:
        """Whether a name stands for something late."""
        declared = self.file.declared(name.name) if id(name) in self.free else None
        if isinstance(declared, bicep.Variable) and name.name not in self.seen:
            return bool(_late(self.file, declared.value, self.seen | {name.name}, whole=whole))
        return isinstance(declared, bicep.Resource | bicep.Module) and not whole


def _answering(file: BicepFile, part: Part) -> bool:
    """Whether this is a resource or module itself."""
    match part:
        case bicep.Name(name=name):
            return isinstance(file.declared(name), bicep.Resource | bicep.Module)
        case bicep.Index(base=base) | bicep.NotNull(base=base):
            return _answering(file, base)
        case bicep.Nested():
            return True
        case _:
            return False
