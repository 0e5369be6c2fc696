"""Become a command that runs on certain cores, and ends with the process that started it.

python -m phi3_bento.fleet.leash PARENT CORES COMMAND…    as in: 4711 0,1 redis-server
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""From Linux's prctl.h."""


def leashed(command: list[str], cores: tuple[int, ...]) -> list[str]:
    """The command line that runs `command` on `cores` for as long as this process lives."""
    names = ",".join(map(str, cores))
    return [sys.executable, "-m", __name__, str(os.getpid()), names, *command]


def main() -> None:
    """Put on the leash, then become the command."""
    parent, cores, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    # Survives exec: the kernel sends it even where the parent is killed without a word.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("The process that wanted this one is gone.")
    os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    os.execvp(command[0], command)  # noqa: S606  # the supervisor's own command


if __name__ == "__main__":
    main()
