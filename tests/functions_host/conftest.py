import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from azure.storage.queue import QueueClient, TextBase64DecodePolicy, TextBase64EncodePolicy

from local.azurite import Azurite, why_azurite_cannot_run


ROOT = Path(__file__).parents[2]
PATIENCE = 20.0
PRELUDE = """
import asyncio, json, logging, os, time, typing
import azure.functions as func

app = func.FunctionApp()

def saw(**what):
    with open("seen.jsonl", "a") as file:
        file.write(json.dumps(what) + "\\n")
"""


def until[T](look: Callable[[], T], patience: float = PATIENCE, *, tell: Callable[[], str] = str) -> T:
    """Look again and again until there is something; fail when there never is."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    pytest.fail(f"nothing came up within {patience} s\n{tell()}")


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class HostProcess:
    def __init__(self, app_dir: Path, arguments: list[str], environment: dict[str, str]) -> None:
        self.app_dir = app_dir
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local.functions_host", "--app-dir", app_dir, "--port", "0", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        line = self.process.stdout.readline()
        self.ready = json.loads(line) if line else None

    def _read(self) -> None:
        for line in self.process.stderr:
            self.said.append(line)

    @property
    def log(self) -> str:
        return "".join(self.said)

    def call(self, method: str, path: str, body: bytes | str = b"", **headers: str) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(self.ready["url"]).netloc, timeout=PATIENCE)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, names)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def seen(self, **what: Any) -> list[dict[str, Any]]:
        """What the app's functions noted by `saw` and that has these values."""
        file = self.app_dir / "seen.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        notes = [json.loads(line) for line in lines if line.endswith("}")]
        return [note for note in notes if what.items() <= note.items()]

    def wait_for(self, *, times: int = 1, **what: Any) -> list[dict[str, Any]]:
        return until(lambda: notes if len(notes := self.seen(**what)) >= times else None, tell=lambda: self.log)

    def wait_for_log(self, text: str) -> None:
        until(lambda: text in self.log, tell=lambda: self.log)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.exit_code()

    def exit_code(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def clean_up(self) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGKILL)
        self.process.stdout.close()
        self.process.stderr.close()


type StartHost = Callable[..., HostProcess]


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    with Azurite() as running:
        yield running


@pytest.fixture(scope="module")
def start_host(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartHost]:
    """Give a factory of hosts; each app is the given source after PRELUDE, with Azurite as its storage."""
    started: list[HostProcess] = []

    def start(
        source: str,
        *arguments: str,
        host_json: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        app_dir: Path | None = None,
        fails: bool = False,
        **environment: str,
    ) -> HostProcess:
        folder = app_dir or tmp_path_factory.mktemp("app")
        (folder / "function_app.py").write_text(PRELUDE + source)
        (folder / "host.json").write_text(json.dumps({"version": "2.0", **(host_json or {})}))
        values = {"AzureWebJobsStorage": azurite.connection_string, **(settings or {})}
        values = {name: value for name, value in values.items() if value is not None}
        (folder / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": values}))
        started.append(HostProcess(folder, list(arguments), environment))
        assert started[-1].ready or fails, started[-1].log
        return started[-1]

    yield start
    for host in started:
        host.clean_up()


@pytest.fixture
def queue(azurite: Azurite) -> Iterator[Callable[[str], QueueClient]]:
    """Give clients of queues that speak base64, as the Functions host does by default."""
    opened: list[QueueClient] = []

    def client(name: str, *, create: bool = True) -> QueueClient:
        opened.append(
            QueueClient.from_connection_string(
                azurite.connection_string,
                name,
                message_encode_policy=TextBase64EncodePolicy(),
                message_decode_policy=TextBase64DecodePolicy(),
            )
        )
        if create:
            opened[-1].create_queue()
        return opened[-1]

    yield client
    for each in opened:
        each.close()


@pytest.fixture(scope="session", name="until")
def until_fixture() -> Callable[..., Any]:
    return until
