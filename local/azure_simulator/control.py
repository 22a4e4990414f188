"""The control API under `/_control/`: JSON in, JSON out, no token; one line for each method of the simulator."""

from __future__ import annotations

import dataclasses
import inspect
import json

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from local.azure_simulator.delivery import HandshakeError
from local.azure_simulator.errors import AzureError
from local.azure_simulator.seed import plant


if TYPE_CHECKING:
    from local.azure_simulator.simulator import AzureSimulator


type Json = dict[str, Any]
type Operation = Callable[[AzureSimulator, Json], Any]

CONTROL: dict[tuple[str, str], Operation] = {
    ("GET", "health"): lambda sim, _: {"url": sim.url},
    ("POST", "settings"): lambda sim, args: dataclasses.asdict(sim.configure(**args)),
    ("POST", "reset"): lambda sim, _: sim.reset(),
    ("POST", "seed"): plant,
    ("GET", "hubs"): lambda sim, _: sim.hub_ids(),
    ("POST", "hubs"): lambda sim, args: sim.add_hub(args["body"], policies=args.get("policies")),
    ("DELETE", "hubs"): lambda sim, args: sim.remove_hub(args["id"]),
    ("GET", "hub"): lambda sim, args: sim.hub(args["id"]),
    ("GET", "destinations"): lambda sim, _: sim.destinations(),
    ("POST", "destinations"): lambda sim, args: sim.add_destination(**args),
    ("DELETE", "destinations"): lambda sim, args: sim.remove_destination(**args),
    ("GET", "diagnostic-settings"): lambda sim, args: sim.diagnostic_settings(**args),
    ("POST", "diagnostic-settings"): lambda sim, args: sim.add_diagnostic_setting(**args),
    ("DELETE", "diagnostic-settings"): lambda sim, args: sim.remove_diagnostic_setting(**args),
    ("GET", "security-solutions"): lambda sim, _: sim.security_solutions(),
    ("POST", "security-solutions"): lambda sim, args: sim.add_security_solution(args["body"]),
    ("DELETE", "security-solutions"): lambda sim, args: sim.remove_security_solution(args["id"]),
    ("GET", "devices"): lambda sim, args: sim.device_count(**args),
    ("POST", "devices"): lambda sim, args: sim.add_devices(**args),
    ("PATCH", "devices"): lambda sim, args: sim.change_device(**args),
    ("DELETE", "devices"): lambda sim, args: sim.remove_device(**args),
    ("POST", "modules"): lambda sim, args: sim.add_module(**args),
    ("DELETE", "modules"): lambda sim, args: sim.remove_module(**args),
    ("POST", "resource-groups"): lambda sim, args: sim.add_resource_group(**args),
    ("POST", "subscriptions"): lambda sim, args: sim.set_subscription(**args),
    ("POST", "finish-transitions"): lambda sim, _: sim.finish_transitions(),
    ("POST", "principals"): lambda sim, args: dataclasses.asdict(sim.add_principal(**args)),
    ("POST", "tokens"): lambda sim, args: sim.issue_token(**args),
    ("GET", "locks"): lambda sim, _: [dataclasses.asdict(lock) for lock in sim.state.locks.all()],
    ("POST", "locks"): lambda sim, args: sim.add_lock(**args),
    ("DELETE", "locks"): lambda sim, args: sim.remove_lock(**args),
    ("GET", "denials"): lambda sim, _: [dataclasses.asdict(denial) for denial in sim.state.access.denials],
    ("POST", "denials"): lambda sim, args: sim.deny(**args),
    ("DELETE", "denials"): lambda sim, args: sim.allow(**args),
    ("POST", "grants"): lambda sim, args: sim.grant(**args),
    ("DELETE", "grants"): lambda sim, args: sim.revoke(**args),
    ("GET", "faults"): lambda sim, _: sim.faults(),
    ("POST", "faults"): lambda sim, args: sim.fail(**args),
    ("DELETE", "faults"): lambda sim, args: sim.clear_faults(**{name: int(value) for name, value in args.items()}),
    ("GET", "requests"): lambda sim, args: sim.requests(bodies=args.get("bodies") == "1"),
    ("DELETE", "requests"): lambda sim, _: sim.clear_requests(),
    ("POST", "subscribers"): lambda sim, args: sim.subscribe(**args),
    ("DELETE", "subscribers"): lambda sim, args: sim.unsubscribe(**args),
    ("POST", "event-mode"): lambda sim, args: sim.event_mode(**args),
    ("POST", "release-events"): lambda sim, args: sim.release_events(**args),
    ("GET", "events"): lambda sim, _: sim.events(),
    ("GET", "deliveries"): lambda sim, _: sim.deliveries(),
    ("GET", "dead-letters"): lambda sim, _: sim.dead_letters(),
}
"""Method and path to what it does. Arguments come from a JSON object in the body, or from the query."""


class Control:
    """The control API of one simulator."""

    def __init__(self, simulator: AzureSimulator) -> None:
        self._simulator = simulator

    async def handle(self, request: web.Request) -> web.Response:
        """Do what was asked: 200 with the result, 400 with the reason, 404 for an unknown path or hub."""
        operation = CONTROL.get((request.method, request.match_info["tail"].strip("/")))
        if operation is None:
            known = sorted(f"{method} {path}" for method, path in CONTROL)
            return problem(404, f"unknown control operation, allowed: {', '.join(known)}")
        try:
            result = operation(self._simulator, await arguments(request))
            if inspect.isawaitable(result):
                result = await result
        except KeyError as error:
            return problem(404, f"missing or unknown: {error}")
        except (ValueError, TypeError, AttributeError, HandshakeError, AzureError) as error:
            return problem(400, f"{type(error).__name__}: {error}")
        return web.json_response(result)


async def arguments(request: web.Request) -> Json:
    """The arguments of a control request."""
    raw = await request.read()
    body = json.loads(raw) if raw else {}
    if not isinstance(body, dict):
        raise TypeError("the body must be a JSON object")
    return {**request.query, **body}


def problem(status: int, message: str) -> web.Response:
    """A refusal of the control API."""
    return web.json_response({"error": message}, status=status)
