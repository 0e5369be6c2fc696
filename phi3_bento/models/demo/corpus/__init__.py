"""The demo model's training examples, made from a seed; held-out ones are never trained on."""

from collections.abc import Callable, Iterator
from random import Random

from phi3_bento.models.demo.corpus.arithmetic import arithmetic
from phi3_bento.models.demo.corpus.decisions import letter_decision
from phi3_bento.models.demo.corpus.drills import drill
from phi3_bento.models.demo.corpus.example import Example, Message, Skill
from phi3_bento.models.demo.corpus.extraction import extraction
from phi3_bento.models.demo.corpus.grammar import Split
from phi3_bento.models.demo.corpus.service import service
from phi3_bento.models.demo.corpus.words import word_decision

__all__ = ["SKILLS", "Example", "Message", "Skill", "Split", "drills", "held_out", "training"]

SKILLS: dict[Skill, Callable[[Random, Split], Example]] = {
    "letters": letter_decision,
    "words": word_decision,
    "extraction": extraction,
    "arithmetic": arithmetic,
    "service": service,
}
# How often each skill is drawn. Reading labels and sums are the hardest to learn, so they come often.
SHARES: dict[Skill, float] = {
    "letters": 0.36,
    "words": 0.10,
    "extraction": 0.17,
    "arithmetic": 0.30,
    "service": 0.07,
}


def training(seed: int, count: int) -> Iterator[Example]:
    """`count` examples of all skills, the same ones for the same seed."""
    rng = Random(f"train {seed}")
    skills, shares = list(SHARES), list(SHARES.values())
    for skill in rng.choices(skills, shares, k=count):
        yield SKILLS[skill](rng, "train")


def drills(seed: int) -> Iterator[Example]:
    """Drills in reading labels without end, from the texts of training."""
    rng = Random(f"drills {seed}")
    while True:
        yield drill(rng)


def held_out(seed: int, per_skill: int) -> Iterator[Example]:
    """`per_skill` examples of each skill, built from texts and values that training leaves out."""
    rng = Random(f"held out {seed}")
    for make in SKILLS.values():
        seen: set[str] = set()
        while len(seen) < per_skill:
            example = make(rng, "held_out")
            if example.question not in seen:
                seen.add(example.question)
                yield example
