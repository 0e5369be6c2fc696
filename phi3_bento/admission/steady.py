"""Unix time that nobody sets: this machine's when the process began, and monotonic from then on.

A clock that is set back would lock a key out for as long, one that is set forward would free it.
"""

import time

_BEGAN_AT = time.time() - time.monotonic()


def steady_time() -> float:
    """Seconds; differs from the machine's clock by what that was set since the process began."""
    return _BEGAN_AT + time.monotonic()
