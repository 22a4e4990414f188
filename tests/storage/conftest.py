"""A real Azurite for the whole session, emptied after each test; a second one that speaks TLS and wants tokens."""

from __future__ import annotations

import base64
import contextlib
import json
import time

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from azure.core.credentials import AccessToken

from hubwarden.adapters.storage.account import StorageAccount
from local.azurite import Azurite, Tls, why_azurite_cannot_run


@dataclass
class StoppedClock:
    """Stands still until it is moved."""

    moment: datetime = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def forward(self, by: timedelta) -> None:
        self.moment += by


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    with running(Azurite()) as azurite:
        yield azurite


@pytest.fixture
def doomed_azurite() -> Iterator[Azurite]:
    """One of its own for a test that stops it."""
    with running(Azurite()) as azurite:
        yield azurite


@contextlib.contextmanager
def running(azurite: Azurite) -> Iterator[Azurite]:
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    with azurite:
        yield azurite


@pytest.fixture
def settings(azurite: Azurite) -> dict[str, str]:
    return {"AzureWebJobsStorage": azurite.connection_string}


@pytest.fixture
async def account(settings: dict[str, str]) -> AsyncIterator[StorageAccount]:
    """An empty account."""
    account = StorageAccount(settings)
    yield account
    await empty(account)
    await account.close()


@pytest.fixture
async def other(settings: dict[str, str]) -> AsyncIterator[StorageAccount]:
    """The same account, as another instance of the app sees it."""
    account = StorageAccount(settings)
    yield account
    await account.close()


async def empty(account: StorageAccount) -> None:
    async for table in account._tables.list_tables():
        await account._tables.delete_table(table.name)
    async for queue in account._queues.list_queues():
        await account._queues.delete_queue(queue.name)
    async for container in account._blobs.list_containers():
        await account._blobs.delete_container(container.name)


class UnsignedToken:
    """A token that Azurite's ``--oauth basic`` believes: it looks at the claims only."""

    async def get_token(self, *scopes: str, **_: object) -> AccessToken:
        assert scopes == ("https://storage.azure.com/.default",)
        now = int(time.time())
        claims = {
            "aud": "https://storage.azure.com",
            "iss": "https://sts.windows.net/11111111-1111-1111-1111-111111111111/",
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
        }
        parts = ({"alg": "RS256", "typ": "JWT"}, claims)
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return AccessToken(".".join([*encoded, "c2ln"]), claims["exp"])

    async def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def token_account(tmp_path_factory) -> Iterator[Callable[[], StorageAccount]]:
    """Makes the account as production does: endpoints, and a token credential over TLS."""
    folder = tmp_path_factory.mktemp("tls")
    authority, ca = trustme.CA(), folder / "ca.pem"
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(ca)
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    with running(Azurite(tls=Tls(folder / "cert.pem", folder / "key.pem"))) as azurite:
        settings = {
            "AzureWebJobsStorage__tableServiceUri": azurite.table_url,
            "AzureWebJobsStorage__queueServiceUri": azurite.queue_url,
            "AzureWebJobsStorage__blobServiceUri": azurite.blob_url,
        }
        yield lambda: StorageAccount(settings, UnsignedToken, connection_verify=str(ca))
