"""Microsoft.Devices/IotHubs: list, get, put, patch, delete, listkeys and operation results (RECORDINGS §2-4)."""

import base64
import time

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from local.azure_simulator.errors import (
    AzureError,
    arm_error,
    resource_group_not_found,
    resource_not_found,
    rp_error,
)
from local.azure_simulator.hub import Hub, HubPath
from local.azure_simulator.keys import CANARY
from local.azure_simulator.operations import Operation
from local.azure_simulator.paging import page
from local.azure_simulator.put_answer import put_answer
from local.azure_simulator.put_body import (
    created,
    named_properties,
    plain_location,
    replaced,
    stale_etag,
    validate,
)
from local.azure_simulator.state import State
from local.azure_simulator.wire import Call, Json, Reply


READ = "Microsoft.Devices/IotHubs/read"
WRITE = "Microsoft.Devices/IotHubs/write"
DELETE = "Microsoft.Devices/IotHubs/delete"
LIST_KEYS = "Microsoft.Devices/IotHubs/listkeys/action"
KEY = "Microsoft.Devices/IotHubs/iotHubKeys/listkeys/action"

DELETE_RETRY_AFTER = "15"


class IotHubs:
    """The provider's operations on the hubs of a `State`. The gateway has checked rights and locks before."""

    def __init__(self, state: State) -> None:
        self._state = state

    def list(self, call: Call) -> Reply:
        """GET the hubs of a subscription or resource group that the caller may read, a page at a time."""
        subscription, group = call.params["sub"], call.params.get("rg")
        if group is not None and not self._state.has_group(subscription, group):
            raise resource_group_not_found(group)
        visible = [
            hub
            for hub in self._state.hubs_of(subscription, group)
            if self._state.access.allows(call.caller, READ, hub.path.id)
        ]
        answer = page(call, visible, self._state.config.page_size, self._state.base_url)
        return Reply(200, answer | {"value": [hub.view() for hub in answer["value"]]})

    def get(self, call: Call) -> Reply:
        """GET one hub, also while it changes."""
        return Reply(200, self._existing(call).view())

    def put(self, call: Call) -> Reply:
        """PUT: always 201 and an operation, for a new hub as for a known one (RECORDINGS §3.1)."""
        path, request = path_of(call), call.body_object()
        if not self._state.has_group(path.subscription, path.resource_group):
            raise resource_group_not_found(path.resource_group)
        hub = self._state.hubs.get(path.key)
        if hub is None:
            return self._create(call, path, request)
        self._check_etags(call, request, hub)
        require_active(hub, call.api_version)
        check_location(hub, request)
        validate(request, call.api_version, self._state.config.tls_refused_locations)
        return self._update(call, hub, request)

    def patch(self, call: Call) -> Reply:
        """PATCH: tags only, done at once (RECORDINGS §3.11)."""
        hub, request = self._existing(call), call.body_object()
        require_active(hub, call.api_version)
        hub.body = hub.body | {"tags": dict(request.get("tags") or {}), "etag": self._state.factory.next_etag()}
        return Reply(200, hub.view())

    def delete(self, call: Call) -> Reply:
        """DELETE: 202 with both operation headers, 204 if there is no such hub (RECORDINGS §3.12)."""
        path = path_of(call)
        if not self._state.has_group(path.subscription, path.resource_group):
            raise resource_group_not_found(path.resource_group)
        hub = self._state.hubs.get(path.key)
        if hub is None:
            return Reply(204)
        if hub.shown_state:
            raise not_active(hub, call.api_version)
        hub.shown_state = ("Deleting", "Deleting")
        operation = self._start(hub, lambda: self._deleted(hub, call))
        url = self._operation_url(call, hub, operation)
        headers = {
            "Location": url,
            "Azure-AsyncOperation": with_asyncinfo(url),
            "Retry-After": DELETE_RETRY_AFTER,
        }
        return Reply(202, None, headers)

    def list_keys(self, call: Call) -> Reply:
        """POST listkeys: all policies with their keys."""
        return Reply(200, {"value": [dict(policy) for policy in self._existing(call).policies]})

    def get_key(self, call: Call) -> Reply:
        """POST IotHubKeys/{name}/listkeys: one policy; names compare without regard to casing."""
        hub, name = self._existing(call), call.params["key"]
        policy = next((p for p in hub.policies if p["keyName"].lower() == name.lower()), None)
        if policy is None:
            raise rp_error(404001, f"Key name '{name}' not found.", call.api_version)
        return Reply(200, dict(policy))

    def operation_result(self, call: Call) -> Reply:
        """GET an operation: its status with `asyncinfo`, else 202 until it is done and then an empty 200."""
        operation = self._state.operations.find(call.params["operation"])
        if operation is None:
            raise rp_error(404011, f"Job not found with ID '{call.params['operation']}'.", call.api_version)
        if "asyncinfo" in call.query:
            return Reply(200, {"status": operation.status})
        if operation.done:
            return Reply(200)
        return Reply(202, None, {"Location": call.url, "Retry-After": DELETE_RETRY_AFTER})

    def _create(self, call: Call, path: HubPath, request: Json) -> Reply:
        if call.headers.get("If-Match", "*") != "*" and self._state.config.enforce_if_match:
            raise stale_etag(call.api_version)
        if not request.get("location"):
            raise arm_error(400, "LocationRequired", "The location property is required for this definition.")
        validate(request, call.api_version, self._state.config.tls_refused_locations)
        hub = created(path, request, call.api_version, self._state.factory)
        hub.body["etag"] = self._state.factory.next_etag()
        hub.shown_state = ("Activating", "Activating")
        self._state.add_hub(hub)
        operation = self._start(hub, lambda: self._settled(hub, call))
        answer = put_answer(hub, hub.body, hub.policies, request, call.api_version, creating=True)
        return self._accepted(call, hub, operation, answer)

    def _update(self, call: Call, hub: Hub, request: Json) -> Reply:
        stored = replaced(hub, request, call.api_version)
        sent: Any = named_properties(request).get("authorizationPolicies")
        policies = hub.policies if sent is None else self._state.factory.policies(sent)
        answer = put_answer(hub, stored, policies, request, call.api_version, creating=False)
        hub.shown_state = ("Transitioning", "Transitioning")

        def finish() -> None:
            hub.body = stored | {"etag": self._state.factory.next_etag()}
            hub.policies = policies
            self._settled(hub, call)

        return self._accepted(call, hub, self._start(hub, finish), answer)

    def _accepted(self, call: Call, hub: Hub, operation: Operation, answer: Json) -> Reply:
        if self._state.config.publish_on_accept:
            self._state.publish("Write", hub.path.id, WRITE, call)
        url = with_asyncinfo(self._operation_url(call, hub, operation))
        return Reply(201, answer, {"Azure-AsyncOperation": url})

    def _settled(self, hub: Hub, call: Call) -> None:
        hub.shown_state = None
        self._state.publish("Write", hub.path.id, WRITE, call)

    def _deleted(self, hub: Hub, call: Call) -> None:
        if self._state.hubs.get(hub.path.key) is hub:
            self._state.forget_hub(hub.path.key)
        self._state.deleted_at[hub.path.key] = time.monotonic()
        self._state.publish("Delete", hub.path.id, DELETE, call)

    def _start(self, hub: Hub, finish: Callable[[], None]) -> Operation:
        return self._state.operations.start(location_of(hub), finish, self._state.config.transition_seconds)

    def _operation_url(self, call: Call, hub: Hub, operation: Operation) -> str:
        """The signed address of an operation: kilobytes, and as good as a key while it lives (AZURE §1)."""
        signature = base64.urlsafe_b64encode(f"{CANARY}{operation.id}".encode()).decode()
        return (
            f"{self._state.base_url}/subscriptions/{hub.path.subscription}/providers/Microsoft.Devices/locations/"
            f"{location_of(hub)}/operationResults/{operation.id}?api-version={call.api_version}&operationSource=os_ih"
            f"&t={time.time_ns()}&c={'MIIHpTCCBo2g' * 250}&s={quote(signature)}&h={quote(operation.id[:40])}"
        )

    def _existing(self, call: Call) -> Hub:
        path = path_of(call)
        hub = self._state.hubs.get(path.key)
        if hub is None:
            raise self._not_found(path, call.api_version)
        return hub

    def _not_found(self, path: HubPath, api_version: str) -> AzureError:
        """Right after a deletion the provider says it, later the gateway (RECORDINGS §5)."""
        deleted = self._state.deleted_at.get(path.key)
        if deleted is not None and time.monotonic() - deleted < self._state.config.rp_not_found_seconds:
            text = (
                f"IotHub '{path.name}' not found under ResourceGroup '{path.resource_group}' and Subscription "
                f"'{path.subscription}'."
            )
            return rp_error(404002, text, api_version)
        if not self._state.has_group(path.subscription, path.resource_group):
            return resource_group_not_found(path.resource_group)
        return resource_not_found(path.name, path.resource_group)

    def _check_etags(self, call: Call, request: Json, hub: Hub) -> None:
        if not self._state.config.enforce_if_match:
            return
        header = call.headers.get("If-Match", "*").strip('"')
        if header not in ("*", hub.etag) or request.get("etag") not in (None, hub.etag):
            raise stale_etag(call.api_version)


