"""Durations and times are parsed from the command line and printed for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from console.times import format_duration, parse_duration, parse_since, typed_duration

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        (" 2H ", timedelta(hours=2)),
        ("7d", timedelta(days=7)),
        ("1w", timedelta(days=7)),
    ],
)
def test_a_duration_is_parsed(text: str, length: timedelta) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "9999999w", "9" * 30 + "s", "²d", "7d\nx"])
def test_an_invalid_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write 90s, 15m, 2h, 7d or 1w"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("2h", NOW - timedelta(hours=2)),
        # A time without a zone is in UTC
        ("2026-02-01", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-01T10:00:00+02:00", datetime(2026, 2, 1, 8, tzinfo=UTC)),
        ("2026-02-01T08:00:00Z", datetime(2026, 2, 1, 8, tzinfo=UTC)),
    ],
)
def test_a_start_time_is_parsed(text: str, since: datetime) -> None:
    assert parse_since(text, NOW) == since


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01"])
def test_an_invalid_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write 2h, 7d or 2026"):
        parse_since(text, NOW)


@pytest.mark.parametrize("text", ["0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00", "1969-12-31"])
def test_a_time_that_no_row_can_have_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no time between 1970 and 2200"):
        parse_since(text, NOW)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (0.42, "0.4 s"),
        (12, "12 s"),
        (60, "1 min"),
        (185, "3 min 5 s"),
        (7_800, "2 h 10 min"),
        (349_200, "4 d 1 h"),
    ],
)
def test_a_duration_is_printed_in_words(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "typed"), [(604_800, "1w"), (172_800, "2d"), (5_400, "90m"), (3_600, "1h"), (61, "61s")]
)
def test_a_typed_duration_is_read_as_it_was(seconds: int, typed: str) -> None:
    length = timedelta(seconds=seconds)
    assert (typed_duration(length), parse_duration(typed)) == (typed, length)
