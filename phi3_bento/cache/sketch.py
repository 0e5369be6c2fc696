"""How often a key was asked for lately, for any number of keys in a fixed size.

A count-min sketch with conservative update (Estan and Varghese, 2002) and aging, as in TinyLFU
(Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", ACM
Transactions on Storage, 2017).
"""

_WIDTH_BITS = 16
_WIDTH = 2**_WIDTH_BITS
_MASK = _WIDTH - 1
_ROWS = 4

MAX_COUNT = 15
"""Counts end here; with the aging, what is no longer asked for is forgotten in a few periods."""

PERIOD = 2 * _WIDTH
"""Requests after which all counts are halved; as many different keys hardly disturb each other."""

_HALVED = bytes(count // 2 for count in range(256))


class FrequencySketch:
    """Estimates are never below the true count of the period, up to `MAX_COUNT`; 256 KiB."""

    def __init__(self) -> None:
        self._counts = bytearray(_ROWS * _WIDTH)
        self._left = PERIOD

    def add(self, key: str) -> None:
        """`key` was asked for once more."""
        counts, cells = self._counts, _cells(key)
        count = min([counts[cell] for cell in cells])
        if count < MAX_COUNT:
            for cell in cells:
                if counts[cell] == count:
                    counts[cell] = count + 1
        self._left -= 1
        if self._left <= 0:
            self._counts = counts.translate(_HALVED)
            self._left = PERIOD

    def estimate(self, key: str) -> int:
        """How often `key` was asked for."""
        counts = self._counts
        return min([counts[cell] for cell in _cells(key)])


def _cells(key: str) -> tuple[int, int, int, int]:
    """One cell in each row: 16 of the 64 bits of Python's keyed hash name each."""
    bits = hash(key)
    return (
        bits & _MASK,
        _WIDTH + (bits >> 16 & _MASK),
        2 * _WIDTH + (bits >> 32 & _MASK),
        3 * _WIDTH + (bits >> 48 & _MASK),
    )
