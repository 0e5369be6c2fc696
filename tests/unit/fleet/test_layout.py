"""How a machine is divided among replicas."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3_bento.errors import StartFailure
from phi3_bento.fleet.layout import GIB, Layout, Machine, Wish, lay_out


def laid_out(
    replicas: int = 2,
    *,
    cores: int = 4,
    memory: int = 32 * GIB,
    max_replicas: int | None = None,
    wanted: int = 8 * GIB,
    given: bool = False,
    port: int = 11403,
) -> Layout:
    wish = Wish(replicas, max_replicas or replicas, wanted, given)
    machine = Machine(range(cores), memory)
    return lay_out(machine, port=port, directory=Path("/nowhere"), wish=wish)


@given(cores=st.integers(1, 64), data=st.data())
def test_every_core_belongs_to_one_replica(cores: int, data: st.DataObject) -> None:
    replicas = data.draw(st.integers(1, cores))
    places = laid_out(replicas, cores=cores).places
    assert [core for place in places for core in place.cores] == list(range(cores))
    sizes = {len(place.cores) for place in places}
    assert max(sizes) - min(sizes) <= 1


def test_replicas_have_the_ports_after_the_router() -> None:
    layout = laid_out()
    assert [place.url for place in layout.places] == [
        "http://127.0.0.1:11404",
        "http://127.0.0.1:11405",
    ]
    ports = {layout.router_metrics_port, layout.redis_port, layout.redis_port + 1}
    assert ports == {11503, 11504, 11505}


def test_places_are_kept_for_replicas_that_come_later() -> None:
    layout = laid_out(1, max_replicas=2)
    assert layout.start == 1
    assert [place.cores for place in layout.places] == [(0, 1), (2, 3)]


def test_memory_that_nobody_asked_for_is_what_the_machine_has() -> None:
    assert laid_out(2, memory=10 * GIB).places[0].memory_bytes == int(10 * GIB * 0.95) // 2
    assert laid_out(2, memory=100 * GIB).places[0].memory_bytes == 8 * GIB


def test_memory_that_was_asked_for_must_be_there() -> None:
    assert laid_out(2, memory=17 * GIB, given=True).places[0].memory_bytes == 8 * GIB
    with pytest.raises(StartFailure, match=r"2 replicas of 8.0 GiB need 16.0 GiB, and 15.2 GiB"):
        laid_out(2, memory=16 * GIB, given=True)


@pytest.mark.parametrize("replicas", [5, 64])
def test_more_replicas_than_cores_are_refused(replicas: int) -> None:
    with pytest.raises(StartFailure, match=f"{replicas} replicas need a core each"):
        laid_out(replicas)


@pytest.mark.parametrize(("replicas", "most"), [(0, 2), (3, 2), (1, 65)])
def test_senseless_numbers_are_refused(replicas: int, most: int) -> None:
    with pytest.raises(StartFailure, match="from 1 to 64"):
        laid_out(replicas, cores=100, max_replicas=most)


def test_the_ports_after_must_exist() -> None:
    with pytest.raises(StartFailure, match="PHI3_PORT=65500"):
        laid_out(port=65500)
