"""What a supervisor makes of a replica: pauses, hit rates, the table."""

from io import StringIO

from rich.console import Console

from phi3_bento.fleet.display import status_table
from phi3_bento.fleet.probe import Hits, read_hits
from phi3_bento.fleet.replica import MAX_BACKOFF_S, backoff_s

EXPOSITION = """
# TYPE phi3_requests_total counter
phi3_requests_total{operation="chat",outcome="ok"} 7.0
phi3_requests_total{operation="completion",outcome="ok"} 3.0
# TYPE phi3_cache_requests_total counter
phi3_cache_requests_total{result="hit"} 2.0
phi3_cache_requests_total{result="collapsed"} 1.0
phi3_cache_requests_total{result="miss"} 1.0
# TYPE phi3_tokens_total counter
phi3_tokens_total{kind="prompt"} 200.0
phi3_tokens_total{kind="cached"} 50.0
phi3_tokens_total{kind="completion"} 99.0
"""


def test_pauses_grow_and_end_at_a_minute() -> None:
    assert [backoff_s(failures) for failures in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert backoff_s(50) == MAX_BACKOFF_S


def test_hit_rates_are_read_from_the_metrics() -> None:
    assert read_hits(EXPOSITION) == Hits(answered=10, cache_share=0.75, prefix_share=0.25)


def test_of_nothing_there_is_no_rate() -> None:
    assert read_hits("") == Hits()


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    replica = {
        "number": 1,
        "phase": "starting",
        "reason": "The engine starts: importing vLLM.",
        "for_s": 7300.0,
        "url": "http://127.0.0.1:11404",
        "running": 12,
        "waiting": 3,
        "answered": 1_234_567,
        "cache_share": 0.951,
        "prefix_share": None,
        "restarts": 12,
    }
    console = Console(width=80, record=True, file=StringIO())
    console.print(status_table({"url": "http://127.0.0.1:11403", "replicas": [replica]}))
    text = console.export_text()
    for part in ("starting", "2 h", "1234567", "95%", "–", "11404", "importing vLLM"):
        assert part in text
    assert "…" not in text
