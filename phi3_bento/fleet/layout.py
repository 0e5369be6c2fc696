"""How a fleet is laid out on this machine: ports, cores and memory of each replica."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from phi3_bento.errors import StartFailure

GIB = 2**30
ROUTER_METRICS_OFFSET = 100
REDIS_OFFSET = 101
"""The first of two: limits, then answers."""
MAX_REPLICAS = 64
MEMORY_SHARE = 0.95
"""Of the machine's memory that replicas may plan with."""


@dataclass(frozen=True, slots=True)
class Place:
    """What one replica may use."""

    number: int
    """From 1."""
    port: int
    cores: tuple[int, ...]
    memory_bytes: int

    @property
    def url(self) -> str:
        """Where the router, and an operator on this machine, reach the replica."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class Layout:
    """A fleet on one machine."""

    port: int
    """Of the router."""
    directory: Path
    """Logs, the control socket, the key."""
    places: tuple[Place, ...]
    """One for each replica that there may ever be."""
    start: int
    """How many of them are filled at the start, from the first on."""

    @property
    def url(self) -> str:
        """The address of the fleet."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def router_metrics_port(self) -> int:
        """The router's own Prometheus metrics."""
        return self.port + ROUTER_METRICS_OFFSET

    @property
    def redis_port(self) -> int:
        """Of the Redis that belongs to the fleet, where it has its own."""
        return self.port + REDIS_OFFSET


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to be shared."""

    cores: Sequence[int]
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator asks for."""

    replicas: int
    """To start with."""
    max_replicas: int
    """Places that the machine is divided into."""
    memory_bytes: int
    """For each replica."""
    is_memory_given: bool
    """Somebody asked for so much; else it is less where the machine has less."""


def lay_out(machine: Machine, *, port: int, directory: Path, wish: Wish) -> Layout:
    """Divide the machine.

    Raises `StartFailure` for more replicas than there are cores, memory or ports.
    """
    replicas, max_replicas = wish.replicas, wish.max_replicas
    if not 1 <= replicas <= max_replicas <= MAX_REPLICAS:
        raise StartFailure(
            f"A fleet has from 1 to {MAX_REPLICAS} replicas, and --max-replicas is not below "
            "--replicas."
        )
    if max_replicas > len(machine.cores):
        raise StartFailure(
            f"{max_replicas} replicas need a core each, and this process may use "
            f"{len(machine.cores)}. Start fewer replicas, or spread them over machines "
            "(docs/load-balancing.md)."
        )
    if port + REDIS_OFFSET + 1 > 65535:
        raise StartFailure(f"PHI3_PORT={port} leaves no room for the ports after it.")
    memory = _memory_of_each(machine, wish)
    shares = _divide(machine.cores, max_replicas)
    places = tuple(
        Place(number, port + number, cores, memory) for number, cores in enumerate(shares, start=1)
    )
    return Layout(port, directory, places, replicas)


def _memory_of_each(machine: Machine, wish: Wish) -> int:
    count, wanted = wish.max_replicas, wish.memory_bytes
    usable = int(machine.memory_bytes * MEMORY_SHARE)
    if not wish.is_memory_given:
        return min(wanted, usable // count)
    if wanted * count > usable:
        raise StartFailure(
            f"{count} replicas of {wanted / GIB:.1f} GiB need {wanted * count / GIB:.1f} GiB, and "
            f"{usable / GIB:.1f} GiB of this machine's memory may be planned with. Start fewer, or "
            "lower PHI3_MEMORY."
        )
    return wanted


def _divide(cores: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """Neighbours together, in parts that differ by one core at most."""
    size, rest = divmod(len(cores), count)
    parts, begin = [], 0
    for index in range(count):
        end = begin + size + (index < rest)
        parts.append(tuple(cores[begin:end]))
        begin = end
    return parts
