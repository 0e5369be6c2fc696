"""How much work a regular expression makes for an engine that must follow it token by token.

After every token the engine works out which tokens may come next, for all requests at once. Time
grows with the places where the expression may go on or leave off, because each one multiplies what
a token can mean: xgrammar takes 0.02 s a token for 8 optional letters in a row, 0.6 s for 32, and
does not come back from `(.|\\n){0,16}` 16 times. So those places are counted, not tried.
"""

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<open>\((?:\?(?:[:=!]|<[=!]|P?<\w+>))?)
      | (?P<close>\))
      | (?P<choice>\|)
      | (?P<times>[*+?]|\{\s*(?P<least>\d*)\s*(?:(?P<comma>,)\s*(?P<most>\d*))?\s*\})[?+]?
      | \\. | \[(?:\\.|[^\]\\])*\] | .""",
    re.VERBOSE | re.DOTALL,
)
_FREEDOM = 8
"""A count that varies by more is no worse: about as many characters as a token has."""


@dataclass(frozen=True, slots=True)
class RegexCost:
    """What an expression comes to when its repetitions are written out."""

    length: int = 0
    """Characters, where `*` and `+` count once."""
    ambiguity: int = 0
    """Places where one may go on or leave off."""
    choices: int = 0
    """Alternatives beyond the first; ambiguous where they are repeated."""
    is_repetition: bool = False
    """It is one thing with a count that varies, and nothing else."""
    is_nested: bool = False
    """In it such a repetition is repeated, as in `(a+)+`: one text, any number of readings."""

    def then(self, other: "RegexCost") -> "RegexCost":
        """This, followed by `other` or with it as an alternative."""
        return RegexCost(
            self.length + other.length,
            self.ambiguity + other.ambiguity,
            self.choices + other.choices,
            is_nested=self.is_nested or other.is_nested,
        )

    def times(self, least: int, most: int | None) -> "RegexCost":
        """This, repeated; `most` None: without end."""
        copies = max(1, least if most is None else most)
        freedom = 1 if most is None else min(_FREEDOM, max(0, most - least))
        return RegexCost(
            self.length * copies,
            (self.ambiguity + self.choices) * copies + freedom,
            is_repetition=freedom > 0,
            is_nested=self.is_nested or (self.is_repetition and freedom > 0),
        )


def regex_cost(pattern: str) -> RegexCost:
    """The cost of `pattern`; whether it is one at all is for the engine to say."""
    groups: list[list[RegexCost]] = [[]]
    for token in _TOKEN.finditer(pattern):
        if token["open"]:
            groups.append([])
        elif token["close"]:
            group = _joined(groups.pop())
            groups = groups or [[]]
            groups[-1].append(group)
        elif token["choice"]:
            groups[-1].append(RegexCost(choices=1))
        elif token["times"] and groups[-1]:
            groups[-1].append(groups[-1].pop().times(*_counts(token)))
        else:
            groups[-1].append(RegexCost(length=1))
    return _joined([_joined(group) for group in groups])


def _joined(parts: list[RegexCost]) -> RegexCost:
    if len(parts) == 1:
        return parts[0]
    whole = RegexCost()
    for part in parts:
        whole = whole.then(part)
    return whole


def _counts(token: re.Match[str]) -> tuple[int, int | None]:
    simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
    if token["times"] in simple:
        return simple[token["times"]]
    least = int(token["least"] or 0)
    if not token["comma"]:
        return least, least
    return least, int(token["most"]) if token["most"] else None
