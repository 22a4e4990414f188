"""Who calls: registered principals, and what a token says of them."""

import time
import uuid

from dataclasses import dataclass


TENANT = "11111111-2222-4333-8444-555555555555"
"""Tenant in tokens that are made without one."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A service principal, or a person where `upn` is set; a managed identity has no secret."""

    client_id: str
    secret: str
    oid: str
    name: str
    upn: str | None = None
    managed_identity: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """The principal behind one request, and the claims of the token it came with."""

    principal: Principal
    tenant: str
    claims: dict[str, str | int]

    @property
    def audience(self) -> str:
        """What the token is for."""
        return str(self.claims["aud"]).rstrip("/")

    def is_valid(self) -> bool:
        """Whether the token has not expired."""
        return int(self.claims["exp"]) > time.time()

    @property
    def display(self) -> str:
        """What ARM calls the caller in texts: the user name of a person, the client id of an application."""
        return self.principal.upn or self.principal.client_id


def make_principal(
    client_id: str,
    secret: str,
    *,
    oid: str | None = None,
    name: str | None = None,
    upn: str | None = None,
    managed_identity: bool = False,
) -> Principal:
    """A principal; without `oid` it gets one that depends on the client id alone.

    Raises:
        ValueError: it has no secret and is no managed identity, or the other way round.
    """
    if bool(secret) is managed_identity:
        raise ValueError(f"{client_id} needs either a secret or managed_identity")
    derived = str(uuid.uuid5(uuid.NAMESPACE_URL, client_id))
    return Principal(client_id, secret, oid or derived, name or upn or client_id, upn, managed_identity)
