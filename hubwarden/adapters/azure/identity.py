"""Who we are: the credential, and our own identity as our token tells it."""

from __future__ import annotations

import logging

from typing import TYPE_CHECKING

from hubwarden.adapters.azure.cloud import Cloud
from hubwarden.domain.finding import Actor


if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential


log = logging.getLogger(__name__)


def make_credential(cloud: Cloud) -> AsyncTokenCredential:
    """azure-identity's own chain: managed identity in Azure, environment or developer sign-in elsewhere.

    ``AZURE_CLIENT_ID`` names a user-assigned identity, ``AZURE_TOKEN_CREDENTIALS`` shortens the chain; both are
    azure-identity's own settings.
    """
    from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415 - cold start: 0.3 s on first use only

    return DefaultAzureCredential(authority=cloud.authority, disable_instance_discovery=cloud.custom)


async def own_identity(credential: AsyncTokenCredential, cloud: Cloud) -> Actor:
    """Our object id and application id, read from our own token; an empty Actor where no token is to be had.

    Not knowing it is harmless: our own events then make us look once more, and the look finds nothing to do.
    """
    import jwt  # noqa: PLC0415 - cold start

    try:
        token = await credential.get_token(cloud.scope)
        claims = jwt.decode(token.token, options={"verify_signature": False})
    except Exception as error:  # noqa: BLE001 - see the docstring
        log.warning("our own identity is not known: %s", type(error).__name__)
        return Actor()
    return Actor(object_id=claims.get("oid"), app_id=claims.get("appid") or claims.get("azp"))
