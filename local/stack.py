"""The whole local stack: Azurite, the Azure simulator and the functions host, started in order, ended together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys

from asyncio.subprocess import Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, cast

import aiohttp

from azure.identity.aio import ClientSecretCredential
from azure.mgmt.iothub.aio import IotHubClient
from azure.mgmt.monitor.aio import MonitorManagementClient

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.dead_letters import CONTAINER as DEAD_LETTERS
from hubwarden.adapters.storage.findings import TableFindings
from hubwarden.adapters.storage.hubs import TableHubs
from hubwarden.adapters.tickets.builtin import BuiltinTickets
from hubwarden.domain.jsons import JsonObject
from local.azure_simulator.client import SimulatorClient
from local.azurite import Azurite


ROOT: Final = Path(__file__).parent.parent
TENANT: Final = "11111111-2222-4333-8444-555555555555"
SUBSCRIPTION: Final = "5ab5c71e-0000-4000-8000-000000000001"

APPROVAL_KEY: Final = "made-up-approval-key-" + 32 * "0"
WEBHOOK_KEY: Final = "made-up-webhook-key-" + 32 * "0"

_START: Final = 40
_STOP: Final = 12


@dataclass(frozen=True, slots=True)
class Person:
    """A principal of the simulated Entra tenant; with ``upn`` it is a human being."""

    client_id: str
    secret: str
    name: str
    upn: str | None = None


HUBWARDEN: Final = Person("aaaaaaaa-0000-4000-8000-000000000001", "made-up-1", "hubwarden")
SOMEBODY: Final = Person("bbbbbbbb-0000-4000-8000-000000000002", "made-up-2", "Robin Example", "robin@example.com")
AUDITOR: Final = Person("cccccccc-0000-4000-8000-000000000003", "made-up-3", "independent auditor")


class StackError(RuntimeError):
    """A part of the stack did not start; the message says which, and where its log is."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a stack can be told.

    ``transition`` is how long a hub's PUT takes, in seconds; ``message_lease`` how long a killed host's messages
    stay invisible (10 minutes in Azure); ``claim`` is HUBWARDEN_CLAIM_SECONDS; ``hosts`` how many instances.
    """

    transition: float = 1.0
    message_lease: int = 600
    claim: int = 60
    sweep_schedule: str = "0 */15 * * * *"
    port: int = 0
    hosts: int = 1


class Stack:
    """``async with Stack(folder, policy, hubs) as stack:`` — everything runs, hubwarden is subscribed to events.

    Files that the stack needs and the logs of its parts go into ``folder``. Storage is in memory and outlives
    ``kill_host``. Whatever way this process ends, its children end too.
    """

    def __init__(
        self, folder: Path, policy: str, hubs: list[dict[str, Any]], options: Options | None = None
    ) -> None:
        self.folder = folder
        self._policy = policy
        self._seed = {"principals": [_principal(p) for p in (HUBWARDEN, SOMEBODY, AUDITOR)], "hubs": hubs}
        self.options = options or Options()
        self._azurite = Azurite()
        self._simulator: Process | None = None
        self._hosts: list[Process] = []
        self._closing = contextlib.AsyncExitStack()
        self.arm = ""
        self.ca_file = ""
        self.control_url = ""
        self.data_plane = ""
        self.host: Mapping[str, Any] = {}

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            await self._closing.aclose()
        await asyncio.gather(*map(_end, self._hosts))
        await _end(self._simulator)
        await asyncio.to_thread(self._azurite.stop)

    @property
    def connection_string(self) -> str:
        """Of the storage account."""
        return self._azurite.connection_string

    @property
    def azurite_pid(self) -> int:
        """The process id of the storage emulator, for tests that freeze it."""
        return self._azurite.pid

    @property
    def events_url(self) -> str:
        """Where Event Grid delivers to hubwarden."""
        return f"{self.host['url']}/runtime/webhooks/eventgrid?functionName=on_azure_event"

    @property
    def device_events_url(self) -> str:
        """Where the hubs' own events are delivered to hubwarden."""
        return f"{self.host['url']}/runtime/webhooks/eventgrid?functionName=on_device_event"

    @property
    def settings_file(self) -> Path:
        """The app's local.settings.json; the command line takes it too."""
        return self.folder / "local.settings.json"

    @property
    def health_url(self) -> str:
        """The health page, with its key."""
        return f"{self.host['url']}/api/health?code={self.host['function_keys']['health']}"

    async def start_host(self) -> None:
        """Start the functions hosts and have events delivered to the first; queues are served by all."""
        self.settings_file.write_text(json.dumps(self._local_settings(), indent=2), encoding="utf-8")
        started = [await self._start_one(number) for number in range(self.options.hosts)]
        self._hosts, self.host = [process for process, _ in started], started[0][1]
        code = self.host["eventgrid_key"]
        await self.subscribe(f"{self.events_url}&code={code}", name="hubwarden")
        await self.subscribe(f"{self.device_events_url}&code={code}", name="hubwarden-devices", topic="hub")

    async def subscribe(self, url: str, **options: Any) -> None:
        """Have events delivered there; what cannot be ends where the deployment says that it does."""
        dead = {"dead_letter_storage": self.connection_string, "dead_letter_container": DEAD_LETTERS}
        await self.sim.subscribe(url, **dead, **options)

    async def _start_one(self, number: int) -> tuple[Process, dict[str, Any]]:
        return await self._launch(
            f"host-{number}" if number else "host",
            *("local.functions_host", "--app-dir", str(ROOT), "--settings", str(self.settings_file)),
            *("--port", str(0 if number else self.options.port), "--enable-auth"),
            *("--message-lease", str(self.options.message_lease)),
        )

    async def kill_host(self) -> None:
        """SIGKILL: what a crash of every instance looks like."""
        for host in self._hosts:
            host.kill()
            await host.wait()

    async def end_hosts(self) -> None:
        """SIGTERM: every instance ends as when it is scaled in."""
        await asyncio.gather(*map(_end, self._hosts))

    async def host_ended(self) -> int:
        """Wait until the first host is gone; how it ended, as asyncio's processes tell."""
        return await self._hosts[0].wait()

    async def sweep(self) -> None:
        """Run the timer by hand, as `func` lets one do; returns when a newer sweep is recorded."""
        before = await self.records.last_sweep()
        await self.run("sweep")
        async with asyncio.timeout(60):
            while (await self.records.last_sweep()) == before:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.1)

    async def run(self, function: str) -> None:
        """Start a function by hand, as `func` lets one do, and do not wait for it."""
        url = f"{self.host['url']}/admin/functions/{function}"
        headers = {"x-functions-key": self.host["master_key"]}
        async with self.http.post(url, json={"input": ""}, headers=headers) as answer:
            answer.raise_for_status()

    async def health(self) -> tuple[int, JsonObject]:
        """Status and body of the health page."""
        async with self.http.get(self.health_url) as answer:
            return answer.status, cast("JsonObject", await answer.json())

    def arm_as(self, person: Person) -> IotHubClient:
        """azure-mgmt-iothub, signed in as this person; closed with the stack."""
        credential, client = signed_in(self.arm, self.ca_file, person)
        self._closing.push_async_callback(credential.close)
        self._closing.push_async_callback(client.close)
        return client

    def monitor_as(self, person: Person) -> MonitorManagementClient:
        """azure-mgmt-monitor, signed in as this person; closed with the stack."""
        credential, client = signed_in_to_monitor(self.arm, self.ca_file, person)
        self._closing.push_async_callback(credential.close)
        self._closing.push_async_callback(client.close)
        return client

    async def _start(self) -> None:
        await asyncio.to_thread(self._azurite.start)
        seed = self.folder / "seed.json"
        seed.write_text(json.dumps(self._seed), encoding="utf-8")
        self._simulator, ready = await self._launch(
            "simulator",
            *("local.azure_simulator", "--seed", str(seed), "--ca-dir", str(self.folder)),
            *("--transition-seconds", str(self.options.transition), "--retry-scale", "0.05"),
        )
        self.arm, self.ca_file, self.control_url = ready["arm"], ready["ca_file"], ready["control"]
        self.data_plane = str(ready["data_plane"])
        self.sim = await self._closing.enter_async_context(SimulatorClient(self.control_url, self.ca_file))
        self.http = await self._closing.enter_async_context(aiohttp.ClientSession())
        account = StorageAccount({"AzureWebJobsStorage": self.connection_string})
        self._closing.push_async_callback(account.close)
        self.findings, self.records = TableFindings(account), TableHubs(account)
        self.tickets = BuiltinTickets(account)
        self.account = account
        await self.start_host()

    def _local_settings(self) -> JsonObject:
        policy = self.folder / "policy.yaml"
        policy.write_text(self._policy, encoding="utf-8")
        values: dict[str, Any] = {
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "AzureWebJobsStorage": self.connection_string,
            "SWEEP_SCHEDULE": self.options.sweep_schedule,
            "HUBWARDEN_POLICY": str(policy),
            "HUBWARDEN_CLAIM_SECONDS": str(self.options.claim),
            "HUBWARDEN_APPROVAL_KEYS": APPROVAL_KEY,
            "HUBWARDEN_WEBHOOK_KEYS": WEBHOOK_KEY,
            "HUBWARDEN_CLOUD": "custom",
            "HUBWARDEN_ARM_ENDPOINT": self.arm,
            "HUBWARDEN_ARM_AUDIENCE": self.arm,
            "HUBWARDEN_AUTHORITY": self.arm,
            "HUBWARDEN_DATA_PLANE": self.data_plane,
            "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": HUBWARDEN.client_id,
            "AZURE_CLIENT_SECRET": HUBWARDEN.secret,
        }
        return {"IsEncrypted": False, "Values": values}

    async def _launch(self, name: str, *module: str) -> tuple[Process, dict[str, Any]]:
        log = self.folder / f"{name}.log"
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("AZURE_", "HUBWARDEN_"))},
            "SSL_CERT_FILE": self.ca_file or os.environ.get("SSL_CERT_FILE", ""),
            "PYTHONUNBUFFERED": "1",
        }
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *module, "--parent-pid", str(os.getpid())),
                cwd=ROOT,
                env={key: value for key, value in environment.items() if value},
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(_START):
                assert process.stdout is not None
                line = await process.stdout.readline()
                return process, json.loads(line)
        except (TimeoutError, ValueError):
            await _end(process)
            told = "".join(log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)[-15:])
            raise StackError(f"the {name} did not start; the end of {log}:\n{told}") from None


