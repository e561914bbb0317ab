"""Finds the one that spoils it for the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from shared.errors import StoreUnavailable

T = TypeVar("T")


def by_halves(items: Sequence[T], do: Callable[[Sequence[T]], None], alone: Callable[[T, Exception], None]) -> None:
    """Do all together; where that fails, each half by itself, and give `alone` each single one that fails.

    StoreUnavailable is nobody's fault and passes.
    """
    try:
        do(items)
    except StoreUnavailable:
        raise
    except Exception as exc:  # noqa: BLE001 -- whatever one does must not stop the others
        if len(items) == 1:
            alone(items[0], exc)
            return
        half = len(items) // 2
        by_halves(items[:half], do, alone)
        by_halves(items[half:], do, alone)
