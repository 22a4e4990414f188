"""Entra ID: the token endpoint and the discovery documents that azure-identity and MSAL ask for."""

import base64
import json
import secrets
import time

from collections.abc import Mapping
from typing import Any

from local.azure_simulator.clock import utc_now
from local.azure_simulator.errors import AzureError, arm_error, entra_error
from local.azure_simulator.principals import TENANT, Caller, Principal


ARM_AUDIENCES = ("https://management.azure.com", "https://management.core.windows.net")


class Entra:
    """Issues tokens to registered principals and knows the tokens that it issued."""

    def __init__(self, token_seconds: int) -> None:
        self.base_url = ""
        self.token_seconds = token_seconds
        self.principals: dict[str, Principal] = {}
        self._issued: dict[str, Caller] = {}

    def register(self, principal: Principal) -> None:
        """Add or replace a principal."""
        self.principals[principal.client_id.lower()] = principal

    def token(self, tenant: str, form: Mapping[str, str]) -> dict[str, Any]:
        """Answer `POST /{tenant}/oauth2/v2.0/token`."""
        if form.get("grant_type") != "client_credentials":
            raise entra_error(
                400,
                "unsupported_grant_type",
                70003,
                f"The app requested an unsupported grant type '{form.get('grant_type', '')}'.",
            )
        principal = self._authenticate(tenant, form)
        audience = form.get("scope", "").split(" ")[0].removesuffix("/.default").rstrip("/")
        if not audience:
            raise entra_error(
                400,
                "invalid_request",
                900144,
                "The request body must contain the following parameter: 'scope'.",
            )
        token = self.issue(principal, audience=audience, tenant=tenant)
        return {
            "token_type": "Bearer",
            "expires_in": self.token_seconds,
            "ext_expires_in": self.token_seconds,
            "access_token": token,
        }

    def issue(
        self,
        principal: Principal,
        *,
        audience: str,
        tenant: str = TENANT,
        expires_in: float | None = None,
    ) -> str:
        """A token for the principal: a well-formed JWT with a meaningless signature."""
        now = int(time.time())
        lifetime = self.token_seconds if expires_in is None else expires_in
        claims: dict[str, str | int] = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{tenant}/",
            "iat": now,
            "nbf": now,
            "exp": int(now + lifetime),
            "appid": principal.client_id,
            "appidacr": "1",
            "idtyp": "user" if principal.upn else "app",
            "oid": principal.oid,
            "sub": principal.oid,
            "tid": tenant,
            "name": principal.name,
            "uti": secrets.token_urlsafe(16),
            "ver": "1.0",
        }
        if principal.upn:
            claims |= {"upn": principal.upn, "unique_name": principal.upn}
        token = ".".join(
            (
                base64url(json.dumps({"typ": "JWT", "alg": "RS256", "kid": "simulator"}).encode()),
                base64url(json.dumps(claims).encode()),
                base64url(secrets.token_bytes(256)),
            ),
        )
        self._issued[token] = Caller(principal, tenant, claims)
        return token

    def find(self, authorization: str | None) -> Caller | None:
        """Whose token this is, be it expired or for something else."""
        scheme, _, token = (authorization or "").partition(" ")
        return self._issued.get(token) if scheme.lower() == "bearer" else None

    def caller(self, authorization: str | None) -> Caller:
        """Who an ARM request comes from, or the gateway's 401."""
        if not authorization:
            raise self._refusal(
                "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."
            )
        caller = self.find(authorization)
        if caller is None:
            raise self._refusal("InvalidAuthenticationToken", "The access token is invalid.")
        self._check_expiry(int(caller.claims["exp"]))
        self._check_audience(str(caller.claims["aud"]))
        return caller

    def openid_configuration(self, tenant: str) -> dict[str, Any]:
        """Answer `GET /{tenant}/v2.0/.well-known/openid-configuration`."""
        root = f"{self.base_url}/{tenant}"
        return {
            "issuer": f"{root}/v2.0",
            "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
            "token_endpoint": f"{root}/oauth2/v2.0/token",
            "device_authorization_endpoint": f"{root}/oauth2/v2.0/devicecode",
            "jwks_uri": f"{root}/discovery/v2.0/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["code", "id_token", "token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "tenant_region_scope": "EU",
        }

    def instance_discovery(self, tenant: str) -> dict[str, Any]:
        """Answer `GET /common/discovery/instance`: this authority is the only one, under its own name."""
        host = self.base_url.removeprefix("https://")
        return {
            "tenant_discovery_endpoint": f"{self.base_url}/{tenant}/v2.0/.well-known/openid-configuration",
            "api-version": "1.1",
            "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
        }

    def _authenticate(self, tenant: str, form: Mapping[str, str]) -> Principal:
        client_id = form.get("client_id", "")
        principal = self.principals.get(client_id.lower())
        if principal is None:
            raise entra_error(
                400,
                "unauthorized_client",
                700016,
                f"Application with identifier '{client_id}' was not found in the directory '{tenant}'.",
            )
        proven = form.get("client_secret") == principal.secret or form.get("client_assertion")
        if principal.managed_identity or not proven:
            raise entra_error(
                401,
                "invalid_client",
                7000215,
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
                f"value, not the client secret ID, for a secret added to app '{client_id}'.",
            )
        return principal

    def _check_expiry(self, expires: int) -> None:
        now = utc_now()
        if expires <= now.timestamp():
            raise self._refusal(
                "ExpiredAuthenticationToken",
                f"The access token expiry UTC time '{expires}' is earlier than current UTC time "
                f"'{int(now.timestamp())}'.",
            )

    def _check_audience(self, audience: str) -> None:
        allowed = (self.base_url, *ARM_AUDIENCES)
        if audience not in allowed:
            listed = ",".join(f"'{name}/'" for name in allowed)
            raise self._refusal(
                "InvalidAuthenticationTokenAudience",
                f"The access token has been obtained for wrong audience or resource '{audience}'. It should "
                f"exactly match with one of the allowed audiences {listed}.",
            )

    def _refusal(self, code: str, message: str) -> AzureError:
        challenge = (
            f'Bearer authorization_uri="{self.base_url}/{TENANT}", error="invalid_token", '
            f'error_description="{message}"'
        )
        return arm_error(401, code, message, {"WWW-Authenticate": challenge})


def base64url(data: bytes) -> str:
    """Unpadded URL-safe base64, as JWTs have it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
