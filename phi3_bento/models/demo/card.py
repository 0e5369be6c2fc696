"""Write the demo model's card, its page in the docs and the picture of its loss curve."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from phi3_bento.models.demo import CHECKPOINT

SKILLS = {
    "labels": "decisions among given labels (the service's `classify`)",
    "words": "decisions in one word, through chat",
    "extraction": "names, cities, dates, order numbers … as text or JSON",
    "arithmetic": "sums, differences, small products",
    "service": "questions about this service, small talk, polite refusals",
}
_WIDTH, _HEIGHT, _MARGIN = 640, 280, 44


def accuracy_table(evaluation: dict[str, Any]) -> str:
    """The measured accuracies as a Markdown table."""
    rows = [
        f"| {SKILLS[skill]} | {score['n']} | {score['correct']} | {score['accuracy']:.1%} |"
        for skill, score in evaluation["skills"].items()
    ]
    head = "| skill | held-out examples | exactly right | accuracy |\n| --- | --- | --- | --- |"
    return "\n".join([head, *rows])


def loss_picture(curve: list[dict[str, float]]) -> str:
    """The loss curve as an SVG with a square-root scale, on which the late part can be seen."""
    last, top = curve[-1]["step"], max(point["loss"] for point in curve)
    wide, high = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN

    def x(step: float) -> float:
        return round(_MARGIN + wide * step / last, 1)

    def y(loss: float) -> float:
        return round(_HEIGHT - _MARGIN - high * (loss / top) ** 0.5, 1)

    line = " ".join(f"{x(p['step'])},{y(p['loss'])}" for p in curve)
    ticks = [value for value in (0, 0.05, 0.25, 1, 2, 4, 6, 8) if value <= top]
    grid = "".join(
        f'<path d="M{_MARGIN} {y(t)}H{_WIDTH - _MARGIN}" stroke="#ddd"/>'
        f'<text x="{_MARGIN - 6}" y="{y(t) + 4}" text-anchor="end">{t:g}</text>'
        for t in ticks
    )
    steps = "".join(
        f'<text x="{x(s)}" y="{_HEIGHT - _MARGIN + 18}" text-anchor="middle">{s:.0f}</text>'
        for s in (0, last / 4, last / 2, 3 * last / 4, last)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="#333">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>{grid}{steps}'
        f'<polyline points="{line}" fill="none" stroke="#2563eb" stroke-width="1.5"/>'
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" text-anchor="middle">step</text>'
        f'<text x="{_MARGIN}" y="24">loss of an answer token (square-root scale)</text></svg>\n'
    )


def filled(template: str, training: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """`template` with the measured figures in the places of their `[[names]]`."""
    recipe = training["recipe"]
    size = sum(path.stat().st_size for path in CHECKPOINT.iterdir() if path.suffix != ".md")
    facts = {
        "parameters": f"{training['parameters'] / 1e6:.2f} million",
        "megabytes": f"{size / 1e6:.1f} MB",
        "command": training["command"],
        "minutes": f"{training['seconds'] / 60:.0f} minutes",
        "steps": f"{recipe['steps']:,}",
        "tokens": f"{recipe['steps'] * recipe['tokens_per_batch'] / 1e6:.0f} million",
        "table": accuracy_table(evaluation),
    }
    for name, value in facts.items():
        template = template.replace(f"[[{name}]]", value)
    return template


def main(
    docs: Annotated[Path, typer.Option(help="The folder of the documentation.")] = Path("docs"),
) -> None:
    """Write README.md beside the weights, docs/demo-model.md and the picture."""
    training = json.loads((CHECKPOINT / "training.json").read_text())
    evaluation = json.loads((CHECKPOINT / "evaluation.json").read_text())
    here = Path(__file__).parent
    for template, target in (
        (here / "card.md", CHECKPOINT / "README.md"),
        (here / "page.md", docs / "demo-model.md"),
    ):
        target.write_text(filled(template.read_text(), training, evaluation))
    picture = docs / "images" / "demo-model-loss.svg"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_text(loss_picture(training["loss_curve"]))


if __name__ == "__main__":
    typer.run(main)
