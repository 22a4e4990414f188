"""What surrounds the app in Azure, on loopback: storage that takes tokens, ARM, Entra, a managed identity.

No key of the storage account leaves this file: whoever uses it shows a token of the managed identity.
"""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import trustme

from azure.core.credentials import AccessToken

from local.azurite import Azurite, Tls


ROOT: Final = Path(__file__).parents[1]
IDENTITY: Final = "dddddddd-0000-4000-8000-000000000001"
STORAGE: Final = "https://storage.azure.com"


class AppService:
    """Storage, ARM and identity endpoint; ``environment`` is what the platform adds to the app's settings."""

    def __init__(self, azurite: Azurite, simulator: Mapping[str, Any], bundle: Path) -> None:
        self.azurite = azurite
        self.simulator = simulator
        self.bundle = bundle
        self.environment: dict[str, str] = {
            **simulator["identity"], "SSL_CERT_FILE": str(bundle), "REQUESTS_CA_BUNDLE": str(bundle),
        }  # fmt: skip

    def get_token(self, *scopes: str, **_: object) -> AccessToken:
        """A token of the managed identity for storage, for a test's own Azure clients: it is their credential."""
        assert scopes == (f"{STORAGE}/.default",)
        body = json.dumps({"client_id": IDENTITY, "audience": STORAGE}).encode()
        return AccessToken(json.loads(self.control("POST", "tokens", body)), int(time.time()) + 3600)

    def control(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Call the simulator's control API."""
        request = urllib.request.Request(f"{self.simulator['control']}/{path}", body, method=method)
        tls = ssl.create_default_context(cafile=self.bundle)
        with urllib.request.urlopen(request, context=tls, timeout=10) as answer:
            return answer.read()


@contextlib.contextmanager
def app_service(folder: Path, **seed: Any) -> Iterator[AppService]:
    """Start it all; ``seed`` is the simulator's. Files of certificates go into the folder."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    tls = Tls(folder / "cert.pem", folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tls.certificate)
    certificate.private_key_pem.write_to_path(tls.key)
    seed = {"principals": [{"client_id": IDENTITY, "name": "hubwarden", "managed_identity": True}], **seed}
    (folder / "seed.json").write_text(json.dumps(seed))
    with Azurite(tls=tls) as azurite, _simulator(folder) as simulator:
        bundle = folder / "bundle.pem"
        bundle.write_bytes(authority.cert_pem.bytes() + Path(simulator["ca_file"]).read_bytes())
        yield AppService(azurite, simulator, bundle)


@contextlib.contextmanager
def _simulator(folder: Path) -> Iterator[Mapping[str, Any]]:
    command = ["-m", "local.azure_simulator", "--seed", folder / "seed.json", "--ca-dir", folder / "arm"]
    with subprocess.Popen(
        [sys.executable, *command, "--transition-seconds", "0.2", "--parent-pid", str(os.getpid())],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the simulator did not start"
        try:
            yield json.loads(line)
        finally:
            process.terminate()
