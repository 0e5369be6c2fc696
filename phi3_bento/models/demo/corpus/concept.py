"""A concept: the ways to spell its label and the texts that it fits."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from phi3_bento.models.demo.corpus.grammar import Split, draw, expand, some
from phi3_bento.models.demo.corpus.vocabulary import SLOTS

_OPENERS = (
    "Hello, ",
    "Hi, ",
    "Dear team, ",
    "Good morning. ",
    "Hi there! ",
    "Hello! ",
    "Excuse me, ",
)
_CLOSERS = ("Thanks.", "Thank you.", "Best regards", "Please help.", "Regards, {name}", "Bye.")
_ENDS = (".", ".", ".", "", "!")


@dataclass(frozen=True)
class Concept:
    """A meaning that a label can have."""

    spellings: tuple[str, ...]
    templates: tuple[str, ...]

    @property
    def word(self) -> str:
        """The usual spelling, which answers in words use."""
        return self.spellings[0]

    def core(self, rng: Random, split: Split) -> str:
        """A bare sentence of this concept from one part of the split."""
        template = rng.choice(self.templates)
        return draw(lambda again: expand(template, again, SLOTS), rng, split)

    def text(self, rng: Random, split: Split, *, letter: bool = False) -> str:
        """A sentence with an end mark; a `letter` sometimes has a greeting and a farewell."""
        core = self.core(rng, split)
        asks = core.split(" ")[0] in _ASKING
        sentence = core + (rng.choice("??? ").strip() if asks else rng.choice(_ENDS))
        if not letter:
            return sentence if rng.random() < 0.95 else sentence.lower()
        opener, closer = some(rng, _OPENERS, 0.15), some(rng, _CLOSERS, 0.12)
        whole = opener + sentence + (f" {expand(closer, rng, SLOTS)}" if closer else "")
        return whole if rng.random() < 0.93 else whole.lower()


_ASKING = frozenset("Where When Why How Can Could Does Do Is Will What Which Has Are In".split())


def pick_text(concepts: Sequence[Concept], rng: Random, split: Split) -> tuple[Concept, str]:
    """A random concept of `concepts` and a text of it."""
    concept = rng.choice(concepts)
    return concept, concept.text(rng, split)
