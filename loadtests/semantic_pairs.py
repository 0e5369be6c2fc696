"""How often the semantic cache would answer rightly and wrongly, on pairs of questions.

    python -m loadtests.semantic_pairs

Embeds the pairs of `tests/pairs/` with the real model, asks the guards, and writes
`docs/reports/semantic.md`. The threshold is chosen on the half `tune`; the half `report` is only
counted.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import numpy as np

from loadtests.shares import Share
from phi3_bento import __version__
from phi3_bento.cache.semantic.embedding import MiniLm, load_mini_lm
from phi3_bento.cache.semantic.guards import refusal
from phi3_bento.settings import Settings
from tests.pairs.generate import HALVES, HERE, Pair, load

REPORT = Path(__file__).resolve().parents[1] / "docs" / "reports" / "semantic.md"
BUDGET = 0.01
THRESHOLDS = [round(0.5 + step / 100, 2) for step in range(50)]
SHOWN = THRESHOLDS[::5]
BATCH = 64
DEFAULT = Settings.model_fields["semantic_threshold"].default

INTRODUCTION = """# Semantic hits, true and false

Made by `python -m loadtests.semantic_pairs`, phi3-bento {version}, on the pairs of `tests/pairs/`
and embeddings of all-MiniLM-L6-v2. A *paraphrase* is a question that may have the kept answer, a
*near miss* one that must not. Shares have 95 % bounds, by Wilson.

