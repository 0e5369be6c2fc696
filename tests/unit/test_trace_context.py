"""W3C Trace Context comes in and goes out as its specification says."""

import pytest

from phi3_bento.trace_context import TraceContext

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(("flags", "is_sampled"), [("01", True), ("00", False), ("03", True)])
def test_a_trace_goes_on(flags: str, is_sampled: bool) -> None:
    context = TraceContext.read(f"00-{TRACE}-{PARENT}-{flags}")
    assert (context.trace, context.is_sampled) == (TRACE, is_sampled)
    assert context.parent_id == int(PARENT, 16)
    assert context.header(is_sampled=True) == f"00-{TRACE}-{context.span_id:016x}-01"
    assert context.header(is_sampled=False).endswith("-00")


def test_a_later_version_may_say_more() -> None:
    assert TraceContext.read(f"01-{TRACE}-{PARENT}-01-what-the-future-brings").trace == TRACE


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "x",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
    ],
)
def test_without_a_valid_one_a_trace_begins_here(header: str | None) -> None:
    first, second = TraceContext.read(header), TraceContext.read(header)
    assert first.parent_id is None
    assert first.is_sampled is None
    assert first.trace_id not in (0, second.trace_id)
    assert TRACE not in first.trace
