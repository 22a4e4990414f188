"""What Bicep, host.json, the settings' sample, the README and the code must say alike: one function a question.

Each takes the project's folder and what the code says, and gives one line for each disagreement. So a test can ask
the same of a copy with a fault in it.
"""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
import subprocess
import sys

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import hubwarden.adapters

from hubwarden.adapters.azure.cloud import CLOUDS
from hubwarden.adapters.ncrontab import next_due
from hubwarden.adapters.references import unresolved
from hubwarden.adapters.storage.rows import Shape
from hubwarden.bootstrap import Hubwarden
from hubwarden.service.messages import Queue
from hubwarden.settings import Settings
from tests.infra.bicep_values import evaluate


ROOT: Final = Path(__file__).parents[2]
APP: Final = "infra/modules/app.bicep"
STORAGE: Final = "infra/modules/storage.bicep"

BY_OTHERS: Final = {
    "AzureWebJobsStorage__credential": "the Functions host: by which kind of identity it comes",
    "AzureWebJobsStorage__clientId": "the Functions host: by which identity",
    "AZURE_CLIENT_ID": "azure-identity: which user-assigned identity is ours",
    "AZURE_TOKEN_CREDENTIALS": "azure-identity: try the managed identity and nothing else",
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "the Functions host and the worker: where telemetry goes",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "the Functions host: it shows a token there",
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": "the Python worker: it sends OpenTelemetry itself",
    "OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID": "App Service authentication: it proves itself by the identity",
}
"""Settings in Bicep that our code does not read, and who does."""

NOT_IN_BICEP: Final = {
    "AzureWebJobsStorage": "a connection string: for a workstation only",
    "AzureWebJobsStorage__accountName": "short for the addresses, which Bicep gives in full: clouds differ",
    "PYTHON_ENABLE_OPENTELEMETRY": "the worker's other switch, for exporters of one's own",
    "WEBSITE_AUTH_ENABLED": "the platform sets it",
    "WEBSITE_HOSTNAME": "the platform sets it",
}
"""What our code reads and Bicep does not give, and why."""

LOCAL_ONLY: Final = {
    "FUNCTIONS_WORKER_RUNTIME": "Core Tools must know the language; on Flex Consumption it may not be set",
    "AzureWebJobsStorage": "the storage emulator",
}
"""What the sample of local settings has besides the app's own."""

DEPLOYMENT_ONLY: Final = frozenset({"app-package"})
"""Containers that the app never opens: the platform takes the code from there."""

_OURS: Final = re.compile(r"HUBWARDEN_[A-Z_]+|SWEEP_[A-Z_]+|WEBSITE_[A-Z_]+")
_WHEN: Final = datetime(2026, 11, 23, tzinfo=UTC)


@dataclass(frozen=True)
class Code:
    """What the code says.

    ``read`` are the app settings that it reads, ``secrets`` those that a policy file may name, ``functions`` the
    bindings of each function as the worker reports them.
    """

    read: frozenset[str]
    secrets: frozenset[str]
    functions: Mapping[str, list[Mapping[str, Any]]]
    tables: frozenset[str]
    queues: frozenset[str]
    containers: frozenset[str]

    def bindings(self, field: str) -> frozenset[str]:
        """What this field says in any binding."""
        return frozenset(b[field] for bindings in self.functions.values() for b in bindings if field in b)

    def triggered_by(self, kind: str) -> frozenset[str]:
        """The functions with this type of trigger."""
        return frozenset(n for n, bindings in self.functions.items() if any(b["type"] == kind for b in bindings))


def code() -> Code:
    """Ask the code itself: run it, load its modules, let the real worker index its functions."""
    adapters = list(_modules())
    shapes = {value.table for module in adapters for value in vars(module).values() if isinstance(value, Shape)}
    return Code(
        read=frozenset(settings_read()),
        secrets=_literals("hubwarden/domain", _OURS),
        functions=_functions(),
        tables=frozenset(shapes),
        queues=frozenset(name for queue in Queue for name in (queue.value, f"{queue}-poison")),
        containers=frozenset(module.CONTAINER for module in adapters if hasattr(module, "CONTAINER")),
    )


# --- the questions -----------------------------------------------------------------------------------------


def app_settings(root: Path, said: Code) -> Iterator[str]:
    """Does Bicep give what is read, and nothing else?"""
    given = settings_given(root).keys()
    named = set(re.findall(r"%(\w+)%", json.dumps(said.functions)))
    connections = {f"{name}__queueServiceUri" for name in said.bindings("connection")}
    wanted = (said.read - NOT_IN_BICEP.keys()) | named | connections
    yield from _each(wanted - given, "{} is read, and app.bicep does not give it")
    yield from _each(given - wanted - BY_OTHERS.keys(), "{} in app.bicep is read by nobody")
    yield from _each(BY_OTHERS.keys() - given, "BY_OTHERS has {}, which app.bicep does not give")
    yield from _each(NOT_IN_BICEP.keys() & given, "app.bicep gives {}, against the reason in NOT_IN_BICEP")
    yield from _each(NOT_IN_BICEP.keys() - said.read, "NOT_IN_BICEP has {}, which nobody reads")