def path_of(call: Call) -> HubPath:
    """The hub that the call is about."""
    return HubPath(call.params["sub"], call.params["rg"], call.params["hub"])


def location_of(hub: Hub) -> str:
    """The hub's region as in operation urls."""
    return plain_location(str(hub.body["location"]))


def with_asyncinfo(url: str) -> str:
    """The address that answers with a status instead of a result."""
    return url.replace("&operationSource=os_ih", "&operationSource=os_ih&asyncinfo")


def check_location(hub: Hub, request: Json) -> None:
    """A hub cannot move."""
    asked, present = request.get("location"), str(hub.body["location"])
    if not asked:
        raise arm_error(400, "LocationRequired", "The location property is required for this definition.")
    if plain_location(str(asked)) != plain_location(present):
        raise arm_error(
            409,
            "InvalidResourceLocation",
            f"The resource '{hub.path.name}' already exists in location '{present}' in resource group "
            f"'{hub.path.resource_group}'. A resource with the same name cannot be created in location '{asked}'. "
            "Please select a new resource name.",
        )


def require_active(hub: Hub, api_version: str) -> None:
    """Writes need a hub that is Active (RECORDINGS §5, 409002)."""
    if hub.state != "Active":
        raise not_active(hub, api_version)


def not_active(hub: Hub, api_version: str) -> AzureError:
    """The provider's 409 for a hub that is busy or dead."""
    state = "is not currently in Active state. Try the request again after it is in Active state."
    return rp_error(409002, f"IotHub '{hub.path.name}' {state}", api_version)
