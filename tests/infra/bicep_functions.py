"""Bicep's own functions and decorators, by hand from its documentation.

https://learn.microsoft.com/azure/azure-resource-manager/bicep/bicep-functions and
https://learn.microsoft.com/azure/azure-resource-manager/bicep/parameters#use-decorators.
Functions behind experimental switches are left out on purpose.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.infra import bicep_syntax as bicep
from tests.infra import bicep_types as types


@dataclass(frozen=True)
class Builtin:
    """A function: how many arguments it takes (`most` None: any number), what it gives, whose it is."""

    least: int
    most: int | None
    gives: types.Type = types.ANY
    namespace: str = "sys"
    default_only: bool = False
    """Allowed as a parameter's default and nowhere else."""


_ANY, _STRING, _INT, _BOOL = types.ANY, types.STRING, types.INT, types.BOOL
_STRINGS, _ARRAY, _OBJECT = types.array_of(types.STRING), types.any_array(), types.any_object()


def _strings(*names: str) -> dict[str, types.Type]:
    return dict.fromkeys(names, types.STRING)


_ENVIRONMENT = types.object_of(
    {
        **_strings("name", "gallery", "graph", "graphAudience", "media", "portal", "resourceManager"),
        **_strings("sqlManagement", "vmImageAliasDoc", "batch", "activeDirectoryDataLake", "resourceManagement"),
        "authentication": types.object_of(
            {**_strings("loginEndpoint", "tenant", "identityProvider"), "audiences": _STRINGS}, "authentication"
        ),
        "suffixes": types.object_of(
            _strings(
                "acrLoginServer",
                "azureDatalakeAnalyticsCatalogAndJob",
                "azureDatalakeStoreFileSystem",
                "azureFrontDoorEndpointSuffix",
                "keyvaultDns",
                "sqlServerHostname",
                "storage",
            ),
            "suffixes",
        ),
    },
    "environment()",
)

_SUBSCRIPTION = types.object_of(
    {**_strings("id", "subscriptionId", "tenantId", "displayName"), "tags": _OBJECT}, "subscription()"
)
_GROUP = types.object_of(
    {
        **_strings("id", "name", "type", "location", "managedBy"),
        "tags": _OBJECT,
        "properties": types.object_of(_strings("provisioningState"), "properties"),
    },
    "resourceGroup()",
)
_DEPLOYMENT = types.object_of({**_strings("name", "location"), "properties": _ANY}, "deployment()")
_TENANT = types.object_of(
    {**_strings("tenantId", "country", "countryCode", "displayName"), "tenantDisplayName": _ANY}, "tenant()"
)
_MANAGEMENT_GROUP = types.object_of({**_strings("id", "name", "type"), "properties": _ANY}, "managementGroup()")
_DEPLOYER = types.object_of(_strings("objectId", "tenantId", "userPrincipalName"), "deployer()")

