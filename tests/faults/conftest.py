"""The long forms only in `make faults`, which also writes what it measures into docs/reports."""

from collections.abc import Iterator

import pytest

from tests.faults.figures import IS_LONG, Figures


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if IS_LONG:
        return
    long = [item for item in items if item.get_closest_marker("long")]
    items[:] = [item for item in items if item not in long]
    config.hook.pytest_deselected(items=long)


@pytest.fixture(scope="session")
def figures() -> Iterator[Figures]:
    found = Figures()
    yield found
    if IS_LONG:
        found.write()
