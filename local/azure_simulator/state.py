"""Everything that one simulator knows."""

from collections.abc import Callable

from local.azure_simulator.access import AccessControl
from local.azure_simulator.config import SimulatorConfig
from local.azure_simulator.destinations import Destination
from local.azure_simulator.devices import Registry
from local.azure_simulator.entra import Entra
from local.azure_simulator.faults import Faults
from local.azure_simulator.hub import Hub, HubFactory
from local.azure_simulator.keys import KeyMaker
from local.azure_simulator.locks import Locks
from local.azure_simulator.managed_identity import ManagedIdentities
from local.azure_simulator.operations import Operations
from local.azure_simulator.requestlog import RequestLog
from local.azure_simulator.throttle import Throttle
from local.azure_simulator.wire import Call, Json


type Publish = Callable[[str, str, str, Call], None]
"""`publish(kind, scope, action, call)`, with kind one of Write, Delete, Action."""


class State:
    """Hubs and what hangs on them, locks, denials, tokens, operations, faults and the log.

    Used from one event loop only. Keys of resources are their ids in lower case.

    Attributes:
        settings: The diagnostic settings of each hub, by the lower-case name.
        registries: The devices of each hub that was given some.
        destinations: Where diagnostic settings can send to.
        solutions: IoT security solutions.
    """

    def __init__(self, config: SimulatorConfig, publish: Publish) -> None:
        self.config = config
        self.publish = publish
        self.base_url = ""
        self.entra = Entra(config.token_seconds)
        self.identities = ManagedIdentities(self.entra)
        self.factory = HubFactory(KeyMaker(config.seed))
        self.access = AccessControl()
        self.locks = Locks()
        self.throttle = Throttle()
        self.operations = Operations()
        self.faults = Faults()
        self.requests = RequestLog()
        self.hubs: dict[str, Hub] = {}
        self.deleted_at: dict[str, float] = {}
        self.settings: dict[str, dict[str, Json]] = {}
        self.registries: dict[str, Registry] = {}
        self.destinations: dict[str, Destination] = {}
        self.solutions: dict[str, Json] = {}
        self._hosts: dict[str, Hub] = {}
        self._groups: set[tuple[str, str]] = set()
        self._subscription_states: dict[str, str] = {}

    def add_hub(self, hub: Hub) -> None:
        """Store the hub in place of one with its id, and its resource group with it."""
        self.hubs[hub.path.key] = hub
        self._hosts[hub.host] = hub
        self.deleted_at.pop(hub.path.key, None)
        self.add_group(hub.path.subscription, hub.path.resource_group)

    def forget_hub(self, key: str) -> None:
        """Remove the hub with its diagnostic settings and devices."""
        hub = self.hubs.pop(key, None)
        if hub is not None and self._hosts.get(hub.host) is hub:
            del self._hosts[hub.host]
        self.settings.pop(key, None)
        self.registries.pop(key, None)

    def hub_at(self, host: str) -> Hub | None:
        """The hub with this host name, in any casing."""
        return self._hosts.get(host.lower())

    def add_group(self, subscription: str, group: str) -> None:
        """Make a resource group exist."""
        self._groups.add((subscription.lower(), group.lower()))

    def has_group(self, subscription: str, group: str) -> bool:
        """Whether the resource group exists."""
        return (subscription.lower(), group.lower()) in self._groups

    def subscriptions(self) -> dict[str, str]:
        """The state of each subscription: Enabled, unless it was given another."""
        return {subscription: "Enabled" for subscription, _ in self._groups} | self._subscription_states

    def set_subscription(self, subscription: str, state: str) -> None:
        """Make a subscription exist, in this state."""
        self._subscription_states[subscription.lower()] = state

    def hubs_of(self, subscription: str, group: str | None) -> list[Hub]:
        """The hubs of a subscription or of one of its resource groups, oldest first."""
        within = f"/subscriptions/{subscription}/" + (f"resourceGroups/{group}/" if group is not None else "")
        return [hub for key, hub in self.hubs.items() if key.startswith(within.lower())]

    def reset(self) -> None:
        """Forget all but the settings and the principals."""
        self.operations.cancel_all()
        self.hubs.clear()
        self.deleted_at.clear()
        self.settings.clear()
        self.registries.clear()
        self.destinations.clear()
        self.solutions.clear()
        self._hosts.clear()
        self._groups.clear()
        self._subscription_states.clear()
        self.locks.clear()
        self.access.denials.clear()
        self.access.grants.clear()
        self.throttle.reset()
        self.faults.clear()
        self.requests.clear()
