"""All checks of infra/, as one list. `check_file` for one Bicep file, `check_tree` for a folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

from tests.infra import bicep_declarations, bicep_lints, bicep_loops, bicep_parameters, bicep_start, bicep_symbols
from tests.infra import bicep_syntax as bicep
from tests.infra.bicep_syntax import BicepFile, Problem


CHECKS: tuple[Callable[[BicepFile], Iterator[Problem]], ...] = (
    bicep_symbols.undefined,
    bicep_symbols.duplicates,
    bicep_symbols.functions,
    bicep_symbols.decorators,
    bicep_symbols.unused,
    bicep_symbols.order,
    bicep_declarations.files,
    bicep_declarations.versions,
    bicep_declarations.values,
    bicep_declarations.scopes,
    bicep_declarations.parents,
    bicep_start.start,
    bicep_loops.loops,
    bicep_loops.unlike,
    bicep_lints.hosts,
    bicep_lints.secrets,
    bicep_lints.locations,
    bicep_lints.needless,
    bicep_lints.quotes,
    bicep_lints.regions,
    bicep_lints.keys,
)


def check_file(file: BicepFile) -> Iterator[Problem]:
    """What is wrong with a file; where it cannot be read, only that."""
    if file.errors:
        yield from file.errors
        return
    for check in CHECKS:
        yield from check(file)


def check_tree(folder: Path) -> list[Problem]:
    """What is wrong with the Bicep, parameter and JSON files of a folder and those below it."""
    problems = [p for path in sorted(folder.rglob("*.bicep")) for p in check_file(bicep.parse(path))]
    for path in sorted(folder.rglob("*.json")):
        problems += bicep_parameters.readable(path)
        if path.name.endswith(".parameters.json"):
            problems += bicep_parameters.parameters(path)
    return problems
