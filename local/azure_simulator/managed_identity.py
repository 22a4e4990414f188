"""The token endpoint that App Service gives an app with a managed identity.

https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference, api-version
2019-08-01: the app finds its address in IDENTITY_ENDPOINT, and in IDENTITY_HEADER what it must send along, so that
a request which the app was tricked into does not get a token.
"""

import hmac
import secrets
import time
import uuid

from collections.abc import Mapping
from typing import Any, Final

from local.azure_simulator.entra import Entra
from local.azure_simulator.errors import AzureError


PATH: Final = "/msi/token"
HEADER: Final = "X-IDENTITY-HEADER"
API_VERSION: Final = "2019-08-01"


class ManagedIdentities:
    """Hands out tokens of the principals that are managed identities, to who knows the header's value."""

    def __init__(self, entra: Entra) -> None:
        self._entra = entra
        self.header = secrets.token_hex(16)

    @property
    def endpoint(self) -> str:
        """What IDENTITY_ENDPOINT holds. Azure's own speaks plain HTTP on the loopback of the app's machine."""
        return f"{self._entra.base_url}{PATH}"

    def token(self, header: str | None, query: Mapping[str, str]) -> dict[str, Any]:
        """Answer `GET PATH?api-version=…&resource=…[&client_id=…]`."""
        if not hmac.compare_digest((header or "").encode(), self.header.encode()):
            raise _refusal(401, f"The header {HEADER} is missing or wrong.")
        if query.get("api-version") != API_VERSION:
            raise _refusal(400, f"The api-version {query.get('api-version')!r} is not supported.")
        resource = query.get("resource", "").rstrip("/")
        if not resource:
            raise _refusal(400, "The query parameter resource is missing.")
        principal = self._entra.principals.get(query.get("client_id", "").lower())
        if principal is None or not principal.managed_identity:
            raise _refusal(
                400,
                "No User Assigned or Delegated Managed Identity found for specified "
                "ClientId/ResourceId/PrincipalId.",
            )
        return {
            "access_token": self._entra.issue(principal, audience=resource),
            "client_id": principal.client_id,
            "expires_on": str(int(time.time()) + self._entra.token_seconds),
            "resource": resource,
            "token_type": "Bearer",
        }


def _refusal(status: int, message: str) -> AzureError:
    return AzureError(status, {"statusCode": status, "message": message, "correlationId": str(uuid.uuid4())})
