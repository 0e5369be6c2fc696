"""The corpus is the same for a seed, keeps held-out texts apart, and its answers are right."""

import json
import re

import pytest

from phi3_bento.engine.decision import decision_prompt
from phi3_bento.models.demo.corpus import SKILLS, Example, held_out, training
from phi3_bento.models.demo.corpus.intents import INTENTS
from phi3_bento.models.demo.corpus.moods import MAILS, SENTIMENTS, URGENCIES
from phi3_bento.models.demo.corpus.topics import TOPICS


@pytest.fixture(scope="module")
def trained_on() -> list[Example]:
    return list(training(3, 20_000))


@pytest.fixture(scope="module")
def kept_back() -> list[Example]:
    return list(held_out(11, 200))


def test_the_same_seed_gives_the_same_examples() -> None:
    assert list(training(5, 300)) == list(training(5, 300))
    assert list(held_out(5, 20)) == list(held_out(5, 20))
    assert list(training(5, 300)) != list(training(6, 300))


def test_every_skill_is_trained_and_tested(
    trained_on: list[Example], kept_back: list[Example]
) -> None:
    assert {e.skill for e in trained_on} == set(SKILLS)
    assert [sum(e.skill == s for e in kept_back) for s in SKILLS] == [200] * len(SKILLS)


def test_no_held_out_question_occurs_in_training(
    trained_on: list[Example], kept_back: list[Example]
) -> None:
    asked = {m["content"] for e in trained_on for m in e.messages if m["role"] == "user"}
    assert not {e.question for e in kept_back} & asked


def test_no_held_out_name_or_number_occurs_in_training(
    trained_on: list[Example], kept_back: list[Example]
) -> None:
    def values(examples: list[Example]) -> set[str]:
        extracted = [e.answer for e in examples if e.skill == "extraction"]
        return {v for a in extracted if a.startswith("{") for v in json.loads(a).values()}

    assert not values(kept_back) & values(trained_on)


def _parts(question: str) -> tuple[str, list[str], str]:
    instruction, rest = question.split("\nLabels:\n")
    options, text = rest.split("\nText: ")
    labels = [line.removeprefix("- ") for line in options.split("\n")]
    return instruction, labels, text.removesuffix("\nAnswer with one label.")


def test_decisions_are_worded_as_the_engine_words_them(trained_on: list[Example]) -> None:
    for example in (e for e in trained_on if e.skill == "labels"):
        instruction, labels, text = _parts(example.question)
        assert example.question == decision_prompt(text, labels, instruction)
        assert 2 <= len(labels) <= 8
        assert len({label.lower() for label in labels}) == len(labels)
        assert example.answer in labels


def test_the_answer_is_a_spelling_of_the_text_s_own_concept() -> None:
    known = [c for family in (INTENTS, TOPICS, SENTIMENTS, URGENCIES, MAILS) for c in family]
    spellings = {spelling.lower(): c for c in known for spelling in c.spellings}
    checked = 0
    for example in held_out(2, 300):
        if example.skill != "labels":
            continue
        instruction, labels, text = _parts(example.question)
        named = [spellings.get(re.sub("[_-]", " ", label.lower())) for label in labels]
        if instruction.endswith("?") and set(labels) <= {"yes", "no", "Yes", "No", "YES", "NO"}:
            continue
        if None not in named:
            right = named[labels.index(example.answer)]
            assert right is not None
            assert _could_have_made(right.templates, text)
            checked += 1
    assert checked > 100


def _could_have_made(templates: tuple[str, ...], text: str) -> bool:
    """Whether some template's own words make up most of the text's."""
    said = set(re.findall(r"[a-z']+", text.lower()))
    best = max(len(said & set(re.findall(r"[a-z']+", t.lower()))) for t in templates)
    return best >= 0.4 * len(said)


def test_the_right_label_stands_in_every_place(trained_on: list[Example]) -> None:
    decisions = [(e, _parts(e.question)[1]) for e in trained_on if e.skill == "labels"]
    assert {labels.index(e.answer) for e, labels in decisions} == set(range(8))


def test_an_extracted_value_stands_in_the_question(kept_back: list[Example]) -> None:
    for example in (e for e in kept_back if e.skill == "extraction"):
        plain = not example.answer.startswith("{")
        values = [example.answer] if plain else list(json.loads(example.answer).values())
        assert values
        assert all(value in example.question for value in values)


def test_sums_are_right(trained_on: list[Example]) -> None:
    checked = 0
    for example in (e for e in trained_on if e.skill == "arithmetic"):
        sum_ = re.search(r"(\d+) ?(?:\+|plus) ?(\d+)", example.question)
        if sum_:
            total = int(sum_[1]) + int(sum_[2])
            assert re.search(rf"(?:^| is ){total}\.?$", example.answer)
            checked += 1
    assert checked > 500


def test_the_first_question_of_a_new_user_gets_an_honest_answer(trained_on: list[Example]) -> None:
    service = {
        e.question.strip("?.!").lower(): e.answer for e in trained_on if e.skill == "service"
    }
    ports = [answer for question, answer in service.items() if question.startswith("which port ")]
    assert ports
    assert all("11403" in answer for answer in ports)
    who = [a for q, a in service.items() if q.startswith("what model are you")]
    assert all("not Phi-3-Mini" in answer for answer in who)
