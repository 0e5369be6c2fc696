"""Time for what is under way to come to rest."""

import asyncio


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)
