"""Decisions in one word: the user asks in a sentence and names the words to choose from."""

from collections.abc import Callable, Sequence
from random import Random

from phi3_bento.models.demo.corpus.concept import Concept
from phi3_bento.models.demo.corpus.example import Example, ask
from phi3_bento.models.demo.corpus.grammar import Split, expand
from phi3_bento.models.demo.corpus.intents import INTENTS
from phi3_bento.models.demo.corpus.moods import (
    MAILS,
    NEGATIVE,
    POSITIVE,
    SENTIMENTS,
    SPAM,
    URGENCIES,
    URGENT,
)
from phi3_bento.models.demo.corpus.systems import system_prompt
from phi3_bento.models.demo.corpus.topics import TOPICS

_SHORTLY = "{ Answer with one word.| Answer in one word.| One word only.| Reply with one word.|}"
_TWO_WAY = (
    "{Is|Was} {this|the} {review|text|comment|message|feedback|sentence} {{one} or {two}|{two} or {one}}"
    "?" + _SHORTLY,
    "{Say|Decide} whether {this|the} {review|comment|text} is {{one} or {two}|{two} or {one}}."
    + _SHORTLY,
)
_THREE_WAY = (
    "{Is|Was} {this|the} {review|text|comment|message} positive, {negative or neutral|neutral or "
    "negative}?" + _SHORTLY,
    "{What is|Give|Tell me} the sentiment of {this|the} {review|text|comment|message}{| (positive, "
    "negative or neutral)}." + _SHORTLY,
    "Classify the sentiment{| of this text| of the review} as positive, negative or neutral.",
    "{Sentiment|What is the sentiment}?" + _SHORTLY,
)
_INTENT = (
    "What {does the customer want|is the intent of this message|is this message about}? Answer with "
    "one word.",
    "{Name|Give|Tell me} the intent of {this|the} {customer |}message{| in one word}.",
    "{Intent|What is the intent}?{ One word.| Answer with one word.|}",
    "Is {this|the message} about {options}?" + _SHORTLY,
    "Classify {this|the} {customer |}message as {options}." + _SHORTLY,
)
_TOPIC = (
    "What {is this text about|is the topic of this text}? Answer with one word.",
    "{Topic|What is the topic}?{ One word.| Answer with one word.|}",
    "Is {this|the} text about {options}?" + _SHORTLY,
)
_YES_NO = "Is {this|the} {message|mail|text} {it}?{ Answer yes or no.| Yes or no?|}"
_LAYOUTS = (
    "{q}\n{t}", "{q}\n\n{t}", "{q} {t}", "{q} \"{t}\"", "{q}\nText: {t}", "{t}\n{q}", "\"{t}\" {q}",
    "{q}\nReview: {t}", "{q}\nMessage: {t}",
)  # fmt: skip


def word_decision(rng: Random, split: Split) -> Example:
    """A question about a text that one word answers."""
    kind = rng.choices(("two", "three", "intent", "topic", "yes_no"), (5, 4, 5, 2, 2))[0]
    if kind == "two":
        right = rng.choice((POSITIVE, NEGATIVE))
        question, answer = (
            _fill(rng, rng.choice(_TWO_WAY), one="positive", two="negative"),
            right.word,
        )
    elif kind == "three":
        right = rng.choice(SENTIMENTS)
        question, answer = _fill(rng, rng.choice(_THREE_WAY)), right.word
    elif kind == "yes_no":
        right, question, answer = _yes_or_no(rng)
    else:
        family, templates = (INTENTS, _INTENT) if kind == "intent" else (TOPICS, _TOPIC)
        right = rng.choice(family)
        question = _fill(rng, rng.choice(templates), options=_listed(rng, right, family))
        answer = "technical" if right.word == "technical problem" else right.word
    text = right.text(rng, split)
    layout = rng.choice(_LAYOUTS if right in SENTIMENTS else _LAYOUTS[:-2])
    whole = layout.replace("{q}", question).replace("{t}", text)
    return ask("words", whole, answer, system_prompt(rng))


def _yes_or_no(rng: Random) -> tuple[Concept, str, str]:
    family, asked = rng.choice(((URGENCIES, URGENT), (MAILS, SPAM)))
    right = rng.choice(family)
    return right, _fill(rng, _YES_NO, it=asked.word), "yes" if right is asked else "no"


def _listed(rng: Random, right: Concept, family: Sequence[Concept]) -> str:
    """The right word among a few others, as in `billing, shipping or refund`."""
    others = [c for c in family if c is not right]
    chosen = [right, *rng.sample(others, rng.randint(1, 4))]
    rng.shuffle(chosen)
    names = ["technical" if c.word == "technical problem" else c.word for c in chosen]
    return ", ".join(names[:-1]) + " or " + names[-1]


def _fill(rng: Random, template: str, **slots: str) -> str:
    def filled_with(value: str) -> Callable[[Random], str]:
        return lambda _: value

    return expand(template, rng, {name: filled_with(value) for name, value in slots.items()})
