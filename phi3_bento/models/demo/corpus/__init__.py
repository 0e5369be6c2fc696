"""The demo model's training examples, made from a seed; held-out ones are never trained on."""

from collections.abc import Callable, Iterator
from random import Random

from phi3_bento.models.demo.corpus.arithmetic import arithmetic
from phi3_bento.models.demo.corpus.decisions import label_decision
from phi3_bento.models.demo.corpus.example import Example, Message, Skill
from phi3_bento.models.demo.corpus.extraction import extraction
from phi3_bento.models.demo.corpus.grammar import Split
from phi3_bento.models.demo.corpus.service import service
from phi3_bento.models.demo.corpus.words import word_decision

__all__ = ["SKILLS", "Example", "Message", "Skill", "Split", "held_out", "training"]

SKILLS: dict[Skill, Callable[[Random, Split], Example]] = {
    "labels": label_decision,
    "words": word_decision,
    "extraction": extraction,
    "arithmetic": arithmetic,
    "service": service,
}
# How often each skill is drawn; the ones that are hardest to learn come most often.
SHARES: dict[Skill, float] = {
    "labels": 0.25,
    "words": 0.08,
    "extraction": 0.32,
    "arithmetic": 0.25,
    "service": 0.10,
}


def training(seed: int, count: int) -> Iterator[Example]:
    """`count` examples of all skills, the same ones for the same seed."""
    rng = Random(f"train {seed}")
    skills, shares = list(SHARES), list(SHARES.values())
    for skill in rng.choices(skills, shares, k=count):
        yield SKILLS[skill](rng, "train")


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
