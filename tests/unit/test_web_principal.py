"""Who is signed in: believed only where the platform says that it authenticates, and decoded with care."""

from __future__ import annotations

import base64
import json

import pytest

from hypothesis import given
from hypothesis import strategies as st

from hubwarden.web.principal import principal_of


OID = "http://schemas.microsoft.com/identity/claims/objectidentifier"
KIM = {
    "auth_typ": "aad",
    "claims": [
        {"typ": OID, "val": "k-1"},
        {"typ": "name", "val": "Kim"},
        {"typ": "roles", "val": "hub-operators"},
        {"typ": "groups", "val": "g-1"},
    ],
}


def header(said):
    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    return {"x-ms-client-principal": base64.b64encode(text).decode()}


def test_an_entra_user_is_known_by_object_id_name_roles_and_groups():
    principal = principal_of(header(KIM), trusted=True)
    assert (principal.object_id, principal.name) == ("k-1", "Kim")
    assert principal.roles == {"hub-operators", "g-1"}


def test_without_the_platforms_word_the_header_is_anybodys():
    assert principal_of(header(KIM), trusted=False) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ms-client-principal": "no base64!"},
        header(b"\xff\xfe"),
        header(b"[" * 50_000),
        header([]),
        header(None),
        header({**KIM, "auth_typ": "github"}),
        header({**KIM, "claims": None}),
        header({**KIM, "claims": [1, {"typ": OID}, {"typ": OID, "val": 5}]}),
        header({**KIM, "claims": [{"typ": "name", "val": "Kim"}]}),
        {"x-ms-client-principal": "A" * 100_000},
    ],
)
def test_what_names_nobody_is_nobody(headers):
    assert principal_of(headers, trusted=True) is None


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_nothing_that_is_sent_breaks_it(content):
    principal_of(header(content), trusted=True)
    principal_of({"x-ms-client-principal": content.decode(errors="replace")}, trusted=True)
