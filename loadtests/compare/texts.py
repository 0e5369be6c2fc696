"""What is asked in a comparison, and with which answer where the model shall not choose it.

Generated weights write nonsense. Where it matters what a text is like, as it does for tokens that
are guessed from it, the answer is given: the engine may produce no other (`structured_outputs`),
and computes each of its tokens as if it were free.
"""

import json
import re
from collections.abc import Callable, Mapping
from random import Random

from loadtests.prompts import PLACES, STATES, SYSTEM_PROMPT, THINGS, story

_RECORDS = 6
_SENTENCES = 4

Text = tuple[str, str | None]
"""A prompt, and the answer to it if that is given."""


def sampled(number: int, words: int) -> Text:
    """Whatever the model says to a text of about `words` words."""
    return story(number, words), None


def prose(number: int, words: int) -> Text:
    """English sentences that do not stand in the prompt, and repeat little of themselves."""
    sentences = re.split(r"(?<=[.]) ", SYSTEM_PROMPT)
    return story(number, words), " ".join(Random(number).sample(sentences, _SENTENCES))


def extraction(number: int, _: int) -> Text:
    """Tickets, and what they say as JSON."""
    random = Random(number)  # reproducible, not secret
    lines, records = [f"Sheet {number}. Return the tickets as JSON."], []
    for each in range(_RECORDS):
        ticket = f"{number + each}"
        thing, state, place = (random.choice(words) for words in (THINGS, STATES, PLACES))
        lines.append(f"Ticket {ticket}: the {thing} is {state}, says the customer {place}.")
        records.append({"ticket": ticket, "thing": thing, "state": state, "where": place})
    return "\n".join(lines), json.dumps(records)


TEXTS: Mapping[str, Callable[[int, int], Text]] = {
    "sampled": sampled,
    "prose": prose,
    "extraction": extraction,
}
