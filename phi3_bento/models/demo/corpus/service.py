"""Questions about this service, small talk, and questions that are beyond a small model."""

from random import Random

from phi3_bento.models.demo.corpus.beyond import BEYOND
from phi3_bento.models.demo.corpus.example import Example, after, ask
from phi3_bento.models.demo.corpus.facts import ASKED, OUT_OF_SCOPE
from phi3_bento.models.demo.corpus.grammar import Split, draw, expand, some
from phi3_bento.models.demo.corpus.systems import system_prompt
from phi3_bento.models.demo.corpus.vocabulary import SLOTS

_OPENERS = ("Hello, ", "Hi! ", "Please tell me: ", "One question: ", "Excuse me, ", "And ", "So ")


def service(rng: Random, split: Split) -> Example:
    """One question that a new user may ask; one in eight follows another one."""
    system = system_prompt(rng, short=0.2, long=0.01)
    first = _question(rng, split, system)
    if rng.random() < 0.125:
        return after(first, _question(rng, split, ""))
    return first


def _question(rng: Random, split: Split, system: str) -> Example:
    if rng.random() < 0.4:
        templates, answer = BEYOND, OUT_OF_SCOPE
    else:
        answer = rng.choice(list(ASKED))
        templates = ASKED[answer]

    def make(again: Random) -> str:
        return expand(again.choice(templates), again, SLOTS)

    question = draw(make, rng, split)
    if len(question.split()) > 2 and rng.random() < 0.15:
        question = some(rng, _OPENERS, 0.6) + question
        question = question.rstrip("?.!") if rng.random() < 0.3 else question
    return ask("service", question if rng.random() < 0.93 else question.lower(), answer, system)
