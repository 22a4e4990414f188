"""Which storage account a binding means, and how the host proves who it is there.

After GetWebJobsConnectionStringSection and the TryGetServiceUri of the storage extensions, and CreateCredential of
Microsoft.Extensions.Azure's ClientFactory.cs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from .errors import StartupError


type Get = Callable[[str], str | None]
type Service = Literal["blob", "queue"]

# The well-known account of every storage emulator:
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
_DEVELOPMENT_STORAGE: Final = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
    "QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
    "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"
)
_ENDPOINT_SUFFIX: Final = "core.windows.net"  # the extensions know no other: elsewhere, the addresses must be set
_CREDENTIAL: Final = "managedidentity"
# How else the real host can be told who it is.
_NOT_HERE: Final = (
    "tenantId",
    "clientSecret",
    "clientCertificate",
    "managedIdentityClientId",
    "managedIdentityResourceId",
    "managedIdentityObjectId",
)


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """An account with its key."""

    text: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One service of an account, for who shows a token.

    ``managed_identity`` False takes the credentials of whoever is at the keyboard; ``client_id`` names a
    user-assigned identity.
    """

    url: str
    managed_identity: bool
    client_id: str | None


type Connection = ConnectionString | Endpoint


def connection(get: Get, name: str | None, service: Service, *, used_by: str, file: object) -> Connection:
    """Return the account that a binding's `connection` names.

    `AzureWebJobs<name>` is looked up before `<name>`, and no name at all means `AzureWebJobsStorage`. A setting of
    that very name is a connection string; else `<name>__accountName`, or `<name>__queueServiceUri` and the like.

    Raises:
        StartupError: there is no such setting, or one that this host cannot follow.
    """
    name = name or "AzureWebJobsStorage"
    for section in (f"AzureWebJobs{name}", name):
        if text := (get(section) or "").strip(" ;"):
            return _by_key(section, text, used_by)
        if url := _url(get, section, service):
            return Endpoint(url, *_identity(get, section, used_by))
    raise StartupError(
        f"{used_by} needs the setting {name}, or {name}__accountName or {name}__{service}ServiceUri; none of them "
        f"is in the environment or in {file}"
    )


def _by_key(section: str, text: str, used_by: str) -> ConnectionString:
    if text.lower() == "usedevelopmentstorage=true":
        return ConnectionString(_DEVELOPMENT_STORAGE)
    if "=" not in text or text.startswith("@"):
        raise StartupError(f"{used_by}: the setting {section} is no storage connection string")
    return ConnectionString(text)


def _url(get: Get, section: str, service: Service) -> str | None:
    if account := get(f"{section}__accountName"):
        return f"https://{account}.{service}.{_ENDPOINT_SUFFIX}"
    return get(f"{section}__{service}ServiceUri")


def _identity(get: Get, section: str, used_by: str) -> tuple[bool, str | None]:
    if unknown := [f"{section}__{name}" for name in _NOT_HERE if get(f"{section}__{name}")]:
        raise StartupError(f"{used_by}: this host does not know {', '.join(unknown)}")
    credential = (get(f"{section}__credential") or "").lower()
    if credential not in ("", _CREDENTIAL):
        raise StartupError(f"{used_by}: {section}__credential is {credential!r}; this host knows {_CREDENTIAL}")
    return credential == _CREDENTIAL, get(f"{section}__clientId") or None
