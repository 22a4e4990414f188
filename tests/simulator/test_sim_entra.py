"""Entra ID for azure-identity's own credentials, and the tokens that ARM takes."""

import base64
import json

import pytest

from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientSecretCredential as SyncClientSecretCredential
from azure.identity.aio import (
    ClientAssertionCredential,
    ClientSecretCredential,
    DefaultAzureCredential,
    EnvironmentCredential,
    ManagedIdentityCredential,
)
from azure.mgmt.iothub import IotHubClient as SyncIotHubClient


def claims_of(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


async def test_client_secret_credential_gets_a_token_of_the_principal(sim, names):
    async with ClientSecretCredential(
        names.tenant,
        names.app,
        names.secret,
        authority=sim.authority,
        connection_verify=sim.ca_file,
    ) as credential:
        token = await credential.get_token(f"{sim.audience}/.default")
    claims = claims_of(token.token)
    principal = sim.state.entra.principals[names.app]
    assert claims["aud"] == sim.audience
    assert claims["iss"] == f"https://sts.windows.net/{names.tenant}/"
    assert (claims["tid"], claims["oid"], claims["appid"]) == (names.tenant, principal.oid, names.app)
    assert claims["name"] == "warden"
    assert claims["exp"] - claims["iat"] == 3600


async def test_a_person_has_a_upn(sim, names):
    assert claims_of(sim.issue_token(names.person))["upn"] == "eve@example.com"
    assert "upn" not in claims_of(sim.issue_token(names.app))


@pytest.mark.parametrize("credential_class", [EnvironmentCredential, DefaultAzureCredential])
async def test_credentials_from_the_environment(sim, names, monkeypatch, credential_class):
    monkeypatch.setenv("AZURE_TENANT_ID", names.tenant)
    monkeypatch.setenv("AZURE_CLIENT_ID", names.app)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", names.secret)
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", sim.authority)
    async with credential_class(connection_verify=sim.ca_file) as credential:
        token = await credential.get_token("https://management.azure.com/.default")
    assert claims_of(token.token)["appid"] == names.app


async def test_a_client_assertion_is_accepted(sim, names):
    async with ClientAssertionCredential(
        names.tenant,
        names.app,
        lambda: "header.payload.signature",
        authority=sim.authority,
        connection_verify=sim.ca_file,
    ) as credential:
        token = await credential.get_token("https://management.azure.com/.default")
    assert claims_of(token.token)["appid"] == names.app


async def test_the_synchronous_sdk_through_msal(sim, names):
    import asyncio

    def names_of_hubs():
        credential = SyncClientSecretCredential(
            names.tenant,
            names.app,
            names.secret,
            authority=sim.authority,
            disable_instance_discovery=True,
            connection_verify=sim.ca_file,
        )
        client = SyncIotHubClient(
            credential,
            names.subscription,
            base_url=sim.url,
            connection_verify=sim.ca_file,
        )
        with credential, client:
            return [hub.name for hub in client.iot_hub_resource.list_by_subscription()]

    assert await asyncio.to_thread(names_of_hubs) == ["press"]
    assert any(entry["path"].endswith("openid-configuration") for entry in sim.requests())


async def test_instance_discovery_names_this_authority(sim, session):
    async with session.get(f"{sim.url}/common/discovery/instance") as answer:
        body = await answer.json()
    assert body["tenant_discovery_endpoint"].startswith(sim.url)


async def test_a_wrong_secret_is_AADSTS7000215(sim, names):  # noqa: N802
    async with ClientSecretCredential(
        names.tenant,
        names.app,
        "wrong",
        authority=sim.authority,
        connection_verify=sim.ca_file,
    ) as credential:
        with pytest.raises(ClientAuthenticationError, match="AADSTS7000215") as caught:
            await credential.get_token("https://management.azure.com/.default")
    assert caught.value.response.status_code == 401


@pytest.mark.parametrize(
    ("form", "status", "error", "number"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_id": "nobody"}, 400, "unauthorized_client", 700016),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"scope": ""}, 400, "invalid_request", 900144),
    ],
)
async def test_refusals_of_the_token_endpoint(*, sim, names, session, form, status, error, number):
    right = {
        "grant_type": "client_credentials",
        "client_id": names.app,
        "client_secret": names.secret,
        "scope": "https://management.azure.com/.default",
    }
    async with session.post(f"{sim.url}/{names.tenant}/oauth2/v2.0/token", data=right | form) as answer:
        body = await answer.json()
    assert (answer.status, body["error"], body["error_codes"]) == (status, error, [number])
    assert body["error_description"].startswith(f"AADSTS{number}: ")
    assert set(body) == {
        "error",
        "error_description",
        "error_codes",
        "timestamp",
        "trace_id",
        "correlation_id",
        "error_uri",
    }


async def test_arm_refuses_what_this_authority_did_not_issue(sim, arm, session, names):
    async with session.get(f"{sim.url}{names.hub}?api-version=2023-06-30") as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (401, "AuthenticationFailed")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer authorization_uri=")
    forged = await arm("GET", names.hub, token=sim.issue_token(names.app)[:-4] + "AAAA")
    assert (forged.status, forged.code) == (401, "InvalidAuthenticationToken")


async def test_arm_refuses_expired_and_foreign_tokens(sim, arm, names):
    expired = await arm("GET", names.hub, token=sim.issue_token(names.app, expires_in=-1))
    assert (expired.status, expired.code) == (401, "ExpiredAuthenticationToken")
    foreign = await arm("GET", names.hub, token=sim.issue_token(names.app, audience="https://storage.azure.com"))
    assert (foreign.status, foreign.code) == (401, "InvalidAuthenticationTokenAudience")


IDENTITY = "dddddddd-0000-4000-8000-000000000001"


@pytest.fixture
def assigned(sim, monkeypatch):
    """The environment of an app with a user-assigned identity."""
    sim.add_principal(IDENTITY, name="the app", managed_identity=True)
    for name, value in sim.identity_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AZURE_CLIENT_ID", IDENTITY)


@pytest.mark.usefixtures("assigned")
@pytest.mark.parametrize("audience", ["https://storage.azure.com", "https://management.azure.com"])
async def test_a_managed_identity_gets_tokens_as_in_app_service(sim, monkeypatch, audience):
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    async with DefaultAzureCredential(connection_verify=sim.ca_file) as credential:
        claims = claims_of((await credential.get_token(f"{audience}/.default")).token)
    assert (claims["aud"], claims["appid"]) == (audience, IDENTITY)
    assert claims["iss"] == f"https://sts.windows.net/{claims['tid']}/"


@pytest.mark.usefixtures("assigned")
async def test_an_identity_that_is_not_assigned_gets_no_token(sim, names):
    for client_id in (names.app, "nobody", None):
        async with ManagedIdentityCredential(client_id=client_id, connection_verify=sim.ca_file) as credential:
            with pytest.raises(ClientAuthenticationError, match="No User Assigned or Delegated Managed Identity"):
                await credential.get_token("https://storage.azure.com/.default")


@pytest.mark.usefixtures("assigned")
async def test_a_managed_identity_has_no_secret_and_needs_the_header(sim, names, session):
    url = f"{sim.identity_environment['IDENTITY_ENDPOINT']}?api-version=2019-08-01&resource=x&client_id={IDENTITY}"
    right = sim.identity_environment["IDENTITY_HEADER"]
    for header, status in ((right, 200), (f"{right}x", 401), ("", 401)):
        async with session.get(url, headers={"X-IDENTITY-HEADER": header}) as answer:
            assert answer.status == status
    form = {"grant_type": "client_credentials", "client_id": IDENTITY, "client_secret": "", "scope": "x/.default"}
    async with session.post(f"{sim.url}/{names.tenant}/oauth2/v2.0/token", data=form) as answer:
        assert answer.status == 401
    with pytest.raises(ValueError, match="needs either a secret or managed_identity"):
        sim.add_principal("another")
