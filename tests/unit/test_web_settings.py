"""The settings of approvals: read, or refused without showing a key."""

from __future__ import annotations

import pytest

from hubwarden.settings import Settings, SettingsError


ONE, TWO = "a" * 32, "b" * 40


@pytest.mark.parametrize(
    ("text", "keys"),
    [("", ()), (" , ", ()), (ONE, (ONE.encode(),)), (f" {ONE} ,{TWO}", (ONE.encode(), TWO.encode()))],
)
@pytest.mark.parametrize("name", ["approval", "webhook"])
def test_one_key_or_two(name, text, keys):
    read = Settings.read({f"HUBWARDEN_{name.upper()}_KEYS": text})
    assert getattr(read, f"{name}_keys") == keys
    assert ONE not in repr(read)


@pytest.mark.parametrize("text", ["short", f"{ONE},short", f"{ONE},{TWO},{ONE}x"])
@pytest.mark.parametrize("name", ["HUBWARDEN_APPROVAL_KEYS", "HUBWARDEN_WEBHOOK_KEYS"])
def test_a_weak_key_ends_the_start_and_is_not_shown(name, text):
    with pytest.raises(SettingsError, match=f"{name} holds something else than at most 2 keys") as caught:
        Settings.read({name: text})
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ({}, ""),
        ({"WEBSITE_HOSTNAME": "app.example"}, "https://app.example"),
        ({"WEBSITE_HOSTNAME": "localhost:7071"}, "http://localhost:7071"),
        ({"WEBSITE_HOSTNAME": "localhost.evil.example"}, "https://localhost.evil.example"),
        ({"WEBSITE_HOSTNAME": "x", "HUBWARDEN_PUBLIC_URL": "https://hub.example/"}, "https://hub.example"),
        ({"HUBWARDEN_PUBLIC_URL": "http://127.0.0.1:7071"}, "http://127.0.0.1:7071"),
    ],
)
def test_where_people_reach_the_app(env, url):
    assert Settings.read(env).public_url == url


@pytest.mark.parametrize("url", ["http://hub.example", "hub.example", "https://a/b?c", "javascript:x"])
def test_an_address_without_tls_is_refused(url):
    with pytest.raises(SettingsError, match="HUBWARDEN_PUBLIC_URL"):
        Settings.read({"HUBWARDEN_PUBLIC_URL": url})


@pytest.mark.parametrize(("said", "trusted"), [("True", True), ("true", True), ("False", False), ("1", False)])
def test_the_platform_says_whether_it_authenticates(said, trusted):
    assert Settings.read({"WEBSITE_AUTH_ENABLED": said}).signs_in is trusted


URI = "SecretUri=https://kv.vault.azure.net/secrets/approval-keys"
NAMES = "VaultName=kv;SecretName=approval-keys;SecretVersion=0123456789abcdef0123456789abcdef"
REFERENCES = [
    f"@Microsoft.KeyVault({URI})",
    f"@Microsoft.KeyVault({URI}/0123456789abcdef0123456789abcdef)",
    f"@Microsoft.KeyVault({NAMES})",
    f"  @microsoft.keyvault({URI})\n",
    f'"@Microsoft.KeyVault({URI})"',
    f"@Microsoft.KeyVault({URI}",
    "@Microsoft.AppConfiguration(Endpoint=https://ac.azconfig.io; Key=approval-keys-of-hubwarden)",
    f"{ONE},@Microsoft.KeyVault({URI})",
]


@pytest.mark.parametrize("text", REFERENCES)
@pytest.mark.parametrize("name", ["HUBWARDEN_APPROVAL_KEYS", "HUBWARDEN_WEBHOOK_KEYS"])
def test_a_reference_that_is_not_resolved_is_no_key(name, text):
    """Everybody can know its text: a key of it would let anybody forge a decision."""
    read = Settings.read({name: text})
    assert read.approval_keys == read.webhook_keys == ()
    (warning,) = read.warnings
    assert f"the app setting {name} is a reference that is not resolved" in warning
    assert ONE not in warning


@pytest.mark.parametrize("inside", [URI, NAMES])
def test_the_warning_tells_where_the_reference_leads_and_what_is_closed(inside):
    (warning,) = Settings.read({"HUBWARDEN_WEBHOOK_KEYS": f"@Microsoft.KeyVault({inside})"}).warnings
    assert f"({inside})" in warning
    assert "no program can decide by webhook" in warning


def test_keys_that_are_there_are_no_reason_to_warn():
    assert Settings.read({"HUBWARDEN_APPROVAL_KEYS": ONE, "HUBWARDEN_WEBHOOK_KEYS": ""}).warnings == ()
