"""The cache in this process: what saves the most engine time for the memory that it takes.

Out goes what saves least: GreedyDual-Size-Frequency (Cherkasova, "Improving WWW Proxies Performance
with Greedy-Dual-Size-Frequency Caching Policy", HP Laboratories, 1998). Every entry has the
priority floor + hits x engine milliseconds / bytes. The floor is the priority of what went out
last, so that what was useful once grows old.

In comes only what was asked for more often lately than each entry that it would push out: TinyLFU
(Einziger, Friedman and Manes, ACM Transactions on Storage, 2017). A million answers that are asked
for once leave the others where they are.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from phi3_bento.cache.entry import Entry
from phi3_bento.cache.sketch import FrequencySketch

_SLACK = 64
"""Records of entries that are gone, beside as many as there are entries, that a heap may hold."""


@dataclass(slots=True)
class _Slot:
    key: str
    entry: Entry
    scope: str
    hits: int
    priority: float
    number: int
    """Tells this slot from an earlier one of the same key."""

    @property
    def ends_at(self) -> float:
        return self.entry.created_at + self.entry.ttl_s


class MemoryCache:
    """Entries by key, never more than `cap_bytes` of them. Times are Unix time in seconds.

    Each operation takes O(log n), and O(log n) for each entry that goes out; `clear` O(n).
    """

    def __init__(self, cap_bytes: int) -> None:
        self.cap_bytes = cap_bytes
        self._bytes_used = 0
        self._slots: dict[str, _Slot] = {}
        self._by_priority = _Ranking(self._slots, lambda slot: slot.priority)
        self._by_end = _Ranking(self._slots, lambda slot: slot.ends_at)
        self._sketch = FrequencySketch()
        self._floor = 0.0
        self._numbers = 0

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: str) -> bool:
        """An entry is there, fresh or not; does not count as asked for."""
        return key in self._slots

    @property
    def bytes_used(self) -> int:
        """The sizes of all entries together; never above the cap."""
        return self._bytes_used

    def get(self, key: str, now: float) -> Entry | None:
        """The entry of `key`, if it is fresh; counts as asked for, whether it is there or not."""
        self._sketch.add(key)
        slot = self._slots.get(key)
        if slot is None:
            return None
        if not slot.entry.is_fresh(now):
            self._remove(slot)
            return None
        slot.hits += 1
        slot.priority = self._priority_of(slot.entry, slot.hits)
        return slot.entry

    def peek(self, key: str) -> Entry | None:
        """The entry of `key`, fresh or not; does not count as asked for."""
        slot = self._slots.get(key)
        return None if slot is None else slot.entry

    def remove(self, key: str) -> None:
        """Forget one key."""
        if key in self._slots:
            self._remove(self._slots[key])

    def give_up(self, size_bytes: int) -> None:
        """Leave a part of the cap to somebody else. Only while nothing is kept."""
        assert not self._slots
        self.cap_bytes -= size_bytes

    def put(self, key: str, entry: Entry, scope: str, now: float) -> None:
        """Keep `entry` if it deserves its place; in any case what `key` had before is gone."""
        hits = 1
        earlier = self._slots.get(key)
        if earlier is not None:
            hits = earlier.hits
            self._remove(earlier)
        if not entry.is_fresh(now) or not self._make_room(key, entry.size_bytes, now):
            return
        self._numbers += 1
        priority = self._priority_of(entry, hits)
        slot = _Slot(key, entry, sys.intern(scope), hits, priority, self._numbers)
        self._slots[key] = slot
        self._bytes_used += entry.size_bytes
        self._by_priority.add(slot)
        self._by_end.add(slot)

    def clear(self, scope: str | None) -> int:
        """Forget the entries of a scope, or all (None); returns how many there were."""
        slots = [slot for slot in self._slots.values() if scope in (None, slot.scope)]
        for slot in slots:
            self._remove(slot)
        return len(slots)

    def _priority_of(self, entry: Entry, hits: int) -> float:
        return self._floor + hits * max(entry.engine_ms, 0.0) / entry.size_bytes

    def _make_room(self, key: str, size_bytes: int, now: float) -> bool:
        """Have `size_bytes` free; False: `key` does not deserve them, and nothing has changed."""
        if size_bytes > self.cap_bytes:
            return False
        while (over := self._by_end.least()) is not None and not over.entry.is_fresh(now):
            self._remove(over)
        needed = self._bytes_used + size_bytes - self.cap_bytes
        if needed <= 0:
            return True
        asked = self._sketch.estimate(key)
        victims: list[_Slot] = []
        while needed > 0 and (victim := self._by_priority.take_least()) is not None:
            victims.append(victim)
            if self._sketch.estimate(victim.key) >= asked:
                for spared in victims:
                    self._by_priority.add(spared)
                return False
            needed -= victim.entry.size_bytes
        for victim in victims:
            self._floor = max(self._floor, victim.priority)
            self._remove(victim)
        return True

    def _remove(self, slot: _Slot) -> None:
        del self._slots[slot.key]
        self._bytes_used -= slot.entry.size_bytes


class _Ranking:
    """The slots by a rank that never falls, the least first.

    A record is put right when it comes to the top: its slot may be gone, or rank higher by now.
    Records hold no slots, for those would keep the bodies of entries that are gone.
    """

    def __init__(self, slots: dict[str, _Slot], rank: Callable[[_Slot], float]) -> None:
        self._slots = slots
        self._rank = rank
        self._heap: list[tuple[float, int, str]] = []

    def add(self, slot: _Slot) -> None:
        if len(self._heap) > 2 * len(self._slots) + _SLACK:
            self._heap = [record for record in self._heap if self._slot_of(record) is not None]
            heapify(self._heap)
        heappush(self._heap, (self._rank(slot), slot.number, slot.key))

    def least(self) -> _Slot | None:
        """The slot of the least rank; None: there is none."""
        while self._heap:
            record = self._heap[0]
            slot = self._slot_of(record)
            if slot is None:
                heappop(self._heap)
            elif self._rank(slot) > record[0]:
                heappop(self._heap)
                heappush(self._heap, (self._rank(slot), slot.number, slot.key))
            else:
                return slot
        return None

    def take_least(self) -> _Slot | None:
        """As `least`; the slot is no longer ranked."""
        slot = self.least()
        if slot is not None:
            heappop(self._heap)
        return slot

    def _slot_of(self, record: tuple[float, int, str]) -> _Slot | None:
        slot = self._slots.get(record[2])
        return slot if slot is not None and slot.number == record[1] else None
