"""The lexicon of the guards does not contradict itself."""

from itertools import combinations

import pytest

from phi3_bento.cache.semantic.phrases import PHRASES, TERMS
from phi3_bento.cache.semantic.words import are_opposites, entries, forms, meanings


@pytest.mark.parametrize("group", list(entries("synonyms")))
def test_no_synonyms_are_opposites(group: str) -> None:
    words = group.split()
    assert len(words) > 1
    assert not [pair for pair in combinations(words, 2) if are_opposites(*pair)]


@pytest.mark.parametrize(
    ("inflected", "base"),
    [
        ("cancelled", "cancel"),
        ("stopping", "stop"),
        ("using", "use"),
        ("cities", "city"),
        ("movies", "movie"),
        ("boxes", "box"),
        ("wrote", "write"),
        ("mice", "mouse"),
    ],
)
def test_an_inflection_leads_to_its_word(inflected: str, base: str) -> None:
    assert base in forms(inflected)


@pytest.mark.parametrize("word", ["news", "need", "string", "this", "class", "left", "found", "us"])
def test_what_only_looks_inflected_is_left_alone(word: str) -> None:
    assert forms(word) == {word}


def test_groups_of_synonyms_do_not_run_into_one_another() -> None:
    assert meanings("parcel") & meanings("package")
    assert meanings("end") & meanings("finish")
    assert meanings("finish") & meanings("complete")
    assert not meanings("end") & meanings("complete")


@pytest.mark.parametrize(
    "pair", ["install uninstall", "agree disagree", "legal illegal", "import exported"]
)
def test_opposites_are_known_by_table_and_by_prefix(pair: str) -> None:
    assert are_opposites(*pair.split())


def test_every_phrase_says_at_most_one_thing_in_its_place() -> None:
    for table in (TERMS, PHRASES):
        for phrases in table.values():
            meant: dict[tuple[tuple[str, ...], bool], set[tuple[str, ...]]] = {}
            for phrase in phrases:
                place = (phrase.words, phrase.only_opens)
                meant.setdefault(place, set()).add(phrase.meaning)
            assert not {key: each for key, each in meant.items() if len(each) > 1}
