from datetime import UTC, datetime, timedelta, timezone

import pytest

from server.moments import in_words


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (datetime(2026, 3, 5, 9, 0, tzinfo=UTC), "5 March 2026 at 09:00 UTC"),
        (datetime(2026, 10, 20, 0, 7, 59, tzinfo=UTC), "20 October 2026 at 00:07 UTC"),
        (
            datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))),
            "31 December 2025 at 23:30 UTC",
        ),
    ],
)
def test_a_moment_is_told_in_utc_without_a_leading_zero_of_the_day(at, words):
    assert in_words(at) == words
