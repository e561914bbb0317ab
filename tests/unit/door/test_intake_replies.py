"""What Redis answers to a batch is read however it is cut into pieces."""

from __future__ import annotations

import pytest

from shared.intake.replies import No, Reply, read_replies

ALL = b"$15\r\n1732000000000-0\r\n-OOM command not allowed\r\n$-1\r\n+OK\r\n:7\r\n_\r\n$0\r\n\r\n"
READ: list[Reply] = [b"1732000000000-0", No("OOM command not allowed"), None, b"OK", b"7", None, b""]


def test_each_reply_is_what_redis_meant() -> None:
    assert read_replies(ALL, len(READ)) == READ


def test_an_error_is_no_entry_id() -> None:
    replies = read_replies(ALL, len(READ))
    assert replies is not None
    assert [isinstance(reply, No) for reply in replies] == [False, True, False, False, False, False, False]


@pytest.mark.parametrize("length", range(len(ALL)))
def test_half_an_answer_is_waited_for(length: int) -> None:
    assert read_replies(ALL[:length], len(READ)) is None


def test_what_follows_is_left_alone() -> None:
    assert read_replies(b"+OK\r\n+NEXT\r\n", 1) == [b"OK"]


@pytest.mark.parametrize("answer", [b"*1\r\n$1\r\na\r\n", b"HTTP/1.1 400 Bad Request\r\n", b"$x\r\n"])
def test_what_we_never_ask_for_is_an_error(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_replies(answer, 1)
