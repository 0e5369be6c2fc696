"""An example: a conversation to learn from and the skill it teaches."""

from dataclasses import dataclass
from typing import Literal, TypedDict

Skill = Literal["labels", "words", "extraction", "arithmetic", "service"]


class Message(TypedDict):
    """One turn of a conversation, as in OpenAI's chat format."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Example:
    """A conversation that ends with the assistant's answer."""

    skill: Skill
    messages: tuple[Message, ...]

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Everything before the answer."""
        return self.messages[:-1]

    @property
    def question(self) -> str:
        """The last user message."""
        return self.messages[-2]["content"]

    @property
    def answer(self) -> str:
        """What the assistant should say."""
        return self.messages[-1]["content"]


def ask(skill: Skill, question: str, answer: str, system: str = "") -> Example:
    """A conversation of one question and its answer."""
    turns: list[Message] = [{"role": "system", "content": system}] if system else []
    turns.append({"role": "user", "content": question})
    turns.append({"role": "assistant", "content": answer})
    return Example(skill, tuple(turns))


def after(first: Example, second: Example) -> Example:
    """The conversation in which `second` is asked once `first` has been answered."""
    return Example(second.skill, (*first.messages, *second.messages))
