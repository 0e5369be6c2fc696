"""Makes the pair sets of the semantic cache: `python -m tests.pairs.generate`.

`paraphrases.jsonl` holds pairs that may share an answer, `near_misses.jsonl` pairs that must not.
Both come from `hand.txt`, and from `templates.txt` filled with words from a seed. Guards and
threshold are tuned on the half `tune` alone; the other half, `report`, has other topics, and in
its templates other words.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
SEED = "phi3"
HALVES = ("tune", "report")
PARAPHRASES_PER_TEMPLATE = 18
NEAR_MISSES_PER_TEMPLATE = 24
MAX_TRIES = 2000
SLOT = re.compile(r"\{(\w+)('?)(?:\.([12]))?\}")


@dataclass(frozen=True)
class Pair:
    """A question, and the question whose answer was kept."""

    topic: str
    half: str
    kind: str
    source: str
    asked: str
    kept: str


@dataclass
class Topic:
    """Ways to ask the same, the first of them kept, and what only looks the same."""

    name: str
    same: list[str] = field(default_factory=list)
    near: list[tuple[str, str]] = field(default_factory=list)

    @property
    def half(self) -> str:
        return HALVES[_hash(self.name) % 2]


Lists = dict[str, list[str]]


def _hash(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big")


def read(path: Path) -> tuple[list[Topic], Lists]:
    """The topics and the lists of words of a file; its first lines say how it is written."""
    topics: list[Topic] = []
    lists: Lists = {}
    for line in path.read_text("utf-8").splitlines():
        mark, _, rest = line.partition(" ")
        if mark == "topic":
            topics.append(Topic(rest))
        elif mark == "list":
            name, _, words = rest.partition(": ")
            lists[name] = words.split(", ")
        elif mark in ("?", "="):
            topics[-1].same.append(rest)
        elif mark == "!":
            kind, _, text = rest.partition(" ")
            topics[-1].near.append((kind, text))
        elif line and mark != "#":
            raise ValueError(f"{path.name}: {line!r} is nothing that the first lines name.")
    return topics, lists


def written() -> tuple[list[Pair], list[Pair]]:
    """Paraphrases and near misses from `hand.txt`."""
    same, near = [], []
    for topic in read(HERE / "hand.txt")[0]:
        domain = topic.name.split("-", 1)[0]
        kept, *others = topic.same
        same += [Pair(topic.name, topic.half, domain, "hand", text, kept) for text in others]
        near += [
            Pair(topic.name, topic.half, kind, "hand", text, kept) for kind, text in topic.near
        ]
    return same, near


def generated() -> tuple[list[Pair], list[Pair]]:
    """Paraphrases and near misses from `templates.txt`."""
    topics, lists = read(HERE / "templates.txt")
    words = {half: of_half(lists, half) for half in HALVES}
    same, near = [], []
    for topic in topics:
        rng = Random(f"{SEED} {topic.name}")  # noqa: S311 the same pairs every time
        same += _distinct(_paraphrases(topic, words[topic.half], rng), PARAPHRASES_PER_TEMPLATE)
        near += _distinct(_near_misses(topic, words[topic.half], rng), NEAR_MISSES_PER_TEMPLATE)
    return same, near


def of_half(lists: Lists, half: str) -> Lists:
    """Of each list, the words that belong to `half`."""
    start = HALVES.index(half)
    return {
        name: sorted(words, key=lambda word, name=name: _hash(f"{name} {word}"))[start::2]
        for name, words in lists.items()
    }


def _paraphrases(topic: Topic, lists: Lists, rng: Random) -> Iterator[Pair]:
    while True:
        values = Values(lists, rng)
        asked, kept = (values.fill(text) for text in rng.sample(topic.same, 2))
        yield Pair(topic.name, topic.half, "generated", "template", asked, kept)


def _near_misses(topic: Topic, lists: Lists, rng: Random) -> Iterator[Pair]:
    while True:
        for kind, text in topic.near:
            values = Values(lists, rng)
            # Half of them against another wording than the one that they were written beside.
            kept = values.fill(rng.choice([topic.same[0], rng.choice(topic.same)]))
            yield Pair(topic.name, topic.half, kind, "template", values.fill(text), kept)


def _distinct(pairs: Iterator[Pair], count: int) -> list[Pair]:
    found: dict[tuple[str, str], Pair] = {}
    for pair, _ in zip(pairs, range(MAX_TRIES), strict=False):
        if pair.asked != pair.kept:
            found.setdefault((pair.asked, pair.kept), pair)
        if len(found) == count:
            break
    return list(found.values())


class Values:
    """What stands in the places of one pair's texts: drawn once, the same in both."""

    def __init__(self, lists: Lists, rng: Random) -> None:
        self._lists = lists
        self._rng = rng
        self._chosen: dict[str, Sequence[str]] = {}

    def fill(self, text: str) -> str:
        """The text of a template."""
        filled = SLOT.sub(self._value, text)
        filled = re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", filled)
        return filled[0].upper() + filled[1:]

    def _value(self, slot: re.Match[str]) -> str:
        name, other, part = slot.groups()
        if name not in self._chosen:
            choices = [str(n) for n in range(10, 29)] if name == "n" else self._lists[name]
            self._chosen[name] = self._rng.sample(choices, min(2, len(choices)))
        value = self._chosen[name][1 if other else 0]
        return value.split(" / ")[int(part) - 1] if part else value


def files() -> dict[str, str]:
    """The content of each file, by its name."""
    by_hand, by_template = written(), generated()
    names = ("paraphrases.jsonl", "near_misses.jsonl")
    return {
        name: "".join(
            json.dumps(asdict(pair), ensure_ascii=False) + "\n"
            for pair in (*by_hand[index], *by_template[index])
        )
        for index, name in enumerate(names)
    }


def load(name: str) -> list[Pair]:
    """The pairs of `paraphrases` or `near_misses`."""
    lines = (HERE / f"{name}.jsonl").read_text("utf-8").splitlines()
    return [Pair(**json.loads(line)) for line in lines]


if __name__ == "__main__":
    for file_name, content in files().items():
        (HERE / file_name).write_text(content, "utf-8")
