"""Our bodies against Microsoft's OpenAPI definitions of 2023-06-30 (skipped where they are not at hand).

The definitions are relaxed in what the recordings of real Azure contradict, and only there; each is named.
"""

import json

import jsonschema
import pytest

from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4


SPECS = "specs/azure-rest-api-specs/specification"
STABLE = f"{SPECS}/iothub/resource-manager/Microsoft.Devices/stable/2023-06-30/iothub.json"

ADDED_BY_REALITY = {"subscriptionid", "resourcegroup"}
"""Members of each real hub that the definition does not have (RECORDINGS §2.9)."""


def with_open_enums(node):
    """Without the `enum` of types that `x-ms-enum` declares open (real hubs have features of other names)."""
    is_open = isinstance(node.get("x-ms-enum"), dict) and node["x-ms-enum"].get("modelAsString")
    return {name: value for name, value in node.items() if name != "enum"} if is_open else node


@pytest.fixture
def validate(data):
    """Validate a body against a named definition, with its references to the common types."""
    path = data / STABLE
    if not path.is_file():
        pytest.skip("the OpenAPI definitions are not at hand")

    def retrieve(uri):
        return Resource.from_contents(json.loads((path.parent / uri).resolve().read_text()), DRAFT4)

    document = json.loads(path.read_text(), object_hook=with_open_enums)
    registry = Registry(retrieve=retrieve).with_resource("", Resource.from_contents(document, DRAFT4))

    def check(body, definition):
        schema = {"$ref": f"#/definitions/{definition}"}
        validator = jsonschema.Draft4Validator({**document, **schema}, registry=registry)
        return sorted(
            f"{'/'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(body)
        )

    check.properties = lambda definition: set(document["definitions"][definition]["properties"])
    return check


async def test_get_list_patch_and_put_bodies_are_what_the_definition_says(arm, sim, names, validate):
    one = (await arm("GET", names.hub)).body
    assert validate(one, "IotHubDescription") == []
    assert validate((await arm("GET", names.hubs)).body, "IotHubDescriptionListResult") == []
    patched = (await arm("PATCH", names.hub, {"tags": {"a": "b"}})).body
    assert validate(patched, "IotHubDescription") == []
    answer = (await arm.changed(minTlsVersion="1.2")).body
    assert validate(answer, "IotHubDescription") == []
    sim.finish_transitions()


async def test_no_member_is_ours_alone(arm, names, validate):
    body = (await arm("GET", names.hub)).body
    known = validate.properties("IotHubDescription") | validate.properties("Resource")
    assert set(body) - known == ADDED_BY_REALITY
    assert set(body["properties"]) <= validate.properties("IotHubProperties")


async def test_keys_are_what_the_definition_says(arm, names, validate):
    keys = (await arm("POST", f"{names.hub}/listkeys")).body
    assert validate(keys, "SharedAccessSignatureAuthorizationRuleListResult") == []
    one = (await arm("POST", f"{names.hub}/IotHubKeys/device/listkeys")).body
    assert validate(one, "SharedAccessSignatureAuthorizationRule") == []


async def test_the_definition_can_refuse(arm, names, validate):
    body = (await arm("GET", names.hub)).body
    body["sku"]["name"] = 7
    del body["location"]
    assert len(validate(body, "IotHubDescription")) >= 2