FUNCTIONS: Mapping[str, Builtin] = {
    "any": Builtin(1, 1),
    "array": Builtin(1, 1, _ARRAY),
    "base64": Builtin(1, 1, _STRING),
    "base64ToJson": Builtin(1, 1),
    "base64ToString": Builtin(1, 1, _STRING),
    "bool": Builtin(1, 1, _BOOL),
    "buildUri": Builtin(1, 1, _STRING),
    "cidrHost": Builtin(2, 2, _STRING),
    "cidrSubnet": Builtin(3, 3, _STRING),
    "coalesce": Builtin(1, None),
    "concat": Builtin(1, None),
    "contains": Builtin(2, 2, _BOOL),
    "dataUri": Builtin(1, 1, _STRING),
    "dataUriToString": Builtin(1, 1, _STRING),
    "dateTimeAdd": Builtin(2, 3, _STRING),
    "dateTimeFromEpoch": Builtin(1, 1, _STRING),
    "dateTimeToEpoch": Builtin(1, 1, _INT),
    "empty": Builtin(1, 1, _BOOL),
    "endsWith": Builtin(2, 2, _BOOL),
    "fail": Builtin(1, 1),
    "filter": Builtin(2, 2, _ARRAY),
    "first": Builtin(1, 1),
    "flatten": Builtin(1, 1, _ARRAY),
    "format": Builtin(1, None, _STRING),
    "groupBy": Builtin(2, 3, _OBJECT),
    "guid": Builtin(1, None, _STRING),
    "indexOf": Builtin(2, 2, _INT),
    "int": Builtin(1, 1, _INT),
    "intersection": Builtin(2, None),
    "items": Builtin(1, 1, _ARRAY),
    "join": Builtin(2, 2, _STRING),
    "json": Builtin(1, 1),
    "last": Builtin(1, 1),
    "lastIndexOf": Builtin(2, 2, _INT),
    "length": Builtin(1, 1, _INT),
    "loadDirectoryFileInfo": Builtin(1, 2, _ARRAY),
    "loadFileAsBase64": Builtin(1, 1, _STRING),
    "loadJsonContent": Builtin(1, 3),
    "loadTextContent": Builtin(1, 2, _STRING),
    "loadYamlContent": Builtin(1, 3),
    "map": Builtin(2, 2, _ARRAY),
    "mapValues": Builtin(2, 2, _OBJECT),
    "max": Builtin(1, None, _INT),
    "min": Builtin(1, None, _INT),
    "nameof": Builtin(1, 1, _STRING),
    "newGuid": Builtin(0, 0, _STRING, default_only=True),
    "objectKeys": Builtin(1, 1, _STRINGS),
    "padLeft": Builtin(2, 3, _STRING),
    "parseCidr": Builtin(1, 1),
    "parseUri": Builtin(1, 1),
    "range": Builtin(2, 2, types.array_of(_INT)),
    "reduce": Builtin(3, 3),
    "replace": Builtin(3, 3, _STRING),
    "shallowMerge": Builtin(1, 1, _OBJECT),
    "skip": Builtin(2, 2),
    "sort": Builtin(2, 2, _ARRAY),
    "split": Builtin(2, 2, _STRINGS),
    "startsWith": Builtin(2, 2, _BOOL),
    "string": Builtin(1, 1, _STRING),
    "substring": Builtin(2, 3, _STRING),
    "take": Builtin(2, 2),
    "toLower": Builtin(1, 1, _STRING),
    "toObject": Builtin(2, 3, _OBJECT),
    "toUpper": Builtin(1, 1, _STRING),
    "trim": Builtin(1, 1, _STRING),
    "union": Builtin(2, None),
    "uniqueString": Builtin(1, None, _STRING),
    "uri": Builtin(2, 2, _STRING),
    "uriComponent": Builtin(1, 1, _STRING),
    "uriComponentToString": Builtin(1, 1, _STRING),
    "utcNow": Builtin(0, 1, _STRING, default_only=True),
    "deployer": Builtin(0, 0, _DEPLOYER, "az"),
    "deployment": Builtin(0, 0, _DEPLOYMENT, "az"),
    "environment": Builtin(0, 0, _ENVIRONMENT, "az"),
    "extensionResourceId": Builtin(3, None, _STRING, "az"),
    "managementGroup": Builtin(0, 1, _MANAGEMENT_GROUP, "az"),
    "managementGroupResourceId": Builtin(2, None, _STRING, "az"),
    "pickZones": Builtin(3, 5, _STRINGS, "az"),
    "providers": Builtin(1, 2, _ANY, "az"),
    "reference": Builtin(1, 3, _ANY, "az"),
    "resourceGroup": Builtin(0, 2, _GROUP, "az"),
    "resourceId": Builtin(2, None, _STRING, "az"),
    "subscription": Builtin(0, 1, _SUBSCRIPTION, "az"),
    "subscriptionResourceId": Builtin(2, None, _STRING, "az"),
    "tenant": Builtin(0, 0, _TENANT, "az"),
    "tenantResourceId": Builtin(2, None, _STRING, "az"),
    "toLogicalZone": Builtin(3, 3, _STRING, "az"),
    "toLogicalZones": Builtin(3, 3, _STRINGS, "az"),
    "toPhysicalZone": Builtin(3, 3, _STRING, "az"),
    "toPhysicalZones": Builtin(3, 3, _STRINGS, "az"),
}

_LIST = Builtin(2, 3, _ANY, "az")
_VALUES = (bicep.Parameter, bicep.Output, bicep.TypeDeclaration)
_ALL = (bicep.Declaration,)

_LIST_OR_TEXT = types.union([_ARRAY, _STRING])
_COUNTED = types.union([_ARRAY, _STRING, _OBJECT])
_PLAIN = types.union([_STRING, _INT, _BOOL])

