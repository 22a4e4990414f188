"""Where the account is and how it is entered, as the settings say."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hubwarden.adapters.storage.account import _OPTIONS, StorageAccount


def urls(account: StorageAccount) -> list[str]:
    return [account.table("t1t").url, account.queue("q").url, account.container("c").url]


class Credential:
    async def get_token(self, *scopes, **_): ...


def test_development_storage_is_azurite_on_its_own_ports():
    assert urls(StorageAccount({"AzureWebJobsStorage": "UseDevelopmentStorage=true;"})) == [
        "http://127.0.0.1:10002/devstoreaccount1",
        "http://127.0.0.1:10001/devstoreaccount1/q",
        "http://127.0.0.1:10000/devstoreaccount1/c",
    ]


def test_an_account_name_is_enough():
    account = StorageAccount({"AzureWebJobsStorage__accountName": "acct"}, Credential)
    assert urls(account) == [
        "https://acct.table.core.windows.net",
        "https://acct.queue.core.windows.net/q",
        "https://acct.blob.core.windows.net/c",
    ]


def test_another_cloud_and_another_connection():
    account = StorageAccount(
        {"Data__accountName": "acct"}, Credential, connection="Data", suffix="core.chinacloudapi.cn"
    )
    assert urls(account)[1] == "https://acct.queue.core.chinacloudapi.cn/q"


def test_service_uris_come_before_the_account_name():
    account = StorageAccount(
        {
            "AzureWebJobsStorage__accountName": "acct",
            "AzureWebJobsStorage__queueServiceUri": "https://private.example/",
        },
        Credential,
    )
    assert urls(account)[:2] == ["https://acct.table.core.windows.net", "https://private.example/q"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"AzureWebJobsStorage": ""},
        {"AzureWebJobsStorage__tableServiceUri": "https://t", "AzureWebJobsStorage__queueServiceUri": "https://q"},
    ],
)
def test_settings_that_name_no_account_are_refused_with_the_names(settings):
    with pytest.raises(ValueError, match=r"AzureWebJobsStorage__accountName.*AzureWebJobsStorage__blobServiceUri"):
        StorageAccount(settings, Credential)


def test_without_a_credential_only_a_connection_string_will_do():
    with pytest.raises(ValueError, match="AzureWebJobsStorage__… needs a credential"):
        StorageAccount({"AzureWebJobsStorage__accountName": "acct"})


def test_the_credential_is_made_once_and_only_when_it_is_needed():
    made = []
    account = StorageAccount({"AzureWebJobsStorage__accountName": "a"}, lambda: made.append(1) or Credential())
    assert not made
    urls(account)
    assert made == [1]


@pytest.mark.parametrize(("environment", "expected"), [({}, False), ({"HTTPS_PROXY": "http://proxy:1"}, True)])
def test_the_environment_is_read_for_every_request_only_where_it_names_a_proxy(monkeypatch, environment, expected):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    account = StorageAccount({"AzureWebJobsStorage": "UseDevelopmentStorage=true"})
    assert account._transport._use_env_settings is expected


def test_an_outage_is_known_within_15_seconds():
    tries = _OPTIONS["retry_total"] + 1
    waits = max(_OPTIONS["connection_timeout"], _OPTIONS["read_timeout"])
    pause = max(_OPTIONS["initial_backoff"], _OPTIONS["retry_backoff_factor"])
    assert tries * waits + (tries - 1) * pause <= 15


def test_the_adapters_do_not_load_the_sdk_before_it_is_used():
    modules = "account, audit, findings, graveyard, hubs, queues"
    code = (
        f"from hubwarden.adapters.storage import {modules}; from hubwarden.adapters.tickets import builtin; "
        "import sys; print([m for m in sys.modules if m in ('azure.data.tables', 'azure.storage', 'aiohttp')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
