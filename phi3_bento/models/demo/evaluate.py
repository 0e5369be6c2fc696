"""Measure the saved checkpoint on held-out examples: greedy answers, right or wrong, per skill."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from transformers import AutoTokenizer, Phi3ForCausalLM, PreTrainedTokenizerFast

from phi3_bento.models.demo import CHECKPOINT
from phi3_bento.models.demo.corpus import SKILLS, Example, Message, held_out

BATCH = 50
LONGEST_ANSWER = 80


@dataclass(frozen=True)
class Score:
    """How many of `n` held-out examples of a skill were answered exactly right."""

    n: int
    correct: int

    @property
    def accuracy(self) -> float:
        """The share of exactly right answers."""
        return round(self.correct / self.n, 4)


class Responder:
    """The checkpoint as Transformers runs it: conversations in, greedy answers out."""

    def __init__(self, folder: Path = CHECKPOINT) -> None:
        self._tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder)
        self._model = Phi3ForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()

    def answers(self, prompts: Sequence[Sequence[Message]]) -> list[str]:
        """One answer per prompt, in the same order."""
        order = sorted(
            range(len(prompts)), key=lambda i: sum(len(m["content"]) for m in prompts[i])
        )
        found: dict[int, str] = {}
        for start in range(0, len(order), BATCH):
            group = order[start : start + BATCH]
            found |= zip(group, self._together([prompts[i] for i in group]), strict=True)
        return [found[i] for i in range(len(prompts))]

    @torch.inference_mode()
    def _together(self, prompts: Sequence[Sequence[Message]]) -> list[str]:
        inputs = self._tokenizer.apply_chat_template(
            [list(prompt) for prompt in prompts],
            add_generation_prompt=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
        )
        output = self._model.generate(**inputs, max_new_tokens=LONGEST_ANSWER, do_sample=False)
        new = output[:, inputs["input_ids"].shape[1] :]
        return self._tokenizer.batch_decode(new, skip_special_tokens=True)


def evaluate(
    responder: Responder, examples: Sequence[Example]
) -> tuple[dict[str, Score], list[tuple[Example, str]]]:
    """The score of each skill, and the wrong answers with their examples."""
    answers = responder.answers([e.prompt for e in examples])
    wrong = [(e, a) for e, a in zip(examples, answers, strict=True) if a.strip() != e.answer]
    asked: dict[str, int] = defaultdict(int)
    missed: dict[str, int] = defaultdict(int)
    for example in examples:
        asked[example.skill] += 1
    for example, _ in wrong:
        missed[example.skill] += 1
    return {skill: Score(n, n - missed[skill]) for skill, n in asked.items()}, wrong


def main(
    per_skill: Annotated[int, typer.Option(help="Held-out examples of each skill.")] = 400,
    seed: Annotated[int, typer.Option(help="Decides which held-out examples.")] = 11,
    folder: Annotated[Path, typer.Option(help="The checkpoint.")] = CHECKPOINT,
    show: Annotated[int, typer.Option(help="Wrong answers to print per skill.")] = 0,
) -> None:
    """Write evaluation.json beside the weights."""
    torch.set_num_threads(2)
    scores, wrong = evaluate(Responder(folder), list(held_out(seed, per_skill)))
    for skill in SKILLS:
        misses = [(e, a) for e, a in wrong if e.skill == skill]
        print(f"{skill:12} {scores[skill].accuracy:.1%} of {scores[skill].n}")
        for example, answer in misses[:show]:
            print(f"  {example.question!r}\n    said {answer!r}, not {example.answer!r}")
    report = {
        "seed": seed,
        "decoding": "greedy, bf16, exact match of the whole answer",
        "skills": {
            skill: {"n": s.n, "correct": s.correct, "accuracy": s.accuracy}
            for skill, s in scores.items()
        },
    }
    (folder / "evaluation.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
