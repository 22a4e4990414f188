"""The project's Bicep, parameters and JSON files are right, as far as that can be told without Azure."""

import json

from pathlib import Path

import pytest

from tests.infra import bicep_lints, bicep_parameters
from tests.infra import bicep_syntax as bicep
from tests.infra import bicep_types as types
from tests.infra.bicep_checks import CHECKS, check_tree
from tests.infra.bicep_declarations import files, versions


ROOT = Path(__file__).resolve().parents[2]
FIXTURE = Path(__file__).parent / "fixture"
TEMPLATES = ROOT.parent / "shared" / "data" / "templates"

MICROSOFT = (
    "Azure__Industrial-IoT/tools__e2etesting__bicep__main.bicep",
    "Azure__bicep/src__Bicep.Core.Samples__Files__user_submitted__201__iot-with-storage__main.bicep",
    "Azure__bicep-registry-modules/avm__res__devices__iot-hub__tests__e2e__defaults__main.test.bicep",
    "Azure__bicep-registry-modules/avm__res__devices__iot-hub__tests__e2e__max__main.test.bicep",
    "Azure__bicep-registry-modules/avm__res__devices__iot-hub__tests__e2e__waf-aligned__main.test.bicep",
    "Azure__iotedge-lorawan-starterkit/TemplateBicep__devices.bicep",
    "Azure__iotedge-lorawan-starterkit/TemplateBicep__iothub.bicep",
    "Azure__iotedge-lorawan-starterkit/TemplateBicep__observability.bicep",
)
"""Microsoft's own samples, as far as the grammar goes: no `resourceInput<>`, no types of registry modules."""

NOT_FOR_SAMPLES = (files, versions, bicep_lints.locations)
"""They are single files out of their folders, of all ages, and a test template may name its region."""


def test_nothing_is_wrong_with_the_project():
    folder = ROOT / "infra"
    if not folder.is_dir():
        pytest.skip("there is no infra/ yet")
    assert [str(problem) for problem in check_tree(folder)] == []


def test_nothing_is_wrong_with_the_fixture():
    assert [str(problem) for problem in check_tree(FIXTURE)] == []


@pytest.mark.parametrize("sample", MICROSOFT)
def test_nothing_is_wrong_with_microsofts_samples(sample):
    path = TEMPLATES / sample
    if not path.is_file():
        pytest.skip("Microsoft's samples are not there")
    file = bicep.parse(path)
    assert file.errors == ()
    checks = [check for check in CHECKS if check not in NOT_FOR_SAMPLES]
    assert [str(problem) for check in checks for problem in check(file)] == []


def test_the_checks_read_the_type_data():
    if not types.available():
        pytest.skip("the type data of Azure's Bicep compiler is not there")
    site = types.resource_type("Microsoft.Web/sites", "2025-03-01")
    assert site is not None
    assert site.body.members["location"].required
    assert types.resource_type("Microsoft.Web/sites", "1999-01-01") is None


def test_a_file_that_is_too_long_to_be_loaded_is_told(tmp_path):
    (tmp_path / "long.txt").write_text("x" * 131_073)
    (tmp_path / "main.bicep").write_text("output text string = loadTextContent('long.txt')\n")
    [problem] = check_tree(tmp_path)
    assert problem.message == "long.txt is longer than 131072 characters"


@pytest.fixture
def given(tmp_path):
    """What is said of the fixture's parameters after a change."""

    def checked(**changes):
        content = json.loads((FIXTURE / "main.parameters.json").read_text())
        content["parameters"] |= {name: {"value": value} for name, value in changes.items()}
        content["parameters"] = {k: v for k, v in content["parameters"].items() if v["value"] is not None}
        (tmp_path / "main.bicep").write_text((FIXTURE / "main.bicep").read_text())
        path = tmp_path / "main.parameters.json"
        path.write_text(json.dumps(content, indent=2))
        return [problem.message for problem in bicep_parameters.parameters(path)]

    return checked


def test_the_fixtures_parameters_are_right(given):
    assert given() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"names": "x"}, "main.bicep has no parameter 'names' (did you mean 'name'?)"),
        ({"location": None}, "'location' has no default in main.bicep and is not given"),
        ({"name": "${azure_name}"}, "name: 'azure_name' is no name of an environment value"),
        ({"name": "$AZURE_NAME"}, "name: '$AZURE_NAME' is not what azd understands: ${NAME} or ${NAME=default}"),
        ({"name": "${AZURE_NAME"}, "name: '${AZURE_NAME' is not what azd understands: ${NAME} or ${NAME=default}"),
        ({"closed": "${CLOSED=maybe}"}, "closed: 'maybe' stands where bool belongs"),
        ({"closed": "yes"}, "closed: 'yes' stands where bool belongs"),
        ({"days": "${DAYS=thirty}"}, "days: 'thirty' stands where int belongs"),
        ({"days": True}, "days: a bool stands where int belongs"),
        ({"redundancy": "${X=Standard_LSR}"}, "redundancy: 'Standard_LSR' is not among"),
        ({"more": []}, "more: an array stands where object belongs"),
    ],
)
def test_a_wrong_parameters_file_is_told(given, changes, said):
    problems = given(**changes)
    assert len(problems) == 1
    assert problems[0].startswith(said)


@pytest.mark.parametrize(("text", "said"), [("{", "no JSON"), ('{"a": 1, "a": 2}', "no JSON: a is there twice")])
def test_a_json_file_that_is_none_is_told(tmp_path, text, said):
    (tmp_path / "workbook.json").write_text(text)
    [problem] = check_tree(tmp_path)
    assert problem.message.startswith(said)


def test_the_projects_parameters_can_fail(tmp_path):
    """A parameter taken out of the project's Bicep is told of its parameters file, and one put in."""
    source, values = ROOT / "infra" / "main.bicep", ROOT / "infra" / "main.parameters.json"
    if not (source.is_file() and values.is_file()):
        pytest.skip("there is no infra/ yet")
    (tmp_path / values.name).write_text(values.read_text())
    (tmp_path / source.name).write_text(source.read_text() + "\nparam seeded string\n")
    assert [p.message for p in bicep_parameters.parameters(tmp_path / values.name)] == [
        "'seeded' has no default in main.bicep and is not given"
    ]
    (tmp_path / source.name).write_text("param environmentName string\n")
    said = [p.message for p in bicep_parameters.parameters(tmp_path / values.name)]
    assert "main.bicep has no parameter 'location'" in said
