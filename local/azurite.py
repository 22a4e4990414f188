"""Azurite, Microsoft's storage emulator, as a child process on free ports."""

import os
import re
import shutil
import subprocess
import threading

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self


_SCRIPT = Path(__file__).parent.parent / "node_modules" / ".bin" / "azurite"
_ACCOUNT = "devstoreaccount1"
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite#well-known-storage-account-and-key
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_LISTENING = re.compile(r"Azurite (Blob|Queue|Table) service is successfully listening at (\S+)")
# The child holds the reading end of a pipe to its parent: however the parent ends, the pipe closes.
# Unreferenced, it does not keep a child alive that was told to end.
_END_WITH_PARENT = (
    'data:text/javascript,process.stdin.resume().on("end",()=>process.kill(process.pid,"SIGTERM")).unref()'
)


def why_azurite_cannot_run() -> str | None:
    """Return what is missing on this machine, or None."""
    if shutil.which("node") is None:
        return "node is not installed"
    return None if _SCRIPT.exists() else "Azurite is not installed (npm ci)"


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of a certificate for 127.0.0.1 and of its key, both PEM."""

    certificate: Path
    key: Path


class Azurite:
    """One storage account on loopback: in memory, or in `location` where it outlives the process.

    With `tls` it speaks HTTPS, as Azure does, and takes Entra tokens too: it looks at audience, issuer and times,
    and at no signature. Usable as a context manager. Ends with `stop` and also when this process ends in any way.
    """

    def __init__(self, *, location: Path | None = None, tls: Tls | None = None) -> None:
        self._location = location
        self._tls = tls
        self._process: subprocess.Popen[str] | None = None
        self._urls: dict[str, str] = {}

    def start(self, *, patience: float = 30) -> Self:
        """Start it and return when all three services answer."""
        if reason := why_azurite_cannot_run():
            raise RuntimeError(reason)
        self._process = subprocess.Popen(
            self._command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "NODE_OPTIONS": "", "NO_COLOR": "1"},
        )
        self._await_ports(self._process, patience)
        return self

    def stop(self) -> None:
        """End it; what is in `location` stays. Asked politely, Azurite waits for open connections to close."""
        if self._process is None:
            return
        if self._location:
            self._process.terminate()
        else:
            self._process.kill()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None
        self._urls = {}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the child."""
        assert self._process is not None
        return self._process.pid

    @property
    def blob_url(self) -> str:
        """The account's Blob endpoint."""
        return self._endpoint("Blob")

    @property
    def queue_url(self) -> str:
        """The account's Queue endpoint."""
        return self._endpoint("Queue")

    @property
    def table_url(self) -> str:
        """The account's Table endpoint."""
        return self._endpoint("Table")

    @property
    def connection_string(self) -> str:
        """What an app setting such as `AzureWebJobsStorage` holds."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};"
            f"BlobEndpoint={self.blob_url};QueueEndpoint={self.queue_url};TableEndpoint={self.table_url};"
        )

    def _command(self) -> list[str]:
        node = ["node", "--import", _END_WITH_PARENT, str(_SCRIPT)]
        ports = ["--blobPort", "0", "--queuePort", "0", "--tablePort", "0"]
        # Newer storage SDKs speak API versions that Azurite does not list yet, and it answers 400 to those.
        quiet = ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        store = ["--location", str(self._location)] if self._location else ["--inMemoryPersistence"]
        return node + ports + quiet + store + self._tls_options()

    def _tls_options(self) -> list[str]:
        if self._tls is None:
            return []
        return ["--oauth", "basic", "--cert", str(self._tls.certificate), "--key", str(self._tls.key)]

    def _endpoint(self, service: str) -> str:
        return f"{self._urls[service]}/{_ACCOUNT}"

    def _await_ports(self, process: subprocess.Popen[str], patience: float) -> None:
        assert process.stdout is not None
        ready = threading.Event()
        said: list[str] = []
        reader = threading.Thread(target=self._listen, args=(process.stdout, ready, said), daemon=True)
        reader.start()
        if not ready.wait(patience) or len(self._urls) < 3:  # noqa: PLR2004 - Blob, Queue, Table
            self.stop()
            raise RuntimeError(f"Azurite did not start: {''.join(said[-20:])}")

    def _listen(self, output: IO[str], ready: threading.Event, said: list[str]) -> None:
        """Read the ports from Azurite's output, then go on reading so that it never blocks."""
        try:
            for line in output:
                if found := _LISTENING.search(line):
                    self._urls[found[1]] = found[2]
                if len(self._urls) == 3:  # noqa: PLR2004 - Blob, Queue, Table
                    ready.set()
                if not ready.is_set():
                    said.append(line)
        except ValueError:  # `stop` closed the pipe while this thread was reading it
            pass
        finally:
            ready.set()