TAKES: Mapping[str, tuple[types.Type, ...]] = {
    "base64": (_STRING,),
    "base64ToString": (_STRING,),
    "concat": (types.union([_ARRAY, _PLAIN]),),
    "contains": (_COUNTED, _ANY),
    "empty": (types.union([_COUNTED, types.NULL]),),
    "endsWith": (_STRING, _STRING),
    "filter": (_ARRAY, _ANY),
    "first": (_LIST_OR_TEXT,),
    "flatten": (types.array_of(_ARRAY),),
    "format": (_STRING, _ANY),
    "groupBy": (_ARRAY, _ANY),
    "guid": (_STRING,),
    "indexOf": (_LIST_OR_TEXT, _ANY),
    "int": (types.union([_STRING, _INT]),),
    "intersection": (types.union([_ARRAY, _OBJECT]),),
    "items": (_OBJECT,),
    "join": (_ARRAY, _STRING),
    "last": (_LIST_OR_TEXT,),
    "length": (_COUNTED,),
    "loadJsonContent": (_STRING,),
    "loadTextContent": (_STRING,),
    "loadYamlContent": (_STRING,),
    "map": (_ARRAY, _ANY),
    "mapValues": (_OBJECT, _ANY),
    "objectKeys": (_OBJECT,),
    "padLeft": (types.union([_STRING, _INT]), _INT, _STRING),
    "range": (_INT, _INT),
    "reduce": (_ARRAY, _ANY),
    "replace": (_STRING, _STRING, _STRING),
    "resourceGroup": (_STRING,),
    "resourceId": (_STRING,),
    "shallowMerge": (types.array_of(_OBJECT),),
    "skip": (_LIST_OR_TEXT, _INT),
    "sort": (_ARRAY, _ANY),
    "split": (_STRING, _LIST_OR_TEXT),
    "startsWith": (_STRING, _STRING),
    "subscription": (_STRING,),
    "subscriptionResourceId": (_STRING,),
    "substring": (_STRING, _INT, _INT),
    "take": (_LIST_OR_TEXT, _INT),
    "tenantResourceId": (_STRING,),
    "toLower": (_STRING,),
    "toObject": (_ARRAY, _ANY),
    "toUpper": (_STRING,),
    "trim": (_STRING,),
    "union": (types.union([_ARRAY, _OBJECT]),),
    "uniqueString": (_STRING,),
    "uri": (_STRING, _STRING),
    "uriComponent": (_STRING,),
}
"""What a function's arguments are; the last goes for all that follow."""

LAMBDAS: Mapping[str, Mapping[int, tuple[int, int, types.Type]]] = {
    "filter": {1: (1, 2, _BOOL)},
    "groupBy": {1: (1, 1, _STRING), 2: (1, 1, _ANY)},
    "map": {1: (1, 2, _ANY)},
    "mapValues": {1: (1, 1, _ANY)},
    "reduce": {2: (2, 3, _ANY)},
    "sort": {1: (2, 2, _BOOL)},
    "toObject": {1: (1, 1, _STRING), 2: (1, 1, _ANY)},
}
"""Which arguments are lambdas: how many parameters they may have, and what they give."""

DECORATOR_TAKES: Mapping[str, types.Type] = {
    "allowed": _ARRAY,
    "batchSize": _INT,
    "description": _STRING,
    "discriminator": _STRING,
    "maxLength": _INT,
    "maxValue": _INT,
    "metadata": _OBJECT,
    "minLength": _INT,
    "minValue": _INT,
}
"""What a decorator's only argument is; the others have none."""

DECORATES: Mapping[str, tuple[type[types.Type], ...]] = {
    "maxLength": (types.String, types.Array),
    "maxValue": (types.Int,),
    "minLength": (types.String, types.Array),
    "minValue": (types.Int,),
    "secure": (types.String, types.Object),
}
"""Decorators that only stand at some types."""

DECORATORS: Mapping[str, tuple[type[bicep.Declaration], ...]] = {
    "allowed": (bicep.Parameter,),
    "batchSize": (bicep.Resource, bicep.Module),
    "description": _ALL,
    "discriminator": _VALUES,
    "export": (bicep.TypeDeclaration, bicep.Variable, bicep.Function),
    "maxLength": _VALUES,
    "maxValue": _VALUES,
    "metadata": _VALUES,
    "minLength": _VALUES,
    "minValue": _VALUES,
    "onlyIfNotExists": (bicep.Resource,),
    "retryOn": (bicep.Resource,),
    "sealed": _VALUES,
    "secure": _VALUES,
    "waitUntil": (bicep.Resource,),
}
"""Each decorator with the declarations that it may stand at."""

NAMESPACES = ("az", "sys")


def builtin(name: str, namespace: str | None = None) -> Builtin | None:
    """A function of Bicep's, in any namespace or the one that is named. `list…` are all of Azure's."""
    found = FUNCTIONS.get(name) or (_LIST if name.startswith("list") else None)
    return found if found and namespace in (None, found.namespace) else None


def called(call: bicep.Call) -> tuple[str | None, str]:
    """The namespace and name of what is called; ("?", name) for a resource's own functions."""
    match call.function:
        case bicep.Name(name=name):
            return None, name
        case bicep.Member(base=bicep.Name(name=base), name=name) if base in NAMESPACES:
            return base, name.name
        case bicep.Member(name=name):
            return "?", name.name
        case _:
            return "?", ""
