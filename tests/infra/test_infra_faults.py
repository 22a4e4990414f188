"""Every check can fail: faults are seeded into the project's files and into a fixture, and each must be found."""

import functools
import re
import sys

from pathlib import Path

import pytest

from tests.infra import bicep_syntax as bicep
from tests.infra import bicep_types as types
from tests.infra.bicep_checks import CHECKS, check_file
from tests.infra.bicep_declarations import versions
from tests.infra.seeding import MORE, SEEDED, Edit, Fault


ROOT = Path(__file__).resolve().parents[2]
FIXTURE = Path(__file__).parent / "fixture"
PLACES = 4
"""How many places of a folder get a fault of one kind: spread over the files, from the first to the last."""

NEEDS_DATA = "the type data of Azure's Bicep compiler is not there"


def _project() -> Path | None:
    return ROOT / "infra" if any((ROOT / "infra").rglob("*.bicep")) else None


def _places(folder: Path, fault: Fault) -> list[tuple[Path, Edit]]:
    found = [(p, edit) for p in sorted(folder.rglob("*.bicep")) for edit in fault.edits(bicep.parse(p))]
    step = max(1, -(-len(found) // PLACES))
    return found[::step]


@functools.cache
def _missed(folder: Path, fault: Fault) -> tuple[int, list[str]]:
    """How many faults were seeded, and those of which nothing was said that fits."""
    places = _places(folder, fault)
    missed = []
    for path, edit in places:
        source = path.read_bytes()
        said = []
        for problem in check_file(bicep.parse_text(edit.into(source), path)):
            said.append(str(problem))
            if re.search(fault.finds, problem.message):
                break
        else:
            line = source[: edit.start].count(b"\n") + 1
            missed.append(f"{path.name}:{line} → {edit.text!r}: {said}")
    return len(places), missed


@pytest.fixture
def folder(request):
    """The fixture, or the project's own infra/ where it is there."""
    if request.param == "fixture":
        return FIXTURE
    if _project() is None:
        pytest.skip("there is no infra/ yet")
    return _project()


def _skip_untyped(fault: Fault) -> None:
    if fault.typed and not types.available():
        pytest.skip(NEEDS_DATA)


@pytest.mark.parametrize("fault", [*SEEDED, *MORE], ids=str)
@pytest.mark.parametrize("folder", ["fixture", "project"], indirect=True)
def test_a_seeded_fault_is_found_at_each_place(folder, fault):
    _skip_untyped(fault)
    count, missed = _missed(folder, fault)
    assert count or folder != FIXTURE, "the fixture has no place for this fault"
    assert not missed


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_check_finds_some_fault_by_itself(check):
    if check is versions and not types.available():
        pytest.skip(NEEDS_DATA)
    clean = [problem for path in FIXTURE.rglob("*.bicep") for problem in check(bicep.parse(path))]
    assert clean == []
    made = (bicep.parse_text(e.into(p.read_bytes()), p) for f in (*SEEDED, *MORE) for p, e in _places(FIXTURE, f))
    assert any(list(check(file)) for file in made if not file.errors)


def test_at_least_11_of_13_kinds_are_found_in_the_project(record_property, capsys):
    folder = _project()
    if folder is None or not types.available():
        pytest.skip(NEEDS_DATA if folder else "there is no infra/ yet")
    results = {fault.name: _missed(folder, fault) for fault in SEEDED}
    found = [name for name, (count, missed) in results.items() if count and not missed]
    with capsys.disabled():
        lines = [f"  {name:28} {count - len(missed)} of {count}" for name, (count, missed) in results.items()]
        sys.stdout.write(
            "\n".join([f"\nkinds of faults found in infra/: {len(found)} of {len(SEEDED)}", *lines, ""])
        )
    record_property("found", len(found))
    assert len(found) >= 11
