"""Sleeping that can be cut short."""

import asyncio


async def elapsed(seconds: float, unless: asyncio.Event) -> bool:
    """Wait; return True when the time is over, False as soon as the event is set."""
    try:
        async with asyncio.timeout(seconds):
            await unless.wait()
    except TimeoutError:
        return True
    return False
