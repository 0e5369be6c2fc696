"""A service ends with the process that started it: BentoML's arbiter, when that is killed."""

import asyncio
import logging
import os
import signal
import threading

CHECK_S = 0.5

logger = logging.getLogger("bentoml.phi3")


async def end_with_parent() -> None:
    """Send this process SIGTERM, which lets running answers finish, when its parent is gone.

    Only where it is a program of its own: a server in a thread, as in tests, is not.
    """
    parent = os.getppid()
    if threading.current_thread() is not threading.main_thread():
        return
    while os.getppid() == parent:  # noqa: ASYNC110  # nothing would set an event
        await asyncio.sleep(CHECK_S)
    logger.error("What started this service has ended: the service ends too.")
    os.kill(os.getpid(), signal.SIGTERM)
