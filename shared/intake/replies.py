"""Reads what Redis answers to a batch of the intake's commands. Pure.

By hand: redis-py's own reader costs the door more than everything else between the last byte and the answer.
"""

from __future__ import annotations

from typing import TypeAlias

END = b"\r\n"


class No(str):
    """An error of Redis, in its own words."""

    __slots__ = ()


Reply: TypeAlias = bytes | No | None


def read_replies(data: bytes, count: int) -> list[Reply] | None:
    """The first `count` replies, or None while some are not here yet. Raises ValueError for what we never ask for.

    Strings, statuses, numbers, errors and nothing: no lists.
    """
    replies: list[Reply] = []
    at = 0
    while len(replies) < count:
        line_end = data.find(END, at)
        if line_end < 0:
            return None
        kind, word = data[at : at + 1], data[at + 1 : line_end]
        at = line_end + 2
        if kind == b"$" and word != b"-1":
            body_end = at + int(word)
            if len(data) < body_end + 2:
                return None
            word = data[at:body_end]
            at = body_end + 2
        replies.append(_reply(kind, word))
    return replies


def _reply(kind: bytes, word: bytes) -> Reply:
    if kind == b"-":
        return No(word.decode(errors="replace"))
    if kind == b"_" or (kind == b"$" and word == b"-1"):
        return None
    if kind in {b"$", b"+", b":"}:
        return word
    raise ValueError(f"not a reply to one of our commands: {kind!r}")
