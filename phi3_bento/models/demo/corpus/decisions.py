"""Decisions among given labels, in exactly the words in which the engine asks for them."""

from collections.abc import Sequence
from random import Random

from phi3_bento.engine.decision import decision_prompt
from phi3_bento.models.demo.corpus.concept import Concept
from phi3_bento.models.demo.corpus.example import Example, ask
from phi3_bento.models.demo.corpus.grammar import Split, draw, expand, recase
from phi3_bento.models.demo.corpus.intents import COMPLAINT, INTENTS, REFUND
from phi3_bento.models.demo.corpus.languages import KINDS, LANGUAGES
from phi3_bento.models.demo.corpus.moods import (
    MAILS,
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    SENTIMENTS,
    SPAM,
    URGENCIES,
    URGENT,
)
from phi3_bento.models.demo.corpus.topics import TOPICS
from phi3_bento.models.demo.corpus.vocabulary import ADJECTIVES, SLOTS, THINGS, city, made_up

FAMILIES: tuple[tuple[Sequence[Concept], float], ...] = (
    (INTENTS, 6.0),
    (TOPICS, 3.0),
    (SENTIMENTS, 2.5),
    (URGENCIES, 1.0),
    (MAILS, 1.0),
    (LANGUAGES, 0.7),
    (KINDS, 1.0),
    ((*INTENTS, *TOPICS), 1.5),
)
_INSTRUCTIONS = (
    "Choose the best label.",
    "Classify the text.",
    "Which label fits?",
    "What is this message about?",
    "Pick the category of the text.",
    "You are a classifier. Select the right label for the message.",
    "Decide which label describes the text.",
    "Sort this customer message.",
    "Classify the customer's message by intent.",
    "Read the text and choose a label.",
)
_MENTIONS = (
    "{I am looking for|We talked about|Please send me|I asked {name} about|Where is} the {it}",
    "The {it} {is|was} {broken|late|new|here|lost}{| since {day}}",
    "{name} {likes|wants|ordered|saw|sold} the {it}{| in {city}| on {day}}",
    "{n} times {it}{|, please}",
)
_YES_NO = (
    ("{Is the message urgent|Is this urgent|Does it need a quick answer}?", URGENCIES, URGENT),
    ("{Is this mail spam|Is the text spam|Is it spam}?", MAILS, SPAM),
    ("{Is the review positive|Is the customer happy|Is this positive}?", SENTIMENTS[:2], POSITIVE),
    (
        "{Is the review negative|Is the customer unhappy|Is this negative}?",
        SENTIMENTS[:2],
        NEGATIVE,
    ),
    ("{Does the customer want a refund|Is this about a refund}?", INTENTS[:5], REFUND),
    ("{Is this a complaint|Does the customer complain}?", (*INTENTS[:3], COMPLAINT), COMPLAINT),
    ("{Is the text about sports|Is this a sports text}?", TOPICS, TOPICS[0]),
    ("{Is the text about the weather|Is this a weather report}?", TOPICS, TOPICS[1]),
)
_CONFLICTS = (
    frozenset({POSITIVE.word, "praise"}),
    frozenset({NEGATIVE.word, "complaint"}),
    frozenset({"finance", "billing"}),
    frozenset({"technology", "technical problem"}),
)


def label_decision(rng: Random, split: Split) -> Example:
    """A text, its possible labels in random order, and the right one."""
    roll = rng.random()
    if roll < 0.13:
        text, labels, answer, instruction = _mention(rng, split)
    elif roll < 0.22:
        text, labels, answer, instruction = _yes_no(rng, split)
    else:
        text, labels, answer, instruction = _by_concept(rng, split)
    return ask("labels", decision_prompt(text, labels, instruction), answer)


_Decision = tuple[str, list[str], str, str | None]


def _by_concept(rng: Random, split: Split) -> _Decision:
    family = rng.choices([f for f, _ in FAMILIES], [w for _, w in FAMILIES])[0]
    right = rng.choice(family)
    others = [c for c in family if c is not right and not _in_conflict(c, right)]
    count = min(rng.choice((1, 1, 2, 2, 3, 3, 4, 5, 6, 7)), len(others))
    if family is SENTIMENTS and right is not NEUTRAL and rng.random() < 0.5:
        others = [NEGATIVE if right is POSITIVE else POSITIVE]
        count = 1
    chosen = [right, *rng.sample(others, count)]
    spelled = [spell(concept, rng) for concept in chosen]
    if rng.random() < 0.7:  # one spelling habit for the whole list, as a program would have
        style = rng.choice((str.lower, str.lower, str.capitalize, str.upper))
        spelled = [style(c.word if rng.random() < 0.8 else rng.choice(c.spellings)) for c in chosen]
    answer = spelled[0]
    rng.shuffle(spelled)
    text = right.text(rng, split, letter=family is INTENTS)
    return text, spelled, answer, _instruction(rng)


def _mention(rng: Random, split: Split) -> _Decision:
    """The text names one of the labels, which may be a word never seen before."""
    roll = rng.random()
    if roll < 0.4:
        pool = rng.sample(THINGS, 8)
    elif roll < 0.5:
        pool = rng.sample(ADJECTIVES, 8)
    else:
        pool = [city(rng) if roll < 0.75 else made_up(rng) for _ in range(8)]
    labels = list(dict.fromkeys(pool))[: rng.randint(2, 7)]
    answer = rng.choice(labels)
    template = rng.choice(_MENTIONS)
    text = draw(lambda r: expand(template.replace("{it}", answer), r, SLOTS), rng, split)
    if any(label in text for label in labels if label not in answer):
        return _mention(rng, split)  # the text happens to name a second label
    if rng.random() < 0.3:
        style = rng.choice((str.lower, str.upper, str.capitalize))
        return text, [style(label) for label in labels], style(answer), _instruction(rng)
    return text, labels, answer, _instruction(rng)


def _yes_no(rng: Random, split: Split) -> _Decision:
    question, family, asked = rng.choice(_YES_NO)
    right = asked if rng.random() < 0.5 else rng.choice([c for c in family if c is not asked])
    labels = rng.choice((["yes", "no"], ["Yes", "No"], ["YES", "NO"], ["true", "false"]))
    answer = labels[0] if right is asked else labels[1]
    shuffled = rng.sample(labels, 2)
    return right.text(rng, split), shuffled, answer, expand(question, rng, SLOTS)


def spell(concept: Concept, rng: Random) -> str:
    """One spelling of the label, the usual one half the time."""
    word = concept.word if rng.random() < 0.5 else rng.choice(concept.spellings)
    return recase(word, rng)


def _instruction(rng: Random) -> str | None:
    return None if rng.random() < 0.7 else rng.choice(_INSTRUCTIONS)


def _in_conflict(one: Concept, other: Concept) -> bool:
    return frozenset({one.word, other.word}) in _CONFLICTS
