"""Granian alone: takes the body, answers 200."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from granian.rsgi import HTTPProtocol, Scope  # type: ignore[attr-defined]  # named in Granian's documentation


def open_bare() -> Callable[[Scope, HTTPProtocol], Awaitable[None]]:
    """An application as Granian makes it."""
    return answer


async def answer(_: Scope, proto: HTTPProtocol) -> None:
    """One request."""
    await proto()
    proto.response_empty(200, [("content-length", "0")])