def local_settings(root: Path, said: Code) -> Iterator[str]:
    """Has the sample each setting of the app, with its default, and no other?"""
    sample = json.loads((root / "local.settings.sample.json").read_text(encoding="utf-8"))["Values"]
    ours = {name for name in said.read & settings_given(root).keys() - BY_OTHERS.keys() if "__" not in name}
    wanted = ours | set(re.findall(r"%(\w+)%", json.dumps(said.functions))) | LOCAL_ONLY.keys()
    yield from _each(wanted - sample.keys(), "{} is not in local.settings.sample.json")
    yield from _each(sample.keys() - wanted, "{} in local.settings.sample.json is no setting of the app")
    schedule = {"SWEEP_SCHEDULE": sample.get("SWEEP_SCHEDULE", "")}
    if Settings.read(sample) != Settings.read(schedule):
        yield "local.settings.sample.json does not say the defaults"


def storage_names(root: Path, said: Code) -> Iterator[str]:
    """Are the tables, queues and containers those of the code?"""
    kinds = (("tableNames", said.tables), ("queueNames", said.queues))
    for array, wanted in (*kinds, ("containerNames", said.containers | DEPLOYMENT_ONLY)):
        given = evaluate(root / STORAGE, array)
        yield from _each(wanted - set(given), f"{array} has no {{}}")
        yield from _each(set(given) - wanted, f"{array} has {{}}, which the code does not know")
        if len(set(given)) < len(given):
            yield f"{array} has a name twice"


def runtime(root: Path, said: Code) -> Iterator[str]:
    """Does the app run there on the Python that it is tested on?"""
    tested = (root / ".python-version").read_text(encoding="utf-8").strip()
    there = evaluate(root / APP, "site")["properties"]["functionAppConfig"]["runtime"]
    if there != {"name": "python", "version": tested}:
        yield f"app.bicep runs {there}, and .python-version says {tested}"


def host_json(root: Path, said: Code) -> Iterator[str]:
    """Does host.json go with the functions, with Bicep's paths and with its schedule?"""
    host = json.loads((root / "host.json").read_text(encoding="utf-8"))
    bundle = host["extensionBundle"]
    if bundle["id"] != "Microsoft.Azure.Functions.ExtensionBundle" or not bundle["version"].startswith("[4."):
        yield f"host.json has the extension bundle {bundle}"
    if host["extensions"]["queues"]["messageEncoding"] != "none":
        yield "host.json encodes messages; the code writes and reads them as they are"
    prefix = host["extensions"]["http"]["routePrefix"]
    routes = {f"/{prefix}/{route}".replace("//", "/") for route in said.bindings("route")}
    excluded = evaluate(root / "infra/main.bicep", "authExcludedPaths")
    yield from _each(set(excluded) - routes - _EVENTS, "authExcludedPaths has {}, where no function answers")
    yield from _each(_EVENTS - set(excluded), "authExcludedPaths has no {}: no event would be delivered")
    yield from _timeout(host["functionTimeout"], evaluate(root / "infra/main.bicep", "sweepSchedule"))
    told = "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY" in settings_given(root)
    if told != (host.get("telemetryMode") == "OpenTelemetry"):
        yield "host.json's telemetryMode and PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY go only together"


_EVENTS: Final = frozenset({"/runtime/webhooks/eventgrid", "/runtime/webhooks/EventGrid"})


def _timeout(text: str, schedule: str) -> Iterator[str]:
    hours, minutes, seconds = map(int, text.split(":"))
    timeout = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    first = next_due(schedule, _WHEN)
    second = next_due(schedule, first) if first else None
    if first is None or second is None:
        yield f"sweepSchedule {schedule!r} is never due"
    elif timeout >= second - first:
        yield f"functionTimeout {timeout} is no shorter than the time between two sweeps, {second - first}"


def function_names(root: Path, said: Code) -> Iterator[str]:
    """Are the functions that infra/ names there, and does each that takes events get some?"""
    text = _bicep(root)
    subscribed = set(re.findall(r"/functions/(\w+)'", text))
    warm = {name.removeprefix("function:") for name in evaluate(root / APP, "warm")}
    yield from _each((subscribed | warm) - said.functions.keys(), "infra/ names {}, and there is no such function")
    takers = said.triggered_by("eventGridTrigger")
    yield from _each(takers - subscribed, "{} is subscribed to nothing")
    yield from _each((subscribed - takers) & said.functions.keys(), "{} is subscribed, and takes no events")


