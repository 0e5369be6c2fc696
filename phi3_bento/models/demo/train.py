"""Train the demo model from random weights; one command makes the whole checkpoint again."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import chain, count, islice
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch.nn.functional import cross_entropy
from transformers import Phi3ForCausalLM, PreTrainedTokenizerFast

from phi3_bento.models.demo import CHECKPOINT
from phi3_bento.models.demo.architecture import new_model
from phi3_bento.models.demo.batches import Batch, Encoder, batches, repetitions
from phi3_bento.models.demo.corpus import training
from phi3_bento.models.demo.tokenizer import save_tokenizer, train_tokenizer

TOKENIZER_EXAMPLES = 40_000
REPORT_EVERY = 50


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what training gives, apart from the code."""

    seed: int
    steps: int
    tokens_per_batch: int = 2048
    learning_rate: float = 2e-3
    warm_up_steps: int = 200
    weight_decay: float = 0.05
    prompt_weight: float = 0.05
    copying_steps: int = 800

    def rate_at(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to nothing, as a share of the learning rate."""
        if step < self.warm_up_steps:
            return (step + 1) / self.warm_up_steps
        done = (step - self.warm_up_steps) / max(1, self.steps - self.warm_up_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def prompt_weight_at(self, step: int) -> float:
        """Predicting prompts teaches the words at first; at the end only answers count."""
        return self.prompt_weight * max(0.0, 1 - step / (0.4 * self.steps))


@dataclass(frozen=True)
class Point:
    """One point of the loss curve: the mean loss of an answer's token since the last point."""

    step: int
    loss: float


def make_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """The tokenizer for the training texts of this seed."""
    examples = training(seed, TOKENIZER_EXAMPLES)
    return train_tokenizer(m["content"] for e in examples for m in e.messages)


def lessons(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Iterator[Batch]:
    """Batches of all skills without end; at first every second one is practice in copying."""
    size = recipe.tokens_per_batch
    parts = (training(recipe.seed + 1000 * part, 100_000) for part in count())
    skills = batches(chain.from_iterable(parts), Encoder(tokenizer), recipe.seed, size)
    copying = repetitions(recipe.seed, len(tokenizer), size)
    for step in range(recipe.copying_steps):
        yield next(copying if step % 2 else skills)
    yield from skills


def losses(
    model: Phi3ForCausalLM, batch: Batch, prompt_weight: float
) -> tuple[torch.Tensor, float]:
    """The loss to follow downhill, and the mean loss of an answer's token to report."""
    answers, prompts = batch.answer_weights[:, 1:].flatten(), batch.prompt_weights[:, 1:].flatten()
    targets = batch.tokens[:, 1:].flatten()
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=batch.tokens[:, :-1], use_cache=False).last_hidden_state
        hidden = hidden.flatten(0, 1)
        if prompt_weight:
            logits = model.lm_head(hidden)
    if not prompt_weight:
        # Only the answers count, so the head need not predict the tokens of the prompts.
        asked = answers.nonzero().squeeze(1)
        answers, prompts, targets = answers[asked], prompts[asked], targets[asked]
        logits = model.lm_head(hidden[asked].float())
    each = cross_entropy(logits.float(), targets, reduction="none")
    weighted = (each * (answers + prompt_weight * prompts)).sum() / answers.sum()
    return weighted, float((each.detach() * answers).sum() / answers.sum())


def optimizers(model: Phi3ForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, which learns to copy sooner; AdamW for the rest."""
    inner = [p for p in model.model.layers.parameters() if p.dim() > 1]
    inside = {id(p) for p in inner}
    rest = [p for p in model.parameters() if id(p) not in inside]
    muon = torch.optim.Muon(
        inner,
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    adam = torch.optim.AdamW(
        rest, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    return [muon, adam]


def fit(model: Phi3ForCausalLM, feed: Iterator[Batch], recipe: Recipe) -> list[Point]:
    """Train `model` in place and return its loss curve."""
    both = optimizers(model, recipe)
    schedules = [torch.optim.lr_scheduler.LambdaLR(one, recipe.rate_at) for one in both]
    curve: list[Point] = []
    recent: list[float] = []
    tokens, start = 0, time.monotonic()
    for step, batch in enumerate(islice(feed, recipe.steps), start=1):
        loss, answer_loss = losses(model, batch, recipe.prompt_weight_at(step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for one in (*both, *schedules):
            one.step()
        model.zero_grad()
        recent.append(answer_loss)
        tokens += batch.tokens.numel()
        if step % REPORT_EVERY == 0 or step == recipe.steps:
            curve.append(Point(step, round(sum(recent) / len(recent), 4)))
            recent.clear()
            speed = tokens / (time.monotonic() - start)
            print(f"{step}/{recipe.steps} loss {curve[-1].loss} {speed:.0f} tok/s", flush=True)
    return curve


def save(model: Phi3ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the checkpoint in bf16, as vLLM and Transformers read it."""
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)


def record(
    recipe: Recipe, model: Phi3ForCausalLM, curve: list[Point], seconds: float, folder: Path
) -> None:
    """Write down what was run and how it went; nothing in it tells of the machine."""
    seed, steps = recipe.seed, recipe.steps
    facts = {
        "command": f"python -m phi3_bento.models.demo.train --seed {seed} --steps {steps}",
        "recipe": asdict(recipe),
        "parameters": model.num_parameters(),
        "seconds": round(seconds),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
        "loss_curve": [asdict(point) for point in curve],
    }
    (folder / "training.json").write_text(json.dumps(facts, indent=1) + "\n")


def main(
    seed: Annotated[int, typer.Option(help="Decides corpus, weights and order.")] = 3,
    steps: Annotated[int, typer.Option(help="Batches to train on.")] = 5000,
    threads: Annotated[int, typer.Option(help="Compute threads.")] = 2,
    out: Annotated[Path, typer.Option(help="Where the checkpoint goes.")] = CHECKPOINT,
) -> None:
    """Train the demo model and write its checkpoint."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    start = time.monotonic()
    recipe = Recipe(seed, steps)
    tokenizer = make_tokenizer(seed)
    model = new_model(tokenizer)
    curve = fit(model, lessons(recipe, tokenizer), recipe)
    save(model, tokenizer, out)
    record(recipe, model, curve, time.monotonic() - start, out)


if __name__ == "__main__":
    typer.run(main)
