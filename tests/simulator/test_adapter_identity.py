"""Who we are and which cloud we talk to, with azure-identity's own credentials."""

import asyncio
import json
import os
import sys

from pathlib import Path

import jwt
import pytest

from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ClientSecretCredential

from hubwarden.adapters.azure.cloud import CLOUDS, Cloud
from hubwarden.adapters.azure.hubs import ArmHubs
from hubwarden.adapters.azure.identity import make_credential, own_identity
from hubwarden.domain.finding import Actor
from hubwarden.service.errors import TransientError
from hubwarden.settings import Settings


ROOT = Path(__file__).parents[2]


@pytest.fixture
def cloud(sim):
    """The simulator, as the operator would set it."""
    return Settings.read({
        "HUBWARDEN_CLOUD": "custom",
        "HUBWARDEN_ARM_ENDPOINT": sim.url,
        "HUBWARDEN_ARM_AUDIENCE": f"{sim.audience}/",
        "HUBWARDEN_AUTHORITY": sim.authority,
    }).cloud  # fmt: skip


class Given:
    """A credential that hands out what it is given, and remembers for what."""

    def __init__(self, token):
        self.token, self.scopes = token, []

    async def get_token(self, *scopes, **_options):
        self.scopes += scopes
        if isinstance(self.token, Exception):
            raise self.token
        return AccessToken(self.token, 2_000_000_000)


def unsigned(**claims):
    return jwt.encode(claims, "k" * 32, algorithm="HS256")


async def test_our_own_ids_are_those_that_arm_sees(sim, names, cloud):
    principal = sim.state.entra.principals[names.app]
    async with ClientSecretCredential(
        names.tenant, names.app, names.secret, authority=cloud.authority,
        disable_instance_discovery=cloud.custom, connection_verify=sim.ca_file,
    ) as credential:  # fmt: skip
        assert await own_identity(credential, cloud) == Actor(object_id=principal.oid, app_id=names.app)
    (token,) = sim.state.entra._issued.values()
    assert token.claims["aud"] == sim.audience


@pytest.mark.parametrize(
    ("claims", "actor"),
    [
        ({"oid": "o", "appid": "a"}, Actor("o", "a")),
        ({"oid": "o", "azp": "a"}, Actor("o", "a")),
        ({"oid": "o", "appid": "a", "azp": "b"}, Actor("o", "a")),
        ({"oid": "o"}, Actor("o", None)),
        ({}, Actor()),
        ({"oid": "o", "exp": 1, "nbf": 4_000_000_000, "aud": "x"}, Actor("o", None)),
    ],
)
async def test_the_claims_of_a_token(cloud, claims, actor):
    credential = Given(unsigned(**claims))
    assert await own_identity(credential, cloud) == actor
    assert credential.scopes == [f"{cloud.arm}/.default"]


@pytest.mark.parametrize("token", ["", "no token", "a.b.c", RuntimeError("secret"), TimeoutError()])
async def test_without_a_usable_token_we_are_nobody_in_particular(cloud, caplog, token):
    assert await own_identity(Given(token), cloud) == Actor()
    assert "our own identity is not known" in caplog.text
    assert "secret" not in caplog.text


async def test_a_wrong_secret_makes_us_nobody(sim, names, cloud, caplog):
    async with ClientSecretCredential(
        names.tenant, names.app, "wrong", authority=cloud.authority,
        disable_instance_discovery=True, connection_verify=sim.ca_file, retry_total=0,
    ) as credential:  # fmt: skip
        assert await own_identity(credential, cloud) == Actor()
    assert "our own identity is not known: ClientAuthenticationError" in caplog.text


def test_the_audience_makes_the_scope(cloud, sim):
    assert cloud.scope == f"{sim.url}/.default"
    assert Cloud("https://arm", "api://audience", "https://login").scope == "api://audience/.default"
    assert [CLOUDS[name].scope for name in ("public", "usgov", "china")] == [
        "https://management.azure.com/.default",
        "https://management.usgovcloudapi.net/.default",
        "https://management.chinacloudapi.cn/.default",
    ]


class Refusing(AioHttpTransport):
    """Notes where a request would have gone."""

    def __init__(self):
        super().__init__()
        self.urls = []

    async def send(self, request, **_config):
        self.urls.append(request.url)
        raise TimeoutError