def signed_in(arm: str, ca_file: str, person: Person) -> tuple[ClientSecretCredential, IotHubClient]:
    """azure-mgmt-iothub for this person, and the credential under it; both are the caller's to close."""
    credential = _credential(arm, ca_file, person)
    client = IotHubClient(credential, SUBSCRIPTION, polling_interval=0.2, **_towards(arm, ca_file))
    return credential, client


def signed_in_to_monitor(
    arm: str, ca_file: str, person: Person
) -> tuple[ClientSecretCredential, MonitorManagementClient]:
    """azure-mgmt-monitor, as ``signed_in``."""
    credential = _credential(arm, ca_file, person)
    return credential, MonitorManagementClient(credential, SUBSCRIPTION, **_towards(arm, ca_file))


def _credential(arm: str, ca_file: str, person: Person) -> ClientSecretCredential:
    return ClientSecretCredential(
        TENANT,
        person.client_id,
        person.secret,
        authority=arm,
        disable_instance_discovery=True,
        connection_verify=ca_file,
    )


def _towards(arm: str, ca_file: str) -> dict[str, Any]:
    return {"base_url": arm, "credential_scopes": [f"{arm}/.default"], "connection_verify": ca_file}


def _principal(person: Person) -> dict[str, Any]:
    return {"client_id": person.client_id, "secret": person.secret, "name": person.name, "upn": person.upn}


async def _end(process: Process | None) -> None:
    if process is None or process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
