"""Drills in reading labels: one list of labels, then many short texts to give letters for."""

from collections.abc import Callable, Sequence
from random import Random
from string import ascii_uppercase

from phi3_bento.engine.decision import decision_prompt
from phi3_bento.models.demo.corpus.concept import Concept
from phi3_bento.models.demo.corpus.decisions import FAMILIES, spell
from phi3_bento.models.demo.corpus.example import Example, Message
from phi3_bento.models.demo.corpus.vocabulary import THINGS, city, made_up

_TURNS = 8
_Drill = tuple[list[str], Callable[[int], str]]


def drill(rng: Random) -> Example:
    """A conversation for training only, in which each answer is a letter of the same list.

    Single decisions teach one letter in sixty tokens, from which a small model never finds out
    that it must look the label up. Here there is a letter every few tokens, and half of the texts
    are a label itself.
    """
    labels, texts = _by_concept(rng) if rng.random() < 0.7 else _by_word(rng)
    messages: list[Message] = []
    for turn in range(_TURNS):
        place = rng.randrange(len(labels))
        text = labels[place] if rng.random() < 0.5 else texts(place)
        question = f"Text: {text}" if turn else decision_prompt(text, labels)
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": ascii_uppercase[place]})
    return Example("letters", tuple(messages))


def _by_concept(rng: Random) -> _Drill:
    family: Sequence[Concept] = rng.choices([f for f, _ in FAMILIES], [w for _, w in FAMILIES])[0]
    chosen = rng.sample(list(family), min(len(family), rng.randint(2, 8)))
    return [spell(c, rng) for c in chosen], lambda place: chosen[place].text(rng, "train")


def _by_word(rng: Random) -> _Drill:
    makers: tuple[Callable[[Random], str], ...] = (lambda r: r.choice(THINGS), city, made_up)
    make = rng.choice(makers)
    labels = list(dict.fromkeys(make(rng) for _ in range(rng.randint(3, 8))))
    return labels, lambda place: f"the {labels[place]}"
