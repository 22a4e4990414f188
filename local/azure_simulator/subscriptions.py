"""Subscriptions, api-version 2022-12-01: those that something lies in, and those that were given a state.

No recording shows them; the bodies are those of the documentation.
"""

from local.azure_simulator.errors import AzureError, arm_error
from local.azure_simulator.paging import page
from local.azure_simulator.state import State
from local.azure_simulator.wire import Call, Json, Reply


READ = "Microsoft.Resources/subscriptions/read"
STATES = ("Enabled", "Warned", "PastDue", "Disabled", "Deleted")


class Subscriptions:
    """Reading the subscriptions of a `State`."""

    def __init__(self, state: State) -> None:
        self._state = state

    def list(self, call: Call) -> Reply:
        """GET the subscriptions that the caller may read: an empty list where there are none, never a 403."""
        visible = [
            subscription(call, one, state)
            for one, state in sorted(self._state.subscriptions().items())
            if self._state.access.allows(call.caller, READ, f"/subscriptions/{one}")
        ]
        answer = page(call, visible, self._state.config.page_size, self._state.base_url)
        return Reply(200, answer | {"count": {"type": "Total", "value": len(visible)}})

    def get(self, call: Call) -> Reply:
        """GET one subscription."""
        asked = call.params["sub"]
        state = self._state.subscriptions().get(asked.lower())
        if state is None:
            raise subscription_not_found(asked)
        return Reply(200, subscription(call, asked.lower(), state))


def subscription(call: Call, subscription_id: str, state: str) -> Json:
    """The body of a subscription."""
    return {
        "id": f"/subscriptions/{subscription_id}",
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionId": subscription_id,
        "tenantId": call.caller.tenant,
        "displayName": f"Subscription {subscription_id}",
        "state": state,
        "subscriptionPolicies": {
            "locationPlacementId": "Public_2014-09-01",
            "quotaId": "PayAsYouGo_2014-09-01",
            "spendingLimit": "Off",
        },
    }


def subscription_not_found(subscription_id: str) -> AzureError:
    """The gateway's 404 for a subscription that it does not know."""
    return arm_error(404, "SubscriptionNotFound", f"The subscription '{subscription_id}' could not be found.")
