"""What the guards let pass asks the same; at the first doubt one of them refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3_bento.cache.semantic.guards import MAX_CHARACTERS, MAX_WORDS, refusal
from tests.pairs.generate import HERE, load

SAME = [
    ("How can I boil rice?", "How do I boil rice?"),
    ("Please tell me how to boil rice.", "How do I boil rice?"),
    ("I'd like to boil rice. How do I do that?", "How do I boil rice?"),
    ("What's Peru's capital?", "What is the capital of Peru?"),
    ("Which river is the longest in Peru?", "What is the longest river in Peru?"),
    ("Define osmosis", "What is osmosis?"),
    ("What does osmosis mean?", "What is osmosis?"),
    ("In Python, how do I sort a list?", "How do I sort a list in Python?"),
    ("By whom was radium discovered?", "Who discovered radium?"),
    ("How do I switch on the heater?", "How can I turn on the heater?"),
    ("What is the price of a stamp?", "How much does a stamp cost?"),
    ("How do tea and coffee differ?", "What is the difference between coffee and tea?"),
    ("What is 12 + 30?", "How much is twelve plus thirty?"),
    ("Convert 5 km to miles", "How many miles are 5 kilometers?"),
    ("How do you say tree in French?", 'Translate "tree" to French.'),
    ("Is this true or false?", "Is this false or true?"),
    ("What is the colour of gold", "What is the color of gold?"),
]

REFUSED = [
    ("language", "Was ist die Hauptstadt von Peru?", "Was ist die Hauptstadt von Kuba?"),
    ("language", "What is ✈?", "What is ⛵?"),
    ("negation", "Why does the pump not start?", "Why does the pump start?"),
    ("negation", "Write a poem without rhymes", "Write a poem with rhymes"),
    ("number", "Name 3 rivers", "Name 4 rivers"),
    ("number", "What is new in version 3.1?", "What is new in version 3.10?"),
    ("number", "Who was the second president?", "Who was the third president?"),
    ("number", "Wake me at 7:30", "Wake me at 7:20"),
    ("unit", "How many hours are in a week?", "How many minutes are in a week?"),
    ("unit", "Are 5 grams much?", "Are 5 ounces much?"),
    ("name", "What is the capital of Peru?", "What is the capital of Cuba?"),
    ("name", "Mail anna@example.com", "Mail hanna@example.com"),
    ("name", "What does os.path do?", "What does os.walk do?"),
    ("name", 'What does "cat" mean?', 'What does "cap" mean?'),
    ("name", "Answer this: it is so", "Answer this: is it so"),
    ("role", "Is the US large?", "Is it large for us?"),
    ("antonym", "How do I enable the alarm?", "How do I disable the alarm?"),
    ("antonym", "May I eat before it?", "May I eat after it?"),
    ("antonym", "How do I lock the door?", "How do I unlock the door?"),
    ("role", "How do I get from Rome to Oslo?", "How do I get from Oslo to Rome?"),
    ("role", "Did the dog bite the man?", "Did the man bite the dog?"),
    ("role", "How do you store my data?", "How do I store my data?"),
    ("role", "Who was hired?", "Who hired?"),
    ("role", "Is gold heavier than lead?", "Is lead heavier than gold?"),
    ("question", "Why do I boil rice?", "How do I boil rice?"),
    ("question", "When was Rome founded?", "Where was Rome founded?"),
    ("time", "Who won the cup?", "Who will win the cup?"),
    ("time", "What is the weather today?", "What is the weather tomorrow?"),
    ("format", "Explain rain as a haiku", "Explain rain"),
    ("format", "Give me an example of a metaphor", "Give me examples of a metaphor"),
    ("scope", "Delete all files", "Delete files"),
    ("content", "How do I boil rice?", "How do I boil pasta?"),
    ("content", "Give me a synonym for big", "Give me a synonym for large"),
    ("content", "I am bored. What now?", "I am boring. What now?"),
    ("structure", "print(1)\nprint(2)", "print(1)\n print(2)"),
    ("structure", '{"a": 1}', '{"a": 2}'),
    ("structure", "What is (2 + 3) * 4?", "What is 2 + (3 * 4)?"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "kept"), SAME)
def test_the_same_in_other_words_passes(asked: str, kept: str) -> None:
    assert refusal(asked, kept) is None
    assert refusal(kept, asked) is None


@pytest.mark.parametrize(("guard", "asked", "kept"), REFUSED)
def test_a_guard_refuses_and_is_named(guard: str, asked: str, kept: str) -> None:
    assert refusal(asked, kept) == guard
    assert refusal(kept, asked) == guard


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("  What is  tea? ", "What is tea?"),
        ("Wie spät ist es", "Wie spät ist es."),
        ("tell me more. " * 100, "tell me more.   " * 100),
        ("x = [1]", " x = [1]\n"),
    ],
)
def test_space_around_prose_never_counts(asked: str, kept: str) -> None:
    assert refusal(asked, kept) is None


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("How long is 'a  b'?", "How long is 'a b'?"),
        ("Count the spaces: a  b", "Count the spaces: a b"),
        ("if x:\n  y", "if x:\n y"),
        ("Is polish liquid, or a cream?", "Is Polish liquid, or a cream?"),
    ],
)
def test_space_and_case_that_may_count_do(asked: str, kept: str) -> None:
    assert refusal(asked, kept) is not None


def test_what_is_long_is_not_read() -> None:
    words = "what is it " * (MAX_WORDS // 3 + 1)
    assert refusal(words + "now", words) == "length"
    assert refusal("a" * (MAX_CHARACTERS + 1), "a") == "length"


@pytest.mark.parametrize(
    "piece", ["a ", "'", '"', "(", ": ", "= ", "1,000 ", "n't ", "of ", "or ", "\n"]
)
def test_huge_texts_are_refused_unread(piece: str) -> None:
    assert refusal(piece * 100_000, piece * 99_999 + "b") in ("length", "structure")


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_gets_an_answer(asked: str, kept: str) -> None:
    verdict = refusal(asked, kept)
    assert verdict is None or verdict.isalpha()
    assert refusal(asked, asked) is None


WORDS = """
how what who is do i you of the a to from in not 5 5% Rome 's or and can , ? : ' " mean cost made
by for biggest different have minus translate
"""
GRAMMAR = st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join)


@given(GRAMMAR, GRAMMAR)
def test_both_directions_agree(asked: str, kept: str) -> None:
    assert (refusal(asked, kept) is None) is (refusal(kept, asked) is None)


def test_both_directions_agree_on_the_pairs() -> None:
    for pair in (*load("paraphrases"), *load("near_misses")):
        forth, back = refusal(pair.asked, pair.kept), refusal(pair.kept, pair.asked)
        assert (forth is None) is (back is None), pair


def test_what_was_written_against_the_guards_is_refused() -> None:
    lines = (HERE / "against_guards.txt").read_text("utf-8").splitlines()
    pairs = [(line[0], *line[2:].split("|")) for line in lines if line[:2] in ("! ", "~ ")]
    assert len(pairs) > 300
    for mark, asked, kept in pairs:
        assert (refusal(asked, kept) is None) is (mark == "~"), (asked, kept)
