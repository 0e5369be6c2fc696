"""Fill templates at random and split what they make into training and held-out parts."""

import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha1
from random import Random
from typing import Literal

Split = Literal["train", "held_out"]
Slots = Mapping[str, Callable[[Random], str]]

HELD_OUT_IN = 10
_BRACES = re.compile(r"\{([^{}]*)\}")


def expand(template: str, rng: Random, slots: Slots) -> str:
    """`template` with each `{a|b}` replaced by one choice and each `{name}` by a filled slot."""

    def fill(match: re.Match[str]) -> str:
        inside = match.group(1)
        return rng.choice(inside.split("|")) if "|" in inside else slots[inside](rng)

    text = template
    while _BRACES.search(text):
        text = _BRACES.sub(fill, text)
    return " ".join(text.split(" ")).strip()


def split_of(key: str) -> Split:
    """The part that everything with this `key` belongs to; one key in ten is held out."""
    plain = re.sub(r"\W+", " ", key.lower()).strip()
    bucket = int.from_bytes(sha1(plain.encode()).digest()[:4], "big") % HELD_OUT_IN
    return "held_out" if bucket == 0 else "train"


def draw(make: Callable[[Random], str], rng: Random, split: Split) -> str:
    """A text from `make` that belongs to `split`; `make` must be able to give many texts."""
    for _ in range(2000):
        text = make(rng)
        if split_of(text) == split:
            return text
    raise ValueError(f"found no text for {split}: the template has too few fillings")


def some(rng: Random, options: Sequence[str], chance: float) -> str:
    """One of `options` with this `chance`, otherwise nothing."""
    return rng.choice(options) if rng.random() < chance else ""


def recase(text: str, rng: Random) -> str:
    """A label as people spell it: lower, Capitalised or UPPER case, spaces or underscores."""
    roll = rng.random()
    if roll < 0.25:
        text = text[:1].upper() + text[1:]
    elif roll < 0.33:
        text = text.upper()
    elif roll < 0.36:
        text = text.title()
    joiner = rng.choice("_-") if rng.random() < 0.2 else " "
    return text.replace(" ", joiner)
