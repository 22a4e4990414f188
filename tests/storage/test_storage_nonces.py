"""What may be used once is used once, also by many at the same time; and it is forgotten one day."""

from __future__ import annotations

import asyncio

from datetime import timedelta

from hubwarden.adapters.storage.nonces import TableNonces


async def test_of_many_uses_at_once_one_is_the_first(account, clock):
    nonces, until = TableNonces(account), clock.now() + timedelta(minutes=10)
    assert await nonces.first_use("0" * 64, until)
    uses = await asyncio.gather(*(nonces.first_use("a" * 64, until) for _ in range(20)))
    assert sum(uses) == 1
    assert not await nonces.first_use("a" * 64, until)
    assert await nonces.first_use("b" * 64, until)


async def test_what_is_over_is_forgotten_and_nothing_else(account, clock):
    nonces = TableNonces(account)
    await nonces.forget(clock.now())
    await nonces.first_use("c" * 64, clock.now() + timedelta(minutes=10))
    await nonces.first_use("d" * 64, clock.now() + timedelta(minutes=20))
    await nonces.forget(clock.now() + timedelta(minutes=15))
    assert await nonces.first_use("c" * 64, clock.now())
    assert not await nonces.first_use("d" * 64, clock.now())
