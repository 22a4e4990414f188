"""The simulator as a Python object; the control API is a thin layer over the same methods."""

import dataclasses
import tempfile

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from local.azure_simulator.access import Denial, Grant
from local.azure_simulator.config import FIXED, SimulatorConfig
from local.azure_simulator.control import Control
from local.azure_simulator.dataplane import PREFIX
from local.azure_simulator.delivery import EventGrid, EventMode, Order, Subscriber
from local.azure_simulator.events import Schema, Topic, resource_event
from local.azure_simulator.faults import Fault
from local.azure_simulator.hub import HubPath
from local.azure_simulator.locks import Lock, normal
from local.azure_simulator.principals import Principal, make_principal
from local.azure_simulator.providers import Providers
from local.azure_simulator.server import MAX_BODY, Front, loopback_tls
from local.azure_simulator.state import State
from local.azure_simulator.subscriptions import STATES
from local.azure_simulator.wire import Call, Json


class AzureSimulator(Providers):
    """A running simulator: `async with AzureSimulator(SimulatorConfig(...)) as sim: ...`.

    All methods belong to the event loop that entered it.

    Attributes:
        url: Base of ARM, Entra ID (`authority`) and the token audience: one port serves all.
        ca_file: PEM of the CA that signed the server's certificate.
        state: All that the simulator knows.
        event_grid: What publishes and delivers events.
    """

    def __init__(self, config: SimulatorConfig | None = None) -> None:
        config = config or SimulatorConfig()
        self.state: State = State(config, self._publish)
        self.event_grid = EventGrid(config)
        self.url: str = ""
        self.ca_file = ""
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        config = self.state.config
        if config.ca_dir is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="azure-simulator-")
        directory = Path(config.ca_dir or (self._temporary.name if self._temporary else "."))
        context, ca_file = loopback_tls(directory, config.host)
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, config.host, config.port, ssl_context=context)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = self.state.base_url = self.state.entra.base_url = f"https://{config.host}:{port}"
        self.ca_file = str(ca_file)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.state.operations.cancel_all()
        await self.event_grid.close()
        if self._runner:
            await self._runner.cleanup()
        if self._temporary:
            self._temporary.cleanup()

    @property
    def authority(self) -> str:
        """The `authority` for azure-identity."""
        return self.url

    @property
    def audience(self) -> str:
        """What ARM wants in the `aud` of a token; the scope is this and `/.default`."""
        return self.url

    @property
    def identity_environment(self) -> dict[str, str]:
        """The environment in which an app finds its managed identity, as in App Service."""
        identities = self.state.identities
        return {"IDENTITY_ENDPOINT": identities.endpoint, "IDENTITY_HEADER": identities.header}

    @property
    def data_plane(self) -> str:
        """Where the data plane of a hub is: a template with `{hostName}`, the hub's own host name."""
        return f"{self.url}{PREFIX}{{hostName}}"

    @property
    def control_url(self) -> str:
        """Base of the control API."""
        return f"{self.url}/_control"

    def configure(self, **changes: Any) -> SimulatorConfig:
        """Change settings while running; ValueError for one that is unknown or fixed."""
        names = {field.name for field in dataclasses.fields(SimulatorConfig)} - FIXED
        wrong = set(changes) - names
        if wrong:
            raise ValueError(f"cannot set {sorted(wrong)}, allowed: {sorted(names)}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()
        }
        self.state.config = self.event_grid.config = dataclasses.replace(self.state.config, **values)
        self.state.entra.token_seconds = self.state.config.token_seconds
        if values.keys() & {"reads", "writes", "deletes"}:
            self.state.throttle.reset()
        return self.state.config

    def add_hub(self, body: Mapping[str, Any], *, policies: Iterable[Mapping[str, Any]] | None = None) -> str:
        """Store a hub as if it had always been there; its id.

        Only `id` is needed. `policies` (or `properties.authorizationPolicies`) replace the five default ones.
        """
        hub = self.state.factory.seeded(body, policies)
        self.state.add_hub(hub)
        return str(hub.body["id"])

    def hub(self, hub_id: str) -> Json:
        """A hub as stored: `{"body", "policies", "state"}`, keys in clear; KeyError if there is none."""
        return self.state.hubs[HubPath.of(hub_id).key].raw()

    def hub_ids(self) -> list[str]:
        """The ids of all hubs, oldest first."""
        return [str(hub.body["id"]) for hub in self.state.hubs.values()]

    def remove_hub(self, hub_id: str) -> None:
        """Forget a hub at once, without an event."""
        self.state.forget_hub(HubPath.of(hub_id).key)

    def add_resource_group(self, subscription: str, name: str) -> None:
        """Make a resource group exist; hubs bring their own."""
        self.state.add_group(subscription, name)

    def set_subscription(self, subscription: str, state: str = "Enabled") -> None:
        """Make a subscription exist, in this state; what lies in it works on in any."""
        if state not in STATES:
            raise ValueError(f"unknown state: {state!r}, allowed: {STATES}")
        self.state.set_subscription(subscription, state)

    def finish_transitions(self) -> None:
        """Let all running PUTs and DELETEs be done now."""
        self.state.operations.finish_all()

    def add_principal(
        self,
        client_id: str,
        secret: str = "",
        *,
        oid: str | None = None,
        name: str | None = None,
        upn: str | None = None,
        managed_identity: bool = False,
    ) -> Principal:
        """Register who may get tokens; with `upn` it is a person, and a managed identity has no secret."""
        principal = make_principal(
            client_id, secret, oid=oid, name=name, upn=upn, managed_identity=managed_identity
        )
        self.state.entra.register(principal)
        return principal

    def issue_token(self, client_id: str, *, expires_in: float | None = None, audience: str | None = None) -> str:
        """A token of a registered principal, without the token endpoint."""
        principal = self.state.entra.principals[client_id.lower()]
        return self.state.entra.issue(principal, audience=audience or self.audience, expires_in=expires_in)

    def add_lock(self, scope: str, level: str, *, name: str = "lock", notes: str | None = None) -> None:
        """Lock a scope: `ReadOnly` or `CanNotDelete`."""
        self.state.locks.add(Lock(normal(scope), name, level, notes))

    def remove_lock(self, scope: str, *, name: str = "lock") -> bool:
        """Take a lock off; False if there was none."""
        return self.state.locks.remove(scope, name)

    def deny(self, action: str, scope: str, *, principal: str = "*") -> None:
        """Forbid an action (`*` matches) on a scope and below, to one client or object id or to all."""
        self.state.access.denials.append(Denial(principal, action, scope))

    def allow(self, action: str | None = None) -> None:
        """Lift the denials of this action, or all."""
        kept = [
            denial for denial in self.state.access.denials if action and denial.action.lower() != action.lower()
        ]
        self.state.access.denials = kept

    def grant(
        self, principal: str, scope: str, *, actions: Sequence[str] = (), data_actions: Sequence[str] = ()
    ) -> None:
        """Give a client or object id a role on a scope and below; then it may do only what its roles allow."""
        self.state.access.grants.append(Grant(principal, scope, tuple(actions), tuple(data_actions)))

    def revoke(self, principal: str) -> None:
        """Take all its roles away; then it may do everything again."""
        kept = [grant for grant in self.state.access.grants if grant.principal.lower() != principal.lower()]
        self.state.access.grants = kept

    def fail(self, method: str = "*", path: str = "", **options: Any) -> int:
        """Put a fault in force (see `faults.Fault` for the options); its number."""
        return self.state.faults.add(Fault(method=method, path=path, **options))

    def faults(self) -> list[Json]:
        """All faults with what is left of them and how often they hit."""
        return [fault.view() for fault in self.state.faults.all]

    def clear_faults(self, fault_id: int | None = None) -> None:
        """Lift one fault, or all."""
        self.state.faults.clear(fault_id)

    def requests(self, *, bodies: bool = False) -> list[Json]:
        """The request log, with the bodies of hub PUTs on demand."""
        return self.state.requests.views(bodies=bodies)

    def clear_requests(self) -> None:
        """Empty the request log."""
        self.state.requests.clear()

    async def subscribe(
        self,
        url: str,
        *,
        name: str = "subscriber",
        schema: Schema = "EventGridSchema",
        as_strings: bool = False,
        headers: Mapping[str, str] | None = None,
        event_types: Iterable[str] = (),
        topic: Topic = "arm",
        dead_letter_storage: str = "",
        dead_letter_container: str = "deadletters",
        validate: bool = True,
    ) -> None:
        """Send the events of a topic to a webhook; HandshakeError if it does not answer the validation."""
        subscriber = Subscriber(
            url,
            name,
            schema,
            as_strings,
            dict(headers or {}),
            tuple(event_types),
            topic,
            dead_letter_storage,
            dead_letter_container,
        )
        await self.event_grid.subscribe(subscriber, validate=validate)

    def unsubscribe(self, name: str = "subscriber") -> None:
        """End a subscription."""
        self.event_grid.subscribers.pop(name, None)

    def event_mode(
        self,
        *,
        lose: int | None = 0,
        duplicate: int = 0,
        hold: bool = False,
        delay: float = 0.0,
    ) -> None:
        """Set what happens to events from now on; without arguments: nothing special. `lose=None` loses all."""
        self.event_grid.mode = EventMode(lose, duplicate, hold, delay)

    def release_events(self, order: Order = "as_published", *, seed: int = 1) -> int:
        """Send the held events in this order; how many there were."""
        return self.event_grid.release(order, seed)

    def events(self) -> list[Json]:
        """All published events: `{"event", "fate": "sent" | "lost" | "held"}`."""
        return list(self.event_grid.published)

    def deliveries(self) -> list[Json]:
        """All attempts: `{"id", "subscriber", "attempt", "outcome"}`; outcome is a status or an error name."""
        return list(self.event_grid.deliveries)

    def dead_letters(self) -> list[Json]:
        """Events that were given up: `{"event", "subscriber", "outcome", "attempts"}`."""
        return list(self.event_grid.dead_letters)

    def reset(self) -> None:
        """Forget all but settings and principals."""
        self.state.reset()
        self.event_grid.reset()

    def _publish(self, kind: str, scope: str, action: str, call: Call) -> None:
        self.event_grid.publish(resource_event(kind, scope, action, call))

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=MAX_BODY)
        application.router.add_route("*", "/_control/{tail:.*}", Control(self).handle)
        application.router.add_route("*", "/{tail:.*}", Front(self.state).handle)
        return application
