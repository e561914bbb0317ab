"""How long an HTTP message is; both sides of the measurement read only that much of HTTP. Pure."""

from __future__ import annotations

LENGTH = b"content-length:"


def whole_length(received: bytes, *, without: int | None = None) -> int | None:
    """Bytes of the whole message, None while its head is not complete.

    `without`: how long the body of one is that does not say it. Raises ValueError where none is given.
    """
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = received[:head_end].lower()
    begin = head.find(LENGTH)
    if begin >= 0:
        without = int(head[begin + len(LENGTH) :].split(b"\r\n", 1)[0])
    if without is None:
        raise ValueError("an HTTP message without Content-Length")
    return head_end + 4 + without
