"""When requests start: times drawn in advance, which no slow answer can move."""

from collections.abc import Iterator
from itertools import count, takewhile
from random import Random


def constant(rate: float, seconds: float) -> Iterator[float]:
    """`rate` times a second at equal distances, in seconds from the start, ascending."""
    times = (number / rate for number in count())
    return takewhile(lambda at_s: at_s < seconds, times)


def poisson(rate: float, seconds: float, random: Random) -> Iterator[float]:
    """`rate` times a second on average, as independent users come, ascending."""
    at_s = random.expovariate(rate)
    while at_s < seconds:
        yield at_s
        at_s += random.expovariate(rate)


def volleys(every_s: float, seconds: float) -> Iterator[float]:
    """The starts of all volleys that have `every_s` for themselves; at least one."""
    for number in range(max(1, int(seconds / every_s))):
        yield number * every_s
