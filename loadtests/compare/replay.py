"""What guesses are worth: answers replayed as if a model had chosen each of their tokens.

    python -m loadtests.compare.replay

Tokens are words, digits and signs, about as a vocabulary of 32,000 splits English. A step reads all
weights, and each guess adds its arithmetic, in the proportion measured at the full size.
"""

import json
import re
import statistics
from collections.abc import Callable
from itertools import takewhile
from operator import eq
from random import Random

import numpy as np
import numpy.typing as npt
from vllm.v1.spec_decode import ngram_proposer

from loadtests.compare.texts import TEXTS, continuation
from loadtests.prompts import PLACES, STATES, SYSTEM_PROMPT, THINGS, story
from loadtests.tables import Table, number
from phi3_bento.engine.vllm_guessing import guess

STEP_MS, GUESS_MS = 85.0, 5.6
"""A step of the full size with one token, and what each further one adds: docs/performance.md."""

MOST, CONTEXT = 7, 4096
ANSWERS, WORDS, TOKENS = 12, 150, 64

Text = npt.NDArray[np.int32]
Guesser = Callable[[Text], list[int]]


def fixed(least_match: int, tokens: int) -> Guesser:
    """vLLM's n-grams: as many `tokens` as may be, where `least_match` are the same."""

    def propose(text: Text) -> list[int]:
        search = ngram_proposer._find_longest_matched_ngram_and_propose_tokens
        return [int(token) for token in search(text, least_match, 8, CONTEXT, tokens)]

    return propose


GUESSERS: dict[str, Guesser] = {
    "as long as the match": lambda text: guess(text, MOST),
    **{
        f"{tokens} from {least}": fixed(least, tokens) for tokens, least in ((7, 3), (7, 2), (4, 2))
    },
}


def tickets(seed: int) -> tuple[str, str]:
    """Six tickets, and the same as JSON."""
    random = Random(seed)  # reproducible, not secret
    lines, records = [f"Sheet {seed}. Return the tickets as JSON."], []
    for _ in range(6):
        ticket = str(random.randrange(10**5, 10**6))
        thing, state, place = (random.choice(words) for words in (THINGS, STATES, PLACES))
        lines.append(f"Ticket {ticket}: the {thing} is {state}, says the customer {place}.")
        records.append({"ticket": ticket, "thing": thing, "state": state, "where": place})
    return "\n".join(lines), json.dumps(records)


def letter(seed: int) -> tuple[str, str]:
    """A letter, and its fields as JSON."""
    random = Random(seed)  # reproducible, not secret
    fields = {
        "name": "Anna Keller",
        "email": f"anna.keller{seed}@example.org",
        "address": f"{random.randrange(200)} Lindenstrasse, 10969 Berlin",
        "order": str(random.randrange(10**5, 10**6)),
        "date": f"{random.randrange(1, 28)} October 2026",
        "item": "one oak dining table",
        "problem": "a broken leg",
        "wants": "a new table or the money",
    }
    text = (
        "Extract from the letter as JSON: {keys}.\nFrom: {email}\nHello, my name is {name} and I "
        "live at {address}. On {date} I ordered {item}, order {order}. It came on Monday with "
        "{problem}; the driver noted it. Please send me {wants}."
    )
    return text.format(keys=", ".join(fields), **fields), json.dumps(fields, indent=1)


def free(seed: int) -> tuple[str, str]:
    """A text, and sentences that have nothing to do with it."""
    sentences = re.split(r"(?<=[.]) ", SYSTEM_PROMPT)
    return story(seed, 150), " ".join(Random(seed).sample(sentences, 4))


def tokens_of(text: str, numbers: dict[str, int]) -> list[int]:
    """A number for each piece; `numbers` has those given so far."""
    pieces = re.findall(r" ?[A-Za-z]+|\d|\s+|[^\w\s]|_", text)
    return [numbers.setdefault(piece, len(numbers)) for piece in pieces]


def known(name: str, seed: int) -> tuple[list[int], list[int]]:
    """A text of `loadtests.compare.texts` with its answer."""
    prompt = TEXTS[name](seed, WORDS, TOKENS)
    assert isinstance(prompt, list)
    return prompt, continuation(prompt[-1], TOKENS)


def texts() -> dict[str, list[tuple[list[int], list[int]]]]:
    """Prompts and answers in tokens, by the name of their kind."""
    seeds, numbers = range(ANSWERS), dict[str, int]()
    found = {
        kind.__name__: [
            (tokens_of(prompt, numbers), tokens_of(answer, numbers))
            for prompt, answer in map(kind, seeds)
        ]
        for kind in (tickets, letter, free)
    }
    given = ("extraction", "copied", "misleading")
    return found | {f"--text {name}": [known(name, seed) for seed in seeds] for name in given}


def time_share(prompt: list[int], answer: list[int], guesser: Guesser) -> float:
    """Time for the answer, as a share of what it takes without guesses."""
    at, spent_ms = 0, 0.0
    while at < len(answer):
        guessed = guesser(np.array([*prompt, *answer[:at]], dtype=np.int32))
        right = takewhile(bool, map(eq, guessed, answer[at:]))
        at += sum(right) + 1
        spent_ms += STEP_MS + GUESS_MS * len(guessed)
    return spent_ms / (STEP_MS * len(answer))


def main() -> None:
    """Print how much time each way to guess leaves of the time without guesses."""
    rows = []
    for name, pairs in texts().items():
        shares = (
            statistics.mean(time_share(*pair, guesser) for pair in pairs)
            for guesser in GUESSERS.values()
        )
        rows.append((name, *map(number, shares)))
    print(Table("Time with guesses, of that without", ("text", *GUESSERS), rows).markdown())


if __name__ == "__main__":
    main()
