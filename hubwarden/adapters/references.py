"""App settings that hold a reference instead of the secret, because the platform could not resolve it.

https://learn.microsoft.com/azure/app-service/app-service-key-vault-references: "If a reference isn't resolved
properly, the reference string is used instead". Its forms are ``@Microsoft.KeyVault(SecretUri=…)`` and
``@Microsoft.KeyVault(VaultName=…;SecretName=…;SecretVersion=…)``, the last part optional; App Configuration has
``@Microsoft.AppConfiguration(Endpoint=…; Key=…; Label=…)``. Everybody can know such a text: it is never a secret.
"""

from __future__ import annotations

import re

from typing import Final


# Anywhere, not only at the start, and in any case: a text that is nearly a reference is no secret either.
_REFERENCE: Final = re.compile(r"@microsoft\.(?:keyvault|appconfig\w*)(?:\(([^()]*)\))?", re.IGNORECASE)


def unresolved(setting: str, value: str) -> str | None:
    """Why the setting's value is no secret, or None where it holds no reference.

    The text names the setting and where the reference leads, which is no secret; nothing else of the value is
    in it.
    """
    if (found := _REFERENCE.search(value)) is None:
        return None
    place = f" ({found[1].strip()})" if found[1] else ""
    return (
        f"the app setting {setting} is a reference that is not resolved{place}, so its secret is missing: see "
        "that the secret exists and that the app's identity may read it, then restart the app"
    )