Guards and threshold were tuned on the half `tune`. The half `report` has other topics, and in
generated pairs other templates and other words; while the guards were tuned, none of its pairs
was looked at, only these counts. One author wrote both halves and the guards, and generated pairs
of one template are alike: the bounds hold for questions like these, not for all. The pairs written
by hand stand apart for that reason. In service, false hits are measured again on real traffic.
"""
OVER = (
    "score from", "paraphrases, score alone", "near misses, score alone",
    "paraphrases, with guards", "near misses, with guards",
)  # fmt: skip
KINDS = ("kind", "pairs", "10 %", "50 %", "90 %", "refused by")
AGAINST = """Near misses by somebody who knows the guards, as an attacker would. Each round was
new to them when it was tried, and what passed was then mended:
"""


@dataclass(frozen=True)
class Scored:
    """A pair with what the model and the guards say of it."""

    pair: Pair
    is_same: bool
    score: float
    guard: str | None


Sample = Sequence[Scored]
Accepts = Callable[[Scored], bool]


def share(sample: Iterable[Scored], accepts: Accepts) -> Share:
    """How many of the sample are accepted."""
    verdicts = [accepts(each) for each in sample]
    return Share(sum(verdicts), len(verdicts))


def score_all(model: MiniLm) -> list[Scored]:
    """Every pair with its cosine and its guard."""
    scored = []
    for name, is_same in (("paraphrases", True), ("near_misses", False)):
        pairs = load(name)
        for start in range(0, len(pairs), BATCH):
            batch = pairs[start : start + BATCH]
            asked = model.embed([pair.asked for pair in batch])
            kept = model.embed([pair.kept for pair in batch])
            cosines = (asked * kept).sum(1)
            scored += [
                Scored(pair, is_same, float(cosine), refusal(pair.asked, pair.kept))
                for pair, cosine in zip(batch, cosines, strict=True)
            ]
    return scored


def passes(scored: Scored) -> bool:
    """No guard refuses."""
    return scored.guard is None


def reaches(threshold: float) -> Accepts:
    """The score is high enough."""
    return lambda scored: scored.score >= threshold


def hits(threshold: float) -> Accepts:
    """It would be answered from the cache."""
    return lambda scored: passes(scored) and scored.score >= threshold


def choose(tune: Sample) -> float:
    """The lowest threshold whose false hits are within the budget, their upper bound included."""
    near = [each for each in tune if not each.is_same]
    for threshold in THRESHOLDS:
        if share(near, hits(threshold)).bounds[1] <= BUDGET:
            return threshold
    raise SystemExit("No threshold keeps false hits within the budget on the half tune.")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def result_rows(sample: Sample, threshold: float) -> list[list[object]]:
    """Hits and false hits for all pairs and for those written by hand."""
    rows: list[list[object]] = []
    by_hand = [each for each in sample if each.pair.source == "hand"]
    for name, part in (("all", sample), ("by hand", by_hand)):
        same = [each for each in part if each.is_same]
        near = [each for each in part if not each.is_same]
        rows.append([name, share(same, hits(threshold)), share(near, hits(threshold))])
    return rows


def threshold_rows(sample: Sample) -> list[list[object]]:
    """Score alone, and score with guards, over thresholds."""
    same = [each for each in sample if each.is_same]
    near = [each for each in sample if not each.is_same]
    rows: list[list[object]] = [["guards alone", "", "", share(same, passes), share(near, passes)]]
    for threshold in SHOWN:
        alone, both = reaches(threshold), hits(threshold)
        rows.append([f"{threshold:.2f}", *(share(part, alone) for part in (same, near)),
                     *(share(part, both) for part in (same, near))])  # fmt: skip
    return rows


def kind_rows(sample: Sample) -> list[list[object]]:
    """For each kind of pair its scores, and what the guards say of it."""
    rows: list[list[object]] = []
    for is_same in (True, False):
        kinds = sorted({each.pair.kind for each in sample if each.is_same is is_same})
        for kind in kinds:
            part = [each for each in sample if each.is_same is is_same and each.pair.kind == kind]
            scores = [each.score for each in part]
            cuts = quantiles(scores, n=10, method="inclusive")
            guards = Counter(each.guard or "–" for each in part)
            said = ", ".join(f"{name} {count}" for name, count in guards.most_common())
            name = f"{'same' if is_same else 'near'}: {kind}"
            rows.append(
                [name, len(part), *(f"{cut:.2f}" for cut in (cuts[0], cuts[4], cuts[8])), said]
            )
    return rows


def topics(sample: Sample, accepts: Accepts) -> str:
    """How many topics have at least one false hit: pairs of one topic are alike."""
    near = [each for each in sample if not each.is_same]
    wrong = {each.pair.topic for each in near if accepts(each)}
    return f"{len(wrong)} of {len({each.pair.topic for each in near})} topics"


def rounds(threshold: float, model: MiniLm) -> list[str]:
    """What was written against the guards: what passed at first, and what passes now."""
    lines = (HERE / "against_guards.txt").read_text("utf-8").splitlines()
    pairs = [line[2:].split("|") for line in lines if line[:2] in ("! ", "~ ")]
    passed = [pair for pair in pairs if refusal(*pair) is None]
    wrong = [pair for pair in passed if float(np.prod(model.embed(pair), 0).sum()) >= threshold]
    return [
        *(f"- {line}" for line in lines if line.startswith("round ")),
        f"- now: {len(wrong)} of {len(pairs)}" + "".join(f"; {' / '.join(pair)}" for pair in wrong),
    ]


def page(scored: Sample, model: MiniLm, guard_us: float) -> str:
    """The report."""
    halves = {half: [each for each in scored if each.pair.half == half] for half in HALVES}
    threshold = choose(halves["tune"])
    lines = [INTRODUCTION.format(version=__version__), "## The threshold", ""]
    lines += [
        f"**{threshold:.2f}**: the lowest from {THRESHOLDS[0]:.2f} on for which the upper bound of",
        f"false hits on the half `tune` is at most {BUDGET:.0%}. The service's default is "
        f"{DEFAULT:.2f}.",
    ]
    for half, sample in halves.items():
        for limit in sorted({threshold, DEFAULT}):
            head = ("pairs", "paraphrases that hit", "near misses that hit: false hits")
            lines += ["", f"Half `{half}`, score from {limit:.2f}:", ""]
            lines += table(head, result_rows(sample, limit))
            lines += ["", f"False hits in {topics(sample, hits(limit))}."]
    lines += ["", f"The guards took {guard_us:.0f} µs a pair on one core.", ""]
    lines += ["## Pairs written against the guards", "", AGAINST, *rounds(threshold, model)]
    lines += ["", "## Over thresholds"]
    for half, sample in halves.items():
        lines += ["", f"Half `{half}`:", "", *table(OVER, threshold_rows(sample))]
    lines += ["", "## By kind", "", "Scores at 10, 50 and 90 %; – are pairs that no guard refuses."]
    for half, sample in halves.items():
        lines += ["", f"Half `{half}`:", "", *table(KINDS, kind_rows(sample))]
    return "\n".join(lines) + "\n"


def guard_time_us() -> float:
    """Microseconds that the guards take for a pair."""
    pairs = load("paraphrases")
    started = time.process_time()
    for pair in pairs:
        refusal(pair.asked, pair.kept)
    return (time.process_time() - started) / len(pairs) * 1e6


def main() -> None:
    """Write the report."""
    model = load_mini_lm()
    REPORT.write_text(page(score_all(model), model, guard_time_us()), "utf-8")
    print(REPORT.read_text("utf-8").partition("## Over thresholds")[0])


if __name__ == "__main__":
    main()