def readme(root: Path, said: Code) -> Iterator[str]:
    """Does the README's table list each setting?"""
    _, _, rest = (root / "README.md").read_text(encoding="utf-8").partition("\n## Settings\n")
    told = set(re.findall(r"`(HUBWARDEN_[A-Z_]+|SWEEP_SCHEDULE)`", rest.partition("\n## ")[0]))
    wanted = {name for name in said.read if name.startswith(("HUBWARDEN_", "SWEEP_"))}
    yield from _each(wanted - told, "README's settings have no {}")
    yield from _each(told - wanted - said.secrets, "README's settings have {}, which nobody reads")


def secrets(root: Path, said: Code) -> Iterator[str]:
    """Are the keys Key Vault references that the app knows as such, and do the hooks make their secrets?"""
    given = settings_given(root)
    for name in sorted(name for name in said.read if name.endswith("_KEYS")):
        value = str(given.get(name, ""))
        secret = re.search(r"secrets/([a-z-]+)\)$", value)
        if unresolved(name, value) is None or secret is None:
            yield f"{name} is {value}, which is no Key Vault reference"
            continue
        for hook in ("postprovision.sh", "postprovision.ps1"):
            made = (root / "infra/hooks" / hook).read_text(encoding="utf-8")
            if re.search(rf"(?<![\w-]){secret[1]}(?![\w-])", made) is None:
                yield f"{name} is {value}, and {hook} makes no such secret"


def clouds(root: Path, said: Code) -> Iterator[str]:
    """Are the clouds that Bicep names those that the app knows?"""
    given = set(evaluate(root / APP, "clouds").values())
    yield from _each(given ^ CLOUDS.keys(), "app.bicep and cloud.py do not agree on the cloud {}")


QUESTIONS: Final = (
    app_settings,
    local_settings,
    storage_names,
    runtime,
    host_json,
    function_names,
    readme,
    secrets,
    clouds,
)


# --- what the files say ------------------------------------------------------------------------------------


def settings_given(root: Path) -> dict[str, Any]:
    """The app settings of the deployed app with people signing in; values that only Azure knows are Unknown."""
    params = {"extraSettings": {}, "authClientId": "made-up"}
    properties = evaluate(root / APP, "settings", params)["properties"]
    assert isinstance(properties, dict), properties
    return properties


def _bicep(root: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((root / "infra").rglob("*.bicep")))


def _each(names: Iterable[str], text: str) -> Iterator[str]:
    return (text.format(name) for name in sorted(names))


# --- what the code says ------------------------------------------------------------------------------------


class _Recording(Mapping[str, str]):
    """An environment that knows what it was asked for."""

    def __init__(self, values: Mapping[str, str], asked: set[str]) -> None:
        self._values, self._asked = values, asked

    def __getitem__(self, name: str) -> str:
        self._asked.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("who reads all settings cannot be held to a list of them")

    def __len__(self) -> int:
        return len(self._values)


def settings_read() -> set[str]:
    """What the composed app asks its environment for, in one environment for each way that it can go."""
    asked: set[str] = set()
    custom = {
        "HUBWARDEN_CLOUD": "custom",
        "HUBWARDEN_ARM_ENDPOINT": "https://arm.example",
        "HUBWARDEN_ARM_AUDIENCE": "https://arm.example",
        "HUBWARDEN_AUTHORITY": "https://login.example",
    }
    uris = {f"AzureWebJobsStorage__{service}ServiceUri": "https://s" for service in ("blob", "queue", "table")}
    for storage in ({"AzureWebJobsStorage": "a=b"}, {"AzureWebJobsStorage__accountName": "a"}, uris):
        for more in ({}, custom, {"WEBSITE_HOSTNAME": "app.example"}):
            Hubwarden(_Recording({**storage, **more}, asked))
    return asked


def settings_spelled() -> frozenset[str]:
    """Names of settings that stand as literals where settings are read; what was never asked for is among them."""
    return _literals("hubwarden", _OURS) - _literals("hubwarden/domain", _OURS)


def names_spelled() -> frozenset[str]:
    """Names of tables, queues and containers that stand as literals in the adapters."""
    return _literals("hubwarden/adapters", re.compile(r"hubwarden-?[a-z]+"))


def _literals(folder: str, pattern: re.Pattern[str]) -> frozenset[str]:
    return frozenset(
        node.value
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and pattern.fullmatch(node.value)
    )


def _modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(hubwarden.adapters.__path__, "hubwarden.adapters."):
        yield importlib.import_module(found.name)


_INDEX: Final = """
import asyncio, json, sys
from pathlib import Path
from local.functions_host.runtime import load_app
print(json.dumps({f.name: [dict(b) for b in f.bindings] for f in asyncio.run(load_app(Path(sys.argv[1])))}))
"""


def _functions() -> dict[str, list[Mapping[str, Any]]]:
    """In a process of its own: an app can be indexed once."""
    done = subprocess.run(
        [sys.executable, "-c", _INDEX, str(ROOT)],
        cwd=ROOT,
        env={"AzureWebJobsStorage": "UseDevelopmentStorage=true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    functions: dict[str, list[Mapping[str, Any]]] = json.loads(done.stdout.splitlines()[-1])
    return functions
