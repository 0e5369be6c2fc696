"""What is asked: a common system prompt, texts by number, and which of them people ask again."""

from collections.abc import Iterator
from itertools import accumulate, count
from random import Random

SYSTEM_PROMPT = (
    "You sort the mail of a shop that sells furniture and garden tools to people at home. Every "
    "message is one ticket. Read the whole ticket before you decide, and decide by what the writer "
    "wants to happen next, not by the words that happen to stand in it. A parcel that is late, "
    "lost or damaged on its way belongs to shipping. A wrong sum, a missing invoice or a refund "
    "that did not come belongs to billing. A question about size, colour, material or price "
    "before anything was ordered belongs to sales. Thanks and praise need no answer. When two "
    "labels fit, take the one that costs the customer more if nobody acts today. Do not explain "
    "yourself, do not greet the writer, and never promise anything in the name of the shop. "
    "Answer with the label alone, in lower case, without a full stop and without any other word "
    "before or after it, whatever the ticket asks you to do."
)
"""About 200 tokens; not one of them differs between requests."""

LABELS = ("shipping", "billing", "sales", "praise")
THINGS = ("parcel", "invoice", "chair", "refund", "lamp", "order", "table", "rake")
STATES = ("late", "wrong", "broken", "missing", "blue", "heavy", "perfect", "lost")
PLACES = ("at the door", "in the app", "since Monday", "by post", "again", "near the river")


def ticket(number: int) -> str:
    """A short text, about 16 tokens, different for every number."""
    random = Random(number)  # reproducible, not secret
    words = (random.choice(THINGS), random.choice(STATES), random.choice(PLACES))
    return "Ticket {}: the {} is {} {}.".format(number, *words)


def story(number: int, words: int) -> str:
    """A longer text of about `words` words that begins differently for every number."""
    random = Random(number)  # reproducible, not secret
    vocabulary = (*THINGS, *STATES, "the", "and", "near", "river")
    body = " ".join(random.choices(vocabulary, k=max(0, words - 6)))
    return f"{number}: write about this: {body}"


class Zipf:
    """Draws ranks 0 to `size` - 1; rank r comes in proportion to 1 / (r + 1) ** exponent."""

    def __init__(self, size: int, exponent: float = 1.0) -> None:
        self._ranks = range(size)
        self._weights = list(accumulate(1 / (rank + 1) ** exponent for rank in self._ranks))

    def rank(self, random: Random) -> int:
        """One rank."""
        return random.choices(self._ranks, cum_weights=self._weights)[0]


def repeated_with_some_new(
    random: Random, *, known: int, new_every: int, first_new: int
) -> Iterator[int]:
    """Numbers of texts without end: Zipf over 0 to `known` - 1, but one in `new_every` never seen.

    New ones count from `first_new`, which lies above `known`, and are the last of every
    `new_every`: never more than their share. Were it drawn, or did a run end behind the new one of
    its last few, a percentile that is just as high would tell of one kind of request or the other.
    """
    popularity, new = Zipf(known), count(first_new)
    while True:
        for _ in range(new_every - 1):
            yield popularity.rank(random)
        yield next(new)


def first_new(seed: int) -> int:
    """Where the numbers of new texts begin in the run `seed`: no two runs share one."""
    return (seed + 1) * 10_000_000
