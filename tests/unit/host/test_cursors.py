"""A cursor leads on where it was left, or is refused with a place to start: it never skips anything."""

from __future__ import annotations

import pytest

from shared.host.notification import Cursor, CursorTooOld, FeedReset, FeedState

NOW = FeedState(epoch="fnew", epoch_start=40, previous_epoch="fold", first_kept=11, last_position=50)


@pytest.mark.parametrize("position", [10, 11, 49, 50])
def test_a_cursor_of_this_epoch_leads_on(position: int) -> None:
    assert NOW.position_after(Cursor("fnew", position)) == position


@pytest.mark.parametrize(
    ("cursor", "code", "start"),
    [
        # Before the first notification that is kept
        (Cursor("fnew", 9), "cursor_too_old", Cursor("fnew", 10)),
        (Cursor("fnew", 0), "cursor_too_old", Cursor("fnew", 10)),
        # Beyond the end: the database is an older one
        (Cursor("fnew", 51), "feed_reset", Cursor("fnew", 10)),
        # The epoch before: both are the same up to where this one began
        (Cursor("fold", 30), "feed_reset", Cursor("fnew", 30)),
        (Cursor("fold", 40), "feed_reset", Cursor("fnew", 40)),
        (Cursor("fold", 70), "feed_reset", Cursor("fnew", 40)),
        (Cursor("fold", 3), "feed_reset", Cursor("fnew", 10)),
        # An epoch that nobody remembers
        (Cursor("fx", 30), "feed_reset", Cursor("fnew", 10)),
    ],
)
def test_another_cursor_is_told_where_to_start(cursor: Cursor, code: str, start: Cursor) -> None:
    with pytest.raises(FeedReset) as refused:
        NOW.position_after(cursor)
    assert (refused.value.code, refused.value.start) == (code, start)
    assert isinstance(refused.value, CursorTooOld) == (code == "cursor_too_old")


@pytest.mark.parametrize(
    "text", ["", "f3k9", "f3k9.", ".1", "f3k9.-1", "F3K9.1", "f3k9.1 ", "f3k9.1\n", "f.9" + "9" * 18, "f3k9.²"]
)
def test_text_that_is_no_cursor_reads_as_none(text: str) -> None:
    assert Cursor.parse(text) is None


def test_a_cursor_reads_as_it_was_written() -> None:
    cursor = Cursor("f3k9", 184_233)
    assert str(cursor) == "f3k9.000000184233"
    assert Cursor.parse(str(cursor)) == cursor
