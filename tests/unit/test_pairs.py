"""The pair sets are what their sources make, large enough, and their halves share nothing."""

from tests.pairs.generate import HALVES, HERE, Pair, files, generated, load, of_half, read, written


def test_the_files_are_what_the_sources_make() -> None:
    for name, content in files().items():
        assert (HERE / name).read_text("utf-8") == content, "run python -m tests.pairs.generate"


def test_each_half_has_five_hundred_pairs_of_each_sort() -> None:
    for name in ("paraphrases", "near_misses"):
        pairs = load(name)
        assert len({(pair.asked, pair.kept) for pair in pairs}) == len(pairs)
        for half in HALVES:
            assert sum(pair.half == half for pair in pairs) >= 500


def test_enough_is_written_by_hand() -> None:
    assert all(len(pairs) >= 150 for pairs in written())


def test_the_halves_share_no_topic_and_no_word_of_a_list() -> None:
    pairs: list[Pair] = [*load("paraphrases"), *load("near_misses")]
    topics = [{pair.topic for pair in pairs if pair.half == half} for half in HALVES]
    assert topics[0].isdisjoint(topics[1])
    _, lists = read(HERE / "templates.txt")
    tune, report = (of_half(lists, half) for half in HALVES)
    assert all(set(tune[name]).isdisjoint(report[name]) for name in lists)


def test_making_them_twice_makes_the_same() -> None:
    assert generated() == generated()
