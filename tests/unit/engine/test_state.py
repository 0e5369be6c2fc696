"""An engine says whether it can answer."""

import pytest

from phi3_bento.engine.state import Health, State


@pytest.mark.parametrize(
    ("state", "is_ready", "is_alive"),
    [
        (State.STARTING, False, True),
        (State.READY, True, True),
        (State.STALLED, False, False),
        (State.DEAD, False, False),
        (State.CLOSED, False, False),
    ],
)
def test_only_a_ready_engine_is_ready_and_a_starting_one_is_alive(
    state: State, is_ready: bool, is_alive: bool
) -> None:
    health = Health(state)
    assert (health.is_ready, health.is_alive) == (is_ready, is_alive)