@pytest.mark.parametrize(
    ("name", "arm"),
    [
        ("public", "https://management.azure.com/"),
        ("usgov", "https://management.usgovcloudapi.net/"),
        ("china", "https://management.chinacloudapi.cn/"),
    ],
)
async def test_each_cloud_is_asked_at_its_own_address_for_its_own_token(name, arm):
    transport, credential = Refusing(), Given("t")
    hubs = ArmHubs(Settings.read({"HUBWARDEN_CLOUD": name}).cloud, credential, transport)
    with pytest.raises(TransientError):
        await anext(hubs.list_hubs("s"))
    assert [url.startswith(f"{arm}subscriptions/s/") for url in transport.urls] == [True]
    assert credential.scopes == [f"{arm}.default"]
    await hubs.close()


@pytest.mark.parametrize("name", ["usgov", "china"])
async def test_the_credential_asks_the_authority_of_the_cloud(name, monkeypatch, names):
    for variable, value in {
        "AZURE_TENANT_ID": names.tenant, "AZURE_CLIENT_ID": names.app, "AZURE_CLIENT_SECRET": "s",
        "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
    }.items():  # fmt: skip
        monkeypatch.setenv(variable, value)
    cloud = CLOUDS[name]
    async with make_credential(cloud) as credential:
        (environment,) = credential.credentials
        assert environment._credential._client._authority == cloud.authority


def test_only_an_authority_of_ones_own_is_not_looked_up_in_entras_directory(cloud, mocker):
    made = mocker.patch("azure.identity.aio.DefaultAzureCredential")
    for one in (cloud, CLOUDS["china"]):
        make_credential(one)
    assert [call.kwargs for call in made.call_args_list] == [
        {"authority": cloud.authority, "disable_instance_discovery": True},
        {"authority": "https://login.chinacloudapi.cn", "disable_instance_discovery": False},
    ]


SCRIPT = """
import asyncio, json, os
from azure.core.pipeline.transport import AioHttpTransport
from hubwarden.adapters.azure.hubs import ArmHubs
from hubwarden.adapters.azure.identity import make_credential, own_identity
from hubwarden.settings import Settings

async def main():
    cloud = Settings.read(os.environ).cloud
    async with make_credential(cloud) as credential:
        hubs = ArmHubs(cloud, credential, AioHttpTransport(use_env_settings=False))
        try:
            found = [body["name"] async for body in hubs.list_hubs(os.environ["SUBSCRIPTION"])]
        except Exception as error:
            found = f"{type(error).__name__} sent={getattr(error, 'sent', None)} {error}"
        me = await own_identity(credential, cloud)
        await hubs.close()
    print(json.dumps([found, me.object_id, me.app_id]))

asyncio.run(main())
"""


async def run(sim, names, **changes):
    """The adapter in a process of its own, as it is in Azure: all through the environment."""
    env = {
        "PATH": os.environ["PATH"],
        "SSL_CERT_FILE": sim.ca_file,
        "HUBWARDEN_CLOUD": "custom",
        "HUBWARDEN_ARM_ENDPOINT": sim.url,
        "HUBWARDEN_ARM_AUDIENCE": sim.audience,
        "HUBWARDEN_AUTHORITY": sim.authority,
        "AZURE_TENANT_ID": names.tenant,
        "AZURE_CLIENT_ID": names.app,
        "AZURE_CLIENT_SECRET": names.secret,
        "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
        "SUBSCRIPTION": names.subscription,
        **changes,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SCRIPT,
        env=env,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return json.loads(out), err.decode()


async def test_the_default_credential_through_the_environment(sim, names):
    (found, oid, app), _ = await run(sim, names)
    assert (found, oid, app) == (["press"], sim.state.entra.principals[names.app].oid, names.app)
    paths = [entry["path"] for entry in sim.requests()]
    assert paths == [f"/{names.tenant}/oauth2/v2.0/token", names.hubs]


async def test_the_default_credential_with_a_wrong_secret(sim, names):
    (found, oid, app), err = await run(sim, names, AZURE_CLIENT_SECRET="the-wrong-secret")
    assert found.startswith("TransientError sent=False listing the hubs of subscription")
    assert "AADSTS7000215" in found
    assert (oid, app) == (None, None)
    assert "the-wrong-secret" not in found + err
