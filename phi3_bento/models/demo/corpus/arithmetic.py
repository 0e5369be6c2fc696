"""Small arithmetic: sums, differences and products, answered as the wording asks."""

from random import Random

from phi3_bento.models.demo.corpus.example import Example, ask
from phi3_bento.models.demo.corpus.grammar import Split, split_of
from phi3_bento.models.demo.corpus.systems import system_prompt

_SIGNS = {"+": ("+", "plus"), "-": ("-", "minus"), "*": ("*", "x", "times")}
# A question in words is answered by a sentence; a bare formula or an order by the bare number.
_SENTENCE = ("What is {f}?", "How much is {f}?", "what is {f}?", "Can you tell me what {f} is?")
_NUMBER = ("{f}", "{f} =", "{f}=?", "Calculate {f}.", "Compute {f}", "What is {f}? Just the number.",
           "{f}?", "How much is {f}? Answer with the number only.")  # fmt: skip
_ORDERS = {
    "+": ("Add {a} and {b}.", "Add {a} and {b}", "Sum of {a} and {b}"),
    "-": ("Subtract {b} from {a}.", "Take {b} from {a}.", "Subtract {b} from {a}"),
    "*": ("Multiply {a} by {b}.", "Multiply {a} and {b}", "Product of {a} and {b}"),
}
_STORIES = {
    "+": "{name} has {a} apples and gets {b} more. How many apples are there now?",
    "-": "{name} has {a} apples and gives away {b}. How many apples are left?",
}
_NAMES = ("Anna", "Ben", "Tom", "Maria", "Leo", "Nina")


def arithmetic(rng: Random, split: Split) -> Example:
    """One sum, difference or product; its numbers decide the part of the split."""
    a, b, sign = _task(rng, split)
    value = {"+": a + b, "-": a - b, "*": a * b}[sign]
    roll = rng.random()
    if roll < 0.07 and sign in _STORIES and value > 0:
        story = _STORIES[sign].replace("{name}", rng.choice(_NAMES))
        return ask("arithmetic", story.replace("{a}", str(a)).replace("{b}", str(b)), str(value))
    formula = f"{a} {rng.choice(_SIGNS[sign])} {b}"
    if roll < 0.45:
        question, answer = rng.choice(_SENTENCE), f"{formula} is {value}."
    elif roll < 0.8:
        question, answer = rng.choice(_NUMBER), str(value)
        if rng.random() < 0.2 and sign in formula:
            formula = formula.replace(" ", "")
    else:
        question, answer = rng.choice(_ORDERS[sign]), str(value)
    question = question.replace("{f}", formula).replace("{a}", str(a)).replace("{b}", str(b))
    return ask("arithmetic", question, answer, system_prompt(rng, short=0.08, long=0.0))


def _task(rng: Random, split: Split) -> tuple[int, int, str]:
    """Two numbers and a sign, of this part of the split."""
    while True:
        sign = rng.choice("+++---*")
        top = 12 if sign == "*" else rng.choice((9, 20, 99, 99, 99))
        a, b = rng.randint(0, top), rng.randint(0, top)
        if sign == "-" and a < b and rng.random() < 0.85:
            a, b = b, a
        if split_of(_key(a, b, sign)) == split:
            return a, b, sign


def _key(a: int, b: int, sign: str) -> str:
    """What the split goes by: a sum is the same in either order.

    A product cannot be worked out from others, so `7 x 8` may be learnt where `8 x 7` is held out.
    """
    if sign == "*":
        return f"{a} by {b}"
    return f"{min(a, b)} {'plus' if sign == '+' else 'minus'} {max(a, b)}"
