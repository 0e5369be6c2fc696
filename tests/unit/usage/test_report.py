"""From when usage is summed: read as people write it, and refused where it is no time."""

from datetime import UTC, datetime

import pytest

from phi3_bento.errors import InvalidRequest
from phi3_bento.usage.report import read_moment

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("12h", datetime(2026, 6, 1, 0, tzinfo=UTC)),
        ("30d", datetime(2026, 5, 2, 12, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T10:00:00+02:00", datetime(2026, 1, 31, 8, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_time_ago_or_a_date(text: str, moment: datetime) -> None:
    assert read_moment(text, NOW) == moment


@pytest.mark.parametrize(
    "text",
    [
        *("yesterday", "", "2026-02-30", "99999d"),
        # A date, and in UTC before the first or after the last that there is.
        *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"),
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        read_moment(text, NOW)
    assert error.value.param == "since"
