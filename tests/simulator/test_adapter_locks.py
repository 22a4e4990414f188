"""Locks over real connections: what ReadOnly locks are on, in one request."""

from __future__ import annotations

import pytest

from hubwarden.adapters.azure.hubs import ArmHubs
from hubwarden.service.errors import DeniedError


async def test_read_only_locks_of_the_whole_subscription_in_lower_case(hubs: ArmHubs, sim, names):
    subscription = f"/subscriptions/{names.subscription}"
    assert await hubs.read_only_scopes(names.subscription) == []
    sim.add_lock(f"{subscription}/resourceGroups/RG", "ReadOnly")
    sim.add_lock(subscription, "ReadOnly", name="all")
    sim.add_lock(f"{subscription}/resourceGroups/other", "CanNotDelete", name="soft")
    before = len(sim.requests())
    assert await hubs.read_only_scopes(names.subscription) == [
        subscription.lower(), f"{subscription}/resourcegroups/rg".lower()
    ]  # fmt: skip
    assert len(sim.requests()) == before + 1


async def test_without_the_right_it_says_which(hubs: ArmHubs, sim, names):
    sim.deny("Microsoft.Authorization/locks/read", "/")
    with pytest.raises(DeniedError) as caught:
        await hubs.read_only_scopes(names.subscription)
    assert caught.value.missing_action == "Microsoft.Authorization/locks/read"
